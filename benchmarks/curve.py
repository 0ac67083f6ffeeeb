"""Warmup and cosine over a million counts as one array: time, and memory beyond the result."""

from __future__ import annotations

import math
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

import numpy as np
from measuring import Check, Contender, Role, Stopwatch, Table, Work

import tempomat as tm

COUNTS = 1_000_000
FEWER = 100_000
SECONDS = 30.0
PEAK, END = 1e-3, 1e-5
OURS, FLOOR, COLUMN = "ours", "NumPy by hand", "1 000 000 counts"
Curve = Callable[[int], Work]
"""From a number of counts to the work that gives their values."""


def measure(watch: Stopwatch) -> list[Table]:
    """Time against every peer, then memory of those that NumPy allocates for."""
    table = Table("A curve as an array", "ms", FLOOR, [COLUMN])
    watch.fill(table, contenders(), SECONDS)
    table.checks = [Check(f"{OURS}: against NumPy by hand", table.ratio(OURS, COLUMN), 1.3)]
    table.notes = [
        f"{name}: measured on {FEWER:_} counts, times {COUNTS // FEWER}."
        for name, (slow, _, _) in PEERS.items()
        if slow
    ] + [f"{name}: skipped, not installed." for name, (_, package, _) in PEERS.items() if not find_spec(package)]
    for row, work in ((OURS, ours(COUNTS)), (FLOOR, by_hand(COUNTS))):
        extra = memory_beyond_result(work)
        if row == OURS:
            table.checks.append(Check(f"{OURS}: memory beyond the result, in results", extra, 3.0))
        table.notes.append(f"{row}: memory beyond the result is {extra:.2f} times the result, at the peak.")
    return [table]


def contenders() -> list[Contender]:
    """Everybody who is installed."""

    def one(row: str, role: Role, curve: Curve, counts: int) -> Contender:
        # made once: a curve can be computed again as it is
        return Contender(row, COLUMN, role, counts / COUNTS, cache(lambda: curve(counts)))

    peers = [
        one(name, "peer", curve, FEWER if slow else COUNTS)
        for name, (slow, package, curve) in PEERS.items()
        if find_spec(package)
    ]
    return [one(OURS, "ours", ours, COUNTS), one(FLOOR, "floor", by_hand, COUNTS), *peers]


def ours(counts: int) -> Work:
    """One call."""
    lr = tm.warmup_cosine(peak_value=PEAK, end_value=END, warmup=counts // 100, total=counts)
    steps = np.arange(counts)
    return lambda: lr(steps)


def by_hand(counts: int) -> Work:
    """Both branches everywhere, and the right one chosen."""
    warmup, steps = counts // 100, np.arange(counts)

    def curve() -> Any:
        rise = PEAK * (steps / warmup)
        fall = END + 0.5 * (PEAK - END) * (1.0 + np.cos(math.pi * ((steps - warmup) / (counts - warmup))))
        return np.where(steps < warmup, rise, fall)

    return curve


def _optax(counts: int) -> Work:
    import jax
    import optax

    with jax.enable_x64(True):
        curve = optax.warmup_cosine_decay_schedule(0.0, PEAK, counts // 100, counts, END)
        compiled, steps = jax.jit(curve), jax.numpy.arange(counts)

    def run() -> Any:
        with jax.enable_x64(True):
            return np.asarray(compiled(steps).block_until_ready())

    run()  # compiled here, outside of the time
    return run


def _fvcore(counts: int) -> Work:
    from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler

    parts = [LinearParamScheduler(0.0, PEAK), CosineParamScheduler(PEAK, END)]
    curve = CompositeParamScheduler(parts, [0.01, 0.99], ["rescaled", "rescaled"])
    return lambda: np.array([curve(count / counts) for count in range(counts)])


def _timm(counts: int) -> Work:
    import torch

    cosine = _without_running_its_init("timm", "timm.scheduler.cosine_lr")

    def run() -> Any:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
        warmup, values = counts // 100, np.empty(counts)
        lengths = {"t_initial": counts - warmup, "warmup_t": warmup, "warmup_prefix": True, "t_in_epochs": False}
        scheduler = cosine.CosineLRScheduler(optimizer, lr_min=END, **lengths)
        for count in range(counts):
            scheduler.step_update(count)
            values[count] = optimizer.param_groups[0]["lr"]
        return values

    return run


def _without_running_its_init(package: str, module: str) -> Any:
    """A module of a package whose own `__init__` may need what is missing: timm's needs torchvision."""
    try:
        return import_module(module)
    except ImportError:
        spec = find_spec(package)
        assert spec is not None
        sys.modules[package] = module_from_spec(spec)
        try:
            return import_module(module)
        finally:
            del sys.modules[package]


def _torch(counts: int) -> Work:
    import torch
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

    def run() -> Any:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
        warmup, values = counts // 100, np.empty(counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the optimizer that never steps, and of its own inner calls
            rise = LinearLR(optimizer, start_factor=1e-8, total_iters=warmup)
            fall = CosineAnnealingLR(optimizer, T_max=counts - warmup, eta_min=END)
            scheduler = SequentialLR(optimizer, [rise, fall], milestones=[warmup])
            for count in range(counts):
                values[count] = optimizer.param_groups[0]["lr"]
                scheduler.step()
        return values

    return run


PEERS: dict[str, tuple[bool, str, Curve]] = {
    "optax, jitted, float64": (False, "optax", _optax),
    "fvcore": (True, "fvcore", _fvcore),
    "timm": (True, "timm", _timm),
    "PyTorch SequentialLR": (True, "torch", _torch),
}
"""Whether it takes seconds, its package, and its curve."""


def memory_beyond_result(work: Work) -> float:
    """The peak of what was allocated while computing, less the result, over the result."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    result: Any = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (peak - before - result.nbytes) / result.nbytes
