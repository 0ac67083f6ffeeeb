"""What a parameter of a schedule may be: one description that checks it, reads it from a plan, and writes its JSON
Schema.

A parameter's annotation carries its kind: `init_value: Value`, `duration: Length`. The same kind serves a
constructor, a recipe's signature and a plan, so that a new schedule declares its parameters once.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, cast, final, get_args, get_origin, get_type_hints

from tempomat.core.clock import PLAIN, Duration, Unit
from tempomat.core.errors import Fault, ScheduleError, did_you_mean, shown
from tempomat.core.numbers import MAX_LENGTH, as_count, as_float

NUMBER_PATTERN = r"^[+-]?[0-9._]+([eE][+-]?[0-9]+)?[kKMGBT]?$"
"""How a number may be written as text, for JSON Schema."""
MAX_PARTS = 4096
"""The most parts, values, boundaries or intervals of one schedule."""


class Kind(ABC):
    """How one parameter is checked."""

    @abstractmethod
    def read(self, value: object) -> Any:
        """The value in its canonical form; ValueError says what it must be and what it got."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what a plan may write here."""

    def faults(self, value: object) -> Iterator[Fault]:
        """Every fault of a value, with paths inside it."""
        try:
            self.read(value)
        except ScheduleError as error:
            yield from error.faults
        except ValueError as error:
            yield Fault("", str(error))


@final
@dataclass(frozen=True)
class NumberKind(Kind):
    """A finite number, within bounds; None where `optional`."""

    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    optional: bool = False

    def read(self, value: object) -> float | None:
        if value is None and self.optional:
            return None
        number = as_float(value)
        for bound, words, holds in (
            (self.at_least, "at least", operator.ge),
            (self.above, "above", operator.gt),
            (self.below, "below", operator.lt),
            (self.at_most, "at most", operator.le),
        ):
            if bound is not None and not holds(number, bound):
                raise ValueError(f"must be {words} {bound:g}, got {number:g}")
        return number + 0.0  # one zero: equal values have one spelling

    def schema(self) -> dict[str, Any]:
        keys = {
            "minimum": self.at_least,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
            "maximum": self.at_most,
        }
        number = {"type": "number", **{key: bound for key, bound in keys.items() if bound is not None}}
        text = {"type": "string", "pattern": NUMBER_PATTERN}
        return {"anyOf": [number, text, *([{"type": "null"}] if self.optional else [])]}


@final
@dataclass(frozen=True)
class CountKind(Kind):
    """A length or a position: an integer count, or a `Duration` that becomes one when the plan meets the run."""

    at_least: int = 0
    optional: bool = False
    hint: str = ""

    def read(self, value: object) -> int | Duration | None:
        if value is None and self.optional:
            return None
        if isinstance(value, str):
            value = Duration(value)
        if isinstance(value, Duration):
            if value.plain is None:
                if all(unit == PLAIN for unit, _ in value.terms):
                    raise ValueError(f"must be an integer count, got {value}")
                return value
            value = value.plain
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # config readers make a float of 3e6; no count is lost in it
        count = as_count(value, MAX_LENGTH)
        if count < self.at_least:
            raise ValueError(f"must be at least {self.at_least}, got {count}{self.hint}")
        return count

    def schema(self) -> dict[str, Any]:
        text = {
            "type": "string",
            "description": "a count (10_000, 3M), with its unit (20 epochs, 90 min), or a share (5%)",
        }
        count = {"type": "integer", "minimum": self.at_least}
        return {
            "anyOf": [
                count,
                text,
                *([{"type": "null"}] if self.optional else []),
            ]
        }


@final
@dataclass(frozen=True)
class ListOf(Kind):
    """A list of one kind, `at_least` long; counts in it increase strictly."""

    item: Kind
    at_least: int = 1
    increasing: bool = False

    def read(self, value: object) -> tuple[Any, ...]:
        faults = list(self.faults(value))
        if faults:
            raise ScheduleError("; ".join(map(str, faults)), faults)
        return tuple(self.item.read(one) for one in self._items(value))

    def faults(self, value: object) -> Iterator[Fault]:
        try:
            items = self._items(value)
        except ValueError as error:
            yield Fault("", str(error))
            return
        before: int | None = None
        for place, one in enumerate(items):
            found = [fault.under(f"[{place}]") for fault in self.item.faults(one)]
            yield from found
            read = None if found or not self.increasing else self.item.read(one)
            if isinstance(read, int):
                if before is not None and read <= before:
                    yield Fault(
                        f"[{place}]",
                        f"must come after the one before it ({before}), got {read}. Sort the list and keep each once",
                    )
                before = read

    def _items(self, value: object) -> Sequence[object]:
        if getattr(value, "ndim", 0) == 1:
            value = cast(Any, value).tolist()
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise ValueError(f"must be a list, got {type(value).__name__}")
        items = cast(Sequence[object], value)
        if not self.at_least <= len(items) <= MAX_PARTS:
            raise ValueError(f"must have {self.at_least} to {MAX_PARTS} entries, got {len(items)}")
        return items

    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.at_least,
            "maxItems": MAX_PARTS,
        }


@final
@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            near = did_you_mean(value, self.words) if isinstance(value, str) else ""
            raise ValueError(f"must be one of {', '.join(self.words)}, got {shown(value)}.{near}")
        return str(value)

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@final
@dataclass(frozen=True)
class Flag(Kind):
    """True or false."""

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, got {shown(value)}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@final
@dataclass(frozen=True)
class Word(Kind):
    """A name, such as a metric's."""

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be a name, got {shown(value)}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


@final
@dataclass(frozen=True)
class NodeKind(Kind):
    """A schedule or controller; a bare number stands for a constant."""

    def read(self, value: object) -> Any:
        from tempomat.core.schedule import Node
        from tempomat.core.shapes import Constant

        return value if isinstance(value, Node) else Constant(value=as_float(value))

    def schema(self) -> dict[str, Any]:
        return {"$ref": "#/$defs/schedule"}


@final
@dataclass(frozen=True)
class FactorKind(Kind):
    """A number above 0, or a duration that becomes a count."""

    def read(self, value: object) -> float | int | Duration:
        if isinstance(value, str):
            value = Duration(value)
        if isinstance(value, Duration):
            return value if value.plain is None else value.plain
        number = cast(float, NumberKind(above=0).read(value))
        return as_count(int(number), MAX_LENGTH) if number.is_integer() else number

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}


Value = Annotated[float, NumberKind()]
"""Any finite number, in the target's unit."""
OptionalValue = Annotated[float | None, NumberKind(optional=True)]
"""Any finite number, or None."""
Positive = Annotated[float, NumberKind(above=0)]
"""A number above 0."""
NonNegative = Annotated[float, NumberKind(at_least=0)]
"""A number of 0 or more."""
Values = Annotated[Sequence[float], ListOf(NumberKind())]
"""One finite number or more."""
Count = Annotated[int | str | Duration, CountKind(0)]
"""A count from 0, or a duration."""
Length = Annotated[int | str | Duration, CountKind(1)]
"""A count from 1, or a duration."""
Span = Annotated[int | str | Duration, CountKind(1, hint=". For a value that never moves use Constant.")]
"""A count from 1 over which a value moves, or a duration."""
Boundaries = Annotated[Sequence[int | str | Duration], ListOf(CountKind(1), increasing=True)]
"""Positions above 0, strictly increasing."""
Positions = Annotated[Sequence[int | str | Duration], ListOf(CountKind(0), increasing=True)]
"""Positions from 0, strictly increasing."""


Factor = Annotated[float | int | str | Duration, FactorKind()]
"""A number above 0, or a duration."""


def check_arguments(name: str, given: Iterable[str], known: Iterable[str], required: Iterable[str]) -> None:
    """Refuse unknown and missing arguments as a call does."""
    missing, unknown = [one for one in required if one not in given], [one for one in given if one not in known]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has no parameter {', '.join(unknown)}"
        raise TypeError(f"{name}() {wrong}")


@cache
def kinds_of(owner: Any) -> dict[str, Kind]:
    """The parameters of a schedule class or recipe, in order, each with its kind."""
    hints = get_type_hints(owner, include_extras=True)
    names = getattr(owner, "__dataclass_fields__", hints)
    return {
        name: _kind(hints[name])
        for name in names
        if name != "return" and not name.startswith("_") and getattr(names[name], "init", True)
    }


def _kind(hint: Any) -> Kind:
    from tempomat.core.schedule import Node

    if get_origin(hint) is Annotated:
        return next(extra for extra in get_args(hint)[1:] if isinstance(extra, Kind))
    if get_origin(hint) is Literal:
        return Choice(get_args(hint))
    if get_origin(hint) is tuple:
        return ListOf(_kind(get_args(hint)[0]))
    if isinstance(hint, type):
        simple: dict[type, Kind] = {
            bool: Flag(),
            str: Word(),
            int: CountKind(),
            float: NumberKind(),
            Unit: Choice(tuple(Unit)),
        }
        if hint in simple:
            return simple[hint]
        if issubclass(hint, Node):
            return NodeKind()
    raise TypeError(f"no kind of parameter for the annotation {hint!r}")


def read_all(kinds: Mapping[str, Kind], values: Mapping[str, object]) -> tuple[dict[str, Any], list[Fault]]:
    """Every value in canonical form, and every fault of the others, each under its parameter's name."""
    good: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in values.items():
        found = [fault.under(name) for fault in kinds[name].faults(value)]
        faults += found
        if not found:
            good[name] = kinds[name].read(value)
    return good, faults


@cache
def defaults_of(owner: Any) -> dict[str, Any]:
    """The parameters of a schedule class or recipe that may be left out, in canonical form."""
    if hasattr(owner, "__dataclass_fields__"):
        given = {
            name: spec.default
            for name, spec in owner.__dataclass_fields__.items()
            if spec.init and spec.default is not MISSING
        }
    else:
        given = {
            name: spec.default
            for name, spec in signature(owner).parameters.items()
            if spec.default is not Parameter.empty
        }
    return {name: kinds_of(owner)[name].read(value) for name, value in given.items()}
