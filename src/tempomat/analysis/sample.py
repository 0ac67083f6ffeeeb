"""From a plan to a picture of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tempomat.analysis import words
from tempomat.analysis.curve import POINTS, Counts, Curve, Values, moves
from tempomat.analysis.extent import Extent
from tempomat.analysis.structure import Place, breaks, change, end_of, places
from tempomat.analysis.study import Entry, Study, first_level, lengths
from tempomat.core import Controller, Duration, Fault, IntervalTable, Node, PlanError, ScheduleError, Sequence, Unit
from tempomat.core.errors import list_faults
from tempomat.plan import Plan
from tempomat.plan.data import type_of

if TYPE_CHECKING:
    from tempomat.analysis.picture import Figure, Mark, Series

NOMINAL_STEPS_PER_EPOCH = 100
"""What a picture takes where a plan speaks of epochs and nobody has said how many optimizer steps one has."""
_MOST_MARKS = 12


def sample(
    plan: Plan,
    *,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
    points: int = POINTS,
    title: str = "Plan",
) -> Figure:
    """The picture of a plan: a curve for each entry, exact at every boundary, jump and end.

    Each entry is drawn over the clock that it follows; one that follows several, over the plan's, with the others
    derived by the rates. A controller stands at its first level. What cannot be drawn, and what had to be assumed,
    is said in a note.

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
    ends = Extent(study)
    found = [_series(study, entry, ends, points) for entry in study.entries]
    drawn = [one for one in found if not isinstance(one, Fault)]
    faults = [one for one in found if isinstance(one, Fault)]
    if not drawn:
        raise PlanError(list_faults(f"{title}: nothing can be drawn", faults), faults)
    missing = [f"{fault.path.removeprefix('schedules.')} is not drawn: {fault.message}" for fault in faults]
    return Figure(title, tuple(drawn), (*notes, *ends.remarks(), *missing))


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
    caution = "Lengths in optimizer_steps would look different" if counted else "The shape is the same"
    return study, [f"steps_per_epoch is not known: drawn with {NOMINAL_STEPS_PER_EPOCH}. {caution} with another."]


def _series(study: Study, entry: Entry, ends: Extent, points: int) -> Series | Fault:
    """An entry's curve, or why it has none."""
    from tempomat.analysis.picture import Series

    if entry.node is None or entry.curve is None:
        return Fault(entry.path, "; ".join(_under(fault.path, entry.path) + fault.message for fault in entry.faults))
    try:
        curve = Curve.of(entry.curve, study)
    except ScheduleError as error:
        return Fault(
            entry.path, f"it follows {words.listed(sorted(study.clocks_of(entry.curve)))} at once, and {error}"
        )
    found = [place for place in places(entry.node, entry.path, study.clock) if place.clock == curve.clock]
    end = ends.of(curve.clock)
    counts, values = curve.trace(end, (at for place in found for at in breaks(place, end)), points)
    steps = curve.stepwise(counts[:-1])
    counts, values = moves(counts, values) if steps else (counts, values)
    notes = [*_controller_notes(entry), *_gap_notes(counts, values), *ends.remarks_on(curve.clock)]
    shown = np.where(np.isfinite(values), values, np.nan)
    marks = tuple(_marks(found, end))[:_MOST_MARKS]
    return Series(entry.name, curve.clock, counts, shown, steps=steps, marks=marks, note="; ".join(notes))


def _under(path: str, entry: str) -> str:
    inside = path.removeprefix(entry).removeprefix(".")
    return f"{inside}: " if inside else ""


def _controller_notes(entry: Entry) -> Iterator[str]:
    for one in entry.written.controllers:
        level = words.value(first_level(one))
        stands = f"its factor {level}" if one.relative else f"its first level {level}"
        yield f"{type_of(one)} drawn at {stands}; {one.metric} decides from there"


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
            rises = k == 0 and change(before, starts[1]) > 0
            yield (
                place.count(starts[k + 1]),
                "warmup ends" if rises else _beginning(after, starts[k + 2] - starts[k + 1]),
            )
    elif isinstance(place.node, IntervalTable) and place.node.rule != "step_decay":
        yield from ((place.count(dict(one)["start"]), "next interval") for one in place.node.intervals)
    elif last is not None and place.in_force_until() is None and not isinstance(place.node, IntervalTable):
        yield place.count(last), "ends"


def _beginning(after: Node, length: int) -> str:
    if isinstance(after, Controller):
        return f"{type_of(after)} takes over"
    moved = change(after, length)
    return "decay begins" if moved < 0 else "rise begins" if moved > 0 else "constant from here"
