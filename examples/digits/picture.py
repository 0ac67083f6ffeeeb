"""One picture: what each plan asked for, what the training made of it, and the test, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from model import STEPS_PER_EPOCH
from numpy.typing import NDArray
from report import Comparison, interval

from tempomat.runs import Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#1b6ca8", "#d1701f", "#5d646b"
NAMES = {"lr": "learning rate", "weight_decay": "weight decay", "betas[0]": "beta1", "grad_clip": "gradient clip"}
"""What is drawn, and what it is called."""

Curve = NDArray[np.float64]


class Side(NamedTuple):
    """A plan's records, one per seed, and how they are shown."""

    name: str
    colour: str
    records: list[Run]

    def measured(self, name: str) -> Curve:
        """A measurement as (seeds, epochs); one that was taken at every step is its mean over each epoch."""
        seeds = len(self.records)
        values = np.stack([record.measured(name).values for record in self.records])
        every = STEPS_PER_EPOCH if name in ("train_loss", "grad_norm") else 1
        return values.reshape(seeds, -1, every).mean(2)


def draw(schedule: Sequence[Path], constant: Sequence[Path], scores: Comparison, path: Path) -> None:
    """Write the picture from the run folders of two plans, over the same seeds."""
    figure = Figure(figsize=(15, 6.8), layout="constrained")
    figure.suptitle(scores.verdict(), x=0.008, ha="left", fontsize=12, fontweight="bold")
    rows: list[Any] = [["lr", "weight_decay", "loss", "scores"], ["betas[0]", "grad_clip", "missed", "scores"]]
    axes = figure.subplot_mosaic(rows, width_ratios=[1, 1, 1.3, 0.8])
    sides = [
        Side("constant lr", ORANGE, [read_run(folder) for folder in constant]),
        Side("schedule", BLUE, [read_run(folder) for folder in schedule]),
    ]
    for name in NAMES:
        _values(axes[name], name, sides)
    _curves(axes["loss"], axes["missed"], sides)
    _scores(axes["scores"], scores)
    for name in rows[1][:-1]:
        axes[name].set_xlabel("epoch", color=GREY)
    figure.savefig(path, dpi=130)


def _values(axes: Axes, name: str, sides: Sequence[Side]) -> None:
    """One hyperparameter as applied; it is the same for all seeds of a plan."""
    for side in sides:
        record = side.records[0]
        if name in record.names["asked"]:
            counts, _, applied = record.series(name)
            axes.plot(counts / STEPS_PER_EPOCH, applied, color=side.colour, lw=2.2, label=side.name)
    if name == "grad_clip":
        for side in sides:
            norms = side.measured("grad_norm").mean(0)
            axes.plot(_epochs(norms), norms, ":", color=side.colour, lw=1.4, label=f"norm, {side.name}")
    _dress(axes, NAMES[name])
    if name != "betas[0]":
        axes.set_ylim(bottom=0)
    if name in ("lr", "grad_clip"):
        axes.legend(frameon=False, fontsize=8)


def _curves(loss: Axes, missed: Axes, sides: Sequence[Side]) -> None:
    """The loss on the training and the validation images, and how many of the latter were missed."""
    for side in sides:
        _band(loss, side.measured("train_loss"), side, "--", "training")
        _band(loss, side.measured("val_loss"), side, "-", "validation")
        _band(missed, 100 - 100 * side.measured("val_accuracy"), side, "-", "validation")
    loss.set_yscale("log")
    loss.legend(frameon=False, fontsize=8, ncols=2)
    _dress(loss, "loss: mean over seeds, and from least to most")
    # The first epochs miss most images; what matters is far below.
    epochs = sides[0].measured("val_accuracy").shape[1]
    settled = max(100 - 100 * side.measured("val_accuracy")[:, epochs // 4 :].min() for side in sides)
    missed.set_ylim(0, 1.1 * settled + 0.1)
    _dress(missed, "validation images missed, %")


def _scores(axes: Axes, scores: Comparison) -> None:
    """The test: a line per seed, and beside it each plan's mean with its 95 % interval."""
    # Moved apart a little, since several seeds miss the same number of images.
    shifts = 0.04 * (np.arange(len(scores.seeds)) - (len(scores.seeds) - 1) / 2)
    for shift, pair in zip(shifts, zip(scores.constant, scores.schedule, strict=True), strict=True):
        axes.plot([shift, 1 + shift], pair, color=GREY, lw=1, alpha=0.5, zorder=1)
    for place, outside, values, colour in ((0, -0.3, scores.constant, ORANGE), (1, 1.3, scores.schedule, BLUE)):
        axes.plot(place + shifts, values, "o", color=colour, ms=6)
        if len(values) > 1:
            found = interval(values)
            axes.errorbar(outside, found.mean, found.high - found.mean, color=colour, fmt="D", ms=5, capsize=4)
    axes.set_xlim(-0.55, 1.55)
    axes.set_xticks([0, 1], ["constant lr", "schedule"])
    _dress(axes, "test accuracy, %, and its mean")


def _epochs(values: Curve) -> NDArray[np.int_]:
    """What is known at the end of each epoch stands at 1, 2, ..."""
    return np.arange(1, len(values) + 1)


def _band(axes: Axes, curves: Curve, side: Side, style: str, what: str) -> None:
    epochs = _epochs(curves[0])
    axes.plot(epochs, curves.mean(0), style, color=side.colour, lw=1.8, label=f"{side.name}, {what}")
    axes.fill_between(epochs, curves.min(0), curves.max(0), color=side.colour, alpha=0.15, lw=0)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
