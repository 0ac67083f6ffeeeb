"""Env steps per second of PPO with rollouts in one process and in two; about two minutes on two cores.

python benchmarks/ppo_workers.py             rewrites benchmarks/results/ppo_workers.{md,json}
python benchmarks/ppo_workers.py --turns 1   fewer turns, printed alone

16 environments that are stepped one after the other, rollouts of 128 steps, 4 epochs of minibatches of 256. The
contenders take turns of ten batches, on the wall clock; before each one batch is left out, in which a rollout that
another one's workers had begun comes to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import at_least_one

RESULTS = Path(__file__).parent / "results"
TURNS, BATCHES = 6, 10
ENVS = ("Acrobot-v1", "Pendulum-v1")
KINDS = {
    "local": (),
    "2 processes": ("rollout=process", "num_workers=2"),
    "2 processes, overlap": ("rollout=process", "num_workers=2", "overlap=true"),
}
SETTINGS = (
    "num_envs=16", "rollout_length=128", "minibatch_size=256", "epochs_per_batch=4", "total_env_steps=100M",
    "log_every=100M", "eval_every=100M", "save_every=100M", "network.sde=false",
)  # fmt: skip
ENV_STEPS = BATCHES * 16 * 128


def measure(env: str, turns: int) -> dict[str, dict[str, float]]:
    """Env steps per second by contender: of the fastest turn, and of the median one."""
    from tempomat_rl.ppo.config import compose
    from tempomat_rl.ppo.train import Training

    with contextlib.ExitStack() as closing:
        folder = closing.enter_context(tempfile.TemporaryDirectory())
        works: dict[str, Callable[[], None]] = {}
        for number, (name, more) in enumerate(KINDS.items()):
            with contextlib.redirect_stdout(io.StringIO()):
                training = Training(compose([f"env={env}", *SETTINGS, *more, f"checkpoint_dir={folder}/{number}"]))
            closing.callback(training.close)
            works[name] = training._turn
            training._turn()  # compiles, and lets workers come up
        speeds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(turns):
            for name, work in works.items():
                work()
                began = time.perf_counter()
                for _ in range(BATCHES):
                    work()
                speeds[name].append(ENV_STEPS / (time.perf_counter() - began))
    return {name: {"median": statistics.median(one), "fastest": max(one)} for name, one in speeds.items()}


def as_markdown(measured: dict[str, dict[str, dict[str, float]]], where: dict[str, Any]) -> str:
    """A table."""
    lines = ["# PPO's rollout workers", "", f"`{' '.join(['python benchmarks/ppo_workers.py', *sys.argv[1:]])}`", ""]
    lines += [", ".join(f"{name} {value}" for name, value in where.items() if value is not None) + ".", ""]
    lines += ["Env steps per second in training, median turn (fastest); times what one process does.", ""]
    lines += ["| | " + " | ".join(KINDS) + " |", "|---" * (1 + len(KINDS)) + "|"]
    for env, speeds in measured.items():
        base = speeds["local"]["median"]
        cells = (f"{v['median']:,.0f} ({v['fastest']:,.0f}); {v['median'] / base:.2f}x" for v in speeds.values())
        lines.append(f"| {env} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and keep the result of a whole run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=at_least_one, default=TURNS, help="of each contender")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from writing import machine, replace

    where = machine(("tempomat", "numpy", "gymnasium", "numba"))
    measured = {env: measure(env, options.turns) for env in ENVS}
    told = as_markdown(measured, where)
    print(told)
    if options.turns >= TURNS:
        replace(RESULTS / "ppo_workers.md", told)
        replace(RESULTS / "ppo_workers.json", json.dumps({"machine": where, **measured}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
