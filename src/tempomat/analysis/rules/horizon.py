"""Rules on the length of a schedule against the length of the run."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from tempomat.analysis import words
from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.lengths import any_missing
from tempomat.analysis.rules.registry import Hit, rule
from tempomat.analysis.structure import Place, end_of
from tempomat.analysis.study import Entry
from tempomat.core import Controller, IntervalTable, Shift
from tempomat.core.fields import CountKind, ListOf, kinds_of
from tempomat.core.recipes import FromRecipe


class End(NamedTuple):
    """A shape in force at the run's end: where its own end is and what it comes to there."""

    place: Place
    path: str
    at: Fraction
    length: int
    value: float
    falls: bool

    @property
    def unit(self) -> str:
        return self.place.clock


def ends(case: Case, entry: Entry) -> Iterator[End]:
    """The shapes with an end of their own that are in force when the run ends."""
    for place in case.leaves_at_end(entry):
        own, length = end_of(place.node), case.length(place.clock)
        if not own or not length or place.start >= length:
            continue
        # the last interval of a table goes on after its end, so its last own count says what it comes to
        last = own - 1 if isinstance(place.node, IntervalTable) else own
        tree: Any = place.node
        path = place.path_of(
            "total", "duration", "cycles", f"intervals[{_last_interval(place.node)}].end", "boundaries"
        )
        falls = tree(own - max(1, own // 100)) > tree(own)
        yield End(place, path, place.count(own), length, tree(last), falls)


def _last_interval(node: Any) -> int:
    intervals = [dict(one) for one in node.parameters().get("intervals", ())]
    return max(range(len(intervals)), key=lambda one: intervals[one]["start"], default=0)


@rule(
    "TM105",
    "run-ends-first",
    "warning",
    wrong="""
        total: 60_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100_000}
    """,
    right="""
        total: 100_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100_000}
    """,
)
def run_ends_first(case: Case) -> Iterator[Hit]:
    """The run ends before a curve does, so its last and lowest values are never used.

    Most of what a cosine gains, it gains at its low end. A run of 3M frames under a preset made for 10M never sees
    most of it; and a warmup in front of a decay that is as long as the whole run moves that decay's end past the
    run's.

    Make the duration the run's: `duration: 100%`, or for a decay after a warmup the total less the warmup; a recipe
    such as `warmup_cosine` does that by itself.
    """
    for entry in case.resolved:
        if _never_leaves_warmup(case, entry):
            continue
        for end in ends(case, entry):
            tree: Any = end.place.node
            own = (end.length - end.place.start) / end.place.pace
            there = case.value(end.place, tree, own, Fraction(end.length))
            whole = not any(one.begins >= end.length for one in _moments(end.place))
            if whole and end.at > end.length + case.slack(end.unit) and there is not None and there != end.value:
                message = (
                    f"ends at {words.count(end.at)}, the run at {words.count(end.length, end.unit)}: "
                    f"it stops at {words.value(there)} instead of {words.value(end.value)}"
                )
                yield Hit(end.path, message, "Fit it to the run, with 100% for a length, or lengthen the run")


@rule(
    "TM106",
    "curve-ends-first",
    "warning",
    wrong="""
        total: 100_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 60_000}
    """,
    right="""
        total: 100_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100_000}
    """,
)
def curve_ends_first(case: Case) -> Iterator[Hit]:
    """A falling lr, or a table of intervals, ends before the run does, and its last value holds for the rest.

    The rest of the run trains at the smallest step size. Elsewhere it is worse: past its `T_max` PyTorch's
    `CosineAnnealingLR` climbs again, and one step past its total `OneCycleLR` jumps from 4e-6 to 5.07e-4. Other
    hyperparameters, such as an exploration noise, often end early on purpose and are left alone.

    Make the duration the run's. To hold on purpose, write the last part out: a sequence whose last part is a number.
    """
    for entry in case.resolved:
        for end in ends(case, entry):
            table = isinstance(end.place.node, IntervalTable)
            early = end.at + case.slack(end.unit) < end.length
            if early and (table or (falls_to_its_end(entry, end) and end.value != 0)):
                held = "its last interval goes on" if table else f"stays at {words.value(end.value)}"
                rest = f"{held} for the last {words.share(end.length - end.at, end.length)}"
                fix = (
                    "Fit it to the run, or leave the last `end` out"
                    if table
                    else "Fit it to the run: 100% for a length"
                )
                message = f"ends at {words.count(end.at)} of {words.count(end.length, end.unit)}, and {rest}"
                yield Hit(end.path, message, fix)


def falls_to_its_end(entry: Entry, end: End) -> bool:
    """Whether an lr comes down to an end of its own."""
    return entry.target.key == "lr" and end.falls


@rule(
    "TM107",
    "never-reached",
    "warning",
    wrong="""
        total: 90
        clock: epochs
        schedules:
          lr: {type: multi_step, init_value: 0.1, factor: 0.1, milestones: [30, 60, 120]}
    """,
    right="""
        total: 90
        clock: epochs
        schedules:
          lr: {type: multi_step, init_value: 0.1, factor: 0.1, milestones: [30, 60, 80]}
    """,
)
def never_reached(case: Case) -> Iterator[Hit]:
    """A milestone, boundary, interval or repetition lies after the run's end, or after the end of the part that
    holds it.

    What is written there never happens: the last drop of the lr, the last growth of the batch. A preset made for 10M
    frames loses its later intervals in a run of 3M without a word.

    Move it into the run, write it as a share (`80%`), or take it out.
    """
    for entry in case.resolved:
        for place in case.places(entry):
            length = case.length(place.clock)
            if length is None or isinstance(place.node, (Controller, FromRecipe)):
                continue
            if any(begin >= length for clock, begin, _ in place.spans if clock == place.clock):
                continue
            yield from _unreached(case, entry, place, length)


def _unreached(case: Case, entry: Entry, place: Place, length: int) -> Iterator[Hit]:
    cut = place.in_force_until()
    limit = Fraction(length) if cut is None else min(cut, Fraction(length))
    late = [one for one in _moments(place) if one.begins >= limit]
    warmup = case.warmup(entry)
    if not late or (warmup is not None and late[0].at == warmup.at):
        return
    where = "the run" if limit == length else "the part that holds it"
    message = f"comes at {words.count(late[0].at)}, and {where} ends at {words.count(limit, place.clock)}"
    more = f" ({len(late) - 1} more such)" if len(late) > 1 else ""
    fix = "Move it into the run, write it as a share of it, or take it out"
    yield Hit(place.path_of(late[0].name, late[0].in_recipe), message + more, fix)


class Moment(NamedTuple):
    """A count of the clock that a parameter names: what it says begins to show at `begins`."""

    name: str
    at: Fraction
    begins: Fraction
    in_recipe: str = ""


def _moments(place: Place) -> Iterator[Moment]:
    """What a node says will happen, and when."""
    given = place.node.parameters()
    for name, kind in kinds_of(place.kind).items():
        value = given[name]
        if name == "intervals":
            for k, one in enumerate(value):
                start = place.count(dict(one)["start"])
                yield Moment(f"intervals[{k}]", start, start)
        elif isinstance(kind, ListOf) and isinstance(kind.item, CountKind):
            # a line to a point shows once the point before it is passed, a boundary when it is there
            befores = [0, *value] if kind.item.at_least == 0 else value
            for k, (one, before) in enumerate(zip(value, befores, strict=False)):
                yield Moment(f"{name}[{k}]", place.count(one), place.count(before), "decay" if k else "warmup")
        elif (name == "by" and place.kind is Shift) or (name == "every" and given.get("staircase", True)):
            yield Moment(name, place.count(value), place.count(value))


@rule(
    "TM108",
    "warmup-outlasts-run",
    "error",
    wrong="""
        total: 90
        clock: epochs
        schedules:
          lr: {type: warmup_cosine, init_value: 1.0e-5, peak_value: 1.0e-3, warmup: 1_000, total: 9_000}
    """,
    right="""
        total: 9_000
        clock: epochs
        schedules:
          lr: {type: warmup_cosine, init_value: 1.0e-5, peak_value: 1.0e-3, warmup: 1_000, total: 9_000}
    """,
)
def warmup_outlasts_run(case: Case) -> Iterator[Hit]:
    """The run is over before the lr has reached its peak.

    Users report it where a horizon was given in steps and the scheduler is stepped once an epoch: the lr never
    leaves its warmup, the loss falls a little, and nothing looks broken (stable-worldmodel#280, Lightning#5631).

    Check the unit of the warmup first, against the plan's `clock`; then shorten it: `5%` of the run fits every run.
    """
    for entry in case.entries:
        for fault in () if any_missing(case, entry) else entry.faults:
            if fault.path.endswith(".warmup"):
                yield Hit(fault.path, fault.message, "Write it as a share of the run, such as 5%")
        warmup = case.warmup(entry)
        if warmup is not None and _never_leaves_warmup(case, entry):
            lasts = f"the warmup lasts {words.count(warmup.at)} and the run {_run(case, warmup.clock)}"
            yield Hit(
                warmup.path, f"{lasts}: the lr never reaches its peak", "Write it as a share of the run, such as 5%"
            )


def _run(case: Case, clock: str) -> str:
    return words.count(case.length(clock) or 0, clock)


def _never_leaves_warmup(case: Case, entry: Entry) -> bool:
    """Whether the rise takes the whole run; one that is all of the schedule may end exactly with it."""
    warmup = case.warmup(entry)
    length = None if warmup is None else case.length(warmup.clock)
    return warmup is not None and length is not None and warmup.at >= length + warmup.alone
