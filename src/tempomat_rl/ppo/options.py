"""What a batch is learned from under, and what networks are made of: frozen values, checked where they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

from tempomat.core.errors import Fault, TempomatError, list_faults, shown

Rule: TypeAlias = "tuple[str, Callable[[Any], bool]]"


class LearnerError(TempomatError, ValueError):
    """A learner cannot be built as configured, or was handed what it cannot learn from."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """The values that one batch, or one of its minibatches, is learned from under.

    Args:
        policy_lr: of the policy, and of a trunk that it shares with the critic; at least 0.
        value_lr: of the critic; None for `policy_lr`.
        clip_range: how far a ratio of probabilities may be from 1 before it earns nothing more; above 0.
        clip_range_vf: how far a value may move from the one at the time of acting, in units of the (scaled) return;
            None for as far as it likes.
        entropy_coef: of the entropy in the loss; any finite number.
        value_coef: of the value loss, at least 0.
        max_grad_norm: the norm that the gradient of all networks together is scaled down to; None for none.
        epochs_per_batch: how often each sample is learned from, at least 1.
        minibatch_size: samples per optimizer step, at least 1; the last of an epoch has what is left.
        gamma: the discount, from 0 to 1.
        gae_lambda: from 0 (one step) to 1 (all that is left of the rollout).
        target_kl: the batch ends before the step whose minibatch has an `approx_kl` above 1.5 times this; None for
            never.
        normalize_advantage: whether each minibatch's advantages get mean 0 and deviation 1.

    Raises:
        LearnerError: a value is out of its range, all of them at once.

    Agrees with:
        Stable-Baselines3's `PPO`: the defaults, and the factor 1.5 of `target_kl`.

    Example:
        >>> UpdateSettings(policy_lr=1e-3, minibatch_size=256).value_lr is None
        True
    """

    policy_lr: float = 3e-4
    value_lr: float | None = None
    clip_range: float = 0.2
    clip_range_vf: float | None = None
    entropy_coef: float = 0.0
    value_coef: float = 0.5
    max_grad_norm: float | None = 0.5
    epochs_per_batch: int = 10
    minibatch_size: int = 64
    gamma: float = 0.99
    gae_lambda: float = 0.95
    target_kl: float | None = None
    normalize_advantage: bool = True

    def __post_init__(self) -> None:
        refuse(self, UPDATE_RULES)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _optional(rule: Rule) -> Rule:
    text, holds = rule
    return f"{text}, or None", lambda value: value is None or holds(value)


_ANY: Rule = "must be a finite number", _number
_POSITIVE: Rule = "must be a finite number above 0", lambda v: _number(v) and v > 0
_NOT_NEGATIVE: Rule = "must be a finite number of at least 0", lambda v: _number(v) and v >= 0
_SHARE: Rule = "must be from 0 to 1", lambda v: _number(v) and 0 <= v <= 1
_COUNT: Rule = "must be a whole number of at least 1", _whole
_YES_NO: Rule = "must be true or false", lambda v: isinstance(v, bool)
_SIZES: Rule = (
    "must be whole numbers of at least 1, one per layer",
    lambda v: isinstance(v, tuple) and all(map(_whole, v)),
)

UPDATE_RULES: dict[str, Rule] = {
    "policy_lr": _NOT_NEGATIVE,
    "value_lr": _optional(_NOT_NEGATIVE),
    "clip_range": _POSITIVE,
    "clip_range_vf": _optional(_POSITIVE),
    "entropy_coef": _ANY,
    "value_coef": _NOT_NEGATIVE,
    "max_grad_norm": _optional(_POSITIVE),
    "epochs_per_batch": _COUNT,
    "minibatch_size": _COUNT,
    "gamma": _SHARE,
    "gae_lambda": _SHARE,
    "target_kl": _optional(_POSITIVE),
    "normalize_advantage": _YES_NO,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What policy and critic are made of.

    Args:
        kind: `fast` for dense layers in NumPy; `torch` for any observation; `auto` for `fast` where it can be.
        policy_layers: widths of the policy's hidden layers.
        value_layers: those of the critic; None for the policy's.
        activation: between layers.
        shared: whether policy and critic share `policy_layers`, after which come the critic's `value_layers` if any
            are given; `torch` alone.
        orthogonal: whether weights start orthogonal with gains of :math:`\\sqrt 2`, .01 (policy's head) and 1
            (critic's), biases 0; else as torch starts a linear layer.
        log_std_init: the first logarithm of a continuous policy's deviations.
        sde: whether exploration depends on the state: one draw of weights from features to noise, kept for
            `sde_every` steps (gSDE).
        sde_every: steps until noise is drawn anew; None for a whole rollout.
        device: where torch computes, such as `cpu` or `cuda`.

    Raises:
        LearnerError: a value is out of its range, all of them at once.

    Source:
        Raffin et al. 2022 (arXiv:2005.05719) for gSDE; the defaults are Stable-Baselines3's `MlpPolicy`.
    """

    kind: Literal["auto", "fast", "torch"] = "auto"
    policy_layers: tuple[int, ...] = (64, 64)
    value_layers: tuple[int, ...] | None = None
    activation: Literal["tanh", "relu"] = "tanh"
    shared: bool = False
    orthogonal: bool = True
    log_std_init: float = 0.0
    sde: bool = False
    sde_every: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        refuse(self, NETWORK_RULES)


def _one_of(*names: str) -> Rule:
    return f"must be one of {', '.join(names)}", lambda v: v in names


NETWORK_RULES: dict[str, Rule] = {
    "kind": _one_of("auto", "fast", "torch"),
    "policy_layers": _SIZES,
    "value_layers": _optional(_SIZES),
    "activation": _one_of("tanh", "relu"),
    "shared": _YES_NO,
    "orthogonal": _YES_NO,
    "log_std_init": _ANY,
    "sde": _YES_NO,
    "sde_every": _optional(_COUNT),
    "device": ("must be text", lambda v: isinstance(v, str)),
}


def refuse(settings: UpdateSettings | NetworkSettings, rules: Mapping[str, Rule]) -> None:
    """Every value that breaks its rule, at once."""
    faults = [
        Fault(name, f"{text}, got {shown(getattr(settings, name))}")
        for name, (text, holds) in rules.items()
        if not holds(getattr(settings, name))
    ]
    if faults:
        raise LearnerError(list_faults(type(settings).__name__, faults), faults)
