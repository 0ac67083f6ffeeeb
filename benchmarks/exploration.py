"""Epsilon of DQN and the action noise of TD3 and DDPG as plans, beside Stable-Baselines3 alone and the zoo's figures.

python benchmarks/exploration.py              every run; half an hour on a core; goes on where it was interrupted
python benchmarks/exploration.py --only dqn   one task's, or several: dqn td3 ddpg
python benchmarks/exploration.py --report     the tables again from the runs that are there

A run is in exp_local/exploration, results are in benchmarks/results/exploration.{md,json}.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import exploration_runs as exploring
import numpy as np
import outcomes
import torch
import writing
from exploration_runs import ALONE, Run, Runs, Task

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "exp_local" / "exploration"
RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("tempomat", "numpy", "torch", "stable-baselines3", "gymnasium")
COMMAND = "python benchmarks/exploration.py"
SOURCE = (
    "RL Baselines3 Zoo (github.com/DLR-RM/rl-baselines3-zoo), benchmark.md: one trained agent each, 150 000 evaluation "
    "steps; mean and standard deviation over episodes"
)


def carry_out(runs: Runs, wanted: Sequence[Run]) -> None:
    """Train what is not there yet, and say how long the rest will take."""
    missing = [run for run in wanted if runs.result(run) is None]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are there, in {runs.folder}", file=sys.stderr)
    weights, began = [runs.tasks[run.task].guess for run in missing], time.monotonic()
    for place, run in enumerate(missing):
        result = runs.carry_out(run)
        left = (time.monotonic() - began) * sum(weights[place + 1 :]) / sum(weights[: place + 1])
        said = f"{run.name}: {result['mean']:.1f} in {result['seconds']:.0f} s; about {left / 60:.0f} min left"
        print(f"{place + 1}/{len(missing)} {said}", file=sys.stderr, flush=True)


def table_of(runs: Runs, name: str) -> dict[str, Any]:
    """By arm: means by seed with their interval, and whether the zoo's plan did what the library does by itself."""
    task = runs.tasks[name]
    arms = {}
    for arm in (ALONE, *task.plans):
        ended = runs.finished(Run(name, arm, seed) for seed in task.seeds_of(arm))
        if ended:
            arms[arm] = _row(ended) | {"wanted": len(task.seeds_of(arm))}
    base = arms.get(task.reproducing)
    for arm in task.plans:
        if base is not None and arm in arms and arm != task.reproducing:
            arms[arm]["against"] = _against(arms[arm]["means"], base["means"])
    return {"task": _told(task), "arms": arms, "same": same(runs, name), "published": task.published}


def _row(ended: dict[int, dict[str, Any]]) -> dict[str, Any]:
    means = {seed: one["mean"] for seed, one in ended.items()}
    offs = [one["off"] for one in ended.values() if one["off"] is not None]
    return {
        "means": means,
        "mean": float(np.mean(list(means.values()))),
        "interval": _interval(list(means.values())),
        "sd": float(np.std([one for run in ended.values() for one in run["returns"]])),
        "training": float(np.mean([np.mean(one["training"]) for one in ended.values()])),
        "off": max(offs) if offs else None,
        "seconds": float(np.mean([one["seconds"] for one in ended.values()])),
    }


def _against(means: dict[int, float], base: dict[int, float]) -> dict[str, Any]:
    """By how much an arm is better than the zoo's plan, the same seeds held against each other."""
    paired = [mean - base[seed] for seed, mean in means.items() if seed in base]
    return {
        "pairs": len(paired),
        "mean": float(np.mean(paired)) if paired else None,
        "interval": _interval(paired),
    }


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """None of a single seed, of which nothing is known: JSON has no infinity."""
    return outcomes.interval(values) if len(values) > 1 else None


def same(runs: Runs, name: str) -> dict[int, bool]:
    """By seed whether weights, returns in training and returns in evaluation equal the library's own, bit for bit."""
    task = runs.tasks[name]
    alone = runs.finished(Run(name, ALONE, seed) for seed in task.alone)
    planned = runs.finished(Run(name, task.reproducing, seed) for seed in alone)
    keys = ("parameters", "training", "returns")
    return {seed: all(alone[seed][key] == one[key] for key in keys) for seed, one in planned.items()}


def _told(task: Task) -> str:
    return f"{task.algorithm} on {task.env}, {task.total} env steps"


# the report


def as_markdown(tables: dict[str, dict[str, Any]], runs: Runs, where: dict[str, Any]) -> str:
    """The whole report."""
    lines = ["# Exploration as a plan", "", f"`{COMMAND}`, one core, which other work shared: seconds say little.", ""]
    lines += [", ".join(f"{name} {value}" for name, value in where.items() if value is not None) + ".", ""]
    lines += [
        f"Published: {SOURCE}. A run is judged here by its policy after the last step, whatever it was before.",
        "",
    ]
    for name, table in tables.items():
        lines += _section(table, runs.tasks[name])
    return "\n".join(lines)


def _section(table: dict[str, Any], task: Task) -> list[str]:
    mean, spread = task.published
    head = ["", "seeds", "mean return [95 %]", "sd of episodes", "mean while training", "seconds a run"]
    lines = [f"## {table['task']}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines.append(f"| published | 1 | {mean:.1f} | {spread:.1f} | - | - |")
    for arm, row in table["arms"].items():
        name, count = (f"**{arm}**" if arm == task.reproducing else arm), len(row["means"])
        reach = "" if count < 2 or arm == ALONE else " [{:.1f}, {:.1f}]".format(*row["interval"])
        seeds = str(count) if count == row["wanted"] else f"{count} of {row['wanted']}"
        cells = [name, seeds, f"{row['mean']:.1f}{reach}", f"{row['sd']:.1f}", f"{row['training']:.1f}"]
        lines.append("| " + " | ".join([*cells, f"{row['seconds']:.0f}"]) + " |")
    lines += [
        "",
        f"{task.episodes} evaluation episodes a seed, deterministic policy, after the last step. Means by seed:",
    ]
    lines += ["", *(f"- {arm}: {_by_seed(row['means'])}" for arm, row in table["arms"].items())]
    return [*lines, "", *(f"- {claim}" for claim in claims(table, task)), ""]


def claims(table: dict[str, Any], task: Task) -> list[str]:
    """What the figures say, with PASS or FAIL."""
    found, row = [], table["arms"].get(task.reproducing)
    what = "epsilon" if task.algorithm == "DQN" else "sigma"
    if table["same"]:
        seeds = ", ".join(str(seed) for seed in table["same"])
        told = f"the same weights and returns as {ALONE}, bit for bit, seed {seeds}"
        found.append(f"**{_passed(all(table['same'].values()))}** {told}")
    if row is not None:
        told = f"{what} at every step as {ALONE} has it; largest relative difference {row['off']:.1e}, at most 1e-12"
        found.append(f"**{_passed(row['off'] <= 1e-12)}** {told}")
        aim, spread = task.published
        allowed = min(spread, row["mean"] - row["interval"][0]) if row["interval"] else spread
        count = sum(mean >= aim for mean in row["means"].values())
        told = f"mean over seeds {row['mean']:.1f}, at least {aim - allowed:.1f}: the published {aim:.1f} less the "
        told += f"smaller of its spread and our interval's reach; {count} of {len(row['means'])} seeds reach {aim:.1f}"
        found.append(f"**{_passed(row['mean'] >= aim - allowed)}** {told}")
    for arm, other in table["arms"].items():
        if "against" in other and other["against"]["pairs"] > 1:
            against, (low, high) = other["against"], other["against"]["interval"]
            told = f"{against['mean']:+.1f} [{low:.1f}, {high:.1f}] over {against['pairs']} seeds in pairs"
            found.append(f"{arm}, less {task.reproducing}: {told}")
    return found


def _passed(whether: bool) -> str:
    return "PASS" if whether else "FAIL"


def _by_seed(means: dict[int, float]) -> str:
    return ", ".join(f"{mean:.1f}" for mean in means.values())


def report(runs: Runs, results: Path) -> str:
    """Write what has ended; returns the tables."""
    tables = {name: table for name in runs.tasks if (table := table_of(runs, name))["arms"]}
    where = writing.machine(LIBRARIES)
    told = as_markdown(tables, runs, where)
    writing.replace(results / "exploration.md", told)
    data = {"command": COMMAND, "machine": where, "source": SOURCE, "tables": tables}
    writing.replace(results / "exploration.json", json.dumps(data, indent=1, allow_nan=False) + "\n")
    return told


def main() -> int:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=exploring.TASKS, nargs="+", default=[*exploring.TASKS], help="these tasks' runs"
    )
    parser.add_argument("--report", action="store_true", help="only write the tables of the runs that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = Runs(FOLDER, exploring.TASKS)
    try:
        if not options.report:
            wanted = exploring.wanted(runs.tasks)
            carry_out(runs, [run for run in wanted if run.task in options.only])
        print(report(runs, RESULTS))
    except KeyboardInterrupt:
        print(f"interrupted; what is finished is in {FOLDER}, and the same command goes on", file=sys.stderr)
        return 130
    print(f"wrote {RESULTS / 'exploration.md'} and .json", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
