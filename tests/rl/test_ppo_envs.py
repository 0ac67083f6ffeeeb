"""Environments, what they give, and what becomes of it in a rollout."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tempomat.core import BindingError, StateError
from tempomat_rl.ppo.collect import Collector, action_for
from tempomat_rl.ppo.envs import EnvError, SeparateEnvs, VectorEnvs, make_envs
from tempomat_rl.ppo.gae import advantages
from tempomat_rl.ppo.normalize import Normalizer, Running


class Corridor(gymnasium.Env):
    """An episode ends after 3 steps by its own rules, or is cut off after `limit`; reward and observation count up."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, ends: int, limit: int) -> None:
        self.ends, self.limit = ends, limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.array([0.0]), {}

    def step(self, action):
        self.count += 1
        ended = self.count >= self.ends
        return np.array([float(self.count)]), float(self.count), ended, self.count >= self.limit, {"success": ended}


class Fixed:
    """A policy whose value is ten times the observation."""

    def begin(self, num_envs, rng):
        pass

    def act(self, observation_NO, rng):
        num = len(observation_NO)
        return rng.integers(2, size=num), np.zeros(num, np.float32), self.value(observation_NO)

    def value(self, observation_NO):
        return (10 * observation_NO[:, 0]).astype(np.float32)


def plain_scale(shape=(1,)):
    return Normalizer(False, False, {"": shape})


def vector(mode):
    makers = [lambda: Corridor(9, 3), lambda: Corridor(2, 9), lambda: Corridor(4, 4)]
    return VectorEnvs(SyncVectorEnv(makers, autoreset_mode=mode), seed=0)


def separate():
    made = iter([Corridor(9, 3), Corridor(2, 9), Corridor(4, 4)])
    return SeparateEnvs(lambda: next(made), 3, seed=0)


def collected(envs, length):
    collector = Collector(envs, plain_scale(), np.random.default_rng(0))
    collector.begin()
    return collector.collect(Fixed(), length, 3, gamma=0.9), collector


KINDS = {
    "next": lambda: vector(AutoresetMode.NEXT_STEP),
    "same": lambda: vector(AutoresetMode.SAME_STEP),
    "separate": separate,
}


@pytest.mark.parametrize("kind", KINDS)
def test_advantages_are_the_same_however_episodes_are_begun_anew(kind):
    """Checked against what the definition gives for each episode by itself."""
    rollout, collector = collected(KINDS[kind](), 24)
    advantage_TN, _ = advantages(rollout, 0.9, 0.8)
    expected = {0: episode(3, cut=True), 1: episode(2, cut=False), 2: episode(4, cut=False)}
    for place, one in expected.items():
        found = advantage_TN[rollout.valid_TN[:, place], place]
        np.testing.assert_allclose(found[: 2 * len(one)], [*one, *one], rtol=1e-6)
    assert rollout.env_steps == np.count_nonzero(rollout.valid_TN)
    assert {(one.total, one.length, one.success) for one in collector.episodes} == {
        (6.0, 3, False), (3.0, 2, True), (10.0, 4, True),
    }  # fmt: skip


def episode(length, *, cut):
    """Generalized advantages with gamma .9 and lambda .8, by their definition."""
    values = [10.0 * t for t in range(length + 1)]
    values[-1] *= cut
    errors = [t + 1 + 0.9 * values[t + 1] - values[t] for t in range(length)]
    return [sum((0.9 * 0.8) ** (k - t) * errors[k] for k in range(t, length)) for t in range(length)]


def test_a_step_that_is_spent_on_a_reset_is_not_counted():
    rollout, _ = collected(vector(AutoresetMode.NEXT_STEP), 8)
    np.testing.assert_array_equal(rollout.valid_TN[:, 0], [True, True, True, False] * 2)
    np.testing.assert_array_equal(rollout.valid_TN[:, 1], [True, True, False] * 2 + [True, True])
    assert rollout.env_steps == 6 + 6 + 7
    assert not rollout.reward_TN[~rollout.valid_TN].any()


def test_a_truncation_in_the_last_row_bootstraps_from_the_last_observation():
    for kind in KINDS:
        rollout, _ = collected(KINDS[kind](), 3)
        assert rollout.truncated_TN[2, 0]
        assert rollout.final_value_TN[2, 0] == 30.0
        assert not rollout.final_value_TN[:, 1].any()


def test_an_end_by_the_rules_and_by_the_clock_at_once_is_one_by_the_rules():
    for kind in KINDS:
        rollout, _ = collected(KINDS[kind](), 4)
        assert rollout.terminated_TN[3, 2]
        assert rollout.final_value_TN[3, 2] == 0.0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "GimbalLanding-v0"])
@pytest.mark.parametrize("vectorize", [True, False])
def test_environments_go_on_from_their_state_to_the_last_bit(env_id, vectorize):
    options = {"observation": "keypoint"} if env_id.startswith("Gimbal") else {}
    envs = [make_envs(env_id, 2, seed=5, options=options, vectorize=vectorize) for _ in range(2)]
    rng = np.random.default_rng(1)
    high = getattr(envs[0].action_space, "n", None)
    size = getattr(envs[0].action_space, "shape", ())
    actions = [
        rng.integers(high, size=2) if high else rng.uniform(-1, 1, (2, *size)).astype(np.float32) for _ in range(120)
    ]
    envs[0].reset()
    for action in actions[:70]:
        envs[0].step(action)
    envs[1].load_state_dict(envs[0].state_dict())
    for action in actions[70:]:
        one, other = envs[0].step(action), envs[1].step(action)
        np.testing.assert_equal(one._asdict(), other._asdict())
    for each in envs:
        each.close()


def test_a_state_between_an_end_and_its_reset_knows_that_the_next_step_is_none():
    envs, other = (make_envs("CartPole-v1", 2, seed=0) for _ in range(2))
    envs.reset()
    while not envs.step(np.zeros(2, np.int64)).terminated_N.any():
        pass
    other.load_state_dict(envs.state_dict())
    valid_N = [one.step(np.zeros(2, np.int64)).valid_N for one in (envs, other)]
    assert not valid_N[0].all()
    np.testing.assert_array_equal(valid_N[0], valid_N[1])


def test_continuous_actions_reach_the_environment_within_its_bounds():
    to_env = action_for(gymnasium.spaces.Box(-2.0, 1.0, (2,), np.float32))
    np.testing.assert_array_equal(to_env(np.array([[-5.0, 5.0], [0.5, -0.5]])), [[-2.0, 1.0], [0.5, -0.5]])
    assert action_for(gymnasium.spaces.Discrete(3, start=5))(np.array([0, 2])).tolist() == [5, 7]


def test_environments_that_pause_go_on_where_they_were():
    envs = make_envs("CartPole-v1", 3, seed=0, vectorize=False)
    alone = make_envs("CartPole-v1", 3, seed=0, vectorize=False)
    envs.reset()
    alone.reset()
    for _ in range(3):
        envs.step(np.zeros(3, np.int64))
        before = alone.step(np.zeros(3, np.int64)).observation
    envs.resize(1)
    envs.step(np.zeros(1, np.int64))
    np.testing.assert_array_equal(np.asarray(envs.resize(3))[1:], np.asarray(before)[1:])
    assert len(envs.resize(5)) == 5


def test_environments_computed_together_keep_their_number():
    envs = make_envs("CartPole-v1", 2, seed=0)
    with pytest.raises(BindingError, match="comes to 3, and these are 2 computed together"):
        envs.resize(3)


def test_an_environment_that_does_not_follow_from_its_seed_is_not_gone_on_with():
    class Restless(Corridor):
        started = 0.0

        def step(self, action):
            observation, *rest = super().step(action)
            Restless.started += 1
            return observation + Restless.started, *rest

    envs = SeparateEnvs(lambda: Restless(9, 9), 1, seed=0)
    envs.reset()
    envs.step(np.zeros(1, np.int64))
    with pytest.raises(StateError, match="environment 0: the same seed and 1 actions led elsewhere"):
        envs.load_state_dict(envs.state_dict())


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_state_of_the_other_kind_is_refused(vectorize):
    envs = make_envs("CartPole-v1", 2, seed=0, vectorize=vectorize)
    other = make_envs("CartPole-v1", 2, seed=0, vectorize=not vectorize)
    other.reset()
    with pytest.raises(StateError, match="were saved by another kind"):
        envs.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("env_id", "options", "words"),
    [
        ("CartPol-v1", {}, "Did you mean: `CartPole`"),
        ("CartPole-v1", {"gravitas": 3}, "unexpected keyword argument 'gravitas'"),
        ("nowhere:Thing-v0", {}, "nowhere"),
    ],
)
def test_an_environment_that_cannot_be_built_is_an_error_with_its_name(env_id, options, words):
    with pytest.raises(EnvError, match=f"env: {env_id}.*{words}"):
        make_envs(env_id, 1, seed=0, options=options)


def test_observations_that_are_a_choice_become_numbers():
    envs = make_envs("FrozenLake-v1", 2, seed=0)
    assert envs.reset().shape == (2, 16)  # type: ignore[union-attr]


# scale


def test_running_statistics_are_those_of_everything_at_once():
    rng = np.random.default_rng(0)
    data = rng.normal(3.0, 2.0, (50, 7, 4))
    running = Running((4,))
    for batch in data:
        running.update(batch)
    rows = data.reshape(-1, 4)
    # it begins as if 1e-4 samples of mean 0 and variance 1 had been seen, which 350 others leave visible to 3e-7
    np.testing.assert_allclose(running.mean, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(running.var, rows.var(0), rtol=2e-6)


def test_observations_and_rewards_are_scaled_as_by_vecnormalize():
    vec = pytest.importorskip("stable_baselines3.common.vec_env")
    theirs = vec.VecNormalize(vec.DummyVecEnv([lambda: Corridor(9, 3), lambda: Corridor(2, 9)]), gamma=0.9)
    ours = Normalizer(True, True, {"": (1,)})
    theirs.reset()
    ours.observe(np.zeros((2, 1)))
    ended_N = [(t, np.array([t % 3 == 2, t % 2 == 1])) for t in range(20)]
    for t, ended in ended_N:
        seen, reward, done, _ = theirs.step(np.zeros(2, np.int64))
        counts = np.array([t % 3 + 1, t % 2 + 1.0])
        np.testing.assert_array_equal(done, ended)
        found = ours.reward(counts, ended, 0.9)
        np.testing.assert_allclose(found, reward, rtol=1e-6)
        raw = np.where(ended, 0.0, counts)[:, None]
        np.testing.assert_allclose(np.asarray(ours.observe(raw)), np.asarray(seen), rtol=1e-6)


def test_scaled_values_stay_within_ten():
    scale = Normalizer(True, True, {"": (1,)})
    for _ in range(100):
        scale.observe(np.zeros((1, 1)))
        scale.reward(np.array([1.0]), np.array([True]), 0.9)
    assert scale.observe(np.full((1, 1), 1e9), learn=False) == 10.0
    assert scale.reward(np.array([-1e12]), np.array([True]), 0.9) == -10.0


def test_images_are_left_as_they_are():
    scale = Normalizer(True, True, {"state": (2,)})
    image = np.full((1, 4, 4), 255, np.uint8)
    seen = scale.observe({"image": image, "state": np.ones((1, 2))})
    assert seen["image"] is image
    assert seen["state"].dtype == np.float32  # type: ignore[union-attr]


def test_looking_without_learning_changes_nothing():
    scale = Normalizer(True, False, {"": (1,)})
    scale.observe(np.array([[1.0], [3.0]]))
    before = scale.state_dict()
    scale.observe(np.array([[100.0]]), learn=False)
    np.testing.assert_equal(scale.state_dict(), before)


def test_noise_is_added_to_what_the_policy_sees_and_to_nothing_else():
    collector = Collector(separate(), plain_scale(), np.random.default_rng(0))
    collector.begin()
    quiet = Collector(separate(), plain_scale(), np.random.default_rng(0))
    quiet.begin()
    noisy = collector.collect(Fixed(), 200, 3, gamma=0.9, noise=0.5)
    clean = quiet.collect(Fixed(), 200, 3, gamma=0.9)
    spread = noisy.observation_TNO - clean.observation_TNO  # type: ignore[operator]
    assert np.std(spread) == pytest.approx(0.5, rel=0.1)  # 600 draws: 3 % of standard error
    np.testing.assert_array_equal(noisy.reward_TN, clean.reward_TN)
