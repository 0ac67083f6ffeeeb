"""A plan in Transformers' Trainer: shares of the run instead of steps, a plateau, weight decay and clipping on a
schedule, and the same run again after a stop.

Usage: python examples/hosts/transformers_trainer.py [OUTPUT_FOLDER]
"""

import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

import tempomat as tm
from tempomat.integrations.transformers import attach

PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="10%")
        * tm.Plateau(metric="eval_loss", factor=0.5, patience=1),
        "weight_decay": tm.Linear(init_value=0.01, end_value=0.1, duration="100%"),
        "betas[0]": tm.Linear(init_value=0.85, end_value=0.95, duration="1 epoch"),
        "grad_clip": tm.Linear(init_value=5.0, end_value=1.0, duration="50%"),
    }
)


class Digits(Dataset[dict[str, Any]]):
    """scikit-learn's 8x8 digits, from one place to another."""

    def __init__(self, start: int, end: int) -> None:
        images, labels = load_digits(return_X_y=True)
        self.pixels = torch.tensor(images[start:end]).float() / 16
        self.labels = torch.tensor(labels[start:end])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"pixels": self.pixels[place], "labels": self.labels[place]}


class Net(torch.nn.Module):
    """Two layers, with the forward that the Trainer asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.body(pixels)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def build(folder: str | Path, plan: tm.Plan = PLAN) -> Trainer:
    """A Trainer as anybody builds one, and one line more."""
    set_seed(0)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=4,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(Net(), arguments, train_dataset=Digits(0, 1408), eval_dataset=Digits(1408, 1797))
    attach(trainer, plan)
    return trainer


def main(folder: str | Path) -> dict[str, Any]:
    """Train; then train again from the checkpoint after the second epoch. Returns both logs and the final loss."""
    trainer = build(folder)
    trainer.train()
    whole = trainer.state.log_history
    resumed = build(folder)
    resumed.train(resume_from_checkpoint=f"{folder}/checkpoint-44")
    return {"log": whole, "resumed": resumed.state.log_history, "eval_loss": trainer.evaluate()["eval_loss"]}


if __name__ == "__main__":
    result = main(sys.argv[1] if len(sys.argv) > 1 else "runs/transformers")
    print(f"evaluation loss {result['eval_loss']:.3f}")
