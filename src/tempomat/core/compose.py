"""Schedules made of schedules: what happens to time. Every class here and in `pointwise` takes any tree; with a
controller below it, it makes a `ReactiveTree`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, final

from tempomat.core.clock import Duration, Unit
from tempomat.core.composite import Composite, Span, Tree, Trees
from tempomat.core.errors import Fault, ScheduleError
from tempomat.core.fields import Boundaries, CountKind, Factor, Length, NodeKind
from tempomat.core.ops import Ops, counted, known_counts
from tempomat.core.pointwise import Clip, FloorTo, Maximum, Minimum, Product, Sum
from tempomat.core.schedule import Clocks, Node, Schedule
from tempomat.core.shapes import Constant
from tempomat.core.shapes import Cosine as Cosine  # the examples below are made of these
from tempomat.core.shapes import Linear as Linear

__all__ = [
    "Clip",
    "Composite",
    "FloorTo",
    "Maximum",
    "Minimum",
    "On",
    "Product",
    "Repeat",
    "Sequence",
    "Shift",
    "Stretch",
    "Sum",
    "Tree",
    "Trees",
    "on",
    "sequence",
]

Times = Annotated[int | None, CountKind(1, optional=True)]


class _Timed(Composite):
    """A composition that acts on the count itself, and so follows the clock that drives it."""

    __slots__ = ()

    def _clocks_below(self) -> Clocks:
        return Composite._clocks_below(self) | {""}


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sequence(_Timed):
    r"""One schedule after another: `parts[k]` from `boundaries[k - 1]` on, each with its own count from 0 there.

    .. math::
        v(t) = s_k(t - b_{k - 1}), \qquad b_{k - 1} \le t < b_k

    Written `one.then(two, at=count)`. At a boundary the later part is in force, at its own 0; past the last boundary
    the last part goes on for ever. A controller as a later part goes on from the value that the part before it had
    reached: its level is a factor on it.

    Args:
        parts: at least two schedules, controllers or numbers.
        boundaries: one less than parts; counts above 0, strictly increasing.

    Raises:
        ScheduleError: there is not one boundary less than parts; boundaries are unsorted, repeated or below 1.

    Agrees with:
        `optax.join_schedules`; `torch.optim.lr_scheduler.SequentialLR` where that is right (it can hold no plateau);
        fastai's `combine_scheds`; fvcore's `CompositeParamScheduler` with `rescaled` intervals; Ignite's
        `ConcatScheduler`; OLMo-core's `SequentialScheduler`.

    Example:
        >>> lr = Linear(init_value=0.0, end_value=1.0, duration=10).then(
        ...     Cosine(init_value=1.0, end_value=0.0, duration=90), at=10
        ... )
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
class Shift(_Timed):
    r"""`schedule`, `by` counts later; its first value before that. Written `schedule.shift(by)`.

    .. math::
        v(t) = s(\max(t - d, 0))

    Args:
        schedule: a schedule or a tree with controllers.
        by: :math:`d`, a count or a duration; at least 1.

    Raises:
        ScheduleError: `by` is below 1.

    Agrees with:
        `transition_begin` of optax's schedules.

    Example:
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
    r"""`schedule`, `factor` times as long. Written `schedule.stretch(factor)`.

    .. math::
        v(t) = s(t / f)

    A schedule of duration 1 stretched by a length runs on progress from 0 to 1.

    Args:
        schedule: a schedule without controllers.
        factor: :math:`f`, a number above 0, or a duration.

    Raises:
        ScheduleError: `factor` is not above 0, or a controller is below it, whose decisions are in the run's own
        counts.

    Agrees with:
        Composer's `scale_schedule_ratio`; fastai's and fvcore's schedules, which are functions of progress.

    Example:
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
    r"""The first `every` counts of `schedule` again and again. Written `schedule.repeat(every, times=...)`.

    .. math::
        v(t) = s(t \bmod e)

    At every multiple of `every` it is at its first value. With `times`, that often, and from `every * times` on the
    value at `every`.

    Args:
        schedule: a schedule without controllers.
        every: :math:`e`, a count or a duration; at least 1.
        times: how often, or None for ever.

    Raises:
        ScheduleError: `every` or `times` is below 1, or a controller is below it.

    Agrees with:
        `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts` with `T_mult=1` (of a `Cosine`); timm's cycles with
        `cycle_mul=1`; fvcore's and Ignite's cyclical schedulers.

    Example:
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
    r"""`schedule`, driven by the clock `unit` whatever drives the tree around it, from that clock's own 0.

    .. math::
        v = s(t_{unit})

    Written `on("env_steps", schedule)`.

    Args:
        unit: the clock's unit.
        schedule: a schedule or a tree with controllers.

    Raises:
        ScheduleError: there is no unit of that name.

    Agrees with:
        no library's class: elsewhere each schedule has one clock, that of whoever steps it.

    Example:
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
