"""What a batch size over time, a curriculum and hard samples do to a small net on handwritten digits.

python benchmarks/evidence_digits.py             every run; about 7 minutes on a core; goes on where it was interrupted
python benchmarks/evidence_digits.py --report    the tables again from the runs that are there

Each arm gets the highest learning rate that does best for it on validation images, from one grid and over seeds of
their own; then it is tested with other seeds. A run is in exp_local/evidence_digits, results are in
benchmarks/results/evidence_digits.{md,json}, the picture in docs/images/evidence_digits.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import digits_report
import digits_runs as digits
import numpy as np
import outcomes
import torch
import writing
from digits_report import Table, difference
from digits_runs import Run, Runs, Scale

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "exp_local" / "evidence_digits"
RESULTS = Path(__file__).parent / "results"
PICTURE = ROOT / "docs" / "images" / "evidence_digits.png"
LIBRARIES = ("tempomat", "numpy", "torch", "scikit-learn")
OWN_LR = "batch ramp, lr of its own"


def tuning(scale: Scale) -> list[Run]:
    """All runs by which learning rates are chosen."""
    return [
        Run(name, arm, peak, seed)
        for name, setting in scale.settings.items()
        for seed in scale.tuning_seeds
        for arm in setting.arms
        for peak in setting.peaks
    ]


def chosen(runs: Runs, setting: str) -> dict[str, float]:
    """By arm the learning rate of the best mean validation score and, of equals, the lowest mean loss; arms whose
    tuning has not ended are left out.
    """
    peaks, found = runs.scale.settings[setting].peaks, dict[str, float]()
    for arm in runs.scale.settings[setting].arms:
        means = {peak: _validated(runs, setting, arm, peak) for peak in peaks}
        known = {peak: mean for peak, mean in means.items() if mean is not None}
        if len(known) == len(peaks):
            found[arm] = min(known, key=known.__getitem__)
    return found


def _validated(runs: Runs, setting: str, arm: str, peak: float) -> tuple[float, float] | None:
    """The less the better; None before all seeds have ended."""
    ended = runs.finished(Run(setting, arm, peak, seed) for seed in runs.scale.tuning_seeds)
    seen = [one["validation"] for one in ended.values()]
    if len(seen) < len(runs.scale.tuning_seeds):
        return None
    return -float(np.mean([one["score"] for one in seen])), float(np.mean([one["loss"] for one in seen]))


def rows_of(runs: Runs, setting: str) -> dict[str, tuple[str, float]]:
    """The rows of a setting's table: by name an arm and its learning rate. The batch ramp has that of lr decay, as in
    the paper, and comes again with the one that was chosen for it if that is another.
    """
    peaks = chosen(runs, setting)
    rows = {arm: (arm, peak) for arm, peak in peaks.items()}
    if digits.RAMP in peaks and digits.DECAY in peaks and peaks[digits.RAMP] != peaks[digits.DECAY]:
        rows[digits.RAMP] = digits.RAMP, peaks[digits.DECAY]
        rows[OWN_LR] = digits.RAMP, peaks[digits.RAMP]
    return rows


def measured(runs: Runs) -> list[Run]:
    """All runs that are tested, seed by seed."""
    rows = {name: rows_of(runs, name) for name in runs.scale.settings}
    return [
        Run(name, arm, peak, seed)
        for seed in runs.scale.seeds
        for name in runs.scale.settings
        for arm, peak in rows[name].values()
    ]


def carry_out(runs: Runs, wanted: Sequence[Run], what: str) -> None:
    """Train what is not there yet, and say how long the rest will take."""
    missing = [run for run in wanted if runs.result(run) is None]
    print(f"{what}: {len(wanted) - len(missing)} of {len(wanted)} runs are there, in {runs.folder}", file=sys.stderr)
    weights = [_updates(run, runs.scale) for run in missing]
    began, told = time.monotonic(), 0.0
    for place, run in enumerate(missing):
        result = runs.carry_out(run)
        gone = time.monotonic() - began
        if gone - told > 5 or place == len(missing) - 1:
            told, left = gone, gone * sum(weights[place + 1 :]) / sum(weights[: place + 1])
            said = f"{run.name}: {result['test']['score']:.1f} %; about {left / 60:.1f} min left"
            print(f"{what} {place + 1}/{len(missing)} {said}", file=sys.stderr)


def _updates(run: Run, scale: Scale) -> float:
    setting = scale.settings[run.setting]
    return setting.epochs * scale.size / (setting.larger if run.arm in (digits.RAMP, digits.LARGER) else setting.batch)


# tables


def table_of(runs: Runs, setting: str) -> Table:
    """By row: learning rate, scores by seed, what they differ by from the base's, and mean curves over epochs."""
    table: Table = {}
    base, peaks = runs.scale.settings[setting].base, runs.scale.settings[setting].peaks
    for name, (arm, peak) in rows_of(runs, setting).items():
        ended = runs.finished(Run(setting, arm, peak, seed) for seed in runs.scale.seeds)
        if ended:
            edge = peak in (peaks[0], peaks[-1])
            table[name] = {
                "peak": peak,
                "at_the_end_of_the_grid": edge,
                **_row({run.seed: one for run, one in ended.items()}),
            }
    for row in table.values():
        row["against"] = difference(row, table[base]) if base in table else None
    return table


def _row(ended: dict[int, Any]) -> Table:
    """What the runs of a row came to, by seed."""
    scores = {seed: one["test"]["score"] for seed, one in ended.items()}
    good = [one for one in ended.values() if not one["diverged"]]
    curves = {
        key: np.mean([one["curve"][key] for one in good], 0).tolist() for key in ("updates", "loss", "score") if good
    }
    return {
        "scores": scores,
        "mean": float(np.mean(list(scores.values()))),
        "interval": outcomes.interval(list(scores.values())),
        "loss": float(np.mean([one["test"]["loss"] for one in ended.values()])),
        "diverged": len(ended) - len(good),
        "updates": good[0]["updates"] if good else 0,
        "curve": curves,
        "seconds": float(np.mean([one["seconds"] for one in ended.values()])),
    }


def report(runs: Runs, results: Path, picture: Path) -> str:
    """Write what has ended; returns the tables."""
    tables = {name: table for name in runs.scale.settings if (table := table_of(runs, name))}
    where = writing.machine(LIBRARIES)
    told = digits_report.as_markdown(runs.scale, tables, where)
    writing.replace(results / "evidence_digits.md", told)
    data = {
        "command": digits_report.COMMAND,
        "machine": where,
        "claims": digits_report.claims(tables),
        "tables": tables,
    }
    writing.replace(results / "evidence_digits.json", json.dumps(data, indent=1) + "\n")
    if tables:
        from digits_picture import draw

        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(tables, runs.scale, picture)
    return told


def evidence(runs: Runs, results: Path, picture: Path) -> str:
    """Tune, test and report."""
    carry_out(runs, tuning(runs.scale), "tuning")
    carry_out(runs, measured(runs), "testing")
    return report(runs, results, picture)


def main() -> int:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="only write the tables of the runs that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = Runs(FOLDER, digits.LAPTOP)
    try:
        print((report if options.report else evidence)(runs, RESULTS, PICTURE))
    except KeyboardInterrupt:
        print(f"interrupted; what is finished is in {FOLDER}, and the same command goes on", file=sys.stderr)
        return 130
    print(f"wrote {RESULTS / 'evidence_digits.md'}, .json and {PICTURE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
