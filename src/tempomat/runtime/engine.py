"""What every host's scheduler shares: the counters, the values in force, the controllers' states.

A value is a pure function of plan, counts and controller states. Because it is, values are computed a block of counts
at a time, as an array, and a step only takes the next one: it costs a list look-up whatever the schedule, and the
range guard runs over the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast, final

import numpy as np

from tempomat.core import BindingError, MeasurementError, Node, Reactive, Schedule, Unit
from tempomat.core.controllers import State
from tempomat.core.errors import did_you_mean
from tempomat.core.numbers import MAX_COUNT, as_count
from tempomat.plan import Plan, Range, entry_name

BLOCK = 512
"""Counts computed ahead at a time."""

Write = Callable[[float], None]
Event = dict[str, Any]
"""What happened besides the passing of time: a decision, a resume, a rewind. Plain data."""


def _ignore(value: float) -> None:
    """The target of a value that the loop reads by itself."""


@final
class Track:
    """One entry of the plan while it runs: its tree, the schedule it is at present, and the values computed ahead."""

    __slots__ = ("_range", "asked", "clock", "name", "schedule", "states", "tree", "values", "write")

    def __init__(self, name: str, tree: Node, clock: str) -> None:
        self.name, self.tree = name, tree
        self.states: list[State] = [one.initial() for one in tree.controllers]
        self.write: Write = _ignore
        self.values: list[float] = []
        self.asked = math.nan
        self._range: Range = entry_name(name).range
        self.schedule: Schedule = self.settle()
        clocks = {one or clock for one in self.schedule.clocks} or {clock}
        self.clock: str | None = next(iter(clocks)) if len(clocks) == 1 else None

    def settle(self) -> Schedule:
        """The pure schedule that the tree is under the present states."""
        tree = self.tree
        if isinstance(tree, Reactive):
            tree = tree.given([one.level(state) for one, state in zip(tree.controllers, self.states, strict=True)])
        self.schedule = cast(Schedule, tree)
        return self.schedule

    def at(self, counts: Mapping[str, int], clock: str) -> float:
        """The value at these counts, refused where the target could not take it."""
        value = self.schedule(counts[self.clock]) if self.clock else self.schedule.at_counts(counts, clock)
        if not self._range.holds(value):
            raise BindingError(
                f"{self.name} comes to {value!r} at {_shown(counts)}, and must be {self._range}. "
                "Clip the schedule, or mend it"
            )
        return value

    def ahead(self, count: int) -> list[float]:
        """The values from `count` on; up to the first that the target could not take."""
        length = min(BLOCK, MAX_COUNT - count + 1)
        values = self.schedule(np.arange(count, count + length))
        wrong = next((place for place, value in enumerate(values.tolist()) if not self._range.holds(value)), length)
        return values[:wrong].tolist()


@final
class Engine:
    """The plan at work: counts go in, values come out through each track's `write`.

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
        self._others = [track for track in self.tracks.values() if track.clock != self.clock]
        self._first, self._length = 0, 0

    @property
    def asked(self) -> dict[str, float]:
        """What each schedule says at the present counts, in float64."""
        return {name: track.at(self.counts, self.clock) for name, track in self.tracks.items()}

    def start(self) -> None:
        """Write every value anew. Nothing has been written before the first start."""
        fresh = self.asked
        for name, track in self.tracks.items():
            track.write(fresh[name])
            track.asked = fresh[name]
        self.started = True

    def tick(self) -> None:
        """One more count of the plan's clock: write what changes. An impossible value is refused before anything
        moves.
        """
        counts, clock = self.counts, self.clock
        count = counts[clock] + 1
        place = count - self._first
        if not 0 <= place < self._length:
            self._look_ahead(count)
            place = 0
        if self._others:
            self._move({clock: count})
        counts[clock] = count
        for track in self._ticking:
            value = track.values[place]
            if value != track.asked:
                track.write(value)
                track.asked = value

    def advance(self, changes: Mapping[str, object]) -> None:
        """Counters forward by these amounts, by unit; a value that follows one of them is written.

        Raises:
            BindingError: an amount is no count, or there is no unit of that name.
        """
        later = dict(self.counts)
        for unit, amount in changes.items():
            later[self._unit(unit)] = later.get(unit, 0) + self._amount(unit, amount)
        if later.get(self.clock, 0) > self.counts[self.clock]:
            self._length = 0
        fresh = {name: track.at(later, self.clock) for name, track in self.tracks.items()}
        self.counts.update(later)
        self._write(fresh)

    def rewind(self, counts: Mapping[str, object]) -> None:
        """Counters set to earlier values, on purpose. The record shows it; controllers keep their states."""
        target = {self._unit(unit): self._amount(unit, amount) for unit, amount in counts.items()}
        before = dict(self.counts)
        self.counts.update(target)
        self._length = 0
        self.events.append({"event": "rewind", "before": before, "counts": dict(self.counts)})
        self._write(self.asked)

    def observe(self, measurements: Mapping[str, object], *, tick: bool = False) -> list[Event]:
        """Show measurements to the controllers that listen to them; returns the decisions they took.

        With `tick` the plan's clock goes one count forward first: the measurement belongs to the count that has just
        ended, and a decision holds from the next one on. A bad measurement is refused before anything moves.

        Raises:
            MeasurementError: no controller listens to a name, or a value is no number.
        """
        counts = {**self.counts, self.clock: self.counts[self.clock] + tick}
        changed, decisions = self._decide(
            {metric: self._number(metric, value) for metric, value in measurements.items()}, counts
        )
        if tick:
            self.tick()
        for name, states in changed.items():
            self.tracks[name].states = states
            self.tracks[name].settle()
        self._length = 0
        self._write(self.asked)
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
                        what = {
                            "entry": name,
                            "controller": place,
                            "metric": rule.metric,
                            "observation": shown,
                        }
                        decisions.append(
                            {
                                "event": "decision",
                                **what,
                                "level": rule.level(states[place]),
                                "counts": counts,
                            }
                        )
        return changed, decisions

    def _holds(self, condition: tuple[str, int, int | None], counts: Mapping[str, int]) -> bool:
        clock, start, end = condition
        count = counts.get(clock or self.clock, 0)
        return start <= count and (end is None or count < end)

    def _number(self, metric: str, value: object) -> float:
        heard = {rule.metric for track in self.tracks.values() for rule in track.tree.controllers}
        if metric not in heard:
            known = f"Metrics: {', '.join(sorted(heard))}" if heard else "The plan has no controller"
            raise MeasurementError(f"nothing in the plan listens to {metric!r}.{did_you_mean(metric, heard)} {known}")
        try:
            if isinstance(value, (bool, str)):
                raise TypeError
            return float(value)  # pyright: ignore[reportArgumentType] - a number of any library
        except (TypeError, ValueError, RuntimeError):
            raise MeasurementError(f"{metric} must be a number, got {value!r} ({type(value).__name__})") from None

    def _look_ahead(self, count: int) -> None:
        blocks = [track.ahead(count) for track in self._ticking]
        for track, block in zip(self._ticking, blocks, strict=True):
            if not block:
                track.at({**self.counts, self.clock: count}, self.clock)
            track.values = block
        self._first, self._length = count, min((len(block) for block in blocks), default=MAX_COUNT)

    def _move(self, changes: Mapping[str, int]) -> None:
        later = {**self.counts, **changes}
        fresh = {track.name: track.at(later, self.clock) for track in self._others if track.clock is None}
        self._write(fresh)

    def _write(self, fresh: Mapping[str, float]) -> None:
        if not self.started:
            return
        for name, value in fresh.items():
            track = self.tracks[name]
            if value != track.asked:
                track.write(value)
                track.asked = value

    def _unit(self, unit: str) -> str:
        if unit not in tuple(Unit):
            raise BindingError(
                f"no unit of the name {unit!r}.{did_you_mean(unit, tuple(Unit))} Units: {', '.join(Unit)}"
            )
        return unit

    def _amount(self, unit: str, amount: object) -> int:
        try:
            return as_count(amount)
        except ValueError as error:
            raise BindingError(
                f"{unit} {error}. Clocks go forward by whole counts; to go back on purpose use rewind"
            ) from None


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{unit} {count:_}" for unit, count in counts.items())
