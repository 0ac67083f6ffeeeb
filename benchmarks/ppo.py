"""PPO on CartPole-v1 beside its peers, each in a process of its own, one after the other, on one core; some minutes.

python benchmarks/ppo.py                  every figure; rewrites benchmarks/results/ppo.{md,json}
python benchmarks/ppo.py --seeds 1        one seed each, printed alone
python benchmarks/ppo.py --only goal      until CartPole is solved; or: speed, share

Ours is the whole pipeline, with its record, evaluations and checkpoints. Each process makes a short run first: imports,
and what is compiled or read from the disk then, count for nobody.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Check, at_least_one, pin

RESULTS = Path(__file__).parent / "results"
FIGURES = ("goal", "speed", "share")
SEEDS = 5
OURS, SB3, SINGLE_FILE = "Tempomat", "Stable-Baselines3", "single file in torch"
CONTENDERS = {OURS: "ours", SB3: "sb3", SINGLE_FILE: "single_file"}
SPEED = {
    "zoo": (100_000, (OURS, SB3)),
    "defaults": (65_536, (OURS, SB3)),
    "single_file": (102_400, (OURS, SINGLE_FILE)),
}
"""Settings by name: env steps, and who runs under them."""


def settings_of(name: str) -> dict[str, Any]:
    """As `ppo_peers` has them."""
    import ppo_peers

    return {"zoo": ppo_peers.ZOO, "defaults": ppo_peers.DEFAULTS, "single_file": ppo_peers.SINGLE_FILE}[name]


# ours


def ours(
    settings: dict[str, Any], total: int, seed: int, *, stop_at_goal: bool, overrides: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A run in a folder that is thrown away."""
    from ppo_peers import GOAL, RECENT, Timed

    from tempomat_rl.ppo.config import compose
    from tempomat_rl.ppo.train import Training

    with tempfile.TemporaryDirectory() as folder:
        given = {**settings, "total_env_steps": total, "seed": seed, "checkpoint_dir": folder}
        config = compose([f"{name}={value}" for name, value in given.items()] + list(overrides))
        with Timed() as timed:
            training = Training(config)

            def solved() -> bool:
                return training.episodes >= RECENT and training.log.outcome["episode_return"] >= GOAL

            training.run(lambda: stop_at_goal and solved())
        told = {"env_steps": training.env_steps, "solved": solved()}
        told["episode_return"] = training.log.outcome["episode_return"]
        training.close()
    return timed.told() | told


def share(settings: dict[str, Any], total: int, seed: int) -> dict[str, Any]:
    """Of a run's processor seconds, those in schedules and controllers, and those in recording.

    What reading the clock takes, a good part where a method only looks up a value, is measured too and taken off.
    """
    from tempomat_rl.ppo.log import PPOLog
    from tempomat_rl.ppo.steering import Steering

    spent = {"schedules": 0.0, "recording": 0.0, "clock": 0.0}
    calls = dict.fromkeys(spent, 0)
    inside: list[str] = []

    def timed(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if inside:
                return method(*args, **kwargs)
            inside.append(part)
            began = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                spent[part] += time.process_time() - began
                calls[part] += 1
                inside.pop()

        return call

    steering = "advance", "learning", "learned", "observe", "count", "number"
    for part, owner, names in (("schedules", Steering, steering), ("recording", PPOLog, ("batch", "end", "write"))):
        for name in names:
            setattr(owner, name, timed(part, getattr(owner, name)))
    done = ours(settings, total, seed, stop_at_goal=False, overrides=("eval_every=100%", "num_final_episodes=1"))
    nothing = timed("clock", lambda: None)
    for _ in range(10_000):
        nothing()
    clock = spent.pop("clock") / calls["clock"]
    return done | {part: seconds - calls[part] * clock for part, seconds in spent.items()}


# measuring


def in_a_process(contender: str, settings: str, total: int, seed: int, *flags: str) -> dict[str, Any]:
    """One run, as JSON."""
    command = [sys.executable, __file__, "--run", contender, settings, str(total), str(seed), *flags]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_goal(seeds: int, say: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
    """Runs under the zoo's settings until the goal, by contender; the seeds take turns."""
    runs: dict[str, list[dict[str, Any]]] = {OURS: [], SB3: []}
    for seed in range(seeds):
        for name, done in runs.items():
            say(f"goal, {name}, seed {seed}")
            done.append(in_a_process(CONTENDERS[name], "zoo", 100_000, seed, "--goal"))
    return runs


def measure_speed(rounds: int, say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Env steps per second of processor time in training, the best of all rounds, by settings and contender."""
    best: dict[str, dict[str, float]] = {name: {} for name in SPEED}
    for seed in range(rounds):
        for settings, (total, names) in SPEED.items():
            for name in names:
                say(f"speed, {settings}, {name}, round {seed}")
                done = in_a_process(CONTENDERS[name], settings, total, seed)
                speed = done["env_steps"] / done["processor"]
                best[settings][name] = max(speed, best[settings].get(name, 0.0))
    return best


def measure(names: list[str], seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure asked for."""
    measured: dict[str, Any] = {}
    if "goal" in names:
        measured["goal"] = measure_goal(seeds, say)
    if "speed" in names:
        measured["speed"] = measure_speed(min(seeds, 3), say)
    if "share" in names:
        say("share")
        runs = [in_a_process("share", "zoo", 100_000, 0) for _ in range(min(seeds, 3))]
        measured["share"] = min(runs, key=_share)  # what disturbs a call only makes it longer
    return measured


def checks(measured: dict[str, Any]) -> list[Check]:
    """The targets."""
    found = []
    if "goal" in measured:
        ours_s, theirs_s = (_median(measured["goal"][name], "wall") for name in (OURS, SB3))
        found.append(Check("CartPole solved, median", ours_s, 5.0, "s", peer=SB3, peer_got=theirs_s))
    for settings, limit, peer in (("zoo", 5.0, SB3), ("defaults", 5.0, SB3), ("single_file", 2.0, SINGLE_FILE)):
        if "speed" in measured:
            speed = measured["speed"][settings]
            text = f"env steps/s, {settings} settings, over {peer}"
            found.append(Check(text, speed[OURS] / speed[peer], limit, at_least=True))
    if "share" in measured:
        found.append(Check("share in schedules and recording", 100.0 * _share(measured["share"]), 2.0, "%"))
    return found


def _share(run: dict[str, Any]) -> float:
    return (run["schedules"] + run["recording"]) / run["processor"]


def _median(runs: list[dict[str, Any]], key: str) -> float:
    """A run that never got there counts as endless."""
    return statistics.median(run[key] if run["solved"] else float("inf") for run in runs)


# telling


def as_markdown(measured: dict[str, Any], command: str) -> str:
    """Tables and targets."""
    lines = ["# PPO on CartPole-v1", "", f"`{command}`", ""]
    if "goal" in measured:
        lines += ["Until the mean return of 100 episodes is 475, the zoo's settings, by seed:", ""]
        lines += ["| | env steps | seconds | of the processor | median |", "|---|---|---|---|---|"]
        for name, runs in measured["goal"].items():
            steps = ", ".join(f"{run['env_steps'] / 1e3:.0f}k" + ("" if run["solved"] else " (not)") for run in runs)
            seconds = (", ".join(f"{run[key]:.1f}" for run in runs) for key in ("wall", "processor"))
            lines.append(f"| {name} | {steps} | {' | '.join(seconds)} | {_median(runs, 'wall'):.1f} s |")
        lines.append("")
    if "speed" in measured:
        lines += ["Env steps per second of training, 8 environments:", "", "| settings | contender | env steps/s |"]
        lines.append("|---|---|---|")
        for settings, speeds in measured["speed"].items():
            lines += [f"| {settings} | {name} | {speed:,.0f} |" for name, speed in speeds.items()]
        lines.append("")
    if "share" in measured:
        one = measured["share"]
        parts = ", ".join(f"{key} {100.0 * one[key] / one['processor']:.2f} %" for key in ("schedules", "recording"))
        lines += [f"Of {one['processor']:.1f} processor seconds of training under the zoo's settings: {parts}.", ""]
    lines += ["| target | got | | |", "|---|---|---|---|"]
    for check in checks(measured):
        bound = f"{'at least' if check.at_least else 'at most'} {check.limit:g} {check.unit}"
        verdict = "reached" if check.passed else "MISSED"
        lines.append(f"| {check.text} | {check.got:.2f} {check.unit} | {bound} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and keep the result of a whole run."""
    options = _read_options()
    if options.run:
        return _run_one(*options.run, goal=options.goal)
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the processes started from here import their libraries
    core = pin(options.core)
    measured = measure(options.only, options.seeds, lambda text: print(text, file=sys.stderr))
    from writing import machine, replace

    told = as_markdown(measured, " ".join(["python benchmarks/ppo.py", *sys.argv[1:]]))
    print(told)
    if set(options.only) == set(FIGURES) and options.seeds >= SEEDS:
        kept = {"machine": {**machine(), "core": core}, **measured}
        replace(RESULTS / "ppo.md", told)
        replace(RESULTS / "ppo.json", json.dumps(kept, indent=1) + "\n")
    return 0


def _run_one(contender: str, settings: str, total: str, seed: str, *, goal: bool) -> int:
    from ppo_peers import PEERS

    given = settings_of(settings)
    work = {"ours": ours, **PEERS}.get(contender, ours)
    short = given | {"rollout_length": 64, "epochs_per_batch": 1}
    work(short, 2 * 64 * short["num_envs"], int(seed), stop_at_goal=False)
    if contender == "share":
        told = share(given, int(total), int(seed))
    else:
        told = work(given, int(total), int(seed), stop_at_goal=goal)
    print(json.dumps(told))
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), help="figures to measure")
    parser.add_argument("--seeds", type=at_least_one, default=SEEDS, help="runs to the goal of each contender")
    parser.add_argument("--core", type=int, help="the core to be pinned to; the last one otherwise")
    parser.add_argument("--run", nargs=4, metavar=("CONTENDER", "SETTINGS", "TOTAL", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--goal", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
