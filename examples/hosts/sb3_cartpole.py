"""Stable-Baselines3 under a plan: PPO on CartPole with lr, clip range and entropy coefficient by schedule.

Usage: python examples/hosts/sb3_cartpole.py
"""

from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

import tempomat as tm
from tempomat.integrations.sb3 import TempomatCallback

PLAN = tm.Plan(
    {
        "lr": tm.Linear(init_value=3e-3, end_value=3e-4, duration="100%")
        * tm.Plateau(metric="approx_kl", mode="min", factor=0.8, patience=3),
        "ent_coef": tm.Linear(init_value=0.02, end_value=0.0, duration="50%"),
        "clip_range": tm.Cosine(init_value=0.3, end_value=0.1, duration="100%"),
        "target_kl": 0.05,
    },
    clock="env_steps",
    total=4096,
)


def build(env: str = "CartPole-v1", **options: Any) -> PPO:
    """A small PPO; its own learning rate and the like are what the plan replaces."""
    torch.set_num_threads(1)
    sizes: dict[str, Any] = {"n_steps": 256, "batch_size": 64, "n_epochs": 4, "seed": 0, "device": "cpu"}
    return PPO("MlpPolicy", env, **{**sizes, **options})


def main(steps: int = 4096, *callbacks: BaseCallback, model: PPO | None = None, resume: bool = False) -> dict[str, Any]:
    """Train, and return the model and the callback."""
    model = model or build()
    tempomat = TempomatCallback(PLAN)
    model.learn(steps, callback=[tempomat, *callbacks], reset_num_timesteps=not resume)
    return {"model": model, "callback": tempomat}


if __name__ == "__main__":
    done = main()
    rewards = [one["r"] for one in done["model"].ep_info_buffer]
    print(f"mean reward {sum(rewards) / len(rewards):.0f}; values at the end: {done['callback'].values}")
