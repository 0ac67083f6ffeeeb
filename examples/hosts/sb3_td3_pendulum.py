"""The action noise of TD3 by plan: Pendulum with the settings of RL Baselines3 Zoo, much noise at first, little later.

Usage: python examples/hosts/sb3_td3_pendulum.py        about two minutes
"""

from typing import Any

import numpy as np
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise

import tempomat as tm
from tempomat.integrations.sb3 import TempomatCallback

PLAN = tm.Plan(
    {
        # the zoo's is 0.1 throughout: "action_noise": 0.1 trains just as SB3 alone does
        "action_noise": tm.Linear(init_value=0.5, end_value=0.05, duration="100%"),
        "target_policy_noise": tm.Linear(init_value=0.2, end_value=0.1, duration="100%"),
    },
    clock="env_steps",
)


def build(**options: Any) -> TD3:
    """The zoo's TD3; the sigma that its noise is built with is what the plan replaces."""
    torch.set_num_threads(1)
    settings: dict[str, Any] = {
        "action_noise": NormalActionNoise(mean=np.zeros(1), sigma=0.1 * np.ones(1)),
        "learning_rate": 1e-3,
        "buffer_size": 200_000,
        "learning_starts": 10_000,
        "gamma": 0.98,
        "train_freq": (1, "episode"),
        "gradient_steps": -1,
        "policy_kwargs": {"net_arch": [400, 300]},
        "seed": 1,
        "device": "cpu",
    }
    return TD3("MlpPolicy", "Pendulum-v1", **(settings | options))


def main(steps: int = 20_000, **options: Any) -> dict[str, Any]:
    """Train, and return the model and the callback."""
    model, tempomat = build(**options), TempomatCallback(PLAN)
    model.learn(steps, callback=tempomat)
    return {"model": model, "callback": tempomat}


if __name__ == "__main__":
    done = main()
    mean, spread = evaluate_policy(done["model"], done["model"].get_env(), 20)
    print(f"mean return {mean:.0f} +- {spread:.0f}; values at the end: {done['callback'].values}")
