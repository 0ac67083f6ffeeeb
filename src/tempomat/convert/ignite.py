"""Ignite's parameter schedulers, for optimizers and for the engine's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tempomat.convert.arguments import Arguments
from tempomat.convert.pieces import drops, points
from tempomat.core import (
    Advance,
    Constant,
    ConversionError,
    Cosine,
    Exponential,
    Linear,
    Plateau,
    ScheduleError,
    StepDecay,
    WarmRestarts,
)
from tempomat.core.clock import Duration
from tempomat.core.steps import PiecewiseLinear

_HOME = "ignite.handlers."


def from_ignite(scheduler: Any, *, total: int | str | Duration | None = None) -> Any:
    """The schedule of a fresh Ignite scheduler. A count is one event that it is attached to, an iteration by default.

    Read are the objects' public attributes; a `LRScheduler` is read as the PyTorch scheduler in it, a
    `ReduceLROnPlateauScheduler` becomes a controller. Schedulers of the engine's state add one to the event before they
    look, so their first value is the formula's at 1, here too.

    Args:
        scheduler: `LinearCyclicalScheduler`, `CosineAnnealingScheduler`, `PiecewiseLinear`, `LRScheduler`,
            `ConcatScheduler` of these (also what `create_lr_scheduler_with_warmup` gives, for one param group),
            `ReduceLROnPlateauScheduler`, or an `ExpStateScheduler` and its kind.
        total: the run's length, for the PyTorch schedulers that need one.

    Raises:
        ConversionError: every fault at once: a class or function of the user's own, cycles that change in a way no
            schedule here does, several param groups, a scheduler that has already run.

    Source:
        Ignite 0.5.5, `ignite/handlers/param_scheduler.py` and `state_param_scheduler.py`.
    """
    whole = Arguments("ignite", {})
    found = _read(whole, "", scheduler, total)
    whole.done()
    return found


def _read(whole: Arguments, path: str, scheduler: Any, total: Any) -> Any:
    kind = type(scheduler)
    reader = _READERS.get(kind.__name__) if kind.__module__.startswith(_HOME) else None
    if reader is None:
        why = "is a function or class of your own, which cannot be read. Write it as a schedule"
        whole.fault(path, f"{kind.__module__}.{kind.__name__} {why}. There are {', '.join(_READERS)}")
        return Constant(value=0.0)
    if getattr(scheduler, "event_index", 0):
        whole.fault(path, f"has already run {scheduler.event_index} events, and may have changed. Convert a fresh one")
    try:
        return reader(_Ignite(whole, path, scheduler, total))
    except (ConversionError, ScheduleError) as error:
        whole.faults += [fault.under(path) for fault in error.faults]
        return Constant(value=0.0)


class _Ignite:
    """One scheduler, and where it stands."""

    def __init__(self, whole: Arguments, path: str, scheduler: Any, total: Any) -> None:
        self.whole, self.path, self.one, self.total = whole, path, scheduler, total

    def fault(self, name: str, message: str) -> Any:
        self.whole.fault(f"{self.path}.{name}".lstrip("."), message)
        return Constant(value=0.0)

    def steady(self, *names: str) -> bool:
        """Whether every cycle is like the first, as far as these multipliers say."""
        changed = [name for name in names if getattr(self.one, name) != 1.0]
        for name in changed:
            self.fault(
                name, f"{getattr(self.one, name):g} changes each cycle in a way that no schedule here does. Set it to 1"
            )
        return not changed


def _cosine(i: _Ignite) -> Any:
    one = i.one
    if one.warmup_duration == 0:
        longer = float(one.cycle_mult)
        if not longer.is_integer():
            i.fault("cycle_mult", f"must be a whole number: Ignite cuts each cycle to whole counts, got {longer:g}")
        i.steady("end_value_mult")
        return WarmRestarts(init_value=one.start_value, end_value=one.end_value, cycle=one.cycle_size,
                            cycle_factor=longer, peak_factor=one.start_value_mult)  # fmt: skip
    return _with_warmup(i, Cosine(init_value=one.start_value, end_value=one.end_value, duration=one.cycle_size))


def _linear(i: _Ignite) -> Any:
    one, size = i.one, i.one.cycle_size
    if one.monotonic:
        return _with_warmup(i, Linear(init_value=one.start_value, end_value=one.end_value, duration=size))
    ends = (one.start_value, one.end_value, one.start_value)
    if size % 2:
        # the top of an odd cycle lies between two counts
        wave: Any = PiecewiseLinear(values=ends, boundaries=(0, 1, 2)).stretch(size / 2)
    else:
        wave = PiecewiseLinear(values=ends, boundaries=(0, size // 2, size))
    return _with_warmup(i, wave)


def _with_warmup(i: _Ignite, wave: Any) -> Any:
    """A cycle and the line back to its beginning, again and again."""
    one = i.one
    i.steady("cycle_mult", "start_value_mult", "end_value_mult")
    if one.warmup_duration:
        back = Linear(init_value=one.end_value, end_value=one.start_value, duration=one.warmup_duration)
        wave = wave.then(back, at=one.cycle_size)
    return wave.repeat(one.cycle_size + one.warmup_duration)


def _points(i: _Ignite) -> Any:
    return points(i.one.milestones, i.one.values)


def _concat(i: _Ignite) -> Any:
    found: Any = None
    reached = 0
    for place, part in enumerate(i.one.schedulers):
        piece = _read(i.whole, f"{i.path}.schedulers[{place}]".lstrip("."), part, i.total)
        found = piece if found is None else found.then(piece, at=reached)
        reached += i.one.durations[place] if place < len(i.one.durations) else 0
    return found


def _groups(i: _Ignite) -> Any:
    if len(i.one.schedulers) != 1:
        return i.fault("schedulers", f"are for {len(i.one.schedulers)} param groups. Convert each alone, and name its "
                       "entry <group>.<key>")  # fmt: skip
    return _read(i.whole, f"{i.path}.schedulers[0]".lstrip("."), i.one.schedulers[0], i.total)


def _torch(i: _Ignite) -> Any:
    from tempomat.convert.torch import from_torch, from_torch_state

    inner = getattr(i.one.lr_scheduler, "_lr_scheduler", i.one.lr_scheduler)
    ahead = inner.last_epoch
    if ahead:
        # Ignite's warmup stands for the first value, and sets the counter of what follows it, but not its lr
        state = {**inner.state_dict(), "last_epoch": 0, "_last_lr": inner.base_lrs}
        plan = from_torch_state(type(inner).__name__, state, total=i.total)
    else:
        plan = from_torch(inner, total=i.total)
    if list(plan.schedules) != ["lr"]:
        return i.fault(
            "lr_scheduler", f"moves {', '.join(plan.schedules)}. Convert it by from_torch, which gives a plan"
        )
    return Advance(schedule=plan["lr"], by=ahead) if ahead else plan["lr"]


def _plateau(i: _Ignite) -> Any:
    rule = i.one.scheduler
    firsts = {float(group["lr"]) for group in i.one.optimizer_param_groups}
    floors = set(rule.min_lrs)
    if len(firsts) > 1 or len(floors) > 1:
        return i.fault("scheduler", "moves param groups of different lr. Convert each alone by its param_group_index")
    return Plateau(
        metric=i.one.metric_name, factor=rule.factor, patience=rule.patience, threshold=rule.threshold,
        threshold_mode=rule.threshold_mode, mode=rule.mode, cooldown=rule.cooldown, min_value=floors.pop(),
        eps=rule.eps, init_value=firsts.pop(),
    )  # fmt: skip


def _from_one(build: Callable[[Any], Any]) -> Callable[[_Ignite], Any]:
    """A scheduler of the engine's state: its first event is number 1."""
    return lambda i: Advance(schedule=build(i.one), by=1)


_READERS: dict[str, Callable[[_Ignite], Any]] = {
    "CosineAnnealingScheduler": _cosine,
    "LinearCyclicalScheduler": _linear,
    "PiecewiseLinear": _points,
    "ConcatScheduler": _concat,
    "ParamGroupScheduler": _groups,
    "LRScheduler": _torch,
    "ReduceLROnPlateauScheduler": _plateau,
    "PiecewiseLinearStateScheduler": _from_one(lambda one: points(one.milestones, one.values)),
    "ExpStateScheduler": _from_one(lambda one: Exponential(init_value=one.initial_value, decay_rate=one.gamma)),
    "StepStateScheduler": _from_one(
        lambda one: StepDecay(init_value=one.initial_value, factor=one.gamma, every=one.step_size)
    ),
    "MultiStepStateScheduler": _from_one(lambda one: drops(one.initial_value, one.gamma, one.milestones)),
}
