"""Dense policies without a framework: NumPy's matrix products, compiled losses, gradients written by hand.

A minibatch of 256 costs a fraction of a millisecond here and several times that in torch, whose price is not the
arithmetic but some 100 dispatched operations.

Shapes: S samples, B of them in a minibatch, N environments; O numbers per observation, A per action (or to choose
among), H features of the last hidden layer, P weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import shown
from tempomat_rl.ppo import kernels
from tempomat_rl.ppo.batch import Observation, Rollout
from tempomat_rl.ppo.drawing import Drawing, action_size
from tempomat_rl.ppo.learner import Action, Learner, Samples, Settings, refuse_state, refuse_unfit, too_far
from tempomat_rl.ppo.options import LearnerError, NetworkSettings, UpdateSettings

Floats = NDArray[np.float32]


def obstacles(observation_space: Any, network: NetworkSettings) -> list[str]:
    """Why there is no fast learner for these spaces; empty if there is one."""
    reasons = []
    shape = getattr(observation_space, "shape", None)
    if shape is None or len(shape) != 1:
        reasons.append(f"observations of shape {shown(shape)} instead of one row of numbers")
    if network.shared:
        reasons.append("a trunk that policy and critic share")
    if network.device != "cpu":
        reasons.append(f"the device {network.device}")
    return reasons


def orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float) -> Floats:
    """Weights whose rows, or columns where these are fewer, are orthogonal and of length `gain` (Saxe et al. 2014)."""
    drawn = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diag(r))  # makes the draw uniform over all such matrices
    return (gain * (q if rows >= columns else q.T)).astype(np.float32)


def first_layer(
    rng: np.random.Generator, ins: int, outs: int, gain: float, is_orthogonal: bool
) -> tuple[Floats, Floats]:
    """Weights `(ins, outs)` and biases that a layer starts with."""
    if is_orthogonal:
        return orthogonal(rng, ins, outs, gain), np.zeros(outs, np.float32)
    most = 1.0 / math.sqrt(ins)  # torch's, for both
    return rng.uniform(-most, most, (ins, outs)).astype(np.float32), rng.uniform(-most, most, outs).astype(np.float32)


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Matrix products on one thread: products this small get several times slower when cores share them."""
    return _libraries().limit(limits=1, user_api="blas")


@final
class Dense:
    """Dense layers over parts of the learner's vectors of weights and gradients."""

    def __init__(self, layers: list[tuple[Floats, Floats]], slopes: list[tuple[Floats, Floats]], tanh: bool) -> None:
        self.layers, self.slopes = layers, slopes
        self._activate = np.tanh if tanh else lambda x, out: np.maximum(x, 0.0, out=out)
        self._through = kernels.through_tanh if tanh else kernels.through_relu
        self._rows = 0
        self.inputs: list[Floats] = []

    def _make_room(self, rows: int) -> None:
        if rows > self._rows:
            self._rows = rows
            self._outs = [np.empty((rows, len(bias)), np.float32) for _, bias in self.layers]
            self._backs = [np.empty((rows, len(bias)), np.float32) for _, bias in self.layers[:-1]]

    def forward(self, observation_BO: Floats) -> Floats:
        """Into a place that the next call writes over; `inputs` holds what each layer saw."""
        rows, last = len(observation_BO), len(self.layers) - 1
        self._make_room(rows)
        self.inputs = [observation_BO]
        for place, (weight, bias) in enumerate(self.layers):
            out = self._outs[place][:rows]
            np.dot(self.inputs[-1], weight, out=out)
            out += bias
            if place < last:
                self._activate(out, out=out)
                self.inputs.append(out)
        return out

    def backward(self, slope: Floats) -> None:
        """From the gradient by the output to those by weights and biases."""
        self.slopes[-1][1][:] = slope.sum(axis=0)
        for place in range(len(self.layers) - 1, -1, -1):
            np.dot(self.inputs[place].T, slope, out=self.slopes[place][0])
            if place:
                behind = self._backs[place - 1][: len(slope)]
                np.dot(slope, self.layers[place][0].T, out=behind)
                self._through(behind, self.inputs[place], self.slopes[place - 1][1])
                slope = behind


@final
class FastLearner(Learner):
    """Separate dense networks for policy and critic; actions discrete, Gaussian, or Gaussian with gSDE.

    Args, errors and everything else as of `make_learner`.
    """

    def __init__(self, observation_space: Any, action_space: Any, network: NetworkSettings, *, seed: int) -> None:
        if reasons := obstacles(observation_space, network):
            raise LearnerError(f"network.kind: fast cannot be, for {'; '.join(reasons)}. Use torch.")
        self.network = network
        self._actions, discrete = action_size(action_space)
        self._drawing = Drawing(discrete, network)
        self._build(int(observation_space.shape[0]), np.random.default_rng(seed))
        self.optimizer_steps = 0

    def _build(self, size: int, rng: np.random.Generator) -> None:
        network = self.network
        first = dict(self._first_weights(size, rng))
        self._names = {name: array.shape for name, array in first.items()}
        self.weight_P = np.concatenate([array.ravel() for array in first.values()])
        self.slope_P, self.first_P, self.second_P = np.zeros((3, len(self.weight_P)), np.float32)
        weights, slopes = self._parts(self.weight_P), self._parts(self.slope_P)
        self._of_policy = sum(array.size for name, array in first.items() if not name.startswith("value."))
        self.policy, self.critic = (
            Dense(_layers(weights, name), _layers(slopes, name), network.activation == "tanh")
            for name in ("policy", "value")
        )
        self.log_std, self._log_std_slope = weights["log_std"], slopes["log_std"]

    def _first_weights(self, size: int, rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
        network, outs = self.network, {"policy": self._actions, "value": 1}
        value_layers = network.policy_layers if network.value_layers is None else network.value_layers
        widths = {"policy": network.policy_layers, "value": value_layers}
        for name, head_gain in (("policy", 0.01), ("value", 1.0)):
            sizes = [size, *widths[name], outs[name]]
            gains = [math.sqrt(2.0)] * len(widths[name]) + [head_gain]
            for place, (before, after, gain) in enumerate(zip(sizes, sizes[1:], gains, strict=False)):
                weight, bias = first_layer(rng, before, after, gain, network.orthogonal)
                yield f"{name}.{place}.weight", weight
                yield f"{name}.{place}.bias", bias
            if name == "policy":
                yield "log_std", np.full(self._spread_shape(sizes[-2]), network.log_std_init, np.float32)

    def _spread_shape(self, features: int) -> tuple[int, ...]:
        """Of the logarithms of deviations: none for choices, one per action number, or one per feature as well."""
        if self._drawing.discrete:
            return (0,)
        return (features, self._actions) if self.network.sde else (self._actions,)

    def _parts(self, vector_P: Floats) -> dict[str, Floats]:
        """One vector seen as the arrays it is made of, without a copy."""
        ends = np.cumsum([math.prod(shape) for shape in self._names.values()])
        return {
            name: part.reshape(shape)
            for part, (name, shape) in zip(np.split(vector_P, ends[:-1]), self._names.items(), strict=True)
        }

    # acting

    def begin(self, num_envs: int, rng: np.random.Generator) -> None:
        self._drawing.begin()

    def act(self, observation_NO: Observation, rng: np.random.Generator) -> tuple[Action, Floats, Floats]:
        observation_NO = self._row(observation_NO)
        out_NA, value_N1 = self.policy.forward(observation_NO), self.critic.forward(observation_NO)
        action_N, logprob_N = self._drawing.draw(out_NA, self.policy.inputs[-1], self.log_std, rng)
        return action_N, logprob_N, value_N1[:, 0].copy()

    def evaluate(self, observation_NO: Observation) -> Action:
        out_NA = self.policy.forward(self._row(observation_NO))
        return out_NA.argmax(axis=1) if self._drawing.discrete else out_NA.copy()

    def value(self, observation_NO: Observation) -> Floats:
        return self.critic.forward(self._row(observation_NO))[:, 0].copy()

    def judge(self, observation_SO: Observation, action_S: Action) -> tuple[Floats, Floats]:
        with one_thread():
            return super().judge(observation_SO, action_S)

    def _judge(self, observation_NO: Observation, action_N: Action) -> tuple[Floats, Floats]:
        observation_NO = self._row(observation_NO)
        out_NA, value_N1 = self.policy.forward(observation_NO), self.critic.forward(observation_NO)
        logprob_N = self._drawing.logprob(out_NA, self.policy.inputs[-1], self.log_std, action_N)
        return logprob_N, value_N1[:, 0].copy()

    def _row(self, observation_NO: Observation) -> Floats:
        return np.ascontiguousarray(observation_NO, np.float32)

    # learning

    def update(self, rollout: Rollout, settings: Settings, rng: np.random.Generator) -> dict[str, float]:
        with one_thread():
            return super().update(rollout, settings, rng)

    def step(self, samples: Samples, chosen_B: NDArray[np.int64], now: UpdateSettings) -> tuple[float, ...]:
        observation_BO = np.take(samples.observation_SO, chosen_B, axis=0)  # type: ignore[call-overload]
        out_BA, value_B = self.policy.forward(observation_BO), self.critic.forward(observation_BO)[:, 0]
        advantage_B = kernels.normalized(samples.advantage_S, chosen_B, now.normalize_advantage)
        if samples.weight_S is not None:
            advantage_B *= samples.weight_S[chosen_B]
        told: Any = chosen_B, samples.action_S, samples.logprob_S, advantage_B, now.clip_range, now.entropy_coef
        if self._drawing.discrete:
            slope_BA, policy_loss, entropy, kl, clipped = kernels.learn_discrete(out_BA, *told)
        else:
            variance_BA = self._drawing.variance(self.policy.inputs[-1], self.log_std)
            slope_BA, by_variance_BA, policy_loss, entropy, kl, clipped = kernels.learn_gaussian(
                out_BA, variance_BA, *told
            )
            self._log_std_back(by_variance_BA)
        most = now.clip_range_vf or 0.0
        slope_B1, value_loss = kernels.learn_value(
            value_B, chosen_B, samples.value_S, samples.return_S, most, now.value_coef
        )
        measured = policy_loss, value_loss, entropy, kl, clipped
        if too_far(kl, now):
            return *measured, 0.0, 0.0
        self.policy.backward(slope_BA)
        self.critic.backward(slope_B1)
        return *measured, *self._descend(now)

    def _log_std_back(self, by_variance_BA: Floats) -> None:
        r"""The gradient by :math:`\log \sigma`, since :math:`d\sigma^2 / d\log\sigma = 2\sigma^2`.

        Features reach the variance of gSDE as they are, but nothing flows back through it to them.
        """
        twice = 2.0 * np.exp(2.0 * self.log_std)
        if self.network.sde:
            np.dot(np.square(self.policy.inputs[-1]).T, by_variance_BA, out=self._log_std_slope)
            self._log_std_slope *= twice
        else:
            np.multiply(by_variance_BA.sum(axis=0), twice, out=self._log_std_slope)

    def _descend(self, now: UpdateSettings) -> tuple[float, float]:
        """Clip the gradient, step both networks, and give the norms from before clipping."""
        split = self._of_policy
        parts = slice(None, split), slice(split, None)
        policy_norm, value_norm = (math.sqrt(float(np.dot(self.slope_P[part], self.slope_P[part]))) for part in parts)
        refuse_unfit(policy_norm, value_norm, self.optimizer_steps)
        scale = 1.0
        if now.max_grad_norm is not None:
            scale = min(
                1.0, now.max_grad_norm / (math.hypot(policy_norm, value_norm) + 1e-6)
            )  # torch's clip_grad_norm_
        value_lr = now.policy_lr if now.value_lr is None else now.value_lr
        for part, lr in zip(parts, (now.policy_lr, value_lr), strict=True):
            vectors = self.weight_P[part], self.slope_P[part], self.first_P[part], self.second_P[part]
            kernels.adam(*vectors, scale, lr, self.optimizer_steps + 1)
        return policy_norm, value_norm

    def measurements(self) -> dict[str, float]:
        return {} if self._drawing.discrete else {"std": float(np.exp(self.log_std).mean())}

    # keeping

    @property
    def norms(self) -> dict[str, float]:
        split = self._of_policy
        return {
            "policy": float(np.linalg.norm(self.weight_P[:split])),
            "value": float(np.linalg.norm(self.weight_P[split:])),
        }

    def state_dict(self) -> dict[str, Any]:
        vectors = {"weights": self.weight_P, "first_moments": self.first_P, "second_moments": self.second_P}
        copies = {
            key: {name: part.copy() for name, part in self._parts(vector).items()} for key, vector in vectors.items()
        }
        return {"optimizer_steps": self.optimizer_steps, **copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        refuse_state(state, self._names)
        vectors = {"weights": self.weight_P, "first_moments": self.first_P, "second_moments": self.second_P}
        for key, vector in vectors.items():
            for name, part in self._parts(vector).items():
                part[:] = state[key][name]
        self.optimizer_steps = int(state["optimizer_steps"])
        self._drawing.begin()


def _layers(parts: Mapping[str, Floats], name: str) -> list[tuple[Floats, Floats]]:
    places = range(sum(key.startswith(f"{name}.") for key in parts) // 2)
    return [(parts[f"{name}.{place}.weight"], parts[f"{name}.{place}.bias"]) for place in places]
