"""What a record says about the run itself, whatever the model learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tempomat.plan import OPTIMIZER_KEYS, entry_name
from tempomat.runs.diagnoses.case import Case, Track, number, percent
from tempomat.runs.diagnoses.registry import Seen, diagnosis

ROUNDING = 1e-6
"""Relative; float32, in which most optimizers hold a tensor lr, rounds by at most 6e-8."""
FEW_ROWS = 20
"""Rows below which a share of clipped gradients is not judged."""
RARELY, NEARLY_ALWAYS = 0.01, 0.95
"""Shares of steps with a clipped gradient below and above which the clip is no longer a guard against the odd step."""
SHOWN = 5
"""The most decisions that are listed one by one."""


@diagnosis("TD101", "ended-early", "warning")
def ended_early(case: Case) -> Iterator[Seen]:
    """The record ends before the plan's total.

    A schedule made for the whole run never came to its end: a cosine, for one, gains most of what it gains at its low
    end. The run was broken off, or is still going on, or its loop is shorter than the plan. A run with stages that was
    closed once its last one was held, with the success rate at its gate, has come to its end and is not meant.

    Resume the run from its checkpoint, or give the plan the length that the loop has.
    """
    total = case.run.plan.total
    gaps = np.diff(case.counts)
    # the last row may be up to one interval of recording before the end
    slack = max(1, int(np.median(gaps[gaps > 0]))) if (gaps > 0).any() else 1
    if isinstance(total, int) and case.last + slack < total and not (case.run.closed and case.held):
        how = "closed there" if case.run.closed else "not closed: the run was broken off, or is going on"
        yield Seen(
            "",
            f"the record ends at {case.last:_} of {total:_} {case.unit} ({case.part(case.last)}). "
            f"The recorder was {how}",
            fix="Resume it, or give the plan the length that the loop has",
        )


@diagnosis("TD102", "applied-differs", "warning")
def applied_differs(case: Case) -> Iterator[Seen]:
    """A value as applied is not the value as asked, by more than rounding (1e-6 of it; whole numbers by less than 1).
    A controller's batch size, or whatever else goes with batches, may be one that was asked for before: those that
    workers had been given keep it.

    Something else writes the same hyperparameter, or the target rounds it, as bfloat16 does by up to 0.4 %. The run did
    not train under its plan.

    Have one writer per hyperparameter: the plan. Look for what else sets it, such as a second scheduler.
    """
    for track in case.tracks.values():
        off = _differs(track)
        if case.run.plan[track.name].controllers and entry_name(track.name).key not in OPTIMIZER_KEYS:
            off &= ~_asked_before(track)
        if off.any():
            first = int(np.argmax(off))
            asked, applied = track.asked[first], track.applied[first]
            yield Seen(
                path(track),
                f"applied differs from asked in {int(off.sum()):_} of {len(off):_} rows, "
                f"first at {track.counts[first]:_}: asked {asked:.6g}, applied {applied:.6g}",
                fix="Look for what else writes it",
            )


def _asked_before(track: Track) -> np.ndarray:
    """Whether a row's value as applied was asked for in a row before it."""
    first: dict[float, int] = {}
    for place, asked in enumerate(track.asked.tolist()):
        first.setdefault(asked, place)
    return np.array([first.get(value, place) < place for place, value in enumerate(track.applied.tolist())], bool)


def _differs(track: Track) -> np.ndarray:
    off = np.abs(track.applied - track.asked)
    beyond = off > ROUNDING * np.maximum(np.abs(track.applied), np.abs(track.asked))
    # a batch size of 37.5 is applied as a whole number
    whole = (off < 1) & (track.applied == np.round(track.applied)) & (np.abs(track.asked) >= 1)
    return beyond & ~whole


@diagnosis("TD103", "never-moved", "warning")
def never_moved(case: Case) -> Iterator[Seen]:
    """A schedule that is no constant had one value in every row.

    It may move later than the record goes, or run on a clock that the loop does not advance. One that waits for a
    controller's decision that never came is only noted.

    Advance the clock that it runs on, or write a number if it is meant to stay.
    """
    if len(np.unique(case.counts)) < 2:
        return
    for track in case.tracks.values():
        if case.constant(track.name) or len(track.asked) < 2 or np.ptp(track.asked) > 0:
            continue
        node = case.run.plan.schedules.get(track.name)
        message = f"is {number(track.asked[0])} in all {len(track.asked):_} rows, and is no constant in the plan"
        if node is not None and node.controllers:
            # a plateau that nothing set off has done its work
            yield Seen(path(track), f"{message}: no controller took a decision", severity="note")
            continue
        clocks = sorted(clock or case.unit for clock in node.clocks) if node is not None else [case.unit]
        fix = f"Look whether it was to move before the record's end, and whether the loop advances {', '.join(clocks)}"
        yield Seen(path(track), message, fix=fix)


def path(track: Track) -> str:
    """Where an entry stands in the plan."""
    return f"schedules.{track.name}"


@diagnosis("TD104", "clock-stood-still", "error")
def clock_stood_still(case: Case) -> Iterator[Seen]:
    """Every row has the same count of the plan's clock.

    No schedule moved: each had its first value throughout. The loop does not tell the scheduler that a step was taken.

    Call `scheduler.step()` after each `optimizer.step()`, or per epoch if the plan's clock is `epochs`.
    """
    if len(case.counts) >= FEW_ROWS and np.ptp(case.counts) == 0:
        yield Seen(
            "counts",
            f"all {len(case.counts):_} rows were recorded at {case.last:_} {case.unit}: the clock was never advanced",
            fix="Call `scheduler.step()` after each `optimizer.step()`",
        )


@diagnosis("TD105", "not-finite", "warning")
def not_finite(case: Case) -> Iterator[Seen]:
    """A measurement was NaN or infinite.

    One in mixed precision is often a step that the gradient scaler skipped. Many, or all from some count on, are a
    run that is lost: see TD201.

    Look at what came before the first of them: the gradient norm, the lr, the batch.
    """
    for name in case.measurements:
        curve = case.measured(name)
        bad = ~np.isfinite(curve.values)
        if bad.any():
            first = int(np.argmax(bad))
            word = "NaN" if np.isnan(curve.values[first]) else "infinite"
            yield Seen(
                f"measured.{name}",
                f"{int(bad.sum()):_} of {len(bad):_} values are no finite numbers, the first ({word}) at "
                f"{curve.counts[first]:_} {case.unit} ({case.part(int(curve.counts[first]))})",
            )


_METERED = {"clip_fraction", "grad_norm", "grad_norm_max"}


def clipped(case: Case, since: int = 0) -> tuple[float, int] | None:
    """The share of gradients that were clipped from a count on, and how many rows told of it; None where not told.

    A row of `ClipMeter` tells of several updates by their mean norm, and has the share itself beside their largest one;
    PPO's `clip_fraction`, of its objective, is another.
    """
    rows = [row for row in case.run.rows if row["counts"].get(case.unit, -1) >= since and "grad_clip" in row["applied"]]
    told = [row["measured"]["clip_fraction"] for row in rows if row["measured"].keys() >= _METERED]
    if told:
        return (float(np.mean(told)), len(told)) if len(told) >= FEW_ROWS else None
    pairs = [(row["measured"].get("grad_norm"), row["applied"].get("grad_clip")) for row in rows]
    both = np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)
    norms, clips = both[np.isfinite(both).all(axis=1)].T
    above = norms > clips * (1 + 1e-3)
    # norms that lie on the clip and never above it were taken after clipping, and do not tell
    after = not above.any() and (norms > clips * (1 - 1e-3)).any()
    return None if len(norms) < FEW_ROWS or after else (float(above.mean()), len(norms))


@diagnosis("TD106", "clips-nothing", "note")
def clips_nothing(case: Case) -> Iterator[Seen]:
    """At most 1 % of the gradients were clipped: by `ClipMeter`, or by the rows with `grad_norm` above `grad_clip`.

    The clip does next to nothing. As a guard against the odd exploding step that is what it should do; as a part of the
    recipe it is not in force.

    Nothing, or a lower clip: the median of the norms is where it begins to act.
    """
    known = clipped(case)
    if known and known[0] <= RARELY:
        yield Seen("schedules.grad_clip", f"{percent(known[0])} of the gradients were clipped, by {known[1]:_} rows")


@diagnosis("TD107", "clips-always", "warning")
def clips_always(case: Case) -> Iterator[Seen]:
    """At least 95 % of the gradients were clipped: by `ClipMeter`, or by the rows with `grad_norm` above `grad_clip`.

    Every gradient is cut to the same length. With plain SGD the lr then no longer says how long a step is: the clip
    and the lr do together, and a schedule of the clip is a second schedule of the step.

    Raise the clip to about the median of the norms, and lower the lr if the steps get too long.
    """
    known = clipped(case)
    if known and known[0] >= NEARLY_ALWAYS:
        norms = case.measured("grad_norm").finite.level
        share = percent(known[0])
        yield Seen(
            "schedules.grad_clip",
            f"{share} of the gradients were clipped, by {known[1]:_} rows; the median norm is {number(norms)}",
            fix=f"If that is not meant, try a clip of about {number(norms)}",
        )


def _shown(level: object) -> str:
    return number(level) if isinstance(level, (int, float)) else str(level)


@diagnosis("TD108", "decisions", "note")
def decisions(case: Case) -> Iterator[Seen]:
    """Controllers changed a level in this run.

    It is what they are there for; a run repeated with other measurements would decide otherwise.

    Nothing. Where they come too often or too seldom, change the controller's patience or threshold.
    """
    made: dict[str, list[str]] = {}
    for event in case.run.events:
        if event["event"] == "decision":
            at = event["counts"].get(case.unit)
            place = f"at {at:_}" if isinstance(at, int) else "once"
            made.setdefault(str(event.get("entry", "")), []).append(f"{place} to {_shown(event.get('level'))}")
    for entry, said in made.items():
        more = f", and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        times = "1 decision" if len(said) == 1 else f"{len(said)} decisions"
        yield Seen(f"schedules.{entry}", f"{times} by its controllers, level {', '.join(said[:SHOWN])}{more}")
