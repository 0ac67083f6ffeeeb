"""The settings of a run: plain data as Hydra composes it, read into frozen values with every fault at once.

A `Config` holds them as attributes under their names in the files of `cfgs/` (`config.batch_size`), and what is built
of them:

- `config.plan`: the `tempomat.Plan` of the run, resolved, on the clock `env_steps`;
- `config.agent`: a `drqv2.AgentConfig` (its `lr` is the run's `lr`);
- `config.curriculum`: a `Curriculum`, or None;
- `config.task`: the task as plain data, `{"name": "gimbal", ...}`; `config.spawn`: how its episodes begin;
- `config.data`: the settings as plain data, for the run's folder; `changes(old, new)` compares two of them;
- `config.notes`: what a user should know and is no fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, final

import tempomat as tm
from tempomat.core.errors import Fault, did_you_mean, list_faults, shown
from tempomat_rl import curriculum, schedules
from tempomat_rl.curriculum import Curriculum
from tempomat_rl.drqv2.config import AgentConfig, AgentError
from tempomat_rl.envs.spawn import Spawn
from tempomat_rl.numbers import plain_numbers
from tempomat_rl.program import reading
from tempomat_rl.program.settings import ConfigError, RunConfig, differences

COMPUTED = ("agent", "curriculum", "lr_schedule", "noise", "task")
"""Settings that are built into values of their own."""
HOW = ("checkpoint_dir", "on_change", "device", "save_video", "log_every_frames", "save_every_frames", "threads")
"""Settings of how a run is carried out, which may differ on resume: no number of the training follows from them."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Config(RunConfig):
    """The settings of a run; those that every program has are of `RunConfig`.

    Frames are those of the environment: `action_repeat` of them are one env step, a decision. Steps and episodes of
    all environments are counted together.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        precision: `auto`, `fp32` or `bf16`.
        save_video: of an episode at each evaluation.
        base_lr, lr, decay_rate, fit_schedules: see `schedules.Schedules`.
        num_train_frames: the length of the run.
        num_seed_frames: before the first update and the first stage's end.
        num_random_frames: of uniformly random actions at the start.
        num_envs: environments that step together.
        action_repeat: frames of one env step.
        frame_stack: frames of one observation.
        image_size: pixels of a side.
        n_step, discount: of returns.
        batch_size: transitions of one update.
        replay_size: env steps that are kept.
        update_every_steps: env steps for one update.
        eval_every_frames, num_eval_episodes: deterministic evaluation.
        log_every_frames: a row of `train.csv` and of TensorBoard.
        save_every_frames: a snapshot to resume from.
        num_final_episodes: of the evaluation at the end, on the last stage.
        stop_when_held: the run ends when the last stage is held, in training and in evaluation.
        threads: of PyTorch on the CPU; None for one with keypoints, and PyTorch's own choice with images.
        agent, curriculum: what is built of the settings.
        task: `name` (`gimbal` or `dmc`), and with `dmc` `domain` and `task`.
        spawn: how episodes of `gimbal` begin.
        observation: what the task shows: `keypoint` for the encoder of that name, else `image`.
    """

    device: str
    precision: Literal["auto", "fp32", "bf16"]
    save_video: bool
    base_lr: float
    lr: float
    decay_rate: float | None
    fit_schedules: bool
    num_train_frames: int
    num_seed_frames: int
    num_random_frames: int
    num_envs: int
    action_repeat: int
    frame_stack: int
    image_size: int
    n_step: int
    discount: float
    batch_size: int
    replay_size: int
    update_every_steps: int
    eval_every_frames: int
    num_eval_episodes: int
    log_every_frames: int
    save_every_frames: int
    num_final_episodes: int
    stop_when_held: bool
    threads: int | None
    agent: AgentConfig
    curriculum: Curriculum | None
    task: Mapping[str, Any]
    spawn: Spawn
    observation: Literal["image", "keypoint"]

    def env_steps(self, frames: int) -> int:
        """Frames as decisions."""
        return frames // self.action_repeat

    @property
    def total_env_steps(self) -> int:
        """The length of the run in decisions."""
        total = self.plan.total
        return total if isinstance(total, int) else self.env_steps(self.num_train_frames)


# reading


def _device(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError(f"must be auto, cpu, cuda or cuda:1, got {shown(value)}")
    return value


_READERS: dict[str, reading.Reader] = {
    "seed": reading.whole(0),
    "device": _device,
    "precision": reading.word("auto", "fp32", "bf16"),
    "checkpoint_dir": reading.folder,
    "on_change": reading.on_change,
    "save_video": reading.flag,
    "base_lr": reading.number(above=0),
    "lr": reading.number(at_least=0),
    "decay_rate": reading.or_none(reading.number(above=0)),
    "fit_schedules": reading.flag,
    "num_train_frames": reading.whole(1),
    "num_seed_frames": reading.whole(0),
    "num_random_frames": reading.whole(0),
    "num_envs": reading.whole(1),
    "action_repeat": reading.whole(1),
    "frame_stack": reading.whole(1),
    "image_size": reading.whole(1),
    "n_step": reading.whole(1),
    "discount": reading.number(at_least=0, at_most=1),
    "batch_size": reading.whole(1),
    "replay_size": reading.whole(1),
    "update_every_steps": reading.whole(1),
    "eval_every_frames": reading.whole(1),
    "num_eval_episodes": reading.whole(1),
    "log_every_frames": reading.whole(1),
    "save_every_frames": reading.whole(1),
    "num_final_episodes": reading.whole(1),
    "stop_when_held": reading.flag,
    "threads": reading.or_none(reading.whole(1)),
}
SETTINGS = (*_READERS, *COMPUTED)
"""Every setting there is."""


def read(
    data: Mapping[str, Any], *, overrides: tuple[str, ...] = (), folder: Path | None = None, preset: str | None = None
) -> Config:
    """A configuration from plain data.

    Args:
        data: the settings by name, as the files in `cfgs/` write them.
        overrides: what the command line said, to be kept.
        folder: where the run goes, if nobody names a `checkpoint_dir`.
        preset: the name of the chosen `lr_schedule`; one that left nothing behind is a fault.

    Raises:
        ConfigError: every fault at once, each with its path.
    """
    given = {name: value for name, value in data.items() if name != "encoder_sizes"}
    faults = reading.unknown(given, SETTINGS)
    values = reading.each(_READERS, given, faults)
    notes: list[str] = []
    _unnest(given, notes, values, faults)
    if preset not in (None, "constant") and given.get("lr_schedule") is None:
        faults.append(
            Fault(
                "lr_schedule",
                f"{preset} was chosen and nothing is left of it: something later overrides it. In cfgs/config.yaml "
                "`_self_` must stand first in `defaults`, and no other file may set lr_schedule",
            )
        )
    agent = _agent(given.get("agent"), values.get("lr"), faults)
    task, spawn = _task(given.get("task"), faults)
    frames = {name: values.get(name, 1) for name in ("num_train_frames", "num_seed_frames", "action_repeat")}
    after = frames["num_seed_frames"] // frames["action_repeat"]
    stages = curriculum.read(given.get("curriculum"), after=after, faults=faults)
    if task["name"] == "gimbal" and frames["action_repeat"] != 1:
        faults.append(
            Fault(
                "action_repeat", f"must be 1, a decision of the gimbal task is one frame; got {values['action_repeat']}"
            )
        )
    if stages is not None and task["name"] != "gimbal":
        faults.append(Fault("curriculum", f"the task {task['name']} has no stages. Choose curriculum_preset=none"))
    plan = _plan(given, values, stages, faults)
    if values.get("decay_rate") is not None and not schedules.has_exponential(given.get("lr_schedule")):
        notes.append("decay_rate changes nothing: no network has an exponential_decay")
    if faults or agent is None or plan is None:
        raise ConfigError(list_faults("the configuration", faults), faults)
    return Config(
        **values,
        agent=agent,
        curriculum=stages,
        task=task,
        spawn=spawn,
        plan=plan,
        observation="keypoint" if agent.encoder.name == "keypoint" else "image",
        preset=preset or "constant",
        overrides=overrides,
        data=given,
        notes=tuple(notes),
        folder=values["checkpoint_dir"] or folder,
    )


def _unnest(given: dict[str, Any], notes: list[str], values: dict[str, Any], faults: list[Fault]) -> None:
    """A preset without `# @package _global_` lies one level deeper: what it says is taken all the same."""
    outer = given.get("lr_schedule")
    if not isinstance(outer, Mapping) or "lr_schedule" not in outer:
        return
    more = {name: value for name, value in outer.items() if name != "lr_schedule"}
    if base := more.pop("base_lr", None):
        scaled = values.get("lr") != values.get("base_lr")
        try:
            values["base_lr"] = given["base_lr"] = _READERS["base_lr"](base)
            if not scaled:
                values["lr"] = given["lr"] = values["base_lr"]
        except ValueError as error:
            faults.append(Fault("base_lr", str(error)))
    inner = outer["lr_schedule"]
    given["lr_schedule"] = {**inner, **more} if isinstance(inner, Mapping) else inner
    notes.append(
        "the lr_schedule's file lacks the line `# @package _global_` at its top; it is read as if it had it, but "
        "overrides of its values need lr_schedule.lr_schedule. in front"
    )


def _agent(given: Any, lr: float | None, faults: list[Fault]) -> AgentConfig | None:
    if not isinstance(given, Mapping):
        faults.append(Fault("agent", f"must be a mapping with encoder, feature_dim and so on, got {shown(given)}"))
        return None
    settings = plain_numbers(given)
    for name in ("lr", "precision"):
        if name in settings:
            del settings[name]
            faults.append(Fault(f"agent.{name}", f"is a setting of the whole run. Write {name}="))
    try:
        return replace(AgentConfig.read(settings), lr=1e-4 if lr is None else lr)
    except AgentError as error:
        faults += [fault.under("agent") for fault in error.faults]
        return None


_OPTIONS = {"gimbal": tuple(one.name for one in fields(Spawn)), "dmc": ("domain", "task")}


def _task(given: Any, faults: list[Fault]) -> tuple[dict[str, Any], Spawn]:
    """The task as plain data, and how its episodes begin."""
    name = given.get("name") if isinstance(given, Mapping) else None
    if name not in _OPTIONS:
        faults.append(Fault("task.name", f"must be {' or '.join(_OPTIONS)}, got {shown(name)}. Choose task=gimbal"))
        return {"name": "gimbal"}, Spawn()
    task = dict(plain_numbers(given))
    options, known = {key: value for key, value in task.items() if key != "name"}, _OPTIONS[name]
    for key in options:
        if key not in known:
            near = did_you_mean(str(key), known)
            faults.append(Fault(f"task.{key}", f"{name} has no such option.{near} Options: {', '.join(known)}"))
    if name == "dmc":
        wrong = [key for key in known if not isinstance(options.get(key), str) or not options[key]]
        faults += [
            Fault(f"task.{key}", f"must be a name of dm_control, got {shown(options.get(key))}") for key in wrong
        ]
        return task, Spawn()
    try:
        return task, Spawn(**{key: options[key] for key in known if key in options})
    except tm.PlanError as error:
        faults += [fault.under("task") for fault in error.faults]
        return task, Spawn()


def _plan(
    given: Mapping[str, Any], values: Mapping[str, Any], stages: Curriculum | None, faults: list[Fault]
) -> tm.Plan | None:
    """The run's plan; where a setting that it needs is wrong, a harmless one stands in, to find the other faults."""
    stand_ins = {"lr": 1e-4, "base_lr": 1e-4, "decay_rate": None, "fit_schedules": False}
    stand_ins |= {"num_train_frames": 1_000_000, "action_repeat": 1}
    return schedules.Schedules(
        **{name: values.get(name, stand_in) for name, stand_in in stand_ins.items()},
        lr_schedule=given.get("lr_schedule"),
        noise=given.get("noise"),
        gates=stages.gates if stages is not None else None,
    ).plan(faults)


# comparing


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the settings of two runs, as `path: old -> new`; how a run is carried out may differ.

    >>> changes({"seed": 1, "device": "cpu"}, {"seed": 2, "device": "cuda"})
    ['seed: 1 -> 2']
    """
    return differences(old, new, apart_from=HOW)
