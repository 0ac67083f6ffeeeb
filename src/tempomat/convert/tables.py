"""Schedules as tables: what a host reads point by point, and what a spreadsheet opens."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tempomat.analysis.curve import Counts, Curve, Values
from tempomat.analysis.structure import breaks, places
from tempomat.analysis.study import Entry, Study
from tempomat.convert.exporting import Total, one_schedule, refuse_controllers
from tempomat.core import ConversionError, Duration, Fault, Schedule, ScheduleError, Unit
from tempomat.core.errors import list_faults
from tempomat.core.fields import CountKind
from tempomat.core.ops import CHUNK
from tempomat.plan import Plan
from tempomat.plan.atomic import write_atomically

MOST_KNOTS = 10_000
"""The most points of an RLlib list."""
MOST_ROWS = 10_000_000
"""The most rows of a CSV table."""


def to_rllib(
    subject: Schedule | Plan, total: int | str | Duration, *, rel_tolerance: float = 1e-3, **rates: int
) -> list[list[float]]:
    """The `[[timestep, value], ...]` that RLlib reads for `lr`, `entropy_coeff` and its like.

    RLlib joins the points by straight lines and holds the last value. Every count up to `total` is looked at: nowhere
    is the line further from the schedule than `rel_tolerance` of the value there. Straight parts and jumps are exact.

    Args:
        subject: a schedule, or a plan of one on a clock of `env_steps`.
        total: the run's length in environment steps, which RLlib counts as sampled over the run's lifetime.
        rel_tolerance: at least 1e-12, below 1.
        rates: what converts units, such as `action_repeat=2`.

    Returns:
        Pairs of an int and a float, the first at 0 and the last at `total`.

    Raises:
        ConversionError: the tree has controllers or another clock, or more than 10 000 points would be needed.

    Example:
        >>> from tempomat import StepDecay
        >>> to_rllib(StepDecay(init_value=1.0, factor=0.5, every=100), 150)
        [[0, 1.0], [99, 1.0], [100, 0.5], [150, 0.5]]
    """
    if not 1e-12 <= rel_tolerance < 1.0:
        raise ConversionError(f"to_rllib: `rel_tolerance` must be at least 1e-12 and below 1, got {rel_tolerance}")
    known = one_schedule(subject, "to_rllib", total, rates, Unit.ENV_STEPS)
    study = Study.of(Plan({"value": known}, clock=Unit.ENV_STEPS, total=total, rates=rates))
    end = study.length(Unit.ENV_STEPS)
    if end is None:
        raise ConversionError(f"to_rllib: {total} is no count of env_steps. Give the rate that converts it")
    curve = Curve(known, str(Unit.ENV_STEPS), {})
    corners = (at for one in places(known, "", Unit.ENV_STEPS) for at in breaks(one, end))
    counts = curve.trace(end, corners)[0]
    knots = _knots(curve, counts, end, rel_tolerance)
    return [[int(count), float(value)] for count, value in zip(knots, curve.at(knots), strict=True)]


def _knots(curve: Curve, counts: Counts, end: int, tolerance: float) -> Counts:
    """The fewest of the given counts that keep the tolerance there, and more where a count in between asks for it."""
    while True:
        knots = _thinned(counts, curve.at(counts), tolerance)
        if knots.size > MOST_KNOTS:
            raise ConversionError(
                f"to_rllib: needs more than {MOST_KNOTS:_} points to stay within {tolerance:g} of every value. "
                "Allow more, or give RLlib a smoother schedule"
            )
        missed = _missed(curve, knots, end, tolerance)
        if not missed.size:
            return knots
        counts = np.union1d(counts, missed)


def _thinned(counts: Counts, values: Values, tolerance: float) -> Counts:
    """A greedy walk: from each knot the furthest next one whose line passes every value between within tolerance."""
    kept, place, last = [0], 0, counts.size - 1
    while place < last:
        low, high, reach = -np.inf, np.inf, place + 1
        for ahead in range(place + 1, last + 1):
            run, rise = float(counts[ahead] - counts[place]), values[ahead] - values[place]
            if ahead == place + 1 or low <= rise / run <= high:
                reach = ahead
            room = tolerance * abs(values[ahead])
            low, high = max(low, (rise - room) / run), min(high, (rise + room) / run)
            if low > high:
                break
        place = reach
        kept.append(place)
    return counts[kept]


def _missed(curve: Curve, knots: Counts, end: int, tolerance: float) -> Counts:
    """The counts that are furthest off between knots, where that is too far, with their neighbours; none is skipped."""
    heights, found = curve.at(knots), list[Counts]()
    for start in range(0, end + 1, CHUNK):
        counts = np.arange(start, min(start + CHUNK, end + 1))
        values = curve.at(counts)
        if not np.isfinite(values).all():
            raise ConversionError(f"to_rllib: is not finite at {counts[~np.isfinite(values)][0]:_}")
        off = np.abs(np.interp(counts, knots, heights) - values) - tolerance * np.abs(values)
        wrong = np.flatnonzero(off > 0)
        stretch = np.searchsorted(knots, counts[wrong])
        order = np.lexsort((off[wrong], stretch))
        worst = np.append(np.diff(stretch[order]) > 0, True)[: order.size]
        found.append(counts[wrong][order][worst])
    counts = np.concatenate(found)
    return np.unique(np.concatenate([counts - 1, counts, counts + 1]))


def to_csv(
    subject: Plan | Schedule,
    path: str | os.PathLike[str] | None = None,
    *,
    points: int | None = None,
    every: int | None = None,
    total: Total = None,
    **rates: int,
) -> str:
    """A table of every entry's value: a line of names, then one line a count, from 0 to the run's length.

    Numbers are written so that reading them gives the same float64. The first column bears the name of the plan's
    clock; entries on other clocks are derived from it by the rates.

    Args:
        subject: a plan, or a schedule, which is called `lr`.
        path: a file to write, whole or not at all.
        points: so many counts, evenly spread.
        every: a line each `every` counts, and one at the end.
        total: the run's length, where it is not the plan's.
        rates: what converts units, such as `steps_per_epoch=100`.

    Returns:
        The table's text.

    Raises:
        ConversionError: an entry has controllers or cannot be resolved, all of them at once; no total is known;
            both `points` and `every` are given; the file cannot be written.

    Example:
        >>> from tempomat import Linear
        >>> print(to_csv(Linear(init_value=0.3, end_value=0.1, duration=4), total=4, every=2), end="")
        optimizer_steps,lr
        0,0.3
        2,0.2
        4,0.1
    """
    plan = subject if isinstance(subject, Plan) else Plan({"lr": subject})
    study = Study.of(plan, total, rates)
    length = study.length(study.clock)
    faults = [fault for entry in study.entries for fault in _unfit(entry)]
    if length is None:
        known = "no total is given" if study.plan.total is None else f"{study.plan.total} is no count of {study.clock}"
        faults.insert(0, Fault("total", f"{known}. Give total=, and what converts it"))
    if faults or length is None:
        raise ConversionError(list_faults("to_csv", faults), faults)
    counts = _counts(length, points, every)
    columns = [_column(entry, study, counts) for entry in study.entries]
    text = _written([str(study.clock), *study.plan.schedules], counts, columns)
    if path is not None:
        _write(Path(path), text)
    return text


def _unfit(entry: Entry) -> Iterator[Fault]:
    yield from entry.faults
    try:
        refuse_controllers(entry.written, "")
    except ConversionError as error:
        yield Fault(entry.path, str(error).removeprefix(": "))


def _counts(length: int, points: int | None, every: int | None) -> Counts:
    if points is not None and every is not None:
        raise ConversionError("to_csv: takes `points` or `every`, not both")
    for name, number, least in (("points", points, 2), ("every", every, 1)):
        try:
            CountKind(least, optional=True).read(number)
        except ValueError as error:
            raise ConversionError(f"to_csv: {name} {error}") from None
    rows = points or length // (every or 1) + 1
    if rows > MOST_ROWS:
        raise ConversionError(f"to_csv: would have {rows:_} lines, and at most {MOST_ROWS:_} are written. Give every=")
    if points is not None:
        return np.unique(np.linspace(0, length, points).round().astype(np.int64))
    return np.union1d(np.arange(0, length + 1, every or 1), [length])


def _column(entry: Entry, study: Study, counts: Counts) -> Values:
    assert_node: Any = entry.node
    try:
        curve = Curve.of(assert_node, study)
        if not curve.ratios and curve.clock != study.clock:
            curve = Curve(curve.schedule, str(study.clock), study.ratios([curve.clock]))
    except ScheduleError as error:
        raise ConversionError(f"to_csv: {entry.path}: {error}") from None
    return curve.at(counts)


def _written(names: list[str], counts: Counts, columns: list[Values]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(zip(counts.tolist(), *(one.tolist() for one in columns), strict=True))
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ConversionError(f"{path}: cannot be written: {error.strerror}") from None
