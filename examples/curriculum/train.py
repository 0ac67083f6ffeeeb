"""Which samples come when, and how large: a curriculum, sampling weights, two data sets, image size; all by the plan.

Each part trains the same net on handwritten digits twice: as usual, and with an entry of the plan that changes what a
batch is. Everything a batch was drawn by is recorded with it.

Usage: python examples/curriculum/train.py [--seeds 5] [--out FOLDER] [--png FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.runs import Recorder
from tempomat.torch import (
    Applied,
    Batches,
    BatchSampler,
    Collate,
    Curriculum,
    Informed,
    Mixture,
    Order,
    Scheduler,
    Weighted,
    inverse_frequencies,
    resize_images,
)

UPDATES, EVERY, BATCH = 400, 20, 32
RARE = (1, 3, 8)
"""Digits of which nine in ten are taken away."""

Measure = Callable[[Tensor], float]
"""Predicted digits (N,) of the test images to a score from 0 to 1."""


@dataclass(frozen=True)
class Part:
    """One way to train: a plan, an order of the samples, and what is measured on the test images."""

    schedules: dict[str, Any]
    order: Order
    data: TensorDataset
    measure: Measure
    net: Callable[[], nn.Module]


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (N, 1, 8, 8) from 0 to 1 and labels (N,): 898 to train with, 899 to test."""
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, labels, test_size=0.5, random_state=0, stratify=labels)
    x, x_test, y, y_test = (torch.tensor(part) for part in parts)
    return x.float().view(-1, 1, 8, 8), y, x_test.float().view(-1, 1, 8, 8), y_test


def accuracy(predicted: Tensor) -> float:
    """The share of the test images recognised."""
    return float((predicted == digits()[3]).float().mean())


def accuracy_of_rare(predicted: Tensor) -> float:
    """The same of the rare digits alone."""
    labels = digits()[3]
    rare = torch.isin(labels, torch.tensor(RARE))
    return float((predicted == labels)[rare].float().mean())


@cache
def spoilt() -> tuple[Tensor, Tensor, np.ndarray]:
    """The training set with four labels in ten drawn anew, and how surprising each is to a linear model that never
    saw it: (N, 1, 8, 8), (N,), (N,).
    """
    images, labels, _, _ = digits()
    generator = np.random.default_rng(0)
    chosen = generator.random(len(labels)) < 0.4
    noisy = np.where(chosen, generator.integers(10, size=len(labels)), labels.numpy())
    model = LogisticRegression(max_iter=200, C=0.1)
    odds: Any = cross_val_predict(model, images.flatten(1).numpy(), noisy, cv=5, method="predict_proba")
    return images, torch.tensor(noisy), -np.log(odds[np.arange(len(noisy)), noisy])


def easy_first(seed: int, *, scheduled: bool) -> Part:
    """The 30 % of the samples that surprise a linear model least, then more of them: competence as a square root."""
    images, labels, surprise = spoilt()
    pace = tm.Linear(init_value=0.3**2, end_value=1.0, duration=UPDATES) ** 0.5 if scheduled else 1.0
    return Part({"difficulty": pace}, Curriculum(surprise, seed=seed), TensorDataset(images, labels), accuracy, dense)


def rare_first(seed: int, *, scheduled: bool) -> Part:
    """Every class equally often at first, and half-way to how often it is found in the data at the end."""
    images, labels, _, _ = digits()
    keep = ~torch.isin(labels, torch.tensor(RARE)) | (torch.arange(len(labels)) % 10 == 0)
    images, labels = images[keep], labels[keep]
    power = tm.Linear(init_value=1.0, end_value=0.5, duration=UPDATES) if scheduled else 0.0
    order = Weighted(inverse_frequencies(labels), seed=seed)
    return Part({"sampling_power": power}, order, TensorDataset(images, labels), accuracy_of_rare, dense)


def good_last(seed: int, *, scheduled: bool) -> Part:
    """Two data sets: many samples with doubtful labels, and 100 with good ones, which fade in."""
    images, labels, _ = spoilt()
    good = digits()[1]
    fade = tm.Linear(init_value=100.0, end_value=1500.0, duration=UPDATES) if scheduled else 100.0
    web = tm.Linear(init_value=798.0, end_value=0.0, duration=UPDATES) if scheduled else 798.0
    data = TensorDataset(images, torch.cat([labels[:798], good[798:]]))
    order = Mixture({"doubtful": 798, "good": 100}, seed=seed)
    return Part({"mixture.doubtful": web, "mixture.good": fade}, order, data, accuracy, dense)


def small_first(seed: int, *, scheduled: bool) -> Part:
    """Images of 6 by 6 pixels, then 7 by 7, then all 8 by 8: 72 % of the pixels."""
    images, labels, _, _ = digits()
    boundaries = (UPDATES // 2, UPDATES * 3 // 4)
    size = tm.PiecewiseConstant(values=(6, 7, 8), boundaries=boundaries) if scheduled else 8.0
    order = Weighted(np.ones(len(labels)), seed=seed)
    return Part(
        {"image_size": size, "sampling_power": 0.0}, order, TensorDataset(images, labels), accuracy, convolutions
    )


PARTS = {"easy_first": easy_first, "rare_first": rare_first, "good_last": good_last, "small_first": small_first}


def dense() -> nn.Module:
    """A net large enough to learn wrong labels by heart."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def convolutions() -> nn.Module:
    """Two convolutions, then the mean of each quarter of the image, so that any size goes in."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 4, 10),
    )


def train(part: Part, seed: int, folder: Path) -> list[float]:
    """The measure after every `EVERY` updates; the run is recorded in a folder."""
    torch.manual_seed(seed)
    net = part.net()
    optimizer = torch.optim.AdamW(net.parameters())
    lr = tm.warmup_cosine(peak_value=3e-3, end_value=3e-4, warmup=20, total=UPDATES)
    plan = tm.Plan({"lr": lr, "batch_size": BATCH, "image_size": 8.0, **part.schedules}, total=UPDATES)
    scheduler = Scheduler(optimizer, plan)
    sampler = BatchSampler(part.order, scheduler, also=["image_size"])
    collate = Collate(resize_images, "image_size")
    batches = Batches(DataLoader(Informed(part.data), batch_sampler=sampler, collate_fn=collate))
    applied, curve = Applied(scheduler, batches), list[float]()
    with Recorder(folder, plan=scheduler.plan, seed=seed) as recorder:
        while len(curve) < UPDATES // EVERY:
            for info, (images, labels) in batches:
                optimizer.zero_grad()
                loss = cross_entropy(net(images), labels)
                loss.backward()
                optimizer.step()
                recorder.write(applied, train_loss=loss.item(), pixels=images.numel())
                scheduler.step()
                if (info.update + 1) % EVERY == 0:
                    with torch.no_grad():
                        curve.append(part.measure(net(digits()[2]).argmax(1)))
                if info.update + 1 == UPDATES:
                    break
    return curve


def main(seeds: int = 3, out: Path | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Train every part both ways. Curves by part and way, of shape (seeds, measurements)."""
    torch.set_num_threads(1)  # a net this small is slower on several
    curves: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as passing:
        for name, part in PARTS.items():
            curves[name] = {}
            for way in ("usual", "scheduled"):
                runs = [
                    train(
                        part(seed, scheduled=way == "scheduled"), seed, (out or Path(passing)) / name / way / str(seed)
                    )
                    for seed in range(seeds)
                ]
                curves[name][way] = np.array(runs)
            usual, ours = (curves[name][way][:, -1].mean() for way in ("usual", "scheduled"))
            print(f"{name:12} as usual {usual:.1%}, scheduled {ours:.1%} (mean of {seeds} seeds)", flush=True)
    return curves


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--out", type=Path, help="keep the recorded runs here")
    options.add_argument("--png", type=Path, help="draw the curves")
    given = options.parse_args()
    results = main(given.seeds, given.out)
    if given.png:
        from curriculum_picture import draw

        draw(results, UPDATES, EVERY, given.png)
