"""One picture of the evidence on digits: what was scheduled, what it did to the loss, and what each row is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import digits_runs as digits
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

BLUE, ORANGE, GREEN, GREY = "#1b6ca8", "#d1701f", "#3b8754", "#5d646b"
COLOURS = {digits.DECAY: ORANGE, digits.RAMP: BLUE, digits.LARGER: GREEN, digits.CONSTANT: GREY}


def draw(tables: dict[str, Any], scale: digits.Scale, path: Path) -> None:
    """Write the picture from the tables of `evidence_digits`."""
    figure = Figure(figsize=(14.5, 7.2), layout="constrained")
    axes = figure.subplot_mosaic(
        [["lr", "epochs", "effects"], ["batch_size", "updates", "effects"]], width_ratios=[0.8, 1.1, 1.2]
    )
    batches = tables.get("batches", {})
    for entry, title in (("lr", "learning rate"), ("batch_size", "batch size")):
        _planned(axes[entry], entry, batches, scale)
        _dress(axes[entry], title, "epoch")
        axes[entry].set_yscale("log")
    _ticks(axes["lr"].yaxis, [0.001, 0.003, 0.01, 0.03, 0.1])
    _ticks(axes["batch_size"].yaxis, [8, 24, 72, 216])
    axes["lr"].legend(frameon=False, fontsize=8)
    for over in ("epochs", "updates"):
        _losses(axes[over], over, batches)
        _dress(axes[over], f"test loss over {over}, mean of the seeds", over[:-1])
    _effects(axes["effects"], tables, scale)
    figure.savefig(path, dpi=110)


def _planned(axes: Axes, entry: str, table: dict[str, Any], scale: digits.Scale) -> None:
    setting = scale.settings["batches"]
    samples = np.arange(0, setting.epochs * scale.size)
    for arm, colour in COLOURS.items():
        if arm in table:
            run = digits.Run("batches", arm, table[arm]["peak"], 0)
            values = digits.plan(run, scale).resolve()[entry](samples)
            axes.plot(
                samples / scale.size,
                np.broadcast_to(values, samples.shape),
                color=colour,
                lw=2,
                label=arm,
                **_in_front(arm),
            )


def _losses(axes: Axes, over: str, table: dict[str, Any]) -> None:
    for arm, colour in COLOURS.items():
        if arm in table:
            curve = table[arm]["curve"]
            counts = curve["updates"] if over == "updates" else np.arange(1, len(curve["loss"]) + 1)
            axes.plot(counts, curve["loss"], color=colour, lw=2, label=arm, **_in_front(arm))
    axes.set_yscale("log")
    _ticks(axes.yaxis, [0.15, 0.2, 0.3, 0.5, 1.0])


def _in_front(arm: str) -> dict[str, Any]:
    """Where the ramp does as lr decay does, both are to be seen."""
    return {"ls": "--", "zorder": 3} if arm == digits.DECAY else {}


def _effects(axes: Axes, tables: dict[str, Any], scale: digits.Scale) -> None:
    """A line per row that is held against another: its mean difference and the interval."""
    names, place = dict[float, str](), 0.0
    for setting, table in tables.items():
        for arm, row in table.items():
            if arm == scale.settings[setting].base or row["against"] is None:
                continue
            low, high = row["against"]["interval"]
            colour = BLUE if low > 0 else ORANGE if high < 0 else GREY
            axes.plot(np.clip([low, high], -100, 100), [place, place], color=colour, lw=2.2)
            axes.plot([row["against"]["mean"]], [place], "o", color=colour, ms=5)
            names[place] = f"{setting}: {arm}"
            place += 1.0
        place += 0.7
    axes.set_yticks(list(names), list(names.values()), fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xscale("symlog", linthresh=5)
    _ticks(axes.xaxis, [-5, -2, 0, 2, 5, 10, 20])
    _dress(axes, "points of test score against lr decay (batches) or shuffling", "difference, paired, 95 % interval")


def _ticks(axis: Axis, places: list[float]) -> None:
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _dress(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=GREY)
    axes.set_xlabel(below, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
