"""The main example, run for real at its smallest: what it prints must be what it recorded."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loading import example
from scipy import stats

from tempomat.runs import read_run

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
COMMAND = [sys.executable, str(DIGITS / "train.py")]
STEPS_PER_EPOCH = 22

pytestmark = pytest.mark.slow


def call(*options: object) -> str:
    done = subprocess.run([*COMMAND, *map(str, options)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A folder with two seeds of both plans over two epochs, and what the command said."""
    out = tmp_path_factory.mktemp("digits")
    return out, call("--quick", "--out", out)


@pytest.fixture(scope="module")
def report():
    """The example's own module of that name."""
    return example("digits/report.py")


def records(out: Path, name: str) -> list:
    return [read_run(folder) for folder in sorted(out.glob(f"{name}-*/seed-*"))]


def results(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("*/*/result.json"))}


def accuracies(out: Path, name: str) -> list[float]:
    return [100 * record.measured("test_accuracy").values[-1] for record in records(out, name)]


def test_the_table_shows_the_accuracies_that_were_recorded_and_their_mean(quick):
    out, said = quick
    for row, name in (("schedule", "plan"), ("constant lr", "constant")):
        shown = re.search(rf"^{row} +([\d.]+) +[-\d.]+ to [-\d.]+ +([\d.]+) +([\d.]+)$", said, re.MULTILINE)
        assert shown is not None, said
        recorded = accuracies(out, name)
        # Whole images of the 720 that nothing was chosen by.
        assert [value * 7.2 for value in recorded] == pytest.approx(
            [round(value * 7.2) for value in recorded], rel=1e-9
        )
        assert shown.groups() == tuple(f"{value:.2f}" for value in (sum(recorded) / 2, *recorded))


def test_the_verdict_has_the_sign_and_the_interval_of_a_paired_t_test_of_the_record(quick):
    out, said = quick
    schedule, constant = accuracies(out, "plan"), accuracies(out, "constant")
    low, high = stats.ttest_rel(schedule, constant).confidence_interval(0.95)
    winner = (
        "The schedule wins by" if low > 0 else "The constant lr wins by" if high < 0 else "No difference could be seen"
    )
    (verdict,) = re.findall(rf"^{winner}.*$", said, re.MULTILINE)
    assert f"(95 % interval {low:+.2f} to {high:+.2f}, paired over 2 seeds)" in verdict
    assert f"{abs(sum(schedule) - sum(constant)) / 2:.2f} points" in verdict
    assert json.loads((out / "report.json").read_text())["difference"]["interval"] == pytest.approx(
        (low, high), rel=1e-9
    )


def test_every_recorded_value_is_the_plans_and_every_step_is_recorded(quick):
    out, _ = quick
    for name in ("plan", "constant"):
        for record in records(out, name):
            assert record.closed
            assert record.measured("train_loss").counts.tolist() == list(range(2 * STEPS_PER_EPOCH))
            assert record.measured("val_accuracy").counts.tolist() == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]
            assert set(record.names["asked"]) == {"lr", "weight_decay", "betas[0]", "grad_clip"}
            for entry in record.names["asked"]:
                counts, asked, applied = record.series(entry)
                assert asked.tolist() == applied.tolist() == [record.plan[entry](int(count)) for count in counts]


def test_both_plans_name_the_same_things_and_only_one_of_them_moves(quick):
    out, _ = quick
    (moving, *_), (still, *_) = records(out, "plan"), records(out, "constant")
    assert moving.plan.schedules.keys() == still.plan.schedules.keys()
    assert moving.plan.total == still.plan.total == 2 * STEPS_PER_EPOCH
    for entry in still.plan.schedules:
        assert len(set(still.series(entry).applied)) == 1
        assert len(set(moving.series(entry).applied)) > STEPS_PER_EPOCH


def test_all_that_it_says_it_wrote_is_there(quick):
    out, said = quick
    listed = re.findall(rf"^  ({re.escape(str(out))}\S+)", said, re.MULTILINE)
    assert [Path(one).name for one in listed] == ["digits.png", "report.txt", "seed-*", "seed-*"]
    assert (out / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "report.txt").read_text() in said
    assert (
        len(list(out.glob("plan-*/seed-*/record.jsonl"))) == len(list(out.glob("constant-*/seed-*/record.jsonl"))) == 2
    )


def test_called_again_it_trains_only_what_is_missing_or_was_made_otherwise_and_says_the_same(quick):
    out, said = quick
    before = results(out)
    gone, foreign = (next(name for name in before if name.startswith(plan)) for plan in ("plan-", "constant-"))
    (out / gone).unlink()
    (out / foreign).write_bytes(before[foreign].replace(b'"torch": "', b'"torch": "0.'))
    again = call("--quick", "--processes", 1, "--out", out)
    assert again.startswith("2 of 4 runs are already there.\n")
    after = results(out)
    assert {name for name in before if after[name] != before[name]} == {gone, foreign}
    assert again[again.index("test accuracy") :] == said[said.index("test accuracy") :]


def test_one_process_gives_what_two_give_and_so_does_training_anew(quick, tmp_path):
    out, _ = quick
    alone = ("--quick", "--seeds", 0, "--processes", 1, "--out", tmp_path)
    assert "needs two seeds" in call(*alone)
    first = results(tmp_path)
    call(*alone, "--fresh")
    assert not set(first.values()) & set(results(tmp_path).values())
    for name in ("plan", "constant"):
        (one,), (other, _) = records(tmp_path, name), records(out, name)
        for measured in one.names["measured"]:
            assert one.measured(measured).values.tolist() == other.measured(measured).values.tolist()


def test_another_plan_gets_a_constant_of_its_length_its_clip_is_applied_and_its_plateau_is_told(tmp_path):
    plan = tmp_path / "mine.yaml"
    # Gradients cut to nothing leave Adam nothing, and a gain of 1e9 is never reached.
    plan.write_text(
        "total: 2 epochs\n"
        "schedules:\n"
        "  lr: {type: plateau, init_value: 0.01, factor: 0.5, patience: 0, threshold: 1.0e9, threshold_mode: abs}\n"
        "  grad_clip: 1.0e-14\n"
    )
    call("--plan", plan, "--seeds", 0, "--processes", 1, "--out", tmp_path)
    (mine,), (constant,) = records(tmp_path, "mine"), records(tmp_path, "constant")
    assert mine.plan.total == constant.plan.total == 2 * STEPS_PER_EPOCH
    assert min(mine.measured("train_loss").values[-STEPS_PER_EPOCH:]) > 2
    assert max(constant.measured("train_loss").values[-STEPS_PER_EPOCH:]) < 2
    assert [(one["event"], one["entry"], one["level"]) for one in mine.events] == [("decision", "lr", 0.005)]


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(tmp_path):
    started = subprocess.Popen(
        [*COMMAND, "--seeds", "0", "--epochs", "100000", "--processes", "1", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("*/*/run.json")) and started.poll() is None:
        time.sleep(0.1)
    started.send_signal(signal.SIGINT)
    _, error = started.communicate(timeout=120)
    assert started.returncode == 130
    assert (
        error.strip() == f"Stopped. 0 of 2 runs are done and kept in {tmp_path}; the same command goes on from there."
    )
    assert results(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--epochs", "0"], "must be a whole number of at least 1, got '0'"),
        (["--plan", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_trained(options, fault, tmp_path):
    done = subprocess.run([*COMMAND, "--out", str(tmp_path), *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("schedule", "constant", "words"),
    [
        ((99.0, 99.2, 99.4), (98.0, 98.2, 98.5), "The schedule wins by 0.97 points"),
        ((98.0, 98.2, 98.5), (99.0, 99.2, 99.4), "The constant lr wins by 0.97 points"),
        ((99.0, 99.2, 99.4), (99.4, 99.0, 99.3), "No difference could be seen: the schedule came out at -0.03 points"),
        ((99.0,), (98.0,), "No difference could be seen: the schedule came out at +1.00 points (one seed"),
    ],
)
def test_the_verdict_names_a_winner_only_where_the_interval_leaves_out_zero(report, schedule, constant, words):
    assert report.Comparison(tuple(range(len(schedule))), schedule, constant).verdict().startswith(words)


def test_an_interval_is_students(report):
    values = (99.03, 99.17, 98.89, 99.31, 99.3)
    low, high = stats.t.interval(0.95, 4, loc=sum(values) / 5, scale=stats.sem(values))
    assert report.interval(values) == pytest.approx((sum(values) / 5, low, high), rel=1e-12)
