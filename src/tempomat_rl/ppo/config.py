"""From the command line to a `PPOConfig`: Hydra's composition, and words for the mistakes it explains badly.

`compose(["env=Acrobot-v1", "lr_schedule=cosine"])` gives the `PPOConfig` that such a command line has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tempomat_rl.ppo.entries import ENTRIES, SHAPED
from tempomat_rl.ppo.options import NetworkSettings
from tempomat_rl.ppo.results import PPOResult
from tempomat_rl.ppo.settings import CFGS, SETTINGS, PPOConfig, presets, read
from tempomat_rl.program.command import Command
from tempomat_rl.program.reading import no_such
from tempomat_rl.program.settings import ConfigError

__all__ = ["ConfigError", "PPOConfig", "compose", "main"]

_MISSING = re.compile(r"is not in struct\s+full_key: (?P<path>[\w.-]+)")
_NESTED = {"network": tuple(one.name for one in fields(NetworkSettings)), "policy": ("lr",), "value": ("lr",)}


def _read(data: Any, _: Any, cfgs: Path, **rest: Any) -> PPOConfig:
    return read(data, cfgs=cfgs, **rest)


def _train(config: PPOConfig) -> PPOResult:
    from tempomat_rl.ppo.train import train  # a mistake need not wait for what a run needs

    return train(config)


def _explained(message: str, overrides: Sequence[str], cfgs: Path) -> str:
    """What to do about a mistake that Hydra finds, and Hydra's words where there is nothing to add."""
    for one in overrides:
        key, _, value = one.partition("=")
        if key.lstrip("+") == "presets":
            return f"{one}: write preset={value}. Presets: {', '.join(presets(cfgs))}"
    culprit = next((one for one in overrides if one in message or f"'{one.partition('=')[0]}'" in message), "")
    if missing := _MISSING.search(message):
        group, _, key = missing["path"].rpartition(".")
        known = _NESTED.get(group, SETTINGS)
        return f"{missing['path']}: {no_such(key, known)}"
    key = culprit.partition("=")[0].lstrip("+~")
    if culprit and "is not in struct" in message:
        return f"{culprit}: {no_such(key, SETTINGS)}"
    return message


_COMMAND = Command(
    cfgs=CFGS,
    written=(*ENTRIES, *(f"{one}_schedule" for one in SHAPED)),
    read=_read,
    explained=_explained,
    train=_train,
)
compose, main = _COMMAND.compose, _COMMAND.main
