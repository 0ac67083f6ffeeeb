"""One training run on digits under a plan, what plans there are, and the folder of finished runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import digits_model
import finished
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

import tempomat as tm
from tempomat.torch import Batches, BatchSampler, Curriculum, Order, Scheduler, Weighted, inverse_frequencies
from tempomat.torch.stream import Shuffled

MARKS, FACTOR = ("30%", "60%", "80%"), 3
FIRST_SHARE, PACED = 0.2, "50%"
DECAY, RAMP, CONSTANT, LARGER = "lr decay", "batch ramp", "constant", "larger batch, lr decay"
BATCH_ARMS = (CONSTANT, DECAY, RAMP, LARGER)
SHUFFLED, BALANCED = "shuffled", "balanced"
EASY, COMPETENCE, RANDOM, HARD_FIRST = "easy first", "competence", "random first", "hard first"
HARD, HARDER = "hard often", "hard more and more"
CURRICULA, HARD_ARMS = (EASY, COMPETENCE, RANDOM, HARD_FIRST), (HARD, HARDER)
SAMPLING_ARMS = (SHUFFLED, *CURRICULA, *HARD_ARMS)


@dataclass(frozen=True)
class Setting:
    """What all runs that are held against each other have in common."""

    told: str
    epochs: int
    batch: int
    arms: tuple[str, ...]
    base: str
    peaks: tuple[float, ...]
    wrong: float = 0.0
    eights: bool = False
    larger: int = 0

    @property
    def measure(self) -> str:
        """What its score is."""
        return "average precision" if self.eights else "accuracy"


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    size: int
    settings: dict[str, Setting]
    tuning_seeds: tuple[int, ...] = (101, 102, 103, 104, 105)
    seeds: tuple[int, ...] = tuple(range(1, 21))


SMALL_BATCH_PEAKS = (0.01, 0.02, 0.04, 0.08, 0.16)
PEAKS = (0.04, 0.08, 0.16, 0.32, 0.64)
LAPTOP = Scale(
    900,
    {
        "batches": Setting("30 epochs", 30, 8, BATCH_ARMS, DECAY, SMALL_BATCH_PEAKS, larger=18),
        "short": Setting("5 epochs", 5, 32, SAMPLING_ARMS, SHUFFLED, PEAKS),
        "long": Setting("20 epochs", 20, 32, SAMPLING_ARMS, SHUFFLED, PEAKS),
        "noisy": Setting("20 epochs, 30 % of the training labels wrong", 20, 32, SAMPLING_ARMS, SHUFFLED, PEAKS, 0.3),
        "eights": Setting(
            "10 epochs, eights against all else", 10, 32, (SHUFFLED, BALANCED, *HARD_ARMS), SHUFFLED, PEAKS, eights=True
        ),
    },
)
TOY = Scale(
    100,
    {
        name: replace(LAPTOP.settings[name], epochs=epochs, peaks=LAPTOP.settings[name].peaks[1:3])
        for name, epochs in {"batches": 10, "noisy": 2, "eights": 2}.items()
    },
    tuning_seeds=(101,),
    seeds=(1, 2),
)


@dataclass(frozen=True)
class Run:
    """One run: where and how, its highest lr, and the seed of training images, weights, order and shifts."""

    setting: str
    arm: str
    peak: float
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.setting}/{self.arm.replace(',', '').replace(' ', '-')}-{self.peak:g}-seed{self.seed}"


def plan(run: Run, scale: Scale) -> tm.Plan:
    """What is scheduled, on the clock of samples, so that a share of the run is a share of its data."""
    setting = scale.settings[run.setting]
    entries = _batch_entries(run, setting) if run.arm in BATCH_ARMS else _sampling_entries(run, setting)
    rates = {"samples_per_epoch": scale.size}
    return tm.Plan(entries, total=f"{setting.epochs} epochs", clock="samples", rates=rates)


def _batch_entries(run: Run, setting: Setting) -> dict[str, Any]:
    falling = _stairs(run.peak, 1 / FACTOR)
    match run.arm:
        case "constant":
            return {"lr": run.peak, "batch_size": setting.batch}
        case "lr decay":
            return {"lr": falling, "batch_size": setting.batch}
        case "batch ramp":
            return {"lr": run.peak, "batch_size": _stairs(setting.batch, FACTOR)}
        case _:
            return {"lr": falling, "batch_size": setting.larger}


def _stairs(first: float, factor: float) -> tm.Schedule:
    values = tuple(first * factor**step for step in range(len(MARKS) + 1))
    return tm.PiecewiseConstant(values=values, boundaries=MARKS)


def _sampling_entries(run: Run, setting: Setting) -> dict[str, Any]:
    paced = {"end_value": 1.0, "duration": PACED}
    in_play = {
        EASY: tm.Linear(init_value=FIRST_SHARE, **paced),
        RANDOM: tm.Linear(init_value=FIRST_SHARE, **paced),
        HARD_FIRST: tm.Linear(init_value=FIRST_SHARE, **paced),
        COMPETENCE: tm.Linear(init_value=FIRST_SHARE**2, **paced) ** 0.5,
    }
    powers = {HARD: 1.0, BALANCED: 1.0, HARDER: tm.Linear(init_value=0.0, end_value=1.0, duration="100%")}
    lr = tm.Linear(init_value=run.peak, end_value=0.0, duration="100%")
    entries: dict[str, Any] = {"lr": lr, "batch_size": setting.batch}
    if run.arm in in_play:
        entries["difficulty"] = in_play[run.arm]
    if run.arm in powers:
        entries["sampling_power"] = powers[run.arm]
    return entries


def order(run: Run, scale: Scale) -> Order:
    """Which training images come when."""
    setting, seed, size = scale.settings[run.setting], run.seed, scale.size
    kind = (seed, size, setting.wrong, setting.eights)
    match run.arm:
        case "easy first" | "competence":
            return Curriculum(digits_model.difficulty(*kind), seed=seed)
        case "hard first":
            return Curriculum(-digits_model.difficulty(*kind), seed=seed)
        case "random first":
            return Curriculum(digits_model.at_random(seed, size), seed=seed)
        case "hard often" | "hard more and more":
            return Weighted(_hardness(kind), seed=seed)
        case "balanced":
            return Weighted(inverse_frequencies(digits_model.load(*kind).train.labels), seed=seed)
    return Shuffled(size, seed=seed)


def _hardness(kind: tuple[int, int, float, bool]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Weights by difficulty; of eights against all else, positives keep the highest: it is negatives that differ."""
    weights = np.maximum(digits_model.difficulty(*kind), digits_model.EASIEST)
    labels = digits_model.load(*kind).train.labels.numpy()
    return np.where(labels == 1, 1.0, weights) if kind[-1] else weights


def train(run: Run, scale: Scale) -> dict[str, Any]:
    """One run, and what it came to. One whose loss is no longer finite ends there, with a score of 0."""
    began, setting = time.perf_counter(), scale.settings[run.setting]
    digits = digits_model.load(run.seed, scale.size, setting.wrong, setting.eights)
    net = digits_model.build_net(run.seed, digits.classes)
    optimizer = torch.optim.SGD(net.parameters(), lr=run.peak, momentum=0.9)
    decided = plan(run, scale)
    loose: dict[str, None] = {"sampling_power": None} if "sampling_power" in decided.schedules else {}
    scheduler = Scheduler(optimizer, decided, targets=loose)
    sampler = BatchSampler(order(run, scale), scheduler)
    rows = digits_model.Rows(digits.train, run.seed, scale.size * setting.epochs)
    batches = Batches(DataLoader(rows, batch_sampler=sampler, collate_fn=digits_model.as_it_is))
    curve: dict[str, list[float]] = {"updates": [], "loss": [], "score": []}
    updates = 0
    for _ in range(setting.epochs):
        for info, (pixels, labels) in batches:
            loss = functional.cross_entropy(net(pixels), labels)
            if not math.isfinite(loss.item()):
                return {**_nothing(digits.classes), "curve": curve, "seconds": time.perf_counter() - began}
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.advance(samples=info.samples)
            updates = info.update + 1
        seen = digits_model.evaluate(net, digits.test)
        for name, value in {"updates": updates, **seen}.items():
            curve[name].append(value)
    return {
        "diverged": False,
        "updates": updates,
        "validation": digits_model.evaluate(net, digits.validation),
        "test": seen,
        "curve": curve,
        "seconds": time.perf_counter() - began,
    }


def _nothing(classes: int) -> dict[str, Any]:
    guessed = {"loss": math.log(classes), "score": 0.0}
    return {"diverged": True, "updates": 0, "validation": guessed, "test": guessed}


@dataclass
class Runs:
    """Finished runs, a file each: what is there is not done again."""

    folder: Path
    scale: Scale

    def settings(self, run: Run) -> dict[str, Any]:
        """What a result depends on."""
        setting = {**asdict(self.scale.settings[run.setting]), "told": None, "arms": None, "peaks": None}
        fixed = {"size": self.scale.size, "plan": plan(run, self.scale).fingerprint, "torch": str(torch.__version__)}
        return {**fixed, "setting": setting}

    def result(self, run: Run) -> dict[str, Any] | None:
        """How it ended; None if it has not.

        Raises:
            SystemExit: it was made with other settings.
        """
        return finished.read(self.folder, run.name, self.settings(run), "settings or another torch")

    def carry_out(self, run: Run) -> dict[str, Any]:
        """Train it, and keep the result."""
        return finished.write(self.folder, run.name, self.settings(run), train(run, self.scale))

    def finished(self, runs: Iterable[Run]) -> dict[Run, dict[str, Any]]:
        """Results of those that have ended."""
        return {run: found for run in runs if (found := self.result(run)) is not None}
