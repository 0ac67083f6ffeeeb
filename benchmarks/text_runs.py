"""One training run on the text under a plan, and the folder of finished ones."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import finished
import numpy as np
import text_model
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import AveragedModel

import tempomat as tm
from tempomat.torch import Scheduler

SCHEDULES = ("constant", "cosine to 10 %", "linear to zero", "WSD")
WARMUP, WSD_FALL = "5%", "20%"
BETAS, WEIGHT_DECAY = (0.9, 0.99), 0.01


@dataclass(frozen=True)
class Scale:
    """What all runs of one comparison have in common."""

    updates: int = 600
    batch: int = 16
    length: int = 32
    width: int = 64
    layers: int = 2
    heads: int = 2
    evaluations: int = 15
    curve_rows: int = 128
    peaks: tuple[float, ...] = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
    multiples: tuple[int, ...] = (1, 2, 4, 8)
    averages: tuple[float, ...] = (0.95, 0.98, 0.99)
    tuning_seeds: tuple[int, ...] = (101, 102)
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)


LAPTOP = Scale()
TOY = Scale(
    updates=20, batch=4, length=8, width=8, layers=1, heads=1, evaluations=2, curve_rows=8, peaks=(1e-3, 1e-2),
    multiples=(1, 4), averages=(0.5, 0.9), tuning_seeds=(101,), seeds=(1, 2),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run: a schedule's name, its highest lr, whether it warms up, and the seed of weights and batches."""

    schedule: str
    peak: float
    seed: int
    warm: bool = True

    @property
    def name(self) -> str:
        """Of its file."""
        shape = "-".join(self.schedule.replace("%", "").split())
        return f"{shape}-{self.peak:g}{'' if self.warm else '-cold'}-seed{self.seed}"


def plan(run: Run, scale: Scale) -> tm.Plan:
    """What is scheduled: the lr, and the decay of each average of the weights."""
    averages = {average(decay): decay for decay in scale.averages}
    return tm.Plan({"lr": learning_rate(run), **averages}, total=scale.updates)


def average(decay: float) -> str:
    """The plan's entry for one of the averages."""
    return f"average_{round(1000 * decay)}.ema_decay"


def learning_rate(run: Run) -> tm.Schedule:
    """All four rise alike, from a hundredth of the peak, and differ in what follows."""
    rise = {"warmup": WARMUP if run.warm else 0, "peak_value": run.peak, "init_value": run.peak / 100}
    match run.schedule:
        case "constant":
            return tm.warmup_constant(**rise)
        case "cosine to 10 %":
            return tm.warmup_cosine(**rise, end_value=run.peak / 10)
        case "linear to zero":
            return tm.warmup_linear(**rise)
        case "WSD":
            return tm.warmup_stable_decay(**rise, decay=WSD_FALL)
    raise ValueError(f"no schedule of that name: {run.schedule!r}. There are {', '.join(SCHEDULES)}")


def train(run: Run, scale: Scale, text: text_model.Text) -> dict[str, Any]:
    """One run; validation losses in nats per character.

    A run whose loss is no longer finite ends there, and counts as one that has learnt nothing: ln(letters).
    Averages are kept beside runs at a constant rate alone.
    """
    began = time.perf_counter()
    model = _model(run, scale, text)
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.peak, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    scheduler = Scheduler(optimizer, plan(run, scale), targets={average(decay): None for decay in scale.averages})
    averaged = _averages(model, scheduler, scale.averages if run.schedule == "constant" else ())
    curve, diverged = Curve(), False
    checks = {round(scale.updates * (one + 1) / scale.evaluations) for one in range(scale.evaluations)}
    for update, starts in enumerate(_batches(run, scale, text), start=1):
        loss = text_model.loss_of(model, text_model.rows_at(text.training, starts, scale.length))
        diverged = not math.isfinite(loss.item())
        if diverged:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        for one in averaged.values():
            one.update_parameters(model)
        if update in checks:
            held_out = (text.validation, scale.length, scale.curve_rows)
            curve.updates.append(update)
            curve.loss.append(text_model.validation_loss(model, *held_out))
            for name, one in averaged.items():
                curve.averages.setdefault(name, []).append(text_model.validation_loss(one, *held_out))
    end = {
        name: text_model.validation_loss(one, text.validation, scale.length)
        for name, one in {"": model, **averaged}.items()
    }
    nothing = math.log(len(text.letters))
    end = {name: nothing if diverged or not math.isfinite(loss) else loss for name, loss in end.items()}
    return {
        "loss": end.pop(""),
        "averages": end,
        "diverged": diverged,
        "curve": asdict(curve),
        "seconds": time.perf_counter() - began,
    }


def _model(run: Run, scale: Scale, text: text_model.Text) -> text_model.Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        shape = {"width": scale.width, "layers": scale.layers, "heads": scale.heads, "length": scale.length}
        return text_model.Model(len(text.letters), **shape)


def _batches(run: Run, scale: Scale, text: text_model.Text) -> NDArray[np.int64]:
    """Where the rows of each update start, the same for every run of a seed; shape (updates, batch)."""
    generator = np.random.Generator(np.random.Philox(key=[run.seed, 0]))
    return generator.integers(len(text.training) - scale.length, size=(scale.updates, scale.batch))


@dataclass
class Curve:
    """Validation losses on the way, over part of the validation text."""

    updates: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    averages: dict[str, list[float]] = field(default_factory=dict)


def _averages(model: torch.nn.Module, scheduler: Scheduler, decays: Sequence[float]) -> dict[str, AveragedModel]:
    """Averages of the weights by decay; each reads its decay from the scheduler at every update."""

    def keep(entry: str) -> AveragedModel:
        def update(averaged: Any, current: Any, _: Any) -> None:
            torch._foreach_lerp_(averaged, current, 1.0 - scheduler.values[entry])

        return AveragedModel(model, multi_avg_fn=update)

    return {f"{decay:g}": keep(average(decay)) for decay in decays}


@dataclass
class Runs:
    """Finished runs, a file each: what is there is not done again."""

    folder: Path
    scale: Scale
    text: text_model.Text

    @property
    def settings(self) -> dict[str, Any]:
        """What has to be the same for results to be comparable."""
        fixed = {
            "text": self.text.checksum,
            "torch": torch.__version__,
            "warmup": WARMUP,
            "wsd_fall": WSD_FALL,
            "betas": BETAS,
            "weight_decay": WEIGHT_DECAY,
        }
        return {**asdict(replace(self.scale, **_OPEN)), **fixed}

    def result(self, run: Run) -> dict[str, Any] | None:
        """How it ended; None if it has not.

        Raises:
            SystemExit: it was made with other settings.
        """
        return finished.read(self.folder, run.name, self.settings, "settings, text or torch")

    def carry_out(self, run: Run) -> dict[str, Any]:
        """Train it, and keep the result."""
        return finished.write(self.folder, run.name, self.settings, train(run, self.scale, self.text))


_OPEN: dict[str, Any] = {"peaks": (), "multiples": (), "tuning_seeds": (), "seeds": ()}
"""Which runs there are changes none of them."""
