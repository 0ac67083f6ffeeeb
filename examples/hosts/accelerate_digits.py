"""A plan under Accelerate, on one process or several: the count is that of optimizer steps, whatever the launch.

Usage: python examples/hosts/accelerate_digits.py [FOLDER [OPTIONS_OF_MAIN_AS_JSON]]
       accelerate launch --cpu --num_processes 2 examples/hosts/accelerate_digits.py [FOLDER]
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.torch import Scheduler

EPOCHS, ACCUMULATION = 4, 2
PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="10%")
        * tm.Plateau(metric="val_loss", factor=0.5, patience=0),
        "weight_decay": tm.Linear(init_value=0.01, end_value=0.1, duration="2 epochs"),
    },
    total=f"{EPOCHS} epochs",
)


def main(
    folder: str | Path, *, prepared: bool = True, stop_after: int = EPOCHS, resume: bool = False
) -> dict[str, Any]:
    """Train, stop after some epochs or go on. Returns what each update used, the counts and the last loss."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATION)
    set_seed(0)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    val = (images[1408:], labels[1408:])
    loader = DataLoader(TensorDataset(images[:1408], labels[:1408]), batch_size=32, shuffle=True)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters())

    loader = accelerator.prepare(loader)  # first: its length is now that of one process
    scheduler = Scheduler(optimizer, PLAN, steps_per_epoch=-(-len(loader) // ACCUMULATION))
    model, optimizer = accelerator.prepare(model, optimizer)
    stepped: Any = accelerator.prepare(scheduler) if prepared else scheduler
    if not prepared:
        accelerator.register_for_checkpointing(scheduler)
    if resume:
        accelerator.load_state(f"{folder}/state")

    used, val_loss = [], 0.0
    for epoch in range(stop_after - 2 if resume else 0, stop_after):
        loader.set_epoch(epoch)
        for pixels, digits in loader:
            with accelerator.accumulate(model):
                accelerator.backward(cross_entropy(model(pixels), digits))
                if accelerator.sync_gradients:
                    used.append(scheduler.values)
                optimizer.step()
                optimizer.zero_grad()
                if prepared or accelerator.sync_gradients:
                    stepped.step()
        with torch.no_grad():
            val_loss = cross_entropy(model(val[0]), val[1]).item()
        scheduler.observe(val_loss=val_loss)  # on every process: they decide on the mean
    accelerator.save_state(f"{folder}/state")
    accelerator.end_training()
    levels = [one["level"] for one in scheduler.events if one["event"] == "decision"]
    rank = accelerator.process_index
    return {"rank": rank, "used": used, "counts": scheduler.counts, "val_loss": val_loss, "levels": levels}


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/accelerate")
    where.mkdir(parents=True, exist_ok=True)
    result = main(where, **(json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
    (where / f"result-{result['rank']}.json").write_text(json.dumps(result), encoding="utf-8")
    print(f"process {result['rank']}: validation loss {result['val_loss']:.3f} after {result['counts']}")
