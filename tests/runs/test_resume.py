"""Resuming: the record goes on at the checkpoint's offset, in the checkpoint's own file, or not at all."""

import copy
import json
from pathlib import Path

import pytest
from runs.fake import PLAN, FakeScheduler, loss

from tempomat.core import RecordError
from tempomat.plan import Plan, load_plan
from tempomat.runs import Recorder, read_run

OTHER = Plan({"lr": 0.05, "wd": 0.01}, total=30)


def train(folder, until, *, scheduler=None, **options):
    """Train up to a count with a row per count; returns the recorder's state at the end."""
    scheduler = scheduler or FakeScheduler()
    with Recorder(folder, **options) as recorder:
        while scheduler.count < until:
            scheduler.step()
            recorder.write(scheduler, train_loss=loss(scheduler.count))
        return recorder.state_dict()


def counts(folder):
    return [row["counts"]["optimizer_steps"] for row in read_run(folder).rows]


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != ".lock"}


@pytest.mark.parametrize("form", ["offset", "state"])
def test_rows_after_the_checkpoint_are_dropped_and_done_again(tmp_path, form):
    state = train(tmp_path / "a", 6)
    train(tmp_path / "a", 11, scheduler=FakeScheduler(count=6), resume=state)
    train(tmp_path / "b", 11)
    resume = json.loads(json.dumps(state)) if form == "state" else state["offset"]
    train(tmp_path / "a", 11, scheduler=FakeScheduler(count=6), resume=resume)
    assert counts(tmp_path / "a") == list(range(1, 12))
    one, two = read_run(tmp_path / "a"), read_run(tmp_path / "b")
    timeless = [[{**row, "time": 0} for row in run.rows + run.events] for run in (one, two)]
    assert timeless[0] == timeless[1]


def test_a_torn_last_row_is_dropped(tmp_path):
    state = train(tmp_path, 6)
    with open(tmp_path / "record.jsonl", "ab") as file:
        file.write(b'{"counts":{"optimizer_steps":7},"as')
    train(tmp_path, 8, scheduler=FakeScheduler(count=6), resume=state)
    assert counts(tmp_path) == list(range(1, 9))


def test_nothing_is_cut_before_the_first_row_comes(tmp_path):
    train(tmp_path, 6)
    before = files(tmp_path)
    with Recorder(tmp_path, PLAN, resume=0) as recorder:
        assert recorder.offset == 0
        assert files(tmp_path) == before
    assert files(tmp_path) == before


def test_resume_at_0_starts_the_run_over(tmp_path):
    train(tmp_path, 6)
    train(tmp_path, 3, resume=0)
    assert counts(tmp_path) == [1, 2, 3]
    assert len(read_run(tmp_path).info["sessions"]) == 2


def test_resume_at_0_of_a_folder_without_a_run_starts_one(tmp_path):
    state = Recorder(tmp_path / "a").state_dict()
    assert state["offset"] == 0
    train(tmp_path / "a", 3, resume=0)
    train(tmp_path / "b", 3, resume=state)
    assert counts(tmp_path / "a") == counts(tmp_path / "b") == [1, 2, 3]


def test_resume_of_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"holds no run \(no run\.json\), and the checkpoint was taken at byte 12"):
        Recorder(tmp_path, resume=12)


def test_a_checkpoint_of_a_later_offset_than_the_file_has_is_refused(tmp_path):
    state = train(tmp_path, 6)
    before = files(tmp_path)
    with pytest.raises(
        RecordError, match=rf"has {state['offset']} bytes, and the checkpoint was taken at {state['offset'] + 1}"
    ):
        Recorder(tmp_path, resume=state["offset"] + 1)
    assert files(tmp_path) == before


def test_an_offset_inside_a_row_is_refused(tmp_path):
    state = train(tmp_path, 6)
    for offset in (1, state["offset"] - 1):
        with pytest.raises(
            RecordError, match=f"what stands before byte {offset} is not what the checkpoint was taken with"
        ):
            Recorder(tmp_path, resume=offset)


def test_the_state_of_another_run_is_refused_though_the_offset_fits(tmp_path):
    state = train(tmp_path / "a", 6)
    train(tmp_path / "b", 6)
    with pytest.raises(RecordError, match=rf"is run [0-9a-f]+, and the checkpoint belongs to run {state['run']}"):
        Recorder(tmp_path / "b", resume={**state, "offset": 0, "crc32": 0})


def test_every_flipped_bit_before_the_offset_is_found_on_resume_by_state(tmp_path):
    state = train(tmp_path, 2)
    record = tmp_path / "record.jsonl"
    good = record.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        record.write_bytes(bad)
        with pytest.raises(RecordError, match="is not what the checkpoint was taken with"):
            Recorder(tmp_path, resume=state)


def test_a_last_row_that_is_none_is_refused(tmp_path):
    train(tmp_path, 2)
    (tmp_path / "record.jsonl").write_bytes(b"{}\n")
    with pytest.raises(RecordError, match="the row before byte 3 is no row"):
        Recorder(tmp_path, resume=3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crc32": None}, "offset or crc32 must be an integer count"),
        ({"offset": -1}, "offset or crc32 must be between 0"),
        ({"format": 2}, "has format 2; this version reads 1"),
        ({"ofset": 1}, "has unknown ofset"),
    ],
    ids=str,
)
def test_a_recorders_state_that_is_none_is_refused(tmp_path, change, said):
    state = train(tmp_path, 2)
    with pytest.raises(RecordError, match=said):
        Recorder(tmp_path, resume={**state, **change})


def test_a_recorders_state_without_one_of_its_keys_is_refused_and_told_which(tmp_path):
    state = train(tmp_path, 2)
    offset = state.pop("offset")
    with pytest.raises(RecordError, match=r"state lacks offset\. It has format, run, offset, crc32"):
        Recorder(tmp_path, resume=state)
    with pytest.raises(RecordError, match=r"state lacks offset\. Did you mean offset\? It has"):
        Recorder(tmp_path, resume={**state, "ofset": offset})


def test_a_scheduler_behind_the_record_is_refused_before_anything_is_cut(tmp_path):
    state = train(tmp_path, 6)
    train(tmp_path, 9, scheduler=FakeScheduler(count=6), resume=state)
    before = files(tmp_path)
    said = "optimizer_steps is 3, and 6 in the row before"
    with Recorder(tmp_path, resume=state) as recorder, pytest.raises(RecordError, match=said):
        recorder.write(FakeScheduler(count=3))
    assert files(tmp_path) == before


def test_a_scheduler_that_was_stretched_back_says_so_and_goes_on(tmp_path):
    state = train(tmp_path, 6)
    scheduler = FakeScheduler(count=3)
    scheduler.events.append({"event": "resume", "choice": "stretch", "counts": scheduler.counts})
    train(tmp_path, 4, scheduler=scheduler, resume=state)
    assert counts(tmp_path) == [1, 2, 3, 4, 5, 6, 4]
    assert [event["event"] for event in read_run(tmp_path).events] == ["decision", "resume"]


def test_the_time_goes_on_where_the_checkpoint_was_and_pauses_do_not_count(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tempomat.runs.recorder.time.monotonic", lambda: now[0])
    with Recorder(tmp_path) as recorder:
        now[0] += 5
        recorder.write(FakeScheduler(count=1))
        offset = recorder.offset
        now[0] += 5
        recorder.write(FakeScheduler(count=2))
    now[0] += 1e6
    with Recorder(tmp_path, resume=offset) as recorder:
        now[0] += 2
        recorder.write(FakeScheduler(count=2))
    assert [row["time"] for row in read_run(tmp_path).rows] == [5.0, 7.0]


def test_the_last_row_is_found_however_long_the_rows_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tempomat.runs.log._CHUNK", 7)
    state = train(tmp_path, 6)
    with Recorder(tmp_path, resume=state) as recorder:
        with pytest.raises(RecordError, match="optimizer_steps is 5, and 6 in the row before"):
            recorder.write(FakeScheduler(count=5))
        assert recorder.state_dict() == state


# plans and facts


@pytest.mark.parametrize("early", [True, False], ids=["given", "the scheduler's"])
def test_another_plan_is_refused_with_what_changed_before_anything_is_cut(tmp_path, early):
    state = train(tmp_path, 6)
    train(tmp_path, 9, scheduler=FakeScheduler(count=6), resume=state)
    before = files(tmp_path)
    said = r"the plan is not the one recorded here \(before -> now\):\n  schedules\.lr: \{.*\} -> 0\.05(?s:.*)'accept'"
    with pytest.raises(RecordError, match=said):
        train(tmp_path, 7, plan=OTHER if early else None, scheduler=FakeScheduler(OTHER, 6), resume=state)
    assert files(tmp_path) == before
    if early:
        with pytest.raises(RecordError, match=said) as refused:
            Recorder(tmp_path, OTHER, resume=state)
        # the lock is free though the error still holds the recorder that was refused
        Recorder(tmp_path, resume=state).close()
        del refused
    Recorder(tmp_path, resume=state).close()


def test_a_plan_that_comes_to_the_recorded_one_is_the_same(tmp_path):
    plan = Plan({"lr": {"type": "linear", "init_value": 1, "end_value": 0, "duration": "100%"}}, total="2 epochs")
    resolved = plan.resolve(steps_per_epoch=5)
    state = train(tmp_path, 6, scheduler=FakeScheduler(resolved), plan=plan)
    train(tmp_path, 9, scheduler=FakeScheduler(resolved, 6), plan=plan, resume=state)
    longer = Plan(plan.schedules, total="3 epochs")
    with pytest.raises(RecordError, match=r"schedules\.lr\.duration"):
        train(tmp_path, 9, scheduler=FakeScheduler(longer.resolve(steps_per_epoch=5), 6), plan=longer, resume=state)


def test_an_accepted_plan_is_kept_beside_the_first(tmp_path):
    state = train(tmp_path, 6)
    later = train(tmp_path, 9, scheduler=FakeScheduler(OTHER, 6), resume=state, on_change="accept")
    assert load_plan(tmp_path / "plan.yaml") == PLAN
    assert load_plan(tmp_path / "plan-2.yaml") == OTHER
    run = read_run(tmp_path)
    assert run.plan == OTHER
    assert [session["plan"] for session in run.info["sessions"]] == ["plan.yaml", "plan-2.yaml"]
    assert run.series("lr").asked[5:].tolist() == [PLAN["lr"](6), 0.05, 0.05, 0.05]
    # back to the first, which lies there already
    train(tmp_path, 11, scheduler=FakeScheduler(PLAN, 9), resume=later, on_change="accept")
    assert [session["plan"] for session in read_run(tmp_path).info["sessions"]] == [
        "plan.yaml",
        "plan-2.yaml",
        "plan.yaml",
    ]
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["plan-2.yaml", "plan.yaml"]


def test_an_accepted_plan_takes_the_next_free_name(tmp_path):
    state = train(tmp_path, 6)
    (tmp_path / "plan-2.yaml").write_text("schedules: {lr: 0.7}\n")
    train(tmp_path, 9, scheduler=FakeScheduler(OTHER, 6), resume=state, on_change="accept")
    assert (tmp_path / "plan-2.yaml").read_text() == "schedules: {lr: 0.7}\n"
    assert load_plan(tmp_path / "plan-3.yaml") == OTHER
    assert read_run(tmp_path).plan == OTHER


def test_a_plan_file_that_was_changed_is_found_on_resume(tmp_path):
    state = train(tmp_path, 6)
    plan = tmp_path / "plan.yaml"
    plan.write_text(plan.read_text().replace("0.001", "0.002"))
    said = r"plan\.yaml: is not the plan that was recorded(?s:.*)Put the file back"
    with Recorder(tmp_path, resume=state) as recorder, pytest.raises(RecordError, match=said):
        recorder.write(FakeScheduler(count=6))


def test_the_seed_is_the_runs_and_another_one_is_refused(tmp_path):
    state = train(tmp_path, 3, seed=1)
    with pytest.raises(RecordError, match="was recorded with seed 1, got seed 2"):
        Recorder(tmp_path, resume=state, seed=2)
    Recorder(tmp_path, resume=state, seed=1).close()
    train(tmp_path, 4, scheduler=FakeScheduler(count=3), resume=state)
    assert read_run(tmp_path).seed == 1


def test_each_session_has_its_own_notes_and_start(tmp_path):
    state = train(tmp_path, 3, notes="first")
    train(tmp_path, 4, scheduler=FakeScheduler(count=3), resume=state, notes=["second"])
    first, second = read_run(tmp_path).info["sessions"]
    assert (first["notes"], second["notes"]) == ("first", ["second"])
    assert (first["offset"], second["offset"]) == (0, state["offset"])


def test_a_mirror_is_told_which_rows_come_again(tmp_path):
    class Mirror:
        def start(self, folder, plan, after):
            self.after = after

        row = flush = close = lambda *_: None

    state = train(tmp_path, 6)
    for resume, count, after in ((state, 6, 6), (0, 0, -1)):
        mirror = Mirror()
        train(tmp_path, 7, scheduler=FakeScheduler(count=count), resume=resume, mirrors=[mirror])
        assert mirror.after == after


def test_a_scheduler_that_brings_its_old_events_along_has_them_recorded_once(tmp_path):
    state = train(tmp_path, 11)
    scheduler = FakeScheduler(count=11)
    scheduler.events = read_run_events(tmp_path)
    train(tmp_path, 16, scheduler=scheduler, resume=state)
    assert [event["counts"]["optimizer_steps"] for event in read_run(tmp_path).events] == [5, 10, 15]


def test_events_that_the_cut_drops_are_recorded_again(tmp_path):
    state = train(tmp_path, 6)
    train(tmp_path, 11, scheduler=FakeScheduler(count=6), resume=state)
    scheduler = FakeScheduler(count=10)
    scheduler.events = read_run_events(tmp_path)
    train(tmp_path, 11, scheduler=scheduler, resume=state)
    assert [event["counts"]["optimizer_steps"] for event in read_run(tmp_path).events] == [5, 10]


def test_a_copy_of_a_scheduler_records_the_events_it_shares_once(tmp_path):
    first = FakeScheduler(count=4)
    with Recorder(tmp_path) as recorder:
        first.step()
        recorder.write(first)
        second = copy.deepcopy(first)
        for _ in range(5):
            second.step()
        recorder.write(second)
    assert [event["counts"]["optimizer_steps"] for event in read_run(tmp_path).events] == [5, 10]


def read_run_events(folder):
    """The events as the scheduler had them."""
    return [{key: value for key, value in event.items() if key != "time"} for event in read_run(folder).events]
