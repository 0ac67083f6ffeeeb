"""The measurement of exploration by plan: runs are begun once, held against SB3 alone, and told as they came out."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3")

import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _from_its_folder_on_one_thread(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def main():
    return import_module("exploration")


@pytest.fixture
def exploring():
    return import_module("exploration_runs")


def run_of(mean, returns=(1.0,), parameters="a", off: float | None = 0.0):
    """A run's result."""
    return {
        "mean": mean, "returns": [*returns], "training": [1.0], "parameters": parameters, "off": off, "seconds": 1.0
    }  # fmt: skip


def keep(runs, run, result):
    path = runs.folder / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"made_with": runs.made_with(run), **result}))


def test_the_zoos_plans_train_what_sb3_trains_alone_and_no_run_is_done_twice(main, exploring, tmp_path, capsys):
    runs = exploring.Runs(tmp_path / "runs", exploring.TOY)
    wanted = [run for run in exploring.wanted(runs.tasks) if run.seed == 1]
    assert [(run.task, run.arm == exploring.ALONE) for run in wanted] == [
        (name, alone) for name in ("dqn", "td3") for alone in (True, False, False)
    ]
    main.carry_out(runs, wanted)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")}
    main.carry_out(runs, wanted)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")} == kept
    assert "6 of 6 runs are there" in capsys.readouterr().err
    told = main.report(runs, tmp_path)
    assert told.count("**PASS** the same weights and returns as Stable-Baselines3 alone, bit for bit, seed 1") == 2
    assert "**PASS** epsilon at every step as Stable-Baselines3 alone has it" in told
    assert "**PASS** sigma at every step" in told
    assert "1 of 2" in told  # seeds, of the two that the plan has
    assert (tmp_path / "exploration.md").read_text() == told
    assert json.loads((tmp_path / "exploration.json").read_text())["tables"]["td3"]["same"] == {"1": True}


def test_an_arm_that_differs_from_the_library_is_said_to(main, exploring, tmp_path):
    runs = exploring.Runs(tmp_path / "runs", exploring.TOY)
    task = runs.tasks["dqn"]
    own, other = task.plans
    keep(runs, exploring.Run("dqn", exploring.ALONE, 1), run_of(500.0))
    keep(runs, exploring.Run("dqn", own, 1), run_of(500.0, parameters="b", off=1e-3))
    told = main.report(runs, tmp_path)
    assert "**FAIL** the same weights and returns" in told
    assert (
        "**FAIL** epsilon at every step as Stable-Baselines3 alone has it; largest relative difference 1.0e-03" in told
    )
    for seed, mean in ((1, 480.0), (2, 490.0)):
        keep(runs, exploring.Run("dqn", other, seed), run_of(mean, off=None))
    keep(runs, exploring.Run("dqn", own, 2), run_of(500.0))
    told = main.report(runs, tmp_path)
    assert f"{other}, less {own}: -15.0 [-78.5, 48.5] over 2 seeds in pairs" in told
    assert "**PASS** mean over seeds 500.0, at least 500.0" in told


def test_a_mean_below_the_published_one_by_more_than_the_spreads_is_a_fail(main, exploring, tmp_path):
    runs = exploring.Runs(tmp_path / "runs", exploring.TOY)
    for seed, mean in ((1, 500.0), (2, 100.0)):  # however wide that makes our interval
        keep(runs, exploring.Run("dqn", runs.tasks["dqn"].reproducing, seed), run_of(mean))
    keep(runs, exploring.Run("td3", runs.tasks["td3"].reproducing, 1), run_of(-242.0))
    told = main.report(runs, tmp_path)
    assert "**FAIL** mean over seeds 300.0, at least 500.0" in told
    assert "1 of 2 seeds reach 500.0" in told
    assert "**PASS** mean over seeds -242.0, at least -242.1" in told


def test_results_of_other_settings_are_refused(exploring, tmp_path):
    runs = exploring.Runs(tmp_path / "runs", exploring.TOY)
    run = exploring.Run("dqn", runs.tasks["dqn"].reproducing, 1)
    keep(runs, run, run_of(500.0))
    changed = exploring.Runs(runs.folder, {"dqn": replace(runs.tasks["dqn"], total=400)})
    with pytest.raises(SystemExit, match="was made with other settings or libraries"):
        changed.result(run)
