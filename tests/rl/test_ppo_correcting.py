"""Batches that older weights acted in: judged by the present ones, corrected, and learned from."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from rl.rollouts import CONTINUOUS, DISCRETE, OBSERVED, moved_on, rollout_of

from tempomat_rl.ppo import learner as learning
from tempomat_rl.ppo.batch import Ends, Rollout
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.correcting import corrected
from tempomat_rl.ppo.envs import Envs, SeparateEnvs, VectorEnvs
from tempomat_rl.ppo.fast import FastLearner
from tempomat_rl.ppo.gae import advantages
from tempomat_rl.ppo.learner import Learner, flatten
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.normalize import Normalizer
from tempomat_rl.ppo.options import LearnerError, NetworkSettings, UpdateSettings

IMAGE = gym.spaces.Box(0, 255, (3, 40, 40), np.uint8)
SEVERAL = gym.spaces.Dict({"state": OBSERVED, "image": gym.spaces.Box(0, 255, (16, 18, 1), np.uint8)})
LEARNERS: dict[str, tuple[Any, Any, NetworkSettings]] = {
    "discrete": (OBSERVED, DISCRETE, NetworkSettings()),
    "gaussian": (OBSERVED, CONTINUOUS, NetworkSettings(log_std_init=-0.5)),
    "gsde": (OBSERVED, CONTINUOUS, NetworkSettings(sde=True, sde_every=4)),
    "torch discrete": (OBSERVED, DISCRETE, NetworkSettings(kind="torch")),
    "torch gsde": (OBSERVED, CONTINUOUS, NetworkSettings(kind="torch", sde=True)),
    "shared": (OBSERVED, DISCRETE, NetworkSettings(shared=True, value_layers=(8,))),
    "pixels": (IMAGE, DISCRETE, NetworkSettings(policy_layers=())),
    "pixels and state": (SEVERAL, CONTINUOUS, NetworkSettings(policy_layers=(16,), sde=True)),
}
BOTH = ["discrete", "gaussian", "gsde"]
# float32 through two layers, in sums of another order where other numbers of rows go through at once
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}


def learner(name: str, seed: int = 0) -> Learner:
    return make_learner(*LEARNERS[name], seed=seed)


def pair(name: str, seed: int = 0) -> tuple[Learner, Learner]:
    space, actions, network = LEARNERS[name]
    return learner(name, seed), make_learner(space, actions, replace(network, kind="torch"), seed=seed)


def moved(one: Learner, seed: int = 9, by: float = 0.05) -> Learner:
    """The same learner, with weights that have gone somewhere."""
    rng, state = np.random.default_rng(seed), one.state_dict()
    for array in state["weights"].values():
        array += by * rng.standard_normal(array.shape).astype(np.float32)
    one.load_state_dict(state)
    return one


def in_a_row(rollout: Rollout) -> tuple[Any, Any]:
    seen, size = rollout.observation_TNO, rollout.length * rollout.num_envs
    flat = (
        {name: part.reshape(size, *part.shape[2:]) for name, part in seen.items()}
        if isinstance(seen, dict)
        else np.reshape(seen, (size, *np.shape(seen)[2:]))  # type: ignore[arg-type]
    )
    return flat, rollout.action_TN.reshape(size, *rollout.action_TN.shape[2:])


def row(seen: Any, *index: Any) -> Any:
    return {name: part[index] for name, part in seen.items()} if isinstance(seen, dict) else seen[index]


def old(name: str, **sizes: int) -> Rollout:
    """What a learner did before its weights moved, with its ends: some truncations are told, no step resets."""
    one, space = learner(name), LEARNERS[name][0]
    rollout = rollout_of(one, space=space, **sizes)
    cut_TN = rollout.truncated_TN & ~rollout.terminated_TN
    place_K2 = np.argwhere(cut_TN)
    beyond = rollout_of(one, length=1, num_envs=rollout.num_envs, seed=5, space=space).observation_TNO
    final = rollout_of(one, length=1, num_envs=len(place_K2), seed=6, space=space).observation_TNO
    return replace(rollout, policy_age=1, ends=Ends(row(beyond, 0), row(final, 0), place_K2))


# judging


@pytest.mark.parametrize("name", LEARNERS)
def test_the_weights_that_acted_judge_as_they_did_when_they_acted(name, monkeypatch):
    one = learner(name)
    rollout = rollout_of(one, space=LEARNERS[name][0])
    for at_once in (512, 7):
        monkeypatch.setattr(learning, "AT_ONCE", at_once)
        logprob_S, value_S = one.judge(*in_a_row(rollout))
        assert logprob_S.dtype == value_S.dtype == np.float32
        np.testing.assert_allclose(logprob_S, rollout.logprob_TN.ravel(), **CLOSE)
        np.testing.assert_allclose(value_S, rollout.value_TN.ravel(), **CLOSE)


@pytest.mark.parametrize("name", BOTH)
def test_both_kinds_judge_alike_what_others_did(name):
    observation_SO, action_S = in_a_row(rollout_of(learner(name, seed=4), length=40))
    fast, slow = pair(name)
    for ours, theirs in zip(fast.judge(observation_SO, action_S), slow.judge(observation_SO, action_S), strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_judged_probabilities_are_those_of_the_present_distribution():
    for name in ("discrete", "gaussian"):
        observation_SO, action_S = in_a_row(rollout_of(learner(name, seed=4)))
        one = moved(learner(name))
        assert isinstance(one, FastLearner)
        out_SA = torch.from_numpy(one.policy.forward(observation_SO).copy())
        told = torch.from_numpy(action_S)
        expected_S = (
            torch.distributions.Categorical(logits=out_SA).log_prob(told)
            if name == "discrete"
            else torch.distributions.Normal(out_SA, torch.from_numpy(one.log_std).exp()).log_prob(told).sum(dim=1)
        )
        np.testing.assert_allclose(one.judge(observation_SO, action_S)[0], expected_S.numpy(), **CLOSE)


@pytest.mark.parametrize("name", ["gsde", "torch gsde"])
def test_judging_changes_nothing_about_what_is_done_next(name):
    one, other = learner(name), learner(name)
    observation_SO, action_S = in_a_row(rollout_of(learner(name, seed=4)))
    for each in (one, other):
        each.begin(4, np.random.default_rng(0))
        each.act(observation_SO[:4], np.random.default_rng(1))
    one.judge(observation_SO, action_S)
    rng = np.random.default_rng(2)
    before = rng.bit_generator.state
    np.testing.assert_array_equal(one.act(observation_SO[4:8], rng)[0], other.act(observation_SO[4:8], rng)[0])
    assert rng.bit_generator.state == before


def test_few_observations_are_judged_at_once(monkeypatch):
    one, seen = learner("pixels"), []
    judge, value = one._judge, one.value
    monkeypatch.setattr(learning, "AT_ONCE", 10)
    monkeypatch.setattr(one, "_judge", lambda image, action: (seen.append(len(image)), judge(image, action))[1])
    monkeypatch.setattr(one, "value", lambda image: (seen.append(len(image)), value(image))[1])
    corrected(old("pixels", length=4, num_envs=12), one)
    assert seen[:5] == [10, 10, 10, 10, 8]
    assert seen[5:7] == [10, 2]
    assert max(seen) == 10


# what is corrected


@pytest.mark.parametrize("name", LEARNERS)
def test_a_corrected_rollout_is_as_the_present_weights_see_it(name):
    rollout, one = old(name), moved(learner(name))
    told = corrected(rollout, one)
    for t in range(rollout.length):
        seen = row(rollout.observation_TNO, t)
        logprob_N, value_N = one.judge(seen, rollout.action_TN[t])
        np.testing.assert_allclose(told.logprob_TN[t], logprob_N, **CLOSE)
        np.testing.assert_allclose(told.value_TN[t], value_N, **CLOSE)
        ratio_N = np.exp(logprob_N.astype(np.float64) - rollout.logprob_TN[t])
        np.testing.assert_allclose(told.weight_TN[t], np.minimum(ratio_N, 1.0), rtol=1e-5)  # type: ignore[index]
    ends: Any = rollout.ends
    np.testing.assert_allclose(told.last_value_N, one.value(ends.last_NO), **CLOSE)
    final_value_TN = np.zeros_like(told.value_TN)
    final_value_TN[tuple(ends.place_K2.T)] = one.value(ends.final_KO)
    np.testing.assert_allclose(told.final_value_TN, final_value_TN, **CLOSE)
    assert 0.0 < told.weight_TN.min() < told.weight_TN.max() == 1.0  # type: ignore[union-attr]
    assert told.weight_TN.dtype == told.final_value_TN.dtype == np.float32  # type: ignore[union-attr]
    assert told.policy_age == 1
    for kept in ("observation_TNO", "action_TN", "reward_TN", "terminated_TN", "truncated_TN", "valid_TN", "ends"):
        assert getattr(told, kept) is getattr(rollout, kept)


def test_a_higher_bound_lets_likelier_actions_count_for_more():
    rollout, one = old("discrete"), moved(learner("discrete"), by=0.1)
    low, high = (corrected(rollout, one, rho_bar=bound).weight_TN for bound in (1.0, 1.25))
    assert low is not None
    assert high is not None
    assert high.max() == pytest.approx(1.25)
    np.testing.assert_array_equal(np.minimum(high, 1.0), low)
    assert ((high > 1.0) & (high < 1.25)).any()


def test_actions_that_have_become_impossible_or_certain_count_for_nothing_or_their_bound():
    rollout, one = old("discrete"), learner("discrete")
    state = one.state_dict()
    state["weights"]["policy.2.bias"][:] = [0.0, 2_000.0, 0.0]
    one.load_state_dict(state)
    told = corrected(rollout, one, rho_bar=3.5)
    np.testing.assert_array_equal(told.weight_TN == 0.0, rollout.action_TN != 1)
    assert np.isfinite(told.logprob_TN).all()
    far = replace(rollout, logprob_TN=rollout.logprob_TN - np.float32(2_000.0))
    np.testing.assert_allclose(corrected(far, one, rho_bar=3.5).weight_TN[rollout.action_TN == 1], 3.5)  # type: ignore[index]


def test_steps_spent_on_resets_weigh_as_much_as_any_and_tell_the_last_observation():
    rollout, one = old("discrete"), moved(learner("discrete"))
    none = np.zeros_like(rollout.terminated_TN)
    cut_TN, valid_TN = none.copy(), ~none
    cut_TN[[3, -1], [1, 2]], valid_TN[4, 1] = True, False
    ends: Any = rollout.ends
    resets = replace(
        rollout,
        terminated_TN=none,
        truncated_TN=cut_TN,
        valid_TN=valid_TN,
        ends=Ends(ends.last_NO, None, np.zeros((0, 2), np.int64)),
    )
    told = corrected(resets, one)
    assert told.weight_TN is not None
    assert told.weight_TN[4, 1] == 1.0
    assert told.final_value_TN[3, 1] == told.value_TN[4, 1]
    assert told.final_value_TN[-1, 2] == told.last_value_N[2]
    assert np.count_nonzero(told.final_value_TN) == 2


def test_a_rollout_of_the_present_weights_is_left_alone():
    rollout = rollout_of(learner("discrete"))
    assert corrected(rollout, learner("discrete")) is rollout


def test_a_rollout_that_cannot_be_corrected_is_refused():
    rollout, one = old("discrete"), learner("discrete")
    with pytest.raises(LearnerError, match=r"rollout: must hold its ends, and does not\. Collect it with keep_ends"):
        corrected(replace(rollout, ends=None), one)
    ends: Any = rollout.ends
    t, n = ends.place_K2[1].tolist()
    fewer = Ends(ends.last_NO, ends.final_KO[[0, *range(2, len(ends.place_K2))]], np.delete(ends.place_K2, 1, axis=0))
    with pytest.raises(LearnerError, match=rf"rollout\.ends: .* lacks 1, the first in row {t} of environment {n}\."):
        corrected(replace(rollout, ends=fewer), one)
    with pytest.raises(LearnerError, match=r"rollout: must not be corrected yet, and is\. Correct it once"):
        corrected(corrected(rollout, one), one)
    for bound in (0.99, math.inf, math.nan):
        with pytest.raises(LearnerError, match="rho_bar: must be a finite number of at least 1, got"):
            corrected(rollout, one, rho_bar=bound)


# what a collector tells of a rollout's ends


def separate() -> Envs:
    return SeparateEnvs(lambda: gym.make("CartPole-v1", max_episode_steps=9), 3, seed=0)


def together(mode: gym.vector.AutoresetMode) -> Envs:
    env = gym.make_vec("CartPole-v1", 3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode},
                       wrappers=[lambda one: gym.wrappers.TimeLimit(one, 9)])  # fmt: skip
    return VectorEnvs(env, 0, ["_seed"])


ENVS = {
    "separate": separate,
    "same step": lambda: together(gym.vector.AutoresetMode.SAME_STEP),
    "next step": lambda: together(gym.vector.AutoresetMode.NEXT_STEP),
}


@pytest.mark.parametrize("kind", ENVS)
@pytest.mark.parametrize(("normalize", "noise"), [(False, 0.0), (True, 0.1)])
def test_what_was_collected_can_be_told_anew_to_its_ends(kind, normalize, noise):
    envs = ENVS[kind]()
    collector = Collector(
        envs, Normalizer(normalize, False, {"": envs.observation_space.shape or ()}), np.random.default_rng(0)
    )
    collector.begin()
    one = make_learner(envs.observation_space, envs.action_space, NetworkSettings(), seed=0)
    for length in (23, 18):  # 18: an episode is cut off in the last row
        rollout = collector.collect(one, length, 3, gamma=0.9, noise=noise, policy_age=1, keep_ends=True)
        ends: Any = rollout.ends
        cut_TN = rollout.truncated_TN & ~rollout.terminated_TN
        assert cut_TN.any()
        assert (ends.final_KO is None) == (kind == "next step")
        told = corrected(rollout, one)
        for name in ("logprob_TN", "value_TN", "final_value_TN", "last_value_N"):
            np.testing.assert_allclose(getattr(told, name), getattr(rollout, name), err_msg=name, **CLOSE)
        np.testing.assert_allclose(told.weight_TN, 1.0, rtol=1e-5)  # type: ignore[arg-type]
        assert np.count_nonzero(told.final_value_TN) == np.count_nonzero(cut_TN)
        kept = ends.last_NO.copy()
        assert collector.collect(one, 1, 3, gamma=0.9).ends is None
        np.testing.assert_array_equal(ends.last_NO, kept)
    envs.close()


# advantages


def weighted(seed: int, most: float) -> Rollout:
    """Random weights up to a bound, terminations, truncations, and a step after each end that is not valid."""
    rng = np.random.default_rng(seed)
    rollout = moved_on(rollout_of(learner("discrete"), length=30, num_envs=5, seed=seed), seed=seed)
    valid_TN, over_TN = np.ones((30, 5), bool), rollout.terminated_TN | rollout.truncated_TN
    for t in range(1, 30):
        valid_TN[t] = ~(over_TN[t - 1] & valid_TN[t - 1])
    weight_TN = np.minimum(np.exp(rng.standard_normal((30, 5))), most).astype(np.float32)
    return replace(
        rollout,
        valid_TN=valid_TN,
        terminated_TN=rollout.terminated_TN & valid_TN,
        truncated_TN=rollout.truncated_TN & valid_TN,
        weight_TN=np.where(valid_TN, weight_TN, np.float32(1.0)),
    )


def by_the_paper(rollout: Rollout, gamma: float, lam: float) -> np.ndarray:
    """v_s - V(x_s) of equation 1: a sum over t of gamma^(t-s), the product of c_s to c_(t-1), and delta_t V."""
    value_TN, weight_TN = rollout.value_TN.astype(np.float64), np.float64(rollout.weight_TN)  # type: ignore[arg-type]
    after_TN = np.vstack([value_TN[1:], rollout.last_value_N[None]])
    after_TN = np.where(rollout.truncated_TN, rollout.final_value_TN, after_TN)
    after_TN = np.where(rollout.terminated_TN, 0.0, after_TN)
    difference_TN = weight_TN * (rollout.reward_TN + gamma * after_TN - value_TN)
    c_TN = lam * np.minimum(1.0, weight_TN)
    over_TN = rollout.terminated_TN | rollout.truncated_TN
    total_TN = np.zeros_like(value_TN)
    for s, n in np.argwhere(rollout.valid_TN):
        ends = np.flatnonzero(over_TN[s:, n])
        for t in range(s, s + ends[0] + 1 if len(ends) else rollout.length):
            total_TN[s, n] += gamma ** (t - s) * np.prod(c_TN[s:t, n]) * difference_TN[t, n]
    return total_TN


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.0, 0.5)])
@pytest.mark.parametrize("most", [1.0, 2.0])
def test_returns_are_the_targets_of_v_trace(gamma, lam, most):
    for seed in range(3):
        rollout = weighted(seed, most)
        expected_TN = by_the_paper(rollout, gamma, lam)
        advantage_TN, return_TN = advantages(rollout, gamma, lam)
        # float32 holds what was computed in float64; sums that nearly cancel have the error of their terms, near 1
        np.testing.assert_allclose(
            return_TN, np.where(rollout.valid_TN, rollout.value_TN + expected_TN, 0.0), rtol=1e-6, atol=1e-6
        )
        if most == 1.0:  # the advantage and the weight of its own step make up the same sum
            made_up_TN = np.multiply(advantage_TN, rollout.weight_TN)  # type: ignore[arg-type]
            np.testing.assert_allclose(made_up_TN, expected_TN, rtol=1e-6, atol=1e-6)


def test_an_advantage_is_what_follows_its_step_and_does_not_know_the_weight_of_it():
    rollout = weighted(0, 2.0)
    assert rollout.weight_TN is not None
    other = replace(rollout, weight_TN=rollout.weight_TN.copy())
    other.weight_TN[7] *= 0.5  # type: ignore[index]
    one_TN, other_TN = (advantages(each, 0.9, 0.8)[0] for each in (rollout, other))
    np.testing.assert_array_equal(one_TN[7:], other_TN[7:])
    assert (one_TN[6] != other_TN[6]).any()


def test_weights_of_1_are_generalized_advantage_estimation_to_the_bit():
    for seed in range(3):
        rollout = weighted(seed, 1.0)
        ones = replace(rollout, weight_TN=np.ones_like(rollout.reward_TN))
        for ours, theirs in zip(
            advantages(ones, 0.99, 0.95), advantages(replace(ones, weight_TN=None), 0.99, 0.95), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_a_step_that_is_not_valid_cuts_off_what_follows_it_even_where_no_episode_ended():
    rollout = old("discrete")
    none_TN, zeros_TN = np.zeros_like(rollout.valid_TN), np.zeros_like(rollout.reward_TN)
    valid_TN = ~none_TN
    valid_TN[5] = False
    one = replace(
        rollout, reward_TN=zeros_TN, value_TN=zeros_TN, terminated_TN=none_TN, truncated_TN=none_TN, valid_TN=valid_TN
    )
    for each in (one, replace(one, weight_TN=zeros_TN + 0.5)):
        advantage_TN = advantages(each, 0.9, 0.8)[0]
        assert (advantage_TN[:6] == 0.0).all()
        assert (advantage_TN[6:] != 0.0).all()


# learning


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", BOTH)
def test_a_weight_is_a_factor_of_its_sample_in_the_policys_loss_alone(name, normalize):
    now = UpdateSettings(normalize_advantage=normalize, clip_range=0.1, entropy_coef=0.01)
    rollout = moved_on(old(name), by=0.1)
    weight_TN = np.random.default_rng(0).uniform(0.0, 1.0, rollout.reward_TN.shape).astype(np.float32)
    samples = flatten(replace(rollout, weight_TN=weight_TN), now)
    chosen_B = np.random.default_rng(1).permutation(len(samples))[:40]
    fast, slow = pair(name)
    advantage_B = samples.advantage_S[chosen_B].astype(np.float64)
    if normalize:
        advantage_B = (advantage_B - advantage_B.mean()) / (advantage_B.std(ddof=1) + 1e-8)
    observed: Any = samples.observation_SO
    ratio_B = np.exp(fast.judge(observed[chosen_B], samples.action_S[chosen_B])[0] - samples.logprob_S[chosen_B])
    objective_B = np.minimum(ratio_B * advantage_B, np.clip(ratio_B, 0.9, 1.1) * advantage_B)
    expected = -(samples.weight_S[chosen_B] * objective_B).mean()  # type: ignore[index]
    plain = pair(name)[0].step(replace(samples, weight_S=None), chosen_B, now)
    measured = fast.step(samples, chosen_B, now)
    assert measured[0] == pytest.approx(expected, rel=1e-4)
    assert measured[1:5] == plain[1:5]
    np.testing.assert_allclose(slow.step(samples, chosen_B, now), measured, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*BOTH, "torch discrete"])
def test_weights_of_1_teach_what_no_weights_teach_to_the_bit(name):
    rollout, now = moved_on(old(name)), UpdateSettings(minibatch_size=16, epochs_per_batch=2)
    one, other = learner(name), learner(name)
    measured = one.update(replace(rollout, weight_TN=np.ones_like(rollout.reward_TN)), now, np.random.default_rng(0))
    assert measured == other.update(rollout, now, np.random.default_rng(0))
    for part, array in one.state_dict()["weights"].items():
        np.testing.assert_array_equal(array, other.state_dict()["weights"][part])


# laws


CHAIN, GAMMA = 5, 0.9


def tabular(right: list[float], values: Any = 0.0) -> Learner:
    """A policy and a critic with a number for each of five states: how likely it goes right, and its value."""
    space = gym.spaces.Box(0.0, 1.0, (CHAIN,), np.float32)
    one = make_learner(space, gym.spaces.Discrete(2), NetworkSettings(policy_layers=()), seed=0)
    state = one.state_dict()
    for array in state["weights"].values():
        array[:] = 0.0
    state["weights"]["policy.0.weight"][:, 1] = np.log(np.divide(right, np.subtract(1.0, right)))
    state["weights"]["value.0.weight"][:, 0] = values
    one.load_state_dict(state)
    return one


def walked(one: Learner, length: int, num_envs: int) -> Rollout:
    """Along a chain: right of its end there is a reward of 1 and a termination, left of its beginning nothing."""
    rng, seen_N = np.random.default_rng(0), np.arange(num_envs) % CHAIN
    states, rows, rewards = [], [], []
    for _ in range(length):
        states.append(seen_N)
        rows.append(one.act(np.eye(CHAIN, dtype=np.float32)[seen_N], rng))
        beyond_N = seen_N + 2 * rows[-1][0] - 1
        rewards.append(beyond_N == CHAIN)
        seen_N = np.where(beyond_N == CHAIN, 0, np.maximum(beyond_N, 0))
    action_TN, logprob_TN, value_TN = (np.stack(part) for part in zip(*rows, strict=True))
    end_TN = np.stack(rewards)
    last_NO = np.eye(CHAIN, dtype=np.float32)[seen_N]
    return Rollout(
        observation_TNO=np.eye(CHAIN, dtype=np.float32)[np.stack(states)],
        action_TN=action_TN,
        logprob_TN=logprob_TN,
        value_TN=value_TN,
        reward_TN=end_TN.astype(np.float32),
        terminated_TN=end_TN,
        truncated_TN=end_TN & False,
        valid_TN=np.ones_like(end_TN),
        final_value_TN=np.zeros(end_TN.shape, np.float32),
        last_value_N=one.value(last_NO),
        policy_age=1,
        ends=Ends(last_NO, None, np.zeros((0, 2), np.int64)),
    )


def true_values(right: Any) -> np.ndarray:
    """By Bellman's equation."""
    moves = np.zeros((CHAIN, CHAIN))
    for state, chance in enumerate(right):
        moves[state, max(state - 1, 0)] += 1.0 - chance
        if state + 1 < CHAIN:
            moves[state, state + 1] += chance
    return np.linalg.solve(np.eye(CHAIN) - GAMMA * moves, np.eye(CHAIN)[-1] * right[-1])


def settled(rollout: Rollout, right: list[float], rho_bar: float | None, lam: float) -> np.ndarray:
    """The critic's values once they are the mean returns of their states; `rho_bar` of None corrects nothing."""
    values_S, state_TN = np.zeros(CHAIN), np.argmax(rollout.observation_TNO, axis=2)  # type: ignore[arg-type]
    for _ in range(40):
        one = tabular(right, values_S)
        told = corrected(rollout, one, rho_bar=1.0 if rho_bar is None else rho_bar)
        return_TN = advantages(replace(told, weight_TN=None) if rho_bar is None else told, GAMMA, lam)[1]
        values_S = np.bincount(state_TN.ravel(), return_TN.ravel()) / np.bincount(state_TN.ravel())
    return values_S


@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
def test_corrected_values_come_to_those_of_the_present_policy(lam):
    acted, present = [0.3, 0.5, 0.5, 0.5, 0.4], [0.7, 0.8, 0.7, 0.9, 0.8]
    rollout = walked(tabular(acted), length=400, num_envs=100)
    between = [  # what values are of where the bound is 1: each action as likely as it is to both
        min(a, p) / (min(a, p) + min(1.0 - a, 1.0 - p)) for a, p in zip(acted, present, strict=True)
    ]
    # 40 000 steps: how often an action was taken is known to a relative error of 0.02
    np.testing.assert_allclose(settled(rollout, present, 3.0, lam), true_values(present), rtol=0.03)
    np.testing.assert_allclose(settled(rollout, present, 1.0, lam), true_values(between), rtol=0.03)
    np.testing.assert_allclose(settled(rollout, present, None, lam), true_values(acted), rtol=0.03)
    assert (true_values(acted) < 0.8 * true_values(between)).all()
    assert (true_values(between) < 0.95 * true_values(present)).all()


@pytest.mark.parametrize(("lam", "off"), [(0.8, 0.0), (0.0, 1.0)])
def test_a_corrected_batch_moves_the_policy_where_a_new_one_would(lam, off):
    acted, present = [0.3, 0.6, 0.4, 0.5, 0.4], [0.8, 0.9, 0.7, 0.9, 0.8]
    values = true_values(present) + off  # advantages have a mean that is not 0, and are exact one step ahead alone
    now = UpdateSettings(gamma=GAMMA, gae_lambda=lam, clip_range=0.1, max_grad_norm=None)

    def direction(rollout: Rollout) -> np.ndarray:
        """Of the policy's first gradient, each state's divided by how often it was there."""
        one, samples = tabular(present, values), flatten(rollout, now)
        assert isinstance(one, FastLearner)
        one.step(samples, np.arange(len(samples)), now)
        observed: Any = samples.observation_SO
        slope_S = one.state_dict()["first_moments"]["policy.0.weight"][:, 1] / observed.mean(axis=0)
        return slope_S / np.linalg.norm(slope_S)

    new = direction(walked(tabular(present, values), length=500, num_envs=400))
    stale = walked(tabular(acted, values), length=500, num_envs=400)
    assert new @ direction(corrected(stale, tabular(present, values), rho_bar=3.0)) > 0.98
    assert new @ direction(stale) < 0.92
