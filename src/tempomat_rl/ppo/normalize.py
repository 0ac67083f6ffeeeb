"""Observations and rewards on a common scale, by what has been seen of them so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Observation

CLIP = 10.0
"""Normalized observations and rewards lie within this."""
EPSILON = 1e-8


@final
class Running:
    """Mean and variance of everything shown so far, in float64.

    Source:
        Chan, Golub and LeVeque 1979, for taking in a batch at once.

    Agrees with:
        Stable-Baselines3's `RunningMeanStd`, which begins with mean 0 and variance 1 as if of 1e-4 samples.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.var, self.count = np.zeros(shape), np.ones(shape), 1e-4

    def update(self, values: NDArray[Any]) -> None:
        """Take in samples, along the first axis."""
        mean, var, count = values.mean(0, dtype=np.float64), values.var(0, dtype=np.float64), len(values)
        total, delta = self.count + count, mean - self.mean
        squares = self.var * self.count + var * count + delta * delta * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.var, self.count = squares / total, total

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"mean": self.mean, "var": self.var, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.mean, self.var, self.count = np.asarray(state["mean"]), np.asarray(state["var"]), float(state["count"])


@final
class Normalizer:
    r"""Observations with mean 0 and deviation 1; rewards by the deviation of their discounted sum.

    .. math::
        o' = \operatorname{clip}\!\Big(\frac{o - \mu}{\sqrt{\sigma^2 + 10^{-8}}}\Big), \qquad
        r' = \operatorname{clip}\!\Big(\frac{r}{\sqrt{\sigma_R^2 + 10^{-8}}}\Big), \qquad
        R_t = \gamma R_{t-1} + r_t

    clipped to :math:`\pm 10`. Images are left as they are: their bytes have a scale already.

    Args:
        observations, rewards: which of the two.
        shapes: of one observation, by name; `""` for one without.

    Agrees with:
        Stable-Baselines3's `VecNormalize`.
    """

    def __init__(self, observations: bool, rewards: bool, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._seen = {name: Running(shape) for name, shape in shapes.items()} if observations else {}
        self._returns = Running(()) if rewards else None
        self._sum_N = np.zeros(0)

    def observe(self, observation: Observation, *, learn: bool = True) -> Observation:
        """Observations of N environments as the policy sees them, in float32 (images in bytes).

        Args:
            observation: as the environments give it.
            learn: whether they are taken in.
        """
        if isinstance(observation, Mapping):
            return {name: self._scaled(name, part, learn) for name, part in observation.items()}
        return self._scaled("", observation, learn)

    def _scaled(self, name: str, array: NDArray[Any], learn: bool) -> NDArray[Any]:
        running = self._seen.get(name)
        if running is None:
            return array if array.dtype == np.uint8 else array.astype(np.float32, copy=False)
        if learn:
            running.update(array)
        scaled = (array - running.mean) / np.sqrt(running.var + EPSILON)
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32)

    def reward(self, reward_N: NDArray[Any], ended_N: NDArray[np.bool_], gamma: float) -> NDArray[Any]:
        """Rewards of one step as they are learned from.

        Args:
            reward_N: as the environments give them.
            ended_N: where an episode ended with them.
            gamma: the discount at present.
        """
        if self._returns is None:
            return reward_N
        more = len(reward_N) - len(self._sum_N)
        if more > 0:
            self._sum_N = np.concatenate([self._sum_N, np.zeros(more)])
        sum_N = self._sum_N[: len(reward_N)]
        sum_N *= gamma
        sum_N += reward_N
        self._returns.update(sum_N)
        sum_N[ended_N] = 0.0
        return np.clip(reward_N / np.sqrt(self._returns.var + EPSILON), -CLIP, CLIP)

    def state_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return {
            "observations": {name: running.state_dict() for name, running in self._seen.items()},
            "returns": None if self._returns is None else self._returns.state_dict(),
            "sum_N": self._sum_N.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name, running in self._seen.items():
            running.load_state_dict(state["observations"][name])
        if self._returns is not None:
            self._returns.load_state_dict(state["returns"])
        self._sum_N = state["sum_N"].copy()
