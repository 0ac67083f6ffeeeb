"""Timing that other work on the machine tilts as little as possible.

Contenders take turns, so that a slow minute hits all of them, and the fastest call of each counts: what disturbs a call
only ever makes it slower. The clock is the processor time of this process, all its threads and the processes that it
has started: nothing measured here sleeps, so on a machine at rest it is the time on the wall.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

if sys.platform != "win32":
    import resource

Role = Literal["ours", "floor", "peer", "extra"]
Work = Callable[[], object]

TURN = 0.04
"""Seconds that a contender's turn lasts at least: a fast one is called more often than a slow one."""


def at_least_one(text: str) -> int:
    """How many of something, on a command line."""
    count = int(text)
    if count < 1:
        raise ArgumentTypeError(f"must be at least 1, got {count}")
    return count


def processor_time() -> float:
    """Seconds of work so far, waiting left out."""
    if sys.platform == "win32":  # where nothing says what children have used
        return time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def pin(core: int | None) -> int | None:
    """Everything on one core, also what is started from here; where the system has no such call, nothing."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


def take_turns(
    contenders: Mapping[str, Work], turns: int, *, calls: int = 1, warm_up: bool = True
) -> dict[str, dict[str, float]]:
    """Seconds per call on the wall, as `fastest` turn and as `median`: for work that uses several threads.

    The first call of each, which may have to compile or load, is left out.
    """
    for work in contenders.values() if warm_up else ():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, work in contenders.items():
            begin = time.perf_counter()
            for _ in range(calls):
                work()
            seconds[name].append((time.perf_counter() - begin) / calls)
    return {name: {"fastest": min(every), "median": statistics.median(every)} for name, every in seconds.items()}


def yardstick() -> float:
    """GFLOP/s of products of 1024 x 1024 numbers of 32 bits: what the processor gives to this process now."""
    import torch

    square = torch.ones(1024, 1024)
    return 2e-9 * 1024**3 / take_turns({"": lambda: square @ square}, 10)[""]["fastest"]


@dataclass(frozen=True)
class Contender:
    """One cell of a table: `prepare` gives the work anew, outside of the time; the work does `steps` steps.

    `steps` may be a share: a tenth of a curve counts as 0.1.
    """

    row: str
    column: str
    role: Role
    steps: float
    prepare: Callable[[], Work]


@dataclass(frozen=True)
class Check:
    """A target: `got` may be at most `limit`, or at least; beside it what a peer was measured at in the same run."""

    text: str
    got: float
    limit: float
    unit: str = "x"
    at_least: bool = False
    peer: str | None = None
    peer_got: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the target is reached."""
        return self.got >= self.limit if self.at_least else self.got <= self.limit


@dataclass
class Table:
    """Seconds per row and column; a missing cell was not measured, and the row's note says why."""

    title: str
    unit: str
    base: str
    columns: list[str]
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def ratio(self, row: str, column: str, base: str | None = None) -> float:
        """How many times as long `row` takes as the base."""
        return self.rows[row][column] / self.rows[base or self.base][column]

    def peers(self, column: str) -> dict[str, float]:
        """What was measured of peers, by name."""
        return {row: cells[column] for row, cells in self.rows.items() if self.roles[row] == "peer" and column in cells}

    def check_ahead_of_peers(self, ours: str) -> None:
        """The target that no peer is as fast, at any column."""
        for column in self.columns:
            peers = self.peers(column)
            if peers:
                fastest = min(peers, key=lambda row: peers[row])
                what = f"{ours}, {column}: ahead of the fastest peer, {fastest}"
                self.checks.append(Check(what, self.ratio(ours, column, fastest), 1.0))


@dataclass
class Stopwatch:
    """One call of the benchmarks: how long to measure, and where it has got to."""

    planned: float
    quick: bool = False
    started: float = field(default_factory=time.perf_counter)
    spent: float = 0.0

    def fill(self, table: Table, contenders: Sequence[Contender], seconds: float) -> None:
        """Measure into a table: at least three rounds of turns, and as many as fit into `seconds`; one if quick."""
        best: dict[tuple[str, str], float] = {}
        label = f"{table.title}, {contenders[0].column}"
        begin, rounds, gone = time.perf_counter(), 0, 0.0
        while rounds < (1 if self.quick else 3) or (not self.quick and gone < seconds):
            self._say(label, min(gone, seconds))
            gc.collect()
            gc.freeze()  # or the next collection would go through all the libraries again
            # Each round begins elsewhere, so that nobody always runs after the same neighbour.
            first = rounds % len(contenders)
            for one in [*contenders[first:], *contenders[:first]]:
                best[one.row, one.column] = min(_turn(one, self.quick), best.get((one.row, one.column), float("inf")))
            rounds, gone = rounds + 1, time.perf_counter() - begin
        self.spent += seconds
        for one in contenders:
            table.rows.setdefault(one.row, {})[one.column] = best[one.row, one.column]
            table.roles[one.row] = one.role

    def _say(self, label: str, here: float) -> None:
        gone = time.perf_counter() - self.started
        left = "" if self.quick else f", about {max(self.planned - self.spent - here, 0.0):3.0f} s left"
        line = f"{gone:4.0f} s{left}: {label}"
        if sys.stderr.isatty():
            print(f"\r{line:<110}", end="", file=sys.stderr)
        elif here == 0.0:
            print(line, file=sys.stderr)


def _turn(contender: Contender, quick: bool) -> float:
    """The fastest call of one turn, in seconds per step."""
    best, end = float("inf"), time.perf_counter() + TURN
    while True:
        work = contender.prepare()
        gc.disable()
        begin = processor_time()
        work()
        best = min(best, processor_time() - begin)
        gc.enable()
        if quick or time.perf_counter() >= end:
            return best / contender.steps
