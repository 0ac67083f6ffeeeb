"""Experience: T steps of N environments under a policy, with an account of every step and every episode.

Shapes as in `batch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Ends, Observation, Rollout, joined
from tempomat_rl.ppo.envs import Envs
from tempomat_rl.ppo.normalize import Normalizer


class Policy(Protocol):
    """What acts: a `Learner`."""

    def begin(self, num_envs: int, rng: np.random.Generator) -> None:
        """A rollout begins."""
        ...

    def act(self, observation_NO: Any, rng: np.random.Generator) -> tuple[Any, NDArray[Any], NDArray[Any]]:
        """Actions, their log probabilities, and the critic's values."""
        ...

    def value(self, observation_NO: Any) -> NDArray[np.float32]:
        """The critic's values."""
        ...


class Episode(NamedTuple):
    """How an episode ended."""

    total: float
    """its rewards, summed up, not scaled"""
    length: int
    success: bool | None
    """None where the environment does not say"""


@final
class Collector:
    """Steps environments under a policy, without ever beginning anew between two rollouts.

    Args:
        envs: that are stepped.
        normalizer: of observations and rewards.
        rng: of actions.
    """

    def __init__(self, envs: Envs, normalizer: Normalizer, rng: np.random.Generator) -> None:
        self.envs, self.normalizer, self.rng = envs, normalizer, rng
        self.episodes: list[Episode] = []
        """Those that ended since somebody last cleared the list."""
        self._observation: Observation = np.zeros(0)
        self._return_N, self._length_N = np.zeros(0), np.zeros(0, np.int64)
        self._to_env = action_for(envs.action_space)

    def begin(self) -> None:
        """Begin an episode in every environment."""
        self._observation = self.normalizer.observe(self.envs.reset())
        self._account(self.envs.num_envs)

    def collect(
        self,
        policy: Policy,
        length: int,
        num_envs: int,
        *,
        gamma: float,
        noise: float = 0.0,
        policy_age: int = 0,
        keep_ends: bool = False,
    ) -> Rollout:
        """A rollout; `episodes` gets those that ended in it.

        Args:
            policy: that acts.
            length: T.
            num_envs: N.
            gamma: the discount at present, which rewards are scaled by.
            noise: standard deviation of what is added to observations, as the policy sees them.
            policy_age: for the rollout.
            keep_ends: whether the rollout gets its `ends`, without which nothing can correct it.
        """
        if num_envs != self.envs.num_envs:
            self._observation = self.normalizer.observe(self.envs.resize(num_envs), learn=False)
            self._account(num_envs)
        policy.begin(num_envs, self.rng)
        arrays = _Arrays(length, num_envs, self._observation)
        observation = self._noisy(self._observation, noise)
        for t in range(length):
            action_N, logprob_N, value_N = policy.act(observation, self.rng)
            step = self.envs.step(self._to_env(action_N))
            ended_N = step.terminated_N | step.truncated_N
            arrays.see(t, observation, action_N, logprob_N, value_N)
            arrays.reward_TN[t] = self.normalizer.reward(step.reward_N, ended_N, gamma)
            arrays.terminated_TN[t], arrays.truncated_TN[t] = step.terminated_N, step.truncated_N
            arrays.valid_TN[t] = step.valid_N
            if step.final is not None:
                places, final = step.final
                final = self.normalizer.observe(final, learn=False)
                arrays.final_value_TN[t, places] = policy.value(final)
                if keep_ends:
                    arrays.cut(t, places, final)
            self._count(step.reward_N, step.valid_N)
            if ended_N.any():
                self._end(ended_N, step.success_N)
            self._observation = self.normalizer.observe(step.observation)
            observation = self._noisy(self._observation, noise)
        ends = arrays.ends(observation) if keep_ends else None
        return arrays.rollout(policy.value(observation), self.envs.resets_at_next_step, policy_age, ends)

    def _noisy(self, observation: Observation, noise: float) -> Observation:
        if not noise:
            return observation
        if isinstance(observation, Mapping):
            return {name: self._with_noise(part, noise) for name, part in observation.items()}
        return self._with_noise(observation, noise)

    def _with_noise(self, array: NDArray[Any], noise: float) -> NDArray[Any]:
        if array.dtype == np.uint8:
            return array
        return array + np.float32(noise) * self.rng.standard_normal(array.shape, np.float32)

    def _account(self, num_envs: int) -> None:
        """Room for the sums of as many running episodes; those of paused ones stay."""
        more = max(num_envs - len(self._return_N), 0)
        self._return_N = np.concatenate([self._return_N, np.zeros(more)])
        self._length_N = np.concatenate([self._length_N, np.zeros(more, np.int64)])

    def _count(self, reward_N: NDArray[Any], valid_N: NDArray[np.bool_]) -> None:
        active = slice(self.envs.num_envs)
        self._return_N[active] += reward_N
        self._length_N[active] += valid_N

    def _end(self, ended_N: NDArray[np.bool_], success_N: NDArray[np.bool_] | None) -> None:
        for place in np.flatnonzero(ended_N).tolist():
            success = None if success_N is None else bool(success_N[place])
            self.episodes.append(Episode(float(self._return_N[place]), int(self._length_N[place]), success))
            self._return_N[place], self._length_N[place] = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain data and arrays, between two rollouts."""
        return {
            "envs": self.envs.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "observation": self._observation,
            "return_N": self._return_N.copy(),
            "length_N": self._length_N.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            StateError: the environments cannot be brought to where they were.
        """
        self.envs.load_state_dict(state["envs"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.rng.bit_generator.state = state["rng"]
        self._observation = state["observation"]
        self._return_N, self._length_N = state["return_N"].copy(), state["length_N"].copy()

    def begin_anew(self, state: Mapping[str, Any]) -> int:
        """Go on from a state whose environments cannot be brought back: with new episodes. Returns how many it had."""
        self.normalizer.load_state_dict(state["normalizer"])
        self.rng.bit_generator.state = state["rng"]
        self._observation = self.normalizer.observe(self.envs.begin_anew(state["envs"]))
        running = int(np.count_nonzero(state["length_N"]))
        self._return_N, self._length_N = np.zeros_like(state["return_N"]), np.zeros_like(state["length_N"])
        return running


class _Arrays:
    """A rollout while it is filled."""

    def __init__(self, length: int, num_envs: int, observation: Observation) -> None:
        shape = (length, num_envs)
        self.observation_TNO: Observation = (
            {name: np.empty((length, *part.shape), part.dtype) for name, part in observation.items()}
            if isinstance(observation, Mapping)
            else np.empty((length, *observation.shape), observation.dtype)
        )
        self.action_TN: NDArray[Any] | None = None
        self.logprob_TN, self.value_TN, self.reward_TN = np.empty((3, *shape), np.float32)
        self.final_value_TN = np.zeros(shape, np.float32)
        self.terminated_TN, self.truncated_TN, self.valid_TN = np.empty((3, *shape), bool)
        self._finals: list[Observation] = []
        self._places: list[tuple[int, int]] = []

    def see(
        self, t: int, observation: Observation, action_N: NDArray[Any], logprob_N: NDArray[Any], value_N: NDArray[Any]
    ) -> None:
        """A decision: what it was made on, and what it is."""
        if isinstance(self.observation_TNO, Mapping):
            for name, part in self.observation_TNO.items():
                part[t] = observation[name]  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            self.observation_TNO[t] = observation
        if self.action_TN is None:
            self.action_TN = np.empty((len(self.value_TN), *action_N.shape), action_N.dtype)
        self.action_TN[t], self.logprob_TN[t], self.value_TN[t] = action_N, logprob_N, value_N

    def cut(self, t: int, places: list[int], final: Observation) -> None:
        """Episodes were truncated at these observations."""
        self._finals.append(final)
        self._places += [(t, place) for place in places]

    def ends(self, last_NO: Observation) -> Ends:
        """All that were truncated, and the observations after the last row."""
        place_K2 = np.array(self._places, np.int64).reshape(-1, 2)
        return Ends(joined([last_NO]), joined(self._finals) if self._finals else None, place_K2)

    def rollout(
        self, last_value_N: NDArray[np.float32], resets_at_next_step: bool, policy_age: int, ends: Ends | None = None
    ) -> Rollout:
        """Complete. Where a step of its own resets, the row after a truncation holds the last observation's value."""
        if resets_at_next_step:
            after_TN = np.concatenate([self.value_TN[1:], last_value_N[None]])
            np.copyto(self.final_value_TN, after_TN, where=self.truncated_TN & ~self.terminated_TN)
        return Rollout(
            observation_TNO=self.observation_TNO,
            action_TN=np.zeros(0) if self.action_TN is None else self.action_TN,
            logprob_TN=self.logprob_TN,
            value_TN=self.value_TN,
            reward_TN=self.reward_TN,
            terminated_TN=self.terminated_TN,
            truncated_TN=self.truncated_TN,
            valid_TN=self.valid_TN,
            final_value_TN=self.final_value_TN,
            last_value_N=last_value_N,
            policy_age=policy_age,
            ends=ends,
        )


def action_for(space: spaces.Space[Any]) -> Any:
    """What makes a policy's actions into those of a space: continuous ones are clipped to its bounds."""
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        return lambda action_NA: np.clip(action_NA, low, high)
    start = int(getattr(space, "start", 0))
    return (lambda action_N: action_N + start) if start else (lambda action_N: action_N)
