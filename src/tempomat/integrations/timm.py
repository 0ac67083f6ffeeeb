"""A plan behind the scheduler interface of timm's training scripts: `step(epoch, metric)`, `step_update(num_updates)`.

Nothing of timm is imported: any loop that counts its epochs and updates itself can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch.optim import Optimizer

from tempomat.core import BindingError, MeasurementError, StateError, Unit
from tempomat.core.numbers import as_count
from tempomat.plan import Plan
from tempomat.runtime import Event, OnChange
from tempomat.torch import Scheduler

_SCALED, _EXEMPT = "lr", "weight_decay"


@final
class TimmScheduler:
    """A plan that a timm training script drives.

    The plan's clock says which call moves it, as `t_in_epochs` does in timm: on `optimizer_steps`, `step_update`; on
    `epochs`, `step`. The script's counts are absolute, so a script that begins at a later epoch begins there. A call
    without an update since the last one, as after a step that a gradient scaler skipped, does not count; from then on
    the plan is that much behind the script.

    A plain `lr` goes into every group times the group's `lr_scale` (layer decay), and `weight_decay` into every group
    but those that began with none (biases and norms). `lr_values` has what each group holds.

    Args:
        optimizer: as timm makes it.
        plan: on a clock of optimizer steps or epochs.
        updates_per_epoch: updates, not batches, in an epoch: `len(loader) // grad_accum_steps` and the rest.
        epochs: the run's length in epochs, for a plan without a `total`.
        targets: for entries that belong to no param group, as in `Scheduler`.

    Raises:
        BindingError: the plan has another clock; an entry fits nothing.
        PlanError: a conversion is missing.

    Example:
        >>> import tempomat as tm
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> plan = tm.Plan({"lr": tm.warmup_cosine(peak_value=0.4, warmup="1 epoch")})
        >>> scheduler = TimmScheduler(optimizer, plan, updates_per_epoch=10, epochs=20)
        >>> scheduler.step_update(10)
        >>> scheduler.values["lr"]
        0.4
    """

    def __init__(
        self,
        optimizer: Optimizer,
        plan: Plan,
        updates_per_epoch: int | None = None,
        *,
        epochs: int | None = None,
        targets: Mapping[str, Callable[[float], None] | None] | None = None,
    ) -> None:
        if not isinstance(plan, Plan):
            raise BindingError(f"TimmScheduler: needs a tempomat.Plan, got {type(plan).__name__}")
        if plan.clock not in (Unit.OPTIMIZER_STEPS, Unit.EPOCHS):
            raise BindingError(
                f"TimmScheduler: the script counts updates and epochs, the plan {plan.clock}. Give the plan "
                "clock='optimizer_steps' or clock='epochs'"
            )
        self.optimizer = optimizer
        self.t_in_epochs = plan.clock == Unit.EPOCHS
        for group in optimizer.param_groups:
            if _EXEMPT in group:  # timm's own word for what a group began with; the optimizer's state keeps it
                group.setdefault(f"initial_{_EXEMPT}", group[_EXEMPT])
        rates = {} if updates_per_epoch is None else {"steps_per_epoch": updates_per_epoch}
        total = f"{epochs} epochs" if epochs is not None and plan.total is None else None
        fitted = plan.resolve(total=total, **rates)
        self._scheduler = Scheduler(optimizer, fitted, targets={**self._own_targets(plan), **(targets or {})})
        self._behind = 0

    # what the script calls

    def step(self, epoch: int, metric: float | None = None) -> None:
        """At the end of an epoch, with the number of the next: `step(epoch + 1, eval_metric)`.

        Raises:
            BindingError: the count goes back, or is no count.
            MeasurementError: the plan listens to several metrics, and this is one.
        """
        count = _count("epoch", epoch)
        if self.t_in_epochs:
            self._go_to(count)
        if metric is not None:
            self._show(metric)

    def step_update(self, num_updates: int, metric: float | None = None) -> None:
        """At the end of an update, with the number of updates so far.

        timm hands over its running training loss as `metric`; nobody listens to it here, since `step` gets the
        evaluation's. Use `observe(train_loss=...)` where the plan wants it.

        Raises:
            BindingError: the count goes back, or is no count.
        """
        count = _count("num_updates", num_updates)
        if self.t_in_epochs:
            return
        if count != self._count + self._behind + 1:
            self._go_to(count)
            return
        before = self._count
        self._scheduler.step()
        self._behind += self._count == before

    def observe(self, **measurements: Any) -> list[Event]:
        """Show measurements to the controllers that listen to them, by name."""
        return self._scheduler.observe(**measurements)

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry, before the groups' own scales."""
        return self._scheduler.values

    @property
    def lr_values(self) -> list[float]:
        """What each param group holds now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler inside, for a `Recorder`."""
        return self._scheduler

    def state_dict(self) -> dict[str, Any]:
        """Plain data. timm's own checkpoints leave schedulers out; save it beside them."""
        return {"scheduler": self._scheduler.state_dict(), "behind": self._behind}

    def load_state_dict(self, state_dict: Mapping[str, Any], on_change: OnChange = "refuse") -> None:
        """Go on from a saved state, in any order with the optimizer's own.

        Raises:
            StateError: the state is damaged or incomplete, or the plan has changed and `on_change` is `refuse`.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"scheduler", "behind"}:
            raise StateError("a state of TimmScheduler has `scheduler` and `behind`, and nothing else")
        behind = state_dict["behind"]
        if type(behind) is not int or behind < 0:
            raise StateError(f"behind: must be a count, got {behind!r}")
        self._scheduler.load_state_dict(state_dict["scheduler"], on_change)
        self._behind = behind

    # inside

    @property
    def _count(self) -> int:
        return self._scheduler.last_epoch

    def _metrics(self) -> list[str]:
        nodes = self._scheduler.plan.schedules.values()
        return sorted({rule.metric for node in nodes for rule in node.controllers})

    def _show(self, metric: float) -> None:
        names = self._metrics()
        if len(names) > 1:
            raise MeasurementError(f"step gives one metric, and the plan listens to {', '.join(names)}: use observe")
        if names:
            self._scheduler.observe(**{names[0]: metric})

    def _go_to(self, count: int) -> None:
        here = self._count + self._behind
        if count < here:
            raise BindingError(
                f"the script is at {count}, and was at {here} before. For a run that goes back on purpose use "
                "scheduler.rewind"
            )
        if here == 0 and count > 1 and self._metrics():
            raise StateError(
                f"the script begins at {count}, and what the plan's controllers have measured before that is unknown. "
                "timm's checkpoints leave schedulers out: save state_dict() beside them, and load it first"
            )
        self._scheduler.advance(**{self._scheduler.plan.clock: count - here})

    def _own_targets(self, plan: Plan) -> dict[str, Callable[[float], None]]:
        """The entries that go into every group, each group in its own way."""
        groups = self.optimizer.param_groups
        own: dict[str, Callable[[float], None]] = {}
        if _SCALED in plan.schedules and any("lr_scale" in group for group in groups):
            own[_SCALED] = self._write_scaled
        exempt = [_is_exempt(group) for group in groups]
        if _EXEMPT in plan.schedules and any(exempt):
            if all(exempt):
                raise BindingError("weight_decay: every param group began with 0, so that the plan's would go nowhere")
            own[_EXEMPT] = self._write_decay
        return own

    def _write_scaled(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            _put(group, _SCALED, value * group.get("lr_scale", 1.0))

    def _write_decay(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            if not _is_exempt(group):
                _put(group, _EXEMPT, value)


def _is_exempt(group: Mapping[str, Any]) -> bool:
    return group.get(f"initial_{_EXEMPT}", group.get(_EXEMPT)) == 0


def _put(group: dict[str, Any], key: str, value: float) -> None:
    if isinstance(group[key], torch.Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def _count(name: str, count: object) -> int:
    try:
        return as_count(count)
    except ValueError as error:
        raise BindingError(f"{name} {error}") from None
