"""How plan.yaml and constant.yaml got their numbers: one grid, the same for both, judged on the validation images.

    python examples/digits/tune.py        120 runs; 6 to 22 minutes on 2 cores, by what else they do

Six learning rates times two weight decays times five seeds that train.py does not use. For the schedule the learning
rate is the peak (the start is a 25th of it, the end a hundredth) and the weight decay is the start (the end is a tenth
of it). Beta1 and gradient clip were set once, to customary values, and not tuned in either. The best mean accuracy
wins and, of equals, the lower mean loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from parallel import train_all
from training import Run

import tempomat as tm

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
DECAYS = (0.01, 0.1)
SEEDS = range(100, 105)
HERE, OUT = Path(__file__).parent, Path("runs/digits-tuning")


def main() -> None:
    """Train the grid, and list it for each of the two from best to worst."""
    grids = {"constant": grid("constant", constant), "plan": grid("plan", schedule)}
    train_all([run for cells in grids.values() for runs in cells.values() for run in runs], processes=2)
    for name, cells in grids.items():
        print(f"\n{name}.yaml: means over {len(SEEDS)} seeds, on the validation images")
        found = {cell: (-mean(runs, "val_accuracy"), mean(runs, "val_loss")) for cell, runs in cells.items()}
        for rate, decay in sorted(found, key=found.__getitem__):
            missed, loss = found[rate, decay]
            print(f"  lr {rate:<7g} weight decay {decay:<5g} accuracy {-100 * missed:5.2f} %  loss {loss:.4f}")


def grid(name: str, entries: Any) -> dict[tuple[float, float], list[Run]]:
    """The runs of every learning rate and weight decay; what is not tuned stays as in the file."""
    plan = tm.load_plan(HERE / f"{name}.yaml")
    plans = {cell: tm.Plan({**plan.schedules, **entries(*cell)}, total=plan.total) for cell in product(RATES, DECAYS)}
    return {cell: [Run(name, one, seed, OUT) for seed in SEEDS] for cell, one in plans.items()}


def constant(rate: float, decay: float) -> dict[str, Any]:
    """Two numbers."""
    return {"lr": rate, "weight_decay": decay}


def schedule(rate: float, decay: float) -> dict[str, Any]:
    """The same two numbers, as a peak and as a start."""
    return {
        "lr": tm.warmup_cosine(init_value=rate / 25, peak_value=rate, end_value=rate / 100, warmup="10%"),
        "weight_decay": tm.Linear(init_value=decay, end_value=decay / 10, duration="100%"),
    }


def mean(runs: Sequence[Run], name: str) -> float:
    """One measurement at the end of finished runs."""
    values = [run.result[name] for run in runs if run.result]
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
