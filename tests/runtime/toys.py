"""Toys to train. Each param group holds one number with gradient 1: its weight shows which learning rates moved it."""

import io
from typing import Any

import torch
from torch.optim import SGD, Optimizer

import tempomat as tm

FALL = tm.Linear(init_value=1.0, end_value=0.0, duration=10)
"""From 1 to 0 in ten counts: every count has a value of its own."""


def number() -> torch.nn.Parameter:
    """A weight of 0 with gradient 1, in double precision: one step of plain SGD makes it exactly -lr."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.ones_like(weight)
    return weight


def group(name: str = "", **options: Any) -> dict[str, Any]:
    """A param group of one number."""
    return {"params": [number()], **({"name": name} if name else {}), **options}


def sgd(*names: str, lr: Any = 0.1, **options: Any) -> Optimizer:
    """SGD over one group for each name; over a single one without a name where none is given."""
    return SGD([group(name) for name in names or [""]], lr=lr, **options)


def held(optimizer: Optimizer, key: str = "lr") -> list[Any]:
    """What each param group holds under a key; tensors as numbers."""
    values = [one[key] for one in optimizer.param_groups]
    return [value.item() if isinstance(value, torch.Tensor) else value for value in values]


def weights(optimizer: Optimizer) -> list[float]:
    """The number in each param group."""
    return [one["params"][0].item() for one in optimizer.param_groups]


def snapshot(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Everything in the param groups and the defaults: values, and which tensors hold them."""
    return [
        {key: (id(one), one.tolist()) if isinstance(one, torch.Tensor) else repr(one) for key, one in kept.items()}
        for kept in [*optimizer.param_groups, optimizer.defaults]
    ]


def train(optimizer: Optimizer, scheduler: Any, updates: int = 1) -> list[float]:
    """So many rounds of `optimizer.step(); scheduler.step()`; the first group's lr at each update."""
    used: list[float] = []
    for _ in range(updates):
        optimizer.step()
        used.append(held(optimizer)[0])
        scheduler.step()
    return used


def written(data: Any) -> bytes:
    """What `torch.save` makes of data."""
    file = io.BytesIO()
    torch.save(data, file)
    return file.getvalue()


def read(file: bytes) -> Any:
    """What `torch.load` makes of it while it builds no object but plain ones."""
    return torch.load(io.BytesIO(file), weights_only=True)


def through_a_file(data: Any) -> Any:
    """The same data, written and read back."""
    return read(written(data))
