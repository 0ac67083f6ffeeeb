"""Stable-Baselines3's own PPO under the zoo's settings, more than the one seed that was published.

python benchmarks/ppo_zoo_seeds.py MountainCarContinuous-v0 3 FOLDER    seed 3; `ppo_results.py` calls it so

For tasks with constant settings. They are read from the preset, which has them from the zoo; observations and
rewards are normalized as the zoo does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from writing import replace

EPISODES = 100


def train(task: str, seed: int, overrides: Sequence[str] = (), episodes: int = EPISODES) -> dict[str, Any]:
    """One run: mean and standard deviation over episodes of the likeliest actions after the last update."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecNormalize

    from tempomat_rl.ppo.config import compose

    torch.set_num_threads(1)
    began, given = time.perf_counter(), compose([f"env={task}", *overrides]).data
    batch = given["rollout_length"] * given["num_envs"]  # of a larger minibatch the peer warns, and takes all there is
    total, net = given["total_env_steps"], given["network"]
    envs = VecNormalize(make_vec_env(task, given["num_envs"], seed=seed), gamma=given["gamma"])
    model = PPO(
        "MlpPolicy", envs, seed=seed, device="cpu", n_steps=given["rollout_length"],
        batch_size=min(given["minibatch_size"], batch), n_epochs=given["epochs_per_batch"], learning_rate=given["lr"],
        ent_coef=given["entropy_coef"], clip_range=given["clip_range"], gamma=given["gamma"],
        gae_lambda=given["gae_lambda"], max_grad_norm=given["grad_clip"], vf_coef=given["value_coef"],
        use_sde=net["sde"], policy_kwargs={"log_std_init": net["log_std_init"], "ortho_init": net["orthogonal"]},
    )  # fmt: skip
    model.learn(total)
    told = VecNormalize(make_vec_env(task, min(10, episodes), seed=10_000 + seed), training=False, norm_reward=False)
    told.obs_rms = envs.obs_rms
    mean, std = evaluate_policy(model, told, episodes)
    return {
        "finished": True,
        "env_steps": model.num_timesteps,
        "episode_return": mean,
        "episode_return_std": std,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> int:
    """One run, and its result in a file."""
    task, seed, folder = sys.argv[1:]
    replace(Path(folder) / "result.json", json.dumps(train(task, int(seed)), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
