"""Exploration of Stable-Baselines3's off-policy algorithms by plan: DQN's epsilon, the noise of TD3, DDPG and SAC."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from loading import example

pytest.importorskip("stable_baselines3")

import torch
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    VectorizedActionNoise,
)

import tempomat as tm
from tempomat.core import BindingError
from tempomat.integrations.sb3 import TempomatCallback
from tempomat.plan import entry_name


class Reach(gymnasium.Env):
    """Two actions move a point; the reward is less the further it is from 0, an episode has eight steps."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = self.np_random.uniform(-1, 1, 2).astype(np.float32), 0
        return self.at, {}

    def step(self, action):
        self.at, self.steps = np.clip(self.at + 0.1 * action, -1, 1).astype(np.float32), self.steps + 1
        return self.at, -float(np.abs(self.at).sum()), False, self.steps == 8, {}


class Drawn(NormalActionNoise):
    """Noise that keeps the sigma of each draw."""

    def __init__(self, sigma=0.9):
        super().__init__(np.zeros(2), sigma * np.ones(2))
        self.sigmas = []

    def __call__(self):
        self.sigmas.append(tuple(self._sigma.tolist()))
        return super().__call__()


def noisy(kind: Any = TD3, noise: Any = "normal", env: Any = None, **options) -> Any:
    """A small one; its noise is other than any plan's here."""
    if noise == "normal":
        noise = NormalActionNoise(np.zeros(2), 0.9 * np.ones(2))
    sizes = {"learning_starts": 8, "batch_size": 4, "buffer_size": 200, "policy_kwargs": {"net_arch": [4]}}
    return kind("MlpPolicy", env or Reach(), action_noise=noise, seed=0, device="cpu", **(sizes | options))


def cartpole(env: Any = "CartPole-v1", **options) -> Any:
    sizes: dict[str, Any] = {"learning_starts": 50, "batch_size": 8, "buffer_size": 1000, "train_freq": 4}
    sizes |= {"policy_kwargs": {"net_arch": [8]}}
    return DQN("MlpPolicy", env, seed=3, device="cpu", **(sizes | options))


def over(total: int = 64, /, **entries) -> tm.Plan:
    named = {name.replace("__0", "[0]").replace("__1", "[1]"): one for name, one in entries.items()}
    return tm.Plan(named, clock="env_steps", total=total)


def fall(high: float, low: float = 0.0, length: int | str = "100%") -> tm.Linear:
    return tm.Linear(init_value=high, end_value=low, duration=length)


def refusal(model, plan: tm.Plan, **options) -> str:
    with pytest.raises(BindingError, match="the plan does not fit this") as caught:
        model.learn(16, callback=TempomatCallback(plan, **options))
    return str(caught.value)


def weights(model) -> list[torch.Tensor]:
    return list(model.policy.state_dict().values())


def same(one, other) -> bool:
    return all(torch.equal(left, right) for left, right in zip(weights(one), weights(other), strict=True))


class Epsilons(BaseCallback):
    """Epsilon as the model has it when it draws each action but the first."""

    model: Any

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_rollout_start(self):
        self.seen.append(self.model.exploration_rate)

    def _on_step(self):
        return True


# epsilon


@pytest.mark.parametrize("envs", [1, 2])
def test_the_zoos_line_as_a_plan_is_sb3s_own_epsilon_at_every_step_and_trains_the_same_weights(envs):
    zoo = {"exploration_fraction": 0.16, "exploration_final_eps": 0.04}
    sizes: dict[str, Any] = {"train_freq": 1, "learning_starts": 10}
    alone, theirs = cartpole(make_vec_env("CartPole-v1", envs), **sizes, **zoo), Epsilons()
    alone.learn(300, callback=theirs)
    planned, ours = cartpole(make_vec_env("CartPole-v1", envs), **sizes), Epsilons()
    planned.learn(300, callback=[TempomatCallback(over(300, epsilon=fall(1.0, 0.04, "16%"))), ours])
    assert len(ours.seen) == 300 // envs
    # SB3 computes with the share of the run that is left, whose rounding shows in the last digits
    assert ours.seen[1:] == pytest.approx(theirs.seen[1:], rel=1e-13, abs=0)
    assert (theirs.seen[0], ours.seen[0]) == (0.0, 1.0)  # SB3 forgets its first step, which is random in any case
    assert same(alone, planned)


def test_the_zoos_settings_convert_to_the_same_plan():
    read = tm.convert.from_sb3({"n_timesteps": 5e4, "exploration_fraction": 0.16, "exploration_final_eps": 0.04})
    assert read.clock == "env_steps"
    assert read.resolve()["epsilon"] == over(50_000, epsilon=fall(1.0, 0.04, "16%")).resolve()["epsilon"]


def test_epsilon_driven_by_returns_goes_on_exactly_after_a_load(tmp_path):
    rule = tm.Plateau(metric="ep_len_mean", mode="max", init_value=0.5, factor=0.8, patience=1, threshold=0.0)
    plan = over(400, epsilon=rule * fall(1.0, 0.5))
    model, first = cartpole(), TempomatCallback(plan)
    model.learn(200, callback=first)
    assert first.events  # it has decided something
    model.save(tmp_path / "model")
    loaded: Any = DQN.load(tmp_path / "model", env=model.get_env())
    second, seen = TempomatCallback(plan), Epsilons()
    loaded.learn(100, callback=[second, seen], reset_num_timesteps=False)
    assert seen.seen[0] == first.values["epsilon"] == pytest.approx(first.events[-1]["level"] * 0.75, rel=1e-15, abs=0)
    levels = [one["level"] for one in first.events + second.events]
    assert levels == pytest.approx([0.5 * 0.8**fell for fell in range(1, len(levels) + 1)], rel=1e-12, abs=0)


# sigma


@pytest.mark.parametrize("kind", [TD3, DDPG, SAC])
def test_every_draw_has_the_sigma_of_its_own_count_the_random_actions_at_first_too(kind):
    noise = Drawn()
    plan = over(64, action_noise=fall(0.64))
    noisy(kind, noise).learn(64, callback=TempomatCallback(plan))
    known = plan.resolve()["action_noise"]
    assert noise.sigmas == [(known(at), known(at)) for at in range(64)]


@pytest.mark.parametrize(("kind", "name"), [(TD3, "action_noise"), (TD3, "exploration_noise"), (DDPG, "noise")])
def test_a_constant_sigma_trains_the_same_weights_as_sb3_alone(kind, name):
    alone = noisy(kind, NormalActionNoise(np.zeros(2), 0.1 * np.ones(2))).learn(24)
    planned = noisy(kind).learn(24, callback=TempomatCallback(over(24, **{name: 0.1})))
    assert same(alone, planned)
    assert not same(alone, noisy(kind).learn(24))


def test_sigma_over_correlated_noise_and_over_several_environments():
    correlated = OrnsteinUhlenbeckActionNoise(np.zeros(2), 0.9 * np.ones(2))
    model = noisy(noise=correlated, env=make_vec_env(Reach, 4), train_freq=4)
    model.learn(32, callback=TempomatCallback(over(64, action_noise=fall(0.64))))
    assert isinstance(model.action_noise, VectorizedActionNoise)
    each: list[Any] = [model.action_noise.base_noise, *model.action_noise.noises]
    assert [one._sigma.tolist() for one in each] == [[0.32, 0.32]] * 5


def test_a_number_for_all_actions_is_taken_for_each_and_an_array_of_the_users_stays_as_it_was():
    sigma = np.array([0.5, 0.5])
    noise: Any = NormalActionNoise(np.zeros(2), sigma)
    noisy(noise=noise).learn(16, callback=TempomatCallback(over(64, action_noise=fall(0.64))))
    assert sigma.tolist() == [0.5, 0.5]
    assert noise._sigma.tolist() == [0.48, 0.48]
    plain: Any = NormalActionNoise(np.zeros(2), 1)  # type: ignore[arg-type]
    noisy(noise=plain).learn(16, callback=TempomatCallback(over(64, action_noise=fall(0.64))))
    assert plain._sigma.tolist() == [0.48, 0.48]


def test_one_action_may_have_a_sigma_of_its_own():
    noise = Drawn()
    noisy(noise=noise).learn(4, callback=TempomatCallback(over(4, noise=0.25, noise__1=fall(0.4))))
    assert noise.sigmas == [(0.25, 0.4), (0.25, pytest.approx(0.3)), (0.25, 0.2), (0.25, pytest.approx(0.1))]
    alone = Drawn()
    noisy(noise=alone).learn(2, callback=TempomatCallback(over(2, action_noise__0=0.25)))
    assert alone.sigmas == [(0.25, 0.9)] * 2


def test_sigma_and_the_noise_of_the_target_go_on_exactly_after_a_load(tmp_path):
    noise, plan = Drawn(), over(64, action_noise=fall(0.64), target_policy_noise=fall(0.32), noise_clip=fall(0.5, 0.4))
    model = noisy(noise=noise)
    model.learn(32, callback=TempomatCallback(plan))
    model.save(tmp_path / "model")
    loaded: Any = TD3.load(tmp_path / "model", env=Reach())
    loaded.learn(31, callback=TempomatCallback(plan), reset_num_timesteps=False)
    known = plan.resolve()
    assert loaded.action_noise.sigmas == [(known["action_noise"](at),) * 2 for at in range(63)]
    assert loaded.target_policy_noise == known["target_policy_noise"](63)
    assert loaded.target_noise_clip == known["noise_clip"](63)


def test_sigma_is_logged_as_it_is_at_the_next_action_before_the_first_update_too():
    class Kept(KVWriter):
        def __init__(self):
            self.rows = []

        def write(self, key_values, key_excluded, step=0):
            self.rows.append((step, key_values.get("rollout/action_noise"), key_values.get("rollout/action_noise_1")))

        def close(self):
            pass

    kept, model = Kept(), noisy(learning_starts=20)
    model.set_logger(Logger(None, [kept]))
    plan = over(64, action_noise=fall(0.64), action_noise__1=0.5)
    model.learn(32, callback=TempomatCallback(plan), log_interval=1)
    known = plan.resolve()["action_noise"]
    assert kept.rows == [(at, known(at), 0.5) for at in (8, 16, 24, 32)]


# what is refused


def test_a_model_that_draws_no_noise_is_refused_with_what_to_do():
    found = refusal(noisy(noise=None), over(noise=0.1))
    assert "noise: the model was built without. Build it with action_noise=NormalActionNoise(np.zeros(n), 0.1" in found
    found = refusal(cartpole(), over(action_noise=0.1))
    assert "action_noise: DQN explores by random actions and draws no noise. Schedule epsilon" in found
    on_policy = PPO("MlpPolicy", Reach(), n_steps=16, batch_size=16, device="cpu")
    found = refusal(on_policy, over(action_noise=0.1))
    assert "action_noise: PPO samples its actions from the policy and draws no noise. Schedule ent_coef" in found


def test_noise_of_another_kind_needs_a_target():
    class Own(ActionNoise):
        sigma = 0.9

        def __call__(self):
            return self.sigma * np.ones(2)

    found = refusal(noisy(noise=Own()), over(noise=0.1))
    assert "noise: Own is no noise whose sigma is known here" in found
    assert "targets={'noise': function}" in found
    noise = Own()
    model, callback = (
        noisy(noise=noise),
        TempomatCallback(over(64, noise=fall(0.64)), targets={"noise": lambda value: setattr(noise, "sigma", value)}),
    )
    model.learn(32, callback=callback)
    assert noise.sigma == 0.32


def test_sigmas_that_differ_are_not_levelled_unseen():
    found = refusal(noisy(noise=NormalActionNoise(np.zeros(2), np.array([0.1, 0.5]))), over(action_noise=0.1))
    assert (
        "action_noise: its sigma is [0.1, 0.5], and one entry would level that. Write action_noise[0], action_" in found
    )
    noise = NormalActionNoise(np.zeros(2), np.array([0.1, 0.5]))
    noisy(noise=noise).learn(8, callback=TempomatCallback(over(8, action_noise=0.2, action_noise__1=0.3)))
    assert noise._sigma.tolist() == [0.2, 0.3]
    several = VectorizedActionNoise(NormalActionNoise(np.zeros(1), np.ones(1)), 2)
    several.noises = [NormalActionNoise(np.zeros(1), sigma * np.ones(1)) for sigma in (0.1, 0.2)]
    found = refusal(noisy(noise=several), over(action_noise=0.1))
    assert "its sigma is [0.1, 0.2, 1.0], and one entry would level that. Build it with one number for all" in found


def test_a_component_that_is_not_there_and_a_place_named_twice_are_refused():
    outside = tm.Plan({"action_noise[2]": 0.1}, clock="env_steps", total=64)
    assert "action_noise[2]: the noise has 2 components: action_noise[0], action_noise[1]" in refusal(noisy(), outside)
    found = refusal(noisy(), over(noise=0.1, noise__0=0.1, noise__1=0.1))
    assert "noise: every action has an entry of its own: action_noise[0], action_noise[1]. Remove this one" in found
    found = refusal(noisy(), over(noise=0.1, action_noise=0.2))
    assert "action_noise: is the same as noise. One writer per value: remove one" in found
    assert "exploration_rate: is the same as epsilon" in refusal(cartpole(), over(epsilon=0.1, exploration_rate=0.2))


def test_target_noise_that_ddpg_would_cut_to_nothing_is_refused():
    found = refusal(noisy(DDPG), over(target_policy_noise=0.1))
    assert "target_policy_noise: this DDPG cuts its target noise to nothing, target_noise_clip=0.0" in found
    both = over(64, target_policy_noise=0.1, noise_clip=0.2)
    model = noisy(DDPG).learn(16, callback=TempomatCallback(both))
    assert (model.target_policy_noise, model.target_noise_clip) == (0.1, 0.2)


@pytest.mark.parametrize("component", [0, 1])
@pytest.mark.parametrize("foreign", [0.7, float("nan")])
def test_a_sigma_that_somebody_else_writes_is_noticed(component, foreign):
    class Other(BaseCallback):
        model: Any

        def _on_step(self):
            self.model.action_noise._sigma[component] = foreign
            return True

    with pytest.raises(BindingError, match=rf"action_noise: somebody else wrote {foreign}; the plan had written 0\.5"):
        noisy().learn(32, callback=[TempomatCallback(over(action_noise=0.5)), Other()])


def test_noise_that_somebody_else_takes_away_is_noticed():
    class Other(BaseCallback):
        model: Any

        def _on_step(self):
            self.model.action_noise = None
            return True

    with pytest.raises(BindingError, match="action_noise: somebody else wrote nan"):
        noisy().learn(32, callback=[TempomatCallback(over(action_noise=0.5)), Other()])


@pytest.mark.parametrize(
    ("name", "bad"),
    [("action_noise", -0.1), ("exploration_noise", -0.1), ("target_policy_noise", -0.1), ("exploration_rate", 1.1)],
)
def test_the_names_are_known_before_training_and_a_value_outside_their_range_is_refused(name, bad):
    assert not tm.lint(over(64, **{name: 0.1}))
    assert entry_name(name).range.holds(0.1)
    model = cartpole() if name == "exploration_rate" else noisy()
    callback = TempomatCallback(over(64, **{name: fall(0.1, bad, 8)}))
    with pytest.raises(BindingError, match=rf"{name} comes to "):
        model.learn(16, callback=callback)


# the examples, shortened


def test_the_example_of_dqn_ends_its_exploration_where_its_plan_does():
    module, small = example("hosts/sb3_dqn_cartpole.py"), {"learning_starts": 100, "policy_kwargs": {"net_arch": [8]}}
    done = module.main(600, **small)
    assert done["model"].exploration_rate == done["callback"].values["epsilon"] == 0.04
    assert done["model"]._n_updates == 3 * 128  # a burst after every 256 steps
    assert module.COSINE.resolve(total=1000)["epsilon"](160) == pytest.approx(0.52, rel=1e-15, abs=0)


def test_the_example_of_td3_moves_the_noise_of_actions_and_of_targets():
    small = {"learning_starts": 200, "policy_kwargs": {"net_arch": [8]}}
    done = example("hosts/sb3_td3_pendulum.py").main(400, **small)
    assert done["model"].action_noise._sigma.tolist() == [0.05]
    assert done["callback"].values == {"action_noise": 0.05, "target_policy_noise": 0.1}
    assert done["model"]._n_updates == 200
