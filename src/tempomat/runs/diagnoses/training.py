"""What the loss did: the three failures that schedules are blamed for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tempomat.runs.diagnoses import causes
from tempomat.runs.diagnoses.case import BEYOND, ENOUGH, FEW, LOSSES, OUTCOMES, WINDOWS, Case, Curve, number, spread
from tempomat.runs.diagnoses.overfitting import turned
from tempomat.runs.diagnoses.registry import Seen, diagnosis

WORSE = 0.5
"""By how much of the first value a value is worse than it: no noise of an untrained model's loss goes that far."""
MOST = 0.8
"""The share of a part's values that makes it count as being so throughout."""
GAIN = 0.005
"""Of the level: what must be gained in a whole rest of a run to count as going on."""
LEARNED = 1e-3
"""A loss at this share of its first value has little left to gain, wherever it stopped and however it swings."""
VISIBLE = 0.2
"""Of the level: noise that hides gains beyond this hides whether a curve stopped, and nothing is said."""
CALMED = 0.7
"""A spread below this share of the one before has calmed; that of 8 values is uncertain by a third."""
GREW = 1.5
"""A spread above this multiple of the one before has grown, where there are values enough to know."""
BY_CHANCE = 3.3
"""Two standard errors of the logarithm of the quotient of two spreads, times the root of the values in each."""
RESTLESS = 0.1
"""A spread of this share of the level, on the same data each time, moves the result by more than most choices do."""


class Downfall(NamedTuple):
    """Where a loss went wrong for good, and the best before it."""

    count: int
    best_count: int
    best: float
    first: float
    message: str


def downfall(curve: Curve) -> Downfall | None:
    """Where a curve diverges: ends in NaN or infinities, or stays far worse than its first value."""
    bad = ~np.isfinite(curve.values)
    good = curve.finite
    if not len(curve):
        return None
    if bad[-1]:
        place = len(bad) - int(np.argmin(bad[::-1])) if not bad.all() else 0
        word = "NaN" if np.isnan(curve.values[place]) else "infinite"
        what = f"{curve.name} is {word} at {{count}} and is no finite number from there on"
        return _downfall(good, int(curve.counts[place]), what)
    if len(good) < FEW:
        return None
    costs = good.costs
    margin = WORSE * abs(costs[0])
    above = costs > costs[0] + (max(margin, BEYOND * spread(costs)) if curve.is_return else margin)
    last = good.fifth(4)
    share = float(above[-len(last) :].mean())
    if share < MOST:
        return None
    # from there to the end most values are worse
    onwards = np.cumsum(above[::-1])[::-1] / np.arange(len(above), 0, -1)
    place = int(np.argmax(above & (onwards >= MOST)))
    what = (
        f"{curve.name} is far worse than its first value ({number(good.values[0])}) from {{count}} on, "
        f"with a median of {number(last.level)} in the last fifth"
    )
    return _downfall(good, int(good.counts[place]), what)


def _downfall(good: Curve, count: int, what: str) -> Downfall:
    before = good.counts < count
    if not before.any():
        return Downfall(count, count, np.nan, np.nan, what)
    best = int(np.argmin(good.costs[before]))
    return Downfall(count, int(good.counts[best]), float(good.values[best]), float(good.values[0]), what)


@diagnosis("TD200", "loss-not-judged", "note")
def loss_not_judged(case: Case) -> Iterator[Seen]:
    """No loss and no outcome of episodes was recorded, or too few values of it (under 40) to judge its shape.

    Looked for are success_rate and episode_return, those under eval/ first and since the last stage began, then
    val_loss, loss and train_loss; the first with 40 values is taken, or else the one with the most.

    Record one, as in `recorder.write(scheduler, loss=loss.item())`, or name another measurement: `--metric entropy
    --mode min`.
    """
    if case.curve is None:
        known = ", ".join(case.measurements) or "nothing"
        yield Seen(
            "measured",
            f"none of {', '.join((*LOSSES, *OUTCOMES))} was measured, so how the training went was not looked at. "
            f"Measured: {known}",
            fix="Name a measurement with --metric NAME and --mode min or max",
        )
    elif len(case.curve.finite) < ENOUGH and downfall(case.curve) is None:
        yield Seen(
            f"measured.{case.curve.name}",
            f"has {len(case.curve.finite)} values, and the shape of a curve is only judged from {ENOUGH} on",
        )


@diagnosis("TD201", "diverges", "error")
def diverges(case: Case) -> Iterator[Seen]:
    """The loss ends as NaN or infinite, or four in five values of its last fifth are worse than the first by half; for
    a return, whose 0 means nothing, also by more than its noise.

    The lr is too high, nothing warms it up, the gradients explode, or the model was badly initialised. Each is
    weighed by what the record shows: the lr and its share of the peak where it happened, the first values of the
    lr, `grad_norm`, and whether the loss had fallen before.

    A third of the peak lr, a warmup over the first 5 %, a gradient clip; one at a time.
    """
    curve = case.curve
    if curve is None or turned(case) is not None:
        return
    fall = downfall(curve)
    if fall is None:
        return
    at = f"{fall.count:_} {case.unit} ({case.part(fall.count)} of the run)"
    best = f". Its best was {number(fall.best)} at {fall.best_count:_}" if np.isfinite(fall.best) else ""
    yield Seen(
        f"measured.{curve.name}",
        fall.message.format(count=at) + best,
        causes.of_divergence(case, curve, fall),
        causes.against_divergence(case),
    )


def stop(curve: Curve) -> tuple[int, float, float] | None:
    """After which count a curve gained no more, its level there, and what would have counted; None where it went on."""
    places = np.array_split(np.arange(len(curve)), WINDOWS)
    costs = curve.costs
    levels = np.array([np.median(costs[place]) for place in places])
    # of the later half: early on a spread is mostly the fall. 1.25: a median's standard error over a mean's
    error = 1.25 * spread(costs[len(costs) // 2 :]) / np.sqrt(len(places[-1]))
    bars = np.maximum(GAIN * np.abs(levels), BEYOND * error)
    for window in range(WINDOWS // 2):
        gained = levels[window] - levels[window + 1 :].min()
        if gained <= bars[window] <= VISIBLE * abs(levels[window]):
            sign = 1 if curve.mode == "min" else -1
            return int(np.median(curve.counts[places[window]])), sign * float(levels[window]), float(bars[window])
    return None


@diagnosis("TD202", "plateaus-early", "warning")
def plateaus_early(case: Case) -> Iterator[Seen]:
    """The loss gained nothing in the last half of what was recorded, or longer: no later tenth has a better median, by
    more than the noise and 0.5 % of the level. Where noise could hide a gain of 20 % nothing is said.

    The lr was decayed too soon, the policy explores too little, the batch is too small, or the model has learned
    what there is: a record cannot tell that last one from the others. A loss below 0.1 % of its first
    value is left alone, and a success rate at the plan's gate, or at 95 % where it has none.

    If the lr was low by then, keep it up for longer. If it was not, let it fall: noise hides what could still be
    gained.
    """
    curve = _shaped(case)
    if curve is None:
        return
    found = stop(curve)
    if found is None:
        return
    count, level, bar = found
    if _learned(case, curve, level):
        return
    yield Seen(
        f"measured.{curve.name}",
        f"{curve.name} gained no more than {number(bar)} after {count:_} {case.unit} ({case.part(count)} of the run): "
        f"{number(level)} then, {number(curve.fifth(4).level)} in the last fifth of the record",
        causes.of_plateau(case, count),
        causes.against_plateau(case, count),
    )


@diagnosis("TD203", "oscillates-late", "warning")
def oscillates_late(case: Case) -> Iterator[Seen]:
    """The loss is no calmer in the last fifth than in the one before, and swings by more than it still gains.

    On data that is the same each time, a swing of 10 % of the level is enough. A loss on training batches swings with
    the batches, and a return with the episodes, so there it must have grown by half, and beyond chance. A return must
    swing by 10 % of what it gained, too. A loss below 0.1 % of its first value is left alone, and a success rate.
    Behind it are an lr that is not decayed enough, an entropy that is too high, or updates that are too aggressive.

    Let the lr fall to a hundredth of its peak; in reinforcement learning, the entropy coefficient or the clip range
    too.
    """
    curve = _shaped(case)
    if curve is None:
        return
    before, last = curve.fifth(3), curve.fifth(4)
    was, now = spread(before.values), spread(last.values)
    grown = now / was if was > 0 else 0.0
    by_chance = float(np.exp(BY_CHANCE / np.sqrt(len(last))))
    needed = CALMED if curve.judged_apart else max(GREW, by_chance)
    gain = abs(last.level - curve.fifth(0).level) if curve.is_return else 0.0
    gained = float(np.median(before.costs) - np.median(last.costs))
    if curve.is_rate or _learned(case, curve, last.level):
        return
    if grown < needed or now < RESTLESS * max(abs(last.level), gain) or now < gained:
        return
    yield Seen(
        f"measured.{curve.name}",
        f"{curve.name} swings by {number(now)} about {number(last.level)} in the last fifth, "
        f"{grown:.2g} times the swings of the fifth before ({number(was)})",
        causes.of_oscillation(case, curve, int(last.counts[0])),
        causes.against_oscillation(case),
    )


def _learned(case: Case, curve: Curve, level: float) -> bool:
    if curve.is_rate and curve.mode == "max":
        return level >= case.passing
    return curve.mode == "min" and 0 <= level <= LEARNED * curve.values[0]


def _shaped(case: Case) -> Curve | None:
    """The loss, if there is enough of it to judge and nothing worse was found."""
    if case.curve is None or len(case.curve.finite) < ENOUGH or downfall(case.curve) or turned(case):
        return None
    return case.curve.finite
