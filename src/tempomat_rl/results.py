"""How a run ended, as `result.json` says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tempomat_rl.program.session import Ending


@final
@dataclass(frozen=True, slots=True)
class Result(Ending):
    """How a run ended."""

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

    def sentence(self) -> str:
        rate = "" if self.success_rate is None else f"success {self.success_rate:.2f}, "
        return f"{rate}return {self.episode_return:.1f}, {self.seconds:.0f} s"
