"""From the command line to a `Config`: Hydra's composition, and words for the mistakes it explains badly.

`compose(["lr_schedule=gentle_decay", "seed=3"])` gives the `Config` that such a command line has; see `settings` for
what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tempomat.core.errors import did_you_mean
from tempomat_rl.program.command import Command
from tempomat_rl.program.reading import no_such
from tempomat_rl.program.settings import ConfigError
from tempomat_rl.results import Result
from tempomat_rl.schedules import NETWORKS
from tempomat_rl.settings import SETTINGS, Config, changes, read

__all__ = ["Config", "ConfigError", "changes", "compose", "main"]

CFGS = Path(__file__).resolve().parents[2] / "cfgs"
"""The configuration files of a source checkout."""
_CHOICE = re.compile(r"Could not find '(?P<choice>[^']+)'")
_SCHEDULE = re.compile(r"\+{0,2}lr_schedule\.(?P<network>[^.=\[\]]+)")


def _read(data: Any, choices: Any, _: Path, **rest: Any) -> Config:
    return read(data, preset=choices.get("lr_schedule"), **rest)


def _train(config: Config) -> Result:
    from tempomat_rl.train import train  # importing torch takes seconds, which a mistake need not wait for

    return train(config)


def _explained(message: str, overrides: Sequence[str], cfgs: Path) -> str:
    """What to do about a mistake that Hydra finds, and Hydra's words where there is nothing to add."""
    for one in overrides:
        key, _, value = one.partition("=")
        if "[" in key:
            dotted = re.sub(r"\[(\d+)\]", r".\1", key)
            return f"{one}: a place in a list is written with a point. Write {dotted}={value}"
        if value == "null" and (cfgs / key.partition("@")[0]).is_dir():
            return f"{one}: null is no choice. Leave it out for the usual one, or write ~{key} for none"
        if key == "encoder_bundle":
            return f"{one}: this choice belongs to the agent. Write encoder_bundle@agent={value}"
    if missing := _CHOICE.search(message):
        for one in overrides:
            key, _, name = one.partition("=")
            group = key.partition("@")[0]
            if f"{group}/{name}" == missing["choice"]:
                return f"{one}: no such choice.{_choices(cfgs / group, name)}"
    culprit = next((one for one in overrides if one in message or f"'{one.partition('=')[0]}'" in message), "")
    key = culprit.partition("=")[0].lstrip("+~")
    if match := _SCHEDULE.match(culprit):
        return f"{culprit}: {_about_schedule(match['network'], message, overrides, cfgs)}"
    if culprit and "is not in struct" in message and "." not in key:
        return f"{culprit}: {no_such(key, SETTINGS)}"
    return message


def _choices(group: Path, name: str) -> str:
    """The one that may have been meant, and all there are."""
    found = sorted(one.relative_to(group).with_suffix("").as_posix() for one in group.rglob("*.yaml"))
    return f"{did_you_mean(name, found)} Choices: {', '.join(found)}"


def _about_schedule(network: str, message: str, overrides: Sequence[str], cfgs: Path) -> str:
    """Why a value of the lr_schedule cannot be overridden."""
    presets = ", ".join(sorted(one.stem for one in cfgs.glob("lr_schedule/*.yaml") if one.stem != "constant"))
    chosen = [one.partition("=")[2] for one in overrides if one.startswith("lr_schedule=")]
    if not chosen or chosen[-1] == "constant":
        return f"no lr_schedule is chosen, so it has nothing to override. Choose one first: lr_schedule={presets}"
    if network not in NETWORKS:
        known = f"this run has {', '.join(NETWORKS)}.{did_you_mean(network, NETWORKS)}"
        return f"no network of the name {network}; {known}"
    rest = [one for one in overrides if not _SCHEDULE.match(one)]
    if "lr_schedule" in (_COMMAND.composed(rest, cfgs).get("lr_schedule") or {}):
        return (
            f"cfgs/lr_schedule/{chosen[-1]}.yaml lacks the line `# @package _global_` at its top. Add it, or write "
            f"lr_schedule.lr_schedule.{network}..."
        )
    known = next((line for line in message.splitlines() if "not in struct" in line or "out of range" in line), message)
    return f"the lr_schedule {chosen[-1]} has no such value: {known.strip()}"


_COMMAND = Command(cfgs=CFGS, written=("noise",), read=_read, explained=_explained, train=_train)
compose, main = _COMMAND.compose, _COMMAND.main
