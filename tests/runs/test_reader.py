"""Reading a run: everything back as it was recorded, a torn end left out, and no damage passed over."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from runs.fake import PLAN, FakeScheduler, loss

from tempomat.core import RecordError
from tempomat.runs import Recorder, read_run, reader


@pytest.fixture
def run_folder(tmp_path):
    scheduler = FakeScheduler()
    with Recorder(tmp_path, seed=3, notes="n") as recorder:
        for _ in range(12):
            scheduler.step()
            measured = {"train_loss": loss(scheduler.count)}
            if scheduler.count % 4 == 0:
                measured["val_loss"] = math.nan if scheduler.count == 8 else 2.0
            recorder.write(scheduler, **measured)
    return tmp_path


def test_series_come_back_bit_for_bit(run_folder):
    run = read_run(run_folder)
    counts, asked, applied = run.series("lr")
    assert counts.tolist() == list(range(1, 13))
    assert counts.dtype == np.int64
    assert asked.tolist() == [PLAN["lr"](count) for count in range(1, 13)]
    assert applied.tolist() == [float(np.float32(PLAN["lr"](count))) for count in range(1, 13)]
    assert asked.dtype == applied.dtype == np.float64


def test_measurements_come_back_where_they_were_taken(run_folder):
    counts, values = read_run(run_folder).measured("val_loss")
    assert counts.tolist() == [4, 8, 12]
    np.testing.assert_array_equal(values, [2.0, math.nan, 2.0])
    assert read_run(run_folder).measured("train_loss").values.tolist() == [loss(count) for count in range(1, 13)]


def test_another_clock_can_be_asked_for(run_folder):
    assert read_run(run_folder).series("wd", clock="samples").counts.tolist() == [32 * count for count in range(1, 13)]
    assert read_run(run_folder).measured("val_loss", clock="samples").counts.tolist() == [128, 256, 384]


def test_a_run_says_what_it_was(run_folder):
    run = read_run(run_folder)
    assert run.plan == PLAN
    assert run.seed == 3
    assert run.closed
    assert run.info["sessions"][0]["notes"] == "n"
    assert [event["counts"]["optimizer_steps"] for event in run.events] == [5, 10]
    assert run.names == {
        "counts": ("optimizer_steps", "samples"),
        "asked": ("lr", "wd"),
        "measured": ("train_loss", "val_loss"),
    }
    assert repr(run) == f"Run(folder={run_folder!r})"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: run.series("lrr"), r"no row has the entry 'lrr'\. Did you mean lr\? Recorded: lr, wd"),
        (lambda run: run.measured("loss"), r"no row has the measurement 'loss'\..*Recorded: train_loss, val_loss"),
        (
            lambda run: run.series("lr", clock="epochs"),
            r"no row has the clock 'epochs'\..*Recorded: optimizer_steps, samples",
        ),
    ],
    ids=["entry", "measurement", "clock"],
)
def test_a_name_that_was_never_recorded_is_told_those_that_were(run_folder, ask, said):
    with pytest.raises(RecordError, match=said):
        ask(read_run(run_folder))


def test_a_run_is_read_while_it_is_written(tmp_path):
    scheduler = FakeScheduler(count=1)
    with Recorder(tmp_path) as recorder:
        recorder.write(scheduler)
        assert read_run(tmp_path).rows == ()
        recorder.flush()
        run = read_run(tmp_path)
        assert len(run.rows) == 1
        assert not run.closed
    assert read_run(tmp_path).closed


def test_an_entry_that_is_not_in_every_row_has_the_rows_that_it_is_in(tmp_path):
    class Partial(FakeScheduler):
        @property
        def values(self):
            return {} if self.count == 2 else {"lr": 0.5}

    with Recorder(tmp_path) as recorder:
        for count in (1, 2):
            recorder.write(Partial(count=count))
    series = read_run(tmp_path).series("lr")
    np.testing.assert_array_equal(series.applied, [0.5, math.nan])


def unclosed(folder):
    """Take the end of the last session away, as a crash leaves it."""
    from tempomat.runs.info import read_info, write_info

    info = read_info(folder)
    for key in ("ended", "size", "crc32"):
        del info["sessions"][-1][key]
    write_info(folder, info)


@pytest.mark.parametrize("cut", [1, 2, 30, 100])
def test_a_torn_last_row_is_left_out(run_folder, cut):
    unclosed(run_folder)
    record = run_folder / "record.jsonl"
    record.write_bytes(record.read_bytes()[:-cut])
    assert len(read_run(run_folder).rows) == 11


def test_a_last_row_without_its_line_feed_is_torn_even_if_it_parses(run_folder):
    unclosed(run_folder)
    with open(run_folder / "record.jsonl", "ab") as file:
        file.write(b'{"counts":{},"asked":{},"applied":{},"measured":{},"time":1}')
    assert len(read_run(run_folder).rows) == 12


@pytest.mark.parametrize("together", [1, 3, 1000])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{", "is no JSON"),
        (b"7", "is no row, but int"),
        (b"{},{}", "is no JSON"),
        (b"", "is no JSON"),
        (b"null", "is no row, but NoneType"),
    ],
    ids=["torn", "number", "two", "empty", "null"],
)
def test_a_damaged_row_is_an_error_with_its_line(run_folder, monkeypatch, together, bad, said):
    monkeypatch.setattr(reader, "_TOGETHER", together)
    unclosed(run_folder)
    record = run_folder / "record.jsonl"
    lines = record.read_bytes().split(b"\n")
    lines[4] = bad
    record.write_bytes(b"\n".join(lines))
    with pytest.raises(RecordError, match=rf"record\.jsonl, line 5: {said}"):
        read_run(run_folder)


def test_a_flipped_bit_anywhere_in_a_closed_run_is_found(run_folder):
    for name in ("record.jsonl", "run.json", "plan.yaml"):
        path = run_folder / name
        good = path.read_bytes()
        for place in range(0, len(good), 29 if name == "record.jsonl" else 3):
            bad = bytearray(good)
            bad[place] ^= 1 << place % 7
            path.write_bytes(bad)
            try:
                run = read_run(run_folder)
            except RecordError:
                continue
            # bits that carry nothing: blanks between the values of a YAML or JSON text
            assert name != "record.jsonl"
            path.write_bytes(good)
            assert run.info == read_run(run_folder).info
            assert run.plan == PLAN
        path.write_bytes(good)


def test_a_closed_record_that_was_cut_or_went_on_is_found(run_folder):
    record = run_folder / "record.jsonl"
    good = record.read_bytes()
    record.write_bytes(good[:-1])
    with pytest.raises(RecordError, match=rf"has {len(good) - 1} bytes, and had {len(good)}: it was cut"):
        read_run(run_folder)
    record.write_bytes(good + b"\n")
    with pytest.raises(RecordError, match="was changed or damaged since the run was closed"):
        read_run(run_folder)
    record.unlink()
    with pytest.raises(RecordError, match=r"record\.jsonl: cannot be read: No such file"):
        read_run(run_folder)


def test_an_open_record_that_is_shorter_than_its_session_began_is_found(run_folder):
    unclosed(run_folder)
    from tempomat.runs.info import read_info, write_info

    info = read_info(run_folder)
    info["sessions"][-1]["offset"] = 1_000_000
    write_info(run_folder, info)
    with pytest.raises(RecordError, match="had 1000000: it was cut"):
        read_run(run_folder)


def test_another_plan_in_the_plan_file_is_found(run_folder):
    plan = run_folder / "plan.yaml"
    plan.write_text(plan.read_text().replace("0.01}", "0.02}").replace("wd: 0.01", "wd: 0.02"))
    with pytest.raises(
        RecordError, match=r"plan\.yaml: is not the plan that was recorded: its fingerprint is [0-9a-f]{12}, the run's"
    ):
        read_run(run_folder)
    plan.write_text("schedules: [")
    with pytest.raises(RecordError, match=r"the plan of the run cannot be read: .*plan\.yaml"):
        read_run(run_folder)
    plan.unlink()
    with pytest.raises(RecordError, match="the plan of the run cannot be read"):
        read_run(run_folder)


def rewritten(folder, change):
    path = Path(folder, "run.json")
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


@pytest.mark.parametrize("place", ["counts", "asked", "measured"])
def test_a_word_where_a_number_should_be_is_an_error(run_folder, place):
    unclosed(run_folder)
    record = run_folder / "record.jsonl"
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    lines[0][place] = dict.fromkeys(lines[0][place], "x")
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(run_folder)
    with pytest.raises(RecordError, match=r"record\.jsonl: holds what is no number"):
        run.measured("train_loss") if place == "measured" else run.series("lr")


def test_a_run_file_that_was_edited_is_found(run_folder):
    rewritten(run_folder, lambda info: info.update(seed=4))
    with pytest.raises(RecordError, match=r"run\.json: was changed or damaged since it was written"):
        read_run(run_folder)


def test_a_run_of_a_later_format_is_refused_with_its_version(run_folder):
    rewritten(run_folder, lambda info: info.update(format=2))
    with pytest.raises(RecordError, match=r"has format 2; this version of Tempomat reads up to 1\. Update"):
        read_run(run_folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "[" * 100_000], ids=["empty", "torn", "list", "number", "deep"])
def test_a_run_file_that_is_none_is_refused(run_folder, text):
    (run_folder / "run.json").write_text(text)
    with pytest.raises(RecordError, match=r"run\.json: is damaged"):
        read_run(run_folder)


def test_a_folder_without_a_run_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name, why in {
        "": r"holds no run \(no run\.json\)",
        "nowhere": "does not exist",
        "file": "is no folder",
    }.items():
        with pytest.raises(RecordError, match=rf"{why}$"):
            read_run(tmp_path / name)


def test_a_plan_file_outside_the_folder_is_never_read(run_folder):
    from tempomat.runs.info import read_info, write_info

    outside = run_folder.parent / "plan.yaml"
    outside.write_text("schedules: {lr: 0.5}\n")
    info = read_info(run_folder)
    info["sessions"][0]["plan"] = "../plan.yaml"
    write_info(run_folder, info)
    assert read_run(run_folder).plan == PLAN
