"""Plans in files: the old one or the new one, whatever fails in between."""

import os
import stat

import pytest

import tempomat as tm

OLD = tm.Plan({"lr": 0.1}, total=100)
NEW = tm.Plan(
    {"lr": tm.Plateau(metric="1e-4"), "wd": tm.Cosine(init_value=1, end_value=0, duration="50%")}, total="20 epochs"
)


@pytest.fixture
def path(tmp_path):
    """A plan's file with an older plan in it."""
    place = tmp_path / "plan.yaml"
    tm.save_plan(OLD, place)
    return place


def test_a_saved_plan_loads_as_an_equal_one(path):
    tm.save_plan(NEW, path)
    assert tm.load_plan(path) == NEW
    assert tm.load_plan(str(path)) == NEW
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["replace", "fsync", "chmod", "fdopen"])
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt("stop")], ids=["disk full", "stop"]
)
def test_a_failure_at_any_step_before_the_rename_leaves_the_old_plan_alone(path, monkeypatch, name, failure):
    before = path.read_bytes()

    def fail(*given, **named):
        raise failure

    monkeypatch.setattr(os, name, fail)
    raised = pytest.raises(tm.PlanError, match=r"plan.yaml: cannot be written: No space left on device")
    if isinstance(failure, KeyboardInterrupt):
        raised = pytest.raises(KeyboardInterrupt, match="stop")
    with raised:
        tm.save_plan(NEW, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_after_the_rename_leaves_the_new_plan_whole(path, monkeypatch):
    real, calls = os.fsync, []

    def fail_second(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", fail_second)
    with pytest.raises(tm.PlanError, match="cannot be written: Input/output error"):
        tm.save_plan(NEW, path)
    assert tm.load_plan(path) == NEW
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_flushed_before_the_rename_and_the_folder_after_it(path, monkeypatch):
    steps, real_fsync, real_replace = [], os.fsync, os.replace

    def fsync(handle):
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real_fsync(handle)

    def replace(*given):
        steps.append("rename")
        real_replace(*given)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    tm.save_plan(NEW, path)
    assert steps == ["file", "rename", "folder"]


def test_permissions_are_kept(path):
    path.chmod(0o640)
    tm.save_plan(NEW, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    other = tmp_path / "other"
    other.write_text("")
    tm.save_plan(OLD, tmp_path / "plan.yaml")
    assert (tmp_path / "plan.yaml").stat().st_mode == other.stat().st_mode


def test_what_cannot_be_named_in_a_file_leaves_the_old_plan_alone(path):
    class Mine(tm.Schedule):
        """Not exported by anyone."""

        __slots__ = ()

        def _at(self, t, ops):
            return ops.full(t, 2.0)

    with pytest.raises(tm.TempomatError, match="Mine is a schedule of your own"):
        tm.save_plan(tm.Plan({"lr": Mine()}), path)
    assert tm.load_plan(path) == OLD


@pytest.mark.parametrize("name", ["missing/plan.yaml", "plan.yaml/plan.yaml"])
def test_a_place_that_is_none_is_refused(path, name):
    with pytest.raises(tm.PlanError, match="cannot be written: "):
        tm.save_plan(NEW, path.parent / name)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(tm.PlanError, match=r"none.yaml: cannot be read: No such file or directory"):
        tm.load_plan(tmp_path / "none.yaml")


def test_a_folder_is_no_plan(tmp_path):
    with pytest.raises(tm.PlanError, match="cannot be read: Is a directory"):
        tm.load_plan(tmp_path)


def test_what_is_not_utf_8_is_refused_with_its_place(path):
    path.write_bytes(b"schedules: {lr: 1} # caf\xe9")
    with pytest.raises(tm.PlanError, match=r"plan.yaml: is not UTF-8 text \(byte 24\)"):
        tm.load_plan(path)


@pytest.mark.parametrize(
    "filler",
    ["x" * 1_500_000, "\u00e4" * 750_000, ".\u00e4" * 500_000, "..\u00e4" * 500_000],
    ids=["ascii", "even", "odd", "third"],
)
def test_a_file_beyond_the_cap_is_refused_and_never_read_in_part(path, filler):
    """Cut within a letter it is no text; cut between two it is a plan that has lost its last entries."""
    path.write_text(f"schedules:\n  lr: 1\n  # {filler}\n  wd: 1\n", encoding="utf-8")
    with pytest.raises(tm.PlanError, match="a plan has at most 1_000_000"):
        tm.load_plan(path)


def test_a_fault_names_the_file_the_line_and_the_path(path):
    path.write_text("total: 10\nschedules:\n  lr: {type: cosin}\n")
    with pytest.raises(tm.PlanError, match=r"plan.yaml: line 3, schedules.lr.type: no schedule of the name 'cosin'"):
        tm.load_plan(path)


def test_a_windows_file_with_a_byte_order_mark_is_read(path):
    path.write_bytes(b"\xef\xbb\xbfschedules: {lr: 1}\r\n")
    assert tm.load_plan(path)["lr"](0) == 1.0
