"""How a run goes on: what its checkpoints hold, and what cannot change on the way."""

from __future__ import annotations

from typing import Any

from tempomat_rl.program.resuming import Resuming
from tempomat_rl.settings import HOW, Config, changes, read


def _read(state: Any, data: Any, **rest: Any) -> Config:
    return read(data, preset=state["preset"], **rest)


RESUMING = Resuming(
    script="train_gimbal_curriculum.py",
    inner="replay",
    state=frozenset(
        ["config", "preset", "overrides", "log", "scheduler", "agent", "replay", "task", "stack", "env_steps",
         "episodes", "updates", "seconds", "gates", "held", "hold_again", "result"]
    ),
    fixed=("seed", "task.name", "task.domain", "task.task", "num_envs", "action_repeat", "frame_stack", "image_size",
           "agent.encoder", "agent.feature_dim", "agent.hidden_dim", "agent.norm"),
    how=HOW,
    changes=changes,
    read=_read,
)  # fmt: skip
