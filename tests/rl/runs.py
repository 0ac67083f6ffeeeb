"""Whole runs, small: what tests of them share."""

import csv
from pathlib import Path

import numpy as np
import torch

from tempomat_rl.config import compose
from tempomat_rl.settings import Config
from tempomat_rl.train import Training

SMALL = [
    "scale=laptop",
    "num_envs=4",
    "num_train_frames=1200",
    "num_seed_frames=200",
    "num_random_frames=100",
    "batch_size=16",
    "agent.hidden_dim=16",
    "agent.feature_dim=8",
    "replay_size=600",
    "log_every_frames=100",
    "eval_every_frames=400",
    "num_eval_episodes=2",
    "num_final_episodes=4",
    "save_every_frames=500",
    "save_video=false",
    "curriculum.window=4",
    "curriculum.min_episodes=2",
    "curriculum.require_consecutive_windows=1",
    "curriculum.success_rate=0.01",
]

TINY_PPO = (
    "total_env_steps=600", "num_envs=4", "rollout_length=16", "minibatch_size=32", "epochs_per_batch=2",
    "network.policy_layers=[8]",
)  # fmt: skip
"""A run of PPO of a second."""


def config(folder: Path, *more: str) -> Config:
    return compose([*SMALL, f"checkpoint_dir={folder}", *more])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def never() -> bool:
    return False


def stop_after(env_steps: int, training: Training):
    return lambda: training.env_steps >= env_steps


def plain(value):
    """Everything in a state as bytes and plain data, to be compared exactly."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def numbers(training: Training) -> dict:
    """All that the rest of a run depends on, without the times of day and the record's own marks."""
    state = training.state_dict()
    return plain({name: state[name] for name in ("agent", "task", "stack", "env_steps", "updates", "episodes")}) | {
        "counts": training.scheduler.counts,
        "values": training.scheduler.values,
        "replay": plain({name: column.copy() for name, column in training.replay._columns.items()}),
    }


def finish(*training: Training) -> None:
    for one in training:
        one.close()
