"""Measure the RL pipeline's parts against straightforward ones, side by side in one run; some six minutes.

python benchmarks/pipeline.py                        every figure; rewrites benchmarks/results/pipeline.{md,json}
python benchmarks/pipeline.py --only sampling act    these alone, printed
python benchmarks/pipeline.py --quick                one call of each: does it work here?

Updates, sampling and augmentation on two threads, the environment on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drqv2 import BATCH, BF16, FP32, GROUPS, PEER, SAMPLED, SHIFT, STRAIGHT, measure
from measuring import Check, Role, Table
from writing import as_json, as_markdown, machine, replace

HERE = Path(__file__).parent
LIBRARIES = ("tempomat", "numpy", "torch", "numba", "gymnasium", "mujoco")
HOW = "on two threads, the environment on one core. Time on the wall; the fastest of repeated calls counts"
UPDATE_MS = {FP32: 900.0, BF16: 550.0}
AUGMENTATION_MS, SAMPLING_MS, ENVIRONMENT_STEPS = 8.0, 4.0, 6000.0
LOSSES = {FP32: (STRAIGHT, 1e-5), BF16: (FP32, 2.0**-8)}
"""Against whom, and how far from it relatively: some roundings of a number of 32 bits; one of bfloat16."""
SAMPLING = "256 x 9 x 84 x 84, n-step 3"
LOOP, COPYING = "a loop over the batch, in NumPy", "copying as many bytes, one after another"
TOGETHER, MUJOCO = "physics and camera", "MuJoCo, physics and a ray per pixel"
PLAIN = "camera, the ground alone, in NumPy"
ENVIRONMENT = "16 drones, 84 x 84"

Measured = dict[str, Any]


@dataclass
class Progress:
    """Where a run has got to, on stderr."""

    planned: float
    quick: bool
    spent: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def say(self, label: str) -> None:
        """What is measured next."""
        left = "" if self.quick else f", about {self.planned - self.spent:3.0f} s left"
        print(f"{time.perf_counter() - self.began:4.0f} s{left}: {label}", file=sys.stderr)


# measuring: plain data, by figure


def _measure_update(progress: Progress) -> Measured:
    rows = measure("update", quick=progress.quick, say=progress.say)
    progress.say("losses")
    return {"rows": rows, "losses": _script("drqv2.py", "losses", "--quiet", threads=2)}


def _measure_group(group: str) -> Callable[[Progress], Measured]:
    return lambda progress: {"rows": measure(group, quick=progress.quick, say=progress.say)}


def _measure_sampling(progress: Progress) -> Measured:
    progress.say("sampling")
    return _script("replay.py", *(["--quick"] if progress.quick else []), threads=2)


def _measure_environment(progress: Progress) -> Measured:
    progress.say("environment")
    return _script("landing.py", *(["--quick"] if progress.quick else []), threads=1)


def _script(name: str, *arguments: str, threads: int) -> Measured:
    """What one of the scripts beside this prints; it ends with 1 where its own limit is not reached."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    command = [sys.executable, str(HERE / name), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"{name} ended with {done.returncode} and printed no result") from None


# telling: tables and targets, of what was measured


def tell_update(measured: Measured) -> Table:
    """The update at its published size, and whether the losses are the same."""
    table = _table("DrQ-v2 update", "ms", PEER, f"{BATCH} x 9 x 84 x 84", "update", measured["rows"])
    table.checks += [_check_ms(table, row, limit, PEER, f"{row}: an update") for row, limit in UPDATE_MS.items()]
    same, stepped = measured["losses"].values()
    for row, (other, limit) in LOSSES.items():
        for loss in same[row]:
            text = f"{row}: {loss.replace('_', ' ')} off {other}'s, relatively, from the same weights and draws"
            table.checks.append(Check(text, _apart(same, row, other, loss), limit, ""))
    apart = ", ".join(
        f"{row} {_apart(stepped, row, other, 'actor_loss'):.1e} off {other}'s" for row, (other, _) in LOSSES.items()
    )
    table.notes += [
        f"The actor's loss after the critic's first step by Adam, which enlarges the least gradient: {apart}.",
        "Straightforward: the update as the paper has it and as the official implementation does it, nothing done for "
        "speed; the C library's allocator maps and unmaps every large tensor unless it is told to be quiet.",
    ]
    return table


def tell_laptop(measured: Measured) -> Table:
    """Updates at the sizes of `scale=laptop`."""
    return _table("Update at laptop scale", "ms", "", "batch 128, hidden 128", "laptop", measured["rows"])


def tell_act(measured: Measured) -> Table:
    """Choosing actions."""
    return _table("Acting", "ms", "", "one call", "act", measured["rows"])


def tell_augmentation(measured: Measured) -> Table:
    """The random shift alone."""
    table = _table("Augmentation", "ms", SAMPLED, f"{BATCH} x 9 x 84 x 84", "augmentation", measured["rows"])
    table.checks.append(_check_ms(table, SHIFT, AUGMENTATION_MS, SAMPLED, "ours: a batch shifted"))
    return table


def tell_sampling(measured: Measured) -> Table:
    """Drawing a batch from the replay."""
    table = Table("Sampling", "ms", LOOP, [SAMPLING])
    roles: dict[str, Role] = {"ours": "ours", COPYING: "floor", LOOP: "peer"}
    for row, times in measured["figures"]["images"].items():
        table.rows[row], table.roles[row] = {SAMPLING: times["fastest"] / 1e3}, roles[row]
    keypoints = measured["figures"]["keypoints"]["ours"]["fastest"]
    table.checks.append(_check_ms(table, "ours", SAMPLING_MS, LOOP, "ours: a batch drawn"))
    table.notes += [f"ours: a batch of key points takes {keypoints:.2f} ms.", _told_yardstick(measured["gflops"], 2)]
    return table


def tell_environment(measured: Measured) -> Table:
    """Physics and camera."""
    table = Table("Environment", "us", TOGETHER, [ENVIRONMENT])
    speeds = {row: found["fastest"] for row, found in measured["figures"].items()}
    for row, speed in speeds.items():
        table.rows[row] = {ENVIRONMENT: 1.0 / speed}
        table.roles[row] = "ours" if row == TOGETHER else "peer" if row in (MUJOCO, PLAIN) else "extra"
    text = f"ours: {TOGETHER}, of environment steps a second"
    peer = MUJOCO if MUJOCO in speeds else None
    table.checks.append(
        Check(text, speeds[TOGETHER], ENVIRONMENT_STEPS, "", at_least=True, peer=peer, peer_got=speeds.get(MUJOCO))
    )
    table.notes += [
        "One decision of one drone: 40 steps of physics and one picture.",
        f"{MUJOCO}: distances alone, without shades, clutter, controller and reward."
        if peer
        else "MuJoCo: skipped, not installed.",
        _told_yardstick(measured["gflops"], 1),
    ]
    return table


def _table(title: str, unit: str, base: str, column: str, group: str, rows: Mapping[str, Measured]) -> Table:
    table = Table(title, unit, base, [column])
    for row, found in rows.items():
        table.rows[row], table.roles[row] = {column: found["seconds"]}, GROUPS[group][row].role
    for threads in sorted({GROUPS[group][row].threads for row in rows}):
        some = [found["gflops"] for row, found in rows.items() if GROUPS[group][row].threads == threads]
        table.notes.append(_told_yardstick(max(some), threads))
    return table


def _check_ms(table: Table, row: str, limit: float, peer: str, text: str) -> Check:
    (column,) = table.columns
    got, other = (1e3 * table.rows[one][column] for one in (row, peer))
    return Check(text, got, limit, "ms", peer=peer, peer_got=other)


def _apart(losses: Mapping[str, Mapping[str, float]], row: str, other: str, loss: str) -> float:
    return abs(losses[row][loss] / losses[other][loss] - 1)


def _told_yardstick(gflops: float, threads: int) -> str:
    each = "a thread" if threads == 1 else f"{threads} threads"
    return f"Yardstick: products of 1024 x 1024 numbers of 32 bits ran at {gflops:.0f} GFLOP/s on {each} at best."


@dataclass(frozen=True)
class Figure:
    """How long a figure takes, and its two halves."""

    seconds: float
    measure: Callable[[Progress], Measured]
    tell: Callable[[Measured], Table]


FIGURES = {
    "update": Figure(190.0, _measure_update, tell_update),
    "laptop": Figure(30.0, _measure_group("laptop"), tell_laptop),
    "act": Figure(45.0, _measure_group("act"), tell_act),
    "augmentation": Figure(45.0, _measure_group("augmentation"), tell_augmentation),
    "sampling": Figure(15.0, _measure_sampling, tell_sampling),
    "environment": Figure(30.0, _measure_environment, tell_environment),
}


def main() -> int:
    """Measure, print, and keep the result of a whole run."""
    options = _read_options()
    where = machine(LIBRARIES)
    names = [name for name in FIGURES if name in options.only]
    progress = Progress(sum(FIGURES[name].seconds for name in names), options.quick)
    tables: dict[str, list[Table]] = {}
    for name in names:
        tables[name] = [FIGURES[name].tell(FIGURES[name].measure(progress))]
        progress.spent += FIGURES[name].seconds
    command = " ".join(["python benchmarks/pipeline.py", *sys.argv[1:]])
    told = as_markdown(tables, where, command, title="The RL pipeline", how=HOW), as_json(tables, where, command)
    print(told[0])
    if options.quick:
        print("Every contender was called once: the times mean little.")
    if options.json:
        replace(options.json, told[1])
    if len(names) == len(FIGURES) and not options.quick:
        for text, name in zip(told, ("pipeline.md", "pipeline.json"), strict=True):
            replace(HERE / "results" / name, text)
            print(f"Written: {HERE / 'results' / name}", file=sys.stderr)
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), help="figures to measure")
    parser.add_argument("--quick", action="store_true", help="one call of each; the times mean little")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result there as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
