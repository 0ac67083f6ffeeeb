"""How actions are drawn from what a policy says, the same for every kind of network.

Shapes: N environments; A actions to choose among, or numbers per action; H features of the last hidden layer.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.ppo import kernels
from tempomat_rl.ppo.learner import Action
from tempomat_rl.ppo.options import LearnerError, NetworkSettings

Floats = NDArray[np.float32]
SDE_FLOOR = 1e-6
"""Stable-Baselines3's: added to gSDE's variances, which are 0 where all features are."""


def action_size(action_space: Any) -> tuple[int, bool]:
    """How many actions there are to choose among, or numbers in one; and whether it is the former."""
    count, shape = getattr(action_space, "n", None), getattr(action_space, "shape", None)
    if count is not None and not shape and np.ndim(count) == 0 and getattr(action_space, "start", 0) == 0:
        return int(count), True
    if hasattr(action_space, "low") and shape is not None and len(shape) == 1:
        return int(shape[0]), False
    raise LearnerError(f"action_space: must be Discrete from 0 on, or a Box of one dimension, got {action_space}.")


@final
class Drawing:
    """Draws actions, and holds what gSDE keeps from one draw to the next.

    Args:
        discrete: whether a policy says logits, or else means.
        network: `sde` and `sde_every` are read.
    """

    def __init__(self, discrete: bool, network: NetworkSettings) -> None:
        self.discrete, self._sde, self._every = discrete, network.sde, network.sde_every
        self.begin()

    def begin(self) -> None:
        """The next draw is the first of a rollout."""
        self._acted, self._noise_NHA = 0, None

    def draw(
        self, out_NA: Floats, features_NH: Floats, log_std: Floats, rng: np.random.Generator
    ) -> tuple[Action, Floats]:
        """Actions and their log probabilities; `log_std` is `(A,)`, or `(H, A)` under gSDE, and unused by logits."""
        if self.discrete:
            return kernels.draw_discrete(out_NA, rng.random(len(out_NA)))
        variance_NA = self.variance(features_NH, log_std)
        noise_NA = self._noise(features_NH, log_std, rng)
        return out_NA + noise_NA, kernels.gaussian_logprob(noise_NA, variance_NA)

    def logprob(self, out_NA: Floats, features_NH: Floats, log_std: Floats, action_N: Action) -> Floats:
        """Log probabilities of actions that were taken; under gSDE whatever its noise was, as `draw` tells them."""
        if self.discrete:
            return kernels.discrete_logprob(out_NA, action_N)
        return kernels.gaussian_logprob(action_N - out_NA, self.variance(features_NH, log_std))

    def variance(self, features_NH: Floats, log_std: Floats) -> Floats:
        """Of the actions, `(N, A)`: under gSDE each feature brings its own."""
        if not self._sde:
            return np.broadcast_to(np.exp(2.0 * log_std), (len(features_NH), *log_std.shape))
        return np.square(features_NH) @ np.exp(2.0 * log_std) + np.float32(SDE_FLOOR)

    def _noise(self, features_NH: Floats, log_std: Floats, rng: np.random.Generator) -> Floats:
        count = len(features_NH)
        if not self._sde:
            return rng.standard_normal((count, *log_std.shape), np.float32) * np.exp(log_std)
        held_NHA = self._noise_NHA
        if held_NHA is None or len(held_NHA) != count or (self._every and self._acted % self._every == 0):
            held_NHA = rng.standard_normal((count, *log_std.shape), np.float32) * np.exp(log_std)
            self._noise_NHA = held_NHA
        self._acted += 1
        return np.matmul(features_NH[:, None], held_NHA)[:, 0]
