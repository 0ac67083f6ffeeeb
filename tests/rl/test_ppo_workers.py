"""Whole runs of PPO with rollout workers: the same numbers whatever happens to them, and every step counted once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rl.runs import never, plain
from rl.test_ppo_resume import SMALL, numbers, rows
from rl.workers import Here

from tempomat.core import StateError
from tempomat_rl.ppo import run
from tempomat_rl.ppo.config import compose
from tempomat_rl.ppo.train import Training

ROOT = Path(__file__).parents[2]
WORKERS = ["rollout=process", "num_workers=2"]
KINDS = {
    "in turn": [],
    "overlap": ["overlap=true"],
    "normalized": ["overlap=true", "normalize_observation=true", "normalize_reward=true", "vectorize=false"],
    "refreshed": ["policy_refresh=3", "env=Pendulum-v1", "max_policy_age=0"],
    "changing": [
        "overlap=true",
        "policy_refresh=2",
        "num_envs={type: piecewise_constant, values: [1, 5, 3], boundaries: [100, 300]}",
        "rollout_length={type: linear, init_value: 8, end_value: 24, duration: 100%}",
        "observation_noise=0.1",
        "max_policy_age=1",
        "when_too_old=refuse",
    ],
}


def events(folder) -> list[Any]:
    return rows(folder)


@pytest.fixture
def here(monkeypatch):
    """Workers in this process; the list says which are lost: (place, number of the answer)."""
    lose = []

    def make(kind, spec_of, num_workers, **_):
        return Here(spec_of, num_workers, lose=lose)

    monkeypatch.setattr(run, "make_transport", make)
    return lose


def config(folder, *more):
    return compose([*SMALL, f"checkpoint_dir={folder}", *more])


def whole(folder, *more) -> Any:
    """The numbers of a run that goes on to its end undisturbed."""
    training = Training(config(folder, *more))
    assert training.run(never).finished
    found = numbers(training)
    training.close()
    return found


def trained(folder, turns, *more):
    """What a run's batches were like, one after the other."""
    training = Training(config(folder, *more))
    for _ in range(turns):
        rollout = training._collect()
        counts, refused = dict(training.steering.counts), training._refuses(rollout)
        yield training, rollout, counts, refused
        training._refuse(rollout) if refused else training._learn(rollout)
    training.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_workers_that_was_interrupted_goes_on_with_the_same_numbers(kind, here, tmp_path):
    expected = whole(tmp_path / "whole", *WORKERS, *KINDS[kind])
    assert whole(tmp_path / "again", *WORKERS, *KINDS[kind]) == expected
    for stop in (150, 350):
        training = Training(config(tmp_path / "parts", *WORKERS, *KINDS[kind]))
        assert not training.run(lambda one=training, at=stop: one.env_steps >= at).finished
        assert training.source.pending == training.config.overlap
        training.close()
    assert whole(tmp_path / "parts", *WORKERS, *KINDS[kind]) == expected
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_whose_workers_were_lost_has_the_same_numbers_and_says_what_happened(kind, here, tmp_path):
    expected = whole(tmp_path / "whole", *WORKERS, *KINDS[kind])
    here += [(0, 1), (1, 3), (1, 4), (0, 5), (1, 9)]
    assert whole(tmp_path / "lossy", *WORKERS, *KINDS[kind]) == expected
    told = [row for row in events(tmp_path / "lossy") if row.get("event") == "worker_replaced"]
    assert sorted(row["place"] for row in told) == [0, 0, 1, 1, 1]
    assert {row["why"] for row in told} == {"lost by the test"}
    assert told[0]["env_steps"] == 0
    assert [row["env_steps"] for row in told] == sorted(row["env_steps"] for row in told)
    others = [row for row in events(tmp_path / "lossy") if row.get("event") != "worker_replaced"]
    assert others == rows(tmp_path / "whole")


def test_one_worker_has_the_numbers_of_none(here, tmp_path):
    more = ["env=Acrobot-v1", "policy_refresh=2", "observation_noise=0.1"]
    local, worker = whole(tmp_path / "0", *more), whole(tmp_path / "1", *more, "rollout=process", "num_workers=1")
    local.pop("source")
    worker.pop("source")
    assert local == worker
    assert rows(tmp_path / "0") == rows(tmp_path / "1")


def test_the_age_of_a_policy_is_measured(here, tmp_path):
    def ages(name, *more):
        return [rollout.policy_age for _, rollout, _, _ in trained(tmp_path / name, 7, *WORKERS, *more)]

    assert ages("0") == [0] * 7
    assert ages("1", "overlap=true") == [0] + [1] * 6
    assert ages("2", "policy_refresh=3") == [0, 1, 2, 0, 1, 2, 0]
    assert ages("3", "policy_refresh=3", "overlap=true") == [0, 1, 2, 3, 1, 2, 3]
    assert ages("4", "max_policy_age=0", "overlap=true") == [0] + [1] * 6


@pytest.mark.parametrize("where", [[], WORKERS], ids=["local", "workers"])
def test_a_batch_that_is_refused_is_counted_and_not_learned_from(where, here, tmp_path):
    more = [*where, "policy_refresh=4", "max_policy_age=1", "when_too_old=refuse"]
    seen, refused_steps, env_steps = [], 0, 0
    weights = None
    for training, rollout, counts, refused in trained(tmp_path, 7, *more):
        env_steps += rollout.env_steps
        assert counts["env_steps"] == env_steps
        now = plain(training.learner.state_dict())
        if seen and seen[-1][1]:
            assert now == weights
        weights = now
        seen.append((rollout.policy_age, refused))
        refused_steps += refused * rollout.env_steps
    assert seen == [(0, False), (1, False), (2, True), (0, False), (1, False), (2, True), (0, False)]
    assert training.refused == {"batches": 2, "env_steps": refused_steps}
    assert training.batches == 5
    events = [one for one in training.steering.events if one.get("event") == "batch_refused"]
    assert [(one["policy_age"], one["max_policy_age"]) for one in events] == [(2, 1)] * 2
    assert sum(one["batch_env_steps"] for one in events) == refused_steps


def test_refused_batches_are_in_the_record_and_optimizer_steps_are_not_counted_for_them(here, tmp_path):
    more = [*WORKERS, "overlap=true", "max_policy_age=0", "when_too_old=refuse"]
    training = Training(config(tmp_path, *more, "log_every=1"))
    result = training.run(never)
    training.close()
    measured = [row["measured"] for row in events(tmp_path) if "policy_age" in row.get("measured", {})]
    assert [one["policy_age"] for one in measured[:4]] == [0, 1, 0, 1]
    assert [one["refused_batches"] for one in measured[:4]] == [0, 1, 1, 2]
    assert measured[-1]["refused_env_steps"] == training.refused["env_steps"] > 0
    assert result.batches + training.refused["batches"] == len(measured)
    assert result.optimizer_steps == training.learner.optimizer_steps == result.batches * 2 * 2
    learned = sum(one["batch_env_steps"] for one in measured if "batch_env_steps" in one)
    assert result.env_steps == learned + training.refused["env_steps"]


def test_controllers_hear_of_batches_that_were_learned_from_alone(here, tmp_path):
    more = [*WORKERS, "overlap=true", "max_policy_age=0", "when_too_old=refuse", "lr=kl_adaptive(3e-4, 0.01)"]
    training = Training(config(tmp_path, *more))
    heard: list[Any] = []
    training.steering.observe = lambda measured: heard.append(measured) or []  # type: ignore[method-assign]
    for _ in range(4):
        training._turn()
    training.close()
    assert training.refused["batches"] == training.batches == len(heard) == 2


def test_refusing_every_other_batch_is_noted():
    more = [*WORKERS, "max_policy_age=0", "when_too_old=refuse"]
    assert any("refuses every other one" in note for note in compose([*more, "overlap=true"]).notes)
    assert not any("refuses" in note for note in compose(more).notes)
    assert not any("refuses" in note for note in compose([*more, "overlap=true", "max_policy_age=1"]).notes)


def test_a_plan_that_comes_to_refresh_weights_seldom_begins_with_the_present_ones(tmp_path):
    training = Training(config(tmp_path))
    training._turn()
    training.save()
    training.close()
    again = Training(config(tmp_path, "policy_refresh=3", "on_change=replace"))
    ages = []
    for _ in range(4):
        rollout = again._collect()
        ages.append(rollout.policy_age)
        again._learn(rollout)
    again.close()
    assert ages == [0, 1, 2, 0]


def test_an_old_batch_is_corrected_and_a_new_one_left_as_it_is(here, tmp_path):
    more = [*WORKERS, "overlap=true", "max_policy_age=0", "lr=0.05", "log_every=1"]
    training = Training(config(tmp_path, *more))
    training.run(never)
    training.close()
    measured = [row["measured"] for row in events(tmp_path) if "corrected" in row.get("measured", {})]
    assert [one["corrected"] for one in measured[:3]] == [0.0, 1.0, 1.0]
    assert measured[0]["importance_weight"] == 1.0
    assert all(0.0 < one["importance_weight"] < 1.0 for one in measured[1:3])
    assert training.refused == {"batches": 0, "env_steps": 0}


def test_every_step_is_counted_once_while_the_number_of_environments_changes(here, tmp_path):
    here += [(0, 2), (1, 2), (0, 6)]
    env_steps = episodes = 0
    widths = set()
    more = [*WORKERS, *KINDS["changing"], "when_too_old=correct", "vectorize=false"]
    training: Any = None
    for training, rollout, counts, _ in trained(tmp_path, 20, *more):  # noqa: B007
        env_steps += rollout.env_steps
        episodes += int((rollout.terminated_TN | rollout.truncated_TN).sum())
        widths.add(rollout.num_envs)
        assert rollout.env_steps == rollout.length * rollout.num_envs
        assert (counts["env_steps"], counts["episodes"]) == (env_steps, episodes)
    assert training.episodes == episodes > 0
    assert widths == {1, 3, 5}


def test_a_run_does_not_ask_for_more_than_it_needs(here, tmp_path):
    training: Any = Training(config(tmp_path, *WORKERS, "overlap=true"))
    training.run(never)
    assert not training.source.pending
    asked = [request for place, _, request in training.source._transport.messages if place == 0]
    assert len(asked) == training.batches
    training.close()
    assert training.source._transport.closed


def test_where_a_run_acts_is_fixed_and_how_it_waits_is_not(here, tmp_path):
    whole(tmp_path, *WORKERS)
    for other in ("rollout=local", "num_workers=3", "overlap=true"):
        with pytest.raises(StateError, match=rf"fits its own settings alone[^\n]*\n  {other.partition('=')[0]}: "):
            Training(config(tmp_path, *WORKERS, other, "on_change=replace"))
    Training(config(tmp_path, *WORKERS, "worker_timeout=5", "ray_address=local")).close()


def test_what_a_run_says_first_tells_where_environments_are_stepped(here, tmp_path, capsys):
    Training(config(tmp_path, *WORKERS, "vectorize=false")).close()
    assert "environments: 4, one after the other in 2 places; observation of 4 numbers" in capsys.readouterr().out


# real processes

TIMES = [*SMALL, "total_env_steps=2000", "rollout_length=8", "save_every=400", "log_every=8", *WORKERS, "overlap=true"]


def started(folder):
    """A program in a group of its own, as a terminal would have it, that has begun to learn."""
    before = len(record(folder))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train_ppo.py"), *TIMES, f"checkpoint_dir={folder}"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder.parent,
    )
    while len(record(folder)) < before + 3 and process.poll() is None:
        time.sleep(0.02)
    return process


def record(folder):
    path = folder / "record.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def group(process):
    """All processes of the group that are not mere names any more."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == process.pid and state != "Z":
            found.append(path)
    return found


def gone(process, seconds=60.0):
    """Whether the whole group ends without being asked again."""
    until = time.monotonic() + seconds
    while group(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not group(process)


@pytest.mark.slow
def test_ctrl_c_and_a_kill_leave_no_worker_behind_and_a_run_that_goes_on(here, tmp_path):
    folder = tmp_path / "run"
    process = started(folder)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the program and to its workers
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted; saved" in said
    assert "was replaced" not in said
    assert gone(process)
    process = started(folder)
    assert len(group(process)) >= 3
    process.kill()
    process.communicate(timeout=120)
    assert gone(process)
    assert whole(folder, *TIMES) == whole(tmp_path / "whole", *TIMES)  # both to the end by workers here
    assert counted(folder) == counted(tmp_path / "whole")


def counted(folder):
    return [row["counts"] for row in events(folder)]
