"""A rollout worker: environments and a policy that acts in them, wherever it runs."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, final

import numpy as np

from tempomat.core import StateError, TempomatError
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.envs import make_envs, seed_of
from tempomat_rl.ppo.learner import VECTORS, Learner
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.normalize import make_normalizer
from tempomat_rl.ppo.rollout.messages import Message, Reply, Request, Restored, WorkerSpec
from tempomat_rl.ppo.rollout.transport import WorkerFailed

NOTHING: Mapping[str, Any] = {}
"""The state of a worker that has begun nothing."""


class Answer(NamedTuple):
    """What a worker sends back."""

    value: Any
    """the answer; None where an exception was raised"""
    what: str = ""
    """the exception"""
    traceback: str = ""


@final
class Worker:
    """Makes rollouts on request. What it gives follows from its state and the request alone, never from the time.

    Environments are built, and their first episodes begun, by the first request.

    Args:
        spec: what it is built from.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._collector: Collector | None = None
        self._policy: Learner | None = None
        self._version: int | None = None

    def fulfil(self, request: Request) -> Reply:
        """A rollout.

        Raises:
            StateError: the request leaves out weights that this worker does not have.
        """
        collector = self._collector or self._build(request.num_envs)
        collector.normalizer.go_on_from(request.statistics)
        if self._collector is None:
            collector.begin()
            self._collector = collector
        self._take(collector, request)
        assert self._policy is not None  # noqa: S101  `_take` made it
        rollout = collector.collect(
            self._policy,
            request.length,
            request.num_envs,
            gamma=request.gamma,
            noise=request.noise,
            keep_ends=request.keep_ends,
        )
        episodes = tuple(collector.episodes)
        collector.episodes.clear()
        return Reply(
            rollout=rollout,
            version=request.version,
            episodes=episodes,
            seen=collector.normalizer.take_news(),
            state=self.state_dict(),
        )

    def _build(self, num_envs: int) -> Collector:
        spec = self.spec
        envs = make_envs(
            spec.env,
            num_envs,
            seed=spec.env_seed,
            options=spec.env_options,
            vectorize=spec.vectorize,
            first=spec.place,
            stride=spec.num_workers,
        )
        normalizer = make_normalizer(
            envs.observation_space, spec.normalize_observation, spec.normalize_reward, with_news=True
        )
        return Collector(envs, normalizer, np.random.default_rng(seed_of(spec.action_seed, spec.place)))

    def _take(self, collector: Collector, request: Request) -> None:
        """The weights that act."""
        if self._policy is None:
            envs, network = collector.envs, replace(self.spec.network, device="cpu")
            self._policy = make_learner(envs.observation_space, envs.action_space, network, seed=0)
            use_one_thread()
        if request.weights is not None:
            # what acts has no use for Adam's means, which a learner's state has besides
            self._policy.load_state_dict({"optimizer_steps": 0, **dict.fromkeys(VECTORS, request.weights)})
            self._version = request.version
        if self._version != request.version:
            raise StateError(f"weights: version {request.version} is wanted, and this worker has {self._version}")

    def state_dict(self) -> Mapping[str, Any]:
        """Plain data and arrays, between two requests; weights are no part of it."""
        if self._collector is None:
            return NOTHING
        return {"num_envs": self._collector.envs.num_envs, "collector": self._collector.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> Restored:
        """Go on from what `state_dict` gave; with new episodes, where environments cannot be brought back into theirs.

        Returns:
            How many episodes were lost, and why; 0 means the same numbers as ever.
        """
        self.close()
        self._collector = None
        if not state:
            return Restored()
        collector = self._build(state["num_envs"])
        try:
            collector.load_state_dict(state["collector"])
            restored = Restored()
        except StateError as error:
            restored = Restored(collector.begin_anew(state["collector"]), str(error))
        self._collector = collector
        return restored

    def close(self) -> None:
        """Let go of the environments."""
        if self._collector is not None:
            self._collector.envs.close()


def answer(worker: Worker, message: Message) -> Answer:
    """What a worker sends back for a message, an exception of its own included; what every transport calls."""
    name, value = message
    try:
        return Answer(worker.load_state(value) if name == "load" else worker.fulfil(value))
    except TempomatError as error:
        return Answer(None, str(error))
    except Exception as error:
        return Answer(None, f"{type(error).__name__}: {error}", traceback.format_exc())


def opened(place: int, answer: Answer) -> Any:
    """The value of an answer.

    Raises:
        WorkerFailed: it tells of an exception.
    """
    if answer.what:
        raise WorkerFailed(place, answer.what, answer.traceback)
    return answer.value


def use_one_thread() -> None:
    """Products on one thread in this process: workers share the cores as they are."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are loaded later
    threadpool_limits(limits=1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
