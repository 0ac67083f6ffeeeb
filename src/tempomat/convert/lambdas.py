"""PyTorch's `LambdaLR` over schedules: what `to_torch` gives. Imported when that is called, since it needs PyTorch."""

from __future__ import annotations

from typing import Any, final

import torch
from torch.optim.lr_scheduler import LambdaLR

from tempomat.core import Schedule, ScheduleError, StateError
from tempomat.plan import HYPERPARAMETERS, Plan

_LR = HYPERPARAMETERS["lr"]


@final
class Factor:
    """What a `LambdaLR` multiplies a group's `initial_lr` by, so that its learning rate is the schedule's value.

    PyTorch saves and loads a lambda's `__dict__` alone. It holds plain data only, so that `weights_only` reads it: the
    `initial_lr`, which is saved as the scheduler's own `base_lrs` are, and the schedule's fingerprint.
    """

    __slots__ = ("__dict__", "_schedule")

    def __init__(self, schedule: Schedule, initial_lr: float) -> None:
        self._schedule = schedule
        self.initial_lr, self.fingerprint = initial_lr, Plan({"lr": schedule}).fingerprint

    def __call__(self, count: int) -> float:
        value = self._schedule(count)
        if not _LR.holds(value):
            raise ScheduleError(f"to_torch: lr comes to {value!r} at count {count}, and must be {_LR}")
        return value / self.initial_lr

    def check(self, state: Any) -> None:
        """Refuse the state of another schedule."""
        if not isinstance(state, dict) or state.get("fingerprint") != self.fingerprint:
            raise StateError(
                f"to_torch: the state belongs to another schedule than {self._schedule!r}. Export the one that it was "
                "saved under"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return Factor, (self._schedule, self.initial_lr), self.__dict__


def unchanged(_: int) -> float:
    """The factor of a group that no entry names."""
    return 1.0


@final
class ExportedLR(LambdaLR):
    """A `LambdaLR` that checks a state before it takes it, and then writes its values.

    PyTorch's own writes nothing on load: built after the optimizer was loaded, it leaves the first value of the run in
    place until the next step.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            StateError: it is the state of other schedules.
        """
        saved = state_dict.get("lr_lambdas") or []
        if len(saved) != len(self.lr_lambdas):
            raise StateError(f"to_torch: the state has {len(saved)} groups, and the optimizer {len(self.lr_lambdas)}")
        for factor, state in zip(self.lr_lambdas, saved, strict=True):
            if isinstance(factor, Factor):
                factor.check(state)
        super().load_state_dict(state_dict)
        values = [base * factor(self.last_epoch) for factor, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value
        self._last_lr = values
