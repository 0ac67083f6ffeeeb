"""PyTorch's schedulers as plans: live, saved, or described by a class's name and arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from tempomat.convert.faults import Faults
from tempomat.convert.torch_building import build, optimizer_of
from tempomat.convert.torch_parts import CLASSES, Part, Reader, no_class
from tempomat.convert.torch_reading import read_live, read_state
from tempomat.core import Duration, Node, Plateau, ScheduleError, Unit
from tempomat.core.errors import shown
from tempomat.plan import Plan, entry_name

if TYPE_CHECKING:
    from tempomat.torch import Scheduler

AfterEnd = Literal["hold", "torch"]
"""What a `CosineAnnealingLR` does after its `T_max`: stay at its end, or climb again as PyTorch's does."""

_DRIFT, _DRIFT_OF_TENSORS = 1e-6, 1e-2
"""How far PyTorch's own value may be from its formula: it multiplies step after step, in float32 for tensors."""


def from_torch(
    scheduler: Any,
    *,
    total: int | str | Duration | None = None,
    after_end: AfterEnd = "hold",
    clock: Unit | str = Unit.OPTIMIZER_STEPS,
    metric: str = "val_loss",
) -> Plan:
    """The plan of a live PyTorch scheduler: every class of `torch.optim.lr_scheduler`, and `SWALR`.

    A count of the plan is one call of `scheduler.step()`, and the plan tells the whole run, wherever the scheduler is
    in it: the base is `initial_lr`. Values are the scheduler's own at every count, which is checked at the present
    one, except past the ends where PyTorch goes astray: a `CosineAnnealingLR` climbs again after `T_max` (ours stays,
    unless `after_end="torch"`), and a `OneCycleLR` jumps one step after its last (ours stays).

    Param groups of equal schedules give one entry, `lr`; others give `<name>.lr` by the groups' names. The momentum or
    first beta that `OneCycleLR` and `CyclicLR` move becomes `momentum` or `betas[0]`. A `ReduceLROnPlateau` becomes a
    `Plateau` from the present learning rate, with NaN counted as a bad measurement, as PyTorch does.

    A `SequentialLR` inside another, as its first part, passes its milestones one count early in PyTorch; a
    `ChainedScheduler` there applies an `ExponentialLR`'s factor before the first step. Both are kept. In a
    `ChainedScheduler` of several, each must be a plain factor: what sets the learning rate from its base (`LambdaLR`,
    `CyclicLR`, ...) would erase the others, and a `CosineAnnealingLR` needs `eta_min=0`.

    Args:
        scheduler: the live object. A `tempomat.torch.Scheduler` gives its own plan.
        total: the plan's total; None for the `total_steps` of a `OneCycleLR`, which alone knows one.
        after_end: what a `CosineAnnealingLR` does after its `T_max`.
        clock: what one `scheduler.step()` is; `epochs` where it is called once an epoch.
        metric: what the measurement of a `ReduceLROnPlateau` is called.

    Raises:
        ConversionError: a part cannot be read (a function, a class of your own), or PyTorch's present value is not
            what its parameters say; all faults at once, each with its path.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
        >>> warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=10)
        >>> cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
        >>> plan = from_torch(torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[10]))
        >>> plan["lr"](0), plan["lr"](10), plan["lr"](100)
        (0.01, 0.1, 0.0)
    """
    from tempomat.torch import Scheduler

    if isinstance(scheduler, Scheduler):
        return scheduler.plan
    faults = Faults("from_torch")
    part = read_live(scheduler, faults)
    faults.check()
    groups = cast("list[dict[str, Any]]", scheduler.optimizer.param_groups)
    return _plan(part, groups, faults, total=total, after_end=after_end, clock=clock, metric=metric)


def from_torch_state(
    name: str | None,
    state: Mapping[str, Any],
    *,
    param_groups: Sequence[Mapping[str, Any]] | None = None,
    total: int | str | Duration | None = None,
    after_end: AfterEnd = "hold",
    clock: Unit | str = Unit.OPTIMIZER_STEPS,
    metric: str = "val_loss",
) -> Plan:
    """The plan of a saved `scheduler.state_dict()`, without PyTorch; see `from_torch`.

    Args:
        name: the scheduler's class, such as `StepLR`; None to know it by what the state holds, as the parts of a
            `SequentialLR` and `ChainedScheduler` are, whose classes PyTorch does not save.
        state: what `state_dict()` gave, loaded with `torch.load(..., weights_only=True)`.
        param_groups: `optimizer.state_dict()["param_groups"]` of the same moment: for the groups' names, and for
            `OneCycleLR` and `SWALR`, which keep values there.
        total: the plan's total.
        after_end: what a `CosineAnnealingLR` does after its `T_max`.
        clock: what one `scheduler.step()` was.
        metric: what the measurement of a `ReduceLROnPlateau` is called.

    Raises:
        ConversionError: a part cannot be read; all faults at once, each with its path.

    Example:
        >>> state = {"step_size": 30, "gamma": 0.1, "base_lrs": [0.5], "last_epoch": 40, "_last_lr": [0.05]}
        >>> from_torch_state("StepLR", state)["lr"]
        StepDecay(init_value=0.5, factor=0.1, every=30)
    """
    faults = Faults(f"from_torch_state: {name}" if name else "from_torch_state")
    part = read_state(name, state, faults)
    faults.check()
    leaf = next((one for one in part.walk() if not one.parts), part)
    count = len(leaf.state.get("base_lrs", leaf.state.get("_last_lr", ())))
    groups: list[Mapping[str, Any]] = [{}] * count if param_groups is None else list(param_groups)
    if len(groups) != count or not count:
        faults.add("param_groups", f"must be as many as the state's learning rates ({count}), got {len(groups)}")
        faults.check()
    return _plan(part, groups, faults, total=total, after_end=after_end, clock=clock, metric=metric)


def from_torch_args(
    name: str,
    *,
    lr: float | Mapping[str, float] | None = None,
    optimizer: str = "SGD",
    total: int | str | Duration | None = None,
    after_end: AfterEnd = "hold",
    clock: Unit | str = Unit.OPTIMIZER_STEPS,
    metric: str = "val_loss",
    **arguments: Any,
) -> Plan:
    """The plan of a PyTorch scheduler named by its class and arguments, which is built once for it; see `from_torch`.

    Args:
        name: the class, such as `CosineAnnealingLR`.
        lr: the optimizer's learning rate, or one by param group; `OneCycleLR` and `CyclicLR` bring their own.
        optimizer: a class of `torch.optim`; with one that has betas, momentum is written to `betas[0]`.
        total: the plan's total.
        after_end: what a `CosineAnnealingLR` does after its `T_max`.
        clock: what one `scheduler.step()` is.
        metric: what the measurement of a `ReduceLROnPlateau` is called.
        arguments: the class's own. For `SequentialLR` and `ChainedScheduler`, `schedulers` is a list of mappings, each
            with a `name` and that class's arguments.

    Raises:
        ConversionError: there is no such class, PyTorch refuses the arguments, or a part cannot be read.

    Example:
        >>> from_torch_args("CosineAnnealingLR", lr=0.1, T_max=100)["lr"]
        Cosine(init_value=0.1, end_value=0.0, duration=100, power=1.0, k_decay=1.0)
    """
    faults = Faults(f"from_torch_args: {name}")
    if name not in CLASSES:
        faults.add("", no_class(name))
    if lr is None and name not in ("OneCycleLR", "CyclicLR"):
        faults.add("lr", "is missing: a scheduler of PyTorch starts from its optimizer's learning rate")
    faults.check()
    built = build(name, arguments, optimizer_of(optimizer, lr, faults), "", faults)
    faults.check()
    return from_torch(built, total=total, after_end=after_end, clock=clock, metric=metric)


def take_over(
    scheduler: Any,
    *,
    total: int | str | Duration | None = None,
    after_end: AfterEnd = "torch",
    clock: Unit | str = Unit.OPTIMIZER_STEPS,
    metric: str = "val_loss",
    **options: Any,
) -> Scheduler:
    """A `tempomat.torch.Scheduler` that goes on where a PyTorch scheduler is, with the values that it would have had.

    Same optimizer, same count, and for a `ReduceLROnPlateau` the same best, bad measurements and cooldown. Call it
    between two steps, after `scheduler.step()`, and step the old one no more: there is one writer per key.

    Args:
        scheduler: the live object.
        total: the plan's total.
        after_end: what a `CosineAnnealingLR` does after its `T_max`; here PyTorch's way, so that nothing changes.
        clock: what one `scheduler.step()` is; `epochs` where it is called once an epoch.
        metric: what the measurement of a `ReduceLROnPlateau` is called.
        options: what else `tempomat.torch.Scheduler` takes: `targets=`, `counting=`, rates.

    Raises:
        ConversionError: a part cannot be read; see `from_torch`.
        BindingError: another `Scheduler` already writes the same key.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.8)
        >>> old = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     old.step()
        >>> new = take_over(old)
        >>> new.counts, new.values
        ({'optimizer_steps': 2}, {'lr': 0.4})
    """
    from tempomat.runtime.state import checksum
    from tempomat.torch import Scheduler

    plan = from_torch(scheduler, total=total, after_end=after_end, clock=clock, metric=metric)
    if isinstance(scheduler, Scheduler):
        return scheduler
    taken = Scheduler(scheduler.optimizer, plan, **options)
    state = {key: value for key, value in taken.state_dict().items() if key != "checksum"}
    part = read_live(scheduler, Faults("take_over"))
    state["counts"] = {**state["counts"], str(taken.plan.clock): part.count}
    if part.kind == "ReduceLROnPlateau":
        bad, cooldown = scheduler.num_bad_epochs, scheduler.cooldown_counter
        known = {"best": _finite(scheduler.best), "bad": bad, "cooldown": cooldown}
        state["controllers"] = {
            name: [{**one, **known} for one in states] for name, states in state["controllers"].items()
        }
    taken.load_state_dict({**state, "checksum": checksum(state)})
    return taken


def _finite(best: float) -> float | None:
    """The best so far; PyTorch begins with an infinite one."""
    return float(best) if math.isfinite(best) else None


# from each group's schedule to a plan


def _plan(
    part: Part,
    groups: Sequence[Mapping[str, Any]],
    faults: Faults,
    *,
    after_end: str,
    metric: str,
    total: int | str | Duration | None,
    clock: Unit | str,
) -> Plan:
    if after_end not in ("hold", "torch"):
        faults.add("after_end", f"must be hold or torch, got {shown(after_end)}")
        faults.check()
    entries: dict[str, list[Node | None]] = {"lr": []}
    for place, group in enumerate(groups):
        if part.kind == "ReduceLROnPlateau":
            entries["lr"].append(_plateau(part, place, group, metric, faults))
            continue
        reader = Reader(place, group, after_end == "torch", faults)
        before = len(faults.found)
        schedule = reader.value(part)
        entries["lr"].append(schedule)
        if len(faults.found) == before:
            _compare(part, reader, schedule)
        momentum = reader.momentum(part) if len(faults.found) == before else None
        if momentum is not None:
            key = "betas[0]" if _uses_betas(part) else "momentum"
            entries.setdefault(key, [None] * len(groups))[place] = momentum
    faults.check()
    named = _named(entries, groups, faults)
    faults.check()
    if total is None and part.kind == "OneCycleLR":
        total = part.state["total_steps"]
    return Plan(named, total=total, clock=clock)


def _uses_betas(part: Part) -> bool:
    return any(one.state.get("use_beta1") for one in part.walk())


def _plateau(part: Part, place: int, group: Mapping[str, Any], metric: str, faults: Faults) -> Node:
    """PyTorch never lowers a learning rate that is below `min_lr`, nor raises it; so the lower of both is the floor."""
    state = part.state
    lr = float(group.get("lr", state["_last_lr"][place]))
    names = {"min_value": "min_lr", "init_value": "lr"}
    same = ("factor", "patience", "threshold", "threshold_mode", "mode", "cooldown", "eps")
    return faults.build("", Plateau, names, metric=metric, init_value=lr, on_nan="bad",
                        min_value=min(lr, float(state["min_lrs"][place])),
                        **{key: state[key] for key in same})  # fmt: skip


def _compare(part: Part, reader: Reader, schedule: Node) -> None:
    """Refuse where PyTorch's present value is not what its parameters say."""
    leaves = part.walk()
    if any(one.kind == "OneCycleLR" and one.count >= one.state["total_steps"] for one in leaves):
        return
    if not reader.climbs and any(one.kind == "CosineAnnealingLR" and one.count > one.state["T_max"] for one in leaves):
        return
    lasts = part.state.get("_last_lr")
    held = reader.group.get("lr") if part.kind == "SWALR" else lasts[reader.place] if lasts else None
    if held is None:
        return
    live, ours = float(held), cast("Callable[[int], float]", schedule)(part.count)
    drift = _DRIFT if isinstance(held, float) else _DRIFT_OF_TENSORS
    bases = [reader.base(one) for one in leaves if "base_lrs" in one.state]
    if not math.isclose(live, ours, rel_tol=drift, abs_tol=1e-9 * max(map(abs, bases), default=0.0)):
        reader.faults.add(
            f"param_groups[{reader.place}]",
            f"{part.kind} gives {live:g} at count {part.count}, where its parameters say {ours:g}: another scheduler "
            "or the loop has changed the lr, or it was stepped with an epoch. Convert each right after it was built",
        )


def _named(
    entries: Mapping[str, Sequence[Node | None]], groups: Sequence[Mapping[str, Any]], faults: Faults
) -> dict[str, Node]:
    """One entry where every group has the same schedule; else one per name, and one for the groups without names."""
    named: dict[str, Node] = {}
    for key, nodes in entries.items():
        found = {place: node for place, node in enumerate(nodes) if node is not None}
        if len(set(found.values())) == 1 and len(found) == len(nodes):
            named[key] = found[0]
            continue
        for place, node in found.items():
            name = groups[place].get("name")
            entry = f"{name}.{key}" if name else key
            if named.setdefault(entry, node) != node:
                faults.add(f"param_groups[{place}]", _same_name(name))
            try:
                entry_name(entry)
            except ScheduleError as error:
                faults.add(f"param_groups[{place}].name", str(error))
    return named


def _same_name(name: object) -> str:
    if name:
        return f"has a schedule of its own and the name {name!r} of another group. Give each its own name"
    return (
        "has a schedule of its own and no name by which a plan could reach it. Give it one: "
        "optimizer.param_groups[1]['name'] = 'head'"
    )
