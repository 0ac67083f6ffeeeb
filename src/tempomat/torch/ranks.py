"""Several processes that train one model: a decision is taken on one number, the same on every rank."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed

from tempomat.core import MeasurementError, StateError, Unit

_PLAN, _METRICS = 4, 4  # 64-bit words of each hash


def are_several() -> bool:
    """Whether this process is one of several of a process group."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def reduced(
    fingerprint: str, counts: Mapping[str, int], measurements: Mapping[str, float], refused: bool
) -> dict[str, float]:
    """Measurements as every rank takes them: their mean, added in rank order in float64; equal ones stay as they are.

    Every rank has to call this at the same place. `refused` says that this rank could make no number of its own.

    Raises:
        StateError: ranks have other plans, counts or metrics; the message names the rank and the field.
        MeasurementError: another rank has refused its measurement.
    """
    names = sorted(measurements)
    metrics = hashlib.sha256("\n".join(names).encode()).hexdigest()
    mine = [*_words(fingerprint), *(counts.get(str(unit), 0) for unit in Unit), *_words(metrics), int(refused)]
    everyone = gathered(torch.tensor(mine, dtype=torch.int64))
    for rank, theirs in enumerate(everyone):
        if theirs[-1]:
            raise MeasurementError(f"rank {rank} has refused its measurement, so that no rank takes a decision")
    for rank, theirs in enumerate(everyone):
        _compare(rank, theirs, everyone[0])
    values = gathered(torch.tensor([measurements[name] for name in names], dtype=torch.float64))
    return {name: _mean([one[place] for one in values]) for place, name in enumerate(names)}


def _compare(rank: int, theirs: list[Any], first: list[Any]) -> None:
    """Refuse a rank whose plan, counts or metrics are not those of rank 0."""
    if theirs[:_PLAN] != first[:_PLAN]:
        raise StateError(f"rank {rank} has another plan than rank 0. Load one plan on every rank")
    for unit, count, zeroth in zip(Unit, theirs[_PLAN:], first[_PLAN:], strict=False):
        if count != zeroth:
            raise StateError(f"rank {rank} is at {unit} {count}, rank 0 at {zeroth}. Resume every rank from one state")
    if theirs != first:
        raise StateError(f"rank {rank} measures something else than rank 0. Give every rank the same metrics")


def _mean(values: list[float]) -> float:
    if all(value == values[0] for value in values):
        return values[0]
    return sum(values, start=0.0) / len(values) if all(map(math.isfinite, values)) else math.nan


def _words(digest: str) -> list[int]:
    """A SHA-256 as four signed 64-bit words."""
    raw = bytes.fromhex(digest)
    return [int.from_bytes(raw[place : place + 8], signed=True) for place in range(0, 32, 8)]


def gathered(mine: torch.Tensor) -> list[list[Any]]:
    """Every rank's tensor, in rank order, as lists. Every rank has to call it, with one shape."""
    device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
    everyone = [torch.empty_like(mine, device=device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(everyone, mine.to(device))
    return [one.tolist() for one in everyone]
