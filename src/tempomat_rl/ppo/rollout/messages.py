"""What travels between a run and its rollout workers: plain data and arrays, whatever carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.collect import Episode
from tempomat_rl.ppo.options import NetworkSettings

Weights: TypeAlias = "Mapping[str, NDArray[Any]]"
"""What acts, by name: the `weights` of a learner's state."""
Message: TypeAlias = "tuple[str, Any]"
"""`("fulfil", Request)` is answered by a `Reply`, `("load", state)` by a `Restored`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a worker is built from. It crosses to another process, and perhaps to another machine.

    Args:
        env: Gymnasium's name.
        env_options: what the environment takes besides.
        vectorize: whether environments are computed as arrays where they can be; not where their number changes.
        env_seed, action_seed: of the run's episodes and actions, the same for all its workers.
        place: of the worker, from 0.
        num_workers: of the run. The worker's environments are those at `place`, `place + num_workers`, ...
        network: of the policy.
        normalize_observation, normalize_reward: see `normalize.Normalizer`.
    """

    env: str
    env_options: Mapping[str, Any]
    vectorize: bool
    env_seed: int
    action_seed: int
    place: int
    num_workers: int
    network: NetworkSettings
    normalize_observation: bool
    normalize_reward: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """A rollout that is wanted of a worker. With the worker's state it determines the answer.

    Args:
        length: T.
        num_envs: of this worker's environments that are active, at least 1.
        gamma: the discount, which rewards are scaled by.
        noise: standard deviation of what is added to observations.
        keep_ends: whether the rollout may have to be corrected, see `collect.Collector.collect`.
        version: of the weights that act: batches that had been learned from.
        weights: None where the worker has that version already.
        statistics: of the run's normalizer, from which the worker's goes on.
    """

    length: int
    num_envs: int
    gamma: float
    noise: float
    keep_ends: bool
    version: int
    weights: Weights | None
    statistics: Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """A request fulfilled.

    Args:
        rollout: of this worker's environments alone.
        version: of the weights that acted.
        episodes: that ended in it.
        seen: statistics of the observations and returns in it, for the run's normalizer.
        state: of the worker after it: another worker of the same spec that loads it goes on with the same numbers.
    """

    rollout: Rollout
    version: int
    episodes: tuple[Episode, ...]
    seen: Mapping[str, Any]
    state: Mapping[str, Any]


class Restored(NamedTuple):
    """A state was loaded."""

    episodes_lost: int = 0
    """Running episodes that were begun anew, since the environments could not be brought back into them."""
    why: str = ""
