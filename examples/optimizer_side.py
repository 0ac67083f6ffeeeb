"""The optimizer's side of a plan: clipping, averaging, dropout, loss weights, layers that train, all in one loop.

Seven runs of one net on the same handwritten digits, most of them with one entry other than the plain one's. Every
value and measurement is recorded; the picture is drawn from the records.

Usage: python examples/optimizer_side.py [FOLDER [PICTURE]]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import tempomat as tm
from tempomat.runs import Recorder, Run, read_run
from tempomat.torch import (
    ClipMeter,
    ScheduledAverage,
    Scheduler,
    clip_gradients,
    module_attribute,
    trainable_layers,
    weighted_loss,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING, BATCH, EPOCHS = 600, 50, 25
STEPS = EPOCHS * TRAINING // BATCH
LAYERS = ["head", "hidden", "stem"]
"""From the last to the first: the order in which gradual unfreezing lets them train."""

PLAIN: dict[str, Any] = {
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "grad_clip": 1e6,
    "ema_decay": 0.0,
    "dropout": 0.0,
    "reconstruction.loss_weight": 0.0,
    "layers": 3,
}
PLANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"ema_decay": (1 - tm.InverseTime(init_value=0.9, decay_rate=0.1)).minimum(0.98)},
    "dropout": {"dropout": tm.Linear(init_value=0.0, end_value=0.5, duration=STEPS // 2)},
    "two losses": {"reconstruction.loss_weight": tm.Cosine(init_value=3.0, end_value=0.0, duration=STEPS // 2)},
    "unfreezing": {"layers": tm.PiecewiseConstant(values=[1, 2, 3], boundaries=[STEPS // 5, 2 * STEPS // 5])},
    "spoiled": {},
    "spoiled, clipped": {"grad_clip": tm.AutoClip(percentile=90, window=100, init_value=1.0, tolerance=0.1)},
}
"""Where each plan differs from the plain one. In the spoiled runs every 25th batch comes 16 times too bright."""


class Net(nn.Module):
    """Reads a digit, and draws it again from what it has understood."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout())
        self.hidden = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(64, 10)
        self.drawing = nn.Linear(64, 64)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.hidden(self.stem(images))
        return self.head(features), self.drawing(features)


def data() -> tuple[Tensor, Tensor]:
    """1 797 images of 8 by 8 pixels from 0 to 1, as rows of 64, and what they show; always in the same order."""
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order].float() / 16, labels[order]


def train(name: str, seed: int, folder: Path) -> None:
    """One run under one of the plans, recorded into `folder`."""
    torch.manual_seed(seed)
    images, labels = data()
    model, meter = Net(), ClipMeter()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    targets = {
        "dropout": module_attribute(model, "**.p", kind=nn.Dropout),
        "layers": trainable_layers(model, LAYERS),
        "reconstruction.loss_weight": None,
    }
    scheduler = Scheduler(optimizer, tm.Plan(PLAIN | PLANS[name], total=STEPS), targets=targets)
    average = ScheduledAverage(model, scheduler)
    first = {layer: _weights(model, layer).clone() for layer in LAYERS}
    scheduler.start()  # dropout and layers are the plan's from the first forward pass on
    with Recorder(folder, seed=seed) as recorder:
        for step in range(STEPS):
            if step % (TRAINING // BATCH) == 0:
                batches = torch.randperm(TRAINING).split(BATCH)
            batch = batches[step % len(batches)]
            shown = images[batch] * (16 if name.startswith("spoiled") and step % 25 == 24 else 1)
            model.train()
            scores, drawn = model(shown)
            losses = {"reading": cross_entropy(scores, labels[batch]), "reconstruction": mse_loss(drawn, shown)}
            optimizer.zero_grad()
            weighted_loss(losses, scheduler).backward()
            clip_gradients(model.parameters(), scheduler, meter=meter)
            optimizer.step()
            average.update_parameters(model)
            moved = {f"moved_{one}": (_weights(model, one) - first[one]).norm().item() for one in LAYERS}
            tests = _test(model, average, images, labels) if step % 5 == 4 else {}
            recorder.write(scheduler, train_loss=losses["reading"].item(), **meter.read(), **moved, **tests)
            scheduler.step()


def _weights(model: Net, layer: str) -> Tensor:
    return nn.utils.parameters_to_vector(model.get_submodule(layer).parameters()).detach()


@torch.no_grad()
def _test(model: Net, average: ScheduledAverage, images: Tensor, labels: Tensor) -> dict[str, float]:
    """What the model and its average make of the images that nobody trained on."""
    measured: dict[str, float] = {}
    for prefix, one in (("", model), ("average_", average)):
        scores, drawn = one.eval()(images[TRAINING:])
        measured[f"{prefix}test_loss"] = cross_entropy(scores, labels[TRAINING:]).item()
        measured[f"{prefix}test_accuracy"] = (scores.argmax(1) == labels[TRAINING:]).double().mean().item()
    return measured | {"test_reconstruction": mse_loss(drawn, images[TRAINING:]).item()}


def main(folder: Path, picture: Path | None = None, seeds: Sequence[int] = (0, 1, 2)) -> dict[str, list[Run]]:
    """Train every plan from every seed, draw the picture, and return the records by plan."""
    torch.set_num_threads(1)  # a net this small is slower on several
    runs: dict[str, list[Run]] = {}
    for name in PLANS:
        places = [folder / name.replace(",", "").replace(" ", "-") / f"seed-{seed}" for seed in seeds]
        for seed, place in zip(seeds, places, strict=True):
            train(name, seed, place)
        runs[name] = [read_run(place) for place in places]
    draw(runs, picture or folder / "optimizer-side.png")
    return runs


# the picture

BLUE, ORANGE, GREEN, GREY = "#1b6ca8", "#d1701f", "#3d8b4f", "#5d646b"


def draw(runs: dict[str, list[Run]], path: Path) -> None:
    """Write the picture from the records: means over the seeds, and from least to most."""
    figure = Figure(figsize=(15, 7.6), layout="constrained")
    axes = figure.subplots(2, 3)
    (run, *_), norms = runs["spoiled, clipped"], axes[0, 0]
    norms.plot(*_series(run, "grad_norm"), ".", ms=4, color=GREY, label="gradient norm")
    clip = run.series("grad_clip")
    norms.plot(clip.counts, clip.applied, color=BLUE, lw=2.2, label="threshold: 90th percentile of the last 100 norms")
    norms.set_ylim(1e-3, 50)
    share = run.measured("clip_fraction").values.mean()
    _dress(norms, f"automatic clipping, every 25th batch spoiled: {share:.0%} clipped", log=True)
    band(axes[0, 1], runs["spoiled"], "test_loss", ORANGE, "not clipped")
    band(axes[0, 1], runs["spoiled, clipped"], "test_loss", BLUE, "clipped")
    _dress(axes[0, 1], "what it does: test loss", log=True)
    band(axes[0, 2], runs["average"], "test_loss", ORANGE, "the weights")
    band(axes[0, 2], runs["average"], "average_test_loss", BLUE, "their mean, decay 0.1 to 0.98")
    _dress(axes[0, 2], "averaging at a constant lr: test loss", log=True)
    for layer, colour in zip(LAYERS, (BLUE, GREEN, ORANGE), strict=True):
        band(axes[1, 0], runs["unfreezing"], f"moved_{layer}", colour, layer)
    _dress(axes[1, 0], "gradual unfreezing: distance of each layer from its start")
    band(axes[1, 1], runs["two losses"], "test_reconstruction", BLUE, "reconstruction error")
    values = runs["two losses"][0].series("reconstruction.loss_weight")
    axes[1, 1].plot(values.counts, values.applied / 30, "--", color=GREY, label="weight of the second loss / 30")
    _dress(axes[1, 1], "two losses: the second is learnt while it has weight")
    for name, colour in (("plain", ORANGE), ("dropout", BLUE)):
        band(axes[1, 2], runs[name], "test_loss", colour, f"test loss, {name}")
        band(axes[1, 2], runs[name], "train_loss", colour, f"training loss, {name}", ":")
    _dress(axes[1, 2], "dropout from 0 to 0.5 by the middle of the run", log=True)
    for below in axes[1]:
        below.set_xlabel("optimizer steps", color=GREY)
    figure.savefig(path, dpi=110)


def band(axes: Axes, runs: Sequence[Run], name: str, colour: str, label: str, style: str = "-") -> None:
    """One measurement over all seeds, each step's the mean of ten for those that are taken at every step."""
    counts, values = runs[0].measured(name).counts, np.stack([run.measured(name).values for run in runs])
    if len(counts) == STEPS and not name.startswith("moved"):
        counts, values = counts[9::10], values.reshape(len(runs), -1, 10).mean(2)
    axes.plot(counts, values.mean(0), style, color=colour, lw=2, label=label)
    axes.fill_between(counts, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)


def _series(run: Run, name: str) -> tuple[Any, Any]:
    measured = run.measured(name)
    return measured.counts, measured.values


def _dress(axes: Axes, title: str, *, log: bool = False) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    if log:
        axes.set_yscale("log")


if __name__ == "__main__":
    where, drawing = ([Path(one) for one in sys.argv[1:3]] + [None, None])[:2]
    for plan, done in main(where or Path("runs/optimizer-side"), drawing).items():
        missed = [100 - 100 * run.measured("average_test_accuracy").values[-1] for run in done]
        clipped = np.mean([run.measured("clip_fraction").values.mean() for run in done])
        print(f"{plan:<17} missed {np.mean(missed):5.2f} % of the test images, {clipped:5.1%} of the updates clipped")
