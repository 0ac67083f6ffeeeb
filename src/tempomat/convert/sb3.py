"""Stable-Baselines3: the zoo's strings such as `lin_3e-4`, its hyperparameters, and the library's own schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tempomat.convert.arguments import Arguments, product
from tempomat.core import Constant, ConversionError, Linear, On, Unit, on
from tempomat.core.clock import Duration
from tempomat.core.errors import shown
from tempomat.core.numbers import as_float
from tempomat.plan import Plan

_ENTRIES = {"learning_rate": "lr", "clip_range": "clip_range", "clip_range_vf": "clip_range_vf", "ent_coef": "ent_coef"}
_EPSILON = {"exploration_initial_eps": 1.0, "exploration_final_eps": 0.05, "exploration_fraction": 0.1}


def from_sb3(source: Any, *, total: int | str | Duration | None = None) -> Any:
    """The schedule of one Stable-Baselines3 setting, or the plan of a zoo's hyperparameters.

    A number is a constant, `lin_3e-4` a line from 3e-4 to 0 over the run: the zoo hands out the share of the run that
    is left. It reads every other prefix as a line too, so that `cos_3e-4` trains on a line and nobody is told; here
    that is an error. The clock is the environment's steps, `num_timesteps`.

    Args:
        source: a number; a string of the RL Baselines3 Zoo; a `ConstantSchedule`, `LinearSchedule` or `FloatSchedule`
            object; or a zoo's mapping of hyperparameters, of which `learning_rate`, `clip_range`, `clip_range_vf`,
            `ent_coef`, DQN's `exploration_*` and `n_timesteps` are read.
        total: the run's length, SB3's `total_timesteps`. None leaves it to the plan (for a mapping: its `n_timesteps`).

    Returns:
        A schedule; for a mapping a plan with `lr`, `clip_range`, `clip_range_vf`, `ent_coef` and `epsilon`, as far
        as it has them.

    Raises:
        ConversionError: every fault at once: another prefix than `lin`, a function of the user's own, a learned
            entropy coefficient (`auto`), nothing to schedule.

    Example:
        >>> lr = from_sb3("lin_3e-4", total=1_000_000)
        >>> lr(0), lr(500_000), lr(1_000_000)
        (0.0003, 0.00015, 0.0)
    """
    if isinstance(source, Mapping):
        return _hyperparameters(cast("Mapping[str, Any]", source), total)
    whole = Arguments("sb3", {})
    found = _setting(whole, "", source, total)
    whole.done()
    return found


def _hyperparameters(given: Mapping[str, Any], total: Any) -> Plan:
    whole = Arguments("sb3", given)
    length = whole.count("n_timesteps", None, at_least=1) if total is None else total
    found = {
        entry: _setting(whole, key, given[key], length)
        for key, entry in _ENTRIES.items()
        # the zoo writes -1 for a clip range that is switched off
        if given.get(key) is not None and not (key.startswith("clip") and given[key] == -1)
    }
    if any(key in given for key in _EPSILON):
        first, last, share = (whole.number(key, default, at_least=0) for key, default in _EPSILON.items())
        if not whole.faults:
            found["epsilon"] = _line(first, last, share, length)
    if not found and not whole.faults:
        whole.fault("", f"has nothing to schedule: none of {', '.join((*_ENTRIES, *_EPSILON))}")
    with whole.building():
        found = {name: one.parameters()["schedule"] if one.builder() is On else one for name, one in found.items()}
        return Plan(found, total=length, clock=Unit.ENV_STEPS)


def _setting(whole: Arguments, path: str, value: Any, total: Any) -> Any:
    value = getattr(value, "value_schedule", value)
    if type(value).__name__ == "ConstantSchedule" and hasattr(value, "val"):
        value = value.val
    if type(value).__name__ == "LinearSchedule" and hasattr(value, "end_fraction"):
        return _line(value.start, value.end, value.end_fraction, total)
    if callable(value):
        whole.fault(path, f"is a function of your own ({getattr(value, '__name__', type(value).__name__)}), which "
                    "cannot be read. Write it as a schedule, or as tm.schedule(lambda count: ...)")  # fmt: skip
        return Constant(value=0.0)
    prefix, mark, number = value.partition("_") if isinstance(value, str) else ("", "", "")
    try:
        first = as_float(number if mark else value)
    except ValueError:
        first = None
    if first is None or prefix == "auto":
        learned = ". It is learned, not scheduled: leave it out" if str(value).startswith("auto") else ""
        whole.fault(path, f"must be a number or lin_<number>, got {shown(value)}{learned}")
        return Constant(value=0.0)
    if not mark:
        return Constant(value=first)
    if prefix not in ("lin", "linear"):
        whole.fault(path, f"{shown(value)}: the zoo knows lines only and takes any prefix for one, so this ran as "
                    f"lin_{number}. Write that to have a line, or tm.Cosine(...) to have a cosine")  # fmt: skip
    return _line(first, 0.0, 1.0, total)


def _line(first: Any, last: Any, share: float, total: Any) -> Any:
    """A line over a share of the run, on the environment's steps."""
    if share == 0.0 or first == last:
        return Constant(value=as_float(last))
    length: Any
    if isinstance(total, int):
        length = product(share, total)
    else:
        length = (
            Duration("100%" if share == 1.0 else f"{product(share, 100)!r}%") if total is None else Duration(str(total))
        )
        if total is not None and share != 1.0:
            raise ConversionError(f"sb3: a share ({share:g}) of {total} needs the total as a count. Give total= as one")
    if isinstance(length, float) and not length.is_integer():
        # a line over a fraction of a count, as DQN's exploration may end between two steps
        return on(Unit.ENV_STEPS, Linear(init_value=first, end_value=last, duration=1).stretch(length))
    return on(Unit.ENV_STEPS, Linear(init_value=first, end_value=last, duration=cast("int", length)))
