"""The record of the real scheduler: as asked and as applied, foreign writes, decisions, resumes."""

import numpy as np
import pytest
from runs.fake import loss

import tempomat as tm
from tempomat.core import BindingError
from tempomat.runs import Recorder, read_run

torch = pytest.importorskip("torch")
scheduler_module = pytest.importorskip("tempomat.torch")
Scheduler = scheduler_module.Scheduler

PLAN = tm.Plan(
    {
        "lr": tm.Cosine(init_value=0.1, end_value=0.001, duration=20),
        "weight_decay": tm.Linear(init_value=0.0, end_value=0.3, duration=20),
        "betas[0]": tm.Linear(init_value=0.95, end_value=0.85, duration=20),
        "grad_clip": 1.0,
    },
    total=20,
)


def optimizer(lr=0.1):
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    return torch.optim.AdamW([weight], lr=lr)


def steps(scheduler, recorder, until):
    while scheduler.counts["optimizer_steps"] < until:
        scheduler.optimizer.step()
        scheduler.step()
        recorder.write(scheduler, train_loss=loss(scheduler.counts["optimizer_steps"]))


@pytest.mark.parametrize("tensor", [False, True], ids=["float", "float32 tensor"])
def test_what_was_asked_is_the_plan_in_float64_and_what_was_applied_is_what_the_optimizer_holds(tmp_path, tensor):
    scheduler = Scheduler(optimizer(torch.tensor(0.1) if tensor else 0.1), PLAN)
    with Recorder(tmp_path, PLAN, seed=0) as recorder:
        steps(scheduler, recorder, 20)
    counts, asked, applied = read_run(tmp_path).series("lr")
    assert counts.tolist() == list(range(1, 21))
    np.testing.assert_array_equal(asked, PLAN["lr"](counts))
    np.testing.assert_array_equal(applied, asked.astype(np.float32) if tensor else asked)
    assert (applied != asked).any() == tensor
    for entry in ("weight_decay", "betas[0]", "grad_clip"):
        series = read_run(tmp_path).series(entry)
        np.testing.assert_array_equal(series.asked, [PLAN[entry](count) for count in range(1, 21)])
        np.testing.assert_array_equal(series.applied, series.asked)


def test_a_foreign_write_is_noticed_when_the_next_row_is_written_and_the_row_is_not_taken(tmp_path):
    scheduler = Scheduler(optimizer(), PLAN)
    with Recorder(tmp_path) as recorder:
        steps(scheduler, recorder, 3)
        scheduler.optimizer.param_groups[0]["weight_decay"] = 0.5
        with pytest.raises(BindingError, match=r"weight_decay: somebody else wrote 0\.5"):
            recorder.write(scheduler)
    assert len(read_run(tmp_path).rows) == 3


def test_a_foreign_write_that_is_adopted_is_recorded_as_applied(tmp_path):
    scheduler = Scheduler(optimizer(), PLAN, foreign="adopt")
    with Recorder(tmp_path) as recorder:
        steps(scheduler, recorder, 3)
        scheduler.optimizer.param_groups[0]["lr"] = 0.5
        recorder.write(scheduler)
    _, asked, applied = read_run(tmp_path).series("lr")
    assert (asked[-1], applied[-1]) == (PLAN["lr"](3), 0.5)


REACTIVE = tm.Plan({"lr": tm.Cosine(init_value=0.1, end_value=0.001, duration=40) * tm.Plateau(factor=0.5, patience=1)})


def reactive_run(folder, until, *, checkpoint_at=None, state=None, resume=None):
    """Every third update is measured, and never improves; returns what a checkpoint keeps."""
    scheduler, saved = Scheduler(optimizer(), REACTIVE), None
    if state is not None:
        scheduler.load_state_dict(state)
    with Recorder(folder, resume=resume) as recorder:
        while scheduler.counts["optimizer_steps"] < until:
            scheduler.optimizer.step()
            if (scheduler.counts["optimizer_steps"] + 1) % 3:
                scheduler.step()
            else:
                scheduler.step(1.0)
            recorder.write(scheduler)
            if scheduler.counts["optimizer_steps"] == checkpoint_at:
                scheduler.record_offset = recorder.offset
                saved = scheduler.state_dict()
    return saved


def test_the_recorded_decisions_in_the_controllers_place_make_a_schedule_of_what_was_asked(tmp_path):
    reactive_run(tmp_path, 30)
    run = read_run(tmp_path)
    decisions = [event for event in run.events if event["event"] == "decision"]
    assert len(decisions) > 2
    boundaries = tuple(event["counts"]["optimizer_steps"] for event in decisions)
    values = (1.0, *(event["level"] for event in decisions))
    levels = tm.PiecewiseConstant(values=values, boundaries=boundaries)
    replayed = run.plan["lr"].given([levels])
    counts, asked, _ = run.series("lr")
    assert asked.tolist() == [replayed(int(count)) for count in counts]


@pytest.mark.parametrize("checkpoint_at", range(1, 20))
def test_a_run_that_goes_on_from_a_checkpoint_has_the_record_of_an_unbroken_one(tmp_path, checkpoint_at):
    reactive_run(tmp_path / "unbroken", 20)
    saved = reactive_run(tmp_path / "broken", 20, checkpoint_at=checkpoint_at)
    assert saved is not None
    reactive_run(tmp_path / "broken", 20, state=saved, resume=saved["record_offset"])
    unbroken, broken = (read_run(tmp_path / name) for name in ("unbroken", "broken"))
    for one, two in ((unbroken.rows, broken.rows), (unbroken.events, broken.events)):
        assert [{**row, "time": 0} for row in one] == [{**row, "time": 0} for row in two]


def test_a_resume_under_another_plan_is_in_the_record_with_what_changed(tmp_path):
    first = Scheduler(optimizer(), PLAN)
    with Recorder(tmp_path) as recorder:
        steps(first, recorder, 5)
        first.record_offset = recorder.offset
    longer = tm.Plan(PLAN.schedules, total=40)
    second = Scheduler(optimizer(), longer)
    second.load_state_dict(first.state_dict(), on_change="stretch")
    with Recorder(tmp_path, resume=second.record_offset, on_change="accept") as recorder:
        steps(second, recorder, 12)
    run = read_run(tmp_path)
    assert run.plan == longer
    (event,) = run.events
    assert (event["event"], event["choice"], event["counts"]) == ("resume", "stretch", {"optimizer_steps": 10})
    assert any("20 -> 40" in change for change in event["changes"])
    assert run.series("lr").counts.tolist() == [1, 2, 3, 4, 5, 11, 12]


def test_a_rewind_is_in_the_record(tmp_path):
    scheduler = Scheduler(optimizer(), PLAN)
    with Recorder(tmp_path) as recorder:
        steps(scheduler, recorder, 5)
        scheduler.rewind(optimizer_steps=2)
        recorder.write(scheduler)
    run = read_run(tmp_path)
    assert run.series("lr").counts.tolist() == [1, 2, 3, 4, 5, 2]
    assert [event["event"] for event in run.events] == ["rewind"]
    assert run.series("lr").asked[-1] == PLAN["lr"](2)


def test_the_version_of_torch_is_in_the_record(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.write(Scheduler(optimizer(), PLAN))
    assert read_run(tmp_path).info["sessions"][0]["versions"]["torch"] == str(torch.__version__)
