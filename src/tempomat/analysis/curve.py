"""A schedule over the counts of one clock: values, jumps to the count, and the few counts that show all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat.analysis.study import Study
from tempomat.core import Node, On, Schedule
from tempomat.core.numbers import MAX_COUNT

POINTS = 2_000
"""Counts of the even grid, before breaks and jumps are added."""
MIXED_POINTS = 400
"""The same for a curve that follows several clocks, which is evaluated count by count."""
_ROUNDS = 3

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """A schedule, the clock that it is looked at by, and how many of each other unit one of its counts is."""

    schedule: Schedule
    clock: str
    ratios: Mapping[str, Fraction]

    @classmethod
    def of(cls, tree: Schedule, study: Study) -> Curve:
        """A tree over its only clock; over the plan's, with the others derived, where it follows several.

        Raises:
            ScheduleError: nothing given converts one of several clocks; the message names what is missing.
        """
        clocks = study.clocks_of(tree) or {str(study.clock)}
        if len(tree.clocks) <= 1:
            return cls(tree, min(clocks), {})
        return cls(tree, str(study.clock), study.ratios(clocks))

    def at(self, counts: Counts) -> Values:
        """The values at counts of the clock, not always finite."""
        with np.errstate(all="ignore"):
            if not self.ratios:
                return np.broadcast_to(np.asarray(self.schedule(counts), np.float64), counts.shape)
            values = (self.schedule.at_counts(self._others(count), self.clock) for count in counts.tolist())
            return np.fromiter(values, np.float64, counts.size)

    def _others(self, count: int) -> dict[str, int]:
        """Every clock's whole count while this one is at `count`."""
        return {unit: min(int(count * ratio), MAX_COUNT) for unit, ratio in self.ratios.items()} | {self.clock: count}

    def trace(self, end: int, breaks: Iterable[Fraction] = (), points: int = POINTS) -> tuple[Counts, Values]:
        """The counts from 0 to `end` that show the curve, and its values: an even grid, breaks, both sides of jumps."""
        corners = {near for at in breaks for near in (int(at) - 1, int(at), -int(-at // 1)) if 0 <= near <= end}
        points = min(points, MIXED_POINTS) if self.ratios else points
        grid = np.linspace(0, end, min(points, end + 1)).round().astype(np.int64)
        counts = np.union1d(grid, np.fromiter(corners, np.int64, len(corners)))
        for _ in range(_ROUNDS):
            found = self._jumps(counts)
            more = np.union1d(counts, np.concatenate([found - 1, found]))
            if more.size == counts.size:
                break
            counts = more
        overflow = self.first(counts, lambda values: ~np.isfinite(values))
        if overflow is not None:
            counts = np.union1d(counts, np.array([max(overflow - 1, 0), overflow]))
        return counts, self.at(counts)

    def _jumps(self, counts: Counts) -> Counts:
        """Between each two counts, the first count after the largest jump, where a jump makes most of the change."""
        values = _tame(self.at(counts))
        apart = (np.diff(counts) > 1) & (values[1:] != values[:-1])
        low, high = counts[:-1][apart], counts[1:][apart]
        first, last = values[:-1][apart], values[1:][apart]
        whole = last - first
        while low.size and (high - low).max() > 1:
            middle = low + (high - low) // 2
            value = _tame(self.at(middle))
            left = np.abs(value - first) >= np.abs(last - value)
            low, high = np.where(left, low, middle), np.where(left, middle, high)
            first, last = np.where(left, first, value), np.where(left, value, last)
        return high[np.abs(last - first) >= 0.5 * np.abs(whole)]

    def first(self, counts: Counts, wrong: Callable[[Values], NDArray[np.bool_]]) -> int | None:
        """The first count whose value is wrong, found among traced counts and narrowed down from there."""
        found = np.flatnonzero(wrong(self.at(counts)))
        if not found.size:
            return None
        high, low = int(counts[found[0]]), int(counts[found[0] - 1]) if found[0] else -1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if wrong(self.at(np.array([middle])))[0] else (middle, high)
        return high

    def stepwise(self, counts: Counts) -> bool:
        """Whether the curve holds its value between one count and the next: at halves of a count it has not moved.

        Several clocks have no common half; their curve is not called stepwise.
        """
        if self.ratios:
            return False
        with np.errstate(all="ignore"):
            halfway = _untied(self.schedule).stretch(2)(2 * counts + 1)
        return bool(np.array_equal(halfway, self.at(counts), equal_nan=True))


def _tame(values: Values) -> Values:
    """Values whose differences are finite, for finding jumps among them."""
    return np.clip(np.nan_to_num(values, nan=0.0), -1e300, 1e300)


def _untied(node: Node) -> Any:
    """A tree on a single clock as a tree on the plan's."""
    return _untied(node.parameters()["schedule"]) if node.builder() is On else node.rebuilt(_untied)


def moves(counts: Counts, values: Values) -> tuple[Counts, Values]:
    """Of a staircase the first count, every count at which it moves, and the last."""
    kept = np.ones(counts.size, bool)
    kept[1:-1] = values[1:-1] != values[:-2]
    return counts[kept], values[kept]
