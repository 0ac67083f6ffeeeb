"""What every learner does: minibatches and their moments, statistics, keeping, refusing."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from rl.rollouts import CONTINUOUS, DISCRETE, OBSERVED, moved_on, rollout_of

from tempomat.core.errors import MeasurementError, StateError
from tempomat_rl.ppo.fast import FastLearner, orthogonal
from tempomat_rl.ppo.kernels import draw_discrete
from tempomat_rl.ppo.learner import Learner, explained_variance, flatten
from tempomat_rl.ppo.making import make_learner as make
from tempomat_rl.ppo.network import ImageEncoder, TorchLearner
from tempomat_rl.ppo.options import LearnerError, NetworkSettings, UpdateSettings

IMAGE = gym.spaces.Box(0, 255, (3, 40, 40), np.uint8)
SEVERAL = gym.spaces.Dict({"state": OBSERVED, "image": gym.spaces.Box(0, 255, (16, 18, 1), np.uint8)})
LEARNERS: dict[str, tuple[Any, Any, NetworkSettings]] = {
    "discrete": (OBSERVED, DISCRETE, NetworkSettings()),
    "gsde": (OBSERVED, CONTINUOUS, NetworkSettings(sde=True)),
    "torch": (OBSERVED, CONTINUOUS, NetworkSettings(kind="torch")),
    "shared": (OBSERVED, DISCRETE, NetworkSettings(shared=True, value_layers=(8,))),
    "pixels": (IMAGE, DISCRETE, NetworkSettings(policy_layers=())),
    "pixels and state": (SEVERAL, CONTINUOUS, NetworkSettings(policy_layers=(16,), sde=True)),
}
SMALL = UpdateSettings(minibatch_size=20, epochs_per_batch=3)


def learner(name: str, seed: int = 0) -> Learner:
    return make(*LEARNERS[name], seed=seed)


def weights(one: Learner) -> dict[str, Any]:
    return one.state_dict()["weights"]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_acts_and_learns_on_what_it_sees(name):
    one = learner(name)
    rollout = rollout_of(one, space=LEARNERS[name][0])
    shape = () if LEARNERS[name][1] is DISCRETE else (2,)
    assert rollout.action_TN.shape == (16, 4, *shape)
    assert rollout.action_TN.dtype == (np.float32 if shape else np.int64)
    assert rollout.logprob_TN.dtype == rollout.value_TN.dtype == np.float32
    before = one.norms
    measured = one.update(rollout, SMALL, np.random.default_rng(0))
    assert all(np.isfinite(list(measured.values())))
    assert (measured["optimizer_steps"], measured["epochs"], measured["samples"]) == (12, 3, 64)
    assert one.optimizer_steps == 12
    assert one.norms["policy"] != before["policy"]
    assert one.norms["value"] != before["value"]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_loaded_learner_goes_on_bit_for_bit(name):
    space = LEARNERS[name][0]
    one, other = learner(name), learner(name, seed=1)
    one.update(rollout_of(one, space=space), SMALL, np.random.default_rng(0))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert other.optimizer_steps == one.optimizer_steps == 12
    for each in (one, other):
        each.update(rollout_of(each, seed=7, space=space), SMALL, np.random.default_rng(1))
    for key in ("weights", "first_moments", "second_moments"):
        for part, array in one.state_dict()[key].items():
            np.testing.assert_array_equal(other.state_dict()[key][part], array)


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_a_kept_state_does_not_change_when_its_learner_goes_on(name):
    one = learner(name)
    kept = one.state_dict()
    before = copy.deepcopy(kept)
    one.update(rollout_of(one), SMALL, np.random.default_rng(0))
    for part, array in before["weights"].items():
        np.testing.assert_array_equal(kept["weights"][part], array)


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_a_state_of_other_networks_is_refused_and_nothing_changes(name):
    space, action_space, network = LEARNERS[name]
    one, other = learner(name), make(space, action_space, replace(network, policy_layers=(8, 8)), seed=0)
    before = weights(one)
    with pytest.raises(StateError, match=r"weights\.policy\.0\.weight: must be of shape \(\d+, \d+\), got"):
        one.load_state_dict(other.state_dict())
    half = {key: value for key, value in one.state_dict().items() if key != "second_moments"}
    with pytest.raises(StateError, match="must hold second_moments, and does not"):
        one.load_state_dict(half)
    for part, array in weights(one).items():
        np.testing.assert_array_equal(array, before[part])


# moments


def test_values_may_change_at_each_optimizer_step():
    one, asked = learner("discrete"), []
    one.optimizer_steps = 100
    rollout = rollout_of(one)

    def at(count: int) -> UpdateSettings:
        asked.append(count)
        return replace(SMALL, policy_lr=0.0 if count < 105 else 1e-3)

    before = weights(one)
    measured = one.update(rollout, at, np.random.default_rng(0))
    assert asked == list(range(100, 113))
    assert measured["optimizer_steps"] == 12
    assert any((weights(one)[part] != array).any() for part, array in before.items())
    still = learner("discrete")
    before = weights(still)
    still.update(rollout, replace(SMALL, policy_lr=0.0), np.random.default_rng(0))
    for part, array in before.items():
        np.testing.assert_array_equal(weights(still)[part], array)


def test_a_minibatch_takes_the_size_of_its_moment_and_no_sample_twice_in_an_epoch(monkeypatch):
    one, seen = learner("discrete"), []
    rollout, step = rollout_of(one), one.step

    def watched(samples, chosen_B, now):
        seen.append(chosen_B)
        return step(samples, chosen_B, now)

    monkeypatch.setattr(one, "step", watched)
    sizes = [10, 30, 40, 7, 100]
    one.update(
        rollout,
        lambda count: replace(SMALL, minibatch_size=sizes[min(count, 4)], epochs_per_batch=2),
        np.random.default_rng(0),
    )
    assert [len(chosen) for chosen in seen] == [10, 30, 24, 7, 57]
    for epoch in (seen[:3], seen[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(64))
    assert (np.concatenate(seen[:3]) != np.concatenate(seen[3:])).any()


def test_an_epoch_starts_only_while_its_number_is_below_those_asked_for_then():
    one = learner("discrete")
    rollout = rollout_of(one)
    measured = one.update(
        rollout, lambda count: replace(SMALL, epochs_per_batch=5 if count < 6 else 2), np.random.default_rng(0)
    )
    assert measured["epochs"] == 2


def test_each_network_has_its_own_rate():
    for name in ("discrete", "torch"):
        for frozen, rates in (("policy", (0.0, 1e-3)), ("value", (1e-3, 0.0))):
            one = learner(name)
            before = weights(one)
            now = replace(SMALL, policy_lr=rates[0], value_lr=rates[1])
            one.update(rollout_of(one), now, np.random.default_rng(0))
            for part, array in weights(one).items():
                changed = (array != before[part]).any()
                assert array.size == 0 or changed == (part.startswith("value") != (frozen == "value")), part


def test_steps_that_are_not_valid_teach_nothing():
    one, other = learner("discrete"), learner("discrete")
    rollout = rollout_of(one)
    valid_TN = rollout.valid_TN.copy()
    valid_TN[3, 1] = valid_TN[9, 2] = False
    first = replace(rollout, valid_TN=valid_TN)
    wild_TNO: Any = copy.deepcopy(rollout.observation_TNO)
    wild_TNO[3, 1] = wild_TNO[9, 2] = 1e3
    second = replace(first, observation_TNO=wild_TNO, action_TN=np.where(valid_TN, rollout.action_TN, 0))
    measured = one.update(first, SMALL, np.random.default_rng(0))
    assert measured == other.update(second, SMALL, np.random.default_rng(0))
    assert measured["samples"] == 62
    with pytest.raises(LearnerError, match="must hold at least one valid step, got none"):
        one.update(replace(first, valid_TN=valid_TN & False), SMALL, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_a_minibatch_of_one_sample_keeps_its_advantage(name):
    one, other = learner(name), learner(name)
    samples = flatten(rollout_of(one), SMALL)
    alone = np.array([7])
    measured = one.step(samples, alone, UpdateSettings())
    assert measured == other.step(samples, alone, UpdateSettings(normalize_advantage=False))
    # at a ratio of 1 the objective is the advantage itself
    assert measured[0] == pytest.approx(-samples.advantage_S[7], rel=1e-5)


def test_each_minibatch_is_of_the_samples_that_were_handed_in():
    one, other = learner("torch"), learner("torch")
    still, chosen_B = replace(SMALL, policy_lr=0.0), np.arange(10)
    first, second = (flatten(rollout_of(one, seed=seed), still) for seed in (0, 1))
    one.step(first, chosen_B, still)
    assert one.step(second, chosen_B, still) == other.step(second, chosen_B, still)


# statistics


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_a_batch_ends_before_the_step_that_is_too_far(name):
    one = learner(name)
    rollout = moved_on(rollout_of(one))
    before = weights(one)
    measured = one.update(rollout, replace(SMALL, target_kl=1e-3), np.random.default_rng(0))
    assert (measured["early_stop"], measured["optimizer_steps"], measured["epochs"]) == (1.0, 0, 1)
    assert measured["grad_norm"] == measured["grad_norm_policy"] == measured["grad_norm_value"] == 0.0
    assert measured["approx_kl"] > 1.5e-3
    for part, array in weights(one).items():
        np.testing.assert_array_equal(array, before[part])


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_too_far_is_half_as_far_again_as_the_target_and_measures_are_of_the_steps_made(name):
    rollout = rollout_of(learner(name))
    now = UpdateSettings(policy_lr=3e-3, minibatch_size=64, epochs_per_batch=2, max_grad_norm=1e-3)
    whole = learner(name).update(rollout, now, np.random.default_rng(0))
    second = whole["approx_kl_last"]
    assert second > 1e-4
    near = learner(name).update(rollout, replace(now, target_kl=second / 1.4), np.random.default_rng(0))
    assert (near["early_stop"], near["optimizer_steps"]) == (0.0, 2)
    far = learner(name).update(rollout, replace(now, target_kl=second / 1.6), np.random.default_rng(0))
    assert (far["early_stop"], far["optimizer_steps"], far["epochs"]) == (1.0, 1, 2)
    once = learner(name).update(rollout, replace(now, epochs_per_batch=1), np.random.default_rng(0))
    for key in ("grad_norm", "grad_norm_policy", "grad_norm_value"):
        assert far[key] == pytest.approx(once[key], rel=1e-6)
    assert far["grad_clip_fraction"] == 1.0


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_the_share_of_clipped_gradients_is_that_of_norms_above_the_most(name):
    rollout = rollout_of(learner(name))
    for most, share in ((None, 0.0), (1e-6, 1.0), (1e6, 0.0)):
        one = learner(name)
        measured = one.update(rollout, replace(SMALL, max_grad_norm=most), np.random.default_rng(0))
        assert measured["grad_clip_fraction"] == share
        assert measured["grad_norm"] > 0.01


def test_one_epoch_under_the_acting_policy_measures_no_divergence_at_its_first_step():
    one = learner("discrete")
    rollout = rollout_of(one)
    now = UpdateSettings(minibatch_size=64, epochs_per_batch=1)
    measured = one.update(rollout, now, np.random.default_rng(0))
    assert 0.0 <= measured["approx_kl"] < 1e-9
    assert measured["clip_fraction"] == 0.0
    assert measured["approx_kl"] == measured["approx_kl_last"]
    assert measured["entropy"] == pytest.approx(np.log(3), rel=1e-3)


def test_explained_variance_is_the_share_that_values_account_for():
    returns = np.array([1.0, 2.0, 4.0, 9.0], np.float32)
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(returns * 0, returns) == 0.0
    assert explained_variance(-returns, returns) == pytest.approx(-3.0, rel=1e-6)
    assert np.isnan(explained_variance(returns, returns * 0))


# acting


def test_drawn_actions_come_as_often_as_the_policy_says():
    one = learner("discrete")
    seen = np.tile(np.array([3.0, -1.0, 2.0, 0.0, 1.0], np.float32), (20_000, 1))
    action_N, logprob_N, _ = one.act(seen, np.random.default_rng(0))
    for action in range(3):
        share = np.exp(logprob_N[action_N == action][0])
        assert (action_N == action).mean() == pytest.approx(share, rel=0.05)


def test_a_draw_at_the_very_end_is_the_last_action():
    action_N, logprob_N = draw_discrete(np.zeros((1, 3), np.float32), np.ones(1))
    assert action_N.tolist() == [2]
    assert logprob_N[0] == pytest.approx(-np.log(3), rel=1e-6)


def test_gaussian_noise_has_the_deviation_it_is_said_to_have():
    one = make(OBSERVED, CONTINUOUS, NetworkSettings(log_std_init=-1.0), seed=0)
    seen = np.zeros((20_000, 5), np.float32)
    off_NA = one.act(seen, np.random.default_rng(0))[0] - one.evaluate(seen)
    np.testing.assert_allclose(off_NA.std(axis=0), np.exp(-1.0), rtol=0.02)


def test_noise_that_depends_on_the_state_stays_for_the_steps_it_was_asked_to():
    seen = np.ones((3, 5), np.float32)
    for every, changes in ((None, [False] * 5), (1, [True] * 5), (2, [False, True, False, True, False])):
        one, rng = make(OBSERVED, CONTINUOUS, NetworkSettings(sde=True, sde_every=every), seed=0), None
        rng = np.random.default_rng(0)
        one.begin(3, rng)
        actions = [one.act(seen, rng)[0] for _ in range(6)]
        assert [bool((a != b).any()) for a, b in pairwise(actions)] == changes
        assert (actions[0][0] != actions[0][1]).any()
        one.begin(3, rng)
        assert (one.act(seen, rng)[0] != actions[-1]).any()
        assert one.act(seen[:2], rng)[0].shape == (2, 2)


def test_noise_that_depends_on_the_state_is_as_large_as_its_probabilities_say():
    one = make(OBSERVED, CONTINUOUS, NetworkSettings(sde=True, log_std_init=-0.7), seed=0)
    seen = np.tile(np.array([1.0, -2.0, 0.5, 0.0, 1.0], np.float32), (5_000, 1))
    off_NA = one.act(seen, np.random.default_rng(0))[0] - one.evaluate(seen)
    assert isinstance(one, FastLearner)
    one.policy.forward(seen)
    expected_A = np.sqrt((np.square(one.policy.inputs[-1][0])[:, None] * np.exp(2.0 * one.log_std)).sum(axis=0))
    np.testing.assert_allclose(off_NA.std(axis=0), expected_A, rtol=0.05)


def test_what_was_acted_stays_when_the_learner_acts_again():
    one, rng = learner("discrete"), np.random.default_rng(0)
    first = one.act(np.zeros((4, 5), np.float32), rng)
    before = copy.deepcopy(first)
    one.act(np.ones((4, 5), np.float32), rng)
    one.value(np.ones((4, 5), np.float32))
    for array, kept in zip(first, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_images_are_seen_as_shares_of_white_with_their_channels_first_or_last():
    first, last = ImageEncoder((1, 16, 18)), ImageEncoder((16, 18, 1))
    last.load_state_dict(first.state_dict())
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 1, 16, 18), np.uint8))
    encoded = first(image)
    torch.testing.assert_close(last(image.permute(0, 2, 3, 1)), encoded)
    torch.testing.assert_close(first.layers(image.double().div(255.0).float()), encoded)
    assert encoded.shape == (2, 512)


# building and refusing


def test_weights_start_orthogonal_with_the_gain_asked_for():
    for shape in ((4, 9), (9, 4), (6, 6)):
        drawn = orthogonal(np.random.default_rng(0), *shape, 1.5).astype(np.float64)
        drawn = drawn if shape[0] < shape[1] else drawn.T
        np.testing.assert_allclose(drawn @ drawn.T, 2.25 * np.eye(min(shape)), rtol=1e-5, atol=1e-6)
    rng = np.random.default_rng(0)
    signs = {float(orthogonal(rng, 1, 1, 1.0)[0, 0]) for _ in range(20)}
    assert signs == {-1.0, 1.0}


def test_the_fast_learner_is_chosen_where_it_can_be():
    assert isinstance(learner("discrete"), FastLearner)
    for name in ("torch", "shared", "pixels", "pixels and state"):
        assert isinstance(learner(name), TorchLearner)
    with pytest.raises(LearnerError, match=r"fast cannot be, for observations of shape \(3, 40, 40\)"):
        make(IMAGE, DISCRETE, NetworkSettings(kind="fast"), seed=0)
    with pytest.raises(LearnerError, match=r"fast cannot be, for a trunk that policy and critic share\. Use auto"):
        make(OBSERVED, DISCRETE, NetworkSettings(kind="fast", shared=True), seed=0)
    with pytest.raises(LearnerError, match="images must have 15 pixels a side at least"):
        make(gym.spaces.Box(0, 255, (3, 40, 6), np.uint8), DISCRETE, NetworkSettings(), seed=0)


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3, start=1), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2, 2))]
)
def test_action_spaces_that_nobody_can_act_in_are_refused(space):
    with pytest.raises(LearnerError, match="action_space: must be Discrete from 0 on, or a Box of one dimension"):
        make(OBSERVED, space, NetworkSettings(), seed=0)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("policy_lr", -1e-3, "at least 0"),
        ("policy_lr", float("nan"), "finite"),
        ("value_lr", float("inf"), "at least 0, or None"),
        ("clip_range", 0.0, "above 0"),
        ("clip_range_vf", 0.0, "above 0, or None"),
        ("entropy_coef", "0.1", "finite"),
        ("value_coef", -0.5, "at least 0"),
        ("max_grad_norm", 0, "above 0"),
        ("epochs_per_batch", 0, "whole number of at least 1"),
        ("minibatch_size", 6.4, "whole number"),
        ("gamma", 1.01, "from 0 to 1"),
        ("gae_lambda", -0.1, "from 0 to 1"),
        ("target_kl", 0.0, "above 0, or None"),
        ("normalize_advantage", 1, "true or false"),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, value, rule):
    with pytest.raises(LearnerError, match=rf"{name}: must be .*{rule}"):
        UpdateSettings(**{name: value})


def test_all_faults_of_settings_are_told_at_once():
    with pytest.raises(LearnerError, match=r"(?s)2 faults.*policy_lr.*gamma"):
        UpdateSettings(policy_lr=-1.0, gamma=2.0)
    with pytest.raises(LearnerError, match=r"(?s)3 faults.*kind.*policy_layers.*sde_every"):
        NetworkSettings(kind="quick", policy_layers=(64, 0), sde_every=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["discrete", "torch"])
def test_a_gradient_that_is_no_number_is_refused_before_it_reaches_the_weights(name):
    one = learner(name)
    rollout = rollout_of(one)
    rollout.reward_TN[2, 1] = np.nan
    before = weights(one)
    with pytest.raises(MeasurementError, match=r"optimizer step 0: the \w+ gradient must be finite, got a norm of nan"):
        one.update(rollout, replace(SMALL, minibatch_size=64), np.random.default_rng(0))
    for part, array in weights(one).items():
        np.testing.assert_array_equal(array, before[part])


def test_samples_are_the_rows_of_a_rollout_in_their_order():
    rollout = rollout_of(learner("discrete"))
    samples = flatten(rollout, SMALL)
    flat: Any = samples.observation_SO
    seen: Any = rollout.observation_TNO
    np.testing.assert_array_equal(flat[4], seen[1, 0])
    np.testing.assert_array_equal(samples.logprob_S[5], rollout.logprob_TN[1, 1])
    assert len(samples) == 64
