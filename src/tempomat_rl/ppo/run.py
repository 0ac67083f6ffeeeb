"""A run of PPO: environments, learner, plan, record and checkpoints, put together, begun or gone on with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

import tempomat as tm
from tempomat.runtime import Every
from tempomat_rl.checkpoint import Checkpoints, Found
from tempomat_rl.ppo import startup
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.envs import Envs, SeparateEnvs, make_envs
from tempomat_rl.ppo.learner import Learner, make_learner
from tempomat_rl.ppo.log import PPOLog
from tempomat_rl.ppo.normalize import Normalizer
from tempomat_rl.ppo.resuming import Settled, hold, settle
from tempomat_rl.ppo.settings import PPOConfig
from tempomat_rl.ppo.steering import Steering
from tempomat_rl.progress import Progress
from tempomat_rl.resuming import claim, nearby

CADENCES = ("evaluate", "keep", "write")


class Run:
    """Everything that a run is made of: built, begun or gone on with, and saved.

    Args:
        config: of the run; `config.folder` is where it leaves its traces.
    """

    def __init__(self, config: PPOConfig) -> None:
        self.folder = claim(config.folder or Path("exp_local") / "unnamed")
        with ExitStack() as closing:
            closing.callback(hold(self.folder).release)
            self._open(config, closing)
            self._closing = closing.pop_all()

    def _open(self, config: PPOConfig, closing: ExitStack) -> None:
        self.checkpoints = Checkpoints(self.folder, last_stage=0)
        found = self.checkpoints.newest_intact()
        settled = settle(config, found)
        self.config = settled.config
        self._build()
        closing.callback(self.collector.envs.close)
        self.batches = self.episodes = 0
        self.age = 0
        """Batches learned from since the weights that act were taken."""
        self.seconds = 0.0
        self.result: dict[str, Any] | None = None
        if found:
            self._restore(found.state)
        self._began = time.perf_counter()
        done = min(self.env_steps, self.config.total_env_steps)
        self.progress = Progress(self.config.total_env_steps, done, unit="env steps")
        closing.callback(self.progress.close)
        self._introduce(found, settled)
        self.log = PPOLog(
            self.folder,
            seed=self.config.seed,
            notes=self.config.data,
            resume=found.state["log"] if found else None,
            changed=bool(settled.changed),
        )
        closing.callback(self.log.close)
        if settled.event:
            self.steering.note(settled.event)
        if not found:
            self.collector.begin()
            self.log.write(self.steering, 0, self.learner.norms)
            self.save()  # a run that is killed before its first row can be told from a folder that is somebody else's

    def _build(self) -> None:
        config = self.config
        self.steering = Steering(config.plan, normalize_advantage=config.normalize_advantage)
        seeds = [int(one) for one in np.random.SeedSequence(config.seed).generate_state(5, np.uint32)]
        self._exam_seed = seeds[4]
        envs = self._envs(self.steering.count("num_envs", 1), seeds[0])
        normalizer = make_normalizer(config, envs.observation_space)
        self.collector = Collector(envs, normalizer, np.random.default_rng(seeds[1]))
        self.rng = np.random.default_rng(seeds[2])
        self.learner = self._learner(seeds[3])
        refreshed = "policy_refresh" in config.plan.schedules
        self.actor = self._learner(seeds[3]) if refreshed else self.learner
        """Whose weights act: the learner itself, or one that gets its weights now and then."""
        self.evaluate, self.keep, self.write = (
            Every(each, plan=config.plan) for each in (config.eval_every, config.save_every, config.log_every)
        )

    def _envs(self, num_envs: int, seed: int, *, fixed: bool = False) -> Envs:
        config = self.config
        fixed = fixed or isinstance(config.plan["num_envs"], tm.Constant)
        return make_envs(
            config.env, num_envs, seed=seed, options=config.env_options, vectorize=config.vectorize and fixed
        )

    def _learner(self, seed: int) -> Learner:
        envs = self.collector.envs
        return make_learner(envs.observation_space, envs.action_space, self.config.network, seed=seed)

    def _introduce(self, found: Found | None, settled: Settled) -> None:
        """Say what will be done before it is."""
        say, envs = self.progress.say, self.collector.envs
        for line in startup.lines(self.config):
            say(line)
        how = "one after the other" if isinstance(envs, SeparateEnvs) else "computed together"
        say(f"environments: {envs.num_envs}, {how}; observation {brief(envs.observation_space)}, action "
            f"{brief(envs.action_space)}")  # fmt: skip
        say(f"learner: {type(self.learner).__name__}; run: {nearby(self.folder)}")
        if found:
            for line in found.skipped:
                say(f"passed over: {line}")
            say(f"goes on from {found.path.name}, at env step {self.env_steps:,}")
        for line in settled.lines():
            say(line)

    # keeping

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.steering.load_state_dict(state["steering"], self.config.on_change)
        self.learner.load_state_dict(state["learner"])
        if self.actor is not self.learner:
            self.actor.load_state_dict(state["actor"] or state["learner"])
        self.collector.load_state_dict(state["collector"])
        self.rng.bit_generator.state = state["rng"]
        for name in CADENCES:
            getattr(self, name).load_state_dict(state[name], on_change="replace")
        for name in ("batches", "episodes", "age", "seconds", "result"):
            setattr(self, name, state[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "config": dict(self.config.data),
            "overrides": list(self.config.overrides),
            "log": self.log.state_dict(),
            "steering": self.steering.state_dict(),
            "learner": self.learner.state_dict(),
            "actor": None if self.actor is self.learner else self.actor.state_dict(),
            "collector": self.collector.state_dict(),
            "rng": self.rng.bit_generator.state,
            **{name: getattr(self, name).state_dict() for name in CADENCES},
            "batches": self.batches,
            "episodes": self.episodes,
            "age": self.age,
            "seconds": self.elapsed,
            "result": self.result,
        }

    def save(self) -> Path:
        """A snapshot, from which the run goes on with the same numbers."""
        return self.checkpoints.save("snapshot", self.state_dict())

    def close(self) -> None:
        """Let go of the folder and leave the progress line standing."""
        self._closing.close()

    # what both need

    @property
    def env_steps(self) -> int:
        """Steps of all environments together."""
        return self.steering.env_steps

    @property
    def elapsed(self) -> float:
        """Seconds of training in this session and those before."""
        return self.seconds + time.perf_counter() - self._began


def make_normalizer(config: PPOConfig, space: spaces.Space[Any]) -> Normalizer:
    """For a run's observations, images left out, and its rewards."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    shapes = {name: tuple(part.shape or ()) for name, part in parts.items() if part.dtype != np.uint8}
    return Normalizer(config.normalize_observation, config.normalize_reward, shapes)


def brief(space: spaces.Space[Any]) -> str:
    """A space in a few words.

    >>> brief(spaces.Discrete(2)), brief(spaces.Box(-1, 1, (84, 84, 3)))
    ('of 2 choices', 'of 84x84x3 numbers')
    """
    if isinstance(space, spaces.Dict):
        return ", ".join(f"{name} {brief(part)}" for name, part in space.spaces.items())
    if isinstance(space, spaces.Discrete):
        return f"of {space.n} choices"
    return f"of {'x'.join(map(str, space.shape or ()))} {'bytes' if space.dtype == np.uint8 else 'numbers'}"
