"""Rollouts made by several workers elsewhere, any of which may be lost at any moment.

What a worker gives follows from its state and the request alone. So one that takes a lost one's place, is brought to
the state before the request and gets the same request gives what the lost one would have: no step is lost or counted
twice, and a run whose workers were killed has the numbers of one whose were not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar, final

from tempomat.core import StateError
from tempomat_rl.ppo.learner import Learner
from tempomat_rl.ppo.normalize import Normalizer
from tempomat_rl.ppo.rollout.local import asked, refuse_other, refuse_second
from tempomat_rl.ppo.rollout.merging import merged, share
from tempomat_rl.ppo.rollout.messages import Reply, Request, Restored, Weights
from tempomat_rl.ppo.rollout.source import Made, Wanted
from tempomat_rl.ppo.rollout.transport import Transport, WorkerLost
from tempomat_rl.ppo.rollout.worker import NOTHING

Result = TypeVar("Result")
MOST_LOSSES = 3
"""Workers at one place that may be lost one after the other with the same request."""


@final
class Pool:
    """Workers that each step their share of the environments.

    Args:
        transport: that reaches the workers; the pool closes it.
        num_workers: W.
        learner: whose weights act.
        normalizer: of the run, which takes in what all workers have seen, in their order.
    """

    def __init__(self, transport: Transport, num_workers: int, learner: Learner, normalizer: Normalizer) -> None:
        self._transport, self._learner, self.normalizer = transport, learner, normalizer
        self.version: int | None = None
        self._weights: Weights = {}
        self._wanted: Wanted | None = None
        self._news: list[dict[str, Any]] = []
        self._states: list[Mapping[str, Any]] = [NOTHING] * num_workers
        """Of each worker, before the request that is pending."""
        self._has: dict[int, int | None] = {}
        """The version of the weights that each running worker has."""
        self._lost: dict[int, WorkerLost] = {}
        """Those whose loss was noticed before anybody waited for them."""

    @property
    def pending(self) -> bool:
        return self._wanted is not None

    def refresh(self, version: int) -> None:
        self._weights, self.version = self._learner.state_dict()["weights"], version

    # asking

    def request(self, wanted: Wanted) -> None:
        self._wanted = refuse_second(self._wanted, wanted)
        for place in self._asked(wanted):
            try:
                self._ask(place, wanted)
            except WorkerLost as lost:
                self._lost[place] = lost

    def _asked(self, wanted: Wanted) -> range:
        """The workers that have environments; those beyond N pause with all they have."""
        return range(min(len(self._states), wanted.num_envs))

    def _ask(self, place: int, wanted: Wanted) -> None:
        if place not in self._has:
            self._start(place)
        version = self.version or 0
        request = Request(
            length=wanted.length,
            num_envs=share(place, wanted.num_envs, len(self._states)),
            gamma=wanted.gamma,
            noise=wanted.noise,
            keep_ends=wanted.keep_ends,
            version=version,
            weights=None if self._has[place] == version else self._weights,
            statistics=self.normalizer.statistics,
        )
        self._transport.send(place, ("fulfil", request))
        self._has[place] = version

    def _start(self, place: int) -> None:
        self._has.pop(place, None)
        self._transport.start(place)
        self._has[place] = None

    # receiving

    def receive(self) -> Made:
        wanted = asked(self._wanted)
        replies = [self._reply(place, wanted) for place in self._asked(wanted)]
        self._wanted = None
        for place, reply in enumerate(replies):
            self._states[place] = reply.state
            self.normalizer.take_in(reply.seen)
        episodes = [one for reply in replies for one in reply.episodes]
        return Made(merged([reply.rollout for reply in replies]), min(reply.version for reply in replies), episodes)

    def _reply(self, place: int, wanted: Wanted) -> Reply:
        def first() -> Reply:
            if place in self._lost:
                raise self._lost.pop(place)
            return self._transport.receive(place)

        def again() -> Reply:
            self._ask(place, wanted)
            return self._transport.receive(place)

        return self._insist(place, first, again)

    # losing

    def _insist(self, place: int, first: Callable[[], Result], again: Callable[[], Result]) -> Result:
        """What a worker gives; if it is lost, what another gives that is brought to the same state."""
        lost: WorkerLost | None = None
        for _ in range(MOST_LOSSES):
            try:
                if lost is None:
                    return first()
                self._bring_back(place, lost)
                return again()
            except WorkerLost as error:
                lost = error
        raise WorkerLost(
            place,
            f"lost {MOST_LOSSES} times in a row with the same request, at last {lost and lost.why}. Look at what ends "
            "it (memory, the environment itself), or raise worker_timeout if it is slow",
        )

    def _bring_back(self, place: int, lost: WorkerLost) -> None:
        """A new worker, in the state of the one before."""
        self._news.append({"event": "worker_replaced", "place": place, "why": lost.why})
        self._start(place)
        if self._states[place]:
            self._transport.send(place, ("load", self._states[place]))
            restored: Restored = self._transport.receive(place)
            if restored.episodes_lost:
                self._news[-1] |= {"episodes_lost": restored.episodes_lost, "because": restored.why}

    def take_news(self) -> list[dict[str, Any]]:
        news, self._news = self._news, []
        return news

    def describe(self) -> str:
        return f" in {self._transport.describe()}"

    # keeping

    def state_dict(self) -> dict[str, Any]:
        return {
            "workers": [dict(state) for state in self._states],
            "weights": dict(self._weights),
            "normalizer": self.normalizer.state_dict(),
            "version": self.version,
            "wanted": self._wanted and asdict(self._wanted),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        refuse_other(state, "workers", "weights", "normalizer")
        if len(state["workers"]) != len(self._states):
            raise StateError(
                f"rollouts: are of {len(state['workers'])} workers, and there are {len(self._states)} now. Give the "
                "same num_workers"
            )
        self._states = list(state["workers"])
        self._weights, self.version = state["weights"], state["version"]
        self.normalizer.load_state_dict(state["normalizer"])
        begun = [place for place, one in enumerate(self._states) if one]
        for place in begun:  # all at once: each does all actions of its running episodes again
            self._start(place)
            self._transport.send(place, ("load", self._states[place]))
        for place in begun:
            self._insist(place, lambda place=place: self._loaded(place), lambda: None)
        if state["wanted"]:
            self.request(Wanted(**state["wanted"]))

    def _loaded(self, place: int) -> None:
        restored: Restored = self._transport.receive(place)
        if restored.episodes_lost:
            raise StateError(restored.why)

    def close(self) -> None:
        self._transport.close()
