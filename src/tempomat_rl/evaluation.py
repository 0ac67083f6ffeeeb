"""Deterministic evaluation: the policy without exploration noise, one episode in each environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.frames import Observation, Task
from tempomat_rl.stacking import FrameStack


class Policy(Protocol):
    """What acts."""

    def act(self, observation: Observation, noise: float = 0.0, explore: bool = True) -> NDArray[np.float32]:
        """Actions of N environments, in [-1, 1]."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Evaluation:
    """What N episodes gave."""

    return_N: NDArray[np.float64]
    length_N: NDArray[np.int64]
    """decisions"""
    success_N: NDArray[np.bool_]

    @property
    def success_rate(self) -> float:
        """The share of episodes that ended in success."""
        return float(self.success_N.mean())


def evaluate(
    policy: Policy, task: Task, frame_stack: int, *, each_step: Callable[[NDArray[np.bool_]], None] | None = None
) -> Evaluation:
    """Let the policy act, without noise, until every environment has finished one episode.

    One episode each, so that short episodes do not count more often than long ones.

    Args:
        policy: what acts.
        task: freshly built; it is reset here.
        frame_stack: frames in an observation.
        each_step: called after the reset and after each step with which environments are still in the episode that
            counts, to draw them.
    """
    stack = FrameStack(task.spec, frame_stack, task.num_envs)
    running_N = np.ones(task.num_envs, bool)
    return_N, length_N = np.zeros(task.num_envs), np.zeros(task.num_envs, np.int64)
    success_N = np.zeros(task.num_envs, bool)
    observation = stack.push(task.reset())
    if each_step is not None:
        each_step(running_N)
    while running_N.any():
        step = task.step(policy.act(observation, 0.0, explore=False))
        observation = stack.push(step.frame, step.first_N)
        return_N += np.where(running_N, step.reward_N, 0.0)
        length_N += running_N
        success_N |= running_N & step.success_N
        if each_step is not None:
            each_step(running_N)
        running_N &= ~(step.terminated_N | step.truncated_N)
    return Evaluation(return_N, length_N, success_N)
