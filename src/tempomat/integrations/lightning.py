"""Lightning: the entry of `configure_optimizers` with the right interval, and a callback that needs no such entry."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from tempomat.core import BindingError, MissingExtra, StateError, Unit
from tempomat.plan import Plan, entry_name
from tempomat.runtime import OnChange
from tempomat.torch import Scheduler

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import LearningRateMonitor
except ImportError as error:
    raise MissingExtra("tempomat.integrations.lightning needs Lightning: pip install lightning") from error

__all__ = ["TempomatCallback", "lightning_config"]

_INTERVALS = {Unit.OPTIMIZER_STEPS: "step", Unit.EPOCHS: "epoch"}


def lightning_config(scheduler: Scheduler) -> dict[str, Any]:
    """What goes under `lr_scheduler` in the dict that `configure_optimizers` returns: the scheduler, and the interval
    of its plan's clock.

    Lightning's own default is once an epoch, also for a plan that counts optimizer steps, which then never leaves its
    beginning.

    Args:
        scheduler: with `clock="optimizer_steps"` (the interval is `step`) or `clock="epochs"` (`epoch`).

    Raises:
        BindingError: it is no `tempomat.torch.Scheduler`, or its plan counts what Lightning does not step by.

    Example:
        >>> import tempomat as tm, torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> scheduler = Scheduler(optimizer, tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=10)}))
        >>> config = lightning_config(scheduler)
        >>> config["interval"], config["frequency"]
        ('step', 1)
    """
    if not isinstance(scheduler, Scheduler):
        raise BindingError(f"lightning_config: needs a tempomat.torch.Scheduler, got {type(scheduler).__name__}")
    return {"scheduler": scheduler, "interval": _interval(scheduler), "frequency": 1}


class TempomatCallback(Callback):
    """A plan over a Lightning run. The module returns its optimizers alone; this does the rest.

    The Trainer's own number of updates is the plan's total unless the plan says one, and `steps_per_epoch` is known.
    Values are written before the first batch and after every batch in which an optimizer has stepped, so neither
    accumulation nor a step skipped in mixed precision counts. Each epoch is a count of `epochs`, each batch its size
    in `samples`. After validation and after an epoch the plan's controllers see what the module logged under their
    metrics' names. `grad_clip` becomes the Trainer's `gradient_clip_val`. The state is in every checkpoint.

    Logged: `lr-AdamW`, `lr-AdamW/pg1`, `-weight_decay`, `-momentum`, as by Lightning's `LearningRateMonitor`; every
    other entry under its own name.

    Args:
        plan: whose clock is `optimizer_steps`, `epochs` or `samples`. None where `configure_optimizers` returns
            `Scheduler`s of its own: then this checks their intervals, feeds their controllers and logs.
        optimizers: names for several optimizers, in the order of `configure_optimizers`; `optimizer0`, ... otherwise.
        targets: as in `Scheduler`.
        later: as in `Scheduler`.
        on_change: what a plan or total that differs from the checkpoint's does; see `tempomat.runtime.OnChange`.
        rates: further conversions, such as `tokens_per_sample=512`.

    Raises:
        BindingError: at the start of training: the plan does not fit, a second scheduler writes what the plan writes,
            or Lightning would step a scheduler at another interval than its plan counts.
        StateError: the checkpoint does not fit the plan, or has no state of this callback.

    Example:
        >>> import tempomat as tm
        >>> callback = TempomatCallback(tm.Plan({"lr": tm.warmup_cosine(peak_value=3e-3, warmup="5%")}))
        >>> callback.state_key
        'TempomatCallback'
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        optimizers: Sequence[str] = (),
        targets: Mapping[str, Callable[[float], None] | None] | None = None,
        later: Sequence[str] = (),
        on_change: OnChange = "refuse",
        **rates: int,
    ) -> None:
        if plan is not None and not isinstance(plan, Plan):
            raise BindingError(f"TempomatCallback: needs a tempomat.Plan, got {type(plan).__name__}")
        if plan is not None and plan.clock not in (*_INTERVALS, Unit.SAMPLES):
            raise BindingError(
                f"TempomatCallback: Lightning counts optimizer_steps, epochs and samples; the plan's clock is "
                f"{plan.clock}. Take one of them, tie single schedules by tempomat.on, and advance other counts by "
                "callback.scheduler.advance(...)"
            )
        self._plan, self._names, self._later = plan, tuple(optimizers), tuple(later)
        self._targets, self._rates = dict(targets or {}), rates
        self._on_change: OnChange = on_change
        self._heard: set[str] = set()
        self._schedulers: list[Scheduler] = []
        self._state: dict[str, Any] | None = None
        self._monitor: LearningRateMonitor | None = None
        self._others: list[str] = []

    @property
    def state_key(self) -> str:
        """The key of the state in a checkpoint's `callbacks`: the same wherever the class is imported from."""
        return "TempomatCallback"

    @property
    def scheduler(self) -> Scheduler:
        """The plan's scheduler, once training has started."""
        if not self._schedulers:
            raise BindingError("TempomatCallback: there is no scheduler before training starts")
        return self._schedulers[0]

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry, as applied: for what the module reads by itself."""
        return {name: value for one in self._schedulers or [self.scheduler] for name, value in one.values.items()}

    # what Lightning calls

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bind the plan to the optimizers, go on from a checkpoint, and write the first values."""
        self._schedulers = []  # a scheduler of the fit before no longer writes
        found = _returned(trainer)
        if self._plan is None:
            if not found:
                raise BindingError(
                    "TempomatCallback: has no plan, and configure_optimizers returns no tempomat Scheduler. "
                    "Give the plan to the callback"
                )
            self._schedulers = found
        else:
            _refuse_other_schedulers(trainer, self._plan)
            self._schedulers = [self._build(trainer, pl_module, self._plan)]
            self._resume(trainer)
        for one in self._schedulers:
            one.start()
        self._start_logging(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Epochs are Lightning's own count: a checkpoint within or after one goes on right."""
        if self._plan is not None:
            behind = trainer.current_epoch - self.scheduler.counts.get("epochs", trainer.current_epoch)
            if behind > 0:
                self.scheduler.advance(epochs=behind)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Log the values that this batch is trained with."""
        if not trainer._logger_connector.should_update_logs:
            return
        if self._monitor is not None:
            self._monitor.on_train_batch_start(trainer, pl_module, batch, batch_idx)
        values = self.values if self._others else {}
        for logger in trainer.loggers if values else ():
            logger.log_metrics(
                {name: values[name] for name in self._others}, step=trainer.fit_loop.epoch_loop._batches_that_stepped
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One more update, if an optimizer has stepped; the samples of the batch."""
        if self._plan is None:
            return
        counts = self.scheduler.counts
        if "samples" in counts:
            self.scheduler.advance(samples=_size(batch) * trainer.world_size)
        if "optimizer_steps" in counts and any(self.scheduler._updates):
            if self._plan.clock == Unit.OPTIMIZER_STEPS:
                self.scheduler.step()
            else:
                self.scheduler.advance(optimizer_steps=1)
                self.scheduler._updates[:] = [0] * len(self.scheduler._updates)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What validation has measured goes to the controllers."""
        if not trainer.sanity_checking and self._schedulers:
            self._observe(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What the epoch has measured goes to the controllers."""
        self._observe(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state for a further `fit` of the same Trainer."""
        if self._plan is not None:
            self._state = self.scheduler.state_dict()
        if unheard := sorted(_listened(self._schedulers) - self._heard):
            warnings.warn(
                f"the plan listens to {', '.join(unheard)}, and nothing has logged it. Logged: "
                f"{', '.join(sorted(trainer.callback_metrics)) or 'nothing'}",
                UserWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state: plain data, in every checkpoint."""
        if self._plan is None:
            return {}  # Lightning saves the schedulers of configure_optimizers itself
        return self._schedulers[0].state_dict() if self._schedulers else self._state or {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training starts: Lightning restores callbacks before it makes the optimizers."""
        self._state = dict(state_dict) or None

    # inside

    def _build(self, trainer: Trainer, pl_module: LightningModule, plan: Plan) -> Scheduler:
        targets = dict(self._targets)
        if "grad_clip" in plan.schedules and "grad_clip" not in targets and pl_module.automatic_optimization:
            targets["grad_clip"] = lambda value: setattr(trainer, "gradient_clip_val", value)
        total, rates = _length(trainer, plan, self._rates)
        optimizers = trainer.optimizers
        names = self._names or tuple(f"optimizer{place}" for place in range(len(optimizers)))
        if len(names) != len(optimizers):
            raise BindingError(
                f"TempomatCallback: {len(names)} names ({', '.join(names)}) for {len(optimizers)} optimizers of "
                "configure_optimizers. Name each"
            )
        one = len(optimizers) == 1 and not self._names
        return Scheduler(
            optimizers[0] if one else dict(zip(names, optimizers, strict=True)),
            plan,
            total=total,
            targets=targets,
            later=self._later,
            counting="calls",
            **cast(Any, rates),
        )

    def _resume(self, trainer: Trainer) -> None:
        started = trainer.global_step > 0 or trainer.current_epoch > 0
        if not started:
            self._state = None
        elif self._state is not None:
            self.scheduler.load_state_dict(self._state, self._on_change)
        elif self._on_change == "replace":
            reached = {"optimizer_steps": trainer.global_step, "epochs": trainer.current_epoch}
            self.scheduler.advance(**{unit: reached[unit] for unit in self.scheduler.counts if unit in reached})
        else:
            raise StateError(
                f"TempomatCallback: training goes on at step {trainer.global_step}, and the checkpoint has no state "
                "of this callback. To begin under this plan from there: TempomatCallback(plan, on_change='replace')"
            )

    def _start_logging(self, trainer: Trainer) -> None:
        """Lightning's own monitor knows Lightning's names; other entries are logged by ours."""
        keys = {
            name: (entry.key, entry.index)
            for one in self._schedulers
            for name in one._bound
            if (entry := entry_name(name))
        }
        momentum = any(pair in (("momentum", None), ("betas", 0)) for pair in keys.values())
        theirs = {("lr", None), ("weight_decay", None), ("momentum", None), ("betas", 0)}
        every = [name for one in self._schedulers for name in one.plan.schedules]
        self._others = [name for name in every if keys.get(name) not in theirs] if trainer.loggers else []
        self._monitor = None
        if trainer.loggers and any(pair in theirs for pair in keys.values()):
            decay = any(pair == ("weight_decay", None) for pair in keys.values())
            self._monitor = LearningRateMonitor("step", log_momentum=momentum, log_weight_decay=decay)
            self._monitor.on_train_start(trainer)

    def _observe(self, trainer: Trainer) -> None:
        measured: Mapping[str, Any] = trainer._logger_connector.metrics["callback"] if trainer._results else {}
        for one in self._schedulers:
            seen = {metric: measured[metric] for metric in sorted(_listened([one])) if metric in measured}
            self._heard |= set(seen)
            if seen:
                one.observe(**seen)


def _listened(schedulers: Sequence[Scheduler]) -> set[str]:
    return {rule.metric for one in schedulers for node in one.plan.schedules.values() for rule in node.controllers}


def _interval(scheduler: Scheduler) -> str:
    clock = scheduler.plan.clock
    if clock not in _INTERVALS:
        raise BindingError(
            f"lightning_config: Lightning steps by step or by epoch; the plan's clock is {clock}. Use "
            "TempomatCallback(plan), which counts samples too, or a plan whose clock is optimizer_steps or epochs"
        )
    return _INTERVALS[clock]


def _returned(trainer: Trainer) -> list[Scheduler]:
    """The schedulers of ours that `configure_optimizers` has returned, each stepped as its plan counts."""
    found: list[Scheduler] = []
    for config in trainer.lr_scheduler_configs:
        one = config.scheduler
        if not isinstance(one, Scheduler):
            continue
        interval = _interval(one)
        if (config.interval, config.frequency) != (interval, 1):
            raise BindingError(
                f"Lightning would step the scheduler once every {config.frequency} {config.interval}(s), and its "
                f"plan counts {one.plan.clock}. Return it by "
                "{'optimizer': optimizer, 'lr_scheduler': lightning_config(scheduler)}; the two lists "
                "[optimizer], [scheduler] always mean once an epoch"
            )
        found.append(one)
    return found


def _refuse_other_schedulers(trainer: Trainer, plan: Plan) -> None:
    others = sorted({type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs})
    if others and any(entry_name(name).key == "lr" for name in plan.schedules):
        raise BindingError(
            f"TempomatCallback: configure_optimizers also returns {', '.join(others)}, which writes lr as the plan "
            "does. One writer per key: return the optimizer alone, or give the callback no plan"
        )


def _length(trainer: Trainer, plan: Plan, given: Mapping[str, int]) -> tuple[int | None, dict[str, int]]:
    """The run's total in the plan's clock where the plan says none, and what converts."""
    rates = {**plan.rates, **given}
    updates = trainer.estimated_stepping_batches
    batches = trainer.num_training_batches
    if "steps_per_epoch" not in rates and math.isfinite(batches):
        rates["steps_per_epoch"] = math.ceil(batches / trainer.accumulate_grad_batches)
    reached = {Unit.OPTIMIZER_STEPS: updates, Unit.EPOCHS: trainer.max_epochs}.get(plan.clock)
    known = int(reached) if reached is not None and math.isfinite(reached) and reached > 0 else None
    if plan.total is None:
        return known, rates
    said = plan.resolve(**rates).total
    if known is not None and said != known:
        warnings.warn(
            f"the plan's total is {said} {plan.clock}, and the Trainer will make {known}. Leave the total out of the "
            "plan to take the Trainer's",
            UserWarning,
            stacklevel=2,
        )
    return None, rates


def _size(batch: Any) -> int:
    from lightning.pytorch.utilities.data import extract_batch_size

    return extract_batch_size(batch)
