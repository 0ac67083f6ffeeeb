"""RLlib under a plan: PPO on CartPole with lr, entropy coefficient and clip parameter by schedule.

Usage: python examples/hosts/rllib_cartpole.py
"""

import logging
from typing import Any

import ray  # pyright: ignore[reportMissingImports]
from ray.rllib.algorithms.ppo import PPOConfig  # pyright: ignore[reportMissingImports]

import tempomat as tm
from tempomat.integrations.rllib import apply_plan

PLAN = tm.Plan(
    {
        "lr": tm.Cosine(init_value=1e-3, end_value=1e-5, duration="100%"),
        "entropy_coeff": tm.Linear(init_value=0.02, end_value=0.0, duration="50%"),
        "clip_param": tm.Linear(init_value=0.3, end_value=0.1, duration="100%"),
    },
    clock="env_steps",
    total=2048,
)


def build() -> PPOConfig:
    """A small PPO in this process alone."""
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(train_batch_size_per_learner=256, minibatch_size=64, num_epochs=2)
        .debugging(seed=0)
    )


def main(iterations: int = 4) -> dict[str, Any]:
    """Train, and return each iteration's env steps and what its learner had."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        algorithm = apply_plan(build(), PLAN).build_algo()
        rows = [measured(algorithm.train()) for _ in range(iterations)]
        algorithm.stop()
    finally:
        ray.shutdown()
    return {"rows": rows}


def measured(result: dict[str, Any]) -> dict[str, float]:
    """What RLlib reports of the scheduled values."""
    learner = result["learners"]["default_policy"]
    return {
        "env_steps": result["num_env_steps_sampled_lifetime"],
        "lr": learner["default_optimizer_learning_rate"],
        "entropy_coeff": learner["curr_entropy_coeff"],
        "clip_param": learner["curr_clip_param"],
    }


if __name__ == "__main__":
    for row in main()["rows"]:
        print(row)
