"""Which runs the results of PPO are made of: tasks with the figures published for them, and schedules turned off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PUBLISHED, ABLATION, PEER = "published", "ablation", "peer"
PARTS = (PUBLISHED, ABLATION, PEER)
AS_PUBLISHED, SB3 = "preset", "Stable-Baselines3"
ZOO = "RL Baselines3 Zoo, benchmark.md"
CLEANRL = "CleanRL, ppo.py"

LOG_EVERY = "log_every=0.5%"
"""Finer than by default, for curves: it changes nothing that is trained."""

FULL, CONSTANT = "all four", "none"
LR, CLIP, ENTROPY, KL = "lr annealing", "clip annealing", "entropy decay", "KL-adaptive lr"
SCHEDULES = (LR, CLIP, ENTROPY, KL)


def without(schedule: str) -> str:
    """The arm that has all but one."""
    return f"without {schedule}"


def alone(schedule: str) -> str:
    """The arm that has one."""
    return f"{schedule} alone"


ARMS: dict[str, frozenset[str]] = {
    FULL: frozenset(SCHEDULES),
    **{without(one): frozenset(SCHEDULES) - {one} for one in SCHEDULES},
    **{alone(one): frozenset({one}) for one in SCHEDULES},
    CONSTANT: frozenset(),
}
"""What is turned on."""


@dataclass(frozen=True)
class Figure:
    """A return that somebody has published."""

    mean: float
    std: float
    env_steps: int
    source: str = ZOO


@dataclass(frozen=True)
class Published:
    """A task under its published settings."""

    figure: Figure
    others: tuple[Figure, ...] = ()
    """Of other settings, for the return in training at their count of env steps."""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """A task with everything scheduled: the values that schedules start from, and those that arms keep."""

    total: int
    lr: float
    clip_range: float
    threshold: float
    """Return of 100 episodes in training that counts as learned."""
    entropy_coef: float = 0.01
    target_kl: float = 0.01
    factors: tuple[float, float] = (0.25, 4.0)
    """Bounds of what the KL-adaptive controller multiplies the rate by."""
    arms: tuple[str, ...] = tuple(ARMS)
    overrides: tuple[str, ...] = ()

    def settings(self, arm: str) -> tuple[str, ...]:
        """An arm's part of the command line."""
        on = ARMS[arm]
        clip, entropy = f"clip_range={self.clip_range}", f"entropy_coef={self.entropy_coef}"
        return (
            f"total_env_steps={self.total}",
            f"lr={self._rate(on)}",
            f"clip_range=lin_{self.clip_range}" if CLIP in on else clip,
            f"entropy_coef=lin_{self.entropy_coef}" if ENTROPY in on else entropy,
            LOG_EVERY,
            *self.overrides,
        )

    def _rate(self, on: frozenset[str]) -> str:
        rate = str(self.lr)
        if LR in on:
            rate = f"{{type: linear, init_value: {self.lr}, end_value: 0, duration: 100%}}"
        if KL not in on:
            return rate
        low, high = self.factors
        bounds = f"min_value: {low}, max_value: {high}"
        factor = f"{{type: kl_adaptive, metric: approx_kl, target: {self.target_kl}, {bounds}}}"
        return f"{{type: product, parts: [{rate}, {factor}]}}"


@dataclass(frozen=True)
class Run:
    """One command, and the name of the folder that it leaves behind."""

    part: str
    task: str
    arm: str
    seed: int
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the folder, in that of all runs."""
        arm = f"{self.arm}-".replace(" ", "-") if self.part == ABLATION else ""
        return f"{self.part}/{self.task}/{arm}seed{self.seed}"

    @property
    def settings(self) -> tuple[str, ...]:
        """What a user would type behind `python train_ppo.py`."""
        return f"env={self.task}", *self.overrides, f"seed={self.seed}"


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    published: dict[str, Published]
    ablations: dict[str, Ablation]
    peers: tuple[str, ...] = ()
    """Tasks that Stable-Baselines3 itself is run on as well, under the published settings."""
    seeds: tuple[int, ...] = tuple(range(10))

    def runs(self, parts: tuple[str, ...] = PARTS) -> list[Run]:
        """All of them, seed by seed, so that an early look has everything in it."""
        return [run for seed in self.seeds for run in self._of_seed(seed) if run.part in parts]

    def _of_seed(self, seed: int) -> Iterator[Run]:
        for task, published in self.published.items():
            yield Run(PUBLISHED, task, AS_PUBLISHED, seed, published.overrides)
        for task, ablation in self.ablations.items():
            for arm in ablation.arms:
                yield Run(ABLATION, task, arm, seed, ablation.settings(arm))
        for task in self.peers:
            yield Run(PEER, task, SB3, seed)


WHOLE = Scale(
    {
        "CartPole-v1": Published(Figure(500.0, 0.0, 100_000), (Figure(490, 6, 500_000, CLEANRL),)),
        "Acrobot-v1": Published(Figure(-73.506, 18.201, 1_000_000), (Figure(-86, 1, 500_000, CLEANRL),)),
        "Pendulum-v1": Published(Figure(-172.225, 104.159, 100_000)),
        "MountainCarContinuous-v0": Published(Figure(88.343, 2.572, 20_000)),
        "MountainCar-v0": Published(Figure(-110.423, 19.473, 1_000_000)),
    },
    {
        "CartPole-v1": Ablation(100_000, lr=1e-3, clip_range=0.2, threshold=475.0),
        "Pendulum-v1": Ablation(100_000, lr=1e-3, clip_range=0.2, threshold=-300.0),
        "Acrobot-v1": Ablation(200_000, lr=3e-4, clip_range=0.2, threshold=-100.0),
    },
    peers=("MountainCarContinuous-v0",),
)
_TINY = ("total_env_steps=600", "rollout_length=32", "num_envs=2", "minibatch_size=32", "epochs_per_batch=1",
         "num_eval_episodes=1", "num_final_episodes=2")  # fmt: skip
TOY = Scale(
    {"CartPole-v1": Published(Figure(500.0, 0.0, 600), (Figure(20.0, 1.0, 300, CLEANRL),), _TINY)},
    {"CartPole-v1": Ablation(600, 1e-3, 0.2, 20.0, arms=(FULL, without(LR), alone(LR), CONSTANT), overrides=_TINY[1:])},
    seeds=(0, 1),
)
"""Takes seconds; its figures mean nothing."""
