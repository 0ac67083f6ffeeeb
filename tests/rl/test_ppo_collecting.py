"""What a collector keeps between two rollouts, gives away, and teaches its normalizer."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.envs import SeparateEnvs
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.normalize import make_normalizer
from tempomat_rl.ppo.options import NetworkSettings


class Counting(gym.Env):
    """Rewards and observations follow from the action and the seed; an episode is cut off after five steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._seen(), {}

    def step(self, action):
        self.count += 1
        return self._seen(), float(self.count + action), False, self.count == 5, {}

    def _seen(self) -> Any:
        return np.array([self.count, self.np_random.random()], np.float32)


class Named(Counting):
    """The same with an observation in two parts, one of them an image."""

    observation_space: Any = gym.spaces.Dict(
        {"image": gym.spaces.Box(0, 255, (16, 16, 1), np.uint8), "state": Counting.observation_space}
    )

    def _seen(self) -> Any:
        return {"image": np.full((16, 16, 1), self.count, np.uint8), "state": super()._seen()}


def collector(env: type[gym.Env] = Counting, num_envs: int = 3) -> Collector:
    envs = SeparateEnvs(env, num_envs, seed=0)
    one = Collector(envs, make_normalizer(envs.observation_space, True, True), np.random.default_rng(0))
    one.begin()
    return one


def policy(one: Collector) -> Any:
    return make_learner(one.envs.observation_space, one.envs.action_space, NetworkSettings(policy_layers=(8,)), seed=0)


def collect(one: Collector, length: int, num_envs: int = 3, **settings: Any) -> Rollout:
    return one.collect(policy(one), length, num_envs, gamma=0.9, **settings)


def same(one: Rollout, other: Rollout) -> None:
    for name in ("observation_TNO", "action_TN", "logprob_TN", "reward_TN", "value_TN", "final_value_TN"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    np.testing.assert_array_equal(one.last_value_N, other.last_value_N)


def seen_so_far(one: Collector) -> float:
    """Samples of observations that the normalizer has taken in, less the 1e-4 that it begins with."""
    return one.normalizer.statistics["observation "]["count"] - 1e-4


def test_a_loaded_collector_goes_on_to_the_bit():
    one, other = collector(), collector()
    collect(one, 7, noise=0.1)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert one.episodes
    one.episodes.clear()
    other.episodes.clear()
    same(collect(one, 9, noise=0.1), collect(other, 9, noise=0.1))
    assert one.episodes == other.episodes
    assert len(one.episodes) == 6


def test_a_state_and_who_was_loaded_from_it_do_not_change_each_other():
    one = collector()
    collect(one, 7)
    kept = one.state_dict()
    before = copy.deepcopy(kept)
    collect(one, 1)
    other = collector()
    other.load_state_dict(kept)
    collect(other, 1)
    for name in ("return_N", "length_N"):
        np.testing.assert_array_equal(kept[name], before[name])
        assert (before[name] != 0).all()
    np.testing.assert_array_equal(kept["normalizer"]["sum_N"], before["normalizer"]["sum_N"])


def test_the_normalizer_learns_from_each_observation_once():
    one = collector()
    assert seen_so_far(one) == pytest.approx(3)
    collect(one, 7)  # in which each of three episodes is cut off, and its last observation looked at besides
    assert seen_so_far(one) == pytest.approx(3 + 7 * 3)
    collect(one, 4, 5)  # two environments more, whose first observations are only looked at
    assert seen_so_far(one) == pytest.approx(3 + 7 * 3 + 4 * 5)


def test_environments_that_join_are_seen_from_their_first_observation_on():
    one = collector()
    collect(one, 7)
    rollout = collect(one, 4, 5)
    statistics = one.normalizer.statistics["observation "]
    assert rollout.num_envs == 5
    observed: Any = rollout.observation_TNO
    # counts 2 of three that go on, and 0 of two that begin: scaled alike, in one row
    assert len(set(observed[0, :3, 0])) == len(set(observed[0, 3:, 0])) == 1
    assert observed[0, 0, 0] > observed[0, 3, 0]
    assert np.isfinite(statistics["mean"]).all()
    assert [len(each) for each in (one.state_dict()["return_N"], one.state_dict()["length_N"])] == [5, 5]
    collect(one, 4, 5)
    assert [each.length for each in one.episodes] == [5] * len(one.episodes)


def test_a_rollout_is_of_age_0_and_has_no_ends_unless_somebody_says_so():
    rollout = collect(collector(), 2)
    assert rollout.policy_age == 0
    assert rollout.ends is None
    assert collect(collector(), 2, policy_age=3).policy_age == 3


def test_what_is_kept_of_a_rollouts_ends_is_where_it_was_seen():
    for env in (Counting, Named):
        one, other = collector(env), collector(env)
        whole, first = collect(one, 12, keep_ends=True), collect(other, 6, keep_ends=True)
        ends: Any = first.ends
        np.testing.assert_array_equal(ends.place_K2, [[4, 0], [4, 1], [4, 2]])
        after: Any = collect(other, 6).observation_TNO
        for name in ("state", "image") if env is Named else (None,):
            last_NO, rows_TNO = (ends.last_NO, after) if name is None else (ends.last_NO[name], after[name])
            np.testing.assert_array_equal(last_NO, rows_TNO[0])
            assert (ends.final_KO if name is None else ends.final_KO[name]).shape == last_NO.shape
        everything: Any = whole.ends
        np.testing.assert_array_equal(everything.place_K2[:, 0], [4, 4, 4, 9, 9, 9])
        value_K = policy(one).value(everything.final_KO)
        np.testing.assert_allclose(whole.final_value_TN[tuple(everything.place_K2.T)], value_K, rtol=1e-5)
        if env is Named:
            np.testing.assert_array_equal(everything.final_KO["image"], np.full((6, 16, 16, 1), 5, np.uint8))


def test_observations_with_names_are_kept_by_name():
    rollout = collect(collector(Named), 6)
    seen: Any = rollout.observation_TNO
    assert set(seen) == {"image", "state"}
    assert seen["image"].dtype == np.uint8
    np.testing.assert_array_equal(seen["image"][:, 1, 0, 0, 0], [0, 1, 2, 3, 4, 0])
    assert seen["state"].dtype == np.float32
    assert (np.diff(seen["state"][1:5, 1, 0]) > 0).all()
