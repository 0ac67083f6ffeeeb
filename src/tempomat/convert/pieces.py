"""Compositions that several hosts need."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from tempomat.convert.arguments import product
from tempomat.core import Constant, Linear, MultiStep, PiecewiseConstant, PiecewiseLinear, Schedule


def warmed(init_value: float, peak_value: float, warmup: int, after: Any) -> Any:
    """A line from `init_value` to `peak_value`, then `after`; none where `warmup` is 0."""
    if warmup == 0:
        return after
    return Linear(init_value=init_value, end_value=peak_value, duration=warmup).then(after, at=warmup)


def drops(init_value: float, factor: float, milestones: Sequence[int]) -> Schedule:
    """`init_value`, times `factor` at each milestone; one that is listed twice counts twice, one at 0 from the
    beginning.
    """
    early, later = [one for one in milestones if one <= 0], sorted(one for one in milestones if one > 0)
    value = product(init_value, *[factor] * len(early))
    if not later:
        return Constant(value=value)
    if len(set(later)) == len(later):
        return MultiStep(init_value=value, factor=factor, milestones=later)
    values, boundaries = [value], list[int]()
    for place, again in groupby(later):
        boundaries.append(place)
        values.append(product(values[-1], *[factor] * len(list(again))))
    return PiecewiseConstant(values=values, boundaries=boundaries)


def points(places: Sequence[int], values: Sequence[float]) -> Any:
    """Straight lines through points in order; two at the same place are a jump."""
    starts = [0, *(k for k in range(1, len(places)) if places[k] == places[k - 1]), len(places)]
    whole: Any = None
    for begin, end in pairwise(starts):
        origin = places[begin] if begin else 0
        spots, heights = [one - origin for one in places[begin:end]], values[begin:end]
        piece: Any = PiecewiseLinear(values=heights, boundaries=spots) if len(spots) > 1 else Constant(value=heights[0])
        whole = piece if whole is None or origin == 0 else whole.then(piece, at=origin)
    return whole
