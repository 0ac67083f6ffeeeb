"""What a diagnosis is, and what it finds.

A diagnosis is a generator over a `Case`, registered under its code. Its docstring is what `--explain` says, in three
paragraphs: what is seen, what it can come from, what to try.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from tempomat.runs.diagnoses.case import Case

Severity = Literal["error", "warning", "note"]
Weight = Literal["likely", "possible", "unlikely", "not told"]
WEIGHTS: tuple[Weight, ...] = ("likely", "possible", "unlikely", "not told")
"""How much the record speaks for a cause; `not told` where what would tell was not recorded."""


@final
@dataclass(frozen=True, slots=True)
class Cause:
    """What may be behind a finding.

    Args:
        weight: how much the record speaks for it.
        what: the cause, such as `lr too high`.
        evidence: what in the record says so, with the numbers.
    """

    weight: Weight
    what: str
    evidence: str


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen in a run.

    Args:
        code: the diagnosis's, such as `TD201`.
        name: the diagnosis's, such as `diverges`.
        severity: `error` for a run that came to nothing, `warning` for what seldom is meant, `note` for what is only
            said.
        path: where in the record, such as `measured.loss` or `schedules.lr`; empty for the run itself.
        message: what was seen, with the numbers.
        causes: what it may come from, the likeliest first.
        fix: what to try, or empty.
    """

    code: str
    name: str
    severity: Severity
    path: str
    message: str
    causes: tuple[Cause, ...] = ()
    fix: str = ""


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as its diagnosis says it; `severity` where it is not the diagnosis's usual one."""

    path: str
    message: str
    causes: tuple[Cause, ...] = ()
    fix: str = ""
    severity: Severity | None = None


Look = Callable[["Case"], Iterator[Seen]]


@final
@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A diagnosis, and what there is to say about it: what it sees, where that comes from, what to try."""

    code: str
    name: str
    severity: Severity
    what: str
    why: str
    mend: str
    look: Look

    def findings(self, case: Case) -> Iterator[Finding]:
        """What is seen in a case, its causes in the order of their weights."""
        for seen in self.look(case):
            causes = tuple(sorted(seen.causes, key=lambda one: WEIGHTS.index(one.weight)))
            severity = seen.severity or self.severity
            yield Finding(self.code, self.name, severity, seen.path, seen.message, causes, seen.fix)


DIAGNOSES: dict[str, Diagnosis] = {}
"""Every diagnosis by its code."""


def diagnosis(code: str, name: str, severity: Severity) -> Callable[[Look], Look]:
    """Register a diagnosis under a code."""

    def register(look: Look) -> Look:
        what, why, mend = inspect.cleandoc(look.__doc__ or "").split("\n\n")
        DIAGNOSES[code] = Diagnosis(code, name, severity, what, why, mend, look)
        return look

    return register
