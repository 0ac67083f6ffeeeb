"""The loop of a run.

One turn of it is one decision in each of N environments, then as many updates as are due, each under the values that
the plan has for its own count of env steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tempomat_rl.drqv2 import quiet_allocator
from tempomat_rl.evaluation import Evaluation
from tempomat_rl.frames import Step
from tempomat_rl.health import unfit
from tempomat_rl.results import Result
from tempomat_rl.run import Run
from tempomat_rl.settings import Config
from tempomat_rl.tasks import set_stage


def train(config: Config) -> Result:
    """Train as configured, in the run's folder; go on there if it holds a run.

    Raises:
        StateError: the folder's run was made with other settings, and `on_change` is `refuse`.
        MeasurementError: actions, losses or networks are no finite numbers any more.
        RecordError: the folder cannot be written, or somebody else is writing there.
    """
    threads = config.threads or (1 if config.observation == "keypoint" else None)
    if threads:
        torch.set_num_threads(threads)
    if config.observation == "image":
        quiet_allocator()
    return Training.train(config)


@final
class Training(Run):
    """A run and its loop."""

    # the loop

    def _reached(self) -> list[str]:
        more = ["a larger num_train_frames"] if self.env_steps >= self.config.total_env_steps else []
        return [*more, "stop_when_held=false"] if self.held and self.config.stop_when_held else more

    def _turn(self) -> None:
        before = self.env_steps
        action_NA = self._act()
        step = self.task.step(action_NA)
        self.replay.append(step.frame, action_NA, step.reward_N, step.terminated_N, step.truncated_N, step.first_N)
        self.observation = self.stack.push(step.frame, step.first_N)
        self.env_steps += int(np.count_nonzero(~step.first_N))
        self._learn(before)
        self._end_episodes(step)
        self.progress.advance((self.env_steps - before) * self.config.action_repeat)
        self._keep_up(before)

    def _act(self) -> NDArray[np.float32]:
        if self._frames(self.env_steps) < self.config.num_random_frames:
            return self.agent.act_randomly(self.config.num_envs)
        action_NA = self.agent.act(self.observation, self._noise)
        self._refuse_unfit(unfit({"actions": action_NA}))
        return action_NA

    def _learn(self, before: int) -> None:
        """The updates that fell due since `before`, each at its own count: an update every `update_every_steps`."""
        config, every = self.config, self.config.update_every_steps
        for count in range((before // every + 1) * every, self.env_steps + 1, every):
            if self._frames(count) <= config.num_seed_frames or not self.replay.ready:
                continue
            self._advance_to(count)
            self.log.update(self.agent.update(self.replay.sample(config.batch_size), self._noise))
            self.updates += 1
        self._advance_to(self.env_steps)

    def _advance_to(self, count: int) -> None:
        behind = count - self.scheduler.counts["env_steps"]
        if behind:
            self.scheduler.advance(env_steps=behind)

    def _end_episodes(self, step: Step) -> None:
        for place in np.flatnonzero(step.terminated_N | step.truncated_N):
            self.episodes += 1
            self.log.episode(self.task.return_N[place], self.task.length_N[place])
            if self.curriculum:
                before = self.curriculum.stage(self.scheduler)
                stage = self.curriculum.episode(self.scheduler, bool(step.success_N[place]))
                if stage is not None:
                    self._pass_gate(before)
                    set_stage(self.task, stage)

    def _pass_gate(self, stage: int) -> None:
        self.gates[str(stage)] = {"env_steps": self.env_steps, "seconds": round(self.elapsed, 1)}
        self._passed.append(stage)
        self.progress.say(f"stage {stage} passed at env step {self.env_steps:,}, after {self.elapsed:.0f} s")

    def _keep_up(self, before: int) -> None:
        """Rows, evaluations and checkpoints that fell due since `before`."""
        config = self.config
        logging = self._crossed(before, config.log_every_frames) or bool(self._passed)
        if self.log.rates_jumped(self.scheduler) or logging:
            self._write_row()
        if self._crossed(before, config.eval_every_frames):
            self._evaluate()
        if logging:
            self._try_to_hold()
            self._keep_best()
        for stage in self._passed:
            self.checkpoints.save(f"stage_{stage}", self.state_dict(with_replay=False))
        self._passed.clear()
        if self._crossed(before, config.save_every_frames):
            self.save()

    def _crossed(self, before: int, every_frames: int) -> bool:
        return self._frames(self.env_steps) // every_frames > self._frames(before) // every_frames

    # writing down

    @property
    def stage(self) -> int | None:
        """The curriculum's, if there is one."""
        return self.curriculum.stage(self.scheduler) if self.curriculum else None

    @property
    def _rate(self) -> float | None:
        return self.curriculum.success_rate(self.scheduler) if self.curriculum else None

    def _counts(self) -> dict[str, Any]:
        return {
            "env_steps": self.env_steps,
            "frames": self._frames(self.env_steps),
            "updates": self.updates,
            "episodes": self.episodes,
            "stage": self.stage,
            "replay_size": len(self.replay),
            "seconds": round(self.elapsed, 2),
        }

    def _write_row(self) -> None:
        rate = self._rate
        means = self.log.write(self.scheduler, self._counts(), rate)
        self._refuse_unfit(unfit(means))
        stage = {"stage": self.stage} if self.curriculum else {}
        self.progress.show(**stage, **({"success": f"{rate:.2f}"} if rate is not None else {}))

    def _keep_best(self) -> None:
        rate, stage = self._rate, self.stage
        if rate is None or stage is None or not self.curriculum or not self.curriculum.full(self.scheduler):
            return
        if self.checkpoints.would_keep(stage, rate):
            state = self.state_dict(with_replay=False)
            self.checkpoints.save_best(stage, rate, state, env_steps=self.env_steps)

    # evaluating

    def _try_to_hold(self) -> None:
        """Once the last stage's gate is open, see whether it is held without noise as well.

        Not again before the run has made as many decisions as that took: it would do little else.
        """
        curriculum = self.curriculum
        if self.held or not curriculum or self.env_steps < self._hold_again or not curriculum.holds(self.scheduler):
            return
        result = self._measure(self.config.num_final_episodes, curriculum.last)
        episodes = f"{len(result.success_N)} episodes without noise"
        self.progress.say(f"stage {curriculum.last}, {episodes}: success {result.success_rate:.2f}")
        self._hold_again = self.env_steps + int(result.length_N.sum())
        if result.success_rate >= curriculum.gates.success_rate:
            self.held = True
            self.gates[str(curriculum.last)] = {"env_steps": self.env_steps, "seconds": round(self.elapsed, 1)}

    def _evaluate(self) -> None:
        video = self.folder / "eval_video" / f"{self._frames(self.env_steps)}.mp4"
        result = self._measure(self.config.num_eval_episodes, self.stage, video)
        self.log.evaluation(self.scheduler, self._counts(), result)

    def _measure(self, episodes: int, stage: int | None, video: Path | None = None) -> Evaluation:
        self._refuse_unfit(unfit({"networks": self.agent.state_dict()["networks"]}))
        return self.examiner.measure(self.agent, episodes, env_steps=self.env_steps, stage=stage, video=video)

    # ending

    def _evaluate_last(self) -> Evaluation:
        """On the last stage, whatever was reached."""
        last = self.curriculum.last if self.curriculum else None
        final = self._measure(self.config.num_final_episodes, last, self.folder / "final.mp4")
        self.log.evaluation(self.scheduler, {**self._counts(), "stage": last}, final)
        return final

    def _result(self, final: Evaluation | None = None) -> Result:
        succeeds = final is not None and self.config.task["name"] == "gimbal"
        return Result(
            folder=str(self.folder),
            finished=final is not None,
            env_steps=self.env_steps,
            frames=self._frames(self.env_steps),
            episodes=self.episodes,
            updates=self.updates,
            seconds=round(self.elapsed, 1),
            stage=self.stage,
            gates=self.gates,
            success_rate=final.success_rate if final and succeeds else None,
            episode_return=float(final.return_N.mean()) if final else None,
            held=self.held,
        )
