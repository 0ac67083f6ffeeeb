"""From our schedules to the objects that other libraries drive by themselves.

A measurement never reaches a schedule over there, so a tree with a controller is refused; once a run's decisions are
known it is a schedule again, `tree.given(levels)`, and can be exported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from tempomat.convert.exporting import Total, one_schedule, pure_on
from tempomat.convert.tables import to_csv, to_rllib
from tempomat.core import ConversionError, Fault, Schedule, Unit
from tempomat.core.errors import list_faults
from tempomat.core.fields import CountKind
from tempomat.core.numbers import as_count
from tempomat.plan import Plan, entry_name

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR, LRScheduler

__all__ = ["to_csv", "to_keras", "to_optax", "to_rllib", "to_sb3", "to_torch", "to_transformers"]


def to_torch(
    subject: Schedule | Plan, optimizer: Optimizer, *, total: Total = None, last_epoch: int = -1, **rates: int
) -> LambdaLR:
    """A `torch.optim.lr_scheduler.LambdaLR` whose learning rates are the schedule's values, for hosts that want one.

    A `LambdaLR` multiplies each group's `initial_lr`; the values here are absolute, so each factor is the value over
    that `initial_lr`, and the learning rate is the value to within one rounding. One schedule is for every group; a
    plan may have `lr` and `<group>.lr`, and a group that no entry names keeps its learning rate. State goes through
    `torch.save` and `weights_only` loading, before or after the optimizer's; a state of another schedule is refused.

    Args:
        subject: a schedule, or a plan with nothing but learning rates.
        optimizer: whose groups are driven.
        total: the run's length, where durations need it.
        last_epoch: as PyTorch's: -1 for a new run.
        rates: what converts units, such as `steps_per_epoch=100`.

    Raises:
        ConversionError: the tree has controllers or another clock, the plan has more than learning rates, or a
            group starts at 0, of which no factor makes another value.
        BindingError: an entry fits no group.

    Example:
        >>> import torch
        >>> from tempomat import Cosine
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=1.0)
        >>> scheduler = to_torch(Cosine(init_value=0.1, end_value=0.0, duration=100), optimizer)
        >>> scheduler.get_last_lr()
        [0.1]
    """
    from tempomat.convert.lambdas import ExportedLR

    factors = _factors(_learning_rates(subject, "to_torch", total, rates), optimizer)
    return ExportedLR(optimizer, factors, last_epoch=last_epoch)


def _learning_rates(subject: Schedule | Plan, host: str, total: Total, rates: dict[str, int]) -> dict[str, Schedule]:
    """The learning rates of a subject by entry."""
    if not isinstance(subject, Plan):
        return {"lr": one_schedule(subject, host, total, rates)}
    faults = [
        Fault(
            f"schedules.{name}", "is no learning rate, and a LambdaLR moves nothing else. Use tempomat.torch.Scheduler"
        )
        for name in subject.schedules
        if (entry_name(name).key, entry_name(name).index) != ("lr", None)
    ]
    if faults:
        raise ConversionError(list_faults(host, faults), faults)
    nodes = subject.resolve(total=total, **rates).schedules
    return {name: pure_on(node, f"{host}: schedules.{name}", str(subject.clock)) for name, node in nodes.items()}


def _factors(schedules: dict[str, Schedule], optimizer: Optimizer) -> list[Callable[[int], float]]:
    from tempomat.convert.lambdas import Factor, unchanged
    from tempomat.torch.targets import bind

    groups: list[dict[str, Any]] = optimizer.param_groups
    factors: list[Callable[[int], float]] = [unchanged for _ in groups]
    faults: list[Fault] = []
    for name, target in bind({"": optimizer}, schedules, (), ()).items():
        for place, group in enumerate(groups):
            if not any(group is one for one in target.groups):
                continue
            first = float(group.get("initial_lr", group["lr"]))
            if first == 0.0:
                faults.append(
                    Fault(
                        f"param_groups[{place}]",
                        "starts at 0, and a LambdaLR can only multiply. Build the optimizer with any other lr",
                    )
                )
            else:
                factors[place] = Factor(schedules[name], first)
    if faults:
        raise ConversionError(list_faults("to_torch", faults), faults)
    return factors


def to_transformers(
    subject: Schedule | Plan, optimizer: Optimizer, *, num_training_steps: int | None = None, **rates: int
) -> tuple[Optimizer, LRScheduler]:
    """The pair for `transformers.Trainer(..., optimizers=to_transformers(plan, optimizer, ...))`.

    The scheduler is a `tempomat.torch.Scheduler`: it moves every param-group key that the plan names, the Trainer logs
    its first group as `learning_rate`, saves its state and loads it.

    Args:
        subject: a plan, or a schedule for `lr`.
        optimizer: what the Trainer will use.
        num_training_steps: the optimizer steps of the whole run, where the plan's lengths are shares of it; it comes
            before the plan's own total.
        rates: what converts units, such as `steps_per_epoch=100`.

    Raises:
        ConversionError: an entry has a controller or another clock, which the Trainer would never feed; all of them.
        BindingError: an entry fits no param group.
        PlanError: a conversion or the total is missing.
    """
    from tempomat.torch import Scheduler

    plan = subject if isinstance(subject, Plan) else Plan({"lr": subject}, total=num_training_steps, rates=rates)
    faults: list[Fault] = []
    for name, node in plan.schedules.items():
        try:
            pure_on(node, "", str(plan.clock))
        except ConversionError as error:
            faults.append(Fault(f"schedules.{name}", str(error).removeprefix(": ")))
    if plan.clock != Unit.OPTIMIZER_STEPS:
        faults.append(
            Fault("clock", f"is {plan.clock}, and the Trainer counts optimizer_steps. Write the plan in them")
        )
    if faults:
        raise ConversionError(list_faults("to_transformers", faults), faults)
    given: dict[str, Any] = dict(rates)
    return optimizer, Scheduler(optimizer, plan, total=num_training_steps, **given)


def to_optax(subject: Schedule | Plan, *, total: Total = None, **rates: int) -> Callable[[Any], Any]:
    """An optax schedule: a plain function of the count, to be traced by `jax.jit`.

    Args:
        subject: a schedule, or a plan of one.
        total: the run's length, where durations need it.
        rates: what converts units, such as `steps_per_epoch=100`.

    Returns:
        A function for `learning_rate=` and whatever else in optax takes a schedule. Values are float32, or float64
        where JAX has 64-bit numbers. (A resolved `Schedule` may be given to optax as it is; this checks it first.)

    Raises:
        ConversionError: the tree has controllers or another clock.

    Example:
        >>> from tempomat import Linear
        >>> lr = to_optax(Linear(init_value=1.0, end_value=0.0, duration="50%"), total=100)
        >>> lr(25)
        0.5
    """
    known = one_schedule(subject, "to_optax", total, rates)

    def schedule(count: Any) -> Any:
        return known(count)

    return schedule


def to_keras(subject: Schedule | Plan, *, name: str | None = None, total: Total = None, **rates: int) -> Any:
    """A `keras.optimizers.schedules.LearningRateSchedule`, for `learning_rate=` of a Keras 3 optimizer.

    Its config is plain data, so a model that was compiled with it is saved and loaded; to load one, import
    `tempomat.integrations.keras` first, which registers the class.

    Args:
        subject: a schedule, or a plan of one.
        name: what Keras shows.
        total: the run's length, where durations need it.
        rates: what converts units, such as `steps_per_epoch=100`.

    Raises:
        ConversionError: the tree has controllers or another clock, or is of a shape of your own, which a file
            cannot name.
        MissingExtra: Keras, or what its backend needs, is not installed.
    """
    known = one_schedule(subject, "to_keras", total, rates)
    from tempomat.convert.keras_schedule import PlannedSchedule

    return PlannedSchedule(known, name=name)


@final
class ByProgress:
    """A schedule as Stable-Baselines3 asks for one: by the share of the run that is left, from 1 to 0.

    It is pickled with the model, by its module's name.
    """

    def __init__(self, schedule: Schedule, total_timesteps: int) -> None:
        self.schedule, self.total_timesteps = schedule, total_timesteps

    def __call__(self, progress_remaining: float) -> float:
        # one minus a share of whole counts: rounding gives back the very count
        count = round((1.0 - progress_remaining) * self.total_timesteps)
        return float(self.schedule(min(max(count, 0), self.total_timesteps)))

    def __repr__(self) -> str:
        return f"ByProgress({self.schedule!r}, {self.total_timesteps})"


def to_sb3(subject: Schedule | Plan, total_timesteps: int, **rates: int) -> ByProgress:
    """A schedule for `learning_rate=`, `clip_range=` or `clip_range_vf=` of a Stable-Baselines3 algorithm.

    The counts are environment steps. Stable-Baselines3 asks by the share of the run that is left, and stretches that
    share when a run goes on with `reset_num_timesteps=False`: what it then calls its total should still be the one
    given here.

    Args:
        subject: a schedule, or a plan of one on a clock of `env_steps`.
        total_timesteps: as `learn(total_timesteps=...)` is given.
        rates: what converts units, such as `action_repeat=2`.

    Raises:
        ConversionError: the tree has controllers or another clock.

    Example:
        >>> from tempomat import Linear
        >>> lr = to_sb3(Linear(init_value=1.0, end_value=0.0, duration="100%"), 1_000)
        >>> lr(1.0), lr(0.25), lr(0.0)
        (1.0, 0.25, 0.0)
    """
    try:
        total: Any = CountKind(1).read(total_timesteps)
        total = as_count(total)
    except ValueError as error:
        raise ConversionError(f"to_sb3: total_timesteps {error}") from None
    known = one_schedule(subject, "to_sb3", total, rates, Unit.ENV_STEPS)
    return ByProgress(known, total)
