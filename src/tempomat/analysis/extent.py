"""How far a plan has to be looked at: to the run's end, or as far as its schedules name counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from tempomat.analysis import periods
from tempomat.analysis.structure import Place, end_of, own_breaks, places
from tempomat.analysis.study import Study
from tempomat.core import Controller, InverseTime
from tempomat.core.numbers import MAX_LENGTH
from tempomat.core.recipes import FromRecipe

_NO_END = 100
_MOST_PERIODS = 1_000_000


@final
@dataclass(frozen=True, slots=True)
class Extent:
    """How far each clock is looked at, and what had to be assumed for that."""

    study: Study

    def of(self, clock: str) -> int:
        """The run's length on a clock, or else how far the trees on it name counts."""
        return self.study.length(clock) or self._named(clock)

    def remarks(self) -> Iterator[str]:
        """What a reader of the picture should know about the plan's clock."""
        plan = self.study.plan
        if plan.total is None:
            yield "No total is given: drawn as far as the schedules name counts."
        elif self.study.length(plan.clock) is None:
            known = f"The total ({plan.total}) is no count of {plan.clock} yet"
            yield f"{known}: drawn as far as the schedules name counts."

    def remarks_on(self, clock: str) -> Iterator[str]:
        """The same about a clock that is not the plan's."""
        if clock != self.study.clock and self.study.length(clock) is None:
            yield f"how many {clock} the run has is not known: drawn as far as the schedules name counts"

    def _named(self, clock: str) -> int:
        reaches = [
            _reach(place)
            for entry in self.study.entries
            if entry.node is not None
            for place in places(entry.node, entry.path, self.study.clock)
            if place.clock == clock
        ]
        return min(int(max(reaches, default=0)) or _NO_END, MAX_LENGTH)


def _reach(place: Place) -> Fraction:
    """How far a node has to be drawn to be seen: to its end, past its last boundary, ten periods or timescales."""
    given, end = place.node.parameters(), end_of(place.node)
    if isinstance(place.node, (FromRecipe, Controller)):
        return Fraction(0)
    if end is not None:
        return place.count(end)
    if periods.comes_back(place.node):
        return place.count(periods.shown(place.node))
    if isinstance(place.node, InverseTime):
        return place.count(round(given["every"] * (periods.PERIODS - 1) / given["decay_rate"]) or 1)
    if "decay_rate" in given:
        return place.count(given["every"] * _to_one_percent(given["decay_rate"]))
    every = given.get("every") or given.get("timescale")
    if every is not None:
        return place.count(periods.PERIODS * every)
    last = max(own_breaks(place, MAX_LENGTH), default=None)
    return Fraction(0) if last is None else place.count(last + max(1, last // 4))


def _to_one_percent(rate: float) -> int:
    """How often a value is multiplied by `rate` until it is a hundredth, or a hundred times itself."""
    step = abs(math.log(rate))
    return min(max(periods.PERIODS, round(math.log(100) / step)), _MOST_PERIODS) if step > 1e-9 else periods.PERIODS
