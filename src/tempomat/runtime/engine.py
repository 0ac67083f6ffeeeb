"""What every host's scheduler shares: the counters, the values in force, the controllers' states.

A value is a pure function of plan, counts and controller states. Because it is, values are computed a block of counts
at a time, as an array, and a step only takes the next one: it costs a list look-up whatever the schedule, and the
range guard runs over the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, final

import numpy as np

from tempomat.core import BindingError, MeasurementError, Node, Reactive, Schedule, ScheduleError, Unit
from tempomat.core.controllers import State
from tempomat.core.errors import did_you_mean
from tempomat.core.numbers import MAX_COUNT, as_count
from tempomat.plan import Plan, Range, entry_name

BLOCK = 512
"""Counts computed ahead at a time."""

_UNITS = frozenset(str(unit) for unit in Unit)

Write = Callable[[float], None]
Event = dict[str, Any]
"""What happened besides the passing of time: a decision, a resume, a rewind. Plain data."""


def _ignore(value: float) -> None:
    """The target of a value that the loop reads by itself."""


@final
class Track:
    """One entry of the plan while it runs: its tree, the schedule it is at present, and the values computed ahead."""

    __slots__ = (
        "_range",
        "asked",
        "clock",
        "name",
        "outside",
        "schedule",
        "states",
        "still",
        "tree",
        "values",
        "write",
    )

    def __init__(self, name: str, tree: Node, clock: str) -> None:
        self.name, self.tree = name, tree
        self.states: list[State] = [one.initial() for one in tree.controllers]
        self.schedule = self.under(self.states)
        self.write: Write = _ignore
        self.outside = False  # whether `write` is a function of the user's, which may fail
        self.values: list[float] = []
        self.asked = math.nan
        self._range: Range = entry_name(name).range
        clocks = {one or clock for one in self.schedule.clocks} or {clock}
        self.clock: str | None = next(iter(clocks)) if len(clocks) == 1 else None
        self.still = not self.schedule.clocks  # no count moves it, only a decision

    def under(self, states: Sequence[State]) -> Schedule:
        """The pure schedule that the tree is under controller states."""
        if isinstance(self.tree, Reactive):
            return self.tree.given([one.level(s) for one, s in zip(self.tree.controllers, states, strict=True)])
        return cast(Schedule, self.tree)

    def moved(self, states: Sequence[State]) -> bool:
        """Whether other states mean another level."""
        levels = zip(self.tree.controllers, self.states, states, strict=True)
        return any(rule.level(old) != rule.level(new) for rule, old, new in levels)

    def at(self, counts: Mapping[str, int], clock: str, schedule: Schedule | None = None) -> float:
        """The value at these counts, refused where the target could not take it."""
        schedule = schedule or self.schedule
        value = schedule(counts[self.clock]) if self.clock else schedule.at_counts(counts, clock)
        if not self._range.holds(value):
            at = ", ".join(f"{unit} {count:_}" for unit, count in counts.items())
            raise BindingError(
                f"{self.name} comes to {value!r} at {at}, and must be {self._range}. Clip the schedule, or mend it"
            )
        return value

    def ahead(self, count: int, most: int | None = None) -> list[float]:
        """The values from `count` on; up to the first that the target could not take."""
        length = min(BLOCK if most is None else most, MAX_COUNT - count + 1)
        if length < 1:
            return []
        try:
            array = self.schedule(np.arange(count, count + length))
        except ScheduleError:  # a function of the user's may end where the run does
            if length == 1:
                return []
            return self.ahead(count, length // 2)
        values: list[float] = array.tolist()
        if self._range.holds(float(array.min())) and self._range.holds(float(array.max())):  # a NaN is neither
            return values
        return values[: next(place for place, value in enumerate(values) if not self._range.holds(value))]


@final
class Engine:
    """The plan at work: counts go in, values come out through each track's `write`.

    Whatever is asked of it either happens whole or, with an error, not at all: new values are computed and checked
    first, then handed to the user's own functions, which may fail, then written, and only then do counts move.

    Args:
        plan: resolved.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = str(plan.clock)
        self.counts: dict[str, int] = {self.clock: 0}
        self.tracks = {name: Track(name, node, self.clock) for name, node in plan.schedules.items()}
        for track in self.tracks.values():
            for clock in track.schedule.clocks:
                self.counts.setdefault(clock or self.clock, 0)
        self.events: list[Event] = []
        self.started = False
        self._ticking = [track for track in self.tracks.values() if track.clock == self.clock]
        self._moving = [track for track in self.tracks.values() if not track.still]
        self._mixed = any(track.clock is None for track in self.tracks.values())
        self._first, self._length = 0, 0

    @property
    def asked(self) -> dict[str, float]:
        """What each schedule says at the present counts, in float64."""
        return {name: track.at(self.counts, self.clock) for name, track in self.tracks.items()}

    def aim(self, writes: Mapping[str, tuple[Write, bool]]) -> None:
        """Say where values go: by entry a function, and whether it is the user's own."""
        for name, (write, outside) in writes.items():
            self.tracks[name].write, self.tracks[name].outside = write, outside
        self._ticking.sort(key=lambda track: not track.outside)

    def start(self) -> None:
        """Write every value anew. Nothing has been written before the first start."""
        self._write(self.asked, anew=True)
        self.started = True

    def tick(self) -> None:
        """One more count of the plan's clock: write what changes."""
        counts, clock = self.counts, self.clock
        count = counts[clock] + 1
        place = count - self._first
        if not 0 <= place < self._length:
            self._look_ahead(count)
            place = 0
        if self._mixed or not self.started:
            self._commit({**counts, clock: count})
            return
        for track in self._ticking:
            value = track.values[place]
            if value != track.asked:
                track.write(value)
                track.asked = value
        counts[clock] = count

    def advance(self, changes: Mapping[str, object]) -> None:
        """Counters forward by these amounts, by unit; a value that follows one of them is written.

        Raises:
            BindingError: an amount is no count, or there is no unit of that name.
        """
        later = dict(self.counts)
        for name, amount in changes.items():
            unit = _unit(name)
            later[unit] = _count(unit, later.get(unit, 0) + _count(unit, amount))
        self._commit(later)

    def rewind(self, changes: Mapping[str, object]) -> None:
        """Counters set back to earlier values, on purpose. The record shows it; controllers keep their states.

        Raises:
            BindingError: a count is not an earlier one.
        """
        earlier = {_unit(name): _count(name, count) for name, count in changes.items()}
        before = dict(self.counts)
        for unit, count in earlier.items():
            if count > before.get(unit, 0):
                raise BindingError(
                    f"rewind: {unit} is at {before.get(unit, 0)}, before {count}. Forward it goes by advance"
                )
        self._commit({**before, **earlier})
        self.events.append({"event": "rewind", "before": before, "counts": dict(self.counts)})

    def observe(self, measurements: Mapping[str, object], *, tick: bool = False) -> list[Event]:
        """Show measurements to the controllers that listen to them; returns the decisions they took.

        With `tick` the plan's clock goes one count forward as well, and the measurement belongs to the new count: a
        decision holds from it on.

        Raises:
            MeasurementError: no controller listens to a name, or a value is no number.
        """
        counts = {**self.counts, self.clock: self.counts[self.clock] + tick}
        numbers = {metric: self.number(metric, value) for metric, value in measurements.items()}
        states, decisions = self._decide(numbers, counts)
        self._commit(counts, states)
        self.events += decisions
        return decisions

    def _decide(
        self, numbers: Mapping[str, float], counts: dict[str, int]
    ) -> tuple[dict[str, list[State]], list[Event]]:
        """The controllers' states after measurements at these counts, and the decisions; nothing is changed."""
        changed: dict[str, list[State]] = {}
        decisions: list[Event] = []
        for name, track in self.tracks.items():
            tree = track.tree
            if not isinstance(tree, Reactive):
                continue
            changed[name] = states = list(track.states)
            for place, (rule, conditions) in enumerate(zip(tree.controllers, tree.listening(), strict=True)):
                if rule.metric in numbers and all(self._holds(one, counts) for one in conditions):
                    seen, before = numbers[rule.metric], rule.level(states[place])
                    states[place] = rule.update(states[place], seen, counts[self.clock])
                    if rule.level(states[place]) != before:
                        shown = seen if math.isfinite(seen) else None
                        what = {"entry": name, "controller": place, "metric": rule.metric, "observation": shown}
                        level = rule.level(states[place])
                        decisions.append({"event": "decision", **what, "level": level, "counts": dict(counts)})
        return changed, decisions

    def _holds(self, condition: tuple[str, int, int | None], counts: Mapping[str, int]) -> bool:
        clock, start, end = condition
        count = counts.get(clock or self.clock, 0)
        return start <= count and (end is None or count < end)

    def number(self, metric: str, value: object) -> float:
        """A measurement as a plain float, of a metric that a controller listens to; anything else is refused."""
        heard = {rule.metric for track in self.tracks.values() for rule in track.tree.controllers}
        if metric not in heard:
            known = f"Metrics: {', '.join(sorted(heard))}" if heard else "The plan has no controller"
            raise MeasurementError(f"nothing in the plan listens to {metric!r}.{did_you_mean(metric, heard)} {known}")
        try:
            if isinstance(value, (bool, str)):
                raise TypeError
            number: Any = value
            return float(number.detach() if hasattr(number, "detach") else number)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            shown = repr(value)[:60]
            raise MeasurementError(f"{metric} must be a number, got {shown} ({type(value).__name__})") from None

    def _look_ahead(self, count: int) -> None:
        blocks = [track.ahead(count) for track in self._ticking]
        for track, block in zip(self._ticking, blocks, strict=True):
            if not block:
                track.at({**self.counts, self.clock: count}, self.clock)
        for track, block in zip(self._ticking, blocks, strict=True):
            track.values = block
        self._first, self._length = count, min((len(block) for block in blocks), default=MAX_COUNT)

    def _commit(self, counts: dict[str, int], states: Mapping[str, list[State]] | None = None) -> None:
        """Move to new counts and states: compute, check, write, then move."""
        tracks, states = self.tracks, states or {}
        schedules = {name: tracks[name].under(new) for name, new in states.items() if tracks[name].moved(new)}
        moved = {unit for unit, count in counts.items() if count != self.counts.get(unit)}
        touched = [
            track
            for track in (tracks.values() if schedules else self._moving)
            if track.name in schedules or (not track.still and (track.clock in moved if track.clock else bool(moved)))
        ]
        fresh = {track.name: track.at(counts, self.clock, schedules.get(track.name)) for track in touched}
        if self.started:
            self._write(fresh)
        for name, new in states.items():
            tracks[name].states = new
        for name, schedule in schedules.items():
            tracks[name].schedule = schedule
            self._length = 0
        self.counts.update(counts)

    def _write(self, fresh: Mapping[str, float], *, anew: bool = False) -> None:
        for track in sorted((self.tracks[name] for name in fresh), key=lambda track: not track.outside):
            value = fresh[track.name]
            if anew or value != track.asked:
                track.write(value)
                track.asked = value


def _unit(name: str) -> str:
    if name not in _UNITS:
        raise BindingError(f"no unit of the name {name!r}.{did_you_mean(name, tuple(Unit))} Units: {', '.join(Unit)}")
    return str(name)


def _count(unit: str, count: object) -> int:
    try:
        return as_count(count)
    except ValueError as error:
        raise BindingError(
            f"{unit} {error}. Clocks go forward by whole counts; to go back on purpose use rewind"
        ) from None
