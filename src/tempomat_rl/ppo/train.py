"""The loop of a run of PPO.

One turn of it is one rollout, T steps of N environments, and learning from it, each under the values that the plan has
for the counts at that moment. With `overlap` the next rollout is asked for before the one that came is learned from.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, final

import numpy as np

from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.collect import Episode, action_for
from tempomat_rl.ppo.correcting import corrected
from tempomat_rl.ppo.results import PPOResult
from tempomat_rl.ppo.rollout.source import Wanted
from tempomat_rl.ppo.run import Run
from tempomat_rl.ppo.settings import PPOConfig


def train(config: PPOConfig) -> PPOResult:
    """Train as configured, in the run's folder; go on there if it holds a run.

    Raises:
        StateError: the folder's run was made with other settings, and `on_change` is `refuse`.
        MeasurementError: gradients are no finite numbers any more; the last checkpoint is as it was.
        RecordError: the folder cannot be written, or somebody else is writing there.
        EnvError: there is no such environment.
        LearnerError: no policy of ours acts in it.
        WorkerFailed: an environment raised an exception in a rollout worker.
        WorkerLost: a rollout worker was lost again and again.
    """
    return Training.train(config)


@final
class Training(Run):
    """A run and its loop."""

    # the loop

    def _reached(self) -> list[str]:
        return ["a larger total_env_steps"] if self.env_steps >= self.config.total_env_steps else []

    def _turn(self) -> None:
        began = time.perf_counter()
        rollout = self._collect()
        collected = time.perf_counter()
        refused = self._refuses(rollout)
        measured = self._refuse(rollout) if refused else self._learn(rollout)
        done = {"env_steps": rollout.env_steps, "optimizer_steps": measured.pop("optimizer_steps", 0)}
        self.log.batch(measured, {**done, "collecting": collected - began, "learning": time.perf_counter() - collected})
        if self.write.due(self.env_steps):
            self._write_row()
        if self.steering.listens and not refused:
            self.steering.observe({**measured, **self.log.outcome})
        if self.evaluate.due(self.env_steps) and not self._over:
            self._evaluate()
        if self.keep.due(self.env_steps) and not self._over:
            self.save()
        self.progress.advance(rollout.env_steps)

    def _collect(self) -> Rollout:
        """A rollout; clocks go forward by what happened in it."""
        if not self.source.pending:
            self._request()
        made = self.source.receive()
        for event in self.source.take_news():
            self._note(event)
        rollout = replace(made.rollout, policy_age=self.batches - made.version)
        self.log.end(made.episodes)
        self.episodes += len(made.episodes)
        self.steering.advance(env_steps=rollout.env_steps, episodes=len(made.episodes))
        if self._refuses(rollout):
            self.source.refresh(self.batches)
        if self.config.overlap and not self._over:
            self._request()
        return rollout

    def _request(self) -> None:
        """Ask for the next rollout, under the values of this moment."""
        source, steering = self.source, self.steering
        if source.version is None or self.batches - source.version >= steering.count("policy_refresh", 1):
            source.refresh(self.batches)
        source.request(
            Wanted(
                length=steering.count("rollout_length", 1),
                num_envs=steering.count("num_envs", 1),
                gamma=steering.number("gamma", 1.0),
                noise=steering.number("observation_noise", 0.0),
                keep_ends=self.config.when_too_old == "correct" and "max_policy_age" in steering.values,
            )
        )

    def _learn(self, rollout: Rollout) -> dict[str, float]:
        if self._too_old(rollout):
            rollout = corrected(rollout, self.learner)
        measured = dict(self.learner.update(rollout, self.steering.learning(), self.rng))
        self.steering.learned(int(measured["optimizer_steps"]))
        self.batches += 1
        measured["batch_env_steps"] = measured.pop("samples")
        weight_TN = rollout.weight_TN
        return measured | {
            "policy_age": rollout.policy_age,
            "corrected": float(weight_TN is not None),
            "importance_weight": 1.0 if weight_TN is None else float(weight_TN[rollout.valid_TN].mean()),
        }

    # batches of older weights

    def _too_old(self, rollout: Rollout) -> bool:
        return rollout.policy_age > self.steering.number("max_policy_age", math.inf)

    def _refuses(self, rollout: Rollout) -> bool:
        return self.config.when_too_old == "refuse" and self._too_old(rollout)

    def _refuse(self, rollout: Rollout) -> dict[str, float]:
        """Nothing is learned from it; its steps and episodes are counted already, since they were taken."""
        self.refused["batches"] += 1
        self.refused["env_steps"] += rollout.env_steps
        age, most = rollout.policy_age, self.steering.count("max_policy_age", 0)
        self.steering.note({"event": "batch_refused", "policy_age": age, "max_policy_age": most,
                            "batch_env_steps": rollout.env_steps, "env_steps": self.env_steps})  # fmt: skip
        return {"policy_age": age}

    def _note(self, event: dict[str, Any]) -> None:
        """Of the workers, for the record and for who looks on."""
        lost = f"; {event['episodes_lost']} running episodes were begun anew" if "episodes_lost" in event else ""
        self.progress.say(f"rollout worker {event['place']} was replaced, at env step {self.env_steps:,}: "
                          f"{event['why']}{lost}")  # fmt: skip
        self.steering.note({**event, "env_steps": self.env_steps})

    # writing down

    def _write_row(self) -> None:
        self.log.write(self.steering, self._sums, self.learner.norms)
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
        to_env, scale = action_for(envs.action_space), self.source.normalizer
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

    def _evaluate_last(self) -> dict[str, Any]:
        return self._measure(self.config.num_final_episodes)

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
