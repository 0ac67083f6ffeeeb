"""The settings that the runs of every program have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tempomat as tm
from tempomat.core.errors import TempomatError
from tempomat.plan import diff_data
from tempomat.runtime import OnChange


class ConfigError(TempomatError, ValueError):
    """A configuration has faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """The settings that the runs of every program have.

    Args:
        seed: of everything random in the run.
        plan: of every value that may change, resolved, on the clock `env_steps`.
        checkpoint_dir: the run's folder, if the user named one.
        on_change: what settings that changed since the folder's run do.
        preset: the name of the chosen one.
        overrides: as given on the command line.
        data: all settings as plain data.
        notes: what is no fault and still should be known.
        folder: where the run goes; None where neither the user nor Hydra says.
    """

    seed: int
    plan: tm.Plan
    checkpoint_dir: Path | None
    on_change: OnChange
    preset: str
    overrides: tuple[str, ...]
    data: Mapping[str, Any]
    notes: tuple[str, ...]
    folder: Path | None


AnyConfig = TypeVar("AnyConfig", bound=RunConfig)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, apart_from: Collection[str]) -> list[str]:
    """What differs between the settings of two runs, as `path: old -> new`."""
    kept = [{name: value for name, value in data.items() if name not in apart_from} for data in (old, new)]
    return [str(change) for change in diff_data(*kept)]
