"""A plan in a plain PyTorch loop: per update or per epoch, with a plateau, saved and loaded again.

Usage: python examples/hosts/torch_loop.py [RUN_FOLDER]
"""

import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import tempomat as tm
from tempomat.torch import Scheduler

EPOCHS, PER_EPOCH = 6, 22
PER_UPDATE = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="1 epoch"),
        "weight_decay": tm.Linear(init_value=0.01, end_value=0.1, duration="100%"),
        "betas[0]": tm.Linear(init_value=0.85, end_value=0.95, duration="50%"),
        "grad_clip": 1.0,
    },
    total=f"{EPOCHS} epochs",
    rates={"steps_per_epoch": PER_EPOCH},
)
PER_EPOCH_PLAN = tm.Plan(
    {"lr": tm.Cosine(init_value=1e-2, end_value=1e-3, duration=EPOCHS) * tm.Plateau(factor=0.5, patience=1)},
    clock="epochs",
)


def main(plan: tm.Plan = PER_UPDATE, stop_after: int = EPOCHS, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train from a checkpoint or from the start. Returns the values of each update, the loss and a checkpoint."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = Scheduler(optimizer, plan)
    start, per_update = 0, plan.clock == "optimizer_steps"
    if state is not None:  # in any order: values are derived anew
        model.load_state_dict(state["model"])
        scheduler.load_state_dict(state["scheduler"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["epoch"]

    used, val_loss = [], 0.0
    for epoch in range(start, stop_after):
        for batch in torch.randperm(1408, generator=torch.Generator().manual_seed(epoch)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            clip = scheduler.values.get("grad_clip", torch.inf)  # a value that the loop reads by itself
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            used.append(scheduler.values)
            if per_update:
                scheduler.step()
        with torch.no_grad():
            val_loss = cross_entropy(model(images[1408:]), labels[1408:]).item()
        if not per_update:
            scheduler.step(val_loss)
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": stop_after}
    return {"used": used, "val_loss": val_loss, "checkpoint": {**checkpoint, "scheduler": scheduler.state_dict()}}


if __name__ == "__main__":
    result = main()
    print(f"validation loss {result['val_loss']:.3f}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        torch.save(result["checkpoint"], Path(sys.argv[1], "checkpoint.pt"))
