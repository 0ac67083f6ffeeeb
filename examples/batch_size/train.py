"""Batch size over time on handwritten digits: a growing batch against a falling learning rate, over the same samples.

Usage: python examples/batch_size/train.py [OUT_FOLDER]
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from batch_picture import draw
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.runs import Recorder
from tempomat.torch import Applied, Batches, BatchSampler, Scheduler

SEEDS = (0, 1, 2)
MICRO = 64
"""What the device is taken to hold at once; a larger update comes in several micro-batches."""
Part = tuple[torch.Tensor, torch.Tensor]


@cache
def load() -> tuple[Part, Part]:
    """The scans that ship with scikit-learn, 1 437 to train on and 360 to test with."""
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, labels, test_size=360, random_state=0, stratify=labels)
    x_train, x_test, y_train, y_test = (torch.tensor(part) for part in parts)
    return (x_train.float(), y_train), (x_test.float(), y_test)


def plans() -> dict[str, tm.Plan]:
    """The four plans that lie beside this file, by name."""
    folder = Path(__file__).parent
    names = ("lr decay", "batch ramp", "batch ramp, lr coupled", "nothing changes")
    return {name: tm.load_plan(folder / f"{name.replace(', ', '_').replace(' ', '_')}.yaml") for name in names}


class Training:
    """Everything that a checkpoint has to hold, and the loop."""

    def __init__(self, plan: tm.Plan, seed: int, *, workers: int = 0, epochs: int = 30) -> None:
        torch.manual_seed(seed)
        (images, self.test), self.epochs = load(), epochs
        self.model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), momentum=0.9)
        self.scheduler = Scheduler(self.optimizer, plan)
        data = TensorDataset(*images)
        sampler = BatchSampler(data, self.scheduler, seed=seed, micro=MICRO)
        self.batches = Batches(DataLoader(data, batch_sampler=sampler, num_workers=workers))

    def train(self, recorder: Recorder | None = None, *, until: int | None = None) -> int:
        """Train to the end, or until so many updates are done; says how many there were."""
        applied, done = Applied(self.scheduler, self.batches), 0
        while self.batches.epoch < self.epochs:
            loss = 0.0
            for info, (pixels, labels) in self.batches:
                part = info.weight * cross_entropy(self.model(pixels), labels)
                part.backward()
                loss += part.item()
                if not info.last:
                    continue
                self.optimizer.step()
                self.optimizer.zero_grad()
                if recorder:
                    recorder.write(applied, train_loss=loss, samples_of_update=info.samples)
                self.scheduler.advance(samples=info.samples)
                loss, done = 0.0, done + 1
                if done == until:
                    return done
        return done

    @torch.no_grad()
    def accuracy(self) -> float:
        """The share of the test images that are recognised."""
        pixels, labels = self.test
        return (self.model(pixels).argmax(1) == labels).float().mean().item()

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint: plain data and tensors."""
        return {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler", "batches")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, one in state.items():
            getattr(self, name).load_state_dict(one)


def run(folder: Path, plan: tm.Plan, seed: int, epochs: int) -> dict[str, float]:
    """One recorded run."""
    training = Training(plan, seed, epochs=epochs)
    again = 0 if (folder / "run.json").exists() else None  # a run of before is recorded anew
    with Recorder(folder, plan, seed=seed, resume=again) as recorder:
        updates = training.train(recorder)
    return {"updates": updates, "accuracy": training.accuracy()}


def goes_on(after: int = 30, epochs: int = 3) -> bool:
    """Whether a run with two workers that is broken off in the middle of an epoch ends as one that never was."""
    ramp = tm.batch_ramp(init_value=16, end_value=256, increment=16, duration="2 epochs")
    plan = tm.Plan({"lr": 0.1, "batch_size": ramp}, clock="samples", rates={"samples_per_epoch": 1437})
    whole, first, second = (Training(plan, 0, epochs=epochs, workers=workers) for workers in (0, 2, 2))
    whole.train()
    first.train(until=after)
    second.load_state_dict(first.state_dict())
    second.train()
    pairs = zip(whole.model.parameters(), second.model.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def main(out: str | Path = "runs/batch_size", *, seeds: tuple[int, ...] = SEEDS, epochs: int = 30) -> dict[str, Any]:
    """Train under each plan and seed, draw the picture, and break one run off."""
    torch.set_num_threads(1)  # a net this small is slower on several
    folders = {
        name: [Path(out, name.replace(", ", "-").replace(" ", "-"), f"seed-{seed}") for seed in seeds]
        for name in plans()
    }
    found = {
        name: [run(folder, plan, seed, epochs) for folder, seed in zip(folders[name], seeds, strict=True)]
        for name, plan in plans().items()
    }
    return {
        "runs": found,
        "folders": folders,
        "picture": draw(folders, Path(out, "batch_size.png")),
        "identical": goes_on(),
    }


if __name__ == "__main__":
    result = main(*sys.argv[1:2])
    for name, runs in result["runs"].items():
        scores = ", ".join(f"{one['accuracy']:.1%}" for one in runs)
        print(f"{name:24} {runs[0]['updates']:5} updates   test accuracy {scores}")
    print(
        f"broken off in mid-epoch and resumed with two workers: {'identical' if result['identical'] else 'DIFFERENT'}"
    )
    print(f"picture: {result['picture']}")
