"""What happened to the learning rate in one run, as plain data for another.

Run A: a plateau steers, and in the middle a person takes the rate down by hand. Run B: another seed, no measurements,
nobody at the keyboard, and the same learning rate at every update.

Usage: python examples/replay.py [FOLDER] [PICTURE.png]
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import tempomat as tm
from tempomat.runs import Recorder, read_run, replay_plan
from tempomat.torch import Scheduler

EPOCHS, STEPS, BY_HAND = 20, 22, 300
PLAN = tm.Plan(
    {"lr": tm.Constant(value=1e-2) * tm.Plateau(metric="val_loss", factor=0.5, patience=1)}, total=EPOCHS * STEPS
)


def train(plan: tm.Plan, folder: Path, seed: int, *, by_hand: bool = False) -> None:
    """Train on digits under a plan, and record it."""
    torch.manual_seed(seed)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = Scheduler(optimizer, plan, foreign="adopt")
    listens = any(node.controllers for node in plan.schedules.values())
    with Recorder(folder, seed=seed) as recorder:
        for count in range(EPOCHS * STEPS):
            batch = torch.randint(1408, (64,))
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            if by_hand and count == BY_HAND:
                optimizer.param_groups[0]["lr"] *= 0.1  # a person, at the keyboard
            recorder.write(scheduler)
            scheduler.step()
            if (count + 1) % STEPS == 0:
                with torch.no_grad():
                    loss = float(cross_entropy(model(images[1408:]), labels[1408:]))
                if listens:
                    scheduler.observe(val_loss=loss)
                recorder.write(scheduler, val_loss=loss)


def main(folder: str | None = None, picture: str | None = None) -> dict[str, Any]:
    """Both runs; whether the second had the learning rates of the first."""
    torch.set_num_threads(1)  # a net this small is slower on several
    root = Path(folder or tempfile.mkdtemp())
    train(PLAN, root / "a", seed=0, by_hand=True)
    plan = replay_plan(read_run(root / "a"), source="applied")
    tm.save_plan(plan, root / "replay.yaml")  # plain data, to read and to keep
    train(tm.load_plan(root / "replay.yaml"), root / "b", seed=1)
    first, second = (read_run(root / name).series("lr") for name in "ab")
    if picture is not None:
        draw(Path(picture), root)
    return {
        "folder": root,
        "plan": plan,
        "the same": bool(np.array_equal(first.applied, second.applied)),
        "values": len(set(first.applied.tolist())),
    }


def draw(path: Path, root: Path) -> None:
    """The learning rates and the losses of both runs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    rates, losses = figure.subplots(1, 2)
    for name, colour, width, label in (("a", "#9cc3de", 5, "A: steered"), ("b", "#d1701f", 1.5, "B: replayed")):
        run = read_run(root / name)
        rates.step(run.series("lr").counts, run.series("lr").applied, where="post", color=colour, lw=width, label=label)
        losses.plot(*run.measured("val_loss"), color=colour, lw=width, label=label)
    rates.set(title="learning rate", xlabel="optimizer steps", yscale="log")
    losses.set(title="validation loss (another seed)", xlabel="optimizer steps", yscale="log")
    for axes in (rates, losses):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    result = main(*sys.argv[1:3])
    print(tm.dumps_plan(result["plan"]))
    print(f"{result['values']} learning rates in run A; in run B {'the same' if result['the same'] else 'OTHERS'}")
    print(f"the records and the plan are in {result['folder']}")
