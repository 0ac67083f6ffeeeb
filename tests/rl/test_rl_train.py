"""Whole runs, small: what they leave behind, how they go on, what they refuse."""

import json
from pathlib import Path

import pytest
from rl.runs import config, finish, never, numbers, stop_after, table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tempomat.core import StateError
from tempomat.runs import read_run
from tempomat_rl.checkpoint import Checkpoints
from tempomat_rl.train import Training, train


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    result = train(config(folder, "lr_schedule=stage_following", "eval_every_frames=600"))
    assert result.finished
    return folder


def test_a_run_says_how_it_ended(finished):
    result = json.loads((finished / "result.json").read_text())
    assert 1200 <= result["frames"] < 1204
    assert result["frames"] == result["env_steps"]
    assert result["updates"] == (result["env_steps"] // 4) - 200 // 4
    assert 0.0 <= result["success_rate"] <= 1.0


def test_tensorboard_has_the_tags_of_the_guide(finished):
    events = EventAccumulator(str(finished / "tb")).Reload()
    wanted = {"lr_encoder", "lr_actor", "lr_critic", "curriculum/stage", "curriculum/success_rate", "noise"}
    wanted |= {"critic_loss", "actor_loss", "episode_return", "eval/episode_return", "eval/success_rate"}
    assert wanted <= set(events.Tags()["scalars"])


def test_tables_have_a_row_for_each_log_and_each_evaluation(finished):
    rows = table(finished / "train.csv")
    assert {int(row["frames"]) // 100 for row in rows} >= set(range(1, 12))
    assert float(rows[-1]["critic_loss"]) > 0
    evaluations = table(finished / "eval.csv")
    assert [int(row["frames"]) // 600 for row in evaluations] == [1, 2, 2]
    assert [int(row["episodes"]) for row in evaluations] == [2, 2, 4]


def test_the_record_is_one_that_doctor_and_others_read(finished):
    run = read_run(finished)
    assert {"encoder.lr", "actor.lr", "critic.lr", "noise", "curriculum_stage"} <= set(run.plan.schedules)


def test_every_change_of_a_learning_rate_is_in_the_tables_at_the_step_where_it_happens(tmp_path):
    train(
        config(
            tmp_path,
            "lr_schedule=gentle_decay",
            "log_every_frames=1000",
            "fit_schedules=false",
            "lr=1.0e-4",
            "lr_schedule.actor.intervals.0.end=403",
            "lr_schedule.actor.intervals.1.start=403",
        )
    )
    rows = table(tmp_path / "train.csv")
    first = next(row for row in rows if float(row["lr_actor"]) != 1e-4)
    assert 403 <= int(first["env_steps"]) < 403 + 4
    assert float(first["lr_actor"]) == 5e-5
    assert float(first["lr_critic"]) == 1e-4


@pytest.mark.parametrize("stop", [150, 433, 900])
def test_a_run_that_was_interrupted_goes_on_with_the_same_numbers(tmp_path, stop):
    whole = Training(config(tmp_path / "whole", "lr_schedule=exponential_smooth"))
    assert whole.run(never).finished
    first = Training(config(tmp_path / "broken", "lr_schedule=exponential_smooth"))
    assert not first.run(stop_after(stop, first)).finished
    first.close()
    second = Training(config(tmp_path / "broken", "lr_schedule=exponential_smooth"))
    assert second.env_steps >= stop
    assert second.run(never).finished
    assert numbers(second) == numbers(whole)
    finish(whole, second)
    for name in ("train.csv", "eval.csv"):
        rows = [table(tmp_path / one / name) for one in ("whole", "broken")]
        without_time = [[{**row, "seconds": ""} for row in some] for some in rows]
        assert without_time[0] == without_time[1]
    results = [json.loads((tmp_path / one / "result.json").read_text()) for one in ("whole", "broken")]
    assert results[0]["episode_return"] == results[1]["episode_return"]


def test_a_killed_run_goes_on_from_its_newest_intact_checkpoint(tmp_path):
    whole = Training(config(tmp_path / "whole"))
    whole.run(never)
    killed = Training(config(tmp_path / "killed"))
    while killed.env_steps < 1100:  # snapshots at 500 and 1000
        killed._turn()
    killed.close()
    snapshot = tmp_path / "killed" / "snapshot.pt"
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    second = Training(config(tmp_path / "killed"))
    assert 500 <= second.env_steps < 510
    second.run(never)
    assert numbers(second) == numbers(whole)
    finish(whole, second)


def test_changed_settings_are_refused_on_resume_and_named(tmp_path):
    train(config(tmp_path))
    with pytest.raises(StateError, match=r"(?s)discount: 0\.99 -> 0\.9.*on_change=keep"):
        train(config(tmp_path, "discount=0.9"))


def test_changed_settings_are_taken_or_left_as_told(tmp_path):
    first = Training(config(tmp_path))
    first.run(stop_after(600, first))
    first.close()
    kept = Training(config(tmp_path, "batch_size=8", "on_change=keep"))
    assert kept.config.batch_size == 16
    kept.close()
    replaced = Training(config(tmp_path, "batch_size=8", "lr_schedule=gentle_decay", "on_change=replace"))
    assert replaced.config.batch_size == 8
    assert replaced.run(never).finished
    replaced.close()


def test_settings_of_how_a_run_is_carried_out_may_change(tmp_path):
    first = Training(config(tmp_path))
    first.run(stop_after(600, first))
    first.close()
    train(config(tmp_path, "log_every_frames=50"))


def test_a_run_that_was_killed_before_its_first_snapshot_begins_again_with_the_same_numbers(tmp_path):
    first = Training(config(tmp_path, "save_every_frames=1000000"))
    for _ in range(40):
        first._turn()
    first.close()
    second = Training(config(tmp_path, "save_every_frames=1000000"))
    assert second.env_steps == 0
    second.run(stop_after(100, second))
    second.close()
    counts = [int(row["env_steps"]) for row in table(tmp_path / "train.csv")]
    assert counts == sorted(set(counts))


def test_stages_move_environment_and_schedules_and_leave_checkpoints(tmp_path):
    training = Training(config(tmp_path, "lr_schedule=stage_following"))
    curriculum = training.curriculum
    assert curriculum is not None
    before = training.scheduler.values["critic.lr"]
    moved = None
    while moved is None:
        moved = curriculum.episode(training.scheduler, True)
        training.scheduler.advance(env_steps=100)
    assert (moved.name, training.stage) == ("S1_yaw_small", 1)
    assert training.scheduler.values["critic.lr"] == pytest.approx(before / 1.2, rel=1e-12)
    finish(training)


def test_an_unreachable_gate_is_refused_before_anything_begins(tmp_path):
    with pytest.raises(ValueError, match=r"curriculum\.window: holds at most 3 episodes"):
        config(tmp_path / "x", "curriculum.window=3", "curriculum.min_episodes=4")
    assert not (tmp_path / "x").exists()


def test_checkpoints_are_where_the_guide_of_a_run_says(tmp_path):
    train(config(tmp_path))
    found = Checkpoints(tmp_path, last_stage=4).newest_intact()
    assert found is not None
    assert found.kind == "snapshot"
