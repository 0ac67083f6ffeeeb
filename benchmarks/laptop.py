"""What schedules do to a run that fits a laptop: the landing task from keypoints, 5 seeds each, paired by seed.

python benchmarks/laptop.py              the comparison; about an hour on 2 cores; goes on where it was interrupted
python benchmarks/laptop.py --gates      how long the whole curriculum takes, 3 seeds, and the first two gates on images
python benchmarks/laptop.py --report     the tables again from the runs that are there

Every run of the comparison is cut at the same number of env steps, whatever it has reached. Runs are in
exp_local/laptop, results in benchmarks/results/laptop.{md,json,png}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import outcomes
from measuring import at_least_one
from numpy.typing import NDArray
from writing import machine, replace

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "exp_local" / "laptop"
RESULTS = Path(__file__).parent / "results"
PRESETS = ("constant", "gentle_decay", "stage_following", "differential")
SEEDS = (1, 2, 3, 4, 5)
FRAMES = 60_000
STAGES = 5
SETTINGS = "settings.json"
OUTPUT = "output.txt"
GATE_SEEDS = (1, 2, 3)
LIBRARIES = ("tempomat", "numpy", "torch", "numba", "gymnasium", "hydra-core")


@dataclass(frozen=True)
class Run:
    """One command, and the folder that it leaves behind."""

    name: str
    seed: int
    overrides: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it goes."""
        return RUNS / f"{self.name}-seed{self.seed}"

    @property
    def command(self) -> list[str]:
        """What a user would type."""
        script = str(ROOT / "train_gimbal_curriculum.py")
        return [sys.executable, script, *self.overrides, f"seed={self.seed}", f"checkpoint_dir={self.folder}"]

    @property
    def result(self) -> dict[str, Any] | None:
        """How it ended; None if it has not.

        Raises:
            SystemExit: the folder's run was made with other settings.
        """
        path = self.folder / "result.json"
        if not path.exists():
            return None
        made = json.loads((self.folder / SETTINGS).read_text()) if (self.folder / SETTINGS).exists() else []
        if made != list(self.overrides):
            raise SystemExit(f"{self.folder}: was made with {' '.join(made) or 'unknown settings'}. Remove it first")
        return json.loads(path.read_text())


def comparison() -> list[Run]:
    """All runs of the comparison, seed by seed, so that an early look has every preset in it."""
    same = ("scale=laptop", f"num_train_frames={FRAMES}", "stop_when_held=false", "save_video=false")
    return [Run(preset, seed, (*same, f"lr_schedule={preset}")) for seed in SEEDS for preset in PRESETS]


def gates() -> list[Run]:
    """The whole curriculum from keypoints, and its beginning from images."""
    keypoints = [Run("gates-keypoint", seed, ("scale=laptop", "save_video=false")) for seed in GATE_SEEDS]
    image = ("scale=laptop", "encoder_bundle@agent=original", "save_video=false", "num_train_frames=45000")
    return [*keypoints, *(Run("gates-image", seed, image) for seed in GATE_SEEDS)]


def carry_out(runs: Sequence[Run], workers: int) -> bool:
    """Run what has not ended yet, with an estimate of the rest; returns whether everything has ended.

    Ctrl-C reaches the runs as well: each saves, none is begun any more, and a later call goes on.
    """
    waiting = [run for run in runs if run.result is None]
    RUNS.mkdir(parents=True, exist_ok=True)
    print(f"{len(runs) - len(waiting)} of {len(runs)} runs are there; results in {RUNS}", file=sys.stderr)
    began = time.monotonic()
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(_carry_out, run) for run in waiting]
        for done, future in enumerate(as_completed(futures), start=1):
            run, result = future.result()
            left = (time.monotonic() - began) / done * (len(waiting) - done)
            said = f"not finished, see {run.folder / OUTPUT}"
            if result:
                said = f"success {result['success_rate']:.2f} in {result['seconds']:.0f} s"
            print(f"{done}/{len(waiting)} {run.folder.name}: {said}; about {left / 60:.0f} min left", file=sys.stderr)
    finally:
        pool.shutdown(cancel_futures=True)
    return all(run.result for run in runs)


def _carry_out(run: Run) -> tuple[Run, dict[str, Any] | None]:
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / SETTINGS).write_text(json.dumps(list(run.overrides)))
    with (run.folder / OUTPUT).open("a") as output:
        subprocess.run(run.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False)
    return run, run.result


# tables


def results_of(runs: Sequence[Run]) -> dict[str, dict[int, Any]]:
    """By name and seed, what has ended."""
    found: dict[str, dict[int, Any]] = {}
    for run in runs:
        by_seed, result = found.setdefault(run.name, {}), run.result
        if result is not None:
            by_seed[run.seed] = result
    return found


def as_markdown(table: dict[str, Any], times: dict[str, Any], where: dict[str, Any]) -> str:
    """The results for a reader."""
    described = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
    lines = ["# The landing task at laptop scale", "", described, ""]
    if table:
        lines += _comparison_lines(table)
    if times:
        lines += _gate_lines(times)
    return "\n".join(lines) + "\n"


def _comparison_lines(table: dict[str, Any]) -> Iterator[str]:
    yield f"## Schedules, every run cut at {FRAMES:_} env steps"
    yield ""
    yield "`python benchmarks/laptop.py`. Keypoints, balanced curriculum, presets stretched to the run and scaled to a"
    yield "base of 1e-3. Success: 100 deterministic episodes on the last stage at the cut. In brackets 95 % intervals"
    yield "of the mean over seeds (Student's t); differences are paired by seed. A gate that was not"
    yield "reached counts as the cut."
    yield ""
    yield "| lr_schedule | success at the cut | against constant | env steps to the gates S0 to S4 (reached); S4 held |"
    yield "|---|---|---|---|"
    for name, row in table.items():
        low, high = row["interval"]
        against = "-"
        if name != "constant" and row["against_constant"] is not None:
            least, most = row["against_constant_interval"]
            against = f"{row['against_constant']:+.3f} [{least:+.3f}, {most:+.3f}]"
        steps = ", ".join(
            f"{gate['mean'] / 1000:.1f}k [{gate['interval'][0] / 1000:.1f}, {gate['interval'][1] / 1000:.1f}]"
            f" ({gate['reached']}/{len(row['seeds'])})"
            for gate in row["gates"].values()
        )
        yield f"| {name} | {row['mean']:.3f} [{low:.3f}, {high:.3f}] | {against} | {steps} |"
    yield ""


def _gate_lines(times: dict[str, Any]) -> Iterator[str]:
    yield "## How long it takes"
    yield ""
    yield "`python benchmarks/laptop.py --gates`, one run after another. Median seconds on the wall over seeds; S4 held"
    yield "means its gate passed and .85 in 100 deterministic episodes; - where half of the seeds did not get there."
    yield ""
    yield "| | seeds | S0 | S1 | S2 | S3 | S4 held |"
    yield "|---|---|---|---|---|---|---|"
    for name, row in times.items():
        cells = " | ".join("-" if value is None else f"{value:.0f} s" for value in row["median"])
        yield f"| {name} | {len(row['seeds'])} | {cells} |"
    yield ""


# pictures


def draw(runs: Sequence[Run], path: Path) -> None:
    """Stage and rolling success over env steps, a line a run, a panel a preset."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [name for name in PRESETS if any(run.name == name and run.result for run in runs)]
    figure, axes = plt.subplots(
        2, len(names), figsize=(3.4 * len(names), 4.6), sharex=True, sharey="row", squeeze=False
    )
    for column, name in enumerate(names):
        for run in (one for one in runs if one.name == name and one.result):
            curves = _curves(run.folder / "train.csv")
            axes[0][column].plot(curves["env_steps"], curves["progress"], lw=1.2, label=f"seed {run.seed}")
            axes[1][column].plot(curves["env_steps"], curves["lr_critic"], lw=1.2, drawstyle="steps-post")
        axes[0][column].set_title(name)
        axes[1][column].set_xlabel("env steps")
    axes[0][0].set_ylabel("stage + success rate")
    axes[1][0].set_ylabel("critic lr")
    axes[0][0].legend(fontsize=7)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curves(path: Path) -> dict[str, NDArray[np.float64]]:
    data = np.genfromtxt(path, delimiter=",", names=True)
    rate = np.nan_to_num(data["success_rate"])
    return {"env_steps": data["env_steps"], "progress": data["stage"] + rate, "lr_critic": data["lr_critic"]}


def report() -> None:
    """Write the tables of everything that has ended."""
    table = outcomes.compare(results_of(comparison()), "constant", STAGES, FRAMES)
    times = outcomes.times(results_of(gates()), STAGES)
    where = machine(LIBRARIES)
    told = as_markdown(table, times, where)
    replace(RESULTS / "laptop.md", told)
    replace(
        RESULTS / "laptop.json", json.dumps({"machine": where, "comparison": table, "gates": times}, indent=1) + "\n"
    )
    if table:
        draw(comparison(), RESULTS / "laptop.png")
    print(told)


def main() -> int:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", action="store_true", help="time the curriculum instead of comparing schedules")
    parser.add_argument("--report", action="store_true", help="only write the tables")
    parser.add_argument("--workers", type=at_least_one, default=2, help="runs at a time in the comparison")
    options = parser.parse_args()
    complete = True
    if options.gates:
        complete = carry_out(gates(), workers=1)
    elif not options.report:
        complete = carry_out(comparison(), workers=options.workers)
    report()
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
