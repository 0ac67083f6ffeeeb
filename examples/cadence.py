"""Evaluation dense early and sparse late, checkpoints log-spaced, and a run that is broken off and goes on.

The same training is evaluated at moments whose distance grows by the plan, at as many evenly spaced ones, and, to know
what both miss, at every update. In the middle everything is thrown away and loaded again from a file.

Usage: python examples/cadence.py [PICTURE.png]
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import tempomat as tm
from tempomat.torch import Scheduler

UPDATES, BATCH, BREAK = 440, 64, 100
PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=3e-3, end_value=3e-5, warmup="5%", init_value=1e-4),
        "eval_interval": tm.Geometric(init_value=4, end_value=100, duration="50%"),
    },
    total=UPDATES,
)


class Training:
    """A net on digits; everything that a checkpoint has to hold."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
        self.images, self.labels = images.float() / 16, labels
        self.model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.scheduler = Scheduler(self.optimizer, PLAN)
        self.evaluate = tm.Every.following(self.scheduler, "eval_interval", at_end=True)
        self.save = tm.Every.log_spaced(first=10, per_decade=4)
        self.parts = (self.model, self.optimizer, self.scheduler, self.evaluate, self.save)

    def update(self) -> int:
        """One optimizer step; the count it brings the run to."""
        count = self.scheduler.counts["optimizer_steps"]
        rng = np.random.default_rng([0, count])  # a batch is a function of its count, so nothing of it is saved
        batch = torch.tensor(rng.choice(1408, BATCH, replace=False))
        self.optimizer.zero_grad()
        cross_entropy(self.model(self.images[batch]), self.labels[batch]).backward()
        self.optimizer.step()
        self.scheduler.step()
        return count + 1

    @torch.no_grad()
    def loss(self) -> float:
        """On the images that are not trained on."""
        return float(cross_entropy(self.model(self.images[1408:]), self.labels[1408:]))

    def checkpoint(self) -> bytes:
        """Everything, as a file would hold it."""
        file = io.BytesIO()
        torch.save([one.state_dict() for one in self.parts], file)
        return file.getvalue()

    def load(self, checkpoint: bytes) -> None:
        """Go on from there."""
        for one, state in zip(self.parts, torch.load(io.BytesIO(checkpoint), weights_only=True), strict=True):
            one.load_state_dict(state)


class Seen(NamedTuple):
    """What a run evaluated and saved, by count, and the loss after every update."""

    evaluated: dict[int, float]
    saved: list[int]
    losses: list[float]


def run(*, broken: bool) -> Seen:
    """Train; if `broken`, all is lost at one count and loaded from the last checkpoint."""
    training, seen, last = Training(), Seen({}, [], []), b""
    kept: Any = None
    while training.scheduler.counts["optimizer_steps"] < UPDATES:
        count = training.update()
        seen.losses.append(training.loss())
        if training.evaluate.due(training.scheduler.counts):
            seen.evaluated[count] = seen.losses[-1]
        if training.save.due(training.scheduler.counts):
            seen.saved.append(count)
            last, kept = training.checkpoint(), (dict(seen.evaluated), list(seen.saved), list(seen.losses))
        if broken and count == BREAK + 50:
            broken, training, seen = False, Training(), Seen(*kept)
            training.load(last)
    return seen


def missed(moments: Sequence[int], losses: Sequence[float]) -> float:
    """How far a curve through these moments is from the whole one, at the worst count from 4 on."""
    counts = np.arange(4, UPDATES + 1)
    drawn = np.interp(counts, moments, [losses[moment - 1] for moment in moments])
    return float(np.abs(drawn - np.array(losses)[counts - 1]).max())


def main(picture: str | None = None) -> dict[str, Any]:
    """Train twice, broken off and not, and compare what was evaluated."""
    torch.set_num_threads(1)  # a net this small is slower on several
    whole, broken = run(broken=False), run(broken=True)
    moments = list(whole.evaluated)
    evenly = [round(UPDATES * (k + 1) / len(moments)) for k in range(len(moments))]
    if picture is not None:
        draw(Path(picture), whole, evenly)
    return {
        "evaluated": moments,
        "saved": whole.saved,
        "resumed the same": (broken.evaluated, broken.saved, broken.losses) == tuple(whole),
        "missed": missed(moments, whole.losses),
        "missed evenly": missed(evenly, whole.losses),
    }


def draw(path: Path, seen: Seen, evenly: Sequence[int]) -> None:
    """The loss at every update, and where each way looked at it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, UPDATES + 1), seen.losses, color="#c9ced3", linewidth=4, label="at every update")
    axes.plot(
        list(seen.evaluated),
        list(seen.evaluated.values()),
        "o-",
        color="#1b6ca8",
        markersize=4,
        label="as the plan says",
    )
    axes.plot(
        evenly, [seen.losses[one - 1] for one in evenly], "s--", color="#d1701f", markersize=4, label="evenly spaced"
    )
    for count in seen.saved:
        axes.axvline(count, color="#5d646b", linewidth=0.6, linestyle=":")
    axes.set(xlabel="optimizer steps (dotted: checkpoints)", ylabel="validation loss", xscale="log", yscale="log")
    axes.set_title(f"{len(evenly)} evaluations each", loc="left", fontweight="bold")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    result = main(*sys.argv[1:2])
    print(f"evaluated at {', '.join(map(str, result['evaluated']))}; saved at {', '.join(map(str, result['saved']))}")
    print(f"broken off and resumed: {'the same in every number' if result['resumed the same'] else 'DIFFERENT'}")
    print(
        f"{len(result['evaluated'])} evaluations: the drawn validation loss is off by at most {result['missed']:.2f}; "
        f"with as many evenly spaced ones by {result['missed evenly']:.2f}"
    )
