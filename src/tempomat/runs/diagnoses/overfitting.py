"""A validation loss that turns while the training loss falls: it looks like divergence or a plateau, and is neither."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tempomat.runs.diagnoses.case import BEYOND, FEW, WINDOWS, Case, number, spread
from tempomat.runs.diagnoses.registry import Seen, diagnosis

TURNED = 0.1
"""Of the best level: how much worse a validation loss must end to count as having turned."""


class Turn(NamedTuple):
    """Where a validation loss was best while the training loss went on falling."""

    count: int
    best: float
    end: float
    trained: tuple[float, float]
    on: str


def turned(case: Case) -> Turn | None:
    """Whether the loss is a validation loss that rose while the training loss fell."""
    curve = case.curve.finite if case.curve is not None else None
    on = next((name for name in ("train_loss", "loss") if name in case.measurements), None)
    if curve is None or on is None or curve.name == on or not curve.judged_apart or len(curve) < FEW:
        return None
    if not np.isfinite(case.measured(curve.name).values[-1]):
        return None
    places = np.array_split(np.arange(len(curve)), WINDOWS)
    levels = [float(np.median(curve.costs[place])) for place in places]
    window = int(np.argmin(levels))
    best, end = levels[window], float(np.median(curve.fifth(4).costs))
    noise = BEYOND * spread(curve.costs[len(curve) // 2 :]) / np.sqrt(len(places[-1]))
    count = int(curve.counts[places[window][-1]])
    trained = case.measured(on).finite
    then, since = trained.counts <= count, trained.counts > count
    if end - best <= max(TURNED * abs(best), noise) or not then.any() or not since.any():
        return None
    recent = trained.values[then][-len(trained) // WINDOWS :]
    fell = float(np.median(recent)), trained.fifth(4).level
    sign = 1 if curve.mode == "min" else -1
    return Turn(count, sign * best, sign * end, fell, on) if fell[1] < fell[0] else None


@diagnosis("TD204", "overfits", "warning")
def overfits(case: Case) -> Iterator[Seen]:
    """The validation loss ends worse than its best level by over 10 %, while the training loss went on falling.

    The model learns its training data by heart. This is no matter of divergence, and a schedule of the lr alone seldom
    mends it.

    Keep the checkpoint of the best count, end the run there, or regularise more: weight decay, dropout, augmentation.
    """
    turn = turned(case)
    if turn is not None and case.curve is not None:
        yield Seen(
            f"measured.{case.curve.name}",
            f"{case.curve.name} was best ({number(turn.best)}) about {turn.count:_} {case.unit} "
            f"({case.part(turn.count)} of the run) and is {number(turn.end)} in the last fifth, "
            f"while {turn.on} fell from {number(turn.trained[0])} to {number(turn.trained[1])}",
            fix="Keep the checkpoint from there, shorten the run to that length, or try more weight decay",
        )
