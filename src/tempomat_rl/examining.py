"""Evaluations of a run: its policy without noise, in environments of their own, filmed if that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from tempomat_rl.envs.landing import LandingTask
from tempomat_rl.evaluation import Evaluation, Policy, evaluate
from tempomat_rl.settings import Config
from tempomat_rl.tasks import make_task, set_stage
from tempomat_rl.video import VideoWriter


@final
class Examiner:
    """Measures a policy; nothing of the run changes by it.

    Args:
        config: the run's.
        folder: where its films go.
        seed: with the count of env steps it gives the episodes: the same ones at the same count.

    Raises:
        MissingExtra: films are wanted, and what writes them is not installed.
    """

    def __init__(self, config: Config, folder: Path, seed: int) -> None:
        self._config, self._seed = config, seed
        if config.save_video and config.task["name"] == "gimbal":
            VideoWriter(folder / "final.mp4", fps=1)  # complains now rather than hours later

    def measure(
        self, policy: Policy, episodes: int, *, env_steps: int, stage: int | None, video: Path | None = None
    ) -> Evaluation:
        """Episodes without noise, one in each of as many environments.

        Args:
            policy: the run's.
            episodes: how many.
            env_steps: the run's count.
            stage: of the curriculum; None where there is none.
            video: where the first episode's film goes, if films are wanted.
        """
        config = self._config
        seed = int(np.random.SeedSequence((self._seed, env_steps)).generate_state(1, np.uint32)[0])
        task = make_task(config, num_envs=episodes, seed=seed)
        if config.curriculum and stage is not None:
            set_stage(task, config.curriculum[stage])
        if video is None or not config.save_video or not isinstance(task, LandingTask):
            return evaluate(policy, task, config.frame_stack)
        from tempomat_rl.filming import film  # drawing is compiled when it is first imported

        with film(video, task) as each_step:
            return evaluate(policy, task, config.frame_stack, each_step=each_step)
