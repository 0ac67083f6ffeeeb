"""A batch size that follows the measured gradient noise scale, against the same net with fixed sizes.

Usage: python examples/measurement/noise_scale.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.runs import Recorder, read_run
from tempomat.torch import Applied, Batches, BatchSampler, GradientNoise, Scheduler

SMALL, LARGE, MICRO = 32, 512, 16
"""The sizes between which the batch may move, and the micro-batches whose gradients are compared."""
MEASURED = tm.NoiseScale(
    min_value=SMALL, max_value=LARGE, multiple=SMALL, decay=0.0, min_measurements=20, tolerance=0.25, on_nan="bad"
)
SIZES: dict[str, tm.Node] = {
    f"always {SMALL}": tm.Constant(value=SMALL),
    f"always {LARGE}": tm.Constant(value=LARGE),
    "by the noise": MEASURED,
}


def train(size: tm.Node, folder: Path, *, epochs: int, seed: int = 0) -> dict[str, Any]:
    """One run over so many epochs, recorded."""
    torch.manual_seed(seed)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.1, "batch_size": size}))
    data = TensorDataset(images[:1408], labels[:1408])
    batches = Batches(DataLoader(data, batch_sampler=BatchSampler(data, scheduler, seed=seed, micro=MICRO)))
    applied, noise = Applied(scheduler, batches), GradientNoise(model.parameters(), decay=0.95)
    with Recorder(folder, scheduler.plan, seed=seed) as recorder:
        while batches.epoch < epochs:
            loss = 0.0
            for info, (pixels, digits) in batches:
                part = info.weight * cross_entropy(model(pixels), digits)
                part.backward()
                noise.add(len(digits), info.weight)
                loss += part.item()
                if not info.last:
                    continue
                scale = noise.measure()  # None where the end of an epoch is one micro-batch
                optimizer.step()
                optimizer.zero_grad()
                seen = {} if scale is None else {"noise_scale": scale}
                recorder.write(applied, train_loss=loss, samples=info.counts["samples"], **seen)
                scheduler.step()
                if seen and scheduler.plan["batch_size"].controllers:
                    scheduler.observe(**seen)
                loss = 0.0
            with torch.no_grad():
                scores = model(images[1408:])
            val_loss = cross_entropy(scores, labels[1408:]).item()
            accuracy = (scores.argmax(1) == labels[1408:]).float().mean().item()
            recorder.write(applied, val_loss=val_loss, val_accuracy=accuracy)
    noise.close()
    run = read_run(folder)
    return {
        "updates": scheduler.counts["optimizer_steps"],
        "accuracy": accuracy,
        "val_loss": run.measured("val_loss"),
        "noise": run.measured("noise_scale"),
        # the rows of updates: before each, how many samples were seen
        "samples": run.measured("samples").values,
        "batch_size": np.array([row["applied"]["batch_size"] for row in run.rows if "samples" in row["measured"]]),
    }


def main(seeds: Sequence[int] = range(3), epochs: int = 30) -> dict[str, list[dict[str, Any]]]:
    """The runs of each kind, one a seed."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: [train(size, Path(folder, f"{name}-{seed}"), epochs=epochs, seed=seed) for seed in seeds]
            for name, size in SIZES.items()
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, runs in main().items():
        for seed, one in enumerate(runs):
            first, last = one["batch_size"][[0, -1]]
            done = f"{one['updates']:5} updates, batch {first:.0f} -> {last:.0f}"
            loss = one["val_loss"].values[-1]
            print(f"{name:13} seed {seed}  accuracy {one['accuracy']:.1%}  val loss {loss:.3f}  {done}")
