"""The exceptions of Tempomat, one tree:

TempomatError
├── ScheduleError (ValueError)      a schedule, controller, count or unit is not possible as written
├── PlanError (ValueError)          a plan, or the file it came from, has faults
├── BindingError (ValueError)       plan, optimizer and targets do not fit together
├── StateError (ValueError)         a saved state is damaged, incomplete, or belongs to another plan
├── ConversionError (ValueError)    another library's schedule cannot be said here, or ours not there
├── MeasurementError (ValueError)   an observation is missing, not a number, or for nobody
├── RecordError (OSError)           a run folder cannot be written or read as it is
├── FigureError (ValueError)        a picture cannot be drawn of what it was given (in `analysis.picture`)
├── LintError (ValueError)          the linter was asked for a rule or unit that there is not (in `analysis.lint`)
└── MissingExtra (ImportError)      an optional package is not installed; the message has the command
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong, and where: `path` is like `schedules.lr.parts[1].duration`, or empty."""

    path: str
    message: str

    def under(self, prefix: str) -> Fault:
        """The same fault seen from further out: `duration` under `schedules.lr`."""
        return Fault(join_path(prefix, self.path), self.message)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class TempomatError(Exception):
    """Anything that Tempomat refuses. `faults` holds every reason, each with its path."""

    def __init__(self, message: str, faults: Iterable[Fault] = ()) -> None:
        super().__init__(message)
        self.faults: tuple[Fault, ...] = tuple(faults) or (Fault("", message),)


class ScheduleError(TempomatError, ValueError):
    """A schedule, controller, count or unit is not possible as written."""


class PlanError(TempomatError, ValueError):
    """A plan, or the file it came from, has faults."""


class BindingError(TempomatError, ValueError):
    """A plan, an optimizer and its targets do not fit together."""


class StateError(TempomatError, ValueError):
    """A saved state is damaged, incomplete, or belongs to another plan."""


class ConversionError(TempomatError, ValueError):
    """A part of another library's schedule has no counterpart here, or of ours none there; each with its path."""


class MeasurementError(TempomatError, ValueError):
    """An observation is missing, not a finite number, or nothing listens to it."""


class RecordError(TempomatError, OSError):
    """A run folder cannot be written or read as it is."""


class MissingExtra(TempomatError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


def join_path(prefix: str, path: str) -> str:
    """`a` and `b` give `a.b`; `a` and `[1]` give `a[1]`."""
    if not prefix or not path:
        return prefix or path
    return f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}"


def list_faults(title: str, faults: Sequence[Fault]) -> str:
    """A message that names every fault: one on the title's line, more below it."""
    if len(faults) == 1:
        return f"{title}: {faults[0]}"
    return "\n".join([f"{title}: {len(faults)} faults", *(f"  {fault}" for fault in faults)])


def shown(value: object, most: int = 60) -> str:
    """A value as a message may show it: its repr, cut short, whatever it is."""
    try:
        text = repr(value if not isinstance(value, str) or len(value) <= most else value[:most])
    except Exception:  # a repr of somebody else's, or an int beyond what Python prints
        return f"a {type(value).__name__}"
    return text if len(text) <= most + 2 else f"{text[:most]}..."


def did_you_mean(got: str, valid: Iterable[str]) -> str:
    """` Did you mean x?` where a valid name is near, else an empty string. Letter case does not matter."""
    import difflib  # only an error needs it, and `import tempomat` has to be quick

    folded: dict[str, str] = {}
    for name in valid:
        folded.setdefault(name.casefold(), name)
    near = difflib.get_close_matches(got[:80].casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[near[0]]}?" if near else ""
