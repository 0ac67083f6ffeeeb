"""Rules on lengths that the run has to resolve, and on tables of intervals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tempomat.analysis import words
from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.registry import Hit, few, rule
from tempomat.analysis.study import Entry, lengths, nodes
from tempomat.core import Duration, Horizon, IntervalTable, ScheduleError, Unit
from tempomat.core.clock import PLAIN, SHARE

Length = tuple[str, Duration, Unit]
"""A written length: its path, itself, and the unit that it is wanted in."""


def written(case: Case, entry: Entry) -> list[Length]:
    """The lengths of an entry that are not plain counts."""
    found = lengths(entry.written, case.study.clock, entry.path)
    return [(path, length, unit) for path, length, unit in found if isinstance(length, Duration)]


def missing(horizon: Horizon, length: Duration, unit: Unit) -> str:
    """Why a length is no count of a unit: the conversion or the total that is missing; empty where nothing is."""
    try:
        for term, _ in length.terms:
            if term == SHARE:
                if horizon.total is None:
                    return "a share of the run needs the run's length. Give a total"
                for of, _ in horizon.total.terms:
                    horizon.ratio(horizon.clock if of == PLAIN else Unit(of), unit)
            elif term != PLAIN:
                horizon.ratio(Unit(term), unit)
    except ScheduleError as error:
        return str(error)
    return ""


def any_missing(case: Case, entry: Entry) -> bool:
    """Whether a length of an entry cannot be known yet."""
    return any(missing(case.study.horizon, length, unit) for _, length, unit in written(case, entry))


@rule(
    "TM101",
    "unresolved-length",
    "error",
    wrong="""
        total: 20 epochs
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
    right="""
        total: 2_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
)
def unresolved_length(case: Case) -> Iterator[Hit]:
    """A length cannot be turned into a count: a conversion between units, or the total, is not known.

    Nothing about such a schedule can be checked, and a guess would be wrong by the size of your data set: DrQ-v2's
    noise string counts agent steps, the training length beside it counts frames, and nothing says that they differ
    by the action repeat. Each missing conversion is reported once, where it is first needed.

    Give the conversion as the run will: `--steps-per-epoch 100` or `--rate NAME=N`, or `rates:` in the plan; a
    total with `--total`. To see the shape alone, `tempomat preview` assumes an epoch of 100 steps and says so.
    """
    found: dict[str, list[Length]] = {}
    total = case.study.plan.total
    every = [("total", total, case.study.clock)] if isinstance(total, Duration) else []
    for one in [*every, *(length for entry in case.entries for length in written(case, entry))]:
        reason = missing(case.study.horizon, one[1], one[2])
        if reason:
            found.setdefault(reason, []).append(one)
    for reason, places in found.items():
        path, length, _ = places[0]
        more = f" ({len(places) - 1} more such)" if len(places) > 1 else ""
        yield Hit(path, f"{length} is no count yet: {reason.partition('. ')[0]}{more}", _how_to_give(reason))


def _how_to_give(reason: str) -> str:
    names = re.findall(r"(\w+)=", reason)
    if not names:
        return reason.partition(". ")[2]
    options = " and ".join(f"--{name.replace('_', '-')} N" for name in names)
    return f"Give {options}, or `rates: {{{', '.join(f'{name}: N' for name in names)}}}` in the plan"


@rule(
    "TM102",
    "impossible-in-this-run",
    "error",
    wrong="""
        total: 20 epochs
        rates: {steps_per_epoch: 100}
        schedules:
          lr: {type: multi_step, init_value: 0.1, factor: 0.1, milestones: [5 epochs, 400]}
    """,
    right="""
        total: 20 epochs
        rates: {steps_per_epoch: 100}
        schedules:
          lr: {type: multi_step, init_value: 0.1, factor: 0.1, milestones: [5 epochs, 800]}
    """,
)
def impossible_in_this_run(case: Case) -> Iterator[Hit]:
    """Every length is known, but together they make no schedule: boundaries out of order, a length of nothing.

    Lengths in different units meet only in the run: a milestone at 400 steps comes after one at 5 epochs for one
    batch size and before it for another. The run would refuse to start.

    Write the lengths that belong together in one unit, or change the one that is named.
    """
    if case.study.plan.total is not None and case.length(str(case.study.clock)) == 0:
        yield Hit("total", f"{case.study.plan.total} comes to 0 {case.study.clock}", "Make the run longer")
    for entry in case.entries:
        if any_missing(case, entry):
            continue
        overlaps = {hit.path for hit in _overlaps(case, entry)}
        for fault in entry.faults:
            if fault.path not in overlaps and not fault.path.endswith(".warmup"):
                message, _, fix = fault.message.partition(". ")
                yield Hit(fault.path, message, fix)


@rule(
    "TM103",
    "intervals-overlap",
    "error",
    wrong="""
        total: 20 epochs
        rates: {steps_per_epoch: 100}
        schedules:
          lr: {type: step_decay, intervals: [{end: 5 epochs, lr: 0.1}, {start: 400, lr: 0.01}]}
    """,
    right="""
        total: 20 epochs
        rates: {steps_per_epoch: 100}
        schedules:
          lr: {type: step_decay, intervals: [{end: 4 epochs, lr: 0.1}, {start: 400, lr: 0.01}]}
    """,
)
def intervals_overlap(case: Case) -> Iterator[Hit]:
    """Two intervals of a table claim the same counts.

    Which of them holds there is nowhere said. With plain counts the plan itself is refused (TM001); with lengths in
    other units it only shows once the run gives the conversion.

    Move the start of the later interval, or end the earlier one before it.
    """
    for entry in case.entries:
        yield from _overlaps(case, entry)


def _overlaps(case: Case, entry: Entry) -> Iterator[Hit]:
    for path, table, unit in nodes(entry.written, case.study.clock, entry.path):
        if isinstance(table, IntervalTable):
            try:
                order = _in_order(case.study.horizon, table, unit)
            except ScheduleError:
                continue
            yield from few(_overlap(path, before, one, unit) for before, one in pairwise(order) if _meet(before, one))


def _meet(before: Interval, one: Interval) -> bool:
    return before.end is None or one.start < before.end


def _overlap(path: str, before: Interval, one: Interval, unit: Unit) -> Hit:
    ends = "has no end" if before.end is None else f"ends at {words.count(before.end)}"
    message = f"starts at {words.count(one.start, unit)}, and intervals[{before.place}] before it {ends}"
    return Hit(f"{path}.intervals[{one.place}]", message, "Move its start, or end that one earlier")


class Interval(NamedTuple):
    """One interval in counts, and which of the table it is."""

    start: int
    place: int
    end: int | None


def _in_order(horizon: Horizon, table: IntervalTable, unit: Unit) -> list[Interval]:
    """The intervals by their start.

    Raises:
        ScheduleError: a length is not known.
    """
    found = list[Interval]()
    for place, one in enumerate(map(dict, table.intervals)):
        end = one.get("end")
        start = horizon.count(one["start"], unit)
        found.append(Interval(start, place, None if end is None else horizon.count(end, unit)))
    return sorted(found, key=lambda one: (one.start, one.place))


@rule(
    "TM104",
    "gap-between-intervals",
    "warning",
    wrong="""
        total: 6_000_000
        clock: env_steps
        schedules:
          lr: {type: step_decay, intervals: [{end: 1_000_000, lr: 1.0e-4}, {start: 3_000_000, lr: 5.0e-5}]}
    """,
    right="""
        total: 6_000_000
        clock: env_steps
        schedules:
          lr: {type: step_decay, intervals: [{end: 3_000_000, lr: 1.0e-4}, {start: 3_000_000, lr: 5.0e-5}]}
    """,
)
def gap_between_intervals(case: Case) -> Iterator[Hit]:
    """No interval of a table covers some counts: after the end of one and before the start of the next, or at the
    start.

    In a gap the value that was reached holds, and before the first start that interval's first value. That is a
    rule and not an error, but a gap is mostly a mistyped number: in `end: 1_000_000` and `start: 3_000_000` the lr
    stays three times as long at its first value as the table seems to say.

    Let each interval start where the one before it ends.
    """
    for _, place in case.all_places():
        if isinstance(place.node, IntervalTable):
            order = _in_order(case.study.horizon, place.node, Unit(place.clock))
            yield from few(_gaps(place.path, order))


def _gaps(path: str, order: list[Interval]) -> Iterator[Hit]:
    first = order[0]
    fix = "Let it start where the one before it ends"
    if first.start > 0:
        message = f"nothing covers 0 to {words.count(first.start)}: its first value holds there already"
        yield Hit(f"{path}.intervals[{first.place}].start", message, "Let it start at 0")
    for before, one in pairwise(order):
        if before.end is not None and before.end < one.start:
            message = f"nothing covers {words.count(before.end)} to {words.count(one.start)}"
            yield Hit(f"{path}.intervals[{one.place}].start", f"{message}: the value before the gap holds", fix)
