"""PyTorch-Ignite: a plan as a handler of an engine, and a single schedule as one of Ignite's `ParamScheduler`s."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch.optim import Optimizer

from tempomat.core import BindingError, MissingExtra, Schedule, ScheduleError, StateError, Unit
from tempomat.plan import Plan, entry_name
from tempomat.runtime import OnChange
from tempomat.torch import Scheduler

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch itself, in a part of it that Ignite imports
        from ignite.engine import Engine, Events
        from ignite.handlers.param_scheduler import ParamScheduler
except ImportError as error:
    raise MissingExtra("tempomat.integrations.ignite needs Ignite: pip install pytorch-ignite") from error

__all__ = ["ScheduledParam", "TempomatHandler"]


class TempomatHandler:
    """A plan over the run of an Ignite engine, attached as Ignite's own parameter schedulers are.

    At the start of every iteration the values of that iteration are written: of `optimizer_steps` where the optimizer
    has stepped since the last (so neither accumulation nor a skipped mixed-precision step counts), of `epochs` where an
    epoch begins. What fits no param group goes to `engine.state`, for the update function to read:
    `engine.state.label_smoothing`.

    The engine's `max_epochs` and `epoch_length` are the plan's total and its `steps_per_epoch`, unless the plan says
    them. With `Checkpoint({"schedule": handler, ...}, ...)` the state is saved and loaded like any object's.

    Args:
        optimizer: one, or several by name.
        plan: whose clock is `optimizer_steps` or `epochs`.
        accumulation: iterations per optimizer step, for the total.
        targets: as in `Scheduler`, ahead of `engine.state`.
        later: as in `Scheduler`.
        save_history: whether `engine.state.param_history[entry]` gets the value of every iteration, as with Ignite's.
        on_change: what a plan or total that differs from the loaded state's does; see `tempomat.runtime.OnChange`.
        rates: further conversions.

    Raises:
        BindingError: when the engine starts: an entry fits nothing, or somebody else writes the same.

    Example:
        >>> import tempomat as tm, torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration="100%")})
        >>> seen = []
        >>> def update(engine, batch):
        ...     seen.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        >>> trainer = Engine(update)
        >>> TempomatHandler(optimizer, plan).attach(trainer)
        >>> _ = trainer.run(range(4))
        >>> seen
        [1.0, 0.75, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer | Mapping[str, Optimizer],
        plan: Plan,
        *,
        accumulation: int = 1,
        targets: Mapping[str, Callable[[float], None] | None] | None = None,
        later: tuple[str, ...] = (),
        save_history: bool = False,
        on_change: OnChange = "refuse",
        **rates: int,
    ) -> None:
        if not isinstance(plan, Plan):
            raise BindingError(f"TempomatHandler: needs a tempomat.Plan, got {type(plan).__name__}")
        if plan.clock not in (Unit.OPTIMIZER_STEPS, Unit.EPOCHS):
            raise BindingError(
                f"TempomatHandler: an engine counts optimizer_steps and epochs; the plan's clock is {plan.clock}. Take "
                "one of them, tie single schedules by tempomat.on, and advance other counts by "
                "handler.scheduler.advance(...)"
            )
        self._optimizer, self._plan, self._accumulation = optimizer, plan, accumulation
        self._targets, self._later, self._rates = dict(targets or {}), later, rates
        self._history = save_history
        self._on_change: OnChange = on_change
        self._scheduler: Scheduler | None = None
        self._state: dict[str, Any] | None = None

    def attach(self, engine: Engine, evaluator: Engine | None = None) -> None:
        """Follow `engine`, the trainer; show what `evaluator` measures to the plan's controllers, by name.

        Without an evaluator the controllers see the trainer's own metrics after each epoch.
        """
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_STARTED, self)
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self.observe_metrics)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.observe_metrics)

    @property
    def scheduler(self) -> Scheduler:
        """The plan's scheduler, once the engine has started."""
        if self._scheduler is None:
            raise BindingError("TempomatHandler: there is no scheduler before the engine starts")
        return self._scheduler

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry, as applied."""
        return self.scheduler.values

    def start(self, engine: Engine) -> None:
        """Bind the plan to the optimizers and to the engine's length, and go on from a loaded state."""
        going_on = engine.state.iteration > 0
        if self._scheduler is not None and going_on:
            self._state = self._scheduler.state_dict()
        state, self._state = self._state, None
        self._scheduler = None  # the one of the run before writes no more
        self._scheduler = self._build(engine)
        if state is not None:
            self._scheduler.load_state_dict(state, self._on_change)
        elif going_on:
            raise StateError(
                f"TempomatHandler: the engine goes on at iteration {engine.state.iteration} without a state of the "
                "schedule. Put the handler among the objects to save and to load: {'schedule': handler, ...}"
            )
        self._scheduler.start()

    def __call__(self, engine: Engine, name: str | None = None) -> None:
        """Write the values of the iteration that begins."""
        if self._scheduler is None:
            self.start(engine)
        scheduler = self.scheduler
        counts = scheduler.counts
        epochs = engine.state.epoch - 1 - counts.get("epochs", engine.state.epoch - 1)
        if epochs > 0:
            scheduler.advance(epochs=epochs)
        if "optimizer_steps" in counts and any(scheduler._updates):
            if self._plan.clock == Unit.OPTIMIZER_STEPS:
                scheduler.step()
            else:
                scheduler.advance(optimizer_steps=1)
                scheduler._updates[:] = [0] * len(scheduler._updates)
        if self._history:
            history = getattr(engine.state, "param_history", None) or {}
            cast(Any, engine.state).param_history = history
            for entry, value in scheduler.values.items():
                history.setdefault(entry, []).append(value)

    def observe_metrics(self, engine: Engine) -> None:
        """What an engine has measured goes to the controllers that listen to it."""
        heard = {rule.metric for node in self._plan.schedules.values() for rule in node.controllers}
        seen = {metric: engine.state.metrics[metric] for metric in sorted(heard) if metric in engine.state.metrics}
        if seen:
            self.scheduler.observe(**seen)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state: plain data."""
        return self._scheduler.state_dict() if self._scheduler is not None else dict(self._state or {})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state when the engine starts."""
        self._state, self._scheduler = dict(state_dict) or None, None

    def _build(self, engine: Engine) -> Scheduler:
        length, epochs = engine.state.epoch_length, engine.state.max_epochs
        rates = {**self._plan.rates, **self._rates}
        if length is not None:
            rates.setdefault("steps_per_epoch", -(-length // self._accumulation))
        total: int | None = epochs
        if self._plan.clock == Unit.OPTIMIZER_STEPS:
            total = epochs * rates["steps_per_epoch"] if epochs is not None and "steps_per_epoch" in rates else None
        targets = dict(self._targets)
        one = self._optimizer if isinstance(self._optimizer, Mapping) else {"": self._optimizer}
        keys = {key for optimizer in one.values() for group in optimizer.param_groups for key in group}
        for name in self._plan.schedules:
            entry = entry_name(name)
            if name not in targets and entry.key not in keys and entry.group is None and entry.index is None:
                targets[name] = _setter(engine, name)
        return Scheduler(
            self._optimizer,
            self._plan,
            total=total if self._plan.total is None else None,
            targets=targets,
            later=self._later,
            counting="calls",
            **cast(Any, rates),
        )


class ScheduledParam(ParamScheduler):
    """A schedule as an Ignite `ParamScheduler`: for `ConcatScheduler`, `ParamGroupScheduler`, `simulate_values`,
    `plot_values` and whatever else takes Ignite's own.

    Its count is Ignite's `event_index`: how often it was called, once an iteration on `ITERATION_STARTED`.

    Args:
        optimizer: as in Ignite.
        param_name: any key of the param groups, such as `lr` or `weight_decay`.
        schedule: a `tempomat.Schedule` with plain lengths.
        save_history: as in Ignite.
        param_group_index: as in Ignite.

    Raises:
        ScheduleError: it is no schedule, or has lengths that a plan must resolve.

    Example:
        >>> import tempomat as tm
        >>> lr = tm.Linear(init_value=1.0, end_value=0.0, duration=4)
        >>> ScheduledParam.simulate_values(3, param_name="lr", schedule=lr)
        [[0, 1.0], [1, 0.75], [2, 0.5]]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        param_name: str,
        schedule: Schedule,
        save_history: bool = False,
        param_group_index: int | None = None,
    ) -> None:
        super().__init__(optimizer, param_name, save_history, param_group_index)
        if not isinstance(schedule, Schedule) or not schedule.resolved or any(schedule.clocks):
            raise ScheduleError(
                f"ScheduledParam: needs a Schedule whose lengths are plain counts of one clock, got {schedule!r}. For "
                "controllers, shares and units use TempomatHandler with a Plan"
            )
        self.schedule = schedule

    def get_param(self) -> float:
        """The value of this event."""
        return self.schedule(self.event_index)


def _setter(engine: Engine, name: str) -> Callable[[float], None]:
    return lambda value: setattr(engine.state, name, value)
