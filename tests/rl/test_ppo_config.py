"""The configuration of a run of PPO: presets, shapes, clocks, and words for mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tempomat as tm
from tempomat.core import MissingExtra
from tempomat_rl.ppo.config import ConfigError, compose
from tempomat_rl.ppo.entries import ENTRIES, METRICS, REQUIRED
from tempomat_rl.ppo.options import NetworkSettings, UpdateSettings
from tempomat_rl.ppo.settings import CFGS, SETTINGS, presets
from tempomat_rl.ppo.startup import findings, lines
from tempomat_rl.ppo.steering import WHOLE, Steering

ROOT = Path(__file__).parents[2]
CARTPOLE = compose([])


def test_cartpole_has_the_published_settings_by_default():
    plan = CARTPOLE.plan
    assert CARTPOLE.preset == "CartPole-v1"
    assert CARTPOLE.total_env_steps == 100_000
    assert plan["lr"] == tm.Linear(init_value=1e-3, end_value=0.0, duration=100_000)
    assert [plan[name](0) for name in ("num_envs", "rollout_length", "minibatch_size", "epochs_per_batch")] == [
        8, 32, 256, 20,
    ]  # fmt: skip
    assert [plan[name](0) for name in ("gamma", "gae_lambda", "clip_range")] == [0.98, 0.8, 0.2]
    assert plan["clip_range"](50_000) == pytest.approx(0.1, rel=1e-5, abs=0)
    assert not CARTPOLE.normalize_observation


@pytest.mark.parametrize("name", presets())
def test_every_preset_composes_and_the_linter_finds_nothing_wrong(name):
    config = compose([f"preset={name}"])
    assert set(REQUIRED) <= config.plan.schedules.keys() <= set(ENTRIES)
    assert not [one for one in findings(config) if one.severity == "error"]


@pytest.mark.parametrize("name", [one for one in presets() if one != "default"])
def test_an_environment_finds_its_own_preset(name):
    assert compose([f"env={name}"]).preset == name


def test_an_environment_without_published_settings_is_told_which_it_gets():
    config = compose(["env=Blackjack-v1"])
    assert config.preset == "default"
    assert any("no published settings" in line for line in lines(config))


def test_the_file_of_settings_names_all_there_are():
    written = yaml.safe_load((CFGS / "config.yaml").read_text())
    assert written.keys() - {"defaults", "hydra"} == set(SETTINGS)
    assert set(written["network"]) == set(NetworkSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        ("lr=3e-4", tm.Constant(value=3e-4)),
        ("lr=lin_0.01", tm.Linear(init_value=0.01, end_value=0.0, duration=100_000)),
        ("lr=linear(1e-3,1e-5)", tm.Linear(init_value=1e-3, end_value=1e-5, duration=100_000)),
        ("lr=linear(1e-3, 1e-5, 50%)", tm.Linear(init_value=1e-3, end_value=1e-5, duration=50_000)),
        ("lr=cosine(1e-3,0)", tm.Cosine(init_value=1e-3, end_value=0.0, duration=100_000)),
        ("lr=kl_adaptive(1e-3,0.02)", tm.KLAdaptive(metric="approx_kl", target=0.02, init_value=1e-3)),
        ("lr_schedule=constant", tm.Constant(value=1e-3)),
        ("lr_schedule=cosine", tm.Cosine(init_value=1e-3, end_value=0.0, duration=100_000)),
        ("lr_schedule=kl_adaptive", tm.KLAdaptive(metric="approx_kl", target=0.01, init_value=1e-3)),
        (
            "lr={type: linear, init_value: 1, end_value: 0, duration: 7}",
            tm.Linear(init_value=1.0, end_value=0.0, duration=7),
        ),
    ],
)
def test_a_rate_is_written_as_a_number_a_line_a_shape_or_a_schedule(written, entry):
    assert compose([written]).plan["lr"] == entry


def test_a_shape_begins_at_the_value_that_is_given():
    assert compose(["lr=0.5", "lr_schedule=linear"]).plan["lr"](50_000) == 0.25
    assert compose(["clip_range_schedule=constant"]).plan["clip_range"] == tm.Constant(value=0.2)
    warm = compose(["lr_schedule=warmup_linear"]).plan["lr"]
    assert [warm(0), warm(5_000), warm(100_000)] == [0.0, 1e-3, 0.0]


def test_none_leaves_an_entry_out_and_networks_can_have_rates_of_their_own():
    plan = compose(["grad_clip=none", "policy.lr=1e-3", "value.lr=2e-3"]).plan
    assert "grad_clip" not in plan.schedules
    assert "lr" not in plan.schedules
    steering = Steering(plan)
    settings = steering.learning()
    assert isinstance(settings, UpdateSettings)
    assert (settings.policy_lr, settings.value_lr, settings.max_grad_norm) == (1e-3, 2e-3, None)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["lr=3x", "clip_range=-1", "gamma=1.5", "seed=-1"],
            ["lr: must be a number", "clip_range: comes to -1", "gamma: comes to 1.5", "seed: must be"],
        ),
        (["lr=exp(1,2)"], ["lr: no shape exp"]),
        (["lr=linear(1)"], ["lr: linear(init_value, end_value, duration) takes 2 to 3 values, got 1"]),
        (["lr_schedule=cosin"], ["lr_schedule: no shape 'cosin'. Did you mean cosine?"]),
        (["clip_range_schedule=kl_adaptive"], ["clip_range_schedule: no shape 'kl_adaptive'"]),
        (["lr=kl_adaptive(1e-3,0.01)", "lr_schedule=cosine"], ["lr_schedule: lr has no value of its own"]),
        (
            ["lr={type: kl_adaptive, target: 0.01, metric: kl, init_value: 1e-3}"],
            ["lr: nothing measures kl.", *METRICS],
        ),
        (["preset=Pendulum"], ["Did you mean Pendulum-v1?"]),
        (["presets=CartPole-v1"], ["write preset=CartPole-v1"]),
        (["lerning_rate=1"], ["lerning_rate: no setting of that name"]),
        (["network.kind=numpy"], ["network.kind: must be one of auto, fast, torch"]),
        (["network={kinds: fast}"], ["network.kinds: no setting of that name. Did you mean kind?"]),
        (["policy={rate: 1}"], ["policy.rate: no setting of that name"]),
        (["eval_every=0"], ["eval_every: must be from 1"]),
        (["log_every=often"], ["log_every"]),
        (["rollout=rays"], ["rollout: must be local, process, ray, got 'rays'. Did you mean ray?"]),
        (["overlap=true"], ["overlap: needs workers that act meanwhile. Give rollout=process or rollout=ray"]),
        (["num_workers=0"], ["num_workers: must be from 1"]),
        (["worker_timeout=0"], ["worker_timeout: must be above 0"]),
        (["when_too_old=drop"], ["when_too_old: must be correct, refuse, got 'drop'"]),
        (["max_policy_age=-1"], ["max_policy_age: comes to -1"]),
        (["num_envs=0"], ["num_envs: comes to 0 at count 0, and must be at least 1"]),
        (["clip_range=linear(0.2,-0.2)"], ["clip_range: comes to 0 at count 50000, and must be above 0"]),
        (["observation_noise=-1"], ["observation_noise: comes to -1"]),
    ],
)
def test_a_mistake_is_explained_with_its_place(overrides, words):
    with pytest.raises(ConfigError, match=r".") as caught:
        compose(overrides)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_counts_are_applied_whole_and_rates_as_they_are():
    plan = tm.Plan(
        {**CARTPOLE.plan.schedules, "rollout_length": tm.Linear(init_value=8, end_value=16, duration=100)},
        total=100_000,
        clock="env_steps",
    ).resolve()
    steering = Steering(plan)
    steering.advance(env_steps=49, episodes=0)
    assert steering.asked["rollout_length"] == pytest.approx(11.92, rel=1e-12, abs=0)
    assert steering.values["rollout_length"] == steering.count("rollout_length", 0) == 11
    assert steering.values["lr"] == steering.asked["lr"]
    assert {type(steering.values[name]) for name in WHOLE if name in plan.schedules} == {int}


def test_optimizer_steps_are_counted_whether_an_entry_follows_them_or_not():
    for shape in ({}, {"lr": tm.on("optimizer_steps", tm.Linear(init_value=1.0, end_value=0.0, duration=100))}):
        plan = tm.Plan({**CARTPOLE.plan.schedules, **shape}, total=100_000, clock="env_steps").resolve()
        steering = Steering(plan)
        for _ in range(3):
            steering.advance(env_steps=10, episodes=1)
            steering.learning()
            steering.learned(7)
        assert steering.counts == {"env_steps": 30, "optimizer_steps": 21, "episodes": 3}
        assert steering.state_dict()["counts"]["optimizer_steps"] == 21


def test_values_within_a_batch_follow_the_steps_of_a_learner_that_counts_from_elsewhere():
    shape = {"lr": tm.on("optimizer_steps", tm.Linear(init_value=1.0, end_value=0.0, duration=100))}
    steering = Steering(tm.Plan({**CARTPOLE.plan.schedules, **shape}, total=100_000, clock="env_steps").resolve())
    for batch in range(2):
        settings = steering.learning()
        assert callable(settings)
        rates = [settings(1_000 + 10 * batch + step).policy_lr for step in range(11)]
        steering.learned(10)
        assert rates == pytest.approx([1 - (10 * batch + step) / 100 for step in range(11)], rel=1e-12, abs=0)
    assert steering.counts["optimizer_steps"] == 20


def test_the_command_line_trains_and_a_second_call_finds_the_run_finished(tmp_path):
    program = str(ROOT / "train_ppo.py")
    words = ["env=CartPole-v1", "total_env_steps=512", "num_final_episodes=2", f"checkpoint_dir={tmp_path}"]
    told = [
        subprocess.run(
            [sys.executable, program, *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "lr                0.001 to 0, linear" in told[0]
    assert "finished: return" in told[0]
    assert "this run is finished already, at env step" in told[1]


def test_a_missing_hydra_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tempomat\[rl\]'"):
        compose([])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rollout=process", "num_workers=5", "num_envs=2"], True),
        (["rollout=process", "num_workers=2", "num_envs=2"], False),
        (["num_workers=5", "num_envs=2"], False),
        (["rollout=process", "num_workers=5", "num_envs=linear(2,8)"], False),
    ],
)
def test_workers_that_never_have_an_environment_are_told_of(overrides, said):
    told = [line for line in lines(compose(overrides)) if "have no environment" in line]
    assert told == (["  note: 3 of 5 workers have no environment: num_envs is 2"] if said else [])
