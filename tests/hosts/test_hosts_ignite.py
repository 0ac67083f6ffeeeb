"""PyTorch-Ignite: the example for real, its own loggers and schedulers beside ours, and resumes."""

import importlib
import importlib.util
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import loading
import pytest
import torch

import tempomat as tm
from tempomat.core import BindingError, MissingExtra, ScheduleError, StateError

if importlib.util.find_spec("ignite") is None:
    pytest.skip("could not import ignite", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from ignite.engine import Engine, Events
    from ignite.handlers import ConcatScheduler, LinearCyclicalScheduler, LRScheduler
    from ignite.handlers.tensorboard_logger import OptimizerParamsHandler, TensorboardLogger

from tempomat.integrations.ignite import ScheduledParam, TempomatHandler
from tempomat.torch import Scheduler

LINE = tm.Linear(init_value=1.0, end_value=0.0, duration="100%")


def example():
    return loading.example("hosts/ignite_digits.py")


@pytest.fixture(scope="module")
def digits():
    return example()


@pytest.fixture(scope="module")
def unbroken(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ignite")
    return digits.main(folder), folder


def optimizer_of():
    return torch.optim.AdamW([torch.zeros(2, requires_grad=True)], lr=0.5)


def run(plan, iterations=4, epochs=1, optimizer=None, update=None, handler=None, **options):
    """The optimizer's values seen inside each iteration, and the parts."""
    optimizer = optimizer or optimizer_of()
    seen = []

    def step(engine, batch):
        seen.append({key: optimizer.param_groups[0][key] for key in ("lr", "weight_decay")})
        if update is None or update(engine, batch):
            optimizer.step()

    trainer = Engine(step)
    handler = handler or TempomatHandler(optimizer, plan, **options)
    handler.attach(trainer)
    trainer.run(range(iterations), max_epochs=epochs)
    return SimpleNamespace(seen=seen, trainer=trainer, handler=handler, optimizer=optimizer)


def test_every_iteration_of_the_example_has_the_values_of_the_plan(digits, unbroken):
    done, _ = unbroken
    plan = digits.PLAN.resolve(total=88, steps_per_epoch=22)
    assert done["handler"].scheduler.plan == plan
    lr = plan["lr"].given([1.0])
    levels = [event for event in done["handler"].scheduler.events if event["event"] == "decision"]
    until = levels[0]["counts"]["optimizer_steps"] if levels else 88
    assert until > 44
    assert [row["lr"] for row in done["seen"][:until]] == [lr(t) for t in range(until)]
    assert [row["label_smoothing"] for row in done["seen"]] == [plan["label_smoothing"](t) for t in range(88)]
    assert [row["weight_decay"] for row in done["seen"]] == [0.0] * 44 + [0.05] * 44
    assert done["evaluator"].state.metrics["val_accuracy"] > 0.85  # guessing gets 0.1


def test_a_run_broken_off_goes_on_from_ignites_checkpoint_as_if_unbroken(digits, unbroken, tmp_path):
    done, _ = unbroken
    first = digits.main(tmp_path, until=2)
    (saved,) = [path for path in tmp_path.iterdir() if path.stem.endswith("_44")]
    second = digits.main(resume=saved)
    assert first["seen"] + second["seen"] == done["seen"]
    assert second["handler"].state_dict() == done["handler"].state_dict()


def test_a_resume_without_the_state_of_the_schedule_is_refused(digits, unbroken):
    _, folder = unbroken
    saved = torch.load(next(folder.iterdir()), weights_only=True)
    trainer = Engine(lambda engine, batch: None)
    trainer.load_state_dict(saved["trainer"])
    TempomatHandler(optimizer_of(), tm.Plan({"lr": LINE})).attach(trainer)
    with pytest.raises(StateError, match=r"goes on at iteration \d+ without a state of the schedule\. Put the handler"):
        trainer.run(range(22), max_epochs=9)


def test_a_state_of_a_longer_run_is_refused_unless_it_is_said_how_to_go_on(tmp_path):
    plan = tm.Plan({"lr": LINE})
    state = run(plan, 4).handler.state_dict()
    choices: list[tuple[Any, str | None]] = [
        ("refuse", "the plan has changed since the state was saved"),
        ("stretch", None),
    ]
    for choice, match in choices:
        optimizer = optimizer_of()
        handler = TempomatHandler(optimizer, plan, on_change=choice)
        handler.load_state_dict(state)
        trainer = Engine(lambda engine, batch: None)
        handler.attach(trainer)
        if match:
            with pytest.raises(StateError, match=match):
                trainer.run(range(8))
        else:
            trainer.run(range(8))
            assert handler.scheduler.plan.total == 8


def test_gradient_accumulation_does_not_count_as_updates():
    plan = tm.Plan({"lr": LINE})
    done = run(plan, 8, update=lambda engine, batch: batch % 2 == 1, accumulation=2)
    assert [row["lr"] for row in done.seen] == [1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]


def test_epochs_are_the_engines_and_lengths_in_them_need_no_arithmetic():
    decay = tm.Linear(init_value=1.0, end_value=0.0, duration="2 epochs")
    plan = tm.Plan({"lr": decay, "weight_decay": tm.on("epochs", tm.Linear(init_value=0.0, end_value=0.2, duration=2))})
    done = run(plan, 2, epochs=3)
    assert [row["lr"] for row in done.seen] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert [row["weight_decay"] for row in done.seen] == [0.0, 0.0, 0.1, 0.1, 0.2, 0.2]
    by_epoch = run(tm.Plan({"lr": LINE}, clock="epochs"), 2, epochs=2)
    assert [row["lr"] for row in by_epoch.seen] == [1.0, 1.0, 0.5, 0.5]


def test_what_fits_no_group_is_in_the_state_of_the_engine_or_goes_to_its_target():
    got = []
    plan = tm.Plan({"lr": 0.1, "mixup": LINE, "dropout": LINE})
    done = run(plan, 2, targets={"dropout": got.append})
    assert done.trainer.state.mixup == 0.5
    assert got == [1.0, 0.5]
    assert not hasattr(done.trainer.state, "dropout")


def test_the_history_is_kept_where_ignite_keeps_its_own():
    done = run(tm.Plan({"lr": LINE, "mixup": 0.5}), 4, save_history=True)
    assert done.trainer.state.param_history == {"lr": [1.0, 0.75, 0.5, 0.25], "mixup": [0.5] * 4}


def test_ignites_own_tensorboard_handler_logs_the_applied_values_under_its_names(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    optimizer = optimizer_of()
    trainer = Engine(lambda engine, batch: optimizer.step())
    TempomatHandler(optimizer, tm.Plan({"lr": LINE})).attach(trainer)
    with TensorboardLogger(log_dir=str(tmp_path)) as logger:
        logger.attach(trainer, log_handler=OptimizerParamsHandler(optimizer), event_name=Events.ITERATION_STARTED)
        trainer.run(range(4))
    reader = accumulator.EventAccumulator(str(tmp_path))
    reader.Reload()
    assert [(one.step, one.value) for one in reader.Scalars("lr/group_0")] == [(1, 1.0), (2, 0.75), (3, 0.5), (4, 0.25)]


def test_measurements_of_an_evaluator_reach_the_controllers():
    plan = tm.Plan({"lr": tm.Plateau(metric="val_loss", init_value=0.4, factor=0.5, patience=0)})
    optimizer = optimizer_of()
    trainer, evaluator = Engine(lambda engine, batch: optimizer.step()), Engine(lambda engine, batch: None)

    def measure(engine):
        engine.state.metrics["val_loss"] = 1.0

    evaluator.add_event_handler(Events.COMPLETED, measure)
    handler = TempomatHandler(optimizer, plan)
    handler.attach(trainer, evaluator=evaluator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run([0]))
    trainer.run(range(2), max_epochs=4)
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert [event["level"] for event in handler.scheduler.events] == [0.2, 0.1, 0.05]


def test_several_optimizers_are_addressed_by_name():
    pair = {"generator": optimizer_of(), "critic": optimizer_of()}
    plan = tm.Plan({"generator.lr": LINE, "critic.lr": 0.25})
    trainer = Engine(lambda engine, batch: [one.step() for one in pair.values()])
    TempomatHandler(pair, plan).attach(trainer)
    trainer.run(range(2))
    assert [one.param_groups[0]["lr"] for one in pair.values()] == [0.5, 0.25]


def test_a_second_run_of_the_engine_begins_anew():
    done = run(tm.Plan({"lr": LINE}), 2)
    done.trainer.run(range(2), max_epochs=1)
    assert [row["lr"] for row in done.seen] == [1.0, 0.5, 1.0, 0.5]


def test_a_loaded_state_serves_one_run():
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=4)})
    optimizer = optimizer_of()
    handler = TempomatHandler(optimizer, plan)
    handler.load_state_dict(run(plan, 2).handler.state_dict())
    done = run(plan, 2, optimizer=optimizer, handler=handler)
    done.trainer.run(range(2), max_epochs=1)
    assert [row["lr"] for row in done.seen] == [0.5, 0.25, 1.0, 0.75]


def test_updates_are_counted_under_a_clock_of_epochs_too():
    steps = tm.on("optimizer_steps", tm.Linear(init_value=1.0, end_value=0.0, duration=4))
    done = run(tm.Plan({"lr": steps}, clock="epochs"), 4, update=lambda engine, batch: batch % 2 == 1)
    assert [row["lr"] for row in done.seen] == [1.0, 1.0, 0.75, 0.75]


def test_a_clock_that_an_engine_does_not_count_is_refused():
    with pytest.raises(BindingError, match=r"the plan's clock is tokens\. Take one of them"):
        TempomatHandler(optimizer_of(), tm.Plan({"lr": 0.1}, clock="tokens"))


def test_a_schedule_is_one_of_ignites_own_parameter_schedulers():
    optimizer = optimizer_of()
    lr = tm.Cosine(init_value=1.0, end_value=0.0, duration=10)
    rising = LinearCyclicalScheduler(optimizer, "lr", 0.0, 1.0, cycle_size=8)
    both = ConcatScheduler([rising, ScheduledParam(optimizer, "lr", lr)], durations=[4])
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(optimizer.param_groups[0]["lr"]))
    both.attach(trainer)
    trainer.run(range(8))
    assert seen[4:] == [lr(t) for t in range(4)]
    assert ScheduledParam.simulate_values(5, param_name="weight_decay", schedule=lr) == [[t, lr(t)] for t in range(5)]


def test_ignites_wrapper_of_torch_schedulers_is_refused_and_not_silently_wrong():
    optimizer = optimizer_of()
    trainer = Engine(lambda engine, batch: optimizer.step())
    LRScheduler(Scheduler(optimizer, tm.Plan({"lr": LINE}, total=4))).attach(trainer)
    with pytest.raises(BindingError, match="last_epoch cannot be set"):
        trainer.run(range(4))


def test_a_parameter_scheduler_resumes_by_its_state():
    lr = tm.Linear(init_value=1.0, end_value=0.0, duration=4)
    optimizer = optimizer_of()
    first, second = (ScheduledParam(optimizer, "lr", lr) for _ in range(2))
    first(None)
    second.load_state_dict(first.state_dict())
    second(None)
    assert optimizer.param_groups[0]["lr"] == 0.75


@pytest.mark.parametrize("wrong", [LINE, tm.Plateau(metric="loss"), 0.1])
def test_a_parameter_scheduler_takes_plain_schedules_alone(wrong):
    with pytest.raises(ScheduleError, match=r"needs a Schedule whose lengths are plain counts.*use TempomatHandler"):
        ScheduledParam(optimizer_of(), "lr", wrong)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ignite.engine", None)
    monkeypatch.delitem(sys.modules, "tempomat.integrations.ignite")
    with pytest.raises(MissingExtra, match="pip install pytorch-ignite"):
        importlib.import_module("tempomat.integrations.ignite")
