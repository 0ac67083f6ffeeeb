"""What several seeds say together: a mean, and how far the mean of other seeds may lie from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
"""The share of such intervals that hold the true mean."""


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval by Student's t; infinite ends for one value alone."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there were enough values for an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def interval(values: Sequence[float]) -> Interval:
    r"""The mean plus and minus :math:`t_{0.975,\,n-1}\, s / \sqrt n`, for normal values.

    >>> interval([1.0, 2.0, 3.0]).mean, interval([1.0]).known
    (2.0, False)
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2 or not math.isfinite(mean):
        return Interval(mean, -math.inf, math.inf)
    half = student_t(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def student_t(freedom: int) -> float:
    r"""The t within :math:`\pm` which 95 % of Student's distribution with so many degrees of freedom lies.

    >>> round(student_t(4), 3), round(student_t(1000), 3)
    (2.776, 1.962)

    Source:
        Abramowitz and Stegun 1964, 26.7.3 and 26.7.4, for the share within; inverted by bisection.
    """
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        if _within(middle, freedom) < LEVEL:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """The share between -t and t, with t = tan(angle) times the root of the degrees of freedom."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
