"""How a run ended, as `result.json` says it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from tempomat.core import RecordError
from tempomat.plan.atomic import write_atomically

RESULT = "result.json"


@final
@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    folder: str
    finished: bool
    """False if it was interrupted, and can go on."""
    env_steps: int
    frames: int
    episodes: int
    updates: int
    seconds: float
    """of training, pauses between sessions left out"""
    stage: int | None
    gates: dict[str, dict[str, float]]
    """By stage when its gate was passed: `env_steps` and `seconds`. The last stage's is passed when it is held."""
    success_rate: float | None
    """of the final, deterministic evaluation on the last stage; None for tasks without success"""
    episode_return: float | None
    held: bool
    """Whether the last stage was held: its gate passed, and the success rate reached without noise too."""

    def write(self) -> None:
        """Put `result.json` into the run's folder, whole or not at all."""
        path = Path(self.folder) / RESULT
        try:
            write_atomically(path, (json.dumps(asdict(self), indent=2) + "\n").encode())
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error

    def sentence(self) -> str:
        """Success rate, return and time."""
        rate = "" if self.success_rate is None else f"success {self.success_rate:.2f}, "
        return f"{rate}return {self.episode_return:.1f}, {self.seconds:.0f} s"
