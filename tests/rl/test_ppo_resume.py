"""Whole runs of PPO, small: what they leave behind, and how they go on."""

import json
from typing import Any

import numpy as np
import pytest
from rl.runs import TINY_PPO, never, plain, table

from tempomat.core import StateError
from tempomat.runs import read_run
from tempomat_rl.checkpoint import Checkpoints
from tempomat_rl.ppo.config import compose
from tempomat_rl.ppo.train import Training, train

SMALL = [
    *TINY_PPO,
    "eval_every=250",
    "log_every=100",
    "save_every=200",
    "num_eval_episodes=2",
    "num_final_episodes=3",
]
KINDS = {
    "arrays": ["env=CartPole-v1"],
    "separate": ["env=CartPole-v1", "vectorize=false", "observation_noise=0.1"],
    "continuous": ["env=Pendulum-v1", "lr=kl_adaptive(3e-4, 0.01)"],
    "normalized": ["env=Acrobot-v1", "normalize_observation=true", "normalize_reward=true"],
    "torch": ["env=CartPole-v1", "network.kind=torch", "target_kl=0.001"],
    "landing": ["env=GimbalLanding-v0"],
    "changing": [
        "env=CartPole-v1",
        "num_envs={type: piecewise_constant, values: [2, 4, 3], boundaries: [100, 300]}",
        "rollout_length={type: linear, init_value: 8, end_value: 24, duration: 100%}",
        "lr={type: on, unit: optimizer_steps, schedule: {type: linear, init_value: 1e-3, end_value: 0, duration: 40}}",
        "policy_refresh=2",
    ],
}


def config(folder, *more):
    return compose([*SMALL, f"checkpoint_dir={folder}", *more])


def numbers(training):
    """All that the rest of a run depends on, without the times of day and the record's own marks."""
    state = training.state_dict()
    names = ("steering", "learner", "source", "rng", "evaluate", "keep", "write", "batches", "episodes", "refused")
    sums = {name: state["log"][name] for name in ("sums", "returns", "lengths", "successes")}
    return plain({name: state[name] for name in names} | sums)


def rows(folder):
    """What was recorded, without times."""
    timed = ("second",)
    lines = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    return [
        {
            key: {name: one for name, one in value.items() if not any(word in name for word in timed)}
            if key == "measured"
            else value
            for key, value in line.items()
            if key != "time"
        }
        for line in lines
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_interrupted_goes_on_with_the_same_numbers(kind, tmp_path):
    whole = Training(config(tmp_path / "whole", *KINDS[kind]))
    whole.run(never)
    expected = numbers(whole)
    whole.close()
    for stop in (150, 350):
        training = Training(config(tmp_path / "parts", *KINDS[kind]))
        assert not training.run(lambda one=training, at=stop: one.env_steps >= at).finished
        training.close()
    last = Training(config(tmp_path / "parts", *KINDS[kind]))
    assert last.run(never).finished
    found = numbers(last)
    last.close()
    assert found == expected
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_run_that_was_killed_does_again_what_came_after_its_checkpoint(tmp_path):
    whole = Training(config(tmp_path / "whole"))
    whole.run(never)
    killed = Training(config(tmp_path / "killed"))
    while killed.env_steps < 500:
        killed._turn()
    killed.log.recorder.flush()
    killed.close()
    again = Training(config(tmp_path / "killed"))
    assert again.env_steps < 500
    again.run(never)
    assert numbers(again) == numbers(whole)
    whole.close()
    again.close()
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_the_same_seed_gives_the_same_run_and_another_gives_another(tmp_path):
    returns = [train(config(tmp_path / f"{place}", f"seed={seed}")) for place, seed in enumerate((3, 3, 4))]
    states = [Checkpoints(tmp_path / f"{place}", last_stage=0).newest_intact() for place in range(3)]
    learners = [plain(one.state["learner"]) for one in states if one]
    assert learners[0] == learners[1]
    assert learners[0] != learners[2]
    assert returns[0].episode_return == returns[1].episode_return


def test_a_run_says_how_it_ended_and_leaves_what_others_read(tmp_path):
    result = train(config(tmp_path))
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["finished"]
    assert 600 <= told["env_steps"] < 600 + 4 * 16
    assert told["episode_return"] == result.episode_return
    run = read_run(tmp_path)
    assert {"lr", "clip_range", "rollout_length"} <= set(run.plan.schedules)
    assert [int(row["env_steps"]) // 250 for row in table(tmp_path / "eval.csv")] == [1, 2, 2]
    assert [int(row["episodes"]) for row in table(tmp_path / "eval.csv")] == [2, 2, 3]


def test_every_step_of_the_environments_and_of_the_optimizer_is_counted_once(tmp_path):
    training = Training(config(tmp_path, *KINDS["changing"]))
    env_steps = optimizer_steps = 0
    while training.env_steps < 500:
        before = training.steering.counts
        length, active = training.steering.count("rollout_length", 0), training.steering.count("num_envs", 0)
        rollout = training._collect()
        assert rollout.reward_TN.shape == (length, active)
        env_steps += length * active
        training._learn(rollout)
        optimizer_steps += 2 * -(-length * active // 32)
        assert training.steering.counts["env_steps"] == env_steps
        assert training.steering.counts["optimizer_steps"] == optimizer_steps == training.learner.optimizer_steps
        assert training.steering.counts["episodes"] >= before["episodes"]
    training.close()


def test_a_value_on_the_clock_of_optimizer_steps_changes_within_a_batch(tmp_path):
    training = Training(config(tmp_path, *KINDS["changing"]))
    seen = []
    inner = training.learner.step
    training.learner.step = lambda samples, chosen_B, now: seen.append(now.policy_lr) or inner(samples, chosen_B, now)
    training._turn()
    training._turn()
    training.close()
    steps = np.arange(len(seen))
    np.testing.assert_allclose(seen, 1e-3 * (1 - steps / 40), rtol=1e-12)


def test_the_policy_that_acts_is_refreshed_when_the_plan_says_so(tmp_path):
    training: Any = Training(config(tmp_path, "policy_refresh=3"))
    ages, acted = [], []
    for _ in range(7):
        rollout = training._collect()
        ages.append(rollout.policy_age)
        acted.append(plain(training.source.actor.state_dict()))
        training._learn(rollout)
    training.close()
    assert ages == [0, 1, 2, 0, 1, 2, 0]
    assert acted[0] == acted[1] == acted[2] != acted[3]
    assert plain(training.source.actor.state_dict()) != plain(training.learner.state_dict())


def test_a_kl_adaptive_rate_hears_the_divergence_of_each_batch(tmp_path):
    training = Training(config(tmp_path, "lr=kl_adaptive(3e-4, 0.01)"))
    training._turn()
    before, told = training.steering.values["lr"], {}
    observe = training.steering.observe
    training.steering.observe = lambda measured: told.update(measured) or observe(measured)  # type: ignore[method-assign]
    training._turn()
    factor = 1.5 if told["approx_kl"] < 0.005 else 1 / 1.5 if told["approx_kl"] > 0.02 else 1.0
    assert training.steering.values["lr"] == pytest.approx(before * factor, rel=1e-12, abs=0)
    training.close()


def test_changed_settings_are_refused_unless_a_choice_is_made(tmp_path):
    train(config(tmp_path))
    with pytest.raises(StateError, match=r"lr: lin_0\.001 -> 0\.002"):
        train(config(tmp_path, "lr=2e-3"))
    with pytest.raises(StateError, match=r"fits its own settings alone[^\n]*\n  seed: 0 -> 5"):
        train(config(tmp_path, "seed=5", "on_change=replace"))
    longer = train(config(tmp_path, "lr=2e-3", "rollout_length=8", "total_env_steps=700", "on_change=replace"))
    assert longer.finished
    assert longer.env_steps >= 700
    assert any(row.get("event") == "settings" for row in rows(tmp_path))
    kept = Training(config(tmp_path, "lr=5e-3", "total_env_steps=900", "on_change=keep"))
    assert kept.run(never).env_steps == longer.env_steps
    kept.close()
    command = kept.resuming.go_on_command(kept.config, tmp_path)
    assert "lr=2e-3" in command
    assert "lr=5e-3" not in command
