"""What schedules do for a language model: a tiny GPT on the text of Python's manual, 5 seeds, paired by seed.

python benchmarks/evidence_text.py            everything; 10 to 15 minutes of one core; goes on where it was interrupted
python benchmarks/evidence_text.py --report   the tables and the picture again from the runs that are there
python benchmarks/evidence_text.py --toy      the same at a size that takes seconds, to see that it works

Each schedule's peak lr is chosen on seeds that the comparison does not use. Runs are in exp_local/evidence_text, a file
each; results in benchmarks/results/evidence_text.{md,json} and docs/images/evidence_text.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import text_model
import text_report
import text_tables
import torch
from text_runs import LAPTOP, SCHEDULES, TOY, Run, Runs, Scale
from writing import machine, replace

ROOT = Path(__file__).parents[1]
LIBRARIES = ("tempomat", "numpy", "torch")


def tuning(scale: Scale) -> list[Run]:
    """Every schedule at every peak, on seeds of their own."""
    return [Run(name, peak, seed) for peak in scale.peaks for seed in scale.tuning_seeds for name in SCHEDULES]


def comparison(scale: Scale, choice: text_tables.Choice) -> list[Run]:
    """Seed by seed: each schedule at its peak; the lowest peak; a linear fall from higher peaks, warm and cold."""
    runs = [one(seed) for seed in scale.seeds for one in _of_seed(scale, choice)]
    return list(dict.fromkeys(runs))


def _of_seed(scale: Scale, choice: text_tables.Choice) -> list[text_tables.Case]:
    return [
        *text_tables.tuned(choice).values(),
        text_tables.averaged(choice),
        *text_tables.slow(scale),
        *(case for multiple in scale.multiples for case in text_tables.warm_and_cold(choice, multiple)),
    ]


def carry_out(runs: Sequence[Run], store: Runs, later: int = 0) -> None:
    """Train what is not there yet, with an estimate of the rest; `later` runs are to follow in another call."""
    waiting = [run for run in runs if store.result(run) is None]
    print(f"{len(runs) - len(waiting)} of {len(runs)} runs are there", file=sys.stderr)
    began = time.monotonic()
    for done, run in enumerate(waiting, start=1):
        found = store.carry_out(run)
        left = (time.monotonic() - began) / done * (len(waiting) - done + later)
        ended = f"{'diverged' if found['diverged'] else format(found['loss'], '.3f')} in {found['seconds']:.0f} s"
        print(f"{done}/{len(waiting)} {run.name}: {ended}; about {left / 60:.0f} min left", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="seconds instead of minutes; the figures mean nothing")
    parser.add_argument("--report", action="store_true", help="only write the tables and the picture")
    parser.add_argument("--out", type=Path, help="a folder for runs, results and picture instead of the usual ones")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    scale, out = TOY if options.toy else LAPTOP, options.out
    if options.toy and out is None:
        out = ROOT / "exp_local" / "evidence_text_toy"
    runs = ROOT / "exp_local" / "evidence_text" if out is None else out / "runs"
    report = Path(__file__).parent / "results" / "evidence_text.md" if out is None else out / "evidence_text.md"
    picture = ROOT / "docs" / "images" / "evidence_text.png" if out is None else out / "evidence_text.png"
    where = machine(LIBRARIES)
    store = Runs(runs, scale, text_model.load_text())
    print(f"Runs in {runs}; {store.text.told}", file=sys.stderr)
    try:
        if not options.report:
            choice = text_tables.Choice.guess(scale)
            waiting = sum(store.result(run) is None for run in comparison(scale, choice))
            carry_out(tuning(scale), store, later=waiting)
        choice = text_tables.choose(tuning(scale), store)
        compared = comparison(scale, choice)
        if not options.report:
            carry_out(compared, store)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on with the run that was broken off.", file=sys.stderr)
        return 130
    found = text_tables.tables(tuning(scale), choice, store)
    told = text_report.as_markdown(found, where, scale)
    replace(report, told)
    replace(report.with_suffix(".json"), json.dumps({"machine": where, **found}, indent=1) + "\n")
    text_report.draw(choice, store, picture)
    print(told)
    print(f"Written: {report}, .json beside it, {picture}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
