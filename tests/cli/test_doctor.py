"""`tempomat doctor`, as it is typed: what is printed, where, how wide, and the exit code."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

import tempomat as tm
from tempomat.cli import main
from tempomat.runs import Recorder
from tempomat.runs.doctor import DIAGNOSES, handbook


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def record(folder, loss, steps=100, **measured):
    """A run at a constant lr."""
    scheduler: Any = SimpleNamespace(
        plan=tm.Plan({"lr": 0.5}, total=100), counts={}, asked={"lr": 0.5}, values={"lr": 0.5}, events=[]
    )
    with Recorder(folder, seed=7) as recorder:
        for step in range(steps):
            scheduler.counts = {"optimizer_steps": step}
            recorder.write(scheduler, loss=loss(step), **measured)
    return str(folder)


@pytest.fixture
def diverged(tmp_path):
    return record(tmp_path / "run", lambda step: 1.5**step)


@pytest.fixture
def healthy(tmp_path):
    return record(tmp_path / "run", lambda step: 1 / (1 + step))


def test_a_run_that_diverged_is_told_with_its_causes_and_exits_with_1(diverged, capsys, monkeypatch):
    assert main(["doctor", diverged]) == 1
    text = capsys.readouterr().out
    assert (
        text
        == f"""\
{diverged}
  100 rows, up to 99 of 100 optimizer_steps, seed 7
  loss: 100 values, first 1, lowest 1, last 2.71e+17

TD201 error: diverges
  loss is far worse than its first value (1) from 2 optimizer_steps (2 % of the
  run) on, with a median of 5.88e+15 in the last fifth. Its best was 1 at 0.
    likely:    lr too high: lr was 0.5, 100 % of its highest (0.5)
    likely:    no warmup: lr began at 0.5, 100 % of its highest
    possible:  bad initialisation: loss hardly improved on its first value (1)
               before
    not told:  exploding gradients: no grad_norm was recorded
  try: Try a third of the lr (0.5 -> 0.167) with a warmup over the first 5 %;
       then a gradient clip (grad_clip: 1.0).

Found 1 error and 0 warnings. `tempomat doctor --explain TD201` says more.
"""
    )


def test_a_healthy_run_is_told_so_and_exits_with_0(healthy, capsys):
    assert main(["doctor", healthy]) == 0
    assert capsys.readouterr().out.endswith("\n\nNothing wrong was seen in the run and its loss.\n")


def test_a_warning_alone_exits_with_0_and_a_note_alone_is_nothing_wrong(tmp_path, capsys):
    assert main(["doctor", record(tmp_path / "early", lambda step: 1 / (1 + step), steps=50)]) == 0
    text = capsys.readouterr().out
    assert "\nTD101 warning: ended-early\n  the record ends at 49 of 100 optimizer_steps" in text
    assert text.endswith("Found 0 errors and 1 warning. `tempomat doctor --explain TD101` says more.\n")
    other = record(tmp_path / "two", lambda step: 1 / (1 + step))
    assert main(["doctor", other, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_loss_that_was_not_judged_is_not_called_healthy(tmp_path, capsys):
    scheduler: Any = SimpleNamespace(
        plan=tm.Plan({"lr": 0.5}), counts={"optimizer_steps": 0}, asked={"lr": 0.5}, values={"lr": 0.5}, events=[]
    )
    with Recorder(tmp_path / "run") as recorder:
        recorder.write(scheduler, score=1.0)
    assert main(["doctor", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "TD200 note: loss-not-judged\n  measured: none of val_loss, loss, train_loss, success_rate," in text
    assert text.endswith("Nothing wrong was seen in the run itself; how its loss went was not judged.\n")


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_no_line_is_wider_than_the_terminal(diverged, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    main(["doctor", diverged])
    lines = [line for line in capsys.readouterr().out.splitlines() if line != diverged]
    assert columns - 15 < max(map(len, lines)) <= columns


def test_json_holds_the_findings_with_their_causes(diverged, capsys):
    assert main(["doctor", diverged, "--format", "json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)
    assert list(one) == ["run", "code", "name", "severity", "path", "message", "causes", "fix"]
    assert (one["run"], one["code"], one["severity"], one["path"]) == (diverged, "TD201", "error", "measured.loss")
    assert one["causes"][0] == {
        "weight": "likely",
        "what": "lr too high",
        "evidence": "lr was 0.5, 100 % of its highest (0.5)",
    }


def test_another_metric_is_judged_by_the_side_that_is_good(tmp_path, capsys):
    folder = record(tmp_path / "run", lambda step: 1 / (1 + step), entropy=1.0)
    assert main(["doctor", folder, "--metric", "loss", "--mode", "max"]) == 1
    assert "loss: 100 values, first 1, highest 1, last 0.01" in capsys.readouterr().out
    assert main(["doctor", folder, "--metric", "entropy"]) == 2
    assert capsys.readouterr().err == (
        "tempomat: entropy: say whether less of it is better (mode min) or more (mode max)\n"
    )


def test_a_code_is_explained_in_either_case_and_all_of_them_are_the_handbook(capsys):
    assert main(["doctor", "--explain", "td201"]) == 0
    assert capsys.readouterr().out.startswith("## TD201 diverges\n\nError. The loss ends as NaN")
    assert main(["doctor", "--explain", "all"]) == 0
    assert capsys.readouterr().out == handbook()
    assert main(["doctor", "--explain", "TD999"]) == 2
    assert f"Codes: {', '.join(sorted(DIAGNOSES))}" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "has"), [("doctor", "lint"), ("lint", "doctor")])
def test_a_code_of_the_other_command_is_said_to_be_its(capsys, asked, has):
    code = {"doctor": "TD201", "lint": "TM201"}[has]
    with pytest.raises(SystemExit, match="2"):
        main([asked, "--explain", code.lower()])
    assert f"tempomat {has} --explain {code}\n" in capsys.readouterr().err


def test_what_cannot_be_looked_at_exits_with_2(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"tempomat: {tmp_path}: holds no run (no run.json)\n"
    with pytest.raises(SystemExit, match="2"):
        main(["doctor"])
    assert "name a run's folder, or give --explain CODE" in capsys.readouterr().err
