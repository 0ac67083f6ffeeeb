"""The curves of `train.py`, drawn: what each part's entry says, and what it does to the test images."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("agg")
from matplotlib import pyplot as plt

INK = {"usual": "#8a8a8a", "scheduled": "#1f5fa8"}
TITLES = {
    "easy_first": "easy first, a third of the labels wrong\ndifficulty: 30 % of the samples, then all",
    "rare_first": "rare classes, recall\nsampling_power: 1, then 0.5",
    "good_last": "two data sets, one with doubtful labels\nmixture: 11 % good, then all",
    "small_first": "image size\nimage_size: 6, 7, 8 pixels",
}


def draw(curves: dict[str, dict[str, np.ndarray]], updates: int, every: int, path: Path) -> None:
    """One panel for each part: mean and range over the seeds."""
    at = np.arange(every, updates + 1, every)
    figure, panels = plt.subplots(1, len(curves), figsize=(13, 3.6), layout="constrained", sharey=True)
    for panel, (name, ways) in zip(panels, curves.items(), strict=True):
        for way, runs in ways.items():
            panel.fill_between(at, 100 * runs.min(0), 100 * runs.max(0), color=INK[way], alpha=0.15, linewidth=0)
            panel.plot(at, 100 * runs.mean(0), color=INK[way], label="as usual" if way == "usual" else "by the plan")
            last, best = runs[:, -1].mean(), max(one[:, -1].mean() for one in ways.values())
            place = 6 if last == best else -10
            panel.annotate(
                f"{100 * last:.1f}",
                (at[-1], 100 * last),
                (3, place),
                textcoords="offset points",
                color=INK[way],
                fontsize=8,
            )
        panel.set(title=TITLES[name], xlabel="updates", xlim=(0, updates * 1.1), ylim=(30, 100))
        panel.title.set_fontsize(9)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("test images recognised, %")
    panels[0].legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
