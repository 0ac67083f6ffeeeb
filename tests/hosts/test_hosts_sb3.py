"""Stable-Baselines3: the examples for real; PPO, A2C, DQN, SAC and TD3 under plans; saved, loaded and gone on with."""

import importlib
import importlib.util
import json
import sys
import zipfile
from typing import Any

import gymnasium
import pytest
from loading import example

pytest.importorskip("stable_baselines3")

import torch
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import KVWriter, Logger

import tempomat as tm
from tempomat.core import BindingError, MissingExtra, StateError
from tempomat.integrations.sb3 import TempomatCallback


class Toy(gymnasium.Env):
    """Two numbers in, a choice or a number out; an episode has eight steps, and its reward is 1 a step."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, continuous=False):
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,)) if continuous else gymnasium.spaces.Discrete(2)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample() * 0, 1.0, self.steps == 8, False, {}


def build(kind, **options):
    sizes = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [4]}}
    if kind in (PPO, A2C):
        sizes |= {"n_steps": 16} | ({"batch_size": 16, "n_epochs": 2} if kind is PPO else {})
    else:
        sizes |= {"learning_starts": 4, "batch_size": 4, "buffer_size": 100}
    return kind("MlpPolicy", Toy(continuous=kind in (SAC, TD3)), **(sizes | options))


class Updates(BaseCallback):
    """What the optimizers and the model hold at each gradient step, with the count of env steps."""

    model: Any  # any of the algorithms

    def __init__(self, *attributes):
        super().__init__()
        self.attributes, self.rows = attributes, []

    def _on_training_start(self):
        model = self.model
        self.named = (
            {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
            if hasattr(model, "actor")
            else {"policy": model.policy.optimizer}
        )
        if getattr(model, "ent_coef_optimizer", None) is not None:
            self.named["ent_coef"] = model.ent_coef_optimizer
        for name, one in self.named.items():
            one.register_step_pre_hook(lambda *_, name=name: self.note(name))

    def note(self, name):
        row = {"at": self.model.num_timesteps, "name": name, "lr": self.named[name].param_groups[0]["lr"]}
        for attribute in self.attributes:
            value = getattr(self.model, attribute)
            row[attribute] = value(0.5) if callable(value) else value
        self.rows.append(row)

    def _on_step(self):
        return True


class Rows(KVWriter):
    """A logger's output, kept."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append({"at": step} | key_values)

    def close(self):
        pass


def logged(model):
    rows = Rows()
    model.set_logger(Logger(None, [rows]))
    return rows.rows


def line(high, low=0.0, length: int | str = "100%"):
    return tm.Linear(init_value=high, end_value=low, duration=length)


def plan(total=64, /, **entries):
    return tm.Plan({name.replace("__", "."): one for name, one in entries.items()}, clock="env_steps", total=total)


def test_the_cartpole_example_learns_and_ends_where_its_plan_ends():
    done = example("hosts/sb3_cartpole.py").main()
    rewards = [one["r"] for one in done["model"].ep_info_buffer]
    assert sum(rewards) / len(rewards) > 40  # chance gets about 20
    assert done["callback"].counts == {"env_steps": 4096}
    values = done["callback"].values
    assert (values["ent_coef"], values["clip_range"], values["target_kl"]) == (0.0, 0.1, 0.05)


def test_the_pendulum_example_moves_both_rates_and_tau():
    done = example("hosts/sb3_sac_pendulum.py").main()
    model, values = done["model"], done["callback"].values
    assert model.actor.optimizer.param_groups[0]["lr"] == values["actor.lr"] == 1e-4
    assert model.critic.optimizer.param_groups[0]["lr"] == values["critic.lr"] == 3e-4
    assert model.ent_coef_optimizer.param_groups[0]["lr"] == 1e-3
    assert model.tau == values["tau"] == 0.005


def test_every_update_of_ppo_has_the_values_of_its_own_count_of_env_steps():
    entries = plan(lr=line(0.64), ent_coef=line(0.064), clip_range=line(0.32, 0.1), clip_range_vf=line(0.5, 0.1))
    model, seen = build(PPO), Updates("ent_coef", "clip_range", "clip_range_vf")
    model.learn(64, callback=[TempomatCallback(entries), seen])
    assert [row["at"] for row in seen.rows] == [at for at in (16, 32, 48, 64) for _ in range(2)]
    known = entries.resolve()
    for row in seen.rows:
        for name in ("lr", "ent_coef", "clip_range", "clip_range_vf"):
            assert row[name] == known[name](row["at"])


def test_several_environments_count_each_of_their_steps():
    from stable_baselines3.common.env_util import make_vec_env

    model = PPO("MlpPolicy", make_vec_env(Toy, 4), n_steps=8, batch_size=32, n_epochs=1, device="cpu")
    seen = Updates()
    model.learn(64, callback=[TempomatCallback(plan(lr=line(0.64))), seen])
    assert [(row["at"], row["lr"]) for row in seen.rows] == [(32, 0.32), (64, 0.0)]


def test_the_entropy_and_value_coefficients_of_a2c_follow_the_plan_under_tempomats_names_too():
    entries = plan(
        entropy_coef=line(0.64), value_coef=line(1.0, 0.5), grad_clip=line(1.0, 0.5), gae_lambda=line(1.0, 0.9)
    )
    model, seen = build(A2C), Updates("ent_coef", "vf_coef", "max_grad_norm")
    model.learn(64, callback=[TempomatCallback(entries), seen])
    known = entries.resolve()
    for row in seen.rows:
        assert row["ent_coef"] == known["entropy_coef"](row["at"])
        assert row["vf_coef"] == known["value_coef"](row["at"])
        assert row["max_grad_norm"] == known["grad_clip"](row["at"])
    assert len(seen.rows) == 4
    assert model.gae_lambda == model.rollout_buffer.gae_lambda == 0.9


def test_epsilon_of_dqn_is_the_plans_at_every_step_from_the_first_on():
    model, rows = build(DQN), []
    known = plan(epsilon=tm.Cosine(init_value=1.0, end_value=0.1, duration=32)).resolve()

    class Watch(BaseCallback):
        model: Any

        def _on_rollout_start(self):
            rows.append((self.model.num_timesteps, self.model.exploration_rate))

        def _on_step(self):
            return True

    written = logged(model)
    model.learn(64, callback=[TempomatCallback(known), Watch()], log_interval=1)
    assert rows[0] == (0, 1.0)  # SB3 would begin with 0
    assert rows == [(at, known["epsilon"](at)) for at in range(0, 64, 4)]
    assert [row["rollout/exploration_rate"] for row in written] == [known["epsilon"](at) for at in range(8, 65, 8)]


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_actor_and_critic_have_learning_rates_of_their_own(kind):
    entries = plan(actor__lr=line(0.0064), critic__lr=line(0.064))
    model, seen = build(kind), Updates()
    model.learn(64, callback=[TempomatCallback(entries), seen])
    known = entries.resolve()
    for name in ("actor", "critic"):
        rows = [row for row in seen.rows if row["name"] == name]
        assert len(rows) > 20
        assert [row["lr"] for row in rows] == [known[f"{name}.lr"](row["at"]) for row in rows]
    assert {row["lr"] for row in seen.rows if row["name"] == "ent_coef"} <= {3e-4}  # SB3's own, as the plan leaves it


def test_a_general_lr_is_for_the_optimizers_that_no_entry_of_its_own_names():
    entries = plan(critic__lr=line(0.064), lr=line(0.0064))
    model, seen = build(SAC), Updates()
    model.learn(32, callback=[TempomatCallback(entries), seen])
    last = {row["name"]: row["lr"] for row in seen.rows}
    at = seen.rows[-1]["at"]
    known = entries.resolve()
    assert last == {"actor": known["lr"](at), "ent_coef": known["lr"](at), "critic": known["critic.lr"](at)}


def test_a_critic_alone_under_a_plan_leaves_the_actor_to_sb3():
    model, seen = build(TD3, learning_rate=0.5), Updates()
    model.learn(32, callback=[TempomatCallback(plan(critic__lr=line(0.064))), seen])
    assert {row["lr"] for row in seen.rows if row["name"] == "actor"} == {0.5}


def test_the_temperature_of_sac_is_scheduled_where_it_is_a_number():
    model = build(SAC, ent_coef=0.5)
    model.learn(32, callback=TempomatCallback(plan(ent_coef=line(0.64))))
    assert model.ent_coef_tensor.item() == pytest.approx(0.32, rel=1e-7, abs=0)  # SB3 keeps it in float32
    with pytest.raises(BindingError, match=r"SAC learns its entropy coefficient here\. Build it with ent_coef=0\.1"):
        build(SAC).learn(32, callback=TempomatCallback(plan(ent_coef=line(0.64))))


def test_values_are_logged_under_sb3s_names_as_they_were_applied():
    model = build(PPO)
    rows = logged(model)
    model.learn(64, callback=TempomatCallback(plan(lr=line(0.64), ent_coef=line(0.064), clip_range=line(0.32, 0.1))))
    assert [row["at"] for row in rows] == [16, 32, 48, 64]
    known = plan(lr=line(0.64), ent_coef=line(0.064), clip_range=line(0.32, 0.1)).resolve()
    for row in rows[1:]:  # SB3 writes an update's values with the rollout after it
        trained = row["at"] - 16
        assert row["train/learning_rate"] == known["lr"](trained)
        assert row["train/ent_coef"] == known["ent_coef"](trained)
        assert row["train/clip_range"] == known["clip_range"](trained)
    actor = build(SAC)
    rows = logged(actor)
    actor.learn(64, callback=TempomatCallback(plan(actor__lr=0.25, critic__lr=0.5)), log_interval=1)
    assert (rows[-1]["train/actor_learning_rate"], rows[-1]["train/critic_learning_rate"]) == (0.25, 0.5)


def test_going_on_without_a_reset_never_jumps_and_equals_a_plan_read_straight_through(tmp_path):
    """hosts of SB3 report: progress restarts with each `learn`, so rates rise again."""
    entries = plan(64, lr=line(0.64), ent_coef=line(0.064))
    model, seen = build(PPO), Updates("ent_coef")
    model.learn(32, callback=[TempomatCallback(entries), seen])
    model.save(tmp_path / "model")
    loaded, later = PPO.load(tmp_path / "model", env=Toy()), Updates("ent_coef")
    loaded.learn(32, callback=[TempomatCallback(entries), later], reset_num_timesteps=False)
    known = entries.resolve()
    rows = [row for row in seen.rows + later.rows if row["name"] == "policy"]
    assert [row["at"] for row in rows][::2] == [16, 32, 48, 64]
    assert [row["lr"] for row in rows] == [known["lr"](row["at"]) for row in rows]
    assert [row["ent_coef"] for row in rows] == [known["ent_coef"](row["at"]) for row in rows]


def test_a_plan_without_a_total_keeps_its_lengths_when_the_run_is_lengthened():
    entries = tm.Plan({"lr": line(0.64, 0.064)}, clock="env_steps")
    model, seen = build(PPO), Updates()
    model.learn(32, callback=[TempomatCallback(entries), seen])
    model.learn(32, callback=TempomatCallback(entries), reset_num_timesteps=False)
    assert [row["lr"] for row in seen.rows][-2:] == [0.064, 0.064]
    replaced = TempomatCallback(entries, on_change="replace")
    model.learn(64, callback=replaced, reset_num_timesteps=False)
    assert replaced.engine.plan.total == 128
    with pytest.raises(BindingError, match="on_change='stretch' would move the count"):
        TempomatCallback(entries, on_change="stretch")


def test_controllers_hear_what_sb3_measures_and_their_states_are_saved_with_the_model(tmp_path):
    falls = tm.Plateau(metric="ep_rew_mean", mode="max", init_value=0.4, factor=0.5, patience=0)
    rises = tm.Plateau(metric="n_updates", mode="max", init_value=0.1, factor=0.5, patience=0)
    entries = plan(256, lr=falls, ent_coef=rises)
    straight = TempomatCallback(entries)
    build(PPO).learn(128, callback=straight)
    model, first = build(PPO), TempomatCallback(entries)
    model.learn(64, callback=first)
    model.save(tmp_path / "model")
    second = TempomatCallback(entries)
    loaded = PPO.load(tmp_path / "model", env=Toy())
    loaded.learn(64, callback=second, reset_num_timesteps=False)
    decisions = [(one["counts"]["env_steps"], one["level"]) for one in straight.events]
    assert decisions[0] == (32, 0.2)
    assert [(one["counts"]["env_steps"], one["level"]) for one in first.events + second.events] == decisions
    states = [{name: track.states for name, track in one.engine.tracks.items()} for one in (straight, second)]
    assert states[0] == states[1]
    assert not [one for one in straight.events if one["entry"] == "ent_coef"]  # each update was heard of once


def test_each_update_is_heard_of_once_the_last_of_a_run_included():
    entries = plan(64, ent_coef=tm.Plateau(metric="n_updates", mode="min", init_value=0.1, factor=0.5, patience=0))
    model, first, second = build(PPO), TempomatCallback(entries), TempomatCallback(entries)
    logged(model)
    model.learn(32, callback=first)
    model.learn(32, callback=second, reset_num_timesteps=False)
    assert [one["observation"] for one in first.events + second.events] == [4.0, 6.0, 8.0]


def test_off_policy_controllers_hear_of_each_episode():
    entries = plan(64, tau=tm.Plateau(metric="ep_rew_mean", mode="max", init_value=0.4, factor=0.5, patience=0))
    callback = TempomatCallback(entries)
    build(DQN).learn(32, callback=callback)
    assert [one["counts"]["env_steps"] for one in callback.events] == [24, 32]


def test_a_run_that_was_broken_off_no_longer_writes_in_the_next():
    class Stop(BaseCallback):
        def _on_rollout_end(self):
            raise KeyboardInterrupt("stopped")

        def _on_step(self):
            return True

    model = build(PPO)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        model.learn(32, callback=[TempomatCallback(plan(weight_decay=0.5)), Stop()])
    model.policy.optimizer.param_groups[0]["weight_decay"] = 0.0
    model.learn(32, callback=TempomatCallback(plan(lr=0.1)))
    assert model.policy.optimizer.param_groups[0]["weight_decay"] == 0.0


def test_a_metric_that_nothing_measures_is_told_of_at_the_end():
    callback = TempomatCallback(plan(lr=tm.Plateau(metric="kl", init_value=0.1, factor=0.5, patience=1)))
    with pytest.warns(UserWarning, match=r"listens to kl, and nothing has measured it.*approx_kl"):
        build(PPO).learn(32, callback=callback)


def test_other_measurements_go_through_observe():
    callback = TempomatCallback(plan(lr=tm.Plateau(metric="score", mode="max", init_value=0.4, factor=0.5, patience=0)))

    class Score(BaseCallback):
        def _on_rollout_end(self):
            callback.observe(score=1.0)

        def _on_step(self):
            return True

    model = build(PPO)
    model.learn(64, callback=CallbackList([callback, Score()]))
    assert [one["level"] for one in callback.events] == [0.2, 0.1, 0.05]
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.05


def test_nothing_of_tempomats_is_pickled_into_the_saved_model(tmp_path):
    model = build(PPO)
    model.learn(32, callback=TempomatCallback(plan(lr=line(0.64), clip_range=line(0.3, 0.1), ent_coef=line(0.1))))
    model.save(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        data = json.loads(archive.read("data"))
    assert ":serialized:" not in data["tempomat_state"]
    assert not any("tempomat" in str(value) for key, value in data.items() if key != "tempomat_state")
    loaded: Any = PPO.load(tmp_path / "model")
    assert loaded.tempomat_state["counts"] == {"env_steps": 32}


def test_episodes_count_too():
    entries = plan(lr=tm.on("episodes", tm.Linear(init_value=0.8, end_value=0.0, duration=8)))
    model, callback, seen = build(PPO), TempomatCallback(entries), Updates()
    model.learn(64, callback=[callback, seen])
    assert callback.counts == {"env_steps": 64, "episodes": 8}
    assert [row["lr"] for row in seen.rows][::2] == [entries["lr"].schedule(t) for t in (2, 4, 6, 8)]


def test_a_saved_state_of_another_plan_is_refused():
    model = build(PPO)
    model.learn(32, callback=TempomatCallback(plan(lr=line(0.64))))
    with pytest.raises(StateError, match="the plan has changed since the state was saved"):
        model.learn(32, callback=TempomatCallback(plan(lr=line(0.32))), reset_num_timesteps=False)
    model.learn(32, callback=TempomatCallback(plan(lr=line(0.32))))  # from 0 it is a new run


def test_all_entries_without_a_place_are_named_at_once_with_their_neighbours():
    with pytest.raises(BindingError, match="the plan does not fit this A2C: 3 faults") as caught:
        build(A2C).learn(16, callback=TempomatCallback(plan(clip_range=0.2, ent_coeff=0.1, critic__lr=0.1)))
    message = str(caught.value)
    assert "critic.lr: no param group is named 'critic'. Groups: policy" in message
    assert "ent_coeff: the model has no 'ent_coeff'. Did you mean ent_coef?" in message
    assert "clip_range: the model has no 'clip_range'." in message


def test_an_entry_of_no_place_goes_to_its_target():
    got = []
    callback = TempomatCallback(plan(shaping=line(0.64)), targets={"shaping": got.append})
    build(PPO).learn(32, callback=callback)
    assert got == [0.64, 0.48, 0.32]


def test_a_fraction_of_an_epoch_is_refused_and_whole_numbers_are_integers():
    model = build(PPO)
    model.learn(32, callback=TempomatCallback(plan(n_epochs=line(5.0, 1.0, 32).floor_to(1))))
    assert model.n_epochs == 1
    assert isinstance(model.n_epochs, int)
    with pytest.raises(BindingError, match=r"n_epochs comes to 4\.0625, and SB3 takes whole numbers"):
        build(PPO).learn(32, callback=TempomatCallback(plan(n_epochs=line(5.0, 1.25))))


def test_a_schedule_that_the_model_was_built_with_is_a_second_writer():
    with pytest.raises(BindingError, match="lr: the model was built with a schedule of its own"):
        build(PPO, learning_rate=lambda left: left).learn(16, callback=TempomatCallback(plan(lr=0.1)))
    with pytest.raises(BindingError, match="clip_range: the model was built with a schedule of its own"):
        build(PPO, clip_range=lambda left: left).learn(16, callback=TempomatCallback(plan(clip_range=0.1)))


def test_a_value_that_somebody_else_writes_is_noticed():
    class Other(BaseCallback):
        model: Any

        def _on_step(self):
            setattr(self.model, "ent_coef" if hasattr(self.model, "ent_coef") else "tau", 0.7)
            return True

    with pytest.raises(BindingError, match=r"ent_coef: somebody else wrote 0\.7; the plan had written 0\.5"):
        build(PPO).learn(32, callback=[TempomatCallback(plan(ent_coef=0.5)), Other()])
    with pytest.raises(BindingError, match=r"ent_coef: somebody else wrote 0\.7; the plan had written 1\.0"):
        build(PPO).learn(32, callback=[TempomatCallback(plan(ent_coef=line(1.0))), Other()])
    with pytest.raises(BindingError, match=r"tau: somebody else wrote 0\.7; the plan had written 0\.984375"):
        build(DQN).learn(32, callback=[TempomatCallback(plan(tau=line(1.0))), Other()])


def test_two_callbacks_in_one_run_are_refused_and_one_after_another_is_not():
    model = build(PPO)
    with pytest.raises(BindingError, match="two TempomatCallbacks in one run"):
        model.learn(16, callback=[TempomatCallback(plan(lr=0.1)), TempomatCallback(plan(ent_coef=0.1))])
    model.learn(16, callback=TempomatCallback(plan(lr=0.25)))
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.25


def test_a_plan_on_another_clock_is_refused_with_the_fix():
    with pytest.raises(BindingError, match=r"SB3 counts env_steps, the plan's clock is optimizer_steps\. Write Plan\("):
        TempomatCallback(tm.Plan({"lr": 0.1}))
    with pytest.raises(BindingError, match="SB3 counts env_steps and episodes, not epochs"):
        build(PPO).learn(16, callback=TempomatCallback(plan(lr=tm.on("epochs", line(1.0, 0.0, 4)))))


def test_training_is_bit_for_bit_what_sb3_does_by_itself_under_the_same_numbers():
    constant = plan(lr=3e-4, clip_range=0.2, ent_coef=0.0, vf_coef=0.5)
    ours = build(PPO).learn(64, callback=TempomatCallback(constant))
    theirs = build(PPO).learn(64)
    for one, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.base_class", None)
    monkeypatch.delitem(sys.modules, "tempomat.integrations.sb3")
    with pytest.raises(MissingExtra, match="pip install stable-baselines3"):
        importlib.import_module("tempomat.integrations.sb3")
