"""Lightning under a plan: handwritten digits, lr and weight decay by schedule, the lr halved when validation stalls.

Usage: python examples/hosts/lightning_digits.py
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.integrations.lightning import TempomatCallback

PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="10%")
        * tm.Plateau(metric="val_loss", factor=0.5, patience=2),
        "weight_decay": tm.Linear(init_value=0.0, end_value=0.1, duration="100%"),
        "grad_clip": tm.Linear(init_value=5.0, end_value=1.0, duration="50%"),
    }
)


class Digits(LightningModule):
    """A small net on 8x8 digits; `configure_optimizers` returns the optimizer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        """The loss of a batch: (N, 64) pictures, (N,) labels."""
        return cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], _index: int) -> None:
        """Log what the plan's plateau listens to."""
        scores = self.net(batch[0])
        self.log("val_loss", cross_entropy(scores, batch[1]))
        self.log("val_accuracy", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """No scheduler: the callback has the plan."""
        return torch.optim.AdamW(self.parameters(), lr=1.0)


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    """1 408 digits to train on and 389 to validate."""
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    data = TensorDataset(images.float() / 16, labels)
    train, val = torch.utils.data.random_split(data, [1408, 389], torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size=64), DataLoader(val, batch_size=389)


def main(
    folder: str | Path | None = None,
    *,
    epochs: int = 6,
    accumulate: int = 1,
    callbacks: tuple[Callback, ...] = (),
    resume: str | Path | None = None,
    on_change: Any = "refuse",
) -> dict[str, Any]:
    """Train, and return the callback, the Trainer and the folder of the logs."""
    torch.manual_seed(0)
    tempomat = TempomatCallback(PLAN, on_change=on_change)
    folder = Path(folder or tempfile.mkdtemp())
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        callbacks=[tempomat, *callbacks],
        logger=CSVLogger(folder, name="", version=""),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        default_root_dir=folder,
    )
    train, val = loaders()
    trainer.fit(Digits(), train, val, ckpt_path=resume)
    return {"callback": tempomat, "trainer": trainer, "folder": folder}


if __name__ == "__main__":
    done = main()
    print(f"validation accuracy {done['trainer'].callback_metrics['val_accuracy']:.1%}; logs in {done['folder']}")
