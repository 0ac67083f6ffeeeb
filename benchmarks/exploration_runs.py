"""One training run of Stable-Baselines3 under a plan for its exploration, or alone, and the folder of finished runs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
import writing
from stable_baselines3 import DDPG, DQN, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule

import tempomat as tm
from tempomat.integrations.sb3 import TempomatCallback

ALONE = "Stable-Baselines3 alone"
ALGORITHMS: dict[str, type[DQN | TD3 | DDPG]] = {"DQN": DQN, "TD3": TD3, "DDPG": DDPG}
FIRST, LAST, SHARE = 1.0, 0.04, 0.16
SIGMA = 0.1
EVALUATION = 10_000
"""Added to a run's seed for that of its evaluation: all arms meet the same episodes."""


@dataclass(frozen=True)
class Task:
    """What all runs that are held against each other have in common; `plans` by arm, the zoo's own first."""

    algorithm: str
    env: str
    total: int
    settings: dict[str, Any]
    plans: dict[str, dict[str, tm.Schedule]]
    published: tuple[float, float]
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    alone: tuple[int, ...] = (1,)
    episodes: int = 100
    guess: float = 60.0

    @property
    def reproducing(self) -> str:
        """The arm that is the zoo's settings as a plan."""
        return next(iter(self.plans))

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """All, but for plain Stable-Baselines3: of it enough to show that the zoo's plan is the same."""
        return self.alone if arm == ALONE else self.seeds

    def plan(self, arm: str) -> tm.Plan:
        """What is scheduled."""
        return tm.Plan(self.plans[arm], total=self.total, clock="env_steps")


PENDULUM: dict[str, Any] = {
    "learning_rate": 1e-3,
    "buffer_size": 200_000,
    "learning_starts": 10_000,
    "gamma": 0.98,
    "train_freq": (1, "episode"),
    "gradient_steps": -1,
    "policy_kwargs": {"net_arch": [400, 300]},
}
SIGMAS: dict[str, dict[str, tm.Schedule]] = {
    "plan: sigma 0.1": {"action_noise": tm.Constant(value=SIGMA)},
    "plan: sigma 0.5 to 0.05, a line": {"action_noise": tm.Linear(init_value=0.5, end_value=0.05, duration="100%")},
}
TASKS = {
    "dqn": Task(
        "DQN",
        "CartPole-v1",
        50_000,
        {
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
        {
            "plan: epsilon 1 to 0.04, a line over 16 %": {
                "epsilon": tm.Linear(init_value=FIRST, end_value=LAST, duration="16%")
            },
            "plan: epsilon 1 to 0.04, a cosine over 32 %": {
                "epsilon": tm.Cosine(init_value=FIRST, end_value=LAST, duration="32%")
            },
        },
        (500.0, 0.0),
        # 3, on which the last policy is a bad one, shows that it is so without a plan as well
        alone=(1, 3),
        guess=60.0,
    ),
    "td3": Task("TD3", "Pendulum-v1", 20_000, PENDULUM, SIGMAS, (-151.855, 90.227), guess=75.0),
    "ddpg": Task("DDPG", "Pendulum-v1", 20_000, PENDULUM, dict([*SIGMAS.items()][:1]), (-152.099, 94.282), guess=50.0),
}
TOY = {
    name: replace(
        task,
        total=total,
        episodes=2,
        seeds=seeds,
        settings=task.settings | {"learning_starts": 100, "buffer_size": 1000, "policy_kwargs": {"net_arch": [8]}},
    )
    for name, task, total, seeds in (("dqn", TASKS["dqn"], 300, (1, 2)), ("td3", TASKS["td3"], 200, (1,)))
}


@dataclass(frozen=True)
class Run:
    """One run: the task's name, what explores, and the seed of weights, environment, actions and batches."""

    task: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        letters = "".join(one if one.isalnum() or one == "." else "-" for one in self.arm.lower())
        return f"{self.task}/{letters}-seed{self.seed}"


def wanted(tasks: dict[str, Task]) -> list[Run]:
    """All runs, seed by seed."""
    seeds = sorted({seed for task in tasks.values() for seed in task.seeds})
    return [
        Run(name, arm, seed)
        for seed in seeds
        for name, task in tasks.items()
        for arm in (ALONE, *task.plans)
        if seed in task.seeds_of(arm)
    ]


class Watch(BaseCallback):
    """The returns of training's episodes; and by how much epsilon or sigma, as the model holds it at each step, is off
    what Stable-Baselines3 would have.
    """

    model: Any  # any of the three

    def __init__(self, total: int) -> None:
        super().__init__()
        self.own, self.total = LinearSchedule(FIRST, LAST, SHARE), total
        self.returns: list[float] = []
        self.off = 0.0

    def _on_step(self) -> bool:
        self.returns += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        if isinstance(self.model, DQN):
            due, held = self.own(1.0 - self.model.num_timesteps / self.total), self.model.exploration_rate
        else:
            due, held = SIGMA, float(self.model.action_noise._sigma[0])
        self.off = max(self.off, abs(held - due) / due)
        return True


def build(task: Task, arm: str, seed: int) -> Any:
    """The model with the zoo's settings, and its own exploration where nothing else is in charge of it."""
    env = make_vec_env(task.env, 1, seed=seed)
    settings = dict(task.settings)
    if task.algorithm == "DQN":
        settings |= {"exploration_fraction": SHARE, "exploration_final_eps": LAST} if arm == ALONE else {}
    else:
        size = env.action_space.shape[0]  # type: ignore[index]
        # under a plan another number than the zoo's: it is the plan that has to bring that in
        settings["action_noise"] = NormalActionNoise(np.zeros(size), (SIGMA if arm == ALONE else 0.9) * np.ones(size))
    return ALGORITHMS[task.algorithm]("MlpPolicy", env, seed=seed, device="cpu", **settings)


def train(run: Run, task: Task) -> dict[str, Any]:
    """One run, and what it came to."""
    began, watch = time.perf_counter(), Watch(task.total)
    model = build(task, run.arm, run.seed)
    model.learn(task.total, callback=[watch] if run.arm == ALONE else [TempomatCallback(task.plan(run.arm)), watch])
    env = make_vec_env(task.env, 1, seed=EVALUATION + run.seed)
    returns: Any = evaluate_policy(model, env, task.episodes, return_episode_rewards=True)[0]
    return {
        "mean": float(np.mean(returns)),
        "sd": float(np.std(returns)),
        "returns": [float(one) for one in returns],
        "training": watch.returns,
        "parameters": digest(model.policy.state_dict()),
        "off": watch.off if run.arm == task.reproducing else None,
        "seconds": time.perf_counter() - began,
    }


def digest(parameters: dict[str, torch.Tensor]) -> str:
    """Of every bit of the weights."""
    whole = hashlib.sha256()
    for name, tensor in sorted(parameters.items()):
        whole.update(name.encode())
        whole.update(tensor.cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


@dataclass
class Runs:
    """Finished runs, a file each: what is there is not done again."""

    folder: Path
    tasks: dict[str, Task]

    def made_with(self, run: Run) -> dict[str, Any]:
        """What a result depends on."""
        task = self.tasks[run.task]
        common = ("algorithm", "env", "total", "settings", "episodes")
        made = {key: value for key, value in asdict(replace(task, plans={})).items() if key in common}
        made["plan"] = None if run.arm == ALONE else task.plan(run.arm).fingerprint
        made["versions"] = [str(torch.__version__), stable_baselines3.__version__, gymnasium.__version__]
        return json.loads(json.dumps(made))

    def result(self, run: Run) -> dict[str, Any] | None:
        """How it ended; None if it has not.

        Raises:
            SystemExit: it was made with other settings.
        """
        path = self.folder / f"{run.name}.json"
        if not path.exists():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["made_with"] != self.made_with(run):
            raise SystemExit(f"{path}: was made with other settings or libraries. Remove {self.folder} first")
        return found

    def carry_out(self, run: Run) -> dict[str, Any]:
        """Train it, and keep the result."""
        found = {"made_with": self.made_with(run), **train(run, self.tasks[run.task])}
        writing.replace(self.folder / f"{run.name}.json", json.dumps(found) + "\n")
        return found

    def finished(self, runs: Iterable[Run]) -> dict[int, dict[str, Any]]:
        """Results by seed of those that have ended."""
        return {run.seed: found for run in runs if (found := self.result(run)) is not None}
