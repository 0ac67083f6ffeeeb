"""Two real processes in a gloo group, and what each of them has found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn


def on_two_ranks(measure: Callable[[int], Any], folder: Path) -> list[Any]:
    """What a function of a test module gives on each rank: plain data and tensors; `folder` is theirs to meet in."""
    spawn(_on_one_rank, (measure, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _on_one_rank(rank: int, measure: Callable[[int], Any], folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(measure(rank), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()
