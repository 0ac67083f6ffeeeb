"""The recorder: what it writes, when, and what it refuses while nothing has been changed."""

import gc
import json
import math
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from runs.fake import PLAN, FakeScheduler, loss

import tempomat
from tempomat.core import Cosine, MeasurementError, Plateau, RecordError
from tempomat.plan import Plan, load_plan
from tempomat.runs import Recorder, log, read_run


def rows(folder):
    return [json.loads(line) for line in Path(folder, "record.jsonl").read_text().splitlines()]


def info(folder):
    return json.loads(Path(folder, "run.json").read_text())


def written(folder, steps=3, **options):
    """A closed run of a few rows."""
    scheduler = FakeScheduler()
    with Recorder(folder, **options) as recorder:
        for _ in range(steps):
            scheduler.step()
            recorder.write(scheduler, train_loss=loss(scheduler.count))
    return scheduler


def test_a_row_has_counts_values_as_asked_and_as_applied_measurements_and_the_time(tmp_path):
    scheduler = written(tmp_path, steps=1)
    (row,) = rows(tmp_path)
    assert list(row) == ["counts", "asked", "applied", "measured", "time"]
    assert row["counts"] == {"optimizer_steps": 1, "samples": 32}
    assert row["asked"] == {"lr": PLAN["lr"](1), "wd": 0.01}
    assert row["applied"] == scheduler.values
    assert row["applied"]["lr"] != row["asked"]["lr"]
    assert row["measured"] == {"train_loss": 0.5}
    assert 0 <= row["time"] < 60


def test_beside_the_record_lie_the_plan_and_what_the_run_was(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    written(tmp_path, seed=7, notes={"what": "a test"})
    plan, said = load_plan(tmp_path / "plan.yaml"), info(tmp_path)
    (session,) = said["sessions"]
    assert plan == PLAN
    assert said["format"] == 1
    assert said["seed"] == 7
    assert re.fullmatch("[0-9a-f]{32}", said["run"])
    assert session["plan"] == "plan.yaml"
    assert session["fingerprint"] == PLAN.fingerprint
    assert session["notes"] == {"what": "a test"}
    assert session["versions"]["tempomat"] == tempomat.__version__
    assert session["versions"]["numpy"] == np.__version__
    assert session["versions"]["python"] == platform.python_version()
    assert session["platform"] == platform.platform()
    assert before <= datetime.fromisoformat(session["started"]) <= datetime.fromisoformat(session["ended"])
    assert datetime.fromisoformat(session["ended"]) <= datetime.now(UTC)


def test_the_version_of_a_framework_is_there_if_it_was_imported_and_recording_imports_none(tmp_path):
    script = (
        "import sys, types\n"
        "sys.path.insert(0, {tests!r})\n"
        "from runs.fake import FakeScheduler\n"
        "from tempomat.runs import Recorder\n"
        "{before}\n"
        "with Recorder({folder!r}) as recorder: recorder.write(FakeScheduler())\n"
        "assert 'torch' in sys.modules or not {{'torch', 'jax', 'tensorboard'}} & set(sys.modules)\n"
    )
    framework = "sys.modules['torch'] = types.SimpleNamespace(__version__='9.8.7')"
    tests = str(Path(__file__).parents[1])
    for name, before in (("without", ""), ("with", framework)):
        code = script.format(tests=tests, folder=str(tmp_path / name), before=before)
        subprocess.run([sys.executable, "-c", code], check=True)
    assert "torch" not in info(tmp_path / "without")["sessions"][0]["versions"]
    assert info(tmp_path / "with")["sessions"][0]["versions"]["torch"] == "9.8.7"


def test_events_since_the_last_row_stand_before_it_once(tmp_path):
    written(tmp_path, steps=11)
    kinds = [(row.get("event", "row"), row["counts"]["optimizer_steps"]) for row in rows(tmp_path)]
    assert kinds[3:7] == [("row", 4), ("decision", 5), ("row", 5), ("row", 6)]
    assert [count for kind, count in kinds if kind == "decision"] == [5, 10]
    assert [count for kind, count in kinds if kind == "row"] == list(range(1, 12))
    decision = rows(tmp_path)[4]
    assert decision["entry"] == "lr"
    assert decision["level"] == 0.2
    assert decision["time"] >= 0


def test_an_event_without_counts_gets_those_of_its_moment(tmp_path):
    scheduler = FakeScheduler(count=3)
    scheduler.events.append({"event": "note", "counts_of_own": 1})
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
    assert rows(tmp_path)[0]["counts"] == {"optimizer_steps": 3, "samples": 96}


def test_an_event_after_the_last_row_is_recorded_when_the_recorder_is_closed(tmp_path):
    scheduler = FakeScheduler(count=4)
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        scheduler.step()
    assert [row.get("event") for row in rows(tmp_path)] == [None, "decision"]


def test_an_event_before_a_checkpoint_is_recorded_in_front_of_its_offset(tmp_path):
    scheduler = FakeScheduler(count=4)
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        scheduler.step()
        offset = recorder.offset
        recorder.write(scheduler)
    content = (tmp_path / "record.jsonl").read_bytes()
    assert content[:offset].count(b"decision") == 1
    assert content[offset:].count(b"\n") == 1


def test_a_scheduler_that_starts_its_events_anew_has_every_one_of_them_recorded(tmp_path):
    first, second = FakeScheduler(count=4), FakeScheduler(count=9)
    with Recorder(tmp_path) as recorder:
        for scheduler in (first, second):
            scheduler.step()
            recorder.write(scheduler)
        second.events = []
        recorder.write(second)
        second.events.append({"event": "decision", "level": 3.0})
        recorder.write(second)
        second.events = [{"event": "decision", "level": 4.0}]
        recorder.write(second)
    assert [row["level"] for row in rows(tmp_path) if "event" in row] == [0.2, 0.1, 3.0, 4.0]


def test_an_event_that_is_no_plain_data_is_refused_and_the_row_with_it(tmp_path):
    scheduler = FakeScheduler()
    scheduler.events.append({"event": "odd", "what": object()})
    with Recorder(tmp_path) as recorder:
        with pytest.raises(RecordError, match="the event 'odd' cannot be recorded"):
            recorder.write(scheduler)
        scheduler.events[0] = {"event": "odd", "what": "word"}
        recorder.write(scheduler)
    assert len(rows(tmp_path)) == 2


def test_a_measurement_that_is_not_finite_is_null_with_its_marker(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.write(FakeScheduler(), loss=math.nan, gain=-math.inf, fine=1.0)
    (row,) = rows(tmp_path)
    assert row["measured"] == {"loss": None, "gain": None, "fine": 1.0}
    assert row["nonfinite"] == {"/measured/loss": "NaN", "/measured/gain": "-Infinity"}
    assert math.isnan(read_run(tmp_path).measured("loss").values[0])
    assert read_run(tmp_path).measured("gain").values.tolist() == [-math.inf]


def test_a_measurement_that_is_no_number_leaves_neither_row_nor_run(tmp_path):
    recorder = Recorder(tmp_path)
    with pytest.raises(MeasurementError, match=r"measured\.loss: must be a number, got 'low' \(str\)"):
        recorder.write(FakeScheduler(), loss="low")
    recorder.close()
    assert not (tmp_path / "run.json").exists()
    written(tmp_path)


def test_any_name_may_be_measured(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.write(FakeScheduler(), **{"self": 1.0, "scheduler": 2.0, "curriculum/stage": 3, "é\n": 4.0})
    assert rows(tmp_path)[0]["measured"] == {"self": 1.0, "scheduler": 2.0, "curriculum/stage": 3, "é\n": 4.0}


def test_a_scheduler_that_refuses_to_be_read_leaves_the_record_as_it_was(tmp_path):
    class Refusing(FakeScheduler):
        @property
        def values(self):
            raise RecordError("somebody else wrote lr")

    with Recorder(tmp_path) as recorder:
        recorder.write(FakeScheduler(count=1))
        with pytest.raises(RecordError, match="somebody else wrote lr"):
            recorder.write(Refusing(count=2))
        recorder.write(FakeScheduler(count=2))
    assert [row["counts"]["optimizer_steps"] for row in rows(tmp_path)] == [1, 2]


# counts


def test_a_count_that_goes_back_is_refused_and_the_recorder_goes_on(tmp_path):
    scheduler = FakeScheduler(count=3)
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        scheduler.count = 2
        with pytest.raises(RecordError, match=r"optimizer_steps is 2, and 3 in the row before(?s:.*)rewind\(\)"):
            recorder.write(scheduler)
        scheduler.count = 3
        recorder.write(scheduler)
    assert [row["counts"]["optimizer_steps"] for row in rows(tmp_path)] == [3, 3]


def test_another_clock_that_goes_back_is_refused_too(tmp_path):
    class Slipping(FakeScheduler):
        @property
        def counts(self):
            return {"optimizer_steps": self.count, "samples": 100 - self.count}

    with Recorder(tmp_path) as recorder:
        recorder.write(Slipping(count=5))
        with pytest.raises(RecordError, match="samples is 94, and 95 in the row before"):
            recorder.write(Slipping(count=6))
    assert len(rows(tmp_path)) == 1


def test_a_rewind_is_recorded_and_counts_go_on_from_there(tmp_path):
    scheduler = FakeScheduler(count=7)
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        scheduler.rewind(2)
        recorder.write(scheduler)
        scheduler.rewind(1)
        recorder.offset  # noqa: B018 - a checkpoint between the rewind and the next row
        recorder.write(scheduler)
    shown = [(row.get("event"), row["counts"]["optimizer_steps"]) for row in rows(tmp_path)]
    assert shown == [(None, 7), ("rewind", 2), (None, 2), ("rewind", 1), (None, 1)]


# plans


def test_the_plan_that_is_recorded_is_the_schedulers_resolved_one(tmp_path):
    plan = Plan({"lr": {"type": "linear", "init_value": 1, "end_value": 0, "duration": "100%"}}, total="2 epochs")
    with Recorder(tmp_path, plan) as recorder:
        recorder.write(FakeScheduler(plan.resolve(steps_per_epoch=5)))
    assert load_plan(tmp_path / "plan.yaml") == plan.resolve(steps_per_epoch=5)
    assert read_run(tmp_path).plan["lr"](5) == 0.5


def test_a_scheduler_with_another_plan_than_the_recorders_is_refused_and_nothing_is_made(tmp_path):
    other = Plan({"lr": 0.2, "wd": 0.01}, total=30)
    said = r"not the recorder's \(before -> now\):\n  schedules\.lr: 0\.2 -> \{"
    with Recorder(tmp_path, other) as recorder, pytest.raises(RecordError, match=said):
        recorder.write(FakeScheduler())
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_plan_that_changes_while_it_is_recorded_is_refused(tmp_path):
    scheduler = FakeScheduler()
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        scheduler.plan = Plan({"lr": 0.1, "wd": 0.02}, total=30)
        with pytest.raises(
            RecordError, match=r"changed while it was recorded(?s:.*)wd: 0\.01 -> 0\.02(?s:.*)on_change"
        ):
            recorder.write(scheduler)
        scheduler.plan = Plan(PLAN.schedules, total=30)
        recorder.write(scheduler)
    assert len(rows(tmp_path)) == 2


def test_a_plan_with_a_controller_is_recorded_like_any_other(tmp_path):
    plan = Plan({"lr": Cosine(init_value=0.1, end_value=0, duration=9) * Plateau(patience=2)}, total=9)

    class Levelled(FakeScheduler):
        @property
        def asked(self):
            return {"lr": 0.05}

    with Recorder(tmp_path, plan) as recorder:
        recorder.write(Levelled(plan))
    assert read_run(tmp_path).plan == plan


def test_a_plan_file_of_the_same_plan_is_left_as_it_is_comments_and_all(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "# mine\ntotal: 30\nschedules:\n"
        "  wd: 0.01\n  lr: {type: cosine, init_value: 0.1, end_value: 1e-3, duration: 30}\n"
    )
    written(tmp_path)
    assert plan.read_text().startswith("# mine")
    assert read_run(tmp_path).plan == PLAN


@pytest.mark.parametrize("text", ["total: 30\nschedules: {lr: 0.5}\n", "no plan at all"], ids=["another", "none"])
def test_a_plan_file_of_another_plan_is_not_overwritten(tmp_path, text):
    (tmp_path / "plan.yaml").write_text(text)
    with Recorder(tmp_path) as recorder, pytest.raises(RecordError, match=r"plan\.yaml: is there already and is not"):
        recorder.write(FakeScheduler())
    assert (tmp_path / "plan.yaml").read_text() == text
    assert not (tmp_path / "run.json").exists()
    assert not (tmp_path / "record.jsonl").exists()


# folders


def test_a_folder_is_made_with_those_above_it_and_may_hold_other_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights.pt").write_bytes(b"w")
    written(tmp_path / "a")
    written(tmp_path / "b" / "c")
    assert (tmp_path / "a" / "weights.pt").read_bytes() == b"w"
    assert len(rows(tmp_path / "b" / "c")) == 3


def test_a_folder_that_holds_a_run_is_refused_and_stays_as_it_was(tmp_path):
    written(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"}
    with pytest.raises(
        RecordError, match=r"holds a run already, started 20\S+Z\. Use another folder, or go on with resume"
    ):
        Recorder(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"} == before


def test_rows_without_a_run_file_are_not_overwritten(tmp_path):
    (tmp_path / "record.jsonl").write_text("{}\n")
    with pytest.raises(RecordError, match=r"holds rows, and no run\.json says of which run"):
        Recorder(tmp_path)


def test_a_start_that_broke_off_before_the_run_file_was_there_does_not_stand_in_the_way(tmp_path):
    written(tmp_path)
    (tmp_path / "run.json").unlink()
    (tmp_path / "record.jsonl").write_text("")
    written(tmp_path)
    assert len(read_run(tmp_path).rows) == 3


def test_a_file_where_the_folder_should_be_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(RecordError, match="a: cannot be made"):
        Recorder(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 1.0}, r"seed must be an int or None, got 1\.0 \(float\)"),
        ({"seed": True}, "seed must be an int or None, got True"),
        ({"notes": {1, 2}}, "notes must be plain data"),
        ({"notes": math.nan}, "notes must be plain data"),
        ({"on_change": "replace"}, "on_change must be refuse or accept, got 'replace'"),
        ({"resume": True}, "resume must be an integer count, got True"),
        ({"resume": -1}, "resume must be between 0"),
        ({"resume": "12"}, "resume must be an integer count, got '12'"),
        ({"resume": 1.5}, "resume must be an integer count"),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
def test_what_a_recorder_cannot_take_is_refused_before_the_folder_is_made(tmp_path, options, said):
    with pytest.raises(RecordError, match=said):
        Recorder(tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


# one writer


def test_a_second_recorder_of_a_folder_is_refused_and_told_who_holds_it(tmp_path):
    said = rf"process {os.getpid()} on \S+ is writing this run\. Use another folder"
    with Recorder(tmp_path), pytest.raises(RecordError, match=said):
        Recorder(tmp_path)
    Recorder(tmp_path).close()


def test_a_recorder_in_another_process_is_refused_until_the_holder_is_killed(tmp_path):
    tests = str(Path(__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {tests!r})\n"
        "from runs.fake import FakeScheduler\n"
        "from tempomat.runs import Recorder\n"
        f"recorder = Recorder({str(tmp_path)!r}); recorder.write(FakeScheduler(count=1)); offset = recorder.offset\n"
        "recorder.write(FakeScheduler(count=2)); recorder.flush()\n"
        "print(offset, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        offset = int((holder.stdout or sys.stdin).readline())
        with pytest.raises(RecordError, match=f"process {holder.pid} on"):
            Recorder(tmp_path, resume=offset)
        assert len(read_run(tmp_path).rows) == 2
        holder.kill()
    with Recorder(tmp_path, resume=offset) as recorder:
        recorder.write(FakeScheduler(count=2))
    assert [row["counts"]["optimizer_steps"] for row in rows(tmp_path)] == [1, 2]


FORKS = """
import os, sys, time
sys.path.insert(0, {tests!r})
from runs.fake import FakeScheduler
from tempomat.core import RecordError
from tempomat.runs import Recorder

recorder = Recorder({folder!r})
recorder.write(FakeScheduler(count=1))
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    for act in (lambda: recorder.write(FakeScheduler(count=2)), recorder.flush, lambda: recorder.offset):
        try:
            act()
        except RecordError as error:
            assert "a forked process" in str(error), error
        else:
            os._exit(1)
    {ending}
assert os.waitpid(child, 0)[1] == 0
recorder.write(FakeScheduler(count=2))
recorder.close()
"""


@pytest.mark.parametrize("ending", ["del recorder; os._exit(0)", "sys.exit(0)"], ids=["collected", "exits"])
def test_a_forked_worker_cannot_record_and_its_end_writes_nothing_twice(tmp_path, ending):
    code = FORKS.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path), ending=ending)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert [row["counts"]["optimizer_steps"] for row in rows(tmp_path)] == [1, 2]


def test_a_worker_that_outlives_a_killed_run_does_not_hold_its_lock(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from tempomat.runs import Recorder\n"
        f"recorder = Recorder({str(tmp_path)!r})\n"
        "if os.fork() == 0:\n"
        "    print(os.getpid(), flush=True); sys.stdin.read(); os._exit(0)\n"  # until its standard input is closed
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        worker = int((holder.stdout or sys.stdin).readline())
        with pytest.raises(RecordError, match=f"process {holder.pid} on"):
            Recorder(tmp_path)
        holder.kill()
        holder.wait()
        os.kill(worker, 0)
        Recorder(tmp_path).close()


# buffering and the end


def test_rows_wait_in_memory_until_enough_are_together(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "FLUSH_BYTES", 1000)
    scheduler = FakeScheduler()
    with Recorder(tmp_path) as recorder:
        sizes = []
        for _ in range(12):
            scheduler.step()
            recorder.write(scheduler)
            sizes.append((tmp_path / "record.jsonl").stat().st_size)
        assert sizes[0] == 0
        assert 0 < max(sizes) < 2500
        assert len(set(sizes)) > 2
        recorder.flush()
        assert len(rows(tmp_path)) == 12 + 2


def test_rows_wait_only_so_long(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    scheduler = FakeScheduler(count=1)
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        now[0] = log.FLUSH_SECONDS - 0.1
        recorder.write(scheduler)
        assert rows(tmp_path) == []
        now[0] = log.FLUSH_SECONDS
        recorder.write(scheduler)
        assert len(rows(tmp_path)) == 2
        now[0] += log.FLUSH_SECONDS - 0.1
        recorder.write(scheduler)
        assert len(rows(tmp_path)) == 2


def test_the_offset_is_where_the_next_row_will_stand_and_everything_before_it_is_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    scheduler = FakeScheduler(count=1)
    with Recorder(tmp_path) as recorder:
        assert recorder.offset == 0
        recorder.write(scheduler)
        synced.clear()
        offset = recorder.offset
        assert synced == [offset]
    assert offset == (tmp_path / "record.jsonl").stat().st_size > 0


def test_flush_before_the_first_row_does_nothing(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.flush()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_recorder_that_nobody_closes_writes_what_it_holds_when_it_is_collected(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.write(FakeScheduler(count=1))
    del recorder
    gc.collect()
    assert len(rows(tmp_path)) == 1
    assert not read_run(tmp_path).closed


def test_a_recorder_that_nobody_closes_writes_what_it_holds_when_the_program_ends(tmp_path):
    tests = str(Path(__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {tests!r})\n"
        "from runs.fake import FakeScheduler\n"
        "from tempomat.runs import Recorder\n"
        f"recorder = Recorder({str(tmp_path)!r}); recorder.write(FakeScheduler(count=1)); raise KeyboardInterrupt\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert len(rows(tmp_path)) == 1


def test_a_closed_recorder_holds_no_file_open(tmp_path):
    written(tmp_path)
    before = os.listdir("/dev/fd")
    recorder = Recorder(tmp_path, resume=0)
    recorder.write(FakeScheduler())
    assert len(os.listdir("/dev/fd")) == len(before) + 2
    recorder.close()
    with pytest.raises(RecordError, match="the checkpoint was taken at"):
        Recorder(tmp_path, resume=10**6)
    assert len(os.listdir("/dev/fd")) == len(before)


def test_closing_twice_is_closing_once_and_a_closed_recorder_takes_nothing(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.write(FakeScheduler())
    recorder.close()
    said = (tmp_path / "run.json").read_bytes()
    recorder.close()
    assert (tmp_path / "run.json").read_bytes() == said
    for act in (
        lambda: recorder.write(FakeScheduler()),
        recorder.flush,
        recorder.state_dict,
        lambda: recorder.offset,
    ):
        with pytest.raises(RecordError, match="the recorder is closed"):
            act()


def test_a_recorder_that_was_closed_before_the_first_row_takes_nothing_either(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.close()
    for act in (lambda: recorder.write(FakeScheduler()), recorder.flush, recorder.state_dict):
        with pytest.raises(RecordError, match="the recorder is closed"):
            act()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_error_in_the_loop_still_closes_the_run(tmp_path):
    def train():
        with Recorder(tmp_path) as recorder:
            recorder.write(FakeScheduler())
            raise ArithmeticError("the loss is gone")

    with pytest.raises(ArithmeticError, match="the loss is gone"):
        train()
    assert read_run(tmp_path).closed
    assert len(rows(tmp_path)) == 1


# mirrors


class Mirror:
    def __init__(self, fails_at=""):
        self.calls, self.seen, self.fails_at = [], [], fails_at

    def _called(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name == self.fails_at:
            raise OSError("the screen is full")

    def start(self, folder, plan, after):
        self._called("start", folder, plan.fingerprint, after)

    def row(self, row):
        self.seen.append(row)
        self._called("row")

    def flush(self):
        self._called("flush")

    def close(self):
        self._called("close")


def test_a_mirror_gets_every_row_as_it_is_recorded(tmp_path):
    mirror = Mirror()
    with Recorder(tmp_path, mirrors=[mirror]) as recorder:
        assert mirror.calls == []
        recorder.write(FakeScheduler(count=4), loss=math.inf)
        recorder.flush()
        recorder.offset  # noqa: B018
    assert mirror.calls[0] == ("start", tmp_path, PLAN.fingerprint, None)
    assert [name for name, *_ in mirror.calls[1:]] == ["row", "flush", "flush", "flush", "close"]
    assert mirror.seen == [dict(read_run(tmp_path).rows[0])]


@pytest.mark.parametrize("place", ["row", "flush", "close"])
def test_a_mirror_that_fails_is_an_error_that_names_it_with_the_row_in_the_record(tmp_path, place):
    def train():
        recorder = Recorder(tmp_path, mirrors=[Mirror(fails_at=place)])
        recorder.write(FakeScheduler(count=1))
        recorder.flush()
        recorder.close()

    with pytest.raises(RecordError, match="Mirror: OSError: the screen is full"):
        train()
    gc.collect()
    assert len(rows(tmp_path)) == 1


def test_a_mirror_that_cannot_start_leaves_no_run_behind(tmp_path):
    with (
        Recorder(tmp_path, mirrors=[Mirror(fails_at="start")]) as recorder,
        pytest.raises(RecordError, match="Mirror: OSError: the screen is full"),
    ):
        recorder.write(FakeScheduler(count=1))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_is_no_scheduler_is_refused_with_what_it_lacks(tmp_path):
    with Recorder(tmp_path) as recorder, pytest.raises(RecordError, match=r"got \w*Path, without plan, counts, asked"):
        recorder.write(cast(Any, Path()))
    with pytest.raises(RecordError, match=r"plan must be a tempomat\.Plan, got dict"):
        Recorder(tmp_path, cast(Any, {"lr": 0.1}))
    Recorder(tmp_path).close()


def test_a_plan_that_is_not_resolved_is_refused(tmp_path):
    plan = Plan({"lr": 0.1, "wd": 0.1}, total="2 epochs")
    with (
        Recorder(tmp_path) as recorder,
        pytest.raises(RecordError, match=r"lengths that are no counts yet; resolve\(\) it"),
    ):
        recorder.write(FakeScheduler(plan))
