"""Runs that are misused, broken off and run out of disk: each goes on identically, or ends with an error that helps."""

import errno
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rl.runs import config, finish, never, numbers, stop_after, table

from tempomat.core import MeasurementError, RecordError, StateError
from tempomat.runs import read_run
from tempomat_rl import progress
from tempomat_rl.checkpoint import Checkpoints
from tempomat_rl.config import ConfigError, compose, main
from tempomat_rl.drqv2 import DrQV2
from tempomat_rl.evaluation import Evaluation
from tempomat_rl.ppo import config as ppo
from tempomat_rl.program.command import INTERRUPTED
from tempomat_rl.progress import stop_on_signal
from tempomat_rl.resuming import RESUMING
from tempomat_rl.tables import Table
from tempomat_rl.train import Training, train

SHORT = "num_train_frames=300"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def started(folder: Path, *more: str, env_steps: int = 150) -> Training:
    """A run that was interrupted there and saved."""
    training = Training(config(folder, *more))
    training.run(stop_after(env_steps, training))
    training.close()
    return training


# finished, longer, changed


def test_a_finished_run_is_not_trained_on_and_nothing_in_it_changes(tmp_path, capsys):
    result = train(config(tmp_path, SHORT))
    before = files(tmp_path)
    again = train(config(tmp_path, SHORT))
    assert again == result
    assert files(tmp_path) == before
    assert "is finished already, at env step" in capsys.readouterr().out


def test_a_result_that_a_kill_prevented_is_written_later(tmp_path):
    train(config(tmp_path, SHORT))
    written = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").unlink()
    train(config(tmp_path, SHORT))
    assert json.loads((tmp_path / "result.json").read_text()) == written


def test_a_finished_run_can_be_made_longer(tmp_path):
    train(config(tmp_path, SHORT))
    with pytest.raises(StateError, match=r"(?s)num_train_frames: 300 -> 500.*on_change=replace to go on"):
        train(config(tmp_path, "num_train_frames=500"))
    longer = Training(config(tmp_path, "num_train_frames=500", "on_change=replace"))
    longer.run(stop_after(400, longer))
    assert not (tmp_path / "result.json").exists()
    longer.run(never)
    longer.close()
    assert json.loads((tmp_path / "result.json").read_text())["env_steps"] >= 500
    counts = [int(row["env_steps"]) for row in table(tmp_path / "train.csv")]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("choice", ["keep", "replace", "stretch"])
def test_what_was_done_about_changed_settings_is_in_the_record_and_said(tmp_path, choice, capsys):
    started(tmp_path, SHORT)
    given = (SHORT, "discount=0.9", f"on_change={choice}", "log_every_frames=50")
    training = Training(config(tmp_path, *given))
    training.run(stop_after(200, training))
    training.close()
    assert training.config.discount == (0.99 if choice == "keep" else 0.9)
    events = [one for one in read_run(tmp_path).events if one["event"] == "settings"]
    assert [(one["choice"], one["changes"]) for one in events] == [(choice, ["discount: 0.99 -> 0.9"])]
    said = "left as they were, other than given now" if choice == "keep" else "changed since"
    assert f"{said}: discount: 0.99 -> 0.9" in capsys.readouterr().out


def test_a_run_that_keeps_its_settings_keeps_their_names_and_its_command(tmp_path):
    started(tmp_path, SHORT, "lr_schedule=gentle_decay")
    kept = Training(config(tmp_path, SHORT, "lr_schedule=differential", "threads=1", "on_change=keep"))
    kept.close()
    assert kept.config.preset == "gentle_decay"
    command = RESUMING.go_on_command(kept.config, tmp_path)
    assert "lr_schedule=gentle_decay" in command
    assert "threads=1" in command
    assert "on_change" not in command
    assert "differential" not in command


def test_stretching_moves_the_run_to_the_same_share_and_leaves_the_stage(tmp_path):
    more = ("lr_schedule=stage_following", "noise=linear(0.4,0.2,1200)", "eval_every_frames=1000000")
    first = Training(config(tmp_path, *more, "curriculum.initial_stage=2"))
    first.run(stop_after(600, first))
    first.close()
    longer = (*more[:1], "noise=linear(0.4,0.2,2400)", *more[2:], "num_train_frames=2400", "on_change=stretch")
    second = Training(config(tmp_path, *longer, "curriculum.initial_stage=2"))
    assert second.env_steps == second.scheduler.counts["env_steps"] == 2 * first.env_steps
    assert second.scheduler.counts["stage"] == second.stage == 2
    assert second.scheduler.values["noise"] == pytest.approx(0.3, rel=0.01)
    assert second.run(never).env_steps >= 2400
    second.close()


@pytest.mark.parametrize("change", ["seed=9", "num_envs=8", "agent.hidden_dim=32", "frame_stack=2"])
def test_what_no_run_can_change_on_its_way_is_named_shortly(tmp_path, change):
    started(tmp_path, SHORT, env_steps=20)
    name, _, value = change.partition("=")
    with pytest.raises(StateError, match=rf"these are others:\n  {name}: \d+ -> {value}\nGive the same") as caught:
        Training(config(tmp_path, SHORT, change, "on_change=replace"))
    assert len(str(caught.value)) < 400


# folders


def test_a_second_process_is_refused_before_it_reads_or_writes_anything(tmp_path):
    first = Training(config(tmp_path, SHORT))
    first.run(stop_after(150, first))
    before = files(tmp_path)
    with pytest.raises(RecordError, match=rf"/replay: process {os.getpid()} on .* is writing this run"):
        Training(config(tmp_path, SHORT, "on_change=replace", "discount=0.9"))
    assert files(tmp_path) == before
    first.close()
    Training(config(tmp_path, SHORT)).close()


@pytest.mark.parametrize("name", ["train.csv", "record.jsonl", "final.mp4"])
def test_a_folder_with_somebody_elses_files_is_refused_and_untouched(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RecordError, match=rf"holds {name} and no checkpoint to go on from"):
        Training(config(tmp_path))
    assert files(tmp_path) == {name: b"mine"}


def test_a_record_whose_checkpoints_were_deleted_is_not_overwritten(tmp_path):
    started(tmp_path, SHORT)
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    before = files(tmp_path)
    with pytest.raises(RecordError, match="no checkpoint to go on from; a run would overwrite that"):
        Training(config(tmp_path, SHORT))
    assert files(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_explained(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="file/run: cannot be the run's folder: Not a directory"):
        main(argv=[f"checkpoint_dir={tmp_path}/file/run"])


@pytest.mark.parametrize("program", [compose, ppo.compose], ids=["drqv2", "ppo"])
@pytest.mark.parametrize("name", ["a b", "k=v,w=x", "it's", 'say "x"', "{x}(y)", "back\\", "~x"])
def test_folders_of_any_name_can_be_given_as_the_command_to_go_on_prints_them(tmp_path, name, program):
    folder = tmp_path / name
    assert program([f"checkpoint_dir={folder}"]).checkpoint_dir == folder


@pytest.mark.parametrize("program", [main, ppo.main], ids=["drqv2", "ppo"])
def test_runs_of_a_sweep_cannot_share_a_folder(program):
    with pytest.raises(SystemExit, match="all runs of the sweep would have this folder"):
        program(argv=["-m", "seed=1,2", "checkpoint_dir=x"])


def test_an_interrupted_run_ends_the_sweep_with_the_status_of_an_interruption(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = []

    def interrupted(config):
        begun.append(config.seed)
        return type("Ended", (), {"finished": False})

    monkeypatch.setitem(sys.modules, "tempomat_rl.train", type("Stub", (), {"train": staticmethod(interrupted)}))
    with pytest.raises(SystemExit, match=str(INTERRUPTED)):
        main(argv=["-m", "seed=1,2"])
    assert begun == [1]


def test_the_first_interruption_is_noted_and_the_second_ends_at_once(capfd):
    with stop_on_signal() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        assert "Ctrl-C again stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            signal.raise_signal(signal.SIGTERM)


def test_the_progress_of_a_run_ends_at_all_of_it(capsys, monkeypatch):
    monkeypatch.setattr(progress, "QUIET", -1.0)
    shown = progress.Progress(100, done=90)
    shown.show(stage=2)
    shown.advance(16)
    shown.close()
    assert capsys.readouterr().out.startswith("100/100 frames, ")


# disks


def test_a_full_disk_ends_the_run_with_an_error_and_the_checkpoint_goes_on(tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = Training(config(whole, SHORT))
    unbroken.run(never)
    training = Training(config(broken, SHORT))
    training.run(stop_after(150, training))
    real = Path.open

    def full(self, *args, **options):
        if self.name == "train.csv" and args == ("a",):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(RecordError, match=r"train\.csv: cannot be written: No space left on device"):
            training.run(never)
    training.close()
    second = Training(config(broken, SHORT))
    second.run(never)
    assert numbers(second) == numbers(unbroken)
    finish(second, unbroken)
    rows = [[{**row, "seconds": ""} for row in table(one / "train.csv")] for one in (whole, broken)]
    assert rows[0] == rows[1]


def test_a_table_that_became_shorter_than_its_checkpoint_is_refused(tmp_path):
    table = Table(tmp_path / "t.csv", ("a", "b"))
    assert (table.settle(), table.path.exists()) == (0, False)
    table.add({"a": 1})
    table.add({"b": 2.5})
    assert table.path.read_text() == "a,b\n1,\n,2.5\n"
    assert Table(table.path, ("a", "b"), offset=7).path.read_text() == "a,b\n1,\n"
    with pytest.raises(RecordError, match="has 7 bytes, and 12 when the checkpoint was taken"):
        Table(table.path, ("a", "b"), offset=12)


def test_damaged_rows_of_a_replay_are_noticed_and_the_other_checkpoints_named(tmp_path):
    started(tmp_path, SHORT)
    path = sorted((tmp_path / "replay").glob("rows-*"))[-1]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"(?s)snapshot\.pt: its replay cannot be loaded: .*is damaged.*moved away"):
        Training(config(tmp_path, SHORT))


# numbers


@pytest.mark.parametrize("where", ["actions", "critic_loss", r"networks\.actor", r"networks\.critic"])
def test_a_run_whose_numbers_are_none_any_more_stops_and_keeps_its_last_good_checkpoint(tmp_path, monkeypatch, where):
    training = Training(config(tmp_path, SHORT, "save_every_frames=100"))
    training.run(stop_after(260, training))
    before, update = files(tmp_path)["snapshot.pt"], DrQV2.update
    if where == "actions":
        monkeypatch.setattr(DrQV2, "act", lambda self, *_: np.full((4, 5), np.nan, np.float32))
    elif where == "critic_loss":
        broken = {"critic_loss": torch.tensor(math.inf)}
        monkeypatch.setattr(DrQV2, "update", lambda self, *given: update(self, *given) | broken)
    else:
        network = getattr(training.agent, where.partition(".")[2])
        with torch.no_grad():
            next(network.parameters())[0] = math.nan

    def go_on():
        training.run(never)

    words = rf"not a finite number any more: .*{where}.*critic\.lr 0\.001.*lower rates \(lr="
    with pytest.raises(MeasurementError, match=words):
        {r"networks\.actor": training._evaluate, r"networks\.critic": training.save}.get(where, go_on)()
    training.close()
    assert files(tmp_path)["snapshot.pt"] == before


def test_each_update_is_made_under_the_values_of_its_own_env_step(tmp_path, monkeypatch):
    more = ["num_train_frames=600", "update_every_steps=3", "num_envs=5", "lr_schedule=exponential_smooth"]
    training = Training(config(tmp_path, *more, "noise=linear(0.4,0.1,500)", "log_every_frames=1000000"))
    made = []

    def update(batch, noise):
        rates = {f"{name}.lr": one.param_groups[0]["lr"] for name, one in training.agent.optimizers.items()}
        made.append((training.scheduler.counts["env_steps"], {**rates, "noise": noise}))
        return {}

    monkeypatch.setattr(training.agent, "update", update)
    acted, act = [], training.agent.act

    def acting(observation, noise, explore=True):
        if explore:
            acted.append((training.env_steps, noise))
        return act(observation, noise, explore)

    monkeypatch.setattr(training.agent, "act", acting)
    training.run(lambda: training.env_steps >= 590)
    training.close()
    last = made[-1][0]
    assert [count for count, _ in made] == list(range(201, last + 1, 3))
    plan = training.config.plan
    for count, values in made:
        assert values == {name: plan[name].at_counts({"env_steps": count}, "env_steps") for name in values}
    assert len({values["actor.lr"] for _, values in made}) > 20
    assert acted
    assert all(noise == plan["noise"](count) for count, noise in acted)


def test_a_rate_that_moves_all_the_time_does_not_get_a_row_at_every_step(tmp_path):
    ramp = "+lr_schedule={actor: {type: linear, init_value: 1e-3, end_value: 0, duration: 600}}"
    training = Training(config(tmp_path, "num_train_frames=600", ramp))
    training.run(stop_after(590, training))
    training.close()
    rows = table(tmp_path / "train.csv")
    assert 5 <= len(rows) <= 9
    assert len({row["lr_actor"] for row in rows}) == len(rows)


def test_the_last_stage_is_not_examined_more_than_it_is_trained(tmp_path, monkeypatch):
    training = Training(config(tmp_path, "log_every_frames=4", "eval_every_frames=1000000"))
    monkeypatch.setattr(type(training.curriculum), "holds", lambda self, scheduler: True)
    tried = []

    def measure(policy, episodes, **options):
        tried.append(training.env_steps)
        return Evaluation(np.zeros(2), np.array([50, 30]), np.zeros(2, bool))

    monkeypatch.setattr(training.examiner, "measure", measure)
    training.run(stop_after(300, training))
    training.close()
    assert len(tried) >= 3
    assert min(np.diff(tried)) >= 80


# settings


def test_a_seed_names_a_run_and_another_seed_another(tmp_path):
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        training = Training(config(tmp_path / name, SHORT, f"seed={seed}"))
        training.run(never)
        runs.append(numbers(training))
        training.close()
    assert runs[0] == runs[1]
    assert runs[0]["agent"]["networks"] != runs[2]["agent"]["networks"]
    assert runs[0]["task"] != runs[2]["task"]


@pytest.mark.parametrize("more", [["num_envs=1", "update_every_steps=7"], ["num_envs=64", "replay_size=700"]])
def test_the_number_of_environments_is_free(tmp_path, more):
    training = Training(config(tmp_path, "num_train_frames=400", *more))
    result = training.run(never)
    training.close()
    first = {"1": 203, "64": 204}[more[0].partition("=")[2]]
    every = training.config.update_every_steps
    assert result.updates == (result.env_steps - first) // every + 1
    assert result.env_steps == int(table(tmp_path / "train.csv")[-1]["env_steps"])


def test_a_run_begins_in_its_initial_stage_and_is_evaluated_in_the_stage_it_is_in(tmp_path):
    training = Training(config(tmp_path, SHORT, "curriculum.initial_stage=3", "eval_every_frames=100"))
    task: Any = training.task
    assert task.stage.name == "S3_mid"
    training.run(stop_after(150, training))
    training.close()
    assert [row["stage"] for row in table(tmp_path / "eval.csv")] == ["3"]


def test_without_a_curriculum_the_full_task_is_trained_and_its_success_told(tmp_path):
    plain = [one for one in config(tmp_path).overrides if not one.startswith(("curriculum.", "checkpoint_dir"))]
    settings = compose([*plain, SHORT, "curriculum_preset=none", f"checkpoint_dir={tmp_path}"])
    training = Training(settings)
    task: Any = training.task
    assert task.stage.pitch == 1
    result = training.run(never)
    training.close()
    assert (result.stage, result.gates) == (None, {})
    assert result.success_rate is not None
    assert table(tmp_path / "train.csv")[-1]["stage"] == ""


def test_what_the_task_or_the_machine_does_not_have_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="action_repeat: must be 1, a decision of the gimbal task is one"):
        config(tmp_path, "action_repeat=2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device: cuda:1: PyTorch finds 0 GPUs here"):
        Training(config(tmp_path, "device=cuda:1"))


def test_a_checkpoint_of_another_version_is_refused_with_what_it_lacks(tmp_path):
    started(tmp_path)
    checkpoints = Checkpoints(tmp_path, last_stage=4)
    found = checkpoints.newest_intact()
    assert found is not None
    del found.state["held"]
    checkpoints.save("snapshot", found.state)
    with pytest.raises(StateError, match=r"saved by another program, or another version of this one: it lacks held"):
        train(config(tmp_path))
