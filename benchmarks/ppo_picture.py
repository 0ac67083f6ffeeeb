"""One picture of what PPO's schedules do: learning curves with each turned off, and with each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import outcomes
from matplotlib.figure import Figure
from ppo_arms import ABLATION, CLIP, CONSTANT, ENTROPY, FULL, KL, LR, SCHEDULES, Run, Scale, alone, without
from ppo_effects import trace
from ppo_running import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY, BLACK = "#5d646b", "#1d2125"
COLOURS = {LR: "#1b6ca8", CLIP: "#3b8754", ENTROPY: "#8a5fb0", KL: "#d1701f"}
PANELS = {
    "all four, and each turned off": {FULL: BLACK, **{without(one): COLOURS[one] for one in SCHEDULES}},
    "none, and each by itself": {CONSTANT: BLACK, **{alone(one): COLOURS[one] for one in SCHEDULES}},
}
POINTS = 101


def draw(runs: Runs, scale: Scale, path: Path) -> None:
    """Write the picture: a row a task, means over seeds with their 95 % intervals."""
    figure = Figure(figsize=(12.5, 3.9 * len(scale.ablations)), layout="constrained")
    rows: Any = figure.subplots(len(scale.ablations), len(PANELS), sharey="row", sharex="row", squeeze=False)
    for row, (task, ablation) in zip(rows, scale.ablations.items(), strict=True):
        for axes, (title, arms) in zip(row, PANELS.items(), strict=True):
            for arm, colour in arms.items():
                made = [Run(ABLATION, task, arm, seed, ablation.settings(arm)) for seed in scale.seeds]
                _line(axes, runs, list(runs.finished(made)), ablation.total, arm, colour)
            _dress(axes, f"{task}: {title}", ablation.threshold)
        row[0].set_ylabel("return in training, last 100 episodes", color=GREY)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _line(axes: Axes, runs: Runs, made: list[Run], total: int, arm: str, colour: str) -> None:
    if not made:
        return
    counts = np.linspace(0, total, POINTS)
    returns = np.array([trace(runs, run).over(counts)[1] for run in made])
    axes.plot(counts, returns.mean(axis=0), color=colour, lw=2.2 if colour == BLACK else 1.6, label=arm)
    if len(made) > 1:
        low, high = np.transpose([outcomes.interval(column.tolist()) for column in returns.T])
        axes.fill_between(counts, low, high, color=colour, alpha=0.12, lw=0)


def _dress(axes: Axes, title: str, threshold: float) -> None:
    axes.axhline(threshold, color=GREY, lw=0.8, ls=":")
    axes.set_title(title, loc="left", fontsize=10, color=GREY)
    axes.set_xlabel("env steps", color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
