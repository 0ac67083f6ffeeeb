"""One run: the net of `model.py` under one plan and one seed, and what it leaves in its folder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model
import torch
from torch import nn
from torch.nn import functional

import tempomat as tm
from tempomat.runs import Recorder
from tempomat.torch import Scheduler


@dataclass(frozen=True)
class Run:
    """What fixes a run. Two that are equal give the same weights on one machine, whatever runs beside them."""

    name: str
    plan: tm.Plan
    seed: int
    out: Path

    @property
    def folder(self) -> Path:
        """Its own; a changed plan has another."""
        return self.out / f"{self.name}-{self.plan.fingerprint[:8]}" / f"seed-{self.seed}"

    @property
    def epochs(self) -> int:
        """How often it sees every image."""
        total = self.plan.resolve(steps_per_epoch=model.STEPS_PER_EPOCH).total
        if not isinstance(total, int):
            raise tm.PlanError(f"{self.name}: `total` is missing. Give the plan its length, or say --epochs")
        return math.ceil(total / model.STEPS_PER_EPOCH)

    @property
    def made_with(self) -> dict[str, Any]:
        """What a result depends on; one made with anything else is not this run's."""
        versions = {"tempomat": tm.__version__, "torch": str(torch.__version__)}
        return {"plan": self.plan.fingerprint, "seed": self.seed, **versions}

    @property
    def result(self) -> dict[str, Any] | None:
        """What it came to, or None while it is not finished."""
        try:
            found = json.loads((self.folder / "result.json").read_text())
        except FileNotFoundError:
            return None
        return found if found["made_with"] == self.made_with else None

    def forget(self) -> None:
        """Have it trained again."""
        (self.folder / "result.json").unlink(missing_ok=True)


def train(run: Run, tick: Callable[[], object]) -> None:
    """Train to the plan's end, record every step, and write the result last; `tick` is called after each epoch."""
    started = time.perf_counter()
    digits = model.load()
    torch.manual_seed(run.seed)
    shuffling = torch.Generator().manual_seed(run.seed)
    net = model.build_net()
    optimizer = torch.optim.AdamW(net.parameters())
    scheduler = Scheduler(optimizer, run.plan, steps_per_epoch=model.STEPS_PER_EPOCH)

    begun = (run.folder / "run.json").exists()  # and broken off: its record starts over
    with Recorder(run.folder, run.plan, seed=run.seed, resume=0 if begun else None) as recorder:
        for _ in range(run.epochs):
            for pixels, labels in model.batches(digits.train, shuffling):
                loss = functional.cross_entropy(net(pixels), labels)
                optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(net.parameters(), scheduler.values.get("grad_clip", math.inf))
                optimizer.step()
                recorder.write(scheduler, train_loss=loss.item(), grad_norm=norm.item())
                scheduler.step()
            val_loss, val_accuracy = model.evaluate(net, digits.validation)
            recorder.write(scheduler, val_loss=val_loss, val_accuracy=val_accuracy)
            if any(node.controllers for node in run.plan.schedules.values()):
                scheduler.observe(val_loss=val_loss)
            tick()
        test_loss, test_accuracy = model.evaluate(net, digits.test)
        recorder.write(scheduler, test_loss=test_loss, test_accuracy=test_accuracy)

    seen = {"val_loss": val_loss, "val_accuracy": val_accuracy, "test_accuracy": test_accuracy}
    seen["seconds"] = time.perf_counter() - started
    part = run.folder / "result.json.part"
    part.write_text(json.dumps({"made_with": run.made_with, **seen}, indent=1))
    part.replace(run.folder / "result.json")


def test_accuracies(runs: Sequence[Run]) -> tuple[float, ...]:
    """The share of the test images that each finished run recognised, in percent."""
    return tuple(100 * run.result["test_accuracy"] for run in runs if run.result)
