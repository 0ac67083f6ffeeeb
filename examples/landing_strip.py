"""A trained agent's landing as pictures: `python examples/landing_strip.py RUN_FOLDER OUT.png`.

Loads the newest intact checkpoint of a run of `train_gimbal_curriculum.py`, lets its policy fly 16 episodes of the last
stage without noise, and draws the landing on the pad that drove farthest: six moments of it as a PNG, or all of it if
OUT ends in .gif. The same run and seed give the same pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tempomat_rl.checkpoint import Checkpoints
from tempomat_rl.drqv2 import DrQV2
from tempomat_rl.envs import view
from tempomat_rl.envs.dynamics import DECISION_RATE
from tempomat_rl.envs.landing import LandingTask
from tempomat_rl.evaluation import evaluate
from tempomat_rl.settings import Config, read
from tempomat_rl.tasks import make_task

EPISODES = 16
COLUMNS, ROWS = 3, 2
STRIP_SIZE, FILM_SIZE = (640, 360), (448, 252)
GAP = 6
"""Pixels between two pictures of the strip."""
COLOURS, STILL = 36, 12
"""Of the film: its palette, and the pictures that its end is left standing for."""
Picture = NDArray[np.uint8]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, fly, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished or interrupted run of the landing task")
    parser.add_argument("out", type=Path, help="a .png for six moments, a .gif for the whole landing")
    parser.add_argument("--seed", type=int, default=0, help="of the 16 episodes (default: 0)")
    given = parser.parse_args(argv)
    moving = given.out.suffix == ".gif"
    pictures = film_landing(given.run, given.seed, FILM_SIZE if moving else STRIP_SIZE)
    write_film(pictures, given.out) if moving else write_strip(pictures, given.out)
    print(f"{given.out}: a landing of {len(pictures) - 1} decisions, {(len(pictures) - 1) / DECISION_RATE:.1f} s")


def film_landing(run: Path, seed: int, size: tuple[int, int]) -> list[Picture]:
    """A picture before each decision of the landing, and one of its end."""
    config, agent = load(run)
    place = choose(config, agent, seed)
    # The same flights again, and only the chosen one drawn.
    task, trail, pictures = make_landing(config, seed), view.Trail(), []

    def each_step(running: NDArray[np.bool_]) -> None:
        if running[place]:
            seconds = f"{task.length_N[place] / DECISION_RATE:.1f} s"
            words = [f"{task.scene.position_N3[place, 2]:.2f} m up", f"{task.distance_N[place]:.2f} m from the pad"]
            pictures.append(view.draw(task.scene, place, size=size, title=seconds, lines=words, trail=trail))

    evaluate(agent, task, config.frame_stack, each_step=each_step)
    return pictures


def choose(config: Config, agent: DrQV2, seed: int) -> int:
    """Which of the episodes ends in a landing, on the pad that drove farthest."""
    task, driven = make_landing(config, seed), np.zeros(EPISODES)

    def each_step(running: NDArray[np.bool_]) -> None:
        driven[running] = np.linalg.norm(task.scene.pad_position_N3[running, :2], axis=1)  # it starts at 0, 0

    result = evaluate(agent, task, config.frame_stack, each_step=each_step)
    if not result.success_N.any():
        raise SystemExit(f"none of {EPISODES} episodes ended in a landing. Train longer, or take another --seed")
    return int(np.argmax(np.where(result.success_N, driven, -1.0)))


def load(run: Path) -> tuple[Config, DrQV2]:
    """The settings and the agent of the newest intact checkpoint, on the CPU."""
    found = Checkpoints(run, last_stage=0).newest_intact()
    if found is None:
        raise SystemExit(f"{run}: there is no checkpoint. Name the folder of a run")
    config = read(found.state["config"])
    task = make_landing(config, 0)
    agent = DrQV2(task.spec, config.frame_stack, task.action_size, config.agent, seed=0)
    agent.load_state_dict(found.state["agent"])
    return config, agent


def make_landing(config: Config, seed: int) -> LandingTask:
    """Freshly built episodes of the run's last stage."""
    task = make_task(config, num_envs=EPISODES, seed=seed)
    if not isinstance(task, LandingTask):
        raise SystemExit("only runs of the landing task can be drawn, and this one has another task")
    if config.curriculum:
        task.set_stage(config.curriculum[config.curriculum.last])
    return task


def write_strip(pictures: Sequence[Picture], out: Path) -> None:
    """Moments at equal times from the first picture to the last, row by row."""
    moments = np.linspace(0, len(pictures) - 1, COLUMNS * ROWS).round().astype(int)
    width, height = STRIP_SIZE
    strip = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, ROWS * (height + GAP) - GAP), "white")
    for number, moment in enumerate(moments):
        row, column = divmod(number, COLUMNS)
        strip.paste(Image.fromarray(pictures[moment]), (column * (width + GAP), row * (height + GAP)))
    strip.quantize(256, Image.Quantize.FASTOCTREE).save(out, optimize=True)


def write_film(pictures: Sequence[Picture], out: Path) -> None:
    """All pictures, in the task's own time; the last one stays."""
    shots = [Image.fromarray(one) for one in (*pictures, *[pictures[-1]] * STILL)]
    sample = np.concatenate([pictures[0], pictures[len(pictures) // 2], pictures[-1]])
    # An octree keeps the small bright things, where a median cut spends all its colours on the ground.
    palette = Image.fromarray(sample).quantize(COLOURS, Image.Quantize.FASTOCTREE)
    first, *rest = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in shots)
    first.save(out, save_all=True, append_images=rest, duration=round(1000 / DECISION_RATE), loop=0, optimize=True)


if __name__ == "__main__":
    main()
