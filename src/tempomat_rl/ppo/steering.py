"""The plan at work in a run of PPO: counts and measurements go in, the values that are applied come out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

from tempomat.plan import Plan
from tempomat.runtime import Engine, Event, OnChange, load_state, save_state
from tempomat_rl.ppo.learner import Settings, UpdateSettings

WHOLE = ("rollout_length", "num_envs", "epochs_per_batch", "minibatch_size", "policy_refresh", "max_policy_age")
"""Entries that count something: what the plan asks for is applied without its fraction."""
UNITS = ("env_steps", "optimizer_steps", "episodes")
"""What a run counts, and entries can follow."""
_LEARNED = {
    "policy.lr": "policy_lr",
    "value.lr": "value_lr",
    "grad_clip": "max_grad_norm",
    **{
        name: name
        for name in (
            "clip_range",
            "clip_range_vf",
            "entropy_coef",
            "value_coef",
            "epochs_per_batch",
            "minibatch_size",
            "gamma",
            "gae_lambda",
            "target_kl",
        )
    },
}
"""Entries that a learner is handed, under its own names."""


@final
class Steering:
    """Holds the plan, the run's counts, and every value as applied. What the record reads.

    Args:
        plan: resolved, on the clock `env_steps`.
        normalize_advantage: for the learner; not a number, hence no entry.
    """

    def __init__(self, plan: Plan, *, normalize_advantage: bool = True) -> None:
        self._applied: dict[str, float] = {}
        self._normalize_advantage = normalize_advantage
        self._prepared: UpdateSettings | None = None
        self._behind: int
        """Optimizer steps that were made and that the clock, which no entry follows then, has yet to be told."""
        self._take(Engine(plan))

    def _take(self, engine: Engine) -> None:
        self._engine, self._behind, self._start = engine, 0, 0
        engine.aim({name: (partial(self._write, name), False) for name in engine.tracks})
        engine.advance(dict.fromkeys(UNITS, 0))
        engine.start()
        self._heard = frozenset(rule.metric for track in engine.tracks.values() for rule in track.tree.controllers)
        self._within = any(track.clock != engine.clock for track in engine.tracks.values())
        self._learned = [(word, name) for name, word in _LEARNED.items() if name in engine.tracks]

    def _write(self, name: str, value: float) -> None:
        self._applied[name] = int(value) if name in WHOLE else value
        self._prepared = None

    # what a record reads

    @property
    def plan(self) -> Plan:
        """The plan in force, resolved."""
        return self._engine.plan

    @property
    def counts(self) -> dict[str, int]:
        """The counters by unit."""
        self._catch_up()
        return dict(self._engine.counts)

    @property
    def asked(self) -> dict[str, float]:
        """Every value by entry, as the plan says."""
        self._catch_up()
        return self._engine.asked

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry, as applied."""
        return dict(self._applied)

    @property
    def events(self) -> list[Event]:
        """Decisions and resumes so far."""
        return list(self._engine.events)

    def note(self, event: Event) -> None:
        """Something for the record."""
        self._engine.events.append(event)

    # what the loop reads and tells

    def count(self, name: str, default: int) -> int:
        """A whole value that is applied."""
        return int(self._applied.get(name, default))

    def number(self, name: str, default: float) -> float:
        """A value that is applied."""
        return self._applied.get(name, default)

    @property
    def env_steps(self) -> int:
        """The count of the plan's clock."""
        return self._engine.counts["env_steps"]

    @property
    def listens(self) -> bool:
        """Whether any controller waits for measurements."""
        return bool(self._heard)

    def advance(self, env_steps: int, episodes: int) -> None:
        """A rollout was made."""
        behind, self._behind = self._behind, 0  # told together: each telling looks at every entry
        self._engine.advance({"env_steps": env_steps, "episodes": episodes, "optimizer_steps": behind})

    def learning(self) -> Settings:
        """What a batch is learned under: values, or what they are at each of its optimizer steps where an entry follows
        another clock than env steps; that clock of ours goes forward with the steps then.
        """
        if not self._within:
            return self._settings()
        self._start = self._engine.counts["optimizer_steps"]
        first: int | None = None

        def at(optimizer_steps: int) -> UpdateSettings:
            nonlocal first
            first = optimizer_steps if first is None else first
            self._reach(optimizer_steps - first)
            return self._settings()

        return at

    def learned(self, optimizer_steps: int) -> None:
        """The batch that `learning` was asked for has been learned from, in so many steps."""
        if self._within:
            self._reach(optimizer_steps)
        else:
            self._behind += optimizer_steps

    def observe(self, measured: Mapping[str, float]) -> list[Event]:
        """Show to the controllers what they listen to; returns their decisions."""
        self._catch_up()
        seen = {name: measured[name] for name in sorted(self._heard) if name in measured}
        return self._engine.observe(seen) if seen else []

    def _reach(self, steps: int) -> None:
        """The clock of optimizer steps to where it is so many steps into the batch."""
        behind = self._start + steps - self._engine.counts["optimizer_steps"]
        if behind:
            self._engine.advance({"optimizer_steps": behind})

    def _catch_up(self) -> None:
        if self._behind:
            behind, self._behind = self._behind, 0
            self._engine.advance({"optimizer_steps": behind})

    def _settings(self) -> UpdateSettings:
        if self._prepared is None:
            rate = self._applied.get("lr")
            values: dict[str, Any] = {"policy_lr": rate, "value_lr": rate, "max_grad_norm": None}
            for word, name in self._learned:
                values[word] = self._applied[name]
            self._prepared = UpdateSettings(**values, normalize_advantage=self._normalize_advantage)
        return self._prepared

    # keeping

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        self._catch_up()
        return save_state(self._engine)

    def load_state_dict(self, state: Mapping[str, Any], on_change: OnChange = "refuse") -> None:
        """Go on from what `state_dict` gave.

        Raises:
            StateError: it is damaged, or the plan has changed and `on_change` is `refuse`.
        """
        self._take(load_state(self._engine, state, on_change))
