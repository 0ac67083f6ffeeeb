"""A run: environments, replay, agent, schedules, curriculum, record and checkpoints, put together.

One turn of the loop is one decision in each of N environments, then as many updates as are due, each under the values
that the plan has for its own count of env steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tempomat.core import MeasurementError, StateError
from tempomat.core.errors import shown
from tempomat.runs.lock import FolderLock
from tempomat.torch import Scheduler
from tempomat_rl import startup
from tempomat_rl.checkpoint import Checkpoints, Found
from tempomat_rl.drqv2 import DrQV2, quiet_allocator
from tempomat_rl.evaluation import Evaluation
from tempomat_rl.examining import Examiner
from tempomat_rl.frames import Step
from tempomat_rl.health import unfit
from tempomat_rl.log import RunLog
from tempomat_rl.progress import Progress, stop_on_signal
from tempomat_rl.replay import Replay
from tempomat_rl.results import RESULT, Result
from tempomat_rl.resuming import Settled, claim, go_on_command, settle
from tempomat_rl.settings import Config, ConfigError
from tempomat_rl.stacking import FrameStack
from tempomat_rl.tasks import make_task, set_stage


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
    with stop_on_signal() as stopped:
        training = Training(config)
        try:
            return training.run(stopped)
        finally:
            training.close()


@final
class Training:
    """Everything that a run is made of, and its loop.

    Args:
        config: of the run; `config.folder` is where it leaves its traces.
    """

    def __init__(self, config: Config) -> None:
        self.folder = claim(config.folder or Path("exp_local") / "unnamed")
        with ExitStack() as closing:
            # held before anything is read: the record's own lock comes only with what the checkpoint says
            closing.callback(FolderLock(self.folder / "replay").release)
            self._open(config, closing)
            self._closing = closing.pop_all()

    def _open(self, config: Config, closing: ExitStack) -> None:
        last = config.curriculum.last if config.curriculum else 0
        self.checkpoints = Checkpoints(self.folder, last_stage=last)
        found = self.checkpoints.newest_intact()
        settled = settle(config, found)
        self.config, self.curriculum = settled.config, settled.config.curriculum
        self._build()
        self._clear()
        if found:
            self.scheduler.load_state_dict(found.state["scheduler"], on_change=self.config.on_change)
            self.env_steps = self.scheduler.counts["env_steps"]  # another one than was saved if it was stretched
        self.progress = Progress(self.config.num_train_frames, self._frames(self.env_steps))
        closing.callback(self.progress.close)
        self._introduce(found, settled)
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
        self.seconds = 0.0
        self.gates: dict[str, dict[str, float]] = {}
        self.held = False
        self.result: dict[str, Any] | None = None
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

    def _introduce(self, found: Found | None, settled: Settled) -> None:
        """Say what will be done before it is."""
        config, say = self.config, self.progress.say
        for line in startup.lines(config):
            say(line)
        say(self.replay.describe())
        say(f"run: {self.folder}")
        if found:
            for line in found.skipped:
                say(f"passed over: {line}")
            saved = found.state["env_steps"]
            counted = "" if saved == self.env_steps else f", which counts as {self.env_steps:,} of the new length"
            say(f"goes on from {found.path.name}, at env step {saved:,}{counted}")
        for line in settled.lines():
            say(line)

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
        """Everything that the rest of the run depends on; the replay is in files of its own."""
        return {
            "config": self.config.data,
            "preset": self.config.preset,
            "overrides": list(self.config.overrides),
            "log": self.log.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "agent": self.agent.state_dict(),
            "replay": self.replay.save(self._replay_folder) if with_replay else None,
            "task": self.task.state_dict(),
            "stack": self.stack.state_dict(),
            "env_steps": self.env_steps,
            "episodes": self.episodes,
            "updates": self.updates,
            "seconds": self._elapsed,
            "gates": self.gates,
            "held": self.held,
            "hold_again": self._hold_again,
            "result": self.result,
        }

    def save(self) -> Path:
        """A snapshot, from which the run goes on with the same numbers.

        Raises:
            MeasurementError: the networks hold what is no number; the snapshot before stays.
        """
        state = self.state_dict()
        self._refuse_unfit(unfit(state["agent"]))
        path = self.checkpoints.save("snapshot", state)
        self.replay.commit()
        self._saved_at = self.env_steps
        return path

    def close(self) -> None:
        """Let go of the folder and leave the progress line standing."""
        self._closing.close()

    # the loop

    def run(self, stopped: Callable[[], bool]) -> Result:
        """To the end, or until `stopped` says so."""
        if self.result is not None and self._over:
            return self._finished_before(self.result)
        (self.folder / RESULT).unlink(missing_ok=True)  # of a run that has been made longer
        self.result = None
        while not self._over:
            if stopped():
                path, command = self.save(), go_on_command(self.config, self.folder)
                self.progress.say(f"interrupted; saved {path}. To go on:\n  {command}")
                return self._result()
            self._turn()
        return self._finish()

    @property
    def _over(self) -> bool:
        return self.env_steps >= self.config.total_env_steps or (self.held and self.config.stop_when_held)

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
        self._refuse_unfit(unfit({"an action": action_NA}))
        return action_NA

    def _refuse_unfit(self, unfit: Iterable[str]) -> None:
        """End the run, with its last checkpoint as it is, where numbers are none any more."""
        if names := list(unfit):
            rates = ", ".join(f"{name} {value:g}" for name, value in self.scheduler.asked.items() if "lr" in name)
            raise MeasurementError(
                f"env step {self.env_steps:,}: not a finite number any more: {shown(', '.join(names), 200)}, with "
                f"{rates}. The checkpoint of env step {self._saved_at:,} is as it was: go on from it with lower rates "
                "(lr=... on_change=replace), or begin anew in another checkpoint_dir"
            )

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
        self.gates[str(stage)] = {"env_steps": self.env_steps, "seconds": round(self._elapsed, 1)}
        self._passed.append(stage)
        self.progress.say(f"stage {stage} passed at env step {self.env_steps:,}, after {self._elapsed:.0f} s")

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

    def _frames(self, env_steps: int) -> int:
        return env_steps * self.config.action_repeat

    # writing down

    @property
    def _elapsed(self) -> float:
        """Seconds of training in this session and those before."""
        return self.seconds + time.perf_counter() - self._began

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
            "seconds": round(self._elapsed, 2),
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
            self.gates[str(curriculum.last)] = {"env_steps": self.env_steps, "seconds": round(self._elapsed, 1)}

    def _evaluate(self) -> None:
        video = self.folder / "eval_video" / f"{self._frames(self.env_steps)}.mp4"
        result = self._measure(self.config.num_eval_episodes, self.stage, video)
        self.log.evaluation(self.scheduler, self._counts(), result)

    def _measure(self, episodes: int, stage: int | None, video: Path | None = None) -> Evaluation:
        return self.examiner.measure(self.agent, episodes, env_steps=self.env_steps, stage=stage, video=video)

    # ending

    def _finish(self) -> Result:
        """The last row and evaluation, on the last stage whatever was reached; then everything is saved."""
        if self.log.waiting:
            self._write_row()
        last = self.curriculum.last if self.curriculum else None
        final = self._measure(self.config.num_final_episodes, last, self.folder / "final.mp4")
        self.log.evaluation(self.scheduler, {**self._counts(), "stage": last}, final)
        result = self._result(final)
        self.result = asdict(result)
        self.save()
        result.write()
        self.progress.say(f"finished: {result.sentence()}")
        return result

    def _finished_before(self, saved: dict[str, Any]) -> Result:
        """Nothing is left to do, except what a kill may have prevented."""
        result = replace(Result(**saved), folder=str(self.folder))
        result.write()
        longer = "" if self.env_steps < self.config.total_env_steps else ", with a larger num_train_frames"
        held = " with stop_when_held=false" if self.held and self.config.stop_when_held else ""
        self.progress.say(
            f"this run is finished already, at env step {self.env_steps:,}: {result.sentence()}. Give "
            f"on_change=replace{held}{longer} to train on"
        )
        return result

    def _result(self, final: Evaluation | None = None) -> Result:
        succeeds = final is not None and self.config.task["name"] == "gimbal"
        return Result(
            folder=str(self.folder),
            finished=final is not None,
            env_steps=self.env_steps,
            frames=self._frames(self.env_steps),
            episodes=self.episodes,
            updates=self.updates,
            seconds=round(self._elapsed, 1),
            stage=self.stage,
            gates=self.gates,
            success_rate=final.success_rate if final and succeeds else None,
            episode_return=float(final.return_N.mean()) if final else None,
            held=self.held,
        )


def _settle_device(config: Config) -> tuple[torch.device, Any]:
    """The device and precision that `auto` stands for: a GPU in bf16 where there is one."""
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(config.device if config.device != "auto" else "cuda" if available else "cpu")
    if device.type == "cuda" and (device.index or 0) >= available:
        raise ConfigError(f"device: {config.device}: PyTorch finds {available} GPUs here. Write device=auto")
    return device, config.precision if config.precision != "auto" else "bf16" if device.type == "cuda" else "fp32"
