"""A learning rate that is too high: without a guard, with one that cuts it, and with one that also goes back.

Usage: python examples/measurement/guard.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import tempomat as tm
from tempomat.runs import Recorder, read_run
from tempomat.torch import Rollback, Scheduler

STEPS = 400
TOO_HIGH = tm.warmup_cosine(init_value=0.0, peak_value=1.0, end_value=0.0, warmup=150, total=STEPS)
"""A learning rate on whose way up this net falls apart."""
# the losses of batches of 64 scatter widely, so that a spike has to be a high one
GUARD = tm.DivergenceGuard(metric="train_loss", factor=0.5, spike=12.0, window=50, min_measurements=20, cooldown=5)


def train(lr: tm.Node, folder: Path, *, go_back: bool = False, seed: int = 0) -> dict[str, Any]:
    """One run to the plan's end, recorded; with `go_back` it returns to its last good state when the guard cuts."""
    torch.manual_seed(seed)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": lr}, total=STEPS))
    rollback = Rollback(scheduler, model, every=20) if go_back else None
    made, listens = 0, bool(scheduler.plan["lr"].controllers)
    with Recorder(folder, scheduler.plan, seed=seed) as recorder:
        # the count goes back now and then, so it is asked each time how far the run is
        while scheduler.counts["optimizer_steps"] < STEPS:
            batch = torch.randint(1408, (64,))
            loss = cross_entropy(model(images[batch]), labels[batch])
            recorder.write(scheduler, train_loss=loss.item())
            if rollback and rollback.observe(train_loss=loss):
                continue  # this gradient is not used
            if listens and not rollback:
                scheduler.observe(train_loss=loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if rollback:
                rollback.step()
            made += 1
    with torch.no_grad():
        right = (model(images[1408:]).argmax(1) == labels[1408:]).float().mean().item()
    run = read_run(folder)
    return {
        "accuracy": right,
        "updates": made,
        "cuts": sum(one["event"] == "decision" for one in run.events),
        "went_back": rollback.times if rollback else 0,
        "lr": run.series("lr").applied,
        "loss": run.measured("train_loss").values,
    }


def main(seeds: Sequence[int] = range(5)) -> dict[str, list[dict[str, Any]]]:
    """The runs of each kind, one a seed."""
    with tempfile.TemporaryDirectory() as folder:

        def runs(name: str, lr: tm.Node, *, go_back: bool = False) -> list[dict[str, Any]]:
            return [train(lr, Path(folder, f"{name}-{seed}"), go_back=go_back, seed=seed) for seed in seeds]

        return {
            "no guard": runs("none", TOO_HIGH),
            "cuts": runs("cuts", TOO_HIGH * GUARD),
            "cuts and goes back": runs("back", TOO_HIGH * GUARD, go_back=True),
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, runs in main().items():
        for seed, one in enumerate(runs):
            done = f"{one['cuts']} cuts, went back {one['went_back']} times, {one['updates']} updates"
            print(f"{name:18} seed {seed}  test accuracy {one['accuracy']:6.1%}  {done}")
