"""Train a small net on handwritten digits under a plan, against the same net at a constant learning rate.

    python examples/digits/train.py            both, 5 seeds each
    python examples/digits/train.py --quick    2 seeds, 2 epochs: does it work here?

Finished runs are kept: called again, it trains only what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from parallel import train_all
from training import Run, test_accuracies

import tempomat as tm

HERE = Path(__file__).parent


def main() -> int:
    """Train what is missing, report, and say where everything is."""
    options = read_options()
    try:
        # Both of one length, whichever plan is compared.
        total = f"{options.epochs} epochs" if options.epochs else tm.load_plan(options.plan).total
        schedule, constant = (runs_of(path, total, options) for path in (options.plan, HERE / "constant.yaml"))
        # Pair by pair, so that a part of them can be compared too.
        runs = [run for pair in zip(schedule, constant, strict=True) for run in pair]
        if options.fresh:
            for run in runs:
                run.forget()
        return train_and_report(runs, options)
    except tm.TempomatError as error:
        print(error, file=sys.stderr)
        return 2


def train_and_report(runs: list[Run], options: argparse.Namespace) -> int:
    """The exit code."""
    try:
        train_all(runs, options.processes)
    except KeyboardInterrupt:
        kept = sum(run.result is not None for run in runs)
        where = f"{kept} of {len(runs)} runs are done and kept in {options.out}"
        print(f"\nStopped. {where}; the same command goes on from there.", file=sys.stderr)
        return 130
    report(runs[::2], runs[1::2], options.out)
    return 0


def report(schedule: list[Run], constant: list[Run], out: Path) -> None:
    """Print the table and the verdict, draw the picture, and say where everything is."""
    # Not above: every process that trains imports this file, and none of them draws.
    from picture import draw
    from report import Comparison

    seeds = tuple(run.seed for run in schedule)
    scores = Comparison(seeds, test_accuracies(schedule), test_accuracies(constant))
    text = f"{scores.table()}\n\n{scores.verdict()}\n"
    (out / "report.txt").write_text(text)
    (out / "report.json").write_text(json.dumps(scores.data(), indent=1) + "\n")
    draw([run.folder for run in schedule], [run.folder for run in constant], scores, out / "digits.png")
    print(f"\n{text}\nWritten:")
    print(f"  {out / 'digits.png'}  schedules, losses, and the test seed by seed")
    print(f"  {out / 'report.txt'}  this table; report.json has it in full precision")
    for runs in (schedule, constant):
        print(f"  {runs[0].folder.parent}/seed-*  the plan, every step's record, and the result")


def runs_of(path: Path, total: tm.Duration | int | str | None, options: argparse.Namespace) -> list[Run]:
    """One run per seed under the plan in a file, of this length."""
    plan = tm.load_plan(path)
    plan = tm.Plan(plan.schedules, total=total, clock=plan.clock, rates=plan.rates)
    return [Run(path.stem, plan, seed, options.out) for seed in options.seeds]


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A plan against a constant learning rate, on handwritten digits.")
    parser.add_argument("--plan", type=Path, default=HERE / "plan.yaml", help="the plan to compare (plan.yaml)")
    parser.add_argument("--epochs", type=_at_least(1), help="another length for both (theirs is 40)")
    parser.add_argument("--seeds", type=_at_least(0), nargs="+", default=[0, 1, 2, 3, 4], help="0 1 2 3 4 by default")
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="where everything goes (runs/digits)")
    parser.add_argument("--processes", type=_at_least(1), default=min(4, os.cpu_count() or 1), help="runs at a time")
    parser.add_argument("--fresh", action="store_true", help="train again what is there already")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 2 epochs, into runs/digits-quick")
    if parser.parse_args().quick:
        parser.set_defaults(epochs=2, seeds=[0, 1], out=Path("runs/digits-quick"))
    options = parser.parse_args()
    options.seeds = list(dict.fromkeys(options.seeds))
    return options


def _at_least(low: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {low}, got {text!r}")
        return int(text)

    return read


if __name__ == "__main__":
    sys.exit(main())
