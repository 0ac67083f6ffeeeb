"""What PPO is measured against: Stable-Baselines3, and a single-file loop in torch as the field writes it.

Both on CartPole-v1, on one thread. The loop's settings are CleanRL's defaults for its `ppo.py`; the code is ours.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import numpy as np

GOAL, RECENT = 475.0, 100
"""The mean return over that many episodes at which CartPole-v1 counts as solved."""
ZOO = {"num_envs": 8, "rollout_length": 32, "minibatch_size": 256, "epochs_per_batch": 20, "gamma": 0.98,
       "gae_lambda": 0.8, "lr": "lin_0.001", "clip_range": "lin_0.2"}  # fmt: skip
"""RL Baselines3 Zoo's for CartPole-v1."""
DEFAULTS = {"num_envs": 8, "rollout_length": 2048, "minibatch_size": 64, "epochs_per_batch": 10, "gamma": 0.99,
            "gae_lambda": 0.95, "lr": 3e-4, "clip_range": 0.2}  # fmt: skip
"""Stable-Baselines3's own."""
SINGLE_FILE = {"num_envs": 8, "rollout_length": 128, "minibatch_size": 256, "epochs_per_batch": 4, "gamma": 0.99,
               "gae_lambda": 0.95, "lr": "lin_2.5e-4", "clip_range": 0.2, "clip_range_vf": 0.2,
               "entropy_coef": 0.01}  # fmt: skip
"""CleanRL's, whose minibatches are a quarter of the batch."""


def stable_baselines3(settings: dict[str, Any], total: int, seed: int, *, stop_at_goal: bool) -> dict[str, Any]:
    """`learn` until the goal or the end: env steps, seconds on the wall and of the processor."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            buffer = cast(Any, self.model).ep_info_buffer
            solved = len(buffer) == RECENT and np.mean([one["r"] for one in buffer]) >= GOAL
            return not (stop_at_goal and solved)

    def value(written: Any) -> Any:
        first = float(str(written).removeprefix("lin_"))
        return (lambda left: left * first) if str(written).startswith("lin_") else first

    with Timed() as timed:
        model = PPO(
            "MlpPolicy", make_vec_env("CartPole-v1", settings["num_envs"], seed=seed), seed=seed, device="cpu",
            n_steps=settings["rollout_length"], batch_size=settings["minibatch_size"],
            n_epochs=settings["epochs_per_batch"], gamma=settings["gamma"], gae_lambda=settings["gae_lambda"],
            learning_rate=value(settings["lr"]), clip_range=value(settings["clip_range"]),
        )  # fmt: skip
        model.learn(total, callback=Watch())
    buffer = cast(Any, model.ep_info_buffer)
    mean = float(np.mean([one["r"] for one in buffer]))
    return timed.told() | {"env_steps": model.num_timesteps, "episode_return": mean, "solved": mean >= GOAL}


def single_file(settings: dict[str, Any], total: int, seed: int, *, stop_at_goal: bool) -> dict[str, Any]:
    """Collect, estimate, learn: arrays of torch all along, environments stepped one after the other."""
    import gymnasium
    import torch
    from torch import nn
    from torch.distributions import Categorical

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    length, count, size = settings["rollout_length"], settings["num_envs"], settings["minibatch_size"]
    gamma, lam, clip = settings["gamma"], settings["gae_lambda"], settings["clip_range"]
    first_lr = float(settings["lr"].removeprefix("lin_"))

    def layer(ins: int, outs: int, gain: float) -> nn.Linear:
        one = nn.Linear(ins, outs)
        nn.init.orthogonal_(one.weight, gain)
        nn.init.zeros_(one.bias)
        return one

    def network(outs: int, gain: float) -> nn.Sequential:
        root = 2.0**0.5
        return nn.Sequential(layer(4, 64, root), nn.Tanh(), layer(64, 64, root), nn.Tanh(), layer(64, outs, gain))

    def judged(seen: torch.Tensor, action: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        spread = Categorical(logits=actor(seen))
        action = spread.sample() if action is None else action
        return action, spread.log_prob(action), spread.entropy(), critic(seen).flatten()

    with Timed() as timed:
        envs = gymnasium.vector.SyncVectorEnv(
            [lambda: gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("CartPole-v1"))] * count
        )
        actor, critic = network(2, 0.01), network(1, 1.0)
        weights = [*actor.parameters(), *critic.parameters()]
        optimizer = torch.optim.Adam(weights, lr=first_lr, eps=1e-5)
        recent: deque[float] = deque(maxlen=RECENT)
        seen_tn = torch.zeros(length, count, 4)
        action_tn, logprob_tn, reward_tn, done_tn, value_tn = torch.zeros(5, length, count)
        seen, done = torch.from_numpy(envs.reset(seed=seed)[0]), torch.zeros(count)
        batches, steps = total // (length * count), 0
        for batch in range(batches):
            optimizer.param_groups[0]["lr"] = first_lr * (1.0 - batch / batches)
            for t in range(length):
                seen_tn[t], done_tn[t] = seen, done
                with torch.no_grad():
                    action, logprob_tn[t], _, value_tn[t] = judged(seen)
                action_tn[t] = action
                observed, reward, terminated, truncated, info = envs.step(action.numpy())
                steps += count
                reward_tn[t] = torch.from_numpy(reward)
                done = torch.from_numpy(terminated | truncated).float()
                seen = torch.from_numpy(observed)
                if "episode" in info:
                    recent.extend(info["episode"]["r"][info["_episode"]].tolist())
            advantage_tn, carried = torch.zeros(length, count), torch.zeros(count)
            with torch.no_grad():
                after_value, after_done = critic(seen).flatten(), done
            for t in reversed(range(length)):
                error = reward_tn[t] + gamma * after_value * (1.0 - after_done) - value_tn[t]
                advantage_tn[t] = carried = error + gamma * lam * (1.0 - after_done) * carried
                after_value, after_done = value_tn[t], done_tn[t]
            return_s = (advantage_tn + value_tn).flatten()
            seen_s, action_s, logprob_s, value_s, advantage_s = (
                one.flatten(0, 1) for one in (seen_tn, action_tn, logprob_tn, value_tn, advantage_tn)
            )
            for _ in range(settings["epochs_per_batch"]):
                order = np.random.permutation(length * count)  # noqa: NPY002  as the field writes it
                for start in range(0, length * count, size):
                    chosen = order[start : start + size]
                    _, logprob, entropy, value = judged(seen_s[chosen], action_s[chosen].long())
                    log_ratio = logprob - logprob_s[chosen]
                    ratio = log_ratio.exp()
                    with torch.no_grad():
                        _ = ((ratio - 1.0) - log_ratio).mean(), ((ratio - 1.0).abs() > clip).float().mean().item()
                    scaled = advantage_s[chosen]
                    scaled = (scaled - scaled.mean()) / (scaled.std() + 1e-8)
                    policy_loss = torch.max(-scaled * ratio, -scaled * ratio.clamp(1.0 - clip, 1.0 + clip)).mean()
                    kept = value_s[chosen] + (value - value_s[chosen]).clamp(-clip, clip)
                    errors = (value - return_s[chosen]) ** 2, (kept - return_s[chosen]) ** 2
                    value_loss = 0.5 * torch.max(*errors).mean()
                    loss = policy_loss - 0.01 * entropy.mean() + 0.5 * value_loss
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(weights, 0.5)
                    optimizer.step()
            if stop_at_goal and len(recent) == RECENT and np.mean(recent) >= GOAL:
                break
        envs.close()
    mean = float(np.mean(recent))
    return timed.told() | {"env_steps": steps, "episode_return": mean, "solved": mean >= GOAL}


class Timed:
    """Seconds inside of a `with`."""

    def __enter__(self) -> Timed:
        self._wall, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.processor = time.process_time() - self._processor

    def told(self) -> dict[str, float]:
        """`wall` and `processor` seconds."""
        return {"wall": self.wall, "processor": self.processor}


PEERS: dict[str, Callable[..., dict[str, Any]]] = {"sb3": stable_baselines3, "single_file": single_file}
