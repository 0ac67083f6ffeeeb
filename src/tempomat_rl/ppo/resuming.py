"""Going on with a run of PPO: which settings it goes on with, and the command that does it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tempomat.core import RecordError, StateError
from tempomat.runs.lock import FolderLock
from tempomat_rl.checkpoint import Found
from tempomat_rl.ppo.settings import HOW, PPOConfig, changes, read
from tempomat_rl.resuming import nearby

FIXED = (
    "seed", "env", "env_options", "vectorize", "rollout", "network", "normalize_observation", "normalize_reward",
)  # fmt: skip
"""Settings on which the shape of what was saved depends, or its random numbers: no run can change them on its way."""
STATE = frozenset(
    ["config", "overrides", "log", "steering", "learner", "actor", "collector", "rng", "evaluate", "keep", "write",
     "batches", "episodes", "seconds", "age", "result"]
)  # fmt: skip
"""What a checkpoint holds."""


@final
@dataclass(frozen=True, slots=True)
class Settled:
    """The settings that a run goes on with."""

    config: PPOConfig
    changed: tuple[str, ...] = ()
    """What differs between the saved ones and those given now."""
    choice: str = ""
    """What was done about it; empty where nothing differs."""

    @property
    def event(self) -> dict[str, Any] | None:
        """The choice, for the record."""
        return {"event": "settings", "choice": self.choice, "changes": list(self.changed)} if self.changed else None

    def lines(self) -> list[str]:
        """What is done, in words."""
        said = "left as they were, other than given now" if self.choice == "keep" else "changed since"
        return [f"{said}: {line}" for line in self.changed]


def settle(config: PPOConfig, found: Found | None) -> Settled:
    """The settings to go on with.

    Raises:
        StateError: what was found is another program's; or its settings differ and `on_change` is `refuse`, or cannot
            change on the way.
    """
    if found is None:
        return Settled(config)
    if not found.state.keys() >= STATE:
        lacks = ", ".join(sorted(STATE - found.state.keys()))
        raise StateError(
            f"{found.path}: was saved by another program, or another version of this one: it lacks {lacks}"
        )
    changed = changes(found.state["config"], config.data)
    if not changed:
        return Settled(config)
    if config.on_change == "refuse":
        raise StateError(
            f"{found.path}: was made with other settings than those given now:\n{_list(changed)}\n"
            "Give the same; or on_change=replace to go on from there with those given, on_change=stretch to have the "
            "new schedules at the same share of the run too, on_change=keep to leave all as saved; or name another "
            "checkpoint_dir"
        )
    if config.on_change == "keep":
        how = {name: config.data[name] for name in HOW}
        kept = read({**found.state["config"], **how}, overrides=config.overrides, folder=config.folder)
        return Settled(kept, tuple(changed), "keep")
    if fixed := [line for line in changed if line.partition(":")[0].split(".")[0] in FIXED]:
        raise StateError(
            f"{found.path}: what was saved fits its own settings alone, and these are others:\n{_list(fixed)}\n"
            "Give the same, or begin a run in another checkpoint_dir"
        )
    return Settled(config, tuple(changed), config.on_change)


def hold(folder: Path) -> FolderLock:
    """The folder for this process alone, before anything in it is read.

    Raises:
        RecordError: another process has it.
    """
    inner = folder / "session"
    try:
        inner.mkdir(exist_ok=True)
    except OSError as error:
        raise RecordError(f"{inner}: cannot be made: {error.strerror}") from error
    return FolderLock(inner)


def go_on_command(config: PPOConfig, folder: Path) -> str:
    """What to type to go on with a run."""
    kept = [one for one in config.overrides if not one.startswith(("checkpoint_dir=", "on_change="))]
    return shlex.join(["python", "train_ppo.py", *kept, f"checkpoint_dir={nearby(folder)}"])


def _list(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
