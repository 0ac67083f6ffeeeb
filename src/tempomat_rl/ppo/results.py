"""How a run of PPO ended, as `result.json` says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tempomat_rl.program.session import Ending


@final
@dataclass(frozen=True, slots=True)
class PPOResult(Ending):
    """How a run ended."""

    optimizer_steps: int
    batches: int
    episodes: int
    seconds: float
    """of training, pauses between sessions left out"""
    episode_return: float | None
    """mean of the final, deterministic evaluation"""
    episode_return_std: float | None
    success_rate: float | None
    """None where the environment does not say"""

    def sentence(self) -> str:
        rate = "" if self.success_rate is None else f"success {self.success_rate:.2f}, "
        return f"{rate}return {self.episode_return:.1f} +- {self.episode_return_std:.1f}, {self.seconds:.1f} s"
