"""A learning rate that follows the policy's own step: PPO on a contextual bandit made of handwritten digits.

A context is an image, an action one of ten digits, the reward 1 for the right one. Wherever the learning rate begins,
the measured divergence takes it to where an update moves the policy by about the target.

Usage: python examples/measurement/kl_adaptive.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.distributions import Categorical

import tempomat as tm
from tempomat.runs import Recorder, read_run
from tempomat.torch import Scheduler, UpdateRatio, categorical_kl

TARGET, CONTEXTS, EPOCHS, MINIBATCH = 0.008, 512, 4, 128
"""rl_games' default target, and the sizes of its kind of update."""
RATES = {"1e-5": 1e-5, "1e-2": 1e-2}
"""Where the learning rate begins: far too low, and far too high."""


def train(lr: tm.Node, folder: Path, *, iterations: int, seed: int = 0) -> dict[str, Any]:
    """One run of PPO with a clipped ratio, recorded at every update."""
    torch.manual_seed(seed)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    policy = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(policy.parameters())
    scheduler = Scheduler(optimizer, tm.Plan({"lr": lr, "clip_range": 0.2}))
    with Recorder(folder, scheduler.plan, seed=seed) as recorder:
        for _ in range(iterations):
            chosen = torch.randint(len(images), (CONTEXTS,))
            with torch.no_grad():
                old = policy(images[chosen])
                actions = Categorical(logits=old).sample()
            rewards = (actions == labels[chosen]).float()
            advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-8)
            for _ in range(EPOCHS):
                for batch in torch.randperm(CONTEXTS).split(MINIBATCH):
                    logits = policy(images[chosen[batch]])
                    log_prob = Categorical(logits=logits).log_prob(actions[batch])
                    ratio = (log_prob - Categorical(logits=old[batch]).log_prob(actions[batch])).exp()
                    clip = scheduler.values["clip_range"]
                    gain = torch.min(ratio * advantages[batch], ratio.clamp(1 - clip, 1 + clip) * advantages[batch])
                    optimizer.zero_grad()
                    (-gain.mean()).backward()
                    with UpdateRatio(policy.parameters()) as update:
                        optimizer.step()
                    kl = categorical_kl(old[batch], logits)
                    recorder.write(scheduler, kl=kl, update_ratio=update.ratio, reward=rewards.mean())
                    scheduler.step()
                    if scheduler.plan["lr"].controllers:
                        scheduler.observe(kl=kl)
    run = read_run(folder)
    return {name: run.measured(name).values for name in ("kl", "update_ratio", "reward")} | {
        "lr": run.series("lr").applied
    }


def main(seeds: Sequence[int] = range(3), iterations: int = 60) -> dict[str, list[dict[str, Any]]]:
    """The runs of each kind, one a seed."""
    nodes: dict[str, tm.Node] = {f"always {name}": tm.Constant(value=rate) for name, rate in RATES.items()}
    nodes |= {
        f"from {name}, by the divergence": tm.KLAdaptive(target=TARGET, init_value=rate) for name, rate in RATES.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: [train(lr, Path(folder, f"{name}-{seed}"), iterations=iterations, seed=seed) for seed in seeds]
            for name, lr in nodes.items()
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, runs in main().items():
        for seed, one in enumerate(runs):
            third = len(one["lr"]) // 3
            lr, kl = sorted(one["lr"][third:])[third], one["kl"][third:].mean()
            print(
                f"{name:28} seed {seed}  reward {one['reward'][-160:].mean():.2f}  median lr {lr:.1e}  mean kl {kl:.4f}"
            )
