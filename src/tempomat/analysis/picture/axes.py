"""The ends of an axis and the round numbers along it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import NDArray

from .story import FLAT


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """The ends of a value axis, the levels it has to name, and a remark where it does not show everything."""

    low: float
    high: float
    log: bool
    levels: tuple[float, ...] = ()
    remark: str = ""

    def share(self, value: float) -> float:
        """Where a value lies between the ends: 0 at `low`, 1 at `high`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """The levels where they are few and apart, else at most `most` round values."""
        places = [self.share(level) for level in self.levels]
        apart = all(b - a >= 1 / (1.5 * most) for a, b in pairwise(places))
        if apart and 2 <= len(places) <= most:
            return list(self.levels)
        return log_ticks(self.low, self.high, most) if self.log else round_ticks(self.low, self.high, most)


def axis_for(values: NDArray[np.float64], levels: tuple[float, ...] = (), *, log: bool = False) -> Axis:
    """An axis that holds all the values; NaN are gaps.

    A log axis has room for positive values only: it leaves the others out, and without any positive one it is
    linear. Either way its remark says so.
    """
    positive = values[values > 0]
    if log and positive.size:
        low, high = float(positive.min()), float(positive.max())
        ends = (low, high) if high - low > FLAT * high else (low / 2, high * 2)
        remark = "values at or below 0 are not drawn" if (values <= 0).any() else ""
        return Axis(*ends, log=True, levels=tuple(level for level in levels if level > 0), remark=remark)
    present = values[~np.isnan(values)]
    ends = _linear_ends(float(present.min()), float(present.max())) if present.size else (0.0, 1.0)
    remark = "no value above 0: drawn on a linear axis" if log and present.size else ""
    return Axis(*ends, log=False, levels=levels, remark=remark)


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most `most` where that leaves two.

    >>> round_ticks(0.0, 3e-4, 5), round_ticks(0, 9375, 6)
    ([0.0, 0.0001, 0.0002, 0.0003], [0.0, 2000.0, 4000.0, 6000.0, 8000.0])
    """
    power = math.floor(math.log10((high - low) / max(most, 2))) - 1
    steps = [float(f"{m}e{power + p}") for p in range(4) for m in (1, 2, 5)]
    fitting = [ticks for step in steps if 2 <= len(ticks := _multiples(step, low, high)) <= max(most, 2)]
    return fitting[0] if fitting else [low, high]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, with the 2 and 5 or the 3 between where there is room; round steps inside one decade.

    >>> log_ticks(3e-6, 3e-4, 4), log_ticks(1e-9, 1e-3, 4), log_ticks(0.85, 0.95, 4)
    ([1e-05, 0.0001], [1e-09, 1e-07, 1e-05, 0.001], [0.85, 0.9, 0.95])
    """
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high) + 1e-9)
    densest = [((1, 2, 5), 1), ((1, 3), 1), *[((1,), every) for every in (1, 2, 3, 5, 10, 20, 50, 100)]]
    usable: list[list[float]] = []
    for mantissas, every in densest:
        # Counted down from the highest power, because the values there matter most.
        powers = range(last, first - 1, -every)
        ticks = sorted(float(f"{m}e{p}") for p in powers for m in mantissas)
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        usable += [inside] if len(inside) > 1 else []
    fitting = [ticks for ticks in usable if len(ticks) <= max(most, 2)] or usable[-1:]
    return fitting[0] if fitting else round_ticks(low, high, most)


def _linear_ends(low: float, high: float) -> tuple[float, float]:
    if high - low <= FLAT * max(abs(low), abs(high)):
        room = abs(high) / 2 or 1.0
        return low - room, high + room
    # An axis that nearly reaches 0 may as well start there; a curve far from 0 would be flattened by it.
    low, high = (0.0 if 0 < low < high / 4 else low), (0.0 if 0 > high > low / 4 else high)
    ticks, near = round_ticks(low, high, 5), (high - low) / 20
    below, above = _rounded(2 * ticks[0] - ticks[1]), _rounded(2 * ticks[-1] - ticks[-2])
    return (below if low - near <= below else low), (above if above <= high + near else high)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    several = range(first, min(last, first + 50) + 1)
    return [k * step if step >= 1 else _rounded(k * step) for k in several]


def _rounded(value: float) -> float:
    """The float that reads as few digits: 3 * 1e-4 becomes 0.0003."""
    return float(f"{value:.15g}")
