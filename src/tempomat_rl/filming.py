"""Evaluation episodes as videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempomat.core import RecordError
from tempomat_rl.envs import view
from tempomat_rl.envs.landing import LandingTask
from tempomat_rl.video import VideoWriter

FPS = 6
"""Pictures in a second: one per decision, in the task's own time."""
_STILL = 6
"""Pictures that the end is left standing for."""


@contextmanager
def film(path: Path, task: LandingTask, episodes: int = 1) -> Iterator[Callable[[NDArray[np.bool_]], None]]:
    """A callback for `evaluate` that puts the first environments' episodes into a video, one after another.

    Args:
        path: of the video; it is there when the block is left without an error.
        task: whose episodes they are.
        episodes: how many of its environments.

    Raises:
        RecordError: the disk is full or fails; there is no film then.
    """
    shots: list[list[NDArray[np.uint8]]] = [[] for _ in range(min(episodes, task.num_envs))]
    trails = [view.Trail() for _ in shots]

    def each_step(running_N: NDArray[np.bool_]) -> None:
        for place, shot in enumerate(shots):
            if running_N[place]:
                title = f"{task.stage.name}, decision {task.length_N[place]}"
                lines = [f"return {task.return_N[place]:.1f}", f"{task.distance_N[place]:.2f} m from the pad"]
                shot.append(view.draw(task.scene, place, title=title, lines=lines, trail=trails[place]))

    yield each_step
    try:
        _write(path, shots)
    except OSError as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error


def _write(path: Path, shots: list[list[NDArray[np.uint8]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=FPS) as video:
        for shot in shots:
            for picture in [*shot, *shot[-1:] * _STILL]:
                video.add(picture)
