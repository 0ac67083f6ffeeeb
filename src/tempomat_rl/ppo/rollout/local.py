"""Rollouts made in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, final

from tempomat.core import BindingError, StateError
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.learner import Learner
from tempomat_rl.ppo.normalize import Normalizer
from tempomat_rl.ppo.rollout.source import Made, Wanted


@final
class Local:
    """Environments of this process. Nothing happens before a rollout is received.

    Args:
        collector: that has begun nothing.
        learner: whose weights act.
        actor: a learner of its own to act, where weights are refreshed less often than they learn; else the same.
    """

    def __init__(self, collector: Collector, learner: Learner, actor: Learner) -> None:
        self.collector, self.actor, self._learner = collector, actor, learner
        self.version: int | None = None
        self._begun = False
        self._wanted: Wanted | None = None

    @property
    def normalizer(self) -> Normalizer:
        """Of all observations and rewards."""
        return self.collector.normalizer

    @property
    def pending(self) -> bool:
        return self._wanted is not None

    def refresh(self, version: int) -> None:
        if self.actor is not self._learner:
            self.actor.load_state_dict(self._learner.state_dict())
        self.version = version

    def request(self, wanted: Wanted) -> None:
        self._wanted = refuse_second(self._wanted, wanted)

    def receive(self) -> Made:
        wanted, self._wanted = asked(self._wanted), None
        if not self._begun:
            self.collector.begin()
            self._begun = True
        rollout = self.collector.collect(
            self.actor,
            wanted.length,
            wanted.num_envs,
            gamma=wanted.gamma,
            noise=wanted.noise,
            keep_ends=wanted.keep_ends,
        )
        episodes, self.collector.episodes = self.collector.episodes, []
        return Made(rollout, self.version or 0, episodes)

    def take_news(self) -> list[dict[str, Any]]:
        return []

    def describe(self) -> str:
        return ""

    def state_dict(self) -> dict[str, Any]:
        return {
            "collector": self.collector.state_dict() if self._begun else None,
            "actor": None if self.actor is self._learner else self.actor.state_dict(),
            "version": self.version,
            "wanted": self._wanted and asdict(self._wanted),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        refuse_other(state, "collector", "actor")
        self._begun = state["collector"] is not None
        if self._begun:
            self.collector.load_state_dict(state["collector"])
        if self.actor is not self._learner:
            self.actor.load_state_dict(state["actor"] or self._learner.state_dict())
        # where the plan has come to tell when weights are refreshed, nobody has kept those that acted last
        stays = self.actor is self._learner or state["actor"] is not None
        self.version = state["version"] if stays else None
        self._wanted = Wanted(**state["wanted"]) if state["wanted"] else None

    def close(self) -> None:
        self.collector.envs.close()


def refuse_second(pending: Wanted | None, wanted: Wanted) -> Wanted:
    """Two requests at once."""
    if pending is not None:
        raise BindingError("rollout: must be received before the next one is requested, and is still pending")
    return wanted


def asked(pending: Wanted | None) -> Wanted:
    """What was requested."""
    if pending is None:
        raise BindingError("rollout: must be requested before it is received, and nobody did")
    return pending


def refuse_other(state: Mapping[str, Any], *names: str) -> None:
    """A state of another kind of source."""
    missing = sorted({*names, "version", "wanted"} - set(state))
    if missing:
        raise StateError(f"rollouts: must hold {', '.join(missing)}, and do not. Give the same rollout=")
