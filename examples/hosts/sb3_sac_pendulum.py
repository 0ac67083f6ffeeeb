"""Stable-Baselines3 under a plan: SAC on Pendulum with an actor and a critic whose learning rates go their own ways.

Usage: python examples/hosts/sb3_sac_pendulum.py
"""

from typing import Any

import torch
from stable_baselines3 import SAC

import tempomat as tm
from tempomat.integrations.sb3 import TempomatCallback

PLAN = tm.Plan(
    {
        "actor.lr": tm.warmup_cosine(peak_value=1e-3, end_value=1e-4, warmup="20%"),
        "critic.lr": tm.Linear(init_value=3e-3, end_value=3e-4, duration="100%"),
        "ent_coef.lr": 1e-3,
        "tau": tm.Linear(init_value=0.02, end_value=0.005, duration="50%"),
    },
    clock="env_steps",
)


def main(steps: int = 300) -> dict[str, Any]:
    """Train, and return the model and the callback."""
    torch.set_num_threads(1)
    model = SAC(
        "MlpPolicy",
        "Pendulum-v1",
        learning_starts=50,
        batch_size=32,
        policy_kwargs={"net_arch": [32, 32]},
        seed=0,
        device="cpu",
    )
    tempomat = TempomatCallback(PLAN)
    model.learn(steps, callback=tempomat)
    return {"model": model, "callback": tempomat}


if __name__ == "__main__":
    print(main()["callback"].values)
