"""A run: environments, replay, agent, schedules, curriculum, record and checkpoints, put together, begun or gone on
with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tempomat.core import MeasurementError, StateError
from tempomat.torch import Scheduler
from tempomat_rl import startup
from tempomat_rl.checkpoint import Found
from tempomat_rl.drqv2 import DrQV2
from tempomat_rl.examining import Examiner
from tempomat_rl.health import unfit
from tempomat_rl.log import RunLog
from tempomat_rl.program.resuming import Settled, nearby
from tempomat_rl.program.session import Session
from tempomat_rl.program.settings import ConfigError
from tempomat_rl.progress import Progress
from tempomat_rl.replay import Replay
from tempomat_rl.results import Result
from tempomat_rl.resuming import RESUMING
from tempomat_rl.settings import Config
from tempomat_rl.stacking import FrameStack
from tempomat_rl.tasks import make_task, set_stage

PUBLISHED_SIZE = 84
"""Pixels of a side, of the image that DrQ-v2 was published with."""


class Run(Session[Config, Result]):
    """Everything that a run is made of: built, begun or gone on with, and saved."""

    resuming = RESUMING
    ending = Result

    def _open(self, found: Found | None, settled: Settled[Config], closing: ExitStack) -> None:
        self.curriculum = self.config.curriculum
        if self.curriculum:
            self.checkpoints.last_stage = self.curriculum.last
        self._build()
        self._clear()
        if found:
            self.scheduler.load_state_dict(found.state["scheduler"], on_change=self.config.on_change)
            self.env_steps = self.scheduler.counts["env_steps"]  # another one than was saved if it was stretched
        self.progress = Progress(self.config.num_train_frames, self._frames(self.env_steps))
        closing.callback(self.progress.close)
        self._introduce(self._about(), found, settled, found.state["env_steps"] if found else 0)
        resume = found.state["log"] if found else None
        data = self.config.data
        self.log = RunLog(self.folder, seed=self.config.seed, notes=data, resume=resume, event=settled.event)
        closing.callback(self.log.close)
        if found:
            self._go_on(found)
        else:
            self._begin()

    def _clear(self) -> None:
        """Nothing has been done yet."""
        self.env_steps = self.episodes = self.updates = 0
        self.gates: dict[str, dict[str, float]] = {}
        self.held = False
        self._hold_again = 0
        self._began = time.perf_counter()
        self._passed: list[int] = []

    def _build(self) -> None:
        config = self.config
        seeds = [int(one) for one in np.random.SeedSequence(config.seed).generate_state(4, np.uint32)]
        self.task = task = make_task(config, num_envs=config.num_envs, seed=seeds[0])
        self.examiner = Examiner(config, self.folder, seeds[3])
        device, precision = _settle_device(config)
        agent = replace(config.agent, precision=precision, lr_tensors=device.type == "cuda")
        self.agent = DrQV2(task.spec, config.frame_stack, task.action_size, agent, seed=seeds[1], device=device)
        self.replay = Replay(
            task.spec,
            config.frame_stack,
            config.num_envs,
            task.action_size,
            capacity=config.replay_size,
            n_step=config.n_step,
            discount=config.discount,
            seed=seeds[2],
        )
        self.stack = FrameStack(task.spec, config.frame_stack, config.num_envs)
        self._noise = 0.0
        targets: dict[str, Callable[[float], None] | None] = {"noise": self._set_noise}
        if self.curriculum:
            targets["curriculum_stage"] = None
        self.scheduler = Scheduler(self.agent.optimizers, config.plan, targets=targets)

    def _set_noise(self, value: float) -> None:
        self._noise = value

    def _about(self) -> list[str]:
        """What the run is made of."""
        about = [self._about_agent(), self.replay.describe(), f"run: {nearby(self.folder)}"]
        return [*startup.lines(self.config), *about]

    def _about_agent(self) -> str:
        agent, config = self.agent, self.config
        networks = (agent.encoder, agent.actor, agent.critic)
        count = sum(one.numel() for network in networks for one in network.parameters())
        line = f"agent: {config.agent.encoder.name}, {count:,} parameters, {agent.config.precision} on {agent.device}"
        if agent.device.type == "cpu" and config.observation == "image" and config.image_size >= PUBLISHED_SIZE:
            line += ". Without a GPU an update of this size takes up to seconds; scale=laptop is made for a CPU"
        return line

    # begin, go on, save

    def _begin(self) -> None:
        self.scheduler.start()
        self._enter_stage()
        self._reset()
        self.observation = self.stack.observation
        self.save()  # a run that is killed before its first row can be told from a folder that is somebody else's

    def _reset(self) -> None:
        frame = self.task.reset()
        self.replay.add(frame)
        self.stack.push(frame)

    def _enter_stage(self) -> None:
        if self.curriculum:
            set_stage(self.task, self.curriculum.start(self.scheduler))

    def _go_on(self, found: Found) -> None:
        state = found.state
        self.agent.load_state_dict(state["agent"])
        self.task.load_state_dict(state["task"])
        self.stack.load_state_dict(state["stack"])
        if state["replay"] is None:
            self.progress.say("this checkpoint has no replay: it is filled anew, beginning with new episodes")
            self._reset()
        else:
            self._load_replay(found)
        self.observation = self.stack.observation
        for name in ("episodes", "updates", "seconds", "gates", "held", "result"):
            setattr(self, name, state[name])
        self._hold_again = state["hold_again"]
        self._enter_stage()
        self._saved_at = self.env_steps

    def _load_replay(self, found: Found) -> None:
        try:
            self.replay.load(self._replay_folder, found.state["replay"])
        except StateError as error:
            raise StateError(
                f"{found.path}: its replay cannot be loaded: {error} The other checkpoints in {self.folder} are found "
                f"once {found.path.name} has been moved away; those of stages and the best begin with an empty replay"
            ) from error

    @property
    def _replay_folder(self) -> Path:
        return self.folder / "replay"

    def state_dict(self, *, with_replay: bool = True) -> dict[str, Any]:
        """Everything that the rest of the run depends on; the replay is in files of its own.

        Raises:
            MeasurementError: the networks hold what is no number.
        """
        agent = self.agent.state_dict()
        self._refuse_unfit(unfit(agent))
        return {
            "config": self.config.data,
            "preset": self.config.preset,
            "overrides": list(self.config.overrides),
            "log": self.log.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "agent": agent,
            "replay": self.replay.save(self._replay_folder) if with_replay else None,
            "task": self.task.state_dict(),
            "stack": self.stack.state_dict(),
            "env_steps": self.env_steps,
            "episodes": self.episodes,
            "updates": self.updates,
            "seconds": self.elapsed,
            "gates": self.gates,
            "held": self.held,
            "hold_again": self._hold_again,
            "result": self.result,
        }

    def save(self) -> Path:
        """A snapshot, from which the run goes on with the same numbers. What `state_dict` refuses is not saved."""
        path = self.checkpoints.save("snapshot", self.state_dict())
        self.replay.commit()
        self._saved_at = self.env_steps
        return path

    # what both need

    def _frames(self, env_steps: int) -> int:
        return env_steps * self.config.action_repeat

    def _refuse_unfit(self, unfit: Iterable[str]) -> None:
        """End the run, with its last checkpoint as it is, where numbers are none any more."""
        if names := list(unfit):
            rates = ", ".join(f"{name} {value:g}" for name, value in self.scheduler.asked.items() if "lr" in name)
            raise MeasurementError(
                f"env step {self.env_steps:,}: not a finite number any more: {', '.join(names[:5])}, with "
                f"{rates}. The checkpoint of env step {self._saved_at:,} is as it was: go on from it with lower rates "
                "(lr=... on_change=replace), or begin anew in another checkpoint_dir"
            )


def _settle_device(config: Config) -> tuple[torch.device, Any]:
    """The device and precision that `auto` stands for: a GPU in bf16 where there is one."""
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(config.device if config.device != "auto" else "cuda" if available else "cpu")
    if device.type == "cuda" and (device.index or 0) >= available:
        raise ConfigError(f"device: {config.device}: PyTorch finds {available} GPUs here. Write device=auto")
    return device, config.precision if config.precision != "auto" else "bf16" if device.type == "cuda" else "fp32"
