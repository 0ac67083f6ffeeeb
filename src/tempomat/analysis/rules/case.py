"""What a rule looks at: a plan set against a run, with each entry's structure and values computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, final

from tempomat.analysis.curve import Counts, Curve, Values
from tempomat.analysis.extent import Extent
from tempomat.analysis.structure import Place, breaks, change, end_of, is_leaf, places
from tempomat.analysis.study import Entry, Study
from tempomat.core import Schedule, ScheduleError, Sequence, Unit
from tempomat.core.recipes import FromRecipe

Traced = tuple[Curve, Counts, Values]


class Warmup(NamedTuple):
    """An lr's rise from its start: where it is written, and the count of its clock at which it is over."""

    path: str
    clock: str
    at: Fraction
    alone: bool


@final
@dataclass(frozen=True, eq=False)
class Case:
    """A plan and what is known of its run.

    Args:
        study: the plan against its length and rates.
        advances: the units that the run counts.
        advances_given: whether the caller said so, or it follows from the plan.
        groups: the run's param groups and optimizers by name, or None where nobody said.
        metrics: what the run measures, or None where nobody said.
    """

    study: Study
    advances: frozenset[str]
    advances_given: bool
    groups: tuple[str, ...] | None
    metrics: tuple[str, ...] | None

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.study.entries

    @property
    def resolved(self) -> tuple[Entry, ...]:
        """The entries whose every length is a count."""
        return tuple(entry for entry in self.entries if entry.node is not None)

    def length(self, clock: str) -> int | None:
        """The run's length on a clock, or None."""
        return self._lengths[clock]

    def places(self, entry: Entry) -> tuple[Place, ...]:
        """Every node of a resolved entry."""
        return self._structures[entry.name]

    def all_places(self) -> Iterator[tuple[Entry, Place]]:
        """Every node of every resolved entry."""
        return ((entry, place) for entry in self.resolved for place in self.places(entry))

    def traced(self, entry: Entry) -> Traced | None:
        """An entry's curve with the counts that show it; None where no clock drives it alone."""
        return self._traces[entry.name]

    def slack(self, clock: str) -> int:
        """What two lengths may differ by and still be called equal: a count, or a thousandth of the run."""
        return max(1, (self.length(clock) or 0) // 1_000)

    def leaves_at_end(self, entry: Entry) -> Iterator[Place]:
        """The shapes that are in force when the run ends, where that is known."""
        return (place for place in self.places(entry) if is_leaf(place) and self._in_force_at_end(place))

    def warmup(self, entry: Entry) -> Warmup | None:
        """An lr's rise from the start, into what follows it or `alone`; None where it does not begin so."""
        if entry.target.key != "lr" or entry.node is None:
            return None
        for place in self.places(entry):
            if place.kind is Sequence and place.start == 0:
                given = place.node.parameters()
                if change(given["parts"][0], given["boundaries"][0]) > 0:
                    path = place.path_of("warmup", "boundaries[0]")
                    return Warmup(path, place.clock, place.count(given["boundaries"][0]), alone=False)
        shapes = [place for place in self.places(entry) if not isinstance(place.node, FromRecipe)]
        end = end_of(shapes[0].node) if len(shapes) == 1 else None
        if end is None or change(shapes[0].node, end) <= 0:
            return None
        return Warmup(shapes[0].path_of("duration"), shapes[0].clock, shapes[0].count(end), alone=True)

    def value(self, place: Place, tree: Schedule, own: Fraction, at: Fraction) -> float | None:
        """The value of a tree at its own count, while the clock of `place` is at `at`; None where that is not known."""
        if not tree.clocks - {""}:
            # a stretched shape may be between two of its own counts; a millionth of one is near enough for a message
            own = max(own.limit_denominator(1_000_000) if own < 2**40 else Fraction(round(own)), Fraction(0))
            return float(tree.stretch(own.denominator)(own.numerator))
        if place.clock != self.study.clock or own.denominator > 1:
            return None
        try:
            ratios = self.study.ratios(self.study.clocks_of(tree))
        except ScheduleError:
            return None
        counts = {unit: int(at * ratio) for unit, ratio in ratios.items()}
        return tree.at_counts({**counts, place.clock: own.numerator}, place.clock)

    def _in_force_at_end(self, place: Place) -> bool:
        for clock, begin, end in place.spans:
            length = self.length(clock)
            if length is None or begin >= length or (end is not None and end < length):
                return False
        return place.period is None

    @cached_property
    def _lengths(self) -> dict[str, int | None]:
        return {str(unit): self.study.length(unit) for unit in Unit}

    @cached_property
    def _structures(self) -> dict[str, tuple[Place, ...]]:
        clock = self.study.clock
        return {one.name: tuple(places(one.node, one.path, clock)) if one.node else () for one in self.entries}

    @cached_property
    def _traces(self) -> dict[str, Traced | None]:
        extent = Extent(self.study)
        return {entry.name: self._trace(entry, extent) for entry in self.entries}

    def _trace(self, entry: Entry, extent: Extent) -> Traced | None:
        if entry.curve is None:
            return None
        try:
            curve = Curve.of(entry.curve, self.study)
        except ScheduleError:
            return None
        length = self.length(curve.clock)
        last = length - 1 if length else extent.of(curve.clock)
        found = [place for place in self.places(entry) if place.clock == curve.clock]
        counts, values = curve.trace(last, (at for place in found for at in breaks(place, last)))
        return curve, counts, values
