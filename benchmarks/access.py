"""Beside the targets: one value at any count, and an lr that is a tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from apply import FLOOR, OURS, Run, stepping
from measuring import Contender, Stopwatch, Table, Work
from peers import PEAK, PEERS, Idle, absent, by_hand, installed, ours, schedule

SECONDS = 15.0
CALLS, TOTAL, AT = 2_000, 10_000, 5_000
ONE, TENSOR = "lr(5_000)", "1 group"


def measure(watch: Stopwatch) -> list[Table]:
    """No target hangs on these."""
    access = Table("One value at any count", "us", FLOOR, [ONE])
    watch.fill(access, _access(), SECONDS / 3)
    tensor = Table("Warmup + cosine into a tensor lr, scheduler.step()", "us", FLOOR, [TENSOR])
    watch.fill(tensor, _tensor(), SECONDS / 3 * 2)
    tensor.notes = [
        "One 0-dimensional float32 tensor on the CPU. The floor, ours and PyTorch's fill it in place.",
        "Ignite puts a float in its place, which is cheaper, and which a compiled or captured optimizer does not see.",
    ]
    tensor.notes += absent((peer.name, peer.package) for peer in PEERS)
    return [access, tensor]


def _access() -> list[Contender]:
    """A schedule called with a Python int."""

    def calling(value_at: Callable[[int], Any], calls: int) -> Work:
        def run() -> None:
            for _ in range(calls):
                value_at(AT)

        return run

    ways: list[tuple[str, Any, Callable[[int], Any], int]] = [
        (OURS, "ours", schedule(TOTAL), CALLS),
        (FLOOR, "floor", by_hand(TOTAL), CALLS),
    ]
    if find_spec("fvcore"):
        ways.append(("fvcore", "peer", _fvcore(), CALLS))
    if find_spec("optax"):
        curve, compiled = _optax()
        ways += [("optax", "peer", curve, 50), ("optax, jitted", "peer", compiled, CALLS)]
    return [Contender(row, ONE, role, calls, partial(calling, value_at, calls)) for row, role, value_at, calls in ways]


def _fvcore() -> Callable[[int], Any]:
    from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler

    parts = [LinearParamScheduler(0.0, PEAK), CosineParamScheduler(PEAK, 0.0)]
    curve = CompositeParamScheduler(parts, [1 / 16, 15 / 16], ["rescaled", "rescaled"])
    return lambda count: curve(count / TOTAL)


def _optax() -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    import jax
    import optax

    curve = optax.warmup_cosine_decay_schedule(0.0, PEAK, TOTAL // 16, TOTAL)
    compiled = jax.jit(curve)
    return curve, lambda count: compiled(count).block_until_ready()


def _tensor() -> list[Contender]:
    """The same steps, where the param group holds a tensor."""
    run = Run(1, 1024, total=1024)

    def optimizer() -> Idle:
        return Idle(1, torch.tensor(PEAK))

    own = Contender(OURS, TENSOR, "ours", run.steps, lambda: stepping(ours, optimizer(), run))
    floor = Contender(FLOOR, TENSOR, "floor", run.steps, lambda: filling(optimizer(), run))
    peers = [
        Contender(
            peer.name, TENSOR, "peer", run.steps, partial(lambda make: stepping(make, optimizer(), run), peer.make)
        )
        for peer in PEERS
        if installed(peer.package)
    ]
    return [own, floor, *peers]


def filling(optimizer: Idle, run: Run) -> Work:
    """The same run as written by hand."""
    value_at, lr = by_hand(run.total), optimizer.param_groups[0]["lr"]

    def loop() -> None:
        for count in range(1, run.steps + 1):
            lr.fill_(value_at(count))

    return loop
