"""Warmup and cosine on PyTorch, as every library here does it: the same curve, from 0 to the peak and down to 0."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

import tempomat as tm
from tempomat.torch import Scheduler

PEAK = 1e-3
Step = Callable[[], object]


class Idle(torch.optim.Optimizer):
    """An optimizer that updates nothing, so that what surrounds its step can be measured."""

    def __init__(self, groups: int, lr: float | torch.Tensor = PEAK) -> None:
        super().__init__([torch.nn.Parameter(torch.zeros(1))], {"lr": lr})
        # add_param_group looks through all groups before it: a thousand calls take longer than what is measured
        first = self.param_groups[0]
        self.param_groups += [{**first, "params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups - 1)]

    def step(self, closure: None = None) -> None:
        """Nothing."""


def warmup_of(total: int) -> int:
    """A sixteenth of the run."""
    return total // 16


def schedule(total: int) -> Any:
    """The curve as ours."""
    return tm.warmup_cosine(peak_value=PEAK, warmup=warmup_of(total), total=total)


def by_hand(total: int) -> Callable[[int], float]:
    """The curve as one writes it by hand."""
    warmup, rest = warmup_of(total), total - warmup_of(total)

    def value(count: int) -> float:
        if count < warmup:
            return PEAK * (count / warmup)
        return 0.5 * PEAK * (1.0 + math.cos(math.pi * ((count - warmup) / rest)))

    return value


def ours(optimizer: Idle, total: int, counting: Any = "calls") -> Step:
    """A scheduler; `calls` advances at every call, as peers do, `updates`, the default, with the optimizer."""
    return started(optimizer, schedule(total), counting)


def started(optimizer: Idle, lr: Any, counting: Any = "calls") -> Step:
    """The step of a scheduler that has found its places and written its first value, as the peers do when built."""
    scheduler = Scheduler(optimizer, tm.Plan({"lr": lr}), counting=counting)
    scheduler.start()
    return scheduler.step


@dataclass(frozen=True)
class Peer:
    """A library's own way; its `n`-th step writes the value of the count `n - late`."""

    name: str
    package: str
    make: Callable[[Idle, int], Step]
    late: int = 0


def _sequential(optimizer: Idle, total: int) -> Step:
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

    warmup = warmup_of(total)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own inner calls
        rise = LinearLR(optimizer, start_factor=1e-8, total_iters=warmup)
        fall = CosineAnnealingLR(optimizer, T_max=total - warmup)
        scheduler = SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    optimizer.step()  # else the first step warns of the wrong order
    return scheduler.step


def _transformers(optimizer: Idle, total: int) -> Step:
    from transformers import get_cosine_schedule_with_warmup

    scheduler = get_cosine_schedule_with_warmup(optimizer, warmup_of(total), total)
    optimizer.step()
    return scheduler.step


def _ignite_concat(optimizer: Idle, total: int) -> Step:
    from ignite.handlers import ConcatScheduler, CosineAnnealingScheduler, PiecewiseLinear

    warmup = warmup_of(total)
    rise = PiecewiseLinear(optimizer, "lr", milestones_values=[(0, 0.0), (warmup, PEAK)])
    fall = CosineAnnealingScheduler(optimizer, "lr", PEAK, 0.0, cycle_size=total - warmup)
    return partial(ConcatScheduler([rise, fall], durations=[warmup]), None)


def _ignite_warmup(optimizer: Idle, total: int) -> Step:
    from ignite.handlers import CosineAnnealingScheduler, create_lr_scheduler_with_warmup

    warmup = warmup_of(total)
    fall = CosineAnnealingScheduler(optimizer, "lr", PEAK, 0.0, cycle_size=total - warmup)
    return partial(create_lr_scheduler_with_warmup(fall, 0.0, warmup_duration=warmup + 1, warmup_end_value=PEAK), None)


PEERS = (
    Peer("Ignite ConcatScheduler", "ignite", _ignite_concat, late=1),
    Peer("Ignite create_lr_scheduler_with_warmup", "ignite", _ignite_warmup, late=1),
    Peer("PyTorch SequentialLR", "torch", _sequential),
    Peer("Transformers get_cosine_schedule_with_warmup", "transformers", _transformers),
)


def installed(package: str) -> bool:
    """Whether it could be imported; nothing is imported to find out."""
    return find_spec(package) is not None


def absent(packages: Iterable[tuple[str, str]]) -> list[str]:
    """A note for every (name, package) that is not installed."""
    return [f"{name}: skipped, not installed." for name, package in packages if not installed(package)]
