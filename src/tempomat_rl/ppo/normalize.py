"""Observations and rewards on a common scale, by what has been seen of them so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Observation

CLIP = 10.0
"""Normalized observations and rewards lie within this."""
EPSILON = 1e-8
_RETURNS = "return"
_OBSERVED = "observation "
"""What statistics of observations are called, with the part's name behind it; others are of discounted rewards."""


@final
class Running:
    """Mean and variance of everything shown so far, in float64.

    Source:
        Chan, Golub and LeVeque 1979, for taking in a batch at once.

    Args:
        shape: of one sample.
        count: samples that mean 0 and variance 1 stand for at first.

    Agrees with:
        Stable-Baselines3's `RunningMeanStd`, which begins with mean 0 and variance 1 as if of 1e-4 samples.
    """

    def __init__(self, shape: tuple[int, ...], count: float = 1e-4) -> None:
        self.mean, self.var, self.count = np.zeros(shape), np.ones(shape), count

    def update(self, values: NDArray[Any]) -> None:
        """Take in samples, along the first axis."""
        self._take_in(values.mean(0, dtype=np.float64), values.var(0, dtype=np.float64), len(values))

    def merge(self, state: Mapping[str, Any]) -> None:
        """Take in what another has seen, as its `state_dict` says."""
        if state["count"]:
            self._take_in(state["mean"], state["var"], state["count"])

    def _take_in(self, mean: Any, var: Any, count: float) -> None:
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
        with_news: whether what is seen is also kept apart, for `take_news`.

    Agrees with:
        Stable-Baselines3's `VecNormalize`.
    """

    def __init__(
        self, observations: bool, rewards: bool, shapes: Mapping[str, tuple[int, ...]], *, with_news: bool = False
    ) -> None:
        observed = {_OBSERVED + name: shape for name, shape in shapes.items()} if observations else {}
        self._shapes: dict[str, tuple[int, ...]] = {**observed, **({_RETURNS: ()} if rewards else {})}
        self._seen = {name: Running(shape) for name, shape in self._shapes.items()}
        self._with_news = with_news
        self._news = self._unseen()
        self._sum_N = np.zeros(0)

    def _unseen(self) -> dict[str, Running]:
        return {name: Running(shape, 0) for name, shape in self._shapes.items()} if self._with_news else {}

    def _learn(self, name: str, values: NDArray[Any]) -> None:
        self._seen[name].update(values)
        if self._with_news:
            self._news[name].update(values)

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
        name = _OBSERVED + name
        running = self._seen.get(name)
        if running is None:
            return array if array.dtype == np.uint8 else array.astype(np.float32, copy=False)
        if learn:
            self._learn(name, array)
        scaled = (array - running.mean) / np.sqrt(running.var + EPSILON)
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32)

    def reward(self, reward_N: NDArray[Any], ended_N: NDArray[np.bool_], gamma: float) -> NDArray[Any]:
        """Rewards of one step as they are learned from.

        Args:
            reward_N: as the environments give them.
            ended_N: where an episode ended with them.
            gamma: the discount at present.
        """
        returns = self._seen.get(_RETURNS)
        if returns is None:
            return reward_N
        more = len(reward_N) - len(self._sum_N)
        if more > 0:
            self._sum_N = np.concatenate([self._sum_N, np.zeros(more)])
        sum_N = self._sum_N[: len(reward_N)]
        sum_N *= gamma
        sum_N += reward_N
        self._learn(_RETURNS, sum_N)
        sum_N[ended_N] = 0.0
        return np.clip(reward_N / np.sqrt(returns.var + EPSILON), -CLIP, CLIP)

    # one normalizer for several who see

    @property
    def statistics(self) -> dict[str, Any]:
        """What has been seen, without the sums of running episodes."""
        return {name: running.state_dict() for name, running in self._seen.items()}

    def take_in(self, seen: Mapping[str, Any]) -> None:
        """Statistics of what somebody else has seen."""
        for name, running in self._seen.items():
            running.merge(seen[name])

    def take_news(self) -> dict[str, Any]:
        """Statistics of what this one has seen since it was last asked."""
        news, self._news = self._news, self._unseen()
        return {name: running.state_dict() for name, running in news.items()}

    def go_on_from(self, statistics: Mapping[str, Any]) -> None:
        """Scale by these from now on, and by what is seen from now on."""
        for name, running in self._seen.items():
            running.load_state_dict(statistics[name])

    # keeping

    def state_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return {
            "seen": self.statistics,
            "news": {name: running.state_dict() for name, running in self._news.items()},
            "sum_N": self._sum_N.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.go_on_from(state["seen"])
        for name, running in self._news.items():
            running.load_state_dict(state["news"][name])
        self._sum_N = state["sum_N"].copy()


def make_normalizer(
    space: spaces.Space[Any], observations: bool, rewards: bool, *, with_news: bool = False
) -> Normalizer:
    """For observations of a space, images left out, and for rewards.

    Args:
        space: of one environment's observation.
        observations, rewards, with_news: as of `Normalizer`.
    """
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    shapes = {name: tuple(part.shape or ()) for name, part in parts.items() if part.dtype != np.uint8}
    return Normalizer(observations, rewards, shapes, with_news=with_news)
