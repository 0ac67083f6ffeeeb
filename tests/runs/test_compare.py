"""Runs side by side: what is grouped, paired, found to differ, and what is not claimed."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.cli import main
from tempomat.core import RecordError
from tempomat.runs import Recorder, compare, read_run
from tempomat.runs.intervals import interval, student_t
from tempomat.runs.verdicts import sentences


def record(folder, lr=0.1, seed: int | None = 0, losses=(3.0, 2.0, 1.0), applied=None, clock="optimizer_steps", **more):
    """A run whose loss is given, under a linear lr."""
    plan = tm.Plan(
        {"lr": tm.Linear(init_value=lr, end_value=0.0, duration=10), "grad_clip": 1.0}, total=10, clock=clock
    )
    scheduler: Any = SimpleNamespace(plan=plan, events=[])
    with Recorder(folder, seed=seed) as recorder:
        for count, loss in enumerate(losses):
            scheduler.counts = {clock: count, "samples": 8 * count}
            scheduler.asked = {name: plan[name](count) for name in plan.schedules}
            scheduler.values = scheduler.asked | (applied or {})
            recorder.write(scheduler, loss=loss, **{name: values[count] for name, values in more.items()})
    return read_run(folder)


@pytest.fixture
def make(tmp_path):
    """Record runs, each in a folder of its own."""
    made = []

    def one(**given):
        made.append(record(tmp_path / f"run-{len(made)}", **given))
        return made[-1]

    return one


def pairs(make, ends, **given):
    """Two plans with a seed for each pair of last losses."""
    first = [make(seed=seed, losses=(5.0, one), **given) for seed, (one, _) in enumerate(ends)]
    return first, [make(lr=0.2, seed=seed, losses=(5.0, other), **given) for seed, (_, other) in enumerate(ends)]


def test_student_t_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in [*range(1, 40), 100, 10_001]:
        np.testing.assert_allclose(student_t(freedom), stats.t.ppf(0.975, freedom), rtol=1e-10, atol=0)
    values = [1.0, 2.5, 2.0, 4.0]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(interval(values)[1:], (low, high), rtol=1e-10, atol=0)
    assert not interval([1.0, math.nan]).known


def test_runs_of_one_plan_are_the_seeds_of_one_side_and_what_differs_is_named_by_path(make):
    runs = [make(seed=0), make(lr=0.2, seed=0), make(seed=1)]
    found = compare(runs)
    assert [(side.letter, side.seeds) for side in found.sides] == [("A", (0, 1)), ("B", (0,))]
    assert [[str(one) for one in changes] for changes in found.changes] == [[], ["schedules.lr.init_value: 0.1 -> 0.2"]]
    assert found.differing == ("lr",)
    assert found.entries == ("lr", "grad_clip")
    assert found.counts() == [0, 1, 2]
    assert "B's plan differs from A's in lr.init_value." in sentences(found)


def test_values_are_compared_as_applied_whatever_the_plans_say(make):
    same = compare([make(seed=0), make(seed=1, applied={"grad_clip": 1.0 + 1e-9})])
    assert same.differing == ()
    differ = compare([make(seed=0), make(seed=1, applied={"grad_clip": 0.5})])
    assert differ.differing == ("grad_clip",)
    assert differ.sides[0].differs_by_seed("grad_clip")
    assert not differ.sides[0].differs_by_seed("lr")
    assert "All runs had one plan, and their controllers made grad_clip differ." not in sentences(same)


def test_last_and_best_stand_with_their_counts(make):
    found = compare(
        [make(losses=(3.0, 0.5, 1.0), accuracy=(0.1, 0.9, 0.2), grad_norm=(1.0, 2.0, 3.0)),
         make(seed=1, losses=(3.0, math.nan, math.nan), accuracy=(0.1, 0.2, 0.3), grad_norm=(1.0, 2.0, 3.0))]
    )  # fmt: skip
    loss, accuracy, norm = found.measurements
    assert [one.mode for one in found.measurements] == ["min", "max", None]
    (first, second), *_ = loss.outcomes
    assert first == (0, 1.0, 2, 0.5, 1)
    assert (second.best, second.best_at, second.last_at) == (3.0, 0, 2)
    assert math.isnan(second.last)
    assert [(one.best, one.best_at) for one in accuracy.outcomes[0]] == [(0.9, 1), (0.3, 2)]
    assert all(math.isnan(one.best) for one in norm.outcomes[0])
    assert loss.values(0, "best") == (0.5, 3.0)
    np.testing.assert_allclose(accuracy.interval(0).mean, 0.25, rtol=1e-12, atol=0)


def test_where_seeds_match_the_difference_is_paired_and_told_only_if_its_interval_leaves_out_0(make):
    # seeds differ far more from each other than plans do: only pairs can tell
    first, second = pairs(make, [(1.0, 0.9), (2.0, 1.88), (3.0, 2.91)])
    found = compare([*first, *second])
    (loss,) = found.measurements
    seeds, differences = loss.paired(1)
    assert seeds == (0, 1, 2)
    np.testing.assert_allclose(differences, (-0.1, -0.12, -0.09), rtol=1e-9, atol=0)
    *_, verdict = sentences(found)
    low, high = interval(differences)[1:]
    assert verdict == (
        "loss (last value, less is better): B is better by 0.103 (B less A: 95 % interval "
        f"{low:+.3g} to {high:+.3g}, paired over 3 seeds)."
    )
    first, second = pairs(make, [(1.0, 0.9), (2.0, 2.2), (3.0, 2.91)])
    *_, verdict = sentences(compare([*first, *second]))
    assert "no difference could be seen. B less A is +0.00333 (95 % interval" in verdict


def test_more_of_an_accuracy_is_better_and_less_of_it_is_worse(make):
    first = [make(seed=seed, accuracy=(0.0, 0.0, 0.9 + seed / 100)) for seed in range(3)]
    second = [make(lr=0.2, seed=seed, accuracy=(0.95, 0.0, 0.8 + seed / 90)) for seed in range(3)]
    *_, last = sentences(compare([*first, *second], metrics=["accuracy"]))
    assert "more is better): A is better by 0.09" in last
    *_, best = sentences(compare([*first, *second], metrics=["accuracy"]), by="best")
    assert "best value, more is better): B is better" in best
    *_, turned = sentences(compare([*first, *second], metrics=["accuracy"], modes={"accuracy": "min"}))
    assert "less is better): B is better" in turned


def test_without_two_seeds_in_common_nothing_is_claimed(make):
    runs = [make(seed=0), make(seed=1), make(lr=0.2, seed=1, losses=(3.0, 0.1)), make(lr=0.2, seed=None)]
    *_, length, verdict = sentences(compare(runs[:3]))
    assert length == (
        "They end at different counts of optimizer_steps: A 2, B 1. Last values are not those of equal effort."
    )
    assert "B came out at 0.1, A at 1, with one seed in common. An interval of the difference needs two." in verdict
    *_, verdict = sentences(compare([runs[0], runs[3]]))
    assert "with no seeds in common" in verdict
    assert verdict.endswith("needs two, and some runs were recorded without a seed.")
    *_, verdict = sentences(compare([runs[0], make(lr=0.3, losses=(1.0, 2.0, math.nan))]))
    assert "some values are no finite numbers, so A and B are not compared" in verdict


def test_a_seed_that_is_there_twice_pairs_with_nothing(make):
    found = compare([make(seed=0), make(seed=0), make(seed=1), make(lr=0.2, seed=0), make(lr=0.2, seed=1)])
    assert found.measurements[0].paired(1)[0] == (1,)


def test_what_a_rewind_went_back_behind_does_not_count(tmp_path):
    plan = tm.Plan({"lr": 0.1}, total=10)
    scheduler: Any = SimpleNamespace(plan=plan, events=[], asked={"lr": 0.1}, values={"lr": 0.1})
    with Recorder(tmp_path / "back") as recorder:
        for place, (count, loss) in enumerate([(0, 3.0), (1, 0.1), (2, 0.2), (1, 2.0), (2, 1.5)]):
            scheduler.counts = {"optimizer_steps": count}
            if place == 3:
                scheduler.events.append({"event": "rewind", "counts": {"optimizer_steps": 1}})
            recorder.write(scheduler, loss=loss)
    found = compare([read_run(tmp_path / "back"), record(tmp_path / "other")])
    assert found.measurements[0].outcomes[0][0] == (None, 1.5, 2, 1.5, 2)


def test_what_cannot_be_compared_is_refused(make, tmp_path):
    one, other, epochs = make(), make(lr=0.2), make(clock="epochs")
    with pytest.raises(RecordError, match=r"needs at least two runs, got 1"):
        compare([one])
    with pytest.raises(RecordError, match=r"run-0: is there 2 times. Name each run once"):
        compare([one, read_run(one.folder)])
    with pytest.raises(RecordError, match=r"the runs count epochs and optimizer_steps. Say which clock they share"):
        compare([one, epochs])
    assert compare([one, epochs], clock="samples").sides[0].last == 16
    with pytest.raises(RecordError, match=r"run-0: no row has the clock 'sample'. Did you mean samples"):
        compare([one, epochs], clock="sample")
    with pytest.raises(RecordError, match=r"'los' was not measured in every run. Did you mean loss. In all of them"):
        compare([one, other], metrics=["los"])
    with pytest.raises(RecordError, match=r"the mode of loss must be min or max, got 'less'"):
        compare([one, other], modes={"loss": "less"})  # pyright: ignore[reportArgumentType]
    many = [make(lr=1 + place) for place in range(27)]
    with pytest.raises(RecordError, match=r"27 plans, and at most 26 can be told apart"):
        compare(many)


def test_the_command_prints_tables_and_sentences_and_draws(make, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    pairs(make, [(1.0, 0.9), (2.0, 1.88)])
    folders = [f"run-{place}" for place in range(4)]
    assert main(["compare", *folders, "--png", "c.png", "--html", "c.html"]) == 0
    text = capsys.readouterr().out
    assert (
        text
        == """\
A  run-0, run-1
   seeds 0, 1; up to 1 optimizer_steps
B  run-2, run-3
   seeds 0, 1; up to 1 optimizer_steps

plan, A -> B
  schedules.lr.init_value: 0.1 -> 0.2

as applied, at optimizer_steps    0     1
  lr
    A                           0.1  0.09
    B                           0.2  0.18
the same in all: grad_clip

measured  last    95 % interval  at  best    95 % interval  at
  loss
    A      1.5  -4.853 to 7.853   1   1.5  -4.853 to 7.853   1
    B     1.39  -4.836 to 7.616   1  1.39  -4.836 to 7.616   1

B's plan differs from A's in lr.init_value.
loss (last value, less is better): no difference could be seen. B less A is
-0.11 (95 % interval -0.237 to +0.0171, paired over 2 seeds).
wrote c.png
wrote c.html
"""
    )
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "c.html").read_text()
    assert "A.lr" in page
    assert "B.loss" in page


def test_json_holds_the_same_and_no_number_that_json_has_not(make, capsys, tmp_path):
    make(losses=(1.0, math.nan))
    make(lr=0.2, losses=(1.0, 2.0))
    assert main(["compare", str(tmp_path / "run-0"), str(tmp_path / "run-1"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["differing"] == ["lr"]
    assert found["sides"][1]["changes"] == ["schedules.lr.init_value: 0.1 -> 0.2"]
    assert found["measured"][0]["sides"]["A"]["runs"][0]["last"] is None
    assert found["measured"][0]["sides"]["B"]["runs"][0]["last"] == 2.0
    assert main(["compare", str(tmp_path / "run-0")]) == 2
    assert "needs at least two runs" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "a", "b", "--mode", "loss"])
    assert "must be NAME=min or NAME=max, got 'loss'" in capsys.readouterr().err
