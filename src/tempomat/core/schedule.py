"""The one contract: a tree of schedules and controllers, and the two things such a tree can be.

A tree without a controller is a `Schedule`: a pure function of one count. A tree with one is `Reactive`: given its
controllers' levels it becomes a `Schedule` again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, cast

from tempomat.core.clock import Duration, Horizon, Unit
from tempomat.core.errors import Fault, ScheduleError, list_faults
from tempomat.core.fields import kinds_of, read_all
from tempomat.core.numbers import MAX_COUNT, as_count
from tempomat.core.ops import SCALAR, Ops, ScalarOps, evaluate

if TYPE_CHECKING:
    from tempomat.core.controllers import Controller

Clocks = frozenset[str]
"""The clocks that a tree reads; the empty name is the clock of the plan."""


class Node(ABC):
    """A schedule, a controller, or a composition of them."""

    __slots__ = ("__weakref__",)  # jax.jit keeps what it has traced by weak reference

    def __post_init__(self) -> None:
        """Put every parameter in canonical form, or refuse with every fault at once."""
        kinds = kinds_of(type(self))
        values, faults = read_all(kinds, {name: getattr(self, name) for name in kinds})
        for name, value in values.items():
            object.__setattr__(self, name, value)
        faults = faults or list(self._check())
        if faults:
            raise ScheduleError(
                list_faults(type(self).__name__, [Fault(f"`{f.path}`", f.message) for f in faults]).replace("`:", "`"),
                faults,
            )
        self._prepare()

    def _check(self) -> Iterator[Fault]:
        """Faults between parameters, each of them fine alone."""
        return iter(())

    def _prepare(self) -> None:
        """Derive what evaluation would otherwise compute each time."""

    @property
    @abstractmethod
    def controllers(self) -> tuple[Controller, ...]:
        """The controllers in the tree, from left to right."""

    @property
    @abstractmethod
    def clocks(self) -> Clocks:
        """The clocks that the tree reads."""

    def parameters(self) -> dict[str, Any]:
        """The parameters by name, in order, as the constructor takes them."""
        return {name: getattr(self, name) for name in kinds_of(type(self))}

    def children(self) -> tuple[Node, ...]:
        """The nodes right below this one."""
        return tuple(value for value in _lengths(self) if isinstance(value, Node))

    def walk(self) -> Iterator[Node]:
        """This node and every node below it, from left to right."""
        yield self
        for child in self.children():
            yield from child.walk()

    def rebuilt(self, change: Callable[[Node], Node]) -> Node:
        """The same node over changed children."""
        return self.builder()(**{name: map_nodes(value, change) for name, value in self.parameters().items()})

    def builder(self) -> Callable[..., Node]:
        """What builds this node from its parameters."""
        return type(self)

    @property
    def resolved(self) -> bool:
        """Whether every length below is a plain count."""
        return not any(isinstance(value, Duration) for value in _lengths(self)) and all(
            child.resolved for child in self.children()
        )

    def resolve(self, horizon: Horizon) -> Self:
        """The same tree with every duration as a count of the clock that drives it.

        Raises:
            ScheduleError: a conversion or the total is missing, each with its path; or a length comes to nothing.
        """
        if self.resolved:
            return self
        return cast(Self, self.resolve_on(horizon, horizon.clock))

    def resolve_on(self, horizon: Horizon, unit: Unit) -> Node:
        resolved: dict[str, Any] = {}
        faults: list[Fault] = []
        parameters, below = self.parameters(), self._unit_below(unit)
        for name, kind in kinds_of(self.builder()).items():
            try:
                resolved[name] = kind.read(_resolved(parameters[name], horizon, unit, below))
            except ValueError as error:
                causes = error.faults if isinstance(error, ScheduleError) else (Fault("", str(error)),)
                faults += [fault.under(name) for fault in causes]
        if faults:
            raise ScheduleError(list_faults(self.builder().__name__, faults), faults)
        return self.builder()(**resolved)

    def _unit_below(self, unit: Unit) -> Unit:
        """The unit of the counts that this node's children see."""
        return unit

    def __repr__(self) -> str:
        name = self.builder().__name__
        return f"{name}({', '.join(f'{key}={value!r}' for key, value in self.parameters().items())})"

    # composition; the classes are in `compose`, which needs this module first

    def then(self, other: Node | float, *, at: int | str | Duration) -> Any:
        """This until the count `at`, then `other`, whose own count starts at 0 there. A controller goes on from the
        value reached.
        """
        from tempomat.core.compose import sequence

        return sequence(self, other, at=at)

    def __add__(self, other: Node | float) -> Any:
        return _compose("Sum", parts=(self, other))

    def __radd__(self, other: float) -> Any:
        return _compose("Sum", parts=(other, self))

    def __neg__(self) -> Any:
        return _compose("Product", parts=(-1.0, self))

    def __sub__(self, other: Node | float) -> Any:
        return _compose(
            "Sum",
            parts=(self, _compose("Product", parts=(-1.0, other)) if isinstance(other, Node) else -other),
        )

    def __rsub__(self, other: float) -> Any:
        return _compose("Sum", parts=(other, -self))

    def __mul__(self, other: Node | float) -> Any:
        return _compose("Product", parts=(self, other))

    def __rmul__(self, other: float) -> Any:
        return _compose("Product", parts=(other, self))

    def __pow__(self, exponent: float) -> Any:
        from tempomat.core.coupling import power

        return power(self, exponent)

    def minimum(self, other: Node | float) -> Any:
        """The smaller of the two at every count."""
        return _compose("Minimum", parts=(self, other))

    def maximum(self, other: Node | float) -> Any:
        """The larger of the two at every count."""
        return _compose("Maximum", parts=(self, other))

    def clip(self, *, min: float | None = None, max: float | None = None) -> Any:
        """The value kept between `min` and `max`."""
        return _compose("Clip", schedule=self, min=min, max=max)

    def floor_to(self, step: float) -> Any:
        """The value rounded down to a multiple of `step`, such as a batch size to a multiple of 8."""
        return _compose("FloorTo", schedule=self, step=step)

    def shift(self, by: int | str | Duration) -> Any:
        """The same curve `by` counts later; before that, its first value."""
        return _compose("Shift", schedule=self, by=by)

    def stretch(self, factor: float | str | Duration) -> Any:
        """The same curve, `factor` times as long."""
        return _compose("Stretch", schedule=self, factor=factor)

    def repeat(self, every: int | str | Duration, *, times: int | None = None) -> Any:
        """The first `every` counts again and again, or `times` times and then held."""
        return _compose("Repeat", schedule=self, every=every, times=times)


class Schedule(Node):
    """A pure function of one count. Frozen, equal by value, hashable, and `eval(repr(s)) == s`.

    Calling it takes an integer of any library and gives a float, or an integer array (NumPy, torch, JAX, also while
    being traced) and gives an array of its shape in float64. Counts run from 0; nothing is remembered between calls.

    To add one: a frozen dataclass with the formula in `_at`, written over `ops` so that every backend shares it.
    """

    __slots__ = ()

    @abstractmethod
    def _at(self, t: Any, ops: Ops) -> Any:
        """The formula at the count `t` of this schedule's own start."""

    def __call__(self, count: Any) -> Any:
        if len(self.clocks) > 1:
            raise ScheduleError(
                f"{self.builder().__name__}: "
                f"follows several clocks ({', '.join(sorted(name or 'the plan' for name in self.clocks))}), "
                "so one count is not enough. Use at_counts({unit: count, ...})"
            )
        if type(count) is int and 0 <= count <= MAX_COUNT:
            return self._at(count, SCALAR)
        return evaluate(self._at, count, self.builder().__name__, self._longest)

    def at_counts(self, counts: Mapping[str, int], clock: str = "") -> float:
        """The value at one count per clock, by unit; `clock` names the one that drives what is tied to none.

        Raises:
            ScheduleError: a clock that the tree follows has no count.
        """
        missing = [name or clock for name in self.clocks if (name or clock) not in counts]
        if missing:
            name, clocks, given = (
                self.builder().__name__,
                ", ".join(missing) or "of the plan",
                ", ".join(counts) or "none",
            )
            raise ScheduleError(f"{name}: no count for the clock {clocks}; got {given}")
        checked = {name: self._counted(name, count) for name, count in counts.items()}
        return self._at(checked.get(clock, 0), ScalarOps(checked))

    @staticmethod
    def _counted(name: str, count: object) -> int:
        try:
            return as_count(count)
        except ValueError as error:
            raise ScheduleError(f"{name or 'the count'} {error}") from None

    def _longest(self) -> int:
        """The largest length in the tree."""
        return max((one for node in self.walk() for one in _flat(tuple(_lengths(node))) if type(one) is int), default=0)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        return ()

    @property
    def clocks(self) -> Clocks:
        """A shape reads the one clock that drives it."""
        return _PLAN_CLOCK


_PLAN_CLOCK: Clocks = frozenset({""})


def map_nodes(value: Any, change: Callable[[Node], Node]) -> Any:
    """A parameter with every node in it changed."""
    if isinstance(value, (tuple, list)):
        return tuple(map_nodes(one, change) for one in cast("list[Any]", value))
    return change(value) if isinstance(value, Node) else value


def _compose(name: str, **parameters: Any) -> Any:
    from tempomat.core import compose

    return getattr(compose, name)(**parameters)


def _lengths(node: Node) -> Iterator[Any]:
    for value in node.parameters().values():
        yield from cast(tuple[Any, ...], value) if isinstance(value, tuple) else (value,)


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple):
            yield from _flat(cast(tuple[Any, ...], value))
        else:
            yield value


def _resolved(value: Any, horizon: Horizon, unit: Unit, below: Unit) -> Any:
    if isinstance(value, tuple):
        found: list[Any] = []
        faults: list[Fault] = []
        for place, one in enumerate(cast(tuple[Any, ...], value)):
            try:
                found.append(_resolved(one, horizon, unit, below))
            except ScheduleError as error:
                faults += [fault.under(f"[{place}]") for fault in error.faults]
        if faults:
            raise ScheduleError("; ".join(map(str, faults)), faults)
        return tuple(found)
    if isinstance(value, Duration):
        return horizon.count(value, unit)
    return value.resolve_on(horizon, below) if isinstance(value, Node) else value
