"""When to evaluate, save, film: moments that come round, at distances that may change over the run.

A moment that is due is told exactly once, however counts jump and wherever a run is broken off.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast, final

from tempomat.core import BindingError, Constant, Duration, Node, Schedule, ScheduleError, StateError, Unit
from tempomat.core.errors import did_you_mean
from tempomat.core.fields import CountKind, ListOf, NumberKind
from tempomat.core.numbers import MAX_COUNT, as_count
from tempomat.plan import Plan, to_data

_KEYS = ("moments", "next", "last")


class _Moments(Protocol):
    """Counts in increasing order."""

    @property
    def spelled(self) -> str: ...

    def first(self) -> int | None: ...

    def after(self, due: int, count: int) -> int | None:
        """The first one after `count`, where `due` is one of them and not after it."""


@final
@dataclass(frozen=True)
class _Spaced:
    """One after the other at the distance that the one before it says."""

    distance: Callable[[int], float]
    spelled: str
    begin: int | None
    even: bool = False

    def first(self) -> int:
        return self._step(0) if self.begin is None else self.begin

    def after(self, due: int, count: int) -> int | None:
        if self.even:
            step = self._step(due)
            return due + ((count - due) // step + 1) * step
        while due <= count:
            due += self._step(due)
        return due

    def _step(self, count: int) -> int:
        distance = self.distance(count)
        if not 1 <= distance <= MAX_COUNT:
            raise BindingError(f"Every: the distance comes to {distance!r} at {count:_}, and must be at least 1")
        return math.floor(distance)


@final
@dataclass(frozen=True)
class _Listed:
    """Counts that were listed."""

    counts: tuple[int, ...]

    @property
    def spelled(self) -> str:
        return f"at {list(self.counts)}"

    def first(self) -> int:
        return self.counts[0]

    def after(self, due: int, count: int) -> int | None:
        place = bisect_right(self.counts, count)
        return self.counts[place] if place < len(self.counts) else None


@final
@dataclass(frozen=True)
class _LogSpaced:
    """`begin * 10^(k / per_decade)`, rounded; where rounding makes two of them one, it comes once."""

    begin: int
    per_decade: int

    @property
    def spelled(self) -> str:
        return f"log-spaced from {self.begin}, {self.per_decade} a decade"

    def first(self) -> int:
        return self.begin

    def after(self, due: int, count: int) -> int:
        place = max(0, math.floor(self.per_decade * math.log10(max(count, 1) / self.begin)) - 1)
        while self._moment(place) <= count:  # twice or three times: the logarithm is near
            place += 1
        return self._moment(place)

    def _moment(self, place: int) -> int:
        decades, rest = divmod(place, self.per_decade)
        return round(self.begin * 10**decades * 10 ** (rest / self.per_decade))


class _Counted(Protocol):
    """What has counts and values, as a `Scheduler` does."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def values(self) -> Mapping[str, float]: ...

    @property
    def plan(self) -> Plan: ...


@final
class Every:
    r"""Moments for evaluation, checkpoints, films: `due` is true once for each of them.

    With an interval :math:`d`, a number or a schedule, the moments are :math:`t_0 = d(0)` and
    :math:`t_{k+1} = t_k + \lfloor d(t_k) \rfloor`: pure, whatever the loop does. Where the clock jumps over a moment,
    as env steps do by 16 at a time, it is told at the first count after it; over several at once, they are told as one.

    Args:
        interval: the distance: a count, a duration such as `"2 epochs"`, or a schedule of distances on `clock`.
        clock: whose counts are looked at; the plan's, or optimizer steps. On `seconds` the loop advances them, for
            example by a `Stopwatch`.
        plan: a resolved plan, such as `scheduler.plan`, for what a duration needs: total and rates.
        first: the first moment, where it is not one interval after 0.
        at_end: also the plan's last count; after it nothing is due.

    Raises:
        ScheduleError: the interval is below 1, or a duration cannot be resolved.
        BindingError: the schedule gives a distance below 1, when it does.

    Example:
        >>> from tempomat import PiecewiseConstant
        >>> evaluate = Every(PiecewiseConstant(values=(10, 100), boundaries=(30,)))
        >>> [count for count in range(300) if evaluate.due(count)]
        [10, 20, 30, 130, 230]
    """

    def __init__(
        self,
        interval: float | str | Duration | Schedule,
        *,
        clock: Unit | str | None = None,
        plan: Plan | None = None,
        first: int | str | Duration | None = None,
        at_end: bool = False,
    ) -> None:
        unit = _unit(clock if clock is not None else plan.clock if plan else Unit.OPTIMIZER_STEPS)
        begin = None if first is None else _count(first, unit, plan, "first", 0)
        if isinstance(interval, Node):
            schedule = _pure(interval, unit, plan)
            spelled = f"every {to_data(schedule, full=True)}, first {begin}"
            self._set(_Spaced(schedule, spelled, begin, isinstance(schedule, Constant)), unit, plan, at_end)
        else:
            step = _count(interval, unit, plan, "interval", 1)
            self._set(_Spaced(lambda _: step, f"every {step}, first {begin}", begin, even=True), unit, plan, at_end)

    def _set(self, moments: _Moments, unit: Unit, plan: Plan | None, at_end: bool) -> None:
        self.clock = str(unit)
        self._moments = moments
        self._end: int | None = None
        if at_end:
            if plan is None or plan.total is None:
                raise ScheduleError("Every: `at_end` needs a plan with a total, plan=scheduler.plan")
            self._end = plan.horizon.count(Duration("100%"), unit)
        self._last: int | None = None
        self._next = self._bounded(moments.first())

    @classmethod
    def at(cls, counts: Iterable[int], *, clock: Unit | str = Unit.OPTIMIZER_STEPS) -> Self:
        """Exactly these counts, in increasing order.

        >>> save = Every.at([1, 10, 100])
        >>> [count for count in range(1_000) if save.due(count)]
        [1, 10, 100]
        """
        try:
            listed = ListOf(CountKind(0), increasing=True).read(list(counts))
        except ScheduleError as error:
            raise ScheduleError(f"Every.at: {error}", error.faults) from None
        one = cls.__new__(cls)
        one._set(_Listed(listed), _unit(clock), None, at_end=False)
        return one

    @classmethod
    def log_spaced(cls, *, first: int = 1, per_decade: int = 3, clock: Unit | str = Unit.OPTIMIZER_STEPS) -> Self:
        """Dense early and sparse late: `per_decade` moments in each factor of ten, from `first` on.

        >>> save = Every.log_spaced(first=10, per_decade=2)
        >>> [count for count in range(1_001) if save.due(count)]
        [10, 32, 100, 316, 1000]
        """
        numbers = {
            name: _count(value, None, None, name, 1) for name, value in (("first", first), ("per_decade", per_decade))
        }
        one = cls.__new__(cls)
        one._set(
            _LogSpaced(**{"begin": numbers["first"], "per_decade": numbers["per_decade"]}), _unit(clock), None, False
        )
        return one

    @classmethod
    def following(
        cls, scheduler: _Counted, entry: str, *, clock: Unit | str | None = None, at_end: bool = False
    ) -> Self:
        """At the distances that an entry of the running plan says: `eval_interval`, `checkpoint_interval`.

        Where controllers are in the entry, each distance is the value in force at the moment before it.
        """
        plan = scheduler.plan
        tree = plan[entry]
        unit = _unit(clock if clock is not None else next((name for name in sorted(tree.clocks) if name), plan.clock))
        if isinstance(tree, Schedule) and {name or str(plan.clock) for name in tree.clocks} <= {str(unit)}:
            return cls(tree, clock=unit, plan=plan, at_end=at_end)
        one = cls.__new__(cls)
        spelled = f"as {entry} says: {to_data(tree, full=True)}"
        one._set(_Spaced(lambda _: scheduler.values[entry], spelled, None), unit, plan, at_end)
        return one

    def due(self, counts: Mapping[str, int] | int) -> bool:
        """Whether a moment has come that was not told yet; it counts as told.

        Args:
            counts: `scheduler.counts`, or the count of this clock.
        """
        count = self._read(counts)
        if self._next is None or count < self._next:
            return False
        self._last = count
        self._next = self._bounded(self._moments.after(self._next, count))
        return True

    @property
    def next(self) -> int | None:
        """The count of the next moment; None after the last."""
        return self._next

    @property
    def last(self) -> int | None:
        """The count at which one was last told."""
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """Plain data. Save it after `due` was asked and acted upon, and a resumed run does neither twice nor never."""
        return {"moments": self._spelled, "next": self._next, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any], on_change: str = "refuse") -> None:
        """Go on from a saved state.

        Args:
            state: what `state_dict` gave.
            on_change: other moments than when it was saved are an error; with `replace` the new ones go on from the
                last one told.

        Raises:
            StateError: the state is none of this kind, or the moments have changed.
        """
        if set(state) != set(_KEYS) or not all(state[key] is None or _whole(state[key]) for key in ("next", "last")):
            raise StateError(f"a state of Every has {', '.join(_KEYS)}, got {dict(state)!r}")
        if on_change not in ("refuse", "replace"):
            raise StateError(f"on_change must be refuse or replace, got {on_change!r}")
        last = cast("int | None", state["last"])
        if state["moments"] == self._spelled:
            self._next, self._last = state["next"], last
            return
        if on_change == "refuse":
            raise StateError(
                f"the moments have changed since the state was saved: {state['moments']} -> {self._spelled}. "
                "To go on with the new ones: on_change='replace'"
            )
        due = self._bounded(self._moments.first())
        if last is not None and due is not None and due <= last:
            due = self._bounded(self._moments.after(due, last), last)
        self._next, self._last = due, last

    @property
    def _spelled(self) -> str:
        return f"{self._moments.spelled}, in {self.clock}" + ("" if self._end is None else f", and at {self._end}")

    def _bounded(self, due: int | None, last: int | None = None) -> int | None:
        """The next moment, where the end is one too and the last."""
        last = self._last if last is None else last
        if self._end is None:
            return due
        if last is not None and last >= self._end:
            return None
        return self._end if due is None else min(due, self._end)

    def _read(self, counts: Mapping[str, int] | int) -> int:
        if isinstance(counts, Mapping):
            if self.clock not in counts:
                raise BindingError(
                    f"Every: looks at {self.clock}, and the counts are of {', '.join(counts) or 'nothing'}. Advance "
                    f"them, scheduler.advance({self.clock}=...), or give clock="
                )
            return counts[self.clock]
        try:
            return as_count(counts)
        except ValueError as error:
            raise BindingError(f"Every: the count {error}") from None


@final
class Stopwatch:
    """Whole seconds of training, over all sessions of a run: `scheduler.advance(seconds=watch.passed())`.

    It runs from when it is built or loaded; what passes between two sessions does not count.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._told = 0

    def passed(self) -> int:
        """Whole seconds since it was last asked; the rest is kept for the next time."""
        seconds = math.floor(self._now() - self._start) - self._told
        self._told += seconds
        return seconds

    def state_dict(self) -> dict[str, Any]:
        """The part of a second that was not told yet."""
        return {"rest": self._now() - self._start - self._told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the part of a second that was saved.

        Raises:
            StateError: the state is none of this kind.
        """
        try:
            (rest,) = (cast(float, NumberKind(at_least=0).read(state[key])) for key in state if key == "rest")
        except ValueError as error:
            raise StateError(f"a state of Stopwatch has rest, a number of seconds, got {dict(state)!r}") from error
        self._start, self._told = self._now() - rest, 0


def _unit(clock: Unit | str) -> Unit:
    if clock not in tuple(Unit):
        raise ScheduleError(
            f"Every: no unit of the name {clock!r}.{did_you_mean(str(clock), tuple(Unit))} Units: {', '.join(Unit)}"
        )
    return Unit(clock)


def _count(length: object, unit: Unit | None, plan: Plan | None, name: str, least: int) -> int:
    try:
        read = CountKind(least).read(length)
        if isinstance(read, Duration):
            horizon = (plan or Plan({"lr": 0.0})).horizon
            read = CountKind(least).read(horizon.count(read, unit))
    except ValueError as error:
        raise ScheduleError(f"Every: `{name}` {error}") from None
    return cast(int, read)


def _pure(interval: Node, unit: Unit, plan: Plan | None) -> Schedule:
    if not isinstance(interval, Schedule):
        raise ScheduleError(
            "Every: a distance that depends on measurements belongs into the plan: Every.following(scheduler, entry)"
        )
    resolved = interval.resolve_on((plan or Plan({"lr": 0.0})).horizon, unit)
    return cast(Schedule, resolved)


def _whole(value: object) -> bool:
    return type(value) is int and value >= 0
