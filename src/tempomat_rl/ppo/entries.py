"""What a configuration says about values over time, as the entries of one plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import tempomat as tm
from tempomat.core.errors import Fault, did_you_mean, shown
from tempomat.core.numbers import parse_number
from tempomat.plan import Plan, entry_name
from tempomat.plan.names import Range

REQUIRED = (
    "lr",
    "clip_range",
    "entropy_coef",
    "value_coef",
    "epochs_per_batch",
    "minibatch_size",
    "rollout_length",
    "num_envs",
    "gamma",
    "gae_lambda",
)
OPTIONAL = (
    "policy.lr",
    "value.lr",
    "clip_range_vf",
    "grad_clip",
    "target_kl",
    "observation_noise",
    "policy_refresh",
    "max_policy_age",
)
"""Entries that `none` leaves out."""
ENTRIES = (*REQUIRED, *OPTIONAL)
SHAPED = ("lr", "clip_range", "entropy_coef")
"""Entries whose shape can be chosen apart from their value, as `lr_schedule=cosine`."""
METRICS = (
    "approx_kl",
    "approx_kl_last",
    "clip_fraction",
    "entropy",
    "policy_loss",
    "value_loss",
    "explained_variance",
    "grad_norm",
    "episode_return",
    "episode_length",
    "success_rate",
    "eval_return",
)
"""What a run measures, and controllers can listen to."""
NONE = "none"
LEAST = {"clip_range": 1e-6, "clip_range_vf": 1e-6, "grad_clip": 1e-6, "target_kl": 1e-6}
"""Where a shape that falls to 0 ends instead: these must stay above 0, and the last batch is learned from at the end.
"""

RANGES = {"observation_noise": Range(0), "policy_refresh": Range(1), "max_policy_age": Range(0)}
"""What entries may be that the field has no name for."""
_PLACES = 1_001
"""Counts of a run at which a value is looked at before it begins."""

_CALL = re.compile(r"\s*(?P<name>[a-z_]+)\s*\((?P<arguments>[^()]*)\)\s*")
_LIN = re.compile(r"lin_(?P<number>[\d.eE+-]+)")
_CALLS = {
    "linear": ("init_value", "end_value", "duration"),
    "cosine": ("init_value", "end_value", "duration"),
    "kl_adaptive": ("init_value", "target"),
}
SHAPES = ("constant", "linear", "cosine", "warmup_linear", "warmup_cosine", "kl_adaptive")
WARMUP = "5%"
TARGET_KL = 0.01
"""What `kl_adaptive` steers for where nothing is said."""


def make_plan(values: Mapping[str, Any], shapes: Mapping[str, Any], total: int, faults: list[Fault]) -> tm.Plan | None:
    """The run's plan, resolved; None where anything is wrong, and `faults` then says what.

    Args:
        values: by entry what a configuration writes; see `entry_data`.
        shapes: by entry of `SHAPED` a name of `SHAPES`, a schedule, or None to leave it as it is.
        total: env steps.
        faults: gets what is wrong, each with its path.
    """
    before = len(faults)
    entries: dict[str, Any] = {}
    for name in ENTRIES:
        data = _read(name, values.get(name), shapes.get(name), faults)
        if data is not None:
            entries[name] = data
    if {"policy.lr", "value.lr"} <= entries.keys():
        entries.pop("lr", None)  # nobody would follow it
    if not entries:
        return None
    try:
        plan = Plan(entries, total=total, clock="env_steps").resolve()
    except tm.PlanError as error:
        faults += [Fault(fault.path.removeprefix("schedules."), fault.message) for fault in error.faults]
        return None
    faults += [*_unheard(plan), *_out_of_range(plan, total)]
    return plan if len(faults) == before else None


def _read(name: str, value: Any, shape: Any, faults: list[Fault]) -> Any:
    """An entry as plain data; None where it is left out, or is wrong, which `faults` then says."""
    path = name
    try:
        data = entry_data(name, value)
        if shape is not None and data is not None:
            path = f"{name}_schedule"
            data = _shaped(name, data, shape)
    except tm.PlanError as error:
        faults += [Fault(fault.path.removeprefix("schedules."), fault.message) for fault in error.faults]
        return None
    except ValueError as error:
        faults.append(Fault(path, str(error)))
        return None
    if data is None and name in REQUIRED:
        faults.append(Fault(name, "must be a number or a schedule, such as 3e-4 or {type: cosine, ...}"))
    return data


def entry_data(name: str, value: Any) -> Any:
    """What stands in a configuration as a plan's plain data; None for an entry that is left out.

    A number; `lin_0.001`, the Zoo's word for a line to 0 over the run; `linear(init, end)`, `cosine(init, end)` with a
    duration as a third, the run's length by default; `kl_adaptive(init, target)`; or a schedule as in any plan.

    >>> entry_data("lr", "lin_0.001")
    {'type': 'linear', 'init_value': 0.001, 'end_value': 0.0, 'duration': '100%'}
    >>> entry_data("lr", "kl_adaptive(3e-4, 0.02)")
    {'type': 'kl_adaptive', 'init_value': 0.0003, 'target': 0.02, 'metric': 'approx_kl'}

    Raises:
        ValueError: it is none of these.
    """
    if value is None or value == NONE:
        return None
    if not isinstance(value, str):
        return _heard(value)
    if match := _LIN.fullmatch(value):
        return _line("linear", float(parse_number(match["number"])), LEAST.get(name, 0.0))
    if match := _CALL.fullmatch(value):
        return _called(match["name"], [one.strip() for one in match["arguments"].split(",") if one.strip()])
    try:
        return float(parse_number(value))
    except ValueError:
        raise ValueError(
            f"must be a number, lin_0.001, linear(init, end), cosine(init, end), kl_adaptive(init, target) or a "
            f"schedule such as {{type: cosine, ...}}, got {shown(value)}"
        ) from None


def _line(kind: str, init: float, end: float) -> dict[str, Any]:
    return {"type": kind, "init_value": init, "end_value": end, "duration": "100%"}


def _called(name: str, arguments: list[str]) -> dict[str, Any]:
    names = _CALLS.get(name)
    if names is None:
        raise ValueError(f"no shape {name}(...).{did_you_mean(name, _CALLS)} Shapes: {', '.join(_CALLS)}")
    if not 2 <= len(arguments) <= len(names):
        many = "2 values" if len(names) == 2 else f"2 to {len(names)} values"
        raise ValueError(f"{name}({', '.join(names)}) takes {many}, got {len(arguments)}")
    numbers = dict(zip(names, arguments, strict=False))
    duration = numbers.pop("duration", "100%")
    data = {"type": name, **{key: float(parse_number(one)) for key, one in numbers.items()}}
    return _heard(data) if name == "kl_adaptive" else {**data, "duration": duration}


def _heard(value: Any) -> Any:
    """A KL-adaptive rate listens to what a run of PPO calls its divergence."""
    adaptive = isinstance(value, Mapping) and value.get("type") == "kl_adaptive"
    return {**value, "metric": value.get("metric", "approx_kl")} if adaptive else value


def _shaped(name: str, data: Any, shape: Any) -> Any:
    """An entry's first value in another shape."""
    if isinstance(shape, Mapping):
        return _heard(shape)
    if shape not in SHAPES or (shape == "kl_adaptive" and name != "lr"):
        known = [one for one in SHAPES if one != "kl_adaptive" or name == "lr"]
        raise ValueError(
            f"no shape {shown(shape)}.{did_you_mean(str(shape), known)} Shapes: {', '.join(known)}, or "
            "a schedule such as {type: cosine, ...}"
        )
    first, end = _first(name, data), LEAST.get(name, 0.0)
    if shape == "constant":
        return first
    if shape == "kl_adaptive":
        return {"type": shape, "metric": "approx_kl", "target": TARGET_KL, "init_value": first}
    if shape.startswith("warmup"):
        return {"type": shape, "peak_value": first, "end_value": end, "warmup": WARMUP}
    return _line(shape, first, end)


def _first(name: str, data: Any) -> float:
    """The value at the beginning of the run."""
    node = Plan({name: data}, total=1_000_000, clock="env_steps").resolve()[name]
    if not isinstance(node, tm.Schedule) or node.clocks - {"", "env_steps"}:
        raise ValueError(f"{name} has no value of its own to begin at. Give {name} a number too")
    return float(node(0))


def _unheard(plan: tm.Plan) -> list[Fault]:
    """Controllers that listen to what nobody measures."""
    known = f"Metrics: {', '.join(METRICS)}"
    return [
        Fault(name, f"nothing measures {rule.metric}.{did_you_mean(rule.metric, METRICS)} {known}")
        for name, node in plan.schedules.items()
        for rule in node.controllers
        if rule.metric not in METRICS
    ]


def _out_of_range(plan: Plan, total: int) -> Iterator[Fault]:
    """Values that could not be applied; of those on other clocks, whose ends nobody knows, the first alone."""
    for name, node in plan.schedules.items():
        allowed = RANGES.get(name, entry_name(name).range)
        if not isinstance(node, tm.Schedule) or len(node.clocks) > 1:
            continue
        last = total if node.clocks <= {"", "env_steps"} else 0
        counts = np.unique(np.linspace(0, last, _PLACES, dtype=np.int64))
        values = np.broadcast_to(node(counts), counts.shape).tolist()
        for count, value in zip(counts.tolist(), values, strict=True):
            if not allowed.holds(value):
                yield Fault(name, f"comes to {value:g} at count {count}, and must be {allowed}. Mend it, or clip it")
                break
