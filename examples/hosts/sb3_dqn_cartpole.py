"""Epsilon of DQN by plan: CartPole with the settings of RL Baselines3 Zoo; any other curve is a change of one line.

Usage: python examples/hosts/sb3_dqn_cartpole.py [--cosine]        about a minute
"""

import sys
from typing import Any

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy

import tempomat as tm
from tempomat.integrations.sb3 import TempomatCallback

# What SB3 does by itself with exploration_fraction=0.16, exploration_final_eps=0.04.
ZOO = tm.Plan({"epsilon": tm.Linear(init_value=1.0, end_value=0.04, duration="16%")}, clock="env_steps")
# What SB3 has no setting for: slowly at first, quickly in between, slowly at the end.
COSINE = tm.Plan({"epsilon": tm.Cosine(init_value=1.0, end_value=0.04, duration="32%")}, clock="env_steps")


def build(**options: Any) -> DQN:
    """The zoo's DQN; what it says of exploration is left to the plan."""
    torch.set_num_threads(1)
    settings: dict[str, Any] = {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1000,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "policy_kwargs": {"net_arch": [256, 256]},
        "seed": 1,
        "device": "cpu",
    }
    return DQN("MlpPolicy", "CartPole-v1", **(settings | options))


def main(steps: int = 50_000, plan: tm.Plan = ZOO, **options: Any) -> dict[str, Any]:
    """Train, and return the model and the callback."""
    model, tempomat = build(**options), TempomatCallback(plan)
    model.learn(steps, callback=tempomat)
    return {"model": model, "callback": tempomat}


if __name__ == "__main__":
    done = main(plan=COSINE if "--cosine" in sys.argv else ZOO)
    mean, spread = evaluate_policy(done["model"], done["model"].get_env(), 20)
    print(f"mean return {mean:.0f} +- {spread:.0f}; epsilon at the end: {done['callback'].values['epsilon']}")
