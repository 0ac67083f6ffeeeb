"""Tasks by name."""

from __future__ import annotations

from typing import Any

from tempomat_rl.envs.landing import LandingTask
from tempomat_rl.envs.stages import Stage
from tempomat_rl.frames import Task
from tempomat_rl.settings import Config


def make_task(config: Config, *, num_envs: int, seed: int) -> Task:
    """N environments of a run's task; the landing task on its full stage, until one is set.

    Raises:
        MissingExtra: dm_control is not installed.
    """
    task = config.task
    if task["name"] == "dmc":
        from tempomat_rl.envs.dmc import ControlTask  # dm_control takes seconds to import

        return ControlTask(
            task["domain"],
            task["task"],
            num_envs,
            seed,
            image_size=config.image_size,
            action_repeat=config.action_repeat,
        )
    return LandingTask(num_envs, seed, observation=config.observation, image_size=config.image_size, spawn=config.spawn)


def set_stage(task: Any, stage: Stage) -> None:
    """Move environments to a stage; tasks without stages have no such method, and no curriculum."""
    task.set_stage(stage)
