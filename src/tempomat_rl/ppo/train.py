"""The loop of a run of PPO.

One turn of it is one rollout, T steps of N environments, and learning from it, each under the values that the plan has
for the counts at that moment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from tempomat.core import RecordError
from tempomat.plan.atomic import write_atomically
from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.collect import Episode, action_for
from tempomat_rl.ppo.resuming import go_on_command
from tempomat_rl.ppo.run import Run
from tempomat_rl.ppo.settings import PPOConfig
from tempomat_rl.progress import stop_on_signal
from tempomat_rl.results import RESULT
from tempomat_rl.resuming import nearby


@final
@dataclass(frozen=True, slots=True)
class PPOResult:
    """How a run ended."""

    folder: str
    finished: bool
    """False if it was interrupted, and can go on."""
    env_steps: int
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

    def write(self) -> None:
        """Put `result.json` into the run's folder, whole or not at all."""
        path = Path(self.folder) / RESULT
        try:
            write_atomically(path, (json.dumps(asdict(self), indent=2) + "\n").encode())
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error

    def sentence(self) -> str:
        """Success rate, return and time."""
        rate = "" if self.success_rate is None else f"success {self.success_rate:.2f}, "
        return f"{rate}return {self.episode_return:.1f} +- {self.episode_return_std:.1f}, {self.seconds:.1f} s"


def train(config: PPOConfig) -> PPOResult:
    """Train as configured, in the run's folder; go on there if it holds a run.

    Raises:
        StateError: the folder's run was made with other settings, and `on_change` is `refuse`.
        MeasurementError: gradients are no finite numbers any more; the last checkpoint is as it was.
        RecordError: the folder cannot be written, or somebody else is writing there.
        EnvError: there is no such environment.
        LearnerError: no policy of ours acts in it.
    """
    with stop_on_signal() as stopped:
        training = Training(config)
        try:
            return training.run(stopped)
        finally:
            training.close()


@final
class Training(Run):
    """A run and its loop."""

    def run(self, stopped: Callable[[], bool]) -> PPOResult:
        """To the end, or until `stopped` says so."""
        if self.result is not None and self._over:
            return self._finished_before(self.result)
        (self.folder / RESULT).unlink(missing_ok=True)  # of a run that has been made longer
        self.result = None
        while not self._over:
            if stopped():
                path, command = self.save(), go_on_command(self.config, self.folder)
                self.progress.say(f"interrupted; saved {nearby(path)}. To go on:\n  {command}")
                return self._result()
            self._turn()
        return self._finish()

    @property
    def _over(self) -> bool:
        return self.env_steps >= self.config.total_env_steps

    # the loop

    def _turn(self) -> None:
        began = time.perf_counter()
        rollout = self._collect()
        collected = time.perf_counter()
        measured = self._learn(rollout)
        done = {"env_steps": rollout.env_steps, "optimizer_steps": measured.pop("optimizer_steps")}
        self.log.batch(measured, {**done, "collecting": collected - began, "learning": time.perf_counter() - collected})
        if self.write.due(self.env_steps):
            self._write_row()
        if self.steering.listens:
            self.steering.observe({**measured, **self.log.outcome})
        if self.evaluate.due(self.env_steps) and not self._over:
            self._evaluate()
        if self.keep.due(self.env_steps) and not self._over:
            self.save()
        self.progress.advance(rollout.env_steps)

    def _collect(self) -> Rollout:
        """A rollout; clocks go forward by what happened in it."""
        steering, collector = self.steering, self.collector
        self._refresh()
        rollout = collector.collect(
            self.actor,
            steering.count("rollout_length", 1),
            steering.count("num_envs", 1),
            gamma=steering.number("gamma", 1.0),
            noise=steering.number("observation_noise", 0.0),
            policy_age=self.age,
        )
        self.log.end(collector.episodes)
        self.episodes += len(collector.episodes)
        steering.advance(env_steps=rollout.env_steps, episodes=len(collector.episodes))
        collector.episodes.clear()
        return rollout

    def _refresh(self) -> None:
        if self.age and self.age >= self.steering.count("policy_refresh", 1):
            if self.actor is not self.learner:
                self.actor.load_state_dict(self.learner.state_dict())
            self.age = 0

    def _learn(self, rollout: Rollout) -> dict[str, float]:
        measured = dict(self.learner.update(rollout, self.steering.learning(), self.rng))
        self.steering.learned(int(measured["optimizer_steps"]))
        self.batches += 1
        measured["batch_env_steps"] = measured.pop("samples")
        measured["policy_age"] = rollout.policy_age
        self.age += 1
        return measured

    # writing down

    def _write_row(self) -> None:
        self.log.write(self.steering, self.batches, self.learner.norms)
        outcome = self.log.outcome
        shown = {name.removeprefix("episode_"): f"{outcome[name]:.4g}" for name in ("episode_return", "success_rate")
                 if name in outcome}  # fmt: skip
        self.progress.show(**shown)

    # evaluating

    def _evaluate(self) -> None:
        row = self._measure(self.config.num_eval_episodes)
        self.steering.observe({"eval_return": row["episode_return"]})

    def _measure(self, episodes: int) -> dict[str, Any]:
        """Episodes of the likeliest actions, one in each of as many environments of their own."""
        seed = np.random.SeedSequence((self._exam_seed, self.env_steps)).generate_state(1, np.uint32)
        envs = self._envs(episodes, int(seed[0]), fixed=True)
        try:
            told = self._examine(envs)
        finally:
            envs.close()
        return self.log.evaluation(self.steering, self.env_steps, told, self.elapsed)

    def _examine(self, envs: Any) -> list[Episode]:
        to_env, scale = action_for(envs.action_space), self.collector.normalizer
        running_N = np.ones(envs.num_envs, bool)
        return_N, length_N = np.zeros(envs.num_envs), np.zeros(envs.num_envs, np.int64)
        success_N: Any = None
        observation = envs.reset()
        while running_N.any():
            step = envs.step(to_env(self.learner.evaluate(scale.observe(observation, learn=False))))
            observation = step.observation
            return_N += np.where(running_N, step.reward_N, 0.0)
            length_N += running_N
            ended_N = running_N & (step.terminated_N | step.truncated_N)
            if step.success_N is not None:
                success_N = np.zeros(envs.num_envs, bool) if success_N is None else success_N
                success_N |= ended_N & step.success_N
            running_N &= ~ended_N
        successes = [None] * envs.num_envs if success_N is None else success_N.tolist()
        return [Episode(*one) for one in zip(return_N.tolist(), length_N.tolist(), successes, strict=True)]

    # ending

    def _finish(self) -> PPOResult:
        """The last row and evaluation; then everything is saved."""
        if self.log.waiting:
            self._write_row()
        result = self._result(self._measure(self.config.num_final_episodes))
        self.result = asdict(result)
        self.save()
        result.write()
        self.progress.say(f"finished: {result.sentence()}")
        return result

    def _finished_before(self, saved: dict[str, Any]) -> PPOResult:
        """Nothing is left to do, except what a kill may have prevented."""
        result = replace(PPOResult(**saved), folder=str(self.folder))
        result.write()
        self.progress.say(
            f"this run is finished already, at env step {self.env_steps:,}: {result.sentence()}. To train on, give a "
            "larger total_env_steps with on_change=replace"
        )
        return result

    def _result(self, final: dict[str, Any] | None = None) -> PPOResult:
        told = final or {}
        return PPOResult(
            folder=str(self.folder),
            finished=final is not None,
            env_steps=self.env_steps,
            optimizer_steps=self.steering.counts["optimizer_steps"],
            batches=self.batches,
            episodes=self.episodes,
            seconds=round(self.elapsed, 1),
            episode_return=told.get("episode_return"),
            episode_return_std=told.get("episode_return_std"),
            success_rate=told.get("success_rate"),
        )
