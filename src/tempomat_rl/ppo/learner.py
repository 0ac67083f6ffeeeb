"""What learns: the contract between a loop and its policy, and the part of PPO that every policy shares.

Shapes: T steps of N environments are S samples, a minibatch has B of them; O is an observation's shape, A the numbers
of a continuous action.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import Fault, MeasurementError, StateError, list_faults
from tempomat_rl.ppo.batch import Observation, Rollout, each
from tempomat_rl.ppo.gae import advantages
from tempomat_rl.ppo.options import LearnerError, UpdateSettings

Settings: TypeAlias = "UpdateSettings | Callable[[int], UpdateSettings]"
"""Values for a whole batch, or what they are at a count of optimizer steps."""
Action: TypeAlias = "NDArray[np.int64] | NDArray[np.float32]"
STEP_STATISTICS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "grad_norm_policy",
    "grad_norm_value",
)
"""What one minibatch is measured by, in the order in which `Learner.step` gives them."""
VECTORS = "weights", "first_moments", "second_moments"
"""What a learner's state holds for each array of weights: itself, and Adam's two means."""
AT_ONCE = 512
"""Observations that are judged at a time: as large images they take some 100 MB as numbers."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """A rollout's valid steps in a row, with what they are learned from: all float32 but discrete actions (int64)."""

    observation_SO: Observation
    action_S: Action
    logprob_S: NDArray[np.float32]
    value_S: NDArray[np.float32]
    advantage_S: NDArray[np.float32]
    return_S: NDArray[np.float32]
    weight_S: NDArray[np.float32] | None = None
    """What a sample counts for in the policy's loss; None for 1."""

    def __len__(self) -> int:
        return len(self.logprob_S)


class Learner(ABC):
    """A policy and a critic, and PPO's way of learning.

    A step of the loop is `begin` once per rollout, `act` T times, then `update`. All random numbers come from the
    generators it is handed: two learners of the same seed, handed the same numbers, do the same.
    """

    optimizer_steps: int = 0
    """Optimizer steps made so far, in all updates."""

    # acting

    def begin(self, num_envs: int, rng: np.random.Generator) -> None:
        """A rollout of `num_envs` environments starts: draws what stays the same over it, such as gSDE's noise."""

    @abstractmethod
    def act(self, observation_NO: Observation, rng: np.random.Generator) -> tuple[Action, NDArray[Any], NDArray[Any]]:
        """Actions drawn from the policy, their log probabilities, and the critic's values.

        Args:
            observation_NO: float32, or bytes for images, or several by name.
            rng: moves on by N numbers (discrete) or N x A (continuous), by none under gSDE until noise is drawn anew.

        Returns:
            int64 `(N,)`, or float32 `(N, A)` before any clipping to the action space; float32 `(N,)` twice.
        """

    @abstractmethod
    def evaluate(self, observation_NO: Observation) -> Action:
        """The likeliest action, or the mean: no randomness. Shapes as of `act`."""

    @abstractmethod
    def value(self, observation_NO: Observation) -> NDArray[np.float32]:
        """The critic's values, `(N,)`."""

    # judging what others did

    def judge(self, observation_SO: Observation, action_S: Action) -> tuple[NDArray[Any], NDArray[Any]]:
        """Log probabilities of actions under the present weights, and the critic's values: as `act` would tell them.

        Args:
            observation_SO: any number of them in a row; few go through the networks at once.
            action_S: int64 `(S,)`, or float32 `(S, A)`, as `act` gave them. Under gSDE their probabilities are those
                over all draws of its noise: which draw it was at the time of acting is not asked.

        Returns:
            float32 `(S,)` twice. Nothing is drawn, and acting goes on as if nobody had asked.
        """
        count = len(action_S)
        parts = [self._judge(seen, action_S[rows]) for rows, seen in few_at_once(observation_SO, count)]
        logprobs, values = zip(*parts, strict=True)
        return np.concatenate(logprobs), np.concatenate(values)

    @abstractmethod
    def _judge(self, observation_NO: Observation, action_N: Action) -> tuple[NDArray[Any], NDArray[Any]]:
        """The same for as many as may go through the networks at once."""

    # learning

    @abstractmethod
    def step(self, samples: Samples, chosen_B: NDArray[np.int64], now: UpdateSettings) -> tuple[float, ...]:
        """One minibatch: measure it, and unless its `approx_kl` is above 1.5 `target_kl` step the optimizer.

        Returns:
            Numbers as named by `STEP_STATISTICS`. Without a step, both norms are 0.
        """

    def update(self, rollout: Rollout, settings: Settings, rng: np.random.Generator) -> dict[str, float]:
        r"""Learn from a rollout: `epochs_per_batch` times over its valid steps, in minibatches of a new order each.

        Args:
            rollout: as this learner acted in it; its values and log probabilities are taken from there. One that older
                weights acted in is either learned from as it is, or goes through `correcting.corrected` first.
            settings: for the whole batch, or a function of the count of optimizer steps made so far
                (`optimizer_steps`). The function is asked once before each step and once after the last, with counts
                that rise by 1. Discount and lambda are those of the first, before any step; a minibatch takes the size
                of its moment from the epoch's order, and an epoch starts if its number is below `epochs_per_batch`.
            rng: of the orders.

        Returns:
            `policy_loss`, `value_loss`, `entropy`, `approx_kl`, `clip_fraction`, `grad_norm_policy`,
            `grad_norm_value` and `grad_norm` (both together, before clipping): means over the minibatches, those
            before clipping of the minibatches that stepped.
            `approx_kl_last`: mean of the last epoch alone. `grad_clip_fraction`: share of steps whose gradient was
            scaled down. `explained_variance`: of the returns by the values at the time of acting; 1 is all of it, 0
            no more than a constant would, nan where returns do not vary. `optimizer_steps`: made in this update.
            `epochs`: begun. `early_stop`: 1 where `target_kl` ended it, else 0. `samples`: valid steps. `std`: mean
            deviation of a continuous policy, after the update.

            :math:`\text{approx\_kl} = \overline{(r - 1) - \log r}` with :math:`r` the ratio of new to old
            probabilities.

        Raises:
            LearnerError: no step of the rollout is valid.
            MeasurementError: a gradient is no finite number; the networks are as they were before that step.

        Source:
            Schulman et al. 2017 (arXiv:1707.06347); for `approx_kl` Schulman 2020 (joschu.net/blog/kl-approx.html).
        """
        read = settings if callable(settings) else lambda _: settings
        first = read(self.optimizer_steps)
        samples = flatten(rollout, first)
        before, rows, epochs, stopped, clipped = self.optimizer_steps, [], [], False, 0
        for epoch, chosen_B, now in self._minibatches(len(samples), first, read, rng):
            row = self.step(samples, chosen_B, now)
            rows.append(row)
            epochs.append(epoch)
            if too_far(row[3], now):
                stopped = True
                break
            clipped += now.max_grad_norm is not None and math.hypot(row[5], row[6]) > now.max_grad_norm
            self.optimizer_steps += 1
        made = self.optimizer_steps - before
        measured = _summary(np.array(rows), np.array(epochs), made)
        return measured | {
            "grad_clip_fraction": clipped / max(made, 1),
            "explained_variance": explained_variance(samples.value_S, samples.return_S),
            "optimizer_steps": made,
            "epochs": epochs[-1] + 1,
            "early_stop": float(stopped),
            "samples": len(samples),
            **self.measurements(),
        }

    def _minibatches(
        self, size: int, now: UpdateSettings, read: Callable[[int], UpdateSettings], rng: np.random.Generator
    ) -> Iterator[tuple[int, NDArray[np.int64], UpdateSettings]]:
        epoch = 0
        while epoch < now.epochs_per_batch:
            order_S, start = rng.permutation(size), 0
            while start < size:
                end = start + now.minibatch_size
                yield epoch, order_S[start:end], now
                start, now = end, read(self.optimizer_steps)
            epoch += 1

    def measurements(self) -> dict[str, float]:
        """What the policy itself is measured by after an update: `std` of a continuous one."""
        return {}

    # keeping

    @property
    @abstractmethod
    def norms(self) -> dict[str, float]:
        """Euclidean norms of the weights: `policy`, `value`."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Plain data: numbers, and arrays by name. Loaded, it goes on bit for bit, from the next rollout on."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            StateError: names or shapes are not this learner's; nothing was changed.
        """


def few_at_once(observation_SO: Observation, count: int) -> Iterator[tuple[slice, Observation]]:
    """Observations in parts that go through the networks together, and the places of each part."""
    for start in range(0, count, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        yield rows, each(observation_SO, operator.itemgetter(rows))


def flatten(rollout: Rollout, now: UpdateSettings) -> Samples:
    """The valid steps of a rollout, in the order of its rows, with advantages and returns."""
    advantage_TN, return_TN = advantages(rollout, now.gamma, now.gae_lambda)
    valid_S = np.flatnonzero(rollout.valid_TN)
    if not len(valid_S):
        raise LearnerError("rollout: must hold at least one valid step, got none. Collect more before an update.")

    def rows(array_TN: NDArray[Any]) -> NDArray[Any]:
        flat = array_TN.reshape(rollout.length * rollout.num_envs, *array_TN.shape[2:])
        return flat if len(valid_S) == len(flat) else flat[valid_S]

    return Samples(
        observation_SO=each(rollout.observation_TNO, rows),
        action_S=rows(rollout.action_TN),
        logprob_S=rows(rollout.logprob_TN),
        value_S=rows(rollout.value_TN),
        advantage_S=rows(advantage_TN),
        return_S=rows(return_TN),
        weight_S=None if rollout.weight_TN is None else rows(rollout.weight_TN),
    )


def too_far(approx_kl: float, now: UpdateSettings) -> bool:
    """Whether the policy has moved so far that the batch ends here."""
    return now.target_kl is not None and approx_kl > 1.5 * now.target_kl


def refuse_unfit(norm_policy: float, norm_value: float, count: int) -> None:
    """Gradients that are no numbers, before they reach the weights."""
    if not math.isfinite(norm_policy + norm_value):
        name = "value" if math.isfinite(norm_policy) else "policy"
        raise MeasurementError(
            f"optimizer step {count}: the {name} gradient must be finite, got a norm of "
            f"{norm_value if name == 'value' else norm_policy}. Lower the learning rate, or look for rewards and "
            "observations that are no finite numbers."
        )


def refuse_state(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A state that is not of a learner with weights of these shapes."""
    missing = sorted({"optimizer_steps", *VECTORS} - set(state))
    if missing:
        raise StateError(f"learner: must hold {', '.join(missing)}, and does not.")
    faults = [
        Fault(f"{key}.{name}", f"must be of shape {shapes.get(name)}, got {found.get(name)}")
        for key in VECTORS
        for found in [{name: np.shape(array) for name, array in state[key].items()}]
        for name in sorted({*shapes, *found})
        if shapes.get(name) != found.get(name)
    ]
    if faults:
        raise StateError(list_faults("learner: saved by one of other networks", faults), faults)


def explained_variance(value_S: NDArray[np.float32], return_S: NDArray[np.float32]) -> float:
    r""":math:`1 - \operatorname{Var}(R - v) / \operatorname{Var}(R)`, in float64; nan where returns do not vary.

    >>> explained_variance(np.float32([1, 2, 3]), np.float32([1, 2, 3]))
    1.0
    """
    spread = float(np.var(return_S, dtype=np.float64))
    rest = np.subtract(return_S, value_S, dtype=np.float64)
    return 1.0 - float(np.var(rest)) / spread if spread else math.nan


def _summary(rows: NDArray[np.float64], epochs: NDArray[np.int64], made: int) -> dict[str, float]:
    means: dict[str, float] = dict(zip(STEP_STATISTICS, rows.mean(axis=0).tolist(), strict=True))
    norms = rows[:made, 5:]
    means["approx_kl_last"] = float(rows[epochs == epochs[-1], 3].mean())
    means["grad_norm_policy"], means["grad_norm_value"] = (norms.mean(axis=0) if made else np.zeros(2)).tolist()
    means["grad_norm"] = float(np.hypot(norms[:, 0], norms[:, 1]).mean()) if made else 0.0
    return means
