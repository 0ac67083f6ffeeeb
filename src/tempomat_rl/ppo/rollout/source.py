"""Where rollouts come from: what a loop asks of it, wherever environments are stepped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, final

from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.collect import Episode
from tempomat_rl.ppo.normalize import Normalizer


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A rollout that is wanted, under the values that the plan has when it is asked for.

    Args:
        length: T.
        num_envs: N, of all workers together.
        gamma: the discount, which rewards are scaled by.
        noise: standard deviation of what is added to observations.
        keep_ends: whether the rollout may have to be corrected, see `collect.Collector.collect`.
    """

    length: int
    num_envs: int
    gamma: float = 1.0
    noise: float = 0.0
    keep_ends: bool = False


class Made(NamedTuple):
    """A rollout, and what is known of how it came about."""

    rollout: Rollout
    version: int
    """of the weights that acted, as those say who had them"""
    episodes: list[Episode]
    """that ended in it"""


class Source(Protocol):
    """Makes rollouts of environments that never begin anew between two of them."""

    version: int | None
    """Of the weights that act from the next request on: batches that had been learned from. None before the first."""

    @property
    def normalizer(self) -> Normalizer:
        """Of all observations and rewards of the run."""
        ...

    @property
    def pending(self) -> bool:
        """Whether a rollout was requested and not received."""
        ...

    def refresh(self, version: int) -> None:
        """From the next request on the learner's weights act as they are now."""
        ...

    def request(self, wanted: Wanted) -> None:
        """Ask for a rollout; the next must wait until this one was received."""
        ...

    def receive(self) -> Made:
        """The rollout that was requested, waited for if need be."""
        ...

    def take_news(self) -> list[dict[str, Any]]:
        """What happened since this was last asked, as events for the record: workers that were replaced."""
        ...

    def describe(self) -> str:
        """Where environments are stepped, to stand behind their number: ` in 2 processes`, or nothing."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain data and arrays, with the request that is pending: who loads it will receive the same."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            StateError: it is another source's, or environments cannot be brought to where they were.
        """
        ...

    def close(self) -> None:
        """Let go of environments and workers."""
        ...
