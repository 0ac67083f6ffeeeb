"""What each plan asked for, and what became of the training loss: over the samples seen, and over the updates made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tempomat.runs import Run, read_run

COLOURS = ("#d1701f", "#1b6ca8", "#4a9c5d", "#5d646b")
STYLES = ("-", "--", "-", "--")
GREY = "#5d646b"
PER_EPOCH = 1437
BINS = 60


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> Path:
    """Write the picture from the run folders of each plan."""
    figure = Figure(figsize=(13.5, 6.4), layout="constrained")
    grid: Any = figure.subplot_mosaic([["batch_size", "samples", "updates"], ["lr", "samples", "updates"]])
    for (name, paths), colour, style in zip(folders.items(), COLOURS, STYLES, strict=True):
        records = [read_run(one) for one in paths]
        for entry in ("batch_size", "lr"):
            counts, _, applied = records[0].series(entry)
            front = 3 if style == "--" else 2  # dashes over the line that they share a place with
            grid[entry].step(counts / PER_EPOCH, applied, style, where="post", color=colour, lw=1.8, zorder=front)
        seen, losses = _binned(records)
        steps = _updates_at(records[0], seen)
        grid["samples"].plot(seen / PER_EPOCH, losses, style, color=colour, lw=1.8, label=name)
        grid["updates"].plot(steps, losses, style, color=colour, lw=1.8, label=name)
    titles = {
        "batch_size": "batch size, as applied",
        "lr": "learning rate, as applied",
        "samples": f"training loss over epochs, mean of {len(records)} seeds",
        "updates": "the same loss over optimizer steps",
    }
    for key, title in titles.items():
        axes = grid[key]
        axes.set_title(title, loc="left", fontsize=10, color=GREY)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_yscale("log", base=2 if key in ("batch_size", "lr") else 10)
        axes.set_xlabel("optimizer steps" if key == "updates" else "epoch", color=GREY)
    for key, labels in (("batch_size", [16, 64, 256]), ("lr", [0.1 / 16, 0.1 / 4, 0.1, 0.4, 1.6])):
        grid[key].set_yticks(labels, [f"{one:.3g}" for one in labels])
    grid["samples"].legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _binned(records: Sequence[Run]) -> tuple[Any, Any]:
    """The mean loss of equal stretches of samples, each update by its size, over all runs of a plan."""
    total = sum(records[0].measured("samples_of_update").values)
    edges = np.linspace(0, total, BINS + 1)
    curves: list[Any] = []
    for record in records:
        counts, losses = record.measured("train_loss")
        _, sizes = record.measured("samples_of_update")
        place = np.digitize(counts, edges[1:-1])
        curves.append(np.bincount(place, losses * sizes, BINS) / np.bincount(place, sizes, BINS))
    return (edges[1:] + edges[:-1]) / 2, np.mean(curves, axis=0)


def _updates_at(record: Run, samples: Any) -> Any:
    counts, _, _ = record.series("lr")
    return np.searchsorted(counts, samples)
