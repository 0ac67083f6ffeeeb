"""A curve in words and key values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from .figure import Series
from .labels import count_label, value_label

FLAT = 1e-12
"""Relative spread below which a curve counts as constant: the rounding of float64, not a schedule."""

_MOST_MOVES = 4


@final
@dataclass(frozen=True, slots=True)
class Summary:
    """A curve's key values, the extremes with the first count that reaches them."""

    first: float
    last: float
    peak: float
    peak_at: int
    low: float
    low_at: int

    @property
    def constant(self) -> bool:
        """Whether the curve never moves."""
        return self.peak - self.low <= FLAT * max(abs(self.peak), abs(self.low))


def summary(series: Series) -> Summary | None:
    """The key values of a series, or None where all of it is a gap."""
    there = np.flatnonzero(~np.isnan(series.values))
    if not there.size:
        return None
    counts, values = series.counts[there], series.values[there]
    peak, low = int(values.argmax()), int(values.argmin())
    return Summary(
        first=float(values[0]),
        last=float(values[-1]),
        peak=float(values[peak]),
        peak_at=int(counts[peak]),
        low=float(values[low]),
        low_at=int(counts[low]),
    )


def story(series: Series) -> str:
    """A series in a line: a short staircase move by move, else first value, inner extremes and last value.

    >>> story(Series("lr", "epochs", counts=[0, 10, 100], values=[0.0, 3e-4, 3e-6]))
    '0 → 3e-4 at 10 → 3e-6'
    >>> story(Series("batch_size", "epochs", counts=[0, 1, 2, 3], values=[32, 64, 64, 128], steps=True))
    '32 → 64 at 1 → 128 at 3'
    >>> story(Series("grad_clip", "epochs", counts=[0, 100], values=[1.0, 1.0]))
    '1 (constant)'
    """
    found = summary(series)
    if found is None:
        return "no values"
    if found.constant:
        return f"{value_label(found.first)} (constant)"
    moves = _moves(series) if series.steps else []
    if 0 < len(moves) <= _MOST_MOVES:
        return " → ".join([value_label(found.first), *moves])
    ends = (found.first, found.last)
    inner = {found.peak_at: found.peak} if found.peak > max(ends) else {}
    inner |= {found.low_at: found.low} if found.low < min(ends) else {}
    middle = [f"{value_label(value)} at {count_label(at)}" for at, value in sorted(inner.items())]
    return " → ".join([value_label(found.first), *middle, value_label(found.last)])


def _moves(series: Series) -> list[str]:
    there = ~np.isnan(series.values)
    counts, values = series.counts[there], series.values[there]
    at = np.flatnonzero(np.diff(values)) + 1
    return [f"{value_label(float(values[i]))} at {count_label(int(counts[i]))}" for i in at[: _MOST_MOVES + 1]]
