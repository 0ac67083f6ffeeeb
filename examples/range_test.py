"""An lr finder on handwritten digits: a sweep, its picture, and whether its suggestions hold up.

The net is tried from 1e-7 to 10 in 100 updates, is put back as it was, and is then trained from that same start at
each suggestion, and at a tenth of the first one to a thousand times that, for 3 epochs with 5 seeds.

Usage: python examples/range_test.py [PICTURE.png]
"""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.torch import RangeTest, Scheduler, range_test

Batch = tuple[torch.Tensor, ...]  # images (N, 1, 8, 8) and labels (N,)
EPOCHS, SEEDS = 3, 5


class Setup(NamedTuple):
    """A training that has not begun."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler
    train: DataLoader[Batch]
    val: Batch

    def step(self, batch: Batch) -> torch.Tensor:
        """One update, as in any loop; the loss is that before it."""
        images, labels = batch
        loss = cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss


def set_up(lr: float = 0.1, seed: int = 0) -> Setup:
    """A convolution with batch normalisation under SGD: with the same seed always the same start."""
    torch.manual_seed(seed)
    pixels, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = pixels.float().view(-1, 1, 8, 8) / 16
    layers = torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU()
    model = torch.nn.Sequential(*layers, torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, weight_decay=1e-4)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": lr}))
    train = DataLoader(TensorDataset(images[:1408], labels[:1408]), batch_size=64, shuffle=True, drop_last=True)
    return Setup(model, optimizer, scheduler, train, (images[1408:], labels[1408:]))


def accuracy_at(lr: float, seed: int) -> float:
    """The share of the validation images recognised after `EPOCHS` at this lr."""
    run = set_up(lr, seed)
    for _ in range(EPOCHS):
        for batch in run.train:
            run.step(batch)
    run.model.eval()
    images, labels = run.val
    with torch.no_grad():
        return float((run.model(images).argmax(1) == labels).float().mean())


def main(picture: str | None = None) -> tuple[RangeTest, dict[float, float]]:
    """The test, and the validation accuracy by lr."""
    torch.set_num_threads(1)
    run = set_up()
    before = deepcopy(run.model.state_dict())
    found = range_test(run.step, run.scheduler, run.model, data=run.train)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    print(found)
    if picture:
        found.png(picture)
        print(f"wrote {picture}")

    names = {one.value: one.rule for one in found.suggestions}
    rates = sorted({*names, *(found.suggestion * factor for factor in (0.1, 10.0, 100.0))})
    scores = {lr: sum(accuracy_at(lr, seed) for seed in range(SEEDS)) / SEEDS for lr in rates}
    print(f"\nvalidation accuracy after {EPOCHS} epochs, mean of {SEEDS} seeds")
    for lr, score in scores.items():
        print(f"  lr {lr:<8.3g} {score:6.1%}  {names.get(lr, 'for comparison')}")
    return found, scores


if __name__ == "__main__":
    main(*sys.argv[1:2])
