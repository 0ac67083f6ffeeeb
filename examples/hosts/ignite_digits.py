"""Ignite under a plan: handwritten digits, with a value that the update function reads from `engine.state`.

Usage: python examples/hosts/ignite_digits.py
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.integrations.ignite import TempomatHandler

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch itself, in a part of it that Ignite imports
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver
    from ignite.metrics import Accuracy, Loss

PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="10%")
        * tm.Plateau(metric="val_loss", factor=0.5, patience=2),
        "weight_decay": tm.on("epochs", tm.PiecewiseConstant(values=[0.0, 0.05], boundaries=[2])),
        "label_smoothing": tm.Linear(init_value=0.1, end_value=0.0, duration="50%"),
    }
)


def main(
    folder: str | Path | None = None, *, epochs: int = 4, resume: str | Path | None = None, until: int | None = None
) -> dict[str, Any]:
    """Train, and return the handler, the trainer and what was seen in each iteration.

    Args:
        folder: for checkpoints, one an epoch; none are written without it.
        epochs: how long.
        resume: a checkpoint to go on from.
        until: an epoch after which the run is broken off.
    """
    torch.manual_seed(0)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    data = TensorDataset(images.float() / 16, labels)
    train, val = torch.utils.data.random_split(data, [1408, 389], torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    seen: list[dict[str, float]] = []

    def update(engine: Engine, batch: list[torch.Tensor]) -> float:
        smoothing: float = engine.state.label_smoothing  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.zero_grad()
        loss = cross_entropy(model(batch[0]), batch[1], label_smoothing=smoothing)
        loss.backward()
        optimizer.step()
        group = optimizer.param_groups[0]
        seen.append({"lr": group["lr"], "weight_decay": group["weight_decay"], "label_smoothing": smoothing})
        return loss.item()

    def score(_engine: Engine, batch: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return model(batch[0]), batch[1]

    trainer, evaluator = Engine(update), Engine(score)
    Loss(cross_entropy).attach(evaluator, "val_loss")
    Accuracy().attach(evaluator, "val_accuracy")
    handler = TempomatHandler(optimizer, PLAN)
    handler.attach(trainer, evaluator=evaluator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run(DataLoader(val, batch_size=389)))

    objects = {"model": model, "optimizer": optimizer, "trainer": trainer, "schedule": handler}
    if folder is not None:
        saver = Checkpoint(objects, DiskSaver(str(folder), require_empty=False), n_saved=None)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)
    if resume is not None:
        Checkpoint.load_objects(objects, torch.load(resume, weights_only=True))
    if until is not None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=until), lambda _: trainer.terminate())
    trainer.run(DataLoader(train, batch_size=64), max_epochs=epochs)
    return {"handler": handler, "trainer": trainer, "evaluator": evaluator, "seen": seen}


if __name__ == "__main__":
    done = main()
    print(f"validation accuracy {done['evaluator'].state.metrics['val_accuracy']:.1%}")
