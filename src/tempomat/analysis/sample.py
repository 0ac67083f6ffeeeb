"""From a plan to a picture of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, final

import numpy as np

from tempomat.analysis import words
from tempomat.analysis.curve import POINTS, Counts, Curve, Values, moves
from tempomat.analysis.structure import Place, breaks, end_of, own_breaks, places
from tempomat.analysis.study import Entry, Study, at_first_levels, first_level, lengths
from tempomat.core import Controller, Duration, Fault, IntervalTable, Node, PlanError, Schedule, Sequence, Unit
from tempomat.core.errors import list_faults
from tempomat.core.numbers import MAX_LENGTH
from tempomat.core.recipes import FromRecipe
from tempomat.plan import Plan

if TYPE_CHECKING:
    from tempomat.analysis.picture import Figure, Mark, Series

NOMINAL_STEPS_PER_EPOCH = 100
"""What a picture takes where a plan speaks of epochs and nobody has said how many optimizer steps one has."""
_MOST_MARKS = 12
_NO_END = 100


def sample(
    plan: Plan,
    *,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
    points: int = POINTS,
    title: str = "Plan",
) -> Figure:
    """The picture of a plan: a curve for each entry, exact at every boundary, jump and end.

    Each entry is drawn over the clock that it follows; one that follows several, over the plan's, with the others derived by
    the rates. A controller stands at its first level. What cannot be drawn, and what had to be assumed, is said in a note.

    Args:
        plan: what to draw.
        total: the run's length, where it is not the plan's.
        rates: what converts between units, over the plan's own.
        points: counts of the even grid under each curve; boundaries and jumps come on top.
        title: the picture's title.

    Raises:
        PlanError: `total` or `rates` is not possible, or there is no entry that can be drawn; with all reasons.
    """
    from tempomat.analysis.picture import Figure

    study, notes = _studied(plan, total, rates or {})
    drawn, faults = list[Series](), list[Fault]()
    ends = _Ends(study)
    for entry in study.entries:
        one = _series(study, entry, ends, points)
        drawn += [one] if not isinstance(one, Fault) else []
        faults += [one] if isinstance(one, Fault) else []
    if not drawn:
        raise PlanError(list_faults(f"{title}: nothing can be drawn", faults), faults)
    missing = [f"{fault.path.removeprefix('schedules.')} is not drawn: {fault.message}" for fault in faults]
    return Figure(title, tuple(drawn), (*notes, *ends.notes(), *missing))


def _studied(plan: Plan, total: int | str | Duration | None, rates: Mapping[str, int]) -> tuple[Study, list[str]]:
    """The plan for its run, with a nominal epoch where that is all that is missing."""
    study = Study.of(plan, total, rates)
    written = [length for entry in study.entries for _, length, _ in lengths(entry.written, study.clock)]
    written += [study.plan.total] if isinstance(study.plan.total, Duration) else []
    units = {unit for length in written if isinstance(length, Duration) for unit, _ in length.terms}
    if Unit.EPOCHS not in units or study.clock != Unit.OPTIMIZER_STEPS or study.ratio(Unit.EPOCHS) is not None:
        return study, []
    study = Study.of(plan, total, {**rates, "steps_per_epoch": NOMINAL_STEPS_PER_EPOCH})
    counted = {"", str(Unit.OPTIMIZER_STEPS)} & units or any(isinstance(length, int) and length for length in written)
    caution = "lengths in optimizer_steps would look different beside another" if counted else "the shape is the same with any"
    note = f"steps_per_epoch is not known; drawn with {NOMINAL_STEPS_PER_EPOCH}, {caution}"
    return study, [note]


@final
@dataclass(frozen=True, slots=True)
class _Ends:
    """How far each clock is drawn, and what had to be assumed for that."""

    study: Study

    def of(self, clock: str) -> int:
        return self.study.length(clock) or self._named(clock)

    def notes(self) -> Iterator[str]:
        plan = self.study.plan
        if plan.total is None:
            yield "no total is given: drawn as far as the schedules name counts"
        elif self.study.length(plan.clock) is None:
            yield f"the total ({plan.total}) is no count of {plan.clock} yet: drawn as far as the schedules name counts"

    def _named(self, clock: str) -> int:
        """How far the trees on this clock name counts."""
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
    if "decay_rate" in given:
        return place.count(given["every"] * min(max(10, round(abs(math.log(0.01) / (math.log(given["decay_rate"]) or 1)))), 10**6))
    if "every" in given or "timescale" in given:
        return place.count(10 * given.get("every", given.get("timescale")))
    return place.count(max(own_breaks(place, MAX_LENGTH), default=0)) * Fraction(5, 4)


def _series(study: Study, entry: Entry, ends: _Ends, points: int) -> Series | Fault:
    """An entry's curve, or why it has none."""
    from tempomat.analysis.picture import Series

    if entry.node is None or entry.curve is None:
        return Fault(entry.path, "; ".join(_under(fault.path, entry.path) + fault.message for fault in entry.faults))
    curve = look_at(study, entry.curve)
    if isinstance(curve, str):
        return Fault(entry.path, curve)
    found = [place for place in places(entry.node, entry.path, study.clock) if place.clock == curve.clock]
    end = ends.of(curve.clock)
    counts, values = curve.trace(end, (at for place in found for at in breaks(place, end)), points)
    steps = curve.stepwise(counts[:-1])
    counts, values = moves(counts, values) if steps else (counts, values)
    notes = [*_controller_notes(entry), *_gap_notes(counts, values)]
    shown = np.where(np.isfinite(values), values, np.nan)
    marks = tuple(_marks(found, end))[:_MOST_MARKS]
    return Series(entry.name, curve.clock, counts, shown, steps=steps, marks=marks, note="; ".join(notes))


def look_at(study: Study, tree: Schedule) -> Curve | str:
    """The clock to look at a tree by: its only one, else the plan's with the others derived; or why that is not possible."""
    clocks = study.clocks_of(tree)
    if len(clocks) == 1:
        return Curve(tree, min(clocks), {})
    ratios = {unit: study.ratio(unit) for unit in clocks}
    missing = [unit for unit, ratio in ratios.items() if ratio is None]
    if missing:
        follows = f"follows {words.listed(sorted(clocks))} at once" if clocks else ""
        return f"{follows}, and nothing given converts {study.clock} into {words.listed(sorted(missing))}"
    return Curve(tree, str(study.clock), {unit: ratio for unit, ratio in ratios.items() if ratio is not None})


def _under(path: str, entry: str) -> str:
    inside = path.removeprefix(entry).removeprefix(".")
    return f"{inside}: " if inside else ""


def _controller_notes(entry: Entry) -> Iterator[str]:
    for one in entry.written.controllers:
        level = words.value(first_level(one))
        stands = f"its factor {level}" if one.relative else f"its first level {level}"
        yield f"{type(one).__name__.lower()} drawn at {stands}; {one.metric} decides from there"


def _gap_notes(counts: Counts, values: Values) -> Iterator[str]:
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        yield f"not finite from {words.count(int(counts[wrong[0]]))} on"


def _marks(found: Iterable[Place], end: int) -> Iterator[Mark]:
    """The boundaries inside a curve, each with what happens there."""
    from tempomat.analysis.picture import Mark

    told: dict[int, str] = {}
    for place in found:
        told = {int(count): text for count, text in _events(place, end) if 0 < count < end} | told
    yield from (Mark(count, told[count]) for count in sorted(told))


def _events(place: Place, end: int) -> Iterator[tuple[Fraction, str]]:
    given, last = place.node.parameters(), end_of(place.node)
    if place.kind is Sequence:
        starts = [0, *given["boundaries"], max(int((end - place.start) / place.pace), given["boundaries"][-1])]
        for k, (before, after) in enumerate(pairwise(given["parts"])):
            rises = k == 0 and _change(before, starts[1]) > 0
            yield place.count(starts[k + 1]), "warmup ends" if rises else _beginning(after, starts[k + 2] - starts[k + 1])
    elif isinstance(place.node, IntervalTable) and place.node.rule != "step_decay":
        yield from ((place.count(dict(one)["start"]), "next interval") for one in place.node.intervals)
    elif last is not None and place.in_force_until() is None and not isinstance(place.node, IntervalTable):
        yield place.count(last), "ends"


def _beginning(after: Node, length: int) -> str:
    if isinstance(after, Controller):
        return f"{type(after).__name__.lower()} takes over"
    change = _change(after, length)
    return "decay begins" if change < 0 else "rise begins" if change > 0 else "constant from here"


def _change(part: Node, length: int) -> float:
    """By how much a part changes over its own length; 0 where several clocks drive it."""
    tree = at_first_levels(part)
    return 0.0 if len(tree.clocks) > 1 else tree(length) - tree(0)
