"""Rules on the values themselves: finite, in range, without jumps that nobody wrote down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tempomat.analysis import words
from tempomat.analysis.curve import Curve, Values
from tempomat.analysis.rules.case import Case, Traced
from tempomat.analysis.rules.registry import Hit, few, rule
from tempomat.analysis.structure import Place
from tempomat.analysis.study import at_first_levels
from tempomat.core import IntervalTable, Noise, Sequence
from tempomat.plan import Range

_LARGE = 2.0
"""What a jump multiplies or divides by at most before it is called large."""
_SMALL = 1.05
"""A jump that is no larger may be rounding of what somebody typed."""
_OWN_STEPS = 1.5
"""How much larger than the curve's own steps a jump must be to stand out."""


@rule(
    "TM201",
    "not-finite",
    "error",
    wrong="""
        total: 100_000
        schedules:
          loss_weight: {type: exponential, init_value: 1.0, decay_rate: 1.1}
    """,
    right="""
        total: 100_000
        schedules:
          loss_weight: {type: exponential, init_value: 1.0, decay_rate: 1.1, end_value: 10.0}
    """,
)
def not_finite(case: Case) -> Iterator[Hit]:
    """A value overflows within the run.

    An exponential with a rate above 1 doubles again and again: at 1.1 per step it passes the largest float64 after
    7 448 steps. The run would be refused at that count, hours after its start.

    Give the curve an `end_value` as its ceiling, or a rate per epoch instead of per step.
    """
    for entry in case.resolved:
        traced = case.traced(entry)
        at = None if traced is None else traced[0].first(traced[1], lambda values: ~np.isfinite(values))
        if traced is not None and at is not None:
            message = f"is {_at(traced, at)} from {words.count(at, traced[0].clock)} on"
            yield Hit(entry.path, message, "Bound it with an end_value or a clip")


def _at(traced: Traced, count: int) -> str:
    return words.value(float(traced[0].at(np.array([count]))[0]))


@rule(
    "TM202",
    "out-of-range",
    "error",
    wrong="""
        total: 10_000
        schedules:
          lr: {type: linear, init_value: 1.0e-3, end_value: -1.0e-5, duration: 100%}
    """,
    right="""
        total: 10_000
        schedules:
          lr: {type: linear, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
)
def out_of_range(case: Case) -> Iterator[Hit]:
    """A value leaves what its hyperparameter may be: a negative lr, a beta of 1, a batch of less than one sample.

    An optimizer does not notice: with a negative lr it climbs the loss. The run itself refuses such a value before
    it is written, at the count where it comes, which may be its last. Controllers are taken at their first level.

    Change the numbers, or keep the value inside with a `clip`.
    """
    for entry in case.resolved:
        traced = case.traced(entry)
        if traced is None:
            continue
        allowed = entry.target.range
        at = traced[0].first(traced[1], partial(_outside, allowed))
        if at is not None:
            where = words.count(at, traced[0].clock)
            message = f"is {_at(traced, at)} at {where}, and {entry.target.key} must be {allowed}"
            yield Hit(entry.path, message, "Change its ends, or clip it")


def _outside(allowed: Range, values: Values) -> NDArray[np.bool_]:
    return np.array([math.isfinite(one) and not allowed.holds(one) for one in values.tolist()])


class Join(NamedTuple):
    """Where one part goes over into the next: the value that the first would have had there, and the one it gets."""

    path: str
    at: Fraction
    clock: str
    goes_on: float
    last: float
    next: float
    own_step: float

    @property
    def factor(self) -> float:
        """How many times larger the larger of the two is; infinite across 0."""
        low, high = sorted((abs(self.goes_on), abs(self.next)))
        if self.goes_on == self.next:
            return 1.0
        return high / low if low > 0 and self.goes_on * self.next > 0 else math.inf

    def words(self) -> str:
        """The jump as a message says it."""
        verb = "rises" if self.next > self.last else "drops"
        size = f", by a factor of {self.factor:.3g}," if math.isfinite(self.factor) else ""
        jump = f"{verb} at once from {words.value(self.last)} to {words.value(self.next)}{size}"
        return f"{jump} at {words.count(self.at, self.clock)}"


@rule(
    "TM203",
    "large-jump",
    "warning",
    wrong="""
        total: 10_000
        schedules:
          lr:
            type: sequence
            boundaries: [1_000]
            parts:
              - {type: linear, init_value: 1.0e-5, end_value: 1.0e-3, duration: 1_000}
              - {type: cosine, init_value: 1.0e-4, end_value: 1.0e-5, duration: 9_000}
    """,
    right="""
        total: 10_000
        schedules:
          lr:
            type: sequence
            boundaries: [1_000]
            parts:
              - {type: linear, init_value: 1.0e-5, end_value: 1.0e-3, duration: 1_000}
              - {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 9_000}
    """,
)
def large_jump(case: Case) -> Iterator[Hit]:
    """Where two joined parts meet, the value jumps by more than a factor of 2, and one of them is a smooth curve.

    A drop between constants is a schedule; a jump between a warmup and its decay is a typing error. Upwards it can
    throw away what was learned. Parts that only hold values, as a step table does, are never reported, nor are
    restarts of `repeat`, of a cyclic shape or of a recipe, and noise is allowed for.

    Let the second part begin at the value that the first one reaches. A recipe takes the peak once and cannot
    disagree.
    """
    yield from (hit for hit, factor in _jumps(case) if factor > _LARGE)


@rule(
    "TM204",
    "jump-in-smooth-curve",
    "warning",
    wrong="""
        total: 10M
        clock: env_steps
        schedules:
          lr:
            type: exponential_decay
            intervals:
              - {end: 3M, init_lr: 1.0e-4, decay_rate: 0.9995, decay_interval: 10_000}
              - {start: 3M, init_lr: 5.0e-5, decay_rate: 0.999, decay_interval: 10_000}
    """,
    right="""
        total: 10M
        clock: env_steps
        schedules:
          lr:
            type: exponential_decay
            intervals:
              - {end: 3M, init_lr: 1.0e-4, decay_rate: 0.9995, decay_interval: 10_000}
              - {start: 3M, init_lr: 8.6e-5, decay_rate: 0.999, decay_interval: 10_000}
    """,
)
def jump_in_smooth_curve(case: Case) -> Iterator[Hit]:
    """A smooth curve jumps by less than a factor of 2, but by far more than its own steps.

    A preset promises "continuous smooth decay", moves by half a per mille each 10 000 steps, and then falls from
    8.61e-5 to 5e-5 at one: the second interval's first value was typed in, not worked out. Reported are jumps above
    5 % that are also above one and a half of the curve's own steps there.

    Let the later part begin where the earlier one ends; the message has that value.
    """
    yield from (hit for hit, factor in _jumps(case) if _SMALL < factor <= _LARGE)


def _jumps(case: Case) -> Iterator[tuple[Hit, float]]:
    for _, place in case.all_places():
        found = {join.path: join for join in _joins(case, place) if _stands_out(join)}
        hits = (
            Hit(join.path, join.words(), f"Begin at {words.value(join.goes_on)}, where the part before it is")
            for join in found.values()
        )
        yield from ((hit, found[hit.path].factor) for hit in few(hits))


def _stands_out(join: Join) -> bool:
    return math.log(join.factor) > max(math.log(_SMALL), _OWN_STEPS * join.own_step)


def _joins(case: Case, place: Place) -> Iterator[Join]:
    """The joins of a sequence or of a table with smooth intervals, as far as the run comes to them."""
    length = case.length(place.clock)
    found = _table_joins(place) if isinstance(place.node, IntervalTable) else _part_joins(case, place)
    yield from (join for join in found if length is None or join.at < length)


def _part_joins(case: Case, place: Place) -> Iterator[Join]:
    if place.kind is not Sequence or _by_design(place):
        return
    given = place.node.parameters()
    starts = [0, *given["boundaries"]]
    for k, (before, after) in enumerate(pairwise(given["parts"])):
        # a controller that is a factor goes on from the value reached, by definition
        if getattr(after, "relative", False):
            continue
        first, second = at_first_levels(before), at_first_levels(after)
        at, own = place.count(starts[k + 1]), Fraction(starts[k + 1] - starts[k])
        goes_on, last = case.value(place, first, own, at), case.value(place, first, own - 1, at - place.pace)
        begins = case.value(place, second, Fraction(0), at)
        if goes_on is None or last is None or begins is None or goes_on == begins:
            continue
        if not (_holds(first, int(own)) and _holds(second, _AHEAD)):
            path = place.path_of(f"parts[{k + 1}]")
            yield Join(path, at, place.clock, goes_on, goes_on or last, begins, max(map(_noise, (first, second))))


def _by_design(place: Place) -> bool:
    """Whether a recipe wrote the parts, none of which was given to it: it restarts where its name says so."""
    return place.recipe is not None and not place.recipe.children()


def _noise(part: Any) -> float:
    """How much of a jump, as a logarithm, the noise in a part may be from one count to the next."""
    sizes = [
        one.limit or (one.scale if one.kind == "uniform" else _MOST_SIGMAS * one.scale)
        for one in part.walk()
        if isinstance(one, Noise)
    ]
    return max((math.log((1 + most) / (1 - most)) if most < 1 else math.inf for most in sizes), default=0.0)


_MOST_SIGMAS = 3
_AHEAD = 1_000


def _holds(part: Any, length: int) -> bool:
    """Whether a part is a staircase over its length, so that a jump to or from it is one more step."""
    if len(part.clocks) > 1:
        return False
    counts = np.unique(np.linspace(0, max(length - 1, 0), 64).astype(np.int64))
    return Curve(part, "", {}).stepwise(counts)


def _table_joins(place: Place) -> Iterator[Join]:
    """The joins of a table that does not only hold values: what each interval would go on with, and the next."""
    table = place.node
    if not isinstance(table, IntervalTable) or table.rule == "step_decay":
        return
    order = sorted(range(len(table.intervals)), key=lambda k: dict(table.intervals[k])["start"])
    for before, after in pairwise(order):
        one, two = dict(table.intervals[before]), dict(table.intervals[after])
        start = two["start"]
        alone = IntervalTable(rule=table.rule, intervals=[one])  # which goes on past its end
        goes_on = table(start - 1) if one["end"] < start else alone(start)
        step = max(abs(math.log(each.get("decay_rate", 1.0))) for each in (one, two))
        path = f"{place.path}.intervals[{after}]"
        yield Join(path, place.count(start), place.clock, goes_on, table(start - 1), table(start), step)
