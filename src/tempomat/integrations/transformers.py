"""A plan in Transformers' Trainer: `attach(trainer, plan)`, and the plan finds the number of steps by itself.

`Trainer(optimizers=(optimizer, Scheduler(optimizer, plan)))` works as well, without any of this; `attach(trainer)` then
adds the log names, the metrics and the gradient clipping.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from tempomat.core import BindingError, MeasurementError, MissingExtra, PlanError, StateError, Unit
from tempomat.core.errors import did_you_mean
from tempomat.plan import HYPERPARAMETERS, OPTIMIZER_KEYS, Plan, entry_name
from tempomat.runtime import OnChange
from tempomat.torch import Scheduler

if TYPE_CHECKING:
    from transformers import Trainer

Plans = Plan | Callable[[int], Plan]
"""A plan, or a function that makes it of the number of optimizer steps."""

_CLIP = ("grad_clip", "max_grad_norm")
_LOGGED = ("loss", "grad_norm")
_COUNTED = (Unit.OPTIMIZER_STEPS, Unit.EPOCHS)


def attach(
    trainer: Trainer,
    plan: Plans | None = None,
    *,
    targets: Mapping[str, Callable[[float], None] | None] | None = None,
    foreign: Literal["error", "adopt"] = "error",
    on_change: OnChange = "refuse",
    observed: Iterable[str] = (),
) -> Attachment:
    """Let a plan drive a Trainer. Call it once, before `trainer.train()`.

    The Trainer's own scheduler is not built: this one is, on the optimizer and for the number of steps that the Trainer
    comes to, so lengths such as `"5%"` and `"2 epochs"` need no arithmetic. Its state is the checkpoint's
    `scheduler.pt`. Everything goes by applied updates, whatever the accumulation; an update that a gradient scaler
    skipped does not count.

    - `lr`, `weight_decay`, `betas[0]`, ... go to the param groups. The two groups that the Trainer makes are named
      `decay` and `no_decay`; a plain `weight_decay` leaves `no_decay` (biases and norms) at 0, as the Trainer does.
    - `grad_clip` or `max_grad_norm` is what the Trainer clips gradients to.
    - Controllers hear every metric of an evaluation under the Trainer's name, `Plateau(metric="eval_loss")`, and the
      logged `loss` and `grad_norm`.
    - Logs have the Trainer's `learning_rate`, and every other entry beside it: `weight_decay`, `betas_0`,
      `learning_rate_encoder`.

    Args:
        trainer: a `transformers.Trainer`, or a subclass's.
        plan: on a clock of optimizer steps; or a function that takes their number. None where the Trainer was built
            with `optimizers=(optimizer, Scheduler(...))`.
        targets: for entries that belong to no param group, as in `Scheduler`.
        foreign: as in `Scheduler`.
        on_change: what a resume does whose plan or number of steps is not the checkpoint's: `refuse`, `keep`, `replace`
            or `stretch`; see `tempomat.runtime.OnChange`.
        observed: metrics that your own code shows to `.scheduler.observe(...)`.

    Raises:
        BindingError: something else already schedules this Trainer; nothing would read an entry of the plan, advance
            its clock or evaluate its metric.
        StateError: the checkpoint has no state of the scheduler, or that of another plan.
        MeasurementError: an evaluation has no metric of the name that the plan listens to.
        MissingExtra: Transformers is not installed.
    """
    if find_spec("transformers") is None:
        raise MissingExtra("attach: needs the package transformers: pip install 'transformers[torch]'")
    from transformers import TrainerCallback

    if any(isinstance(one, Attachment) for one in trainer.callback_handler.callbacks):
        raise BindingError("attach: this Trainer already has a plan. One plan per Trainer: put both into one")
    given = trainer.lr_scheduler
    if plan is None and not isinstance(given, Scheduler):
        raise BindingError("attach: needs a plan, or a Trainer(optimizers=(optimizer, Scheduler(optimizer, plan)))")
    if plan is not None and given is not None:
        raise BindingError(
            f"attach: this Trainer was given a {type(given).__name__}, which writes the learning rate too. "
            "Build the Trainer with optimizers=(optimizer, None)"
        )
    kind: Any = type("Attachment", (Attachment, TrainerCallback), {})  # the host's class answers the other events
    options = {"targets": dict(targets or {}), "foreign": foreign}
    attachment = kind(trainer, plan, options, on_change, observed)
    attachment.take_over()
    trainer.add_callback(attachment)
    return attachment


class Attachment:
    """A plan's place in a Trainer; `attach` makes it. `.scheduler` is there while and after training."""

    def __init__(
        self,
        trainer: Trainer,
        plan: Plans | None,
        options: dict[str, Any],
        on_change: OnChange,
        observed: Iterable[str],
    ) -> None:
        self._trainer: Any = trainer
        self._plan, self._options = plan, options
        self._on_change: OnChange = on_change
        self._observed = {*observed, *_LOGGED}
        self._made_by_trainer = trainer.optimizer is None
        self._hidden: set[str] = set()
        self._applied: dict[str, float] = {}
        self._offered: set[str] = set()
        self._training = False
        self._log: Any = trainer.log

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler at work.

        Raises:
            BindingError: training has not begun, or something else took its place.
        """
        found = self._trainer.lr_scheduler
        if not isinstance(found, Scheduler):
            what = "trainer.train() has not begun" if found is None else f"a {type(found).__name__} took its place"
            raise BindingError(f"attach: there is no scheduler: {what}")
        return found

    def take_over(self) -> None:
        """Put this in the place of the Trainer's own methods, on the instance."""
        self._trainer.log = self._with_values
        if self._plan is not None:
            self._trainer.create_scheduler = self._create

    def _create(self, num_training_steps: int, optimizer: Any = None) -> Any:
        trainer = self._trainer
        if trainer.lr_scheduler is None:
            trainer.callback_handler.lr_scheduler = None  # of the training before; it would be a second writer
            optimizer = trainer.optimizer if optimizer is None else optimizer
            if self._made_by_trainer:
                _name_groups(trainer, optimizer)
            trainer.lr_scheduler = self._build(optimizer, num_training_steps)
            trainer._created_lr_scheduler = True  # so that another train() begins anew
        return trainer.lr_scheduler

    def _build(self, optimizer: Any, steps: int) -> Scheduler:
        plan = self._plan(steps) if callable(self._plan) else self._plan
        if not isinstance(plan, Plan):
            raise BindingError(f"attach: needs a tempomat.Plan, got {type(plan).__name__}")
        targets = self._options["targets"]
        targets = {**{name: None for name in _CLIP if name in plan.schedules}, **targets}
        _refuse_unread(plan, optimizer, targets)
        fitted = self._fitted(plan, steps)
        exempt = "no_decay.weight_decay"
        if "weight_decay" in fitted.schedules and exempt not in fitted.schedules and _has_group(optimizer, "no_decay"):
            everything = {**fitted.schedules, exempt: 0.0}
            fitted = Plan(everything, total=fitted.total, clock=fitted.clock, rates=fitted.rates)
            self._hidden = {exempt}
        one = _Resuming(optimizer, fitted, **{**self._options, "targets": targets})
        one.choice = self._on_change
        return one

    def _fitted(self, plan: Plan, steps: int) -> Plan:
        """The plan as counts of optimizer steps, for a training of this many."""
        total = steps if plan.total is None else None
        try:
            fitted = plan.resolve(total=total)
        except PlanError:
            rates = {name: rate for name, rate in self._rates().items() if name not in plan.rates}
            fitted = plan.resolve(total=total, **rates)
        if fitted.total != steps:
            warnings.warn(
                f"the plan is {fitted.total} optimizer steps long, and this training {steps}. "
                "Leave out the plan's total, and it is the training's",
                UserWarning,
                stacklevel=2,
            )
        return fitted

    def _rates(self) -> dict[str, int]:
        """What the Trainer knows of the units of its run, by the names of `tempomat.RATES`."""
        trainer = self._trainer
        known = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
        return {"steps_per_epoch": known[1], "batch_size": known[4]}

    # what the Trainer calls

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Refuse what would go wrong in silence later."""
        plan, counts = self.scheduler.plan, self.scheduler.counts
        others = [unit for unit in counts if unit not in _COUNTED]
        if plan.clock != Unit.OPTIMIZER_STEPS or others:
            raise BindingError(
                f"the Trainer counts {', '.join(_COUNTED)} and steps its scheduler once an update; the plan follows "
                f"{', '.join(others or [plan.clock])}. Write lengths in other units instead: they convert"
            )
        awaited = sorted(self._metrics() - self._observed)
        if awaited and args.eval_strategy == "no":
            raise BindingError(
                f"the plan listens to {', '.join(awaited)}, and this Trainer never evaluates. Set "
                "TrainingArguments(eval_strategy=...), or say observed=... if your own code shows it"
            )
        if state.global_step and not counts[Unit.OPTIMIZER_STEPS]:
            raise StateError(
                f"training goes on from step {state.global_step}, and the checkpoint has no state of the scheduler "
                "(scheduler.pt). Resume from one that is whole"
            )
        self._training = True

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Gradients are clipped before the update, and so before a scheduler could write."""
        self._check_offered()
        values = self.scheduler.values
        for name in _CLIP:
            if name in values:
                args.max_grad_norm = values[name]

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep what this update was made with: the Trainer logs it after the next values are written."""
        self._applied = self.scheduler.values

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Epochs by the Trainer's count, which is right after a resume too: its `on_epoch_end` comes after the save."""
        scheduler, epochs = self.scheduler, int(state.epoch)
        if epochs > scheduler.counts.get(Unit.EPOCHS, epochs):
            scheduler.advance(epochs=epochs - scheduler.counts[Unit.EPOCHS])

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Show the controllers what they listen to; an evaluation before or after training is for nobody."""
        if self._training and state.global_step:
            self._offered |= set(metrics)
            self._observe(metrics)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What an evaluation at the very end has not offered is told now."""
        self._training = False
        self._check_offered()

    # inside

    def _metrics(self) -> set[str]:
        return {rule.metric for node in self.scheduler.plan.schedules.values() for rule in node.controllers}

    def _observe(self, measured: Mapping[str, Any]) -> None:
        heard = {name: measured[name] for name in self._metrics() if name in measured}
        if heard:
            self.scheduler.observe(**heard)

    def _check_offered(self) -> None:
        missing = sorted(self._metrics() - self._offered - self._observed) if self._offered else []
        if missing:
            offered = sorted(self._offered)
            near = "eval_loss" if missing[0] == "val_loss" and "eval_loss" in offered else None
            hint = f" Did you mean {near}?" if near else did_you_mean(missing[0], offered)
            raise MeasurementError(
                f"the plan listens to {', '.join(missing)}, which the evaluation does not give.{hint} "
                f"It gives {', '.join(offered)}"
            )

    def _with_values(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if "learning_rate" in logs:  # a log of training, not of an evaluation
            for entry, value in self._applied.items():
                if entry not in self._hidden:
                    logs.setdefault(log_name(entry), value)
            self._observe({name: logs[name] for name in _LOGGED if name in logs})
        return self._log(logs, *args, **kwargs)


class _Resuming(Scheduler):
    """The Trainer loads a state without a word about a plan that has changed; the word is given beforehand."""

    choice: OnChange = "refuse"

    def load_state_dict(self, state_dict: dict[str, Any], on_change: OnChange | None = None) -> None:
        super().load_state_dict(state_dict, on_change or self.choice)


def log_name(entry: str) -> str:
    """The name of a plan's entry in the Trainer's logs, to which reporters add their `train/`.

    >>> log_name("lr"), log_name("encoder.lr"), log_name("betas[0]")
    ('learning_rate', 'learning_rate_encoder', 'betas_0')
    """
    name = entry_name(entry)
    key = "learning_rate" if name.key == "lr" else name.key
    return "_".join(str(part) for part in (key, name.index, name.group) if part is not None)


def _name_groups(trainer: Any, optimizer: Any) -> None:
    """Give the groups that the Trainer made their names, so that a plan can tell them apart."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    for group in optimizer.param_groups:
        kinds = {names.get(id(parameter)) in decayed for parameter in group["params"]}
        if len(kinds) == 1:
            group.setdefault("name", "decay" if kinds.pop() else "no_decay")


def _has_group(optimizer: Any, name: str) -> bool:
    return any(group.get("name") == name for group in optimizer.param_groups)


def _refuse_unread(plan: Plan, optimizer: Any, targets: Mapping[str, Any]) -> None:
    """A value that a loop of one's own would read by itself is read by nobody here."""
    keys = {key for group in optimizer.param_groups for key in group}
    for name in plan.schedules:
        key = entry_name(name).key
        if name not in targets and key in HYPERPARAMETERS and key not in OPTIMIZER_KEYS and key not in keys:
            raise BindingError(
                f"{name}: the Trainer does not read it. Say what does: attach(..., targets={{{name!r}: function}})"
            )
