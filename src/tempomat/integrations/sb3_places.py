"""Where values go in a Stable-Baselines3 model: attributes, and the optimizers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule

from tempomat.core import BindingError, Fault
from tempomat.core.errors import did_you_mean
from tempomat.plan import entry_name

_ALIASES = {
    "entropy_coef": "ent_coef",
    "value_coef": "vf_coef",
    "grad_clip": "max_grad_norm",
    "noise_clip": "target_noise_clip",
    "epochs_per_batch": "n_epochs",
    "epsilon": "exploration_rate",
    "noise": "action_noise",
    "exploration_noise": "action_noise",
}
"""Tempomat's names for what SB3 calls otherwise; SB3's own are taken as well."""

_FLOATS = (
    "vf_coef",
    "target_kl",
    "max_grad_norm",
    "tau",
    "gamma",
    "gae_lambda",
    "target_policy_noise",
    "target_noise_clip",
)
_WHOLE = ("batch_size", "n_epochs", "gradient_steps", "policy_delay")
_COPIES = {"gamma": "rollout_buffer", "gae_lambda": "rollout_buffer"}
"""Attributes of which another object of the model holds a copy that it computes with."""


@final
@dataclass(frozen=True, slots=True)
class Attribute:
    """A place in the model: how it is written and read back, and what SB3's logger calls it, if SB3 does not log it."""

    write: Callable[[float], None]
    read: Callable[[], float]
    log: str | None


def place_name(name: str) -> str:
    """SB3's name of an entry that is a hyperparameter of the model, whichever name the plan has for it."""
    entry = entry_name(name)
    key = _ALIASES.get(entry.key, entry.key)
    return f"{entry.group + '.' if entry.group else ''}{key}{'' if entry.index is None else f'[{entry.index}]'}"


def tag(name: str) -> str:
    """The name in SB3's logger of a param-group entry: like `train/actor_loss`."""
    entry = entry_name(name)
    key = "learning_rate" if entry.key == "lr" else entry.key
    index = "" if entry.index is None else f"_{entry.index}"
    return f"train/{entry.group + '_' if entry.group else ''}{key}{index}"


def optimizers(model: Any) -> dict[str, torch.optim.Optimizer]:
    """The model's optimizers by name: actor, critic and ent_coef, or policy."""
    if hasattr(model, "actor") and hasattr(model.actor, "optimizer"):
        found = {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
        entropy = getattr(model, "ent_coef_optimizer", None)
        return found if entropy is None else {**found, "ent_coef": entropy}
    return {"policy": model.policy.optimizer}


def attribute(model: Any, name: str, faults: list[Fault]) -> Attribute | None:
    """The place of an entry that is a hyperparameter of the model; None where it is none."""
    entry = entry_name(name)
    key = _ALIASES.get(entry.key, entry.key)
    if entry.group is not None or entry.index is not None:
        return None
    if key in ("clip_range", "clip_range_vf") and hasattr(model, key):
        own = getattr(model, key)
        own = own.value_schedule if isinstance(own, FloatSchedule) else own
        if callable(own) and not isinstance(own, ConstantSchedule):
            faults.append(Fault(name, f"the model was built with a schedule of its own, {own!r}. Give it a number"))
        return Attribute(
            lambda value: setattr(model, key, FloatSchedule(value)), lambda: getattr(model, key)(0.0), None
        )
    if key == "exploration_rate" and hasattr(model, key):

        def explore(value: float) -> None:
            model.exploration_schedule = ConstantSchedule(value)
            model.exploration_rate = value

        return Attribute(explore, lambda: model.exploration_rate, None)
    if key == "ent_coef" and hasattr(model, "ent_coef_optimizer"):
        return _temperature(model, name, faults)
    if key not in ("ent_coef", *_FLOATS, *_WHOLE) or not hasattr(model, key):
        return None
    holders = [model, getattr(model, _COPIES[key], None)] if key in _COPIES else [model]

    def write(value: float) -> None:
        if key in _WHOLE and value != int(value):
            raise BindingError(f"{name} comes to {value!r}, and SB3 takes whole numbers. Put .floor_to(1) behind it")
        for holder in holders:
            if holder is not None and hasattr(holder, key):
                setattr(holder, key, int(value) if key in _WHOLE else value)

    return Attribute(write, lambda: getattr(model, key), f"train/{key}")


def _temperature(model: Any, name: str, faults: list[Fault]) -> Attribute | None:
    if model.ent_coef_optimizer is not None:
        faults.append(
            Fault(
                name,
                "SAC learns its entropy coefficient here. Build it with ent_coef=0.1 to schedule it, or schedule the "
                "rate at which it is learnt: ent_coef.lr",
            )
        )
        return None
    tensor: torch.Tensor = model.ent_coef_tensor
    return Attribute(lambda value: cast(Any, tensor.fill_(value)), tensor.item, None)


def no_place(model: Any, name: str, keys: set[str]) -> str:
    known = [
        key
        for key in ("ent_coef", "clip_range", "clip_range_vf", "exploration_rate", *_FLOATS, *_WHOLE)
        if hasattr(model, key)
    ]
    known += ["action_noise"] if model.action_noise is not None else []
    known += sorted(keys - {"params", "initial_lr", "name"})
    key = entry_name(name).key
    return (
        f"the model has no {key!r}.{did_you_mean(key, known)} It has {', '.join(known)}. For a value that goes "
        f"elsewhere give a target: targets={{{name!r}: function}}"
    )
