"""Batches of experience that nobody collected, for what learns from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.learner import Learner

OBSERVED = gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)
DISCRETE = gym.spaces.Discrete(3)
CONTINUOUS = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)


def rollout_of(learner: Learner, length: int = 16, num_envs: int = 4, seed: int = 0, space: Any = OBSERVED) -> Rollout:
    """Random observations, what the learner does there, and random rewards and ends."""
    rng = np.random.default_rng(seed)
    seen = _observed(space, (length, num_envs), rng)
    learner.begin(num_envs, rng)
    rows = [learner.act(_row(seen, t), rng) for t in range(length)]
    action_TN, logprob_TN, value_TN = (np.stack(part) for part in zip(*rows, strict=True))
    ends = rng.random((2, length, num_envs)) < 0.1
    return Rollout(
        observation_TNO=seen,
        action_TN=action_TN,
        logprob_TN=logprob_TN,
        value_TN=value_TN,
        reward_TN=rng.standard_normal((length, num_envs)).astype(np.float32),
        terminated_TN=ends[0],
        truncated_TN=ends[1],
        valid_TN=np.ones((length, num_envs), bool),
        final_value_TN=np.where(ends[1], rng.standard_normal((length, num_envs)), 0.0).astype(np.float32),
        last_value_N=learner.value(_row(seen, -1)),
    )


def moved_on(rollout: Rollout, seed: int = 1, by: float = 0.3) -> Rollout:
    """As if a somewhat different policy and critic had acted, so that ratios and values are clipped from the start."""
    rng = np.random.default_rng(seed)

    def shaken(array: Any) -> Any:
        return (array + by * rng.standard_normal(array.shape)).astype(np.float32)

    return replace(rollout, logprob_TN=shaken(rollout.logprob_TN), value_TN=shaken(rollout.value_TN))


def _observed(space: Any, shape: tuple[int, int], rng: np.random.Generator) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {name: _observed(one, shape, rng) for name, one in space.spaces.items()}
    if space.dtype == np.uint8:
        return rng.integers(0, 256, (*shape, *space.shape), np.uint8)
    return rng.standard_normal((*shape, *space.shape), np.float32)


def _row(seen: Any, t: int) -> Any:
    return {name: one[t] for name, one in seen.items()} if isinstance(seen, dict) else seen[t]
