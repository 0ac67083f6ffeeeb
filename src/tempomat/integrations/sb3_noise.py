"""The action noise of a Stable-Baselines3 model: its sigma as a place for values, and noise that would do nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise

from tempomat.core import Fault
from tempomat.integrations.sb3_places import Attribute, place_name
from tempomat.plan import entry_name

_KEY = "action_noise"
_KNOWN = (NormalActionNoise, OrnsteinUhlenbeckActionNoise)


def sigma(model: Any, name: str, names: Collection[str], faults: list[Fault]) -> Attribute | None:
    """The place of `action_noise`, or of one component as in `action_noise[1]`; None where the entry is another.

    `names` are the plan's: an entry for all components leaves those alone that have an entry of their own.
    """
    entry = entry_name(name)
    if place_name(name).partition("[")[0] != _KEY:
        return None
    if (fault := _unusable(model, name)) is not None:
        faults.append(Fault(name, fault))
        return None
    components = range(_sigmas(model)[0].size)
    if entry.index is not None and entry.index not in components:
        faults.append(Fault(name, f"the noise has {len(components)} components: {_each(components)}"))
        return None
    own = {entry_name(one).index for one in names if place_name(one).startswith(f"{_KEY}[")}
    chosen = [entry.index] if entry.index is not None else [one for one in components if one not in own]
    if not chosen:
        faults.append(Fault(name, f"every action has an entry of its own: {_each(components)}. Remove this one"))
        return None
    held = sorted({float(one) for values in _sigmas(model) for one in values.flat[chosen]})
    if len(held) > 1:
        each = f"Write {_each(components)}" if len(components) > 1 else "Build it with one number for all environments"
        faults.append(Fault(name, f"its sigma is {held}, and one entry would level that. {each}"))
        return None
    return _place(model, chosen, "" if entry.index is None else f"_{entry.index}")


def _place(model: Any, chosen: list[int], suffix: str) -> Attribute:
    written = math.nan

    def write(value: float) -> None:
        nonlocal written
        written = value
        for one in _draws(model):
            values = _sigma(one).copy()  # the array that the noise was built with is its builder's
            values.flat[chosen] = value
            one._sigma = values

    def read() -> float:
        """What was written, or what is there instead in any component of any environment."""
        if not all(isinstance(one, _KNOWN) for one in _draws(model)):
            return math.nan
        held = [float(one) for values in _sigmas(model) for one in values.flat[chosen]]
        return next((one for one in held if one != written), written)

    return Attribute(write, read, f"rollout/{_KEY}{suffix}")


def in_vain(model: Any, names: Collection[str]) -> Iterator[Fault]:
    """Entries that this model would take and never act on."""
    places = {place_name(name): name for name in names}
    noise = places.get("target_policy_noise")
    if noise is not None and "target_noise_clip" not in places and getattr(model, "target_noise_clip", None) == 0.0:
        yield Fault(
            noise,
            f"this {type(model).__name__} cuts its target noise to nothing, target_noise_clip=0.0. Schedule "
            "target_noise_clip too, or use TD3",
        )


def _draws(model: Any) -> list[Any]:
    """What has a sigma: the noise itself, or each environment's and the one that theirs were copied from."""
    noise = model.action_noise
    return [noise.base_noise, *noise.noises] if isinstance(noise, VectorizedActionNoise) else [noise]


def _sigma(noise: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """By component, as SB3 broadcasts it; SB3 names no public way to it."""
    shape = np.broadcast_shapes(np.shape(noise._mu), np.shape(noise._sigma))
    return np.broadcast_to(np.asarray(noise._sigma, np.float64), shape)


def _sigmas(model: Any) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    return [_sigma(one) for one in _draws(model)]


def _unusable(model: Any, name: str) -> str | None:
    """Why the model has no sigma to write, and what to do."""
    kind, odd = type(model).__name__, [one for one in _draws(model) if not isinstance(one, _KNOWN)]
    if not odd:
        return None
    if model.action_noise is not None:
        return (
            f"{type(odd[0]).__name__} is no noise whose sigma is known here: NormalActionNoise, "
            f"OrnsteinUhlenbeckActionNoise, or either vectorized. Give a target: targets={{{name!r}: function}}"
        )
    if hasattr(model, "exploration_rate"):
        return f"{kind} explores by random actions and draws no noise. Schedule epsilon"
    if hasattr(model, "rollout_buffer"):
        return f"{kind} samples its actions from the policy and draws no noise. Schedule ent_coef"
    return (
        "the model was built without. Build it with action_noise=NormalActionNoise(np.zeros(n), 0.1 * np.ones(n)), "
        "n actions; the plan replaces the 0.1"
    )


def _each(components: range) -> str:
    return ", ".join(f"{_KEY}[{one}]" for one in components)
