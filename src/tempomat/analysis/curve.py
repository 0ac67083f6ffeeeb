"""A schedule over the counts of one clock: its values, its jumps to the count, and the few counts that show all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat.analysis.study import Study
from tempomat.core import Schedule
from tempomat.core.numbers import MAX_COUNT
from tempomat.core.ops import Branch, NumpyOps

POINTS = 2_000
"""Counts of the even grid, before breaks and jumps are added."""
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
        clocks = study.clocks_of(tree)
        if len(clocks) == 1:
            return cls(tree, min(clocks), {})
        return cls(tree, str(study.clock), study.ratios(clocks))

    def at(self, counts: Any) -> Values:
        """The values at counts of the clock, not always finite; halves of a count are allowed."""
        others = {unit: _times(np.floor(counts), ratio) for unit, ratio in self.ratios.items() if unit != self.clock}
        with np.errstate(all="ignore"):
            values = self.schedule._at(counts, _ClockedOps({**others, self.clock: counts}))
        return np.broadcast_to(np.asarray(values, np.float64), counts.shape)

    def trace(self, end: int, breaks: Iterable[Fraction] = (), points: int = POINTS) -> tuple[Counts, Values]:
        """The counts from 0 to `end` that show the curve, and its values: an even grid, breaks, both sides of jumps."""
        corners = {near for at in breaks for near in (int(at) - 1, int(at), -int(-at // 1)) if 0 <= near <= end}
        grid = np.linspace(0, end, min(points, end + 1)).round().astype(np.int64)
        counts = np.union1d(grid, np.fromiter(corners, np.int64, len(corners)))
        for _ in range(_ROUNDS):
            found = self._jumps(counts)
            more = np.union1d(counts, np.concatenate([found - 1, found]))
            if more.size == counts.size:
                break
            counts = more
        return counts, self.at(counts)

    def _jumps(self, counts: Counts) -> Counts:
        """Between each two counts, the first count after the largest jump, where a jump makes most of the change."""
        values = self.at(counts)
        apart = (np.diff(counts) > 1) & (values[1:] != values[:-1])
        low, high = counts[:-1][apart], counts[1:][apart]
        first, last = values[:-1][apart], values[1:][apart]
        whole = last - first
        while low.size and (high - low).max() > 1:
            middle = low + (high - low) // 2
            value = self.at(middle)
            left = np.abs(value - first) >= np.abs(last - value)
            low, high = np.where(left, low, middle), np.where(left, middle, high)
            first, last = np.where(left, first, value), np.where(left, value, last)
        with np.errstate(all="ignore"):
            return high[~(np.abs(last - first) < 0.5 * np.abs(whole))]

    def stepwise(self, counts: Counts) -> bool:
        """Whether the curve holds its value between one count and the next: at halves of a count it has not moved."""
        return bool(np.array_equal(self.at(counts + 0.5), self.at(counts), equal_nan=True))


class _ClockedOps(NumpyOps):
    """NumPy arrays beside which other clocks run: their counts are chosen with the plan's."""

    def __init__(self, counts: Mapping[str, Any]) -> None:
        self.counts = counts

    def select(self, t: Any, boundaries: Sequence[int], branch: Branch) -> Any:
        index, out = np.searchsorted(np.asarray(boundaries), t, side="right"), np.empty(t.shape)
        for k in np.unique(index).tolist():
            chosen = index == k
            ops = _ClockedOps({unit: count[chosen] for unit, count in (self.counts or {}).items()})
            out[chosen] = branch(k, t[chosen], ops)
        return out


def _times(counts: Any, ratio: Fraction) -> Counts:
    """Whole counts of another unit, exact beyond what int64 could multiply."""
    if counts.size == 0 or int(counts.max()) * ratio.numerator < MAX_COUNT:
        return counts.astype(np.int64) * ratio.numerator // ratio.denominator
    exact = (min(int(one) * ratio.numerator // ratio.denominator, MAX_COUNT) for one in counts.tolist())
    return np.fromiter(exact, np.int64, counts.size)


def moves(counts: Counts, values: Values) -> tuple[Counts, Values]:
    """Of a staircase the first count, every count at which it moves, and the last."""
    kept = np.ones(counts.size, bool)
    kept[1:-1] = values[1:-1] != values[:-2]
    return counts[kept], values[kept]
