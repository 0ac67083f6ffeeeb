"""Around every `optimizer.step()`: are the param groups those that values go to, and was there an update."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast, final

import torch
from torch.optim import Optimizer

Groups = list[dict[str, Any]]


@final
class Watch:
    """Counts applied updates, and calls `attach` right before an update of groups that were not marked as bound.

    Its hooks keep neither the scheduler nor this alive: `attach` is a bound method, held weakly.
    """

    def __init__(self, optimizers: Sequence[Optimizer], attach: Callable[[], None]) -> None:
        self._optimizers = tuple(optimizers)
        self._marked: list[Groups] = [[] for _ in optimizers]
        self.updates = [0] * len(optimizers)
        weakly = weakref.WeakMethod(attach)
        for place, optimizer in enumerate(optimizers):
            _hook(optimizer, place, self.updates, self._marked[place], weakly)

    def mark(self) -> None:
        """The groups as they are now are bound; before the first time, every update calls for it."""
        for groups, optimizer in zip(self._marked, self._optimizers, strict=True):
            groups[:] = optimizer.param_groups


def _hook(
    optimizer: Optimizer, place: int, updates: list[int], marked: Groups, attach: weakref.WeakMethod[Callable[[], None]]
) -> None:
    def again() -> None:
        method = attach()
        if method is not None:
            method()

    def before(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        try:
            # lists compare by identity first: no group is looked into unless one was put in another's place
            same = optimizer.param_groups == marked
        except RuntimeError:  # tensors of two different groups have no one truth value
            same = False
        if not same:
            again()

    def after(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if "found_inf" not in optimizer.__dict__ or not _found_inf(optimizer):
            updates[place] += 1

    def loaded(*_: Any) -> None:
        if marked:
            again()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    optimizer.register_load_state_dict_post_hook(loaded)


def _found_inf(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer was told by the gradient scaler to skip: it is called all the same then."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(cast(torch.Tensor, found).item())
