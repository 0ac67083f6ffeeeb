"""Schedules made of schedules. Every class here takes any tree; with a controller below it, it makes a
`ReactiveTree`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from functools import reduce
from typing import Annotated, Any, Self, cast, final

from tempomat.core.clock import Duration, Unit
from tempomat.core.errors import Fault, ScheduleError
from tempomat.core.fields import (
    Boundaries,
    CountKind,
    Factor,
    Length,
    ListOf,
    NodeKind,
    OptionalValue,
    check_arguments,
)
from tempomat.core.ops import Ops, counted, known_counts
from tempomat.core.reactive import items_of, reactive_or_none
from tempomat.core.schedule import Clocks, Node, Schedule, map_nodes
from tempomat.core.shapes import Constant

Tree = Annotated[Schedule, NodeKind()]
Trees = Annotated[tuple[Schedule, ...], ListOf(NodeKind(), at_least=2)]
Times = Annotated[int | None, CountKind(1, optional=True)]
Span = tuple[str, int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Composite(Schedule):
    """A composition; also the hooks through which the same composition serves trees with controllers."""

    _clocks: Clocks = field(init=False, repr=False, compare=False)

    def __new__(cls, **parameters: Any) -> Self:
        return cast(Self, reactive_or_none(cls, parameters)) or object.__new__(cls)

    def _prepare(self) -> None:
        object.__setattr__(self, "_clocks", self._clocks_below())

    def _clocks_below(self) -> Clocks:
        return frozenset[str]().union(*(child.clocks for child in self.children()))

    @property
    def clocks(self) -> Clocks:
        return self._clocks

    @classmethod
    def defaults(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters in order, left-out ones at their defaults; unknown or missing ones are refused as a call
        would.
        """
        known = {name: spec.default for name, spec in cls.__dataclass_fields__.items() if spec.init}
        required = [name for name, default in known.items() if default is MISSING]
        check_arguments(cls.__name__, parameters, known, required)
        return {name: parameters.get(name, default) for name, default in known.items()}

    @classmethod
    def assemble(
        cls, parameters: Mapping[str, Any], pure: Callable[[Node], Schedule], *, exact: bool = True
    ) -> Schedule:
        """The composition with each of its children replaced by a pure one, from left to right.

        Unless `exact`, it only has to be a valid one: nothing that the run has yet to resolve is evaluated.
        """
        return cls(**{name: map_nodes(value, pure) for name, value in parameters.items()})

    @classmethod
    def spans(cls, parameters: Mapping[str, Any], clock: str, start: int) -> list[Span]:
        """For each child the clock and the counts in which it is in force."""
        nodes = [one for value in parameters.values() for one in items_of(value) if isinstance(one, Node)]
        return [(clock, start, None)] * len(nodes)

    @classmethod
    def unit_below(cls, parameters: Mapping[str, Any], unit: Unit) -> Unit:
        """The unit of the counts that the children see."""
        return unit


class _Timed(Composite):
    """A composition that acts on the count itself, and so follows the clock that drives it."""

    __slots__ = ()

    def _clocks_below(self) -> Clocks:
        return Composite._clocks_below(self) | {""}


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sequence(_Timed):
    """One schedule after another: `parts[k]` from `boundaries[k - 1]` on, each with its own count from 0 there.

    A controller as a later part goes on from the value that the part before it had reached: its level is a factor on
    it.

    Args:
        parts: at least two.
        boundaries: one less than parts; counts above 0, strictly increasing.

    Raises:
        ScheduleError: there is not one boundary less than parts; boundaries are unsorted, repeated or below 1.

    Agrees with:
        `optax.join_schedules`, and `torch.optim.lr_scheduler.SequentialLR` where that is right.

    Example:
        >>> from tempomat.core.shapes import Cosine, Linear
        >>> warmup = Linear(init_value=0.0, end_value=1.0, duration=10)
        >>> lr = warmup.then(Cosine(init_value=1.0, end_value=0.0, duration=90), at=10)
        >>> lr(5), lr(10), lr(100)
        (0.5, 1.0, 0.0)
    """

    parts: Trees
    boundaries: Boundaries
    _starts: tuple[int, ...] | None = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_starts", known_counts(self.boundaries))
        object.__setattr__(self, "_clocks", self._clocks_below())

    def _check(self) -> Iterator[Fault]:
        if len(self.parts) != len(self.boundaries) + 1:
            yield Fault(
                "boundaries",
                f"must be one less than the parts ({len(self.parts)}), got {len(self.boundaries)}",
            )

    def _at(self, t: Any, ops: Ops) -> Any:
        starts = ops.starts(self._starts, self.boundaries)

        def branch(place: int, t: Any, ops: Ops) -> Any:
            return self.parts[place]._at(t - starts[place - 1] if place else t, ops)

        return ops.select(t, starts, branch)

    @classmethod
    def assemble(
        cls, parameters: Mapping[str, Any], pure: Callable[[Node], Schedule], *, exact: bool = True
    ) -> Schedule:
        nodes = [NodeKind().read(part) for part in parameters["parts"]]
        parts: list[Schedule] = []
        starts = [0, *parameters["boundaries"]]  # counts, where it has to be exact
        for place, node in enumerate(nodes):
            part = pure(node)
            if place and exact and getattr(node, "relative", False):
                part = Constant(value=parts[-1](counted(starts[place]) - counted(starts[place - 1]))) * part
            parts.append(part)
        return cls(parts=tuple(parts), boundaries=parameters["boundaries"])

    @classmethod
    def spans(cls, parameters: Mapping[str, Any], clock: str, start: int) -> list[Span]:
        starts = [start, *(start + counted(one) for one in parameters["boundaries"])]
        return [(clock, begin, end) for begin, end in zip(starts, [*starts[1:], None], strict=True)]


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sum(Composite):
    """The sum of its parts, added from left to right.

    Example:
        >>> (Constant(value=1.0) + 0.5)(0)
        1.5
    """

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(lambda total, part: total + part._at(t, ops), self.parts[1:], self.parts[0]._at(t, ops))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Product(Composite):
    """The product of its parts, multiplied from left to right.

    Example:
        >>> (Constant(value=3.0) * 0.5)(0)
        1.5
    """

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(lambda total, part: total * part._at(t, ops), self.parts[1:], self.parts[0]._at(t, ops))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Minimum(Composite):
    """The smallest of its parts at every count."""

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(
            lambda least, part: ops.minimum(least, part._at(t, ops)),
            self.parts[1:],
            self.parts[0]._at(t, ops),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Maximum(Composite):
    """The largest of its parts at every count."""

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(lambda most, part: ops.maximum(most, part._at(t, ops)), self.parts[1:], self.parts[0]._at(t, ops))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Clip(Composite):
    """`schedule` kept between `min` and `max`; either may be left out.

    Raises:
        ScheduleError: both are left out, or `min` is above `max`.
    """

    schedule: Tree
    min: OptionalValue = None
    max: OptionalValue = None

    def _check(self) -> Iterator[Fault]:
        if self.min is None and self.max is None:
            yield Fault("min", "and `max` are both left out, so nothing is clipped. Give one of them")
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Fault("min", f"must not be above `max` ({self.max:g}), got {self.min:g}")

    def _at(self, t: Any, ops: Ops) -> Any:
        value = self.schedule._at(t, ops)
        value = value if self.min is None else ops.maximum(value, self.min)
        return value if self.max is None else ops.minimum(value, self.max)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Shift(_Timed):
    """`schedule`, `by` counts later; its first value before that.

    Example:
        >>> from tempomat.core.shapes import Linear
        >>> late = Linear(init_value=0.0, end_value=1.0, duration=10).shift(100)
        >>> late(0), late(105)
        (0.0, 0.5)
    """

    schedule: Tree
    by: Length

    def _at(self, t: Any, ops: Ops) -> Any:
        return self.schedule._at(ops.maximum(t - ops.count(self.by), 0), ops)

    @classmethod
    def spans(cls, parameters: Mapping[str, Any], clock: str, start: int) -> list[Span]:
        return [(clock, start + counted(parameters["by"]), None)]


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Stretch(_Timed):
    r"""`schedule`, `factor` times as long: :math:`v(t) = s(t / f)`.

    A schedule of duration 1 stretched by a length runs on progress from 0 to 1.

    Raises:
        ScheduleError: `factor` is not above 0, or a controller is below it, whose decisions are in the run's own
        counts.

    Example:
        >>> from tempomat.core.shapes import Linear
        >>> slow = Linear(init_value=0.0, end_value=1.0, duration=1).stretch(1_000)
        >>> slow(500), slow(1_000)
        (0.5, 1.0)
    """

    schedule: Tree
    factor: Factor

    def _at(self, t: Any, ops: Ops) -> Any:
        factor = self.factor if isinstance(self.factor, float) else ops.count(self.factor)
        return self.schedule._at(ops.real(t) / factor, ops)

    @classmethod
    def assemble(
        cls, parameters: Mapping[str, Any], pure: Callable[[Node], Schedule], *, exact: bool = True
    ) -> Schedule:
        raise ScheduleError("Stretch: a controller cannot be stretched; its decisions are in the run's own counts")


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Repeat(_Timed):
    r"""The first `every` counts of `schedule` again and again: :math:`v(t) = s(t mod e)`.

    With `times`, that often, and from `every * times` on the value at `every`.

    Raises:
        ScheduleError: `every` or `times` is below 1, or a controller is below it.

    Example:
        >>> from tempomat.core.shapes import Linear
        >>> saw = Linear(init_value=0.0, end_value=1.0, duration=10).repeat(10, times=2)
        >>> saw(5), saw(10), saw(15), saw(20)
        (0.5, 0.0, 0.5, 1.0)
    """

    schedule: Tree
    every: Length
    times: Times = None

    def _at(self, t: Any, ops: Ops) -> Any:
        length = ops.count(self.every)
        again = t % length
        if self.times is None:
            return self.schedule._at(again, ops)
        end = ops.count(counted(self.every) * self.times)
        return self.schedule._at(ops.where(t < end, again, length), ops)

    @classmethod
    def assemble(
        cls, parameters: Mapping[str, Any], pure: Callable[[Node], Schedule], *, exact: bool = True
    ) -> Schedule:
        raise ScheduleError("Repeat: a controller cannot be repeated; its decisions are in the run's own counts")


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class On(Composite):
    """`schedule`, driven by the clock `unit` whatever drives the tree around it, from that clock's own 0.

    Example:
        >>> from tempomat.core.shapes import Linear
        >>> noise = on("env_steps", Linear(init_value=1.0, end_value=0.1, duration="1M env_steps"))
        >>> sorted(noise.clocks)
        ['env_steps']
    """

    unit: Unit
    schedule: Tree

    def _clocks_below(self) -> Clocks:
        return frozenset(name or str(self.unit) for name in self.schedule.clocks)

    def _at(self, t: Any, ops: Ops) -> Any:
        # below, every part may be tied to clocks of its own, and nobody has a count of this one
        return self.schedule._at(ops.other(self.unit, t) if "" in self.schedule.clocks else t, ops)

    def _unit_below(self, unit: Unit) -> Unit:
        return Unit(self.unit)

    @classmethod
    def unit_below(cls, parameters: Mapping[str, Any], unit: Unit) -> Unit:
        return Unit(parameters["unit"])

    @classmethod
    def spans(cls, parameters: Mapping[str, Any], clock: str, start: int) -> list[Span]:
        return [(str(parameters["unit"]), 0, None)]


# a composition may come out as a reactive tree, so its constructor is not only one
_sequence: Callable[..., Any] = Sequence
_on: Callable[..., Any] = On


def on(unit: Unit | str, schedule: Node | float) -> Any:
    """Tie a schedule to a clock: `on("env_steps", Linear(...))` counts env steps whatever drives the rest of the plan.

    Raises:
        ScheduleError: there is no unit of that name.
    """
    return _on(unit=unit, schedule=schedule)


def sequence(first: Node | float, second: Node | float, *, at: int | str | Duration) -> Any:
    """`first` until the count `at`, then `second` from its own 0."""
    node = NodeKind().read(first)
    if node.builder() is Sequence:
        parts, boundaries = node.parameters()["parts"], node.parameters()["boundaries"]
        last = boundaries[-1]
        if isinstance(last, int) and isinstance(at, int) and at > last:
            return _sequence(parts=(*parts, second), boundaries=(*boundaries, at))
    return _sequence(parts=(node, second), boundaries=(at,))
