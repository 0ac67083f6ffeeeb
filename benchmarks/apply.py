"""Warmup and cosine written into 1 to 1000 param groups, per step of a whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from measuring import Check, Contender, Role, Stopwatch, Table, Work
from peers import PEERS, Idle, Step, absent, by_hand, installed, ours

STEPS = {1: 4096, 10: 4096, 100: 1024, 1000: 512}
LIMITS = {1: 5.0, 10: 3.0, 100: 1.4, 1000: 1.15}
SECONDS_EACH = 10.0
SECONDS = 2 * len(STEPS) * SECONDS_EACH

OURS, OURS_LOOP, FLOOR, BARE = "ours", "ours, as it comes", "floor: by hand", "optimizer.step() alone"


@dataclass(frozen=True)
class Run:
    """`steps` steps of a schedule that is `total` long; in a loop with the optimizer's, or the scheduler's alone."""

    groups: int
    steps: int
    total: int
    in_loop: bool = False

    @property
    def column(self) -> str:
        """Its column in the table."""
        return named(self.groups)


def named(groups: int) -> str:
    """`1 group`, `10 groups`."""
    return f"{groups} group{'s' * (groups != 1)}"


def measure(watch: Stopwatch) -> list[Table]:
    """The scheduler's step alone, and what it costs inside a loop, its hooks included."""
    columns = [named(groups) for groups in STEPS]
    alone = Table("Warmup + cosine, scheduler.step()", "us", FLOOR, columns)
    loop = Table("Warmup + cosine, in the loop", "us", FLOOR, columns)
    for groups, steps in STEPS.items():
        watch.fill(alone, contenders(Run(groups, steps, total=steps)), SECONDS_EACH)
        watch.fill(loop, contenders(Run(groups, steps, total=steps, in_loop=True)), SECONDS_EACH)
    subtract_the_optimizer(loop)
    alone.checks = [
        Check(f"{OURS}, {named(groups)}: against the floor", alone.ratio(OURS, named(groups)), limit)
        for groups, limit in LIMITS.items()
    ]
    alone.check_ahead_of_peers(OURS)
    alone.notes = [
        "A whole run, a sixteenth of it warmup. Ours advances at every call here, as peers do (`counting='calls'`).",
        "The floor is a closure with the formula and a loop that writes, inline in the training loop.",
        *absent((peer.name, peer.package) for peer in PEERS),
    ]
    loop.notes = [
        "`optimizer.step(); scheduler.step()` less `optimizer.step()` of an optimizer that updates nothing.",
        "As it comes, ours counts applied updates by hooks. PyTorch's schedulers wrap `optimizer.step`.",
        "Ignite is called by hand; the engine that calls it otherwise is not counted.",
        "The floor and Ignite have no hooks, and count a step that mixed precision skipped.",
        "The limits are for the step alone.",
    ]
    return [alone, loop]


def contenders(run: Run) -> list[Contender]:
    """Everybody at one number of groups."""

    def one(row: str, role: Role, make: Callable[[Idle, int], Step]) -> Contender:
        return Contender(row, run.column, role, run.steps, lambda: stepping(make, Idle(run.groups), run))

    floor = Contender(FLOOR, run.column, "floor", run.steps, lambda: writing_by_hand(Idle(run.groups), run))
    peers = [one(peer.name, "peer", peer.make) for peer in PEERS if installed(peer.package)]
    if not run.in_loop:
        return [one(OURS, "ours", ours), floor, *peers]
    bare = Contender(BARE, run.column, "extra", run.steps, lambda: repeating(Idle(run.groups).step, run.steps))
    own = [one(OURS_LOOP, "ours", partial(ours, counting="updates")), one(f"{OURS}, counting='calls'", "extra", ours)]
    return [*own, floor, *peers, bare]


def stepping(make: Callable[[Idle, int], Step], optimizer: Idle, run: Run) -> Work:
    """The run under a scheduler."""
    step, steps = make(optimizer, run.total), run.steps
    update = optimizer.step  # as it is now: a scheduler may have wrapped it

    def loop() -> None:
        for _ in range(steps):
            update()
            step()

    return loop if run.in_loop else repeating(step, steps)


def writing_by_hand(optimizer: Idle, run: Run) -> Work:
    """The same run as written by hand."""
    value_at, groups, update, steps = by_hand(run.total), optimizer.param_groups, optimizer.step, run.steps

    def alone() -> None:
        for count in range(1, steps + 1):
            value = value_at(count)
            for group in groups:
                group["lr"] = value

    def loop() -> None:
        for count in range(1, steps + 1):
            update()
            value = value_at(count)
            for group in groups:
                group["lr"] = value

    return loop if run.in_loop else alone


def repeating(step: Step, steps: int) -> Work:
    """One call after the other."""

    def loop() -> None:
        for _ in range(steps):
            step()

    return loop


def subtract_the_optimizer(table: Table) -> None:
    """Every row less the bare optimizer's, which is no row then."""
    bare = table.rows.pop(BARE)
    for cells in table.rows.values():
        for column in cells:
            cells[column] -= bare[column]
