"""A step decay between two milestones: nothing changes, so nothing need be written, whatever the number of groups."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from apply import BARE, FLOOR, OURS, OURS_LOOP, Run, repeating, stepping, subtract_the_optimizer
from measuring import Check, Contender, Role, Stopwatch, Table, Work
from peers import PEAK, Idle, Step, started

import tempomat as tm

STEPS = 4096
PEER_STEPS = {1: 4096, 10: 4096, 100: 1024, 1000: 512}
EVERY = 10**12
SECONDS_EACH = 15.0
SECONDS = 2 * SECONDS_EACH
PEER = "PyTorch StepLR"


def measure(watch: Stopwatch) -> list[Table]:
    """All numbers of groups in one round, since they are compared with one another."""
    columns = [Run(groups, 1, 1).column for groups in PEER_STEPS]
    alone = Table("Step decay between milestones, scheduler.step()", "us", FLOOR, columns)
    loop = Table("Step decay between milestones, in the loop", "us", FLOOR, columns)
    for table, in_loop, row in ((alone, False, OURS), (loop, True, OURS_LOOP)):
        watch.fill(table, [one for groups in PEER_STEPS for one in contenders(groups, in_loop)], SECONDS_EACH)
        if in_loop:
            subtract_the_optimizer(table)
        else:
            most, least = max(table.rows[row].values()), min(table.rows[row].values())
            # a tenth is what the same code differs by on a shared machine
            table.checks = [Check(f"{row}: the dearest number of groups against the cheapest", most / least, 1.1)]
        table.check_ahead_of_peers(row)
    alone.notes = ["The floor computes the value and writes it if it differs from the last one."]
    loop.notes = [
        "`optimizer.step(); scheduler.step()` less `optimizer.step()` of an optimizer that updates nothing.",
        "What grows with the groups is the look at whether they are still the same ones, before each update.",
    ]
    return [alone, loop]


def contenders(groups: int, in_loop: bool) -> list[Contender]:
    """Everybody at one number of groups."""

    def one(row: str, role: Role, work: Callable[[Idle, Run], Work], steps: int = STEPS) -> Contender:
        run = Run(groups, steps, EVERY, in_loop)
        # made once: the schedule is between the same milestones however often the run is repeated
        return Contender(row, run.column, role, steps, cache(lambda: work(Idle(groups), run)))

    floor = one(FLOOR, "floor", writing_by_hand)
    peer = one(PEER, "peer", partial(stepping, torchs), PEER_STEPS[groups])
    if not in_loop:
        return [one(OURS, "ours", partial(stepping, ours)), floor, peer]
    own = one(OURS_LOOP, "ours", partial(stepping, partial(ours, counting="updates")))
    bare = one(BARE, "extra", lambda optimizer, run: repeating(optimizer.step, run.steps))
    return [own, floor, peer, bare]


def writing_by_hand(optimizer: Idle, run: Run) -> Work:
    """The same run as written by hand."""
    groups, every, steps, update = optimizer.param_groups, run.total, run.steps, optimizer.step

    def alone() -> None:
        last = PEAK
        for count in range(1, steps + 1):
            value = PEAK * 0.1 ** (count // every)
            if value != last:
                last = value
                for group in groups:
                    group["lr"] = value

    def loop() -> None:
        last = PEAK
        for count in range(1, steps + 1):
            update()
            value = PEAK * 0.1 ** (count // every)
            if value != last:
                last = value
                for group in groups:
                    group["lr"] = value

    return loop if run.in_loop else alone


def ours(optimizer: Idle, total: int, counting: Any = "calls") -> Step:
    """A tenth, every `total` counts."""
    return started(optimizer, tm.StepDecay(init_value=PEAK, factor=0.1, every=total), counting)


def torchs(optimizer: Idle, total: int) -> Step:
    """The same as PyTorch has it."""
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=total)
    optimizer.step()  # else the first step warns of the wrong order
    return scheduler.step
