"""DeepSpeed's configuration: the `scheduler` block and the `curriculum_learning` block."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from tempomat.convert.arguments import Arguments, exact, product, quotient
from tempomat.core import (
    Advance,
    Constant,
    ConversionError,
    Cosine,
    InverseTime,
    Linear,
    Logarithmic,
    PiecewiseConstant,
    PowerLaw,
    PowerRamp,
    Staircase,
)
from tempomat.core.errors import did_you_mean, shown
from tempomat.plan import Plan

_WITHOUT_BETAS = ("sgd", "adagrad", "rmsprop")
_SECOND_BETA = 0.99  # what OneCycle sets beside the momentum that it cycles
_MAX_BYTES = 1_000_000


def from_deepspeed(config: Any, *, lr: float | None = None) -> Plan:
    """The plan of a DeepSpeed configuration; the count is the updates done, and each value is the one the next gets.

    DeepSpeed steps its scheduler after each update, from iteration -1 on: the first update has the initial value, and
    what a formula of its documentation gives for iteration i is used by the update of count i + 1.

    `OneCycle` with `cycle_momentum` also moves `betas[0]`, unless the optimizer named in the configuration has none;
    DeepSpeed's first update has `cycle_min_mom` there, its cycle begins at `cycle_max_mom`, and so does this one. A
    cycle decays as in present releases (an early one multiplied where it should divide).

    Args:
        config: the configuration as a mapping or the path of its JSON file; or its `scheduler` block alone.
        lr: the optimizer's learning rate, for `WarmupCosineLR` and a `WarmupLR` without `warmup_max_lr`; None for the
            configuration's `optimizer.params.lr`.

    Returns:
        A plan with `lr`, `betas[0]`, `betas[1]` and `difficulty`, as far as the configuration has them, as long as the
        scheduler's `total_num_steps`, where it has that.

    Raises:
        ConversionError: every fault at once: an unknown scheduler or parameter, `auto` values, values per param group,
            a custom curriculum, nothing to schedule.

    Source:
        DeepSpeed, `deepspeed/runtime/lr_schedules.py` and `deepspeed/runtime/data_pipeline/curriculum_scheduler.py`.

    Example:
        >>> params = {"warmup_max_lr": 1e-3, "warmup_num_steps": 100, "total_num_steps": 1_000, "warmup_type": "linear"}
        >>> plan = from_deepspeed({"scheduler": {"type": "WarmupDecayLR", "params": params}})
        >>> plan["lr"](0), plan["lr"](51), plan["lr"](1_001)
        (0.0, 0.0005, 0.0)
    """
    given = _loaded(config)
    if "scheduler" not in given and "type" in given:
        given = {"scheduler": given}
    optimizer = _block(given, "optimizer")
    if lr is None:
        lr = _block(optimizer, "params").get("lr")
    entries: dict[str, Any] = {}
    refused: list[ConversionError] = []
    for read in (lambda: _scheduler(given, lr, str(optimizer.get("type", ""))), lambda: _curriculum(given)):
        try:
            entries |= read()
        except ConversionError as error:
            refused.append(error)
    if refused:
        faults = [fault for error in refused for fault in error.faults]
        raise ConversionError("\n".join(map(str, refused)), faults)
    if not entries:
        raise ConversionError(
            "deepspeed: the configuration has no scheduler and no curriculum_learning that is enabled"
        )
    return Plan(entries, total=_block(_block(given, "scheduler"), "params").get("total_num_steps"))


def _loaded(config: Any) -> Mapping[str, Any]:
    if isinstance(config, Mapping):
        return cast("Mapping[str, Any]", config)
    if not isinstance(config, (str, os.PathLike)):
        raise ConversionError(f"deepspeed: needs the configuration or the path of its file, got {shown(config)}")
    try:
        with open(config, encoding="utf-8") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except OSError as error:
        raise ConversionError(f"{os.fspath(config)}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ConversionError(f"{os.fspath(config)}: is no JSON of at most {_MAX_BYTES:_} bytes") from None
    if not isinstance(found, Mapping):
        raise ConversionError(f"{os.fspath(config)}: must hold an object, got {shown(found)}")
    return cast("Mapping[str, Any]", found)


def _block(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = given.get(key)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _scheduler(given: Mapping[str, Any], lr: Any, optimizer: str) -> dict[str, Any]:
    block = _block(given, "scheduler")
    if not block:
        return {}
    name = block.get("type")
    if name not in _READERS:
        near = did_you_mean(str(name), _READERS)
        raise ConversionError(
            f"deepspeed: scheduler.type: must be one of {', '.join(_READERS)}, got {shown(name)}.{near}"
        )
    known, reader = _READERS[name]
    a = Arguments(f"deepspeed {name}", _block(block, "params"), (*known, "last_batch_iteration"))
    for key, value in a.given.items():
        if value == "auto":
            a.fault(key, "is auto, which the Transformers Trainer fills in when it starts. Write the number")
        elif isinstance(value, (list, tuple)):
            a.fault(key, "has a value per param group. Convert each alone, and name its entry <group>.lr")
        else:
            continue
        a.given[key] = None
    if a.given.get("last_batch_iteration") not in (None, -1):
        a.fault("last_batch_iteration", "is where a run goes on; a schedule has no position. Leave it out")
    a.given["lr"] = lr
    return reader(a, optimizer)


def _warmup(a: Arguments, first: float, peak: float) -> tuple[Any, int]:
    """The rise and its length, which DeepSpeed makes at least 2."""
    length = max(a.count("warmup_num_steps", 1000, at_least=1), 2)
    rise = Linear if a.choice("warmup_type", ("log", "linear"), "log") == "linear" else Logarithmic
    return rise(init_value=first, end_value=peak, duration=length), length


def _peak(a: Arguments) -> float:
    if a.given.get("warmup_max_lr") is None and a.given.get("lr") is not None:
        a.given["warmup_max_lr"] = a.given["lr"]
    return a.number("warmup_max_lr")


def _warmup_lr(a: Arguments, _: str) -> dict[str, Any]:
    rise, _length = _warmup(a, a.number("warmup_min_lr", 0.0), _peak(a))
    with a.building():
        return {"lr": rise.shift(1)}


def _warmup_decay(a: Arguments, _: str) -> dict[str, Any]:
    first, peak = a.number("warmup_min_lr", 0.0), a.number("warmup_max_lr", 0.001)
    rise, warmup = _warmup(a, first, peak)
    total = _total(a, warmup)
    with a.building():
        fall = Linear(init_value=peak, end_value=first, duration=total - warmup)
        return {"lr": rise.then(fall, at=warmup).shift(1)}


def _total(a: Arguments, warmup: int) -> int:
    total = a.count("total_num_steps", at_least=1)
    if total <= warmup and not a.faults:
        a.fault("total_num_steps", f"must be more than warmup_num_steps ({warmup}), got {total}")
        return warmup + 1
    return max(total, warmup + 1)


def _warmup_cosine(a: Arguments, _: str) -> dict[str, Any]:
    peak = a.number("lr")
    rise, warmup = _warmup(a, product(a.number("warmup_min_ratio", 0.0), peak), peak)
    last, total = a.number("cos_min_ratio", 0.0001), _total(a, warmup)
    with a.building():
        fall: Any = Cosine(init_value=peak, end_value=product(last, peak), duration=total - warmup)
        # the fall has its first count behind it when the rise ends
        fall = Advance(schedule=fall, by=1)
        # whatever the ratio, the first update has 0
        return {"lr": Constant(value=0.0).then(rise.then(fall, at=warmup), at=1)}


def _one_cycle(a: Arguments, optimizer: str) -> dict[str, Any]:
    low, high = a.number("cycle_min_lr"), a.number("cycle_max_lr")
    up = a.count("cycle_first_step_size", 2000, at_least=1)
    down = a.count("cycle_second_step_size", up, at_least=1)
    stairs = a.count("cycle_first_stair_count", 0)
    stairs = stairs, a.count("cycle_second_stair_count", stairs)
    every, rate = a.count("decay_step_size", 0), a.number("decay_lr_rate", 0.0, at_least=0)
    moves = a.flag("cycle_momentum", True) and optimizer.lower() not in _WITHOUT_BETAS
    least, most = a.number("cycle_min_mom", 0.8), a.number("cycle_max_mom", 0.9)
    if moves and every and a.number("decay_mom_rate", 0.0) != 0.0:
        a.fault("decay_mom_rate", "lets the momentum grow without an end, past 1. Set it to 0")
    with a.building():
        tail = InverseTime(init_value=low, decay_rate=rate, every=every) if every and rate else Constant(value=low)
        entries: dict[str, Any] = {"lr": _cycle(low, high, (up, down), stairs).then(tail, at=up + down)}
        if moves:
            cycle = _cycle(most, least, (up, down), stairs)
            entries["betas[0]"] = cycle.then(Constant(value=most), at=up + down)
            entries["betas[1]"] = Constant(value=_SECOND_BETA)
        return entries


def _cycle(first: float, peak: float, lengths: tuple[int, int], stairs: tuple[int, int]) -> Any:
    (up, down), (rises, falls) = lengths, stairs
    rise: Any = Linear(init_value=first, end_value=peak, duration=up)
    fall: Any = Linear(init_value=peak, end_value=first, duration=down)
    if rises:
        rise = _stairs(first, peak, up, rises)
    if falls:
        fall = _stairs(first, peak, down, falls, falling=True)
    return rise.then(fall, at=up)


def _stairs(low: float, high: float, length: int, number: int, falling: bool = False) -> Any:
    """Equal stairs over a length; on the way down one is left behind its last count, not at it."""
    height = (exact(high) - exact(low)) / number
    if length % number or not height:
        # floor(number * t / length); half a count more keeps what is whole off the edge that rounding could cross
        ends = 0.5, 0.5 + number * length
        first, last = reversed(ends) if falling else ends
        whole: Any = Linear(init_value=first, end_value=last, duration=length).floor_to(length)
        return whole * float(height / length) + low
    stairs = {"increment": float(-height if falling else height), "every": length // number}
    if not falling:
        return Staircase(init_value=low, end_value=high, **stairs)
    below = Staircase(init_value=float(exact(high) - height), end_value=low, **stairs)
    return Constant(value=high).then(below, at=1)


def _range_test(a: Arguments, _: str) -> dict[str, Any]:
    first, every = a.number("lr_range_test_min_lr", 1e-3), a.count("lr_range_test_step_size", 2000, at_least=1)
    rate = a.number("lr_range_test_step_rate", 1.0, above=0)
    if a.flag("lr_range_test_staircase"):
        a.fault("lr_range_test_staircase", "climbs without an end. Use tm.Staircase(init_value=..., end_value=..., "
                f"increment={product(first, rate):g}, every={every}), which has one")  # fmt: skip
    with a.building():
        # a power of 1 is a line that never ends
        timescale = quotient(every, rate)
        if timescale.is_integer():
            return {"lr": PowerLaw(init_value=first, timescale=int(timescale), exponent=1.0)}
        return {"lr": PowerLaw(init_value=first, timescale=1, exponent=1.0).stretch(timescale)}


def _curriculum(given: Mapping[str, Any]) -> dict[str, Any]:
    block = _block(given, "curriculum_learning")
    if not block or not block.get("enabled", True):
        return {}
    known = ("enabled", "curriculum_type", "min_difficulty", "max_difficulty", "schedule_type", "schedule_config")
    a = Arguments("deepspeed curriculum_learning", block, known)
    low, high = a.count("min_difficulty", at_least=1), a.count("max_difficulty", at_least=1)
    kinds = ("fixed_linear", "fixed_root", "fixed_discrete", "custom")
    kind = a.choice("schedule_type", kinds)
    if kind == "custom":
        a.fault("schedule_type", "custom is a function of your own. Write it as a schedule")
        a.done()
    inside = ("difficulty", "max_step") if kind == "fixed_discrete" else (
        "total_curriculum_step", "difficulty_step", *(["root_degree"] if kind == "fixed_root" else []))  # fmt: skip
    b = Arguments("deepspeed curriculum_learning", _block(block, "schedule_config"), inside)
    try:
        return {"difficulty": _discrete(a, b) if kind == "fixed_discrete" else _root(a, b, low, high)}
    finally:
        a.faults += [fault.under("schedule_config") for fault in b.faults]
        a.done()


def _discrete(a: Arguments, b: Arguments) -> Any:
    levels, last = b.numbers("difficulty"), b.numbers("max_step")
    if len(levels) != len(last) + 1:
        b.fault("difficulty", f"must be one more than max_step ({len(last)}), got {len(levels)}")
    if a.faults or b.faults:
        return None
    # the step's own number counts from 1, and a level lasts up to and with its max_step
    with a.building():
        return PiecewiseConstant(values=levels, boundaries=[math.floor(one) for one in last])


def _root(a: Arguments, b: Arguments, low: int, high: int) -> Any:
    total, step = b.count("total_curriculum_step", at_least=1), b.count("difficulty_step", at_least=1)
    degree = b.number("root_degree", above=0) if a.given.get("schedule_type") == "fixed_root" else 1.0
    if high % step:
        a.fault("max_difficulty", f"must be a multiple of difficulty_step ({step}): DeepSpeed reaches {high} only some "
                "counts after the end")  # fmt: skip
    if high <= low:
        a.fault("max_difficulty", f"must be above min_difficulty ({low}), got {high}")
    if a.faults or b.faults:
        return None
    with a.building():
        ramp: Any = PowerRamp(init_value=low, end_value=high, duration=total, power=1.0 / degree)
        # update number t, counted from 0, is DeepSpeed's step t + 1; what is cut off at the start is given back
        return Advance(schedule=ramp.floor_to(step).maximum(-(-low // step) * step), by=1)


_WARMUP = ("warmup_min_lr", "warmup_max_lr", "warmup_num_steps", "warmup_type")
_READERS: dict[str, tuple[tuple[str, ...], Callable[[Arguments, str], dict[str, Any]]]] = {
    "WarmupLR": (_WARMUP, _warmup_lr),
    "WarmupDecayLR": ((*_WARMUP, "total_num_steps"), _warmup_decay),
    "WarmupCosineLR": (
        ("total_num_steps", "warmup_min_ratio", "warmup_num_steps", "cos_min_ratio", "warmup_type"),
        _warmup_cosine,
    ),
    "OneCycle": (
        ("cycle_min_lr", "cycle_max_lr", "decay_lr_rate", "cycle_first_step_size", "cycle_second_step_size",
         "cycle_first_stair_count", "cycle_second_stair_count", "decay_step_size", "cycle_momentum", "cycle_min_mom",
         "cycle_max_mom", "decay_mom_rate"),
        _one_cycle,
    ),
    "LRRangeTest": (
        ("lr_range_test_min_lr", "lr_range_test_step_size", "lr_range_test_step_rate", "lr_range_test_staircase"),
        _range_test,
    ),
}  # fmt: skip
