"""How a run of PPO goes on: what its checkpoints hold, and what cannot change on the way."""

from __future__ import annotations

from typing import Any

from tempomat_rl.ppo.settings import HOW, PPOConfig, changes, read
from tempomat_rl.program.resuming import Resuming


def _read(_: Any, data: Any, **rest: Any) -> PPOConfig:
    return read(data, **rest)


RESUMING = Resuming(
    script="train_ppo.py",
    inner="session",
    state=frozenset(
        ["config", "overrides", "log", "steering", "learner", "source", "rng", "evaluate", "keep", "write", "batches",
         "episodes", "refused", "seconds", "result"]
    ),
    fixed=("seed", "env", "env_options", "vectorize", "rollout", "num_workers", "overlap", "network",
           "normalize_observation", "normalize_reward"),
    how=HOW,
    changes=changes,
    read=_read,
)  # fmt: skip
