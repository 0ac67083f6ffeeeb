"""A run of PPO: environments, learner, plan, record and checkpoints, put together, begun or gone on with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

import tempomat as tm
from tempomat.runtime import Every
from tempomat_rl.checkpoint import Found
from tempomat_rl.ppo import startup
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.envs import Envs, SeparateEnvs, make_envs
from tempomat_rl.ppo.learner import Learner
from tempomat_rl.ppo.log import PPOLog
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.normalize import Normalizer, make_normalizer
from tempomat_rl.ppo.results import PPOResult
from tempomat_rl.ppo.resuming import RESUMING
from tempomat_rl.ppo.rollout import make_transport
from tempomat_rl.ppo.rollout.local import Local
from tempomat_rl.ppo.rollout.messages import WorkerSpec
from tempomat_rl.ppo.rollout.pool import Pool
from tempomat_rl.ppo.rollout.source import Source
from tempomat_rl.ppo.settings import PPOConfig
from tempomat_rl.ppo.steering import Steering
from tempomat_rl.program.resuming import Settled, nearby
from tempomat_rl.program.session import Session
from tempomat_rl.progress import Progress

CADENCES = ("evaluate", "keep", "write")


class Run(Session[PPOConfig, PPOResult]):
    """Everything that a run is made of: built, begun or gone on with, and saved."""

    resuming = RESUMING
    ending = PPOResult

    def _open(self, found: Found | None, settled: Settled[PPOConfig], closing: ExitStack) -> None:
        self._build(closing)
        self.batches = self.episodes = 0
        self.refused = {"batches": 0, "env_steps": 0}
        """What was too old to be learned from."""
        if found:
            self._restore(found.state)
        self._began = time.perf_counter()
        done = min(self.env_steps, self.config.total_env_steps)
        self.progress = Progress(self.config.total_env_steps, done, unit="env steps")
        closing.callback(self.progress.close)
        saved = found.state["steering"]["counts"]["env_steps"] if found else 0
        self._introduce(self._about(), found, settled, saved)
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
            self.log.write(self.steering, self._sums, self.learner.norms)
            self.save()  # a run that is killed before its first row can be told from a folder that is somebody else's

    def _build(self, closing: ExitStack) -> None:
        config = self.config
        self.steering = Steering(config.plan, normalize_advantage=config.normalize_advantage)
        seeds = [int(one) for one in np.random.SeedSequence(config.seed).generate_state(5, np.uint32)]
        self._exam_seed = seeds[4]
        self.rng = np.random.default_rng(seeds[2])
        envs = self._envs(self.steering.count("num_envs", 1) if config.rollout == "local" else 1, seeds[0])
        self._spaces = envs.observation_space, envs.action_space
        self._how = "one after the other" if isinstance(envs, SeparateEnvs) else "computed together"
        self.learner = self._learner(seeds[3])
        build = self._local if config.rollout == "local" else self._pool
        self.source: Source = build(envs, seeds)
        closing.callback(self.source.close)
        self.evaluate, self.keep, self.write = (
            Every(each, plan=config.plan) for each in (config.eval_every, config.save_every, config.log_every)
        )

    def _local(self, envs: Envs, seeds: list[int]) -> Local:
        collector = Collector(envs, self._normalizer(), np.random.default_rng(seeds[1]))
        refreshed = "policy_refresh" in self.config.plan.schedules
        return Local(collector, self.learner, self._learner(seeds[3]) if refreshed else self.learner)

    def _pool(self, envs: Envs, seeds: list[int]) -> Pool:
        config = self.config
        envs.close()  # its spaces are known now
        transport = make_transport(
            "process" if config.rollout == "process" else "ray",
            partial(self._spec, seeds),
            config.num_workers,
            timeout_s=config.worker_timeout,
            ray_address=config.ray_address,
        )
        return Pool(transport, config.num_workers, self.learner, self._normalizer())

    def _spec(self, seeds: list[int], place: int) -> WorkerSpec:
        config = self.config
        return WorkerSpec(
            env=config.env,
            env_options=config.env_options,
            vectorize=config.vectorize and self._fixed,
            env_seed=seeds[0],
            action_seed=seeds[1],
            place=place,
            num_workers=config.num_workers,
            network=config.network,
            normalize_observation=config.normalize_observation,
            normalize_reward=config.normalize_reward,
        )

    @property
    def _fixed(self) -> bool:
        """Whether the number of environments stays as it is."""
        return isinstance(self.config.plan["num_envs"], tm.Constant)

    def _envs(self, num_envs: int, seed: int, *, fixed: bool = False) -> Envs:
        config, fixed = self.config, fixed or self._fixed
        return make_envs(
            config.env, num_envs, seed=seed, options=config.env_options, vectorize=config.vectorize and fixed
        )

    def _normalizer(self) -> Normalizer:
        return make_normalizer(self._spaces[0], self.config.normalize_observation, self.config.normalize_reward)

    def _learner(self, seed: int) -> Learner:
        return make_learner(*self._spaces, self.config.network, seed=seed)

    def _about(self) -> Iterator[str]:
        """What the run is made of."""
        yield from startup.lines(self.config)
        number, (seen, done) = self.steering.count("num_envs", 1), map(brief, self._spaces)
        where = self.source.describe()
        yield f"environments: {number}, {self._how}{where}; observation {seen}, action {done}"
        yield f"learner: {type(self.learner).__name__}; run: {nearby(self.folder)}"

    # keeping

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.steering.load_state_dict(state["steering"], self.config.on_change)
        self.learner.load_state_dict(state["learner"])
        self.source.load_state_dict(state["source"])
        self.rng.bit_generator.state = state["rng"]
        for name in CADENCES:
            getattr(self, name).load_state_dict(state[name], on_change="replace")
        for name in ("batches", "episodes", "refused", "seconds", "result"):
            setattr(self, name, state[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "config": dict(self.config.data),
            "overrides": list(self.config.overrides),
            "log": self.log.state_dict(),
            "steering": self.steering.state_dict(),
            "learner": self.learner.state_dict(),
            "source": self.source.state_dict(),
            "rng": self.rng.bit_generator.state,
            **{name: getattr(self, name).state_dict() for name in CADENCES},
            "batches": self.batches,
            "episodes": self.episodes,
            "refused": dict(self.refused),
            "seconds": self.elapsed,
            "result": self.result,
        }

    def save(self) -> Path:
        """A snapshot, from which the run goes on with the same numbers."""
        return self.checkpoints.save("snapshot", self.state_dict())

    # what both need

    @property
    def _sums(self) -> dict[str, float]:
        """Counted since the run began, for a row."""
        return {"batches": self.batches, **{f"refused_{unit}": count for unit, count in self.refused.items()}}

    @property
    def env_steps(self) -> int:
        """Steps of all environments together."""
        return self.steering.env_steps


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
