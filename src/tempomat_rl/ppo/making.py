"""Which learner suits an environment."""

from __future__ import annotations

from typing import Any

from tempomat_rl.ppo.fast import FastLearner, obstacles
from tempomat_rl.ppo.learner import Learner
from tempomat_rl.ppo.options import LearnerError, NetworkSettings


def make_learner(observation_space: Any, action_space: Any, network: NetworkSettings, *, seed: int) -> Learner:
    """The learner for an environment's single observation and action space (Gymnasium's).

    Args:
        observation_space: a `Box`, or a `Dict` of such. Bytes of shape `(H, W, C)` or `(C, H, W)` are images.
        action_space: `Discrete`, or a `Box` of one dimension.
        network: sizes and constants; `kind="auto"` is `fast` for one flat `Box` and networks that are not shared.
        seed: of the first weights.

    Raises:
        LearnerError: there is no learner for these spaces, or none of that kind.
    """
    reasons = obstacles(observation_space, network)
    if network.kind == "fast" and reasons:
        raise LearnerError(f"network.kind: fast cannot be, for {'; '.join(reasons)}. Use auto or torch.")
    if network.kind == "torch" or reasons:
        from tempomat_rl.ppo.network import TorchLearner  # importing torch takes seconds, and the fast one needs none

        return TorchLearner(observation_space, action_space, network, seed=seed)
    return FastLearner(observation_space, action_space, network, seed=seed)
