"""Going on with a run: whose folder it is, which settings it goes on with, and the command that does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, final

from tempomat.core import RecordError, StateError
from tempomat.runs.lock import FolderLock
from tempomat_rl.checkpoint import Found
from tempomat_rl.program.settings import AnyConfig

LEFT_BEHIND = (
    "record.jsonl", "run.json", "plan.yaml", "train.csv", "eval.csv", "result.json", "tb", "eval_video", "final.mp4",
)  # fmt: skip
"""What a run writes beside its checkpoints."""


def claim(folder: Path) -> Path:
    """A run's folder, made if it is not there.

    Raises:
        RecordError: it cannot be made; or it has no checkpoint and files that a run would overwrite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise RecordError(f"{folder}: cannot be the run's folder: {error.strerror}. Name another") from error
    theirs = [name for name in LEFT_BEHIND if name in inside]
    if theirs and not any(name.endswith(".pt") for name in inside):
        raise RecordError(
            f"{folder}: holds {', '.join(theirs)} and no checkpoint to go on from; a run would overwrite that. Name "
            "another checkpoint_dir, or move what is there"
        )
    return folder


def nearby(path: Path) -> Path:
    """A path as somebody would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


@final
@dataclass(frozen=True, slots=True)
class Settled(Generic[AnyConfig]):
    """The settings that a run goes on with."""

    config: AnyConfig
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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Resuming(Generic[AnyConfig]):
    """How the runs of one program go on.

    Args:
        script: what is typed to train.
        inner: a folder in the run's that whoever writes there has for itself.
        state: what a checkpoint holds.
        fixed: settings on which the shape of what was saved depends, or its random numbers: no run can change them, or
            what is under them, on its way.
        how: settings of how a run is carried out, which are always as given now.
        changes: what differs between the settings of two runs, as `path: old -> new`.
        read: the configuration of a checkpoint's state with these `data`, `overrides` and `folder`.
    """

    script: str
    inner: str
    state: frozenset[str]
    fixed: tuple[str, ...]
    how: tuple[str, ...]
    changes: Callable[[Any, Any], list[str]]
    read: Callable[..., AnyConfig]

    def hold(self, folder: Path) -> FolderLock:
        """The folder for this process alone, before anything in it is read.

        The record has a lock too, but that comes only with what the checkpoint says.

        Raises:
            RecordError: another process has it.
        """
        inner = folder / self.inner
        try:
            inner.mkdir(exist_ok=True)
        except OSError as error:
            raise RecordError(f"{inner}: cannot be made: {error.strerror}") from error
        return FolderLock(inner)

    def settle(self, config: AnyConfig, found: Found | None) -> Settled[AnyConfig]:
        """The settings to go on with.

        Raises:
            StateError: what was found is another program's; or its settings differ and `on_change` is `refuse`, or
                cannot change on the way.
        """
        if found is None:
            return Settled(config)
        if lacks := ", ".join(sorted(self.state - found.state.keys())):
            raise StateError(
                f"{found.path}: was saved by another program, or another version of this one: it lacks {lacks}"
            )
        changed = self.changes(found.state["config"], config.data)
        if not changed:
            return Settled(config)
        if config.on_change == "refuse":
            raise StateError(
                f"{found.path}: was made with other settings than those given now:\n{_list(changed)}\n"
                "Give the same; or on_change=replace to go on from there with those given, on_change=stretch to have "
                "the new schedules at the same share of the run too, on_change=keep to leave all as saved; or name "
                "another checkpoint_dir"
            )
        if config.on_change == "keep":
            return Settled(self._kept(config, found.state), tuple(changed), "keep")
        if fixed := [line for line in changed if self._is_fixed(line.partition(":")[0])]:
            raise StateError(
                f"{found.path}: what was saved fits its own settings alone, and these are others:\n{_list(fixed)}\n"
                "Give the same, or begin a run in another checkpoint_dir"
            )
        return Settled(config, tuple(changed), config.on_change)

    def _is_fixed(self, path: str) -> bool:
        return f"{path}.".startswith(tuple(f"{one}." for one in self.fixed))

    def _kept(self, config: AnyConfig, state: dict[str, Any]) -> AnyConfig:
        """The saved settings, with those given now of how the run is carried out."""
        how = {name: config.data[name] for name in self.how}
        given = [one for one in config.overrides if one.partition("=")[0] in self.how]
        saved = [one for one in state["overrides"] if one.partition("=")[0] not in self.how]
        return self.read(state, data={**state["config"], **how}, overrides=(*saved, *given), folder=config.folder)

    def go_on_command(self, config: AnyConfig, folder: Path) -> str:
        """What to type to go on with a run."""
        kept = [one for one in config.overrides if not one.startswith(("checkpoint_dir=", "on_change="))]
        return shlex.join(["python", self.script, *kept, f"checkpoint_dir={nearby(folder)}"])


def _list(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
