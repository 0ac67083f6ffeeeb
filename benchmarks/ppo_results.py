"""PPO beside the figures published for it, and what each of four schedules does: 10 seeds each, paired by seed.

python benchmarks/ppo_results.py                    everything; a good hour on a core at rest
python benchmarks/ppo_results.py --jobs 2           two runs at a time, each on a core of its own
python benchmarks/ppo_results.py --only published   or: ablation, peer
python benchmarks/ppo_results.py --seeds 3          the first three seeds
python benchmarks/ppo_results.py --report           the tables and the picture again from the runs that are there
python benchmarks/ppo_results.py --toy --out DIR    the same at a size that takes seconds, to see that it works

Every run of ours is `python train_ppo.py env=...`; a peer is Stable-Baselines3 under the same settings. Each is in a
folder of its own in exp_local/ppo_results: what has ended there is not done again, what was broken off is gone on with.
Results are in benchmarks/results/ppo_results.{md,json} and ppo_ablation.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ppo_effects
import ppo_report
import writing
from measuring import at_least_one
from ppo_arms import PARTS, TOY, WHOLE, Scale
from ppo_running import ROOT, Broken, Runs, carry_out

RUNS = ROOT / "exp_local" / "ppo_results"
RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("tempomat", "numpy", "numba", "torch", "gymnasium", "hydra-core")


def report(runs: Runs, scale: Scale, results: Path) -> str:
    """Write what has ended; returns the tables."""
    found = ppo_effects.tables(runs, scale)
    where = writing.machine(LIBRARIES)
    told = ppo_report.as_markdown(found, where)
    writing.replace(results / "ppo_results.md", told)
    writing.replace(results / "ppo_results.json", json.dumps({"machine": where, **found}, indent=1) + "\n")
    if found["ablation"]:
        from ppo_picture import draw

        draw(runs, scale, results / "ppo_ablation.png")
    return told


def main(arguments: Sequence[str] | None = None, *, runs: Runs | None = None) -> int:
    """Run, and report."""
    options = _read_options(arguments)
    scale = TOY if options.toy else WHOLE
    if options.seeds is not None:
        scale = replace(scale, seeds=tuple(range(options.seeds)))
    out: Path | None = options.out or (ROOT / "exp_local" / "ppo_results_toy" if options.toy else None)
    runs = runs or Runs(RUNS if out is None else out / "runs")
    parts = (options.only,) if options.only else PARTS
    status = 0
    try:
        if not options.report:
            carry_out(runs, scale.runs(parts), options.jobs, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print(f"interrupted; the runs are in {runs.folder}, and the same command goes on with them", file=sys.stderr)
        return 130
    except Broken as broken:
        print(f"The tables lack what has not ended:\n{broken}", file=sys.stderr)
        status = 1
    results = RESULTS if out is None else out
    print(report(runs, scale, results))
    print(f"wrote {results / 'ppo_results.md'} and .json", file=sys.stderr)
    return status


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="a part of it")
    parser.add_argument("--seeds", type=at_least_one, help="as many, from 0 on")
    parser.add_argument("--jobs", type=at_least_one, default=1, help="runs at a time")
    parser.add_argument("--report", action="store_true", help="only write the tables and the picture")
    parser.add_argument("--toy", action="store_true", help="seconds instead of hours; the figures mean nothing")
    parser.add_argument("--out", type=Path, help="a folder for runs and results instead of the usual ones")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
