"""A step decay between two milestones: nothing changes, so nothing need be written, whatever the number of groups."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from apply import Run, stepping
from measuring import Check, Contender, Role, Session, Table, Work
from peers import PEAK, Idle, Step, started

import tempomat as tm

STEPS = {1: 4096, 10: 4096, 100: 1024, 1000: 512}
EVERY = 10**12
SECONDS = 20.0
OURS, FLOOR, PEER = "ours", "floor: by hand", "PyTorch StepLR"


def measure(session: Session) -> list[Table]:
    """All numbers of groups in one round, since they are compared with one another."""
    table = Table("Step decay between milestones, scheduler.step()", "us", FLOOR, [Run(n, 1, 1).column for n in STEPS])
    session.fill(table, [one for groups in STEPS for one in contenders(groups)], SECONDS)
    ours = table.rows[OURS]
    # A tenth is what the same code differs by from one run to the next on a shared machine.
    most, least = max(ours.values()), min(ours.values())
    table.checks = [Check(f"{OURS}: the dearest number of groups against the cheapest", most / least, 1.1)]
    table.check_ahead_of_peers(OURS)
    table.notes = ["The floor computes the value and writes it if it differs from the last one."]
    return [table]


def contenders(groups: int) -> list[Contender]:
    """Everybody at one number of groups."""

    def one(row: str, role: Role, steps: int, work: Callable[[Idle, Run], Work]) -> Contender:
        run = Run(groups, steps, total=EVERY)
        # made once: the schedule is between the same milestones however often the run is repeated
        return Contender(row, run.column, role, steps, cache(lambda: work(Idle(groups), run)))

    return [
        one(OURS, "ours", STEPS[1], lambda optimizer, run: stepping(ours, optimizer, run)),
        one(FLOOR, "floor", STEPS[1], writing_by_hand),
        one(PEER, "peer", STEPS[groups], lambda optimizer, run: stepping(peer, optimizer, run)),
    ]


def writing_by_hand(optimizer: Idle, run: Run) -> Work:
    """The same run as written by hand."""
    groups, every, steps = optimizer.param_groups, run.total, run.steps

    def loop() -> None:
        last = PEAK
        for count in range(1, steps + 1):
            value = PEAK * 0.1 ** (count // every)
            if value != last:
                last = value
                for group in groups:
                    group["lr"] = value

    return loop


def ours(optimizer: Idle, total: int) -> Step:
    """A tenth, every `total` counts."""
    return started(optimizer, tm.StepDecay(init_value=PEAK, factor=0.1, every=total))


def peer(optimizer: Idle, total: int) -> Step:
    """The same as PyTorch's."""
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=total)
    optimizer.step()  # else the first step warns of the wrong order
    return scheduler.step
