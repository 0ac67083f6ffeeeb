"""TensorBoard: what its own reader finds in the event files is what the record says."""

import builtins
import importlib.util
import itertools
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from runs.fake import PLAN, FakeScheduler, loss

from tempomat.core import MissingExtra, RecordError
from tempomat.integrations.tensorboard import TensorBoard, tag
from tempomat.plan import Plan
from tempomat.runs import Recorder, read_run

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture(autouse=True)
def _every_session_starts_in_a_second_of_its_own(monkeypatch):
    """TensorBoard reads event files in the order of their names, which begin with the second they were made in."""
    clock = itertools.count(1_800_000_000)
    stand_in = SimpleNamespace(time=lambda: next(clock))
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time", stand_in)


def scalars(folder):
    """Every point of every tag that has any, by TensorBoard's own reader."""
    reader = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0})
    reader.Reload()
    found = {name: reader.Scalars(name) for name in reader.Tags()["scalars"]}
    return {name: [(event.step, event.value) for event in points] for name, points in found.items() if points}


def train(folder, until, *, scheduler=None, **options):
    scheduler = scheduler or FakeScheduler()
    with Recorder(folder, **options) as recorder:
        while scheduler.count < until:
            scheduler.step()
            measured = {"train_loss": loss(scheduler.count)}
            if scheduler.count % 5 == 0:
                measured["val/loss"] = 2 * loss(scheduler.count)
            recorder.write(scheduler, **measured)
        return recorder.offset


def expected(folder):
    """The record's points, in float32 as TensorBoard keeps them."""
    run = read_run(folder)
    points = {}
    for row in run.rows:
        step = row["counts"]["optimizer_steps"]
        for name, value in (row["applied"] | row["measured"]).items():
            points.setdefault(name, []).append((step, float(np.float32(value))))
    return points


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("lr", "lr"),
        ("weight_decay", "weight_decay"),
        ("encoder.lr", "lr_encoder"),
        ("betas[0]", "betas_0"),
        ("encoder.betas[0]", "betas_0_encoder"),
        ("actor.head.lr", "lr_actor.head"),
        ("betas[10]", "betas_10"),
    ],
)
def test_a_tag_is_the_key_then_the_index_then_the_group(entry, shown):
    assert tag(entry) == shown


def test_every_point_of_the_record_is_in_the_event_file_in_float32(tmp_path):
    train(tmp_path, 30, mirrors=[TensorBoard()])
    shown = scalars(tmp_path)
    assert sorted(shown) == ["lr", "train_loss", "val/loss", "wd"]
    assert len(shown["lr"]) == 30
    assert shown == expected(tmp_path)


def test_more_points_than_tensorboards_own_sample_are_all_there(tmp_path):
    train(tmp_path, 1200, mirrors=[TensorBoard()])
    assert scalars(tmp_path)["train_loss"] == expected(tmp_path)["train_loss"]


def test_groups_and_indices_have_their_tags_and_steps_are_counts_of_the_plans_clock(tmp_path):
    plan = Plan({"encoder.lr": 0.5, "betas[0]": 0.25, "head.betas[1]": 0.75}, total=9, clock="samples")
    with Recorder(tmp_path, mirrors=[TensorBoard()]) as recorder:
        recorder.write(FakeScheduler(plan, count=3))
    assert scalars(tmp_path) == {"lr_encoder": [(96, 0.5)], "betas_0": [(96, 0.25)], "betas_1_head": [(96, 0.75)]}


def test_event_files_go_to_another_folder_if_one_is_given(tmp_path):
    train(tmp_path / "run", 3, mirrors=[TensorBoard(tmp_path / "board"), TensorBoard(str(tmp_path / "text"))])
    assert not list((tmp_path / "run").glob("events*"))
    assert scalars(tmp_path / "board") == scalars(tmp_path / "text") == expected(tmp_path / "run")


def test_what_is_not_finite_is_shown_as_such(tmp_path):
    with Recorder(tmp_path, mirrors=[TensorBoard()]) as recorder:
        recorder.write(FakeScheduler(count=1), loss=math.nan, gain=math.inf)
    shown = scalars(tmp_path)
    assert math.isnan(shown["loss"][0][1])
    assert shown["gain"] == [(1, math.inf)]


def test_steps_that_are_done_again_after_a_resume_are_shown_once(tmp_path):
    offset = train(tmp_path, 10, mirrors=[TensorBoard()])
    train(tmp_path, 17, scheduler=FakeScheduler(count=10), resume=offset, mirrors=[TensorBoard()])
    train(tmp_path, 14, scheduler=FakeScheduler(count=10), resume=offset, mirrors=[TensorBoard()])
    shown = scalars(tmp_path)
    assert [step for step, _ in shown["lr"]] == list(range(1, 15))
    assert shown == expected(tmp_path)


def test_a_run_that_starts_over_shows_nothing_of_the_one_before(tmp_path):
    train(tmp_path, 10, mirrors=[TensorBoard()])
    train(tmp_path, 4, resume=0, mirrors=[TensorBoard()])
    assert scalars(tmp_path) == expected(tmp_path)
    assert [step for step, _ in scalars(tmp_path)["lr"]] == [1, 2, 3, 4]


def test_points_are_in_the_file_once_a_checkpoint_is_taken(tmp_path):
    with Recorder(tmp_path, mirrors=[TensorBoard()]) as recorder:
        recorder.write(FakeScheduler(count=1))
        recorder.offset  # noqa: B018
        assert scalars(tmp_path)["lr"] == expected(tmp_path)["lr"]


class Writer:
    """Like a SummaryWriter, of which only `add_scalar` is needed."""

    def __init__(self):
        self.points, self.flushed, self.closed = [], 0, False

    def add_scalar(self, tag, value, global_step):
        self.points.append((tag, value, global_step))


class FlushedWriter(Writer):
    def flush(self):
        self.flushed += 1

    def close(self):
        self.closed = True


@pytest.mark.parametrize("kind", [Writer, FlushedWriter])
def test_a_writer_of_the_users_gets_every_value_and_stays_open(tmp_path, kind):
    writer = kind()
    train(tmp_path, 2, mirrors=[TensorBoard(writer)])
    assert writer.points == [
        (name, value, row["counts"]["optimizer_steps"])
        for row in read_run(tmp_path).rows
        for name, value in (row["applied"] | row["measured"]).items()
    ]
    assert (writer.flushed > 0) == (kind is FlushedWriter)
    assert not writer.closed


def test_pytorchs_summary_writer_writes_the_same_points(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path / "board")) as writer:
        train(tmp_path / "run", 12, mirrors=[TensorBoard(writer)])
    assert scalars(tmp_path / "board") == expected(tmp_path / "run")


def test_two_entries_of_one_tag_are_refused_before_a_run_is_made(tmp_path):
    plan = Plan({"encoder.lr": 0.1, "lr_encoder": 0.2})
    with (
        Recorder(tmp_path, mirrors=[TensorBoard()]) as recorder,
        pytest.raises(RecordError, match=r"encoder\.lr and lr_encoder both have the tag lr_encoder\. Rename one"),
    ):
        recorder.write(FakeScheduler(plan))
    assert not (tmp_path / "run.json").exists()


def test_a_measurement_with_the_tag_of_an_entry_is_refused(tmp_path):
    plan = Plan({"encoder.lr": 0.1})
    with (
        Recorder(tmp_path, mirrors=[TensorBoard()]) as recorder,
        pytest.raises(
            RecordError, match=r"the measurement lr_encoder has the tag of the entry encoder\.lr\. Rename it"
        ),
    ):
        recorder.write(FakeScheduler(plan), lr_encoder=0.5)


@pytest.mark.parametrize("target", [5, object(), [1]], ids=["number", "object", "list"])
def test_a_target_that_is_neither_folder_nor_writer_is_refused(target):
    with pytest.raises(RecordError, match="TensorBoard: needs a folder or a writer with add_scalar, got"):
        TensorBoard(target)


def test_without_the_package_the_command_that_installs_it_is_named_at_once(monkeypatch, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "tempomat.integrations.tensorboard.find_spec", lambda name: None if name == "tensorboard" else real(name)
    )
    for target in (None, tmp_path):
        with pytest.raises(MissingExtra, match=r"pip install 'tempomat\[tensorboard\]'"):
            TensorBoard(target)
    TensorBoard(Writer())


def test_importing_the_mirror_imports_no_tensorboard(monkeypatch):
    real, asked = builtins.__import__, []

    def watched(name, *arguments, **options):
        asked.append(name)
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "tempomat.integrations.tensorboard")
    monkeypatch.setattr(builtins, "__import__", watched)
    importlib.import_module("tempomat.integrations.tensorboard")
    assert "tempomat.core" in asked
    assert not [name for name in asked if name.split(".")[0] in ("tensorboard", "torch", "tensorflow")]


def test_a_mirror_without_a_recorder_says_so():
    with pytest.raises(RecordError, match=r"give it to a Recorder as mirrors=\[TensorBoard\(\)\]"):
        TensorBoard(Writer()).row({"counts": {}, "applied": {}, "measured": {}})


def test_a_mirror_may_be_started_again(tmp_path):
    mirror = TensorBoard(tmp_path)
    for after in (None, -1):
        mirror.start(tmp_path, PLAN, after)
        mirror.row({"counts": {"optimizer_steps": 1}, "applied": {"lr": 0.5}, "measured": {}})
    mirror.close()
    mirror.close()
    assert scalars(tmp_path) == {"lr": [(1, 0.5)]}
