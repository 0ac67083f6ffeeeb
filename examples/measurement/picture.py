"""One picture of the three examples beside it: what controllers decided, and what that did to training.

Usage: python examples/measurement/picture.py [PNG]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import guard
import kl_adaptive
import noise_scale
import numpy as np
import torch
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY, LIGHT = "#1f6fb4", "#e07b22", "#8a8a8a", "#9ec9ea"


def draw(path: Path, *, seed: int = 0) -> None:
    """Train the runs of one seed and write their picture."""
    figure = Figure(figsize=(15, 6.8), layout="constrained")
    axes: Any = figure.subplots(2, 3)
    parts = ((_guard, guard), (_noise, noise_scale), (_kl, kl_adaptive))
    for (above, below), (show, example) in zip(axes.T, parts, strict=True):
        show(above, below, example.main((seed,)))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _guard(value: Axes, effect: Axes, found: dict[str, Any]) -> None:
    for (name, (run,)), colour in zip(found.items(), (GREY, ORANGE, BLUE), strict=True):
        value.plot(run["lr"], color=colour, lw=1.8, label=name)
        effect.plot(
            _smooth(run["loss"]), color=colour, lw=1.4, label=f"{name}: {run['accuracy']:.0%} right in the test"
        )
    effect.set_yscale("log")
    _dress(value, "Divergence guard: an lr that is too high", "lr")
    _dress(effect, "", "training loss, mean of 10", "rows of the record: what was undone is in it")


def _noise(value: Axes, effect: Axes, found: dict[str, Any]) -> None:
    for (name, (run,)), colour in zip(found.items(), (GREY, ORANGE, BLUE), strict=True):
        value.plot(run["samples"] / 1408, run["batch_size"], color=colour, lw=1.8, label=name)
        counts, losses = run["val_loss"]
        effect.plot(counts, losses, color=colour, lw=1.4, label=f"{name}: {run['updates']:_} updates")
    (run,) = found["by the noise"]
    counts, scale = run["noise"]
    shown = np.isfinite(scale) & (scale > 0)
    value.plot(run["samples"][counts[shown]] / 1408, scale[shown], ":", color=BLUE, label="noise scale, as measured")
    value.set_yscale("log")
    effect.set_xscale("log")
    effect.set_ylim(top=1.5)
    _dress(value, "Batch size by the gradient noise scale", "samples", "epochs")
    _dress(effect, "", "validation loss over 30 epochs", "updates")


def _kl(value: Axes, effect: Axes, found: dict[str, Any]) -> None:
    for (name, (run,)), colour in zip(found.items(), (GREY, ORANGE, LIGHT, BLUE), strict=True):
        value.plot(np.exp(_smooth(np.log(run["lr"]), 16)), color=colour, lw=1.4, label=name)
        effect.plot(_smooth(run["reward"], 16), color=colour, lw=1.4, label=name)
    value.set_yscale("log")
    _dress(value, "KL-adaptive learning rate of PPO", "lr, mean of 16", "updates")
    _dress(effect, "", "reward", "updates")


def _smooth(values: Any, over: int = 10) -> Any:
    return np.convolve(values, np.ones(over) / over, "valid")


def _dress(axes: Axes, title: str, what: str, unit: str = "rows of the record") -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_ylabel(what)
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/controllers.png"))
