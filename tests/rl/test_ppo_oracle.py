"""Learning from a batch: the hand-written gradients against torch's, and both against Stable-Baselines3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from rl.rollouts import CONTINUOUS, DISCRETE, OBSERVED, moved_on, rollout_of

from tempomat_rl.ppo.fast import FastLearner
from tempomat_rl.ppo.learner import flatten
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.network import TorchLearner
from tempomat_rl.ppo.options import NetworkSettings, UpdateSettings

POLICIES = {
    "discrete": (DISCRETE, NetworkSettings()),
    "gaussian": (CONTINUOUS, NetworkSettings(log_std_init=-0.5)),
    "gsde": (CONTINUOUS, NetworkSettings(sde=True, sde_every=4, log_std_init=-1.0)),
    "relu": (DISCRETE, NetworkSettings(activation="relu", policy_layers=(32,), value_layers=(16, 24, 8))),
    "linear": (DISCRETE, NetworkSettings(policy_layers=(), orthogonal=False)),
}
SETTINGS = {
    "defaults": UpdateSettings(),
    "everything": UpdateSettings(
        policy_lr=1e-3, value_lr=3e-3, clip_range_vf=0.2, entropy_coef=0.05, value_coef=0.7, clip_range=0.1
    ),
    "nothing": UpdateSettings(max_grad_norm=None, normalize_advantage=False, clip_range=10.0),
}


def pair(name: str) -> tuple[FastLearner, TorchLearner]:
    space, network = POLICIES[name]
    fast = make_learner(OBSERVED, space, network, seed=3)
    slow = make_learner(OBSERVED, space, replace(network, kind="torch"), seed=3)
    assert isinstance(fast, FastLearner)
    assert isinstance(slow, TorchLearner)
    return fast, slow


def vectors(slow: TorchLearner, of: str = "weights") -> np.ndarray:
    """In the fast learner's order: `log_std` after the policy, matrices from inputs to outputs."""
    arrays = slow.state_dict()[of]
    order = [name for name in arrays if name.startswith("policy")] + ["log_std"]
    order += [name for name in arrays if name.startswith("value")]
    return np.concatenate([arrays[name].T.ravel() if name != "log_std" else arrays[name].ravel() for name in order])


def off_by(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The distance of two vectors as a share of the second's length."""
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("name", POLICIES)
def test_both_kinds_start_alike_and_act_alike(name):
    fast, slow = pair(name)
    np.testing.assert_array_equal(fast.weight_P, vectors(slow))
    one, other = rollout_of(fast), rollout_of(slow)
    if name in ("discrete", "relu", "linear"):
        np.testing.assert_array_equal(one.action_TN, other.action_TN)
    np.testing.assert_allclose(one.action_TN, other.action_TN, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.logprob_TN, other.logprob_TN, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.value_TN, other.value_TN, rtol=1e-4, atol=1e-6)
    observed: Any = one.observation_TNO
    seen = observed[0]
    np.testing.assert_allclose(fast.evaluate(seen), slow.evaluate(seen), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", POLICIES)
def test_gradients_written_by_hand_are_those_of_autograd(name, settings):
    fast, slow = pair(name)
    now = SETTINGS[settings]
    samples = flatten(moved_on(rollout_of(fast)), now)
    chosen_B = np.random.default_rng(0).permutation(len(samples))[:48]
    measured = fast.step(samples, chosen_B, now)
    expected = slow.step(samples, chosen_B, now)
    np.testing.assert_allclose(measured, expected, rtol=1e-5, atol=1e-6)
    assert 0.0 < measured[4] < 1.0 or settings == "nothing"
    # Adam's first mean after one step is a tenth of the gradient it was handed
    assert off_by(fast.first_P, vectors(slow, "first_moments")) < 1e-5


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", POLICIES)
def test_many_steps_lead_where_torch_leads(name, settings):
    fast, slow = pair(name)
    rollout = moved_on(rollout_of(fast, length=20), by=0.1)
    now = replace(SETTINGS[settings], minibatch_size=32, epochs_per_batch=4)
    ours = fast.update(rollout, now, np.random.default_rng(5))
    theirs = slow.update(rollout, now, np.random.default_rng(5))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, rel=1e-3, abs=1e-6), key
    assert ours["optimizer_steps"] == 12
    start = pair(name)[0].weight_P
    # of the way travelled: Adam divides by the gradient's own size, so rounding counts most where gradients are small
    assert off_by(fast.weight_P - start, vectors(slow) - start) < 1e-3
    assert off_by(fast.weight_P, vectors(slow)) < 1e-5


# Stable-Baselines3


class Blank(gym.Env):
    """Spaces, which is all that an algorithm asks of an environment before it collects."""

    def __init__(self, action_space: Any) -> None:
        self.observation_space, self.action_space = OBSERVED, action_space


def their_vector(policy: Any) -> np.ndarray:
    named = dict(policy.named_parameters())
    order = [name for name in named if name.startswith(("mlp_extractor.policy", "action_net"))]
    order += [name for name in named if name == "log_std"]
    order += [name for name in named if name.startswith(("mlp_extractor.value", "value_net"))]
    assert len(order) == len(named)
    arrays = [(name, named[name].detach().numpy()) for name in order]
    return np.concatenate([(array if name == "log_std" else array.T).ravel() for name, array in arrays])


def as_theirs(fast: FastLearner, rollout: Any, settings: UpdateSettings, epochs: int) -> Any:
    sb3 = pytest.importorskip("stable_baselines3")
    space = CONTINUOUS if fast.log_std.size else DISCRETE
    policy = {"net_arch": [64, 64], "log_std_init": 0.0}
    agent = sb3.PPO(
        "MlpPolicy", Blank(space), n_steps=rollout.length * rollout.num_envs, batch_size=rollout.env_steps,
        n_epochs=epochs, learning_rate=settings.policy_lr, clip_range=settings.clip_range,
        clip_range_vf=settings.clip_range_vf, ent_coef=settings.entropy_coef, vf_coef=settings.value_coef,
        max_grad_norm=settings.max_grad_norm or 1e9, target_kl=settings.target_kl, use_sde=fast.network.sde,
        normalize_advantage=settings.normalize_advantage, policy_kwargs=policy, seed=0, device="cpu",
    )  # fmt: skip
    layers = {"policy": ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]}
    layers["value"] = ["mlp_extractor.value_net.0", "mlp_extractor.value_net.2", "value_net"]
    ours, theirs = fast.state_dict()["weights"], agent.policy.state_dict()
    for name, places in layers.items():
        for place, there in enumerate(places):
            theirs[f"{there}.weight"] = torch.from_numpy(ours[f"{name}.{place}.weight"].T)
            theirs[f"{there}.bias"] = torch.from_numpy(ours[f"{name}.{place}.bias"])
    if "log_std" in theirs:
        theirs["log_std"] = torch.from_numpy(ours["log_std"])
    agent.policy.load_state_dict(theirs)
    samples, buffer, size = flatten(rollout, settings), agent.rollout_buffer, rollout.env_steps
    seen: Any = samples.observation_SO
    buffer.observations[:] = seen[:, None]
    buffer.actions[:] = samples.action_S.reshape(size, 1, -1)
    buffer.log_probs[:], buffer.values[:] = samples.logprob_S[:, None], samples.value_S[:, None]
    buffer.advantages[:], buffer.returns[:] = samples.advantage_S[:, None], samples.return_S[:, None]
    buffer.full = True
    agent.set_logger(sb3.common.logger.Logger(None, []))
    return agent


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ["discrete", "gaussian", "gsde"])
def test_a_batch_teaches_what_it_teaches_stable_baselines3(name, settings):
    fast, _ = pair(name)
    rollout = moved_on(rollout_of(fast), by=0.1)
    # theirs has one rate for both networks
    now = replace(SETTINGS[settings], value_lr=None, epochs_per_batch=5, minibatch_size=rollout.env_steps)
    agent = as_theirs(fast, rollout, now, epochs=5)
    np.testing.assert_array_equal(fast.weight_P, their_vector(agent.policy))
    start = fast.weight_P.copy()
    measured = fast.update(rollout, now, np.random.default_rng(0))
    agent.train()
    assert off_by(fast.weight_P - start, their_vector(agent.policy) - start) < 1e-3
    assert off_by(fast.weight_P, their_vector(agent.policy)) < 1e-5
    logged = agent.logger.name_to_value
    assert measured["policy_loss"] == pytest.approx(logged["train/policy_gradient_loss"], rel=1e-4, abs=1e-7)
    assert measured["value_loss"] == pytest.approx(logged["train/value_loss"], rel=1e-5)
    assert measured["entropy"] == pytest.approx(-logged["train/entropy_loss"], rel=1e-5)
    assert measured["clip_fraction"] == pytest.approx(logged["train/clip_fraction"], rel=1e-5)
    assert measured["explained_variance"] == pytest.approx(logged["train/explained_variance"], rel=1e-4)
    assert measured["approx_kl_last"] == pytest.approx(logged["train/approx_kl"], rel=1e-3)


def test_a_batch_ends_where_stable_baselines3_ends_it():
    fast, _ = pair("discrete")
    rollout = rollout_of(fast)
    now = UpdateSettings(policy_lr=3e-3, epochs_per_batch=30, minibatch_size=rollout.env_steps, target_kl=0.002)
    agent = as_theirs(fast, rollout, now, epochs=30)
    measured = fast.update(rollout, now, np.random.default_rng(0))
    agent.train()
    assert measured["early_stop"] == 1.0
    assert 1 < measured["epochs"] < 30
    assert measured["optimizer_steps"] == measured["epochs"] - 1
    assert off_by(fast.weight_P, their_vector(agent.policy)) < 1e-5
