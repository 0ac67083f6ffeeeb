"""What a host was told, read key by key: every fault is kept, and all of them are refused at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from tempomat.core import ConversionError, Fault, ScheduleError, Unit, on
from tempomat.core.errors import did_you_mean, list_faults, shown
from tempomat.core.fields import MAX_PARTS, CountKind, Kind, NumberKind

REQUIRED: Any = object()
"""The default of what must be given."""


class Arguments:
    """A host's arguments by name, and the faults found while reading them.

    Args:
        host: how errors name the source, such as `keras CosineDecay`.
        given: the arguments.
        known: the names that there are; another one is a fault. None where the source holds other things too.
    """

    def __init__(self, host: str, given: Mapping[str, Any], known: Iterable[str] | None = None) -> None:
        self.host, self.given, self.faults = host, dict(given), list[Fault]()
        names = None if known is None else list(known)
        for key in [] if names is None else [key for key in self.given if key not in names]:
            self.fault(str(key), f"no argument of that name.{did_you_mean(str(key), names or ())} "
                       f"Arguments: {', '.join(names or ())}")  # fmt: skip

    def fault(self, path: str, message: str) -> None:
        """Keep a fault; of what is already known to be wrong, the first."""
        if all(fault.path != path for fault in self.faults):
            self.faults.append(Fault(path, message))

    def done(self) -> None:
        """Refuse everything that was wrong.

        Raises:
            ConversionError: there were faults.
        """
        if self.faults:
            raise ConversionError(list_faults(self.host, self.faults), self.faults)

    def read(self, key: str, kind: Kind, default: Any = REQUIRED, stand_in: Any = None) -> Any:
        """An argument in canonical form; a fault and the stand-in where it is missing or wrong. None means left out."""
        value = self.given.get(key)
        if value is None:
            if default is REQUIRED:
                self.fault(key, "is missing")
                return stand_in
            return default
        faults = list(kind.faults(value))
        self.faults += [fault.under(key) for fault in faults]
        return stand_in if faults else kind.read(value)

    def number(self, key: str, default: Any = REQUIRED, **bounds: Any) -> Any:
        """A finite number."""
        return self.read(key, NumberKind(**bounds), default, 1.0)

    def count(self, key: str, default: Any = REQUIRED, at_least: int = 0) -> Any:
        """A whole number."""
        value = self.read(key, CountKind(at_least), default, max(at_least, 1))
        if value is not None and value is not default and not isinstance(value, int):
            self.fault(key, f"must be a whole number, got {value}")
            return max(at_least, 1)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.given.get(key)
        value = {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.fault(key, f"must be true or false, got {shown(value)}")
        return default

    def choice(self, key: str, words: Sequence[str], default: Any = REQUIRED) -> str:
        """One of a few words."""
        value = self.given.get(key)
        if value is None and default is not REQUIRED:
            return default
        if value not in words:
            near = did_you_mean(str(value), words)
            self.fault(key, f"must be one of {', '.join(words)}, got {shown(value)}.{near}")
            return words[0]
        return cast(str, value)

    def items(self, key: str, default: Any = REQUIRED) -> list[Any]:
        """A list."""
        value = self.given.get(key)
        if value is None and default is not REQUIRED:
            return list(default)
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            self.fault(key, "is missing" if value is None else f"must be a list, got {shown(value)}")
            return []
        found = list(cast("Sequence[Any]", value))
        if len(found) > MAX_PARTS:
            self.fault(key, f"must have at most {MAX_PARTS} entries, got {len(found)}")
            return []
        return found

    def numbers(self, key: str, default: Any = REQUIRED) -> list[float]:
        """A list of finite numbers."""
        found: list[float] = []
        for place, one in enumerate(self.items(key, default)):
            faults = list(NumberKind().faults(one))
            self.faults += [fault.under(f"{key}[{place}]") for fault in faults]
            found.append(1.0 if faults else cast(float, NumberKind().read(one)))
        return found

    def whole(self, key: str, value: Fraction, unit: str, fix: str) -> int:
        """A length that must come to a whole number of counts."""
        if value.denominator != 1:
            self.fault(key, f"comes to {float(value):g} {unit}, which is no whole number. {fix}")
        return round(value)

    @contextmanager
    def building(self, **names: str) -> Iterator[None]:
        """Refuse first what was wrong with the arguments, then what the schedules built of them refuse; `names` says
        what the host calls their parameters.
        """
        self.done()
        try:
            yield
        except ScheduleError as error:
            faults = [Fault(names.get(fault.path, fault.path), fault.message) for fault in error.faults]
            raise ConversionError(list_faults(self.host, faults), faults) from None


def exact(number: float) -> Fraction:
    """A number as it was written: 2.4 is twelve fifths, though no float is."""
    return Fraction(Decimal(repr(float(number))))


def product(*factors: float) -> float:
    """The product of numbers as they were written: 6e-4 times 0.1 is 6e-05, where floats give 5.9999999999999995e-05.

    What is no finite number, or comes to none, is as floats have it.
    """
    try:
        return float(math.prod(map(exact, factors)))
    except (ArithmeticError, ValueError):
        return math.prod(map(float, factors))


def quotient(one: float, other: float) -> float:
    """The same for a quotient: 3e-4 by 3 is 1e-4."""
    try:
        return float(exact(one) / exact(other))
    except (ArithmeticError, ValueError):
        return float(one) / float(other)


def tied(unit: Unit, schedule: Any) -> Any:
    """A schedule on the clock of its counts; what runs on optimizer steps is left as it is, as plans count those."""
    return schedule if unit == Unit.OPTIMIZER_STEPS or not schedule.clocks else on(unit, schedule)


def names_of(source: Any) -> dict[str, Any] | None:
    """The entries of a mapping, or the attributes of a namespace; None for anything else."""
    if isinstance(source, Mapping):
        return {str(key): value for key, value in cast("Mapping[Any, Any]", source).items()}
    plain = isinstance(source, (str, bytes, int, float, Sequence)) or source is None or isinstance(source, type)
    return None if plain or not hasattr(source, "__dict__") else dict(vars(source))


def command_line(words: Sequence[str], lists: Sequence[str] = ()) -> dict[str, Any]:
    """What a command line says: `--name v`, `--name=value`, several values, or none; those of `lists` stay lists."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, mark, value = word[2:].partition("=")
            current = found[name.replace("-", "_")] = [value] if mark else []
        elif word.startswith("-") and word[1:2].isalpha():
            current = []  # an option of one letter, whose values are nobody's here
        elif current is not None:
            current.append(word)
    return {
        name: values if name in lists or len(values) > 1 else values[0] if values else True
        for name, values in found.items()
    }
