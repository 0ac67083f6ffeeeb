"""Whatever happens to process or disk at whatever instant: every row once, or an error with nothing changed."""

import builtins
import errno
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs.fake import FakeScheduler, loss

from tempomat.core import RecordError
from tempomat.runs import Recorder, log, read_run


def test_a_run_that_is_killed_at_any_operation_and_resumed_has_every_row_once(tmp_path):
    script = Path(__file__).with_name("killed.py")
    ran = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 100


OPERATIONS = ("open", "pwrite", "ftruncate", "fsync", "replace")


class Failing:
    """Lets the operation of a number fail, once or from then on."""

    def __init__(self, monkeypatch, place, *, code=errno.ENOSPC, once=True, names=OPERATIONS):
        self.left, self.once, self.code = place, once, code
        for name in names:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, real):
        def operation(*arguments, **options):
            self.left -= 1
            if self.left == -1 or (self.left < -1 and not self.once):
                if name == "pwrite":  # a full disk takes a part
                    handle, data, offset = arguments
                    real(handle, data[: len(data) // 2], offset)
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **options)

        return operation

    @property
    def happened(self):
        return self.left < 0


def train(folder, steps=20):
    """Train to the end, from the last checkpoint wherever something fails; returns the errors."""
    errors = []
    checkpoint = folder / "checkpoint.json"
    while True:
        state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"count": 0, "record": 0}
        scheduler = FakeScheduler(count=state["count"])
        try:
            with Recorder(folder, resume=state["record"]) as recorder:
                while scheduler.count < steps:
                    scheduler.step()
                    recorder.write(scheduler, train_loss=loss(scheduler.count))
                    if scheduler.count % 6 == 0:
                        state = {"count": scheduler.count, "record": recorder.state_dict()}
                        checkpoint.write_text(json.dumps(state))
        except RecordError as error:
            errors.append(str(error))
            continue
        return errors


def recorded(folder):
    run = read_run(folder)
    return [{**row, "time": 0} for row in (*run.rows, *run.events)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_every_operation_that_fails_is_an_error_and_the_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch, code):
    monkeypatch.setattr(log, "FLUSH_BYTES", 1000)
    train(tmp_path / "unbroken")
    expected = recorded(tmp_path / "unbroken")
    place = 0
    while True:
        with monkeypatch.context() as patch:
            failing = Failing(patch, place, code=code)
            errors = train(tmp_path / str(place))
        assert recorded(tmp_path / str(place)) == expected
        if not failing.happened:
            break
        assert len(errors) == 1
        assert os.strerror(code) in errors[0]
        place += 1
    assert place >= 30


def full_disk(monkeypatch):
    return Failing(monkeypatch, 0, once=False, names=("pwrite",))


def test_a_full_disk_refuses_the_row_and_what_is_there_stays_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "FLUSH_BYTES", 1)
    scheduler = FakeScheduler(count=1)
    recorder = Recorder(tmp_path)
    for count in (1, 2, 3):
        scheduler.count = count
        recorder.write(scheduler)
    record = tmp_path / "record.jsonl"
    before = record.read_bytes()
    with monkeypatch.context() as patch:
        full_disk(patch)
        scheduler.count = 4
        for _ in range(2):
            with pytest.raises(
                RecordError, match=r"cannot be written: No space left on device\. 1 rows wait in memory"
            ):
                recorder.write(scheduler)
        for act in (recorder.flush, recorder.state_dict, recorder.close):
            with pytest.raises(RecordError, match="No space left on device"):
                act()
        assert record.read_bytes() == before
    recorder.write(scheduler)
    recorder.close()
    assert [row["counts"]["optimizer_steps"] for row in read_run(tmp_path).rows] == [1, 2, 3, 4]


def resumable(folder):
    """A run with rows after its checkpoint; returns the checkpoint's offset."""
    with Recorder(folder) as recorder:
        recorder.write(FakeScheduler(count=1))
        offset = recorder.offset
        recorder.write(FakeScheduler(count=2))
    return offset


def test_a_record_that_cannot_be_cut_back_is_an_error_and_can_be_resumed_again(tmp_path, monkeypatch):
    offset = resumable(tmp_path)
    before = (tmp_path / "record.jsonl").read_bytes()
    with Recorder(tmp_path, resume=offset) as recorder:
        with monkeypatch.context() as patch:
            Failing(patch, 0, code=errno.EIO, names=("ftruncate",))
            with pytest.raises(RecordError, match=r"record\.jsonl: cannot be cut back: Input/output error"):
                recorder.write(FakeScheduler(count=2))
        assert (tmp_path / "record.jsonl").read_bytes() == before
        assert len(read_run(tmp_path).rows) == 2
        recorder.write(FakeScheduler(count=3))
    assert [row["counts"]["optimizer_steps"] for row in read_run(tmp_path).rows] == [1, 3]


def test_a_record_is_cut_back_on_the_disk_before_new_rows_come(tmp_path, monkeypatch):
    offset = resumable(tmp_path)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    with Recorder(tmp_path, resume=offset) as recorder:
        recorder.write(FakeScheduler(count=2))
        assert offset in synced


def test_a_record_that_shrinks_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    offset = resumable(tmp_path)
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    with pytest.raises(RecordError, match="ends at 0 while it is read; somebody else is changing it"):
        Recorder(tmp_path, resume=offset)


def test_a_record_that_cannot_be_read_again_for_its_events_is_an_error(tmp_path, monkeypatch):
    offset = resumable(tmp_path)
    scheduler = FakeScheduler(count=4)
    scheduler.step()
    real = builtins.open

    def broken(path, *arguments, **options):
        if Path(path).name == "record.jsonl":
            raise OSError(errno.EIO, "broken")
        return real(path, *arguments, **options)

    with Recorder(tmp_path, resume=offset) as recorder:
        monkeypatch.setattr(builtins, "open", broken)
        with pytest.raises(RecordError, match=r"record\.jsonl: cannot be read: .*broken"):
            recorder.write(scheduler)


def test_a_recorder_whose_disk_failed_says_so_once_and_goes_quietly(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path)
    recorder.write(FakeScheduler(count=1))
    with monkeypatch.context() as patch:
        Failing(patch, 0, code=errno.EIO, names=("fsync",))
        with pytest.raises(RecordError, match="did not take the rows"):
            recorder.state_dict()
    before = len(os.listdir("/dev/fd"))
    del recorder
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before - 2


def test_a_disk_that_writes_a_little_at_a_time_writes_everything(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, offset: real(handle, data[:7], offset))
    with Recorder(tmp_path) as recorder:
        for count in (1, 2, 3):
            recorder.write(FakeScheduler(count=count))
    assert len(read_run(tmp_path).rows) == 3


def test_after_a_flush_that_the_disk_did_not_take_nothing_more_is_written(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path)
    recorder.write(FakeScheduler(count=1))
    offset = recorder.offset
    recorder.write(FakeScheduler(count=2))
    with monkeypatch.context() as patch:
        Failing(patch, 0, code=errno.EIO, names=("fsync",))
        with pytest.raises(
            RecordError, match=r"did not take the rows: Input/output error\. Resume from the last checkpoint"
        ):
            recorder.state_dict()
    for act in (lambda: recorder.write(FakeScheduler(count=3)), recorder.flush, recorder.state_dict, recorder.close):
        with pytest.raises(RecordError, match="did not take the rows"):
            act()
    recorder.close()
    with Recorder(tmp_path, resume=offset) as recorder:
        recorder.write(FakeScheduler(count=2))
    assert [row["counts"]["optimizer_steps"] for row in read_run(tmp_path).rows] == [1, 2]


def test_a_run_that_cannot_be_started_leaves_nothing_behind_and_starts_when_there_is_room(tmp_path, monkeypatch):
    for place in range(20):
        folder = tmp_path / str(place)
        recorder = Recorder(folder)
        with monkeypatch.context() as patch:
            failing = Failing(patch, place, names=("open", "fsync", "replace"))
            try:
                recorder.write(FakeScheduler())
            except RecordError:
                assert [path.name for path in folder.iterdir()] == [".lock"]
        if not failing.happened:
            break
        recorder.write(FakeScheduler())
        recorder.close()
        assert len(read_run(folder).rows) == 1
    assert place > 8
