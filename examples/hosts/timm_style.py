"""A plan in a training script in timm's style: absolute counts, layer decay by `lr_scale`, an epoch's metric.

Usage: python examples/hosts/timm_style.py
"""

import math
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import tempomat as tm
from tempomat.integrations.timm import TimmScheduler

EPOCHS, BATCH, PER_EPOCH = 6, 64, math.ceil(1408 / 64)
PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=5e-3, end_value=5e-5, warmup="1 epoch", init_value=1e-5)
        * tm.Plateau(metric="top1", mode="max", factor=0.5, patience=2),
        "weight_decay": tm.Cosine(init_value=0.01, end_value=0.1, duration="100%"),
    }
)


def param_groups(model: torch.nn.Sequential, layer_decay: float = 0.7) -> list[dict[str, Any]]:
    """Groups as timm's `param_groups_layer_decay` makes them: earlier layers learn more slowly, biases do not decay."""
    layers = [layer for layer in model if list(layer.parameters())]
    return [
        {"params": [weight], "lr_scale": layer_decay ** (len(layers) - 1 - depth), **extra}
        for depth, layer in enumerate(layers)
        for weight, extra in ((layer.weight, {}), (layer.bias, {"weight_decay": 0.0}))
    ]


def build() -> tuple[torch.nn.Sequential, torch.optim.Optimizer, TimmScheduler]:
    """A model, its optimizer and its scheduler, as a script builds them before its epochs."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(param_groups(model), lr=5e-3, weight_decay=0.01)
    return model, optimizer, TimmScheduler(optimizer, PLAN, updates_per_epoch=PER_EPOCH, epochs=EPOCHS)


def main(stop_after: int | None = None, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train from a checkpoint or from the start. Returns what each update used, the accuracy, and a checkpoint."""
    torch.set_num_threads(1)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    model, optimizer, scheduler = build()
    start_epoch = 0
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])  # timm's own checkpoints do not have it: a line to add
        start_epoch = state["epoch"]
    used, top1 = [], 0.0
    for epoch in range(start_epoch, EPOCHS if stop_after is None else stop_after):
        order = torch.randperm(1408, generator=torch.Generator().manual_seed(epoch))
        num_updates = epoch * PER_EPOCH
        for batch in order.split(BATCH):
            loss = cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            used.append({"lr": scheduler.lr_values, "weight_decay": optimizer.param_groups[0]["weight_decay"]})
            num_updates += 1
            scheduler.step_update(num_updates=num_updates, metric=loss.item())
        with torch.no_grad():
            top1 = (model(images[1408:]).argmax(1) == labels[1408:]).float().mean().item()
        scheduler.step(epoch + 1, top1)
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": stop_after or EPOCHS}
    return {"used": used, "top1": top1, "checkpoint": {**checkpoint, "scheduler": scheduler.state_dict()}}


if __name__ == "__main__":
    print(f"validation accuracy {main()['top1']:.1%}")
