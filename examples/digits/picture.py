"""One picture: what each plan asked for, what the training made of it, and the test, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from model import STEPS_PER_EPOCH
from numpy.typing import NDArray
from report import Comparison
from training import Run

from tempomat.runs import read_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#1b6ca8", "#d1701f", "#5d646b"
NAMES = {"lr": "learning rate", "weight_decay": "weight decay", "betas[0]": "beta1", "grad_clip": "gradient clip"}

Columns = dict[str, NDArray[np.float64]]
"""One run's record: `epoch`, every applied value and every measurement, each as often as it was recorded."""


def columns(run: Run) -> Columns:
    """What a run recorded, by name."""
    found: dict[str, list[float]] = {}
    for row in read_record(run.folder):
        steps = {**row["applied"], "epoch": row["counts"]["optimizer_steps"] / STEPS_PER_EPOCH} if "train_loss" in row["measured"] else {}
        for name, value in {**steps, **row["measured"]}.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def draw(schedule: Sequence[Run], constant: Sequence[Run], scores: Comparison, path: Path) -> None:
    """Write the picture of two plans' runs, each a sequence over the same seeds."""
    ours, theirs = ([columns(run) for run in runs] for runs in (schedule, constant))
    figure = Figure(figsize=(15, 6.6), layout="constrained")
    figure.suptitle(scores.verdict(), x=0.01, ha="left", fontsize=13, fontweight="bold")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[2.0, 1.25, 0.75])
    sides = ((theirs, ORANGE, "constant lr"), (ours, BLUE, "schedule"))
    for axes, name in zip(left.subplots(2, 2, sharex=True).flat, NAMES, strict=True):
        for runs, colour, label in sides:
            _applied(axes, runs, name, colour, label)
        _dress(axes, f"{NAMES[name]}, as applied")
    loss, error = middle.subplots(2, 1, sharex=True)
    for runs, colour, label in sides:
        _band(loss, [_per_epoch(run, "train_loss") for run in runs], colour, "--", f"{label}, training")
        _band(loss, [run["val_loss"] for run in runs], colour, "-", f"{label}, validation")
        _band(error, [100 - 100 * run["val_accuracy"] for run in runs], colour, "-", label)
    loss.set_yscale("log")
    _dress(loss, "loss: mean over seeds, band from least to most")
    _dress(error, "validation images missed, %")
    settled = [run["val_accuracy"][len(run["val_accuracy"]) // 4 :] for run in (*ours, *theirs)]
    error.set_ylim(0, 1.2 * max(100 - 100 * accuracy.min() for accuracy in settled) + 0.1)
    loss.legend(frameon=False, fontsize=8, ncols=2)
    for axes in (*left.axes[2:], error):
        axes.set_xlabel("epoch", color=GREY)
    _pairs(right.subplots(), scores)
    figure.savefig(path, dpi=130)


def _applied(axes: Axes, runs: Sequence[Columns], name: str, colour: str, label: str) -> None:
    if name in runs[0]:
        axes.plot(runs[0]["epoch"], runs[0][name], color=colour, lw=2.2, label=label)
        axes.set_ylim(bottom=0 if name != "betas[0]" else None)


def _per_epoch(run: Columns, name: str) -> NDArray[np.float64]:
    return run[name].reshape(len(run["val_loss"]), -1).mean(1)


def _band(axes: Axes, curves: Sequence[NDArray[np.float64]], colour: str, style: str, label: str) -> None:
    stacked = np.stack(curves)
    epochs = np.arange(1, stacked.shape[1] + 1)
    axes.plot(epochs, stacked.mean(0), style, color=colour, lw=1.8, label=label)
    axes.fill_between(epochs, stacked.min(0), stacked.max(0), color=colour, alpha=0.15, lw=0)


def _pairs(axes: Axes, scores: Comparison) -> None:
    """One line per seed, from the constant learning rate to the schedule."""
    for seed, one, other in zip(scores.seeds, scores.constant, scores.schedule, strict=True):
        axes.plot([0, 1], [one, other], color=GREY, lw=1, alpha=0.6)
    for place, values, colour in ((0, scores.constant, ORANGE), (1, scores.schedule, BLUE)):
        axes.plot([place] * len(values), values, "o", color=colour, ms=7)
    axes.set_xticks([0, 1], ["constant lr", "schedule"])
    axes.set_xlim(-0.4, 1.4)
    _dress(axes, "test accuracy, %, a line per seed")


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
