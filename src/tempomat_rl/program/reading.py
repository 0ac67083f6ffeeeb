"""Settings as plain data, read one by one: every fault is kept under its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

from tempomat.core.errors import Fault, did_you_mean, shown
from tempomat.core.numbers import as_float
from tempomat.runtime import OnChange
from tempomat_rl.numbers import whole_number

Reader: TypeAlias = "Callable[[object], Any]"


def number(at_least: float | None = None, above: float | None = None, at_most: float | None = None) -> Reader:
    """A number within bounds."""

    def read(value: object) -> float:
        number = as_float(value)
        for bound, words, holds in (
            (at_least, "at least", at_least is None or number >= at_least),
            (above, "above", above is None or number > above),
            (at_most, "at most", at_most is None or number <= at_most),
        ):
            if not holds:
                raise ValueError(f"must be {words} {bound:g}, got {number:g}")
        return number

    return read


def whole(at_least: int) -> Reader:
    """A count."""
    return lambda value: whole_number(value, at_least)


def word(*words: str) -> Reader:
    """One of these."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"must be {', '.join(words)}, got {shown(value)}.{did_you_mean(str(value), words)}")
        return str(value)

    return read


on_change = word(*get_args(OnChange))


def flag(value: object) -> bool:
    """True or false, and no word for it."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, got {shown(value)}")
    return value


def folder(value: object) -> Path | None:
    """A folder's name, or none."""
    if value is not None and (not isinstance(value, (str, Path)) or not str(value).strip()):
        raise ValueError(f"must be a folder, got {shown(value)}")
    return None if value is None else Path(value)


def or_none(read: Reader) -> Reader:
    """What `read` takes, or nothing."""
    return lambda value: None if value is None else read(value)


# reading all


def each(readers: Mapping[str, Reader], given: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """The settings that are one value each; those with a fault are left out."""
    values: dict[str, Any] = {}
    for name, reader in readers.items():
        if name not in given:
            faults.append(Fault(name, "is missing"))
            continue
        try:
            values[name] = reader(given[name])
        except (ValueError, OverflowError) as error:
            faults.append(Fault(name, str(error)))
    return values


def unknown(given: Iterable[str], settings: Collection[str]) -> list[Fault]:
    """A fault for each name that is no setting."""
    return [Fault(str(name), no_such(str(name), settings)) for name in given if name not in settings]


def no_such(name: str, settings: Collection[str]) -> str:
    """What to say of a name that is no setting."""
    return f"no setting of that name.{did_you_mean(name, settings)} Settings: {', '.join(settings)}"
