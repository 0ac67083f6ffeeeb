"""What a batch of experience is, between the environments that make it and the learner that learns from it.

T is the rollout's length in steps of each environment, N the number of environments, O an observation's shape and A
that of a continuous action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Observation: TypeAlias = "NDArray[Any] | Mapping[str, NDArray[Any]]"
"""One array, or one by name where there are several, such as `image` and `state`."""


def each(observation: Observation, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Observation:
    """The same done to every array of an observation."""
    if isinstance(observation, Mapping):
        return {name: change(part) for name, part in observation.items()}
    return change(observation)


def joined(parts: Sequence[Observation]) -> Observation:
    """Observations one after the other, along the first axis, in arrays of their own."""
    first: Any = parts[0]
    others: Any = parts
    if isinstance(first, Mapping):
        return {name: np.concatenate([part[name] for part in others]) for name in first}
    return np.concatenate(others)


class Ends(NamedTuple):
    """Observations that a rollout ends or is cut off at, which no row of it holds; as the policy would have seen them.

    K truncations are told here: those after which the next row has another episode's first observation. Where a step of
    its own resets, the row after a truncation has the last observation, and K is 0.
    """

    last_NO: Observation
    """After the last row."""
    final_KO: Observation | None
    """The last of each truncated episode; None where K is 0."""
    place_K2: NDArray[np.int64]
    """The row t and the environment n of each."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """T steps of each of N environments, under one policy.

    A step is what happened to the observation of its row: `reward_TN[t]` and the two ends are of the action taken
    there. An environment with Gymnasium's autoreset at the *next* step spends one step on its reset, in which the
    action is ignored: that step is not valid, belongs to no episode and counts for nothing.

    Args:
        observation_TNO: float32, or bytes for images; by name where there are several.
        action_TN: int64 `(T, N)` for discrete actions, float32 `(T, N, A)` for continuous ones, before clipping.
        logprob_TN: float32, of the action under the policy that took it.
        value_TN: float32, what that policy's critic said of the observation.
        reward_TN: float32, as it is learned from: scaled, if rewards are.
        terminated_TN: bool, whether the episode ended here by its own rules: nothing comes after.
        truncated_TN: bool, whether it was cut off here: `final_value_TN` says what would have come after.
        valid_TN: bool, False for a step that was spent on a reset.
        final_value_TN: float32, the critic's value of the observation an episode was truncated at; 0 elsewhere.
        last_value_N: float32, its value of the observation after the last row.
        policy_age: batches learned from between the weights that acted and those that learn, 0 where they are the same.
        ends: what `correcting.corrected` needs besides; None where nobody asked for it.
        weight_TN: float32, how much likelier the action is under the weights that learn than under those that acted, up
            to a bound: what it counts for, see `gae.advantages`. None, which is 1, as long as nothing was corrected.
    """

    observation_TNO: Observation
    action_TN: NDArray[Any]
    logprob_TN: NDArray[np.float32]
    value_TN: NDArray[np.float32]
    reward_TN: NDArray[np.float32]
    terminated_TN: NDArray[np.bool_]
    truncated_TN: NDArray[np.bool_]
    valid_TN: NDArray[np.bool_]
    final_value_TN: NDArray[np.float32]
    last_value_N: NDArray[np.float32]
    policy_age: int = 0
    ends: Ends | None = None
    weight_TN: NDArray[np.float32] | None = None

    @property
    def length(self) -> int:
        """T."""
        return self.reward_TN.shape[0]

    @property
    def num_envs(self) -> int:
        """N."""
        return self.reward_TN.shape[1]

    @property
    def env_steps(self) -> int:
        """The steps that environments took: all that are valid."""
        return int(np.count_nonzero(self.valid_TN))
