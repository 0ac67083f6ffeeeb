"""timm's training script: a plan behind `step` and `step_update`, equal to timm's own scheduler in every group."""

import io
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from libraries import timm_schedulers
from torch.amp.grad_scaler import GradScaler

import tempomat as tm
from tempomat.core import BindingError, MeasurementError, StateError
from tempomat.integrations.timm import TimmScheduler

FALL = tm.Linear(init_value=1.0, end_value=0.0, duration=10)
PLATEAU = tm.Plateau(metric="top1", mode="max", factor=0.5, patience=0)


def optimizer(*groups, **options):
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in groups or [{}]]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    pairs = zip(weights, groups or [{}], strict=True)
    return torch.optim.SGD([{"params": [weight], **one} for weight, one in pairs], lr=0.1, **options)


def held(one, key="lr"):
    return [group[key] for group in one.param_groups]


def updates(one, scheduler, counts):
    """What each update used."""
    used = []
    for count in counts:
        one.step()
        used.append(held(one))
        scheduler.step_update(count)
    return used


# the example


@pytest.fixture(scope="module")
def example():
    pytest.importorskip("sklearn")
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "examples" / "hosts" / "timm_style.py")))


@pytest.fixture(scope="module")
def whole(example):
    return example.main()


def test_the_example_learns_with_layer_decay_as_planned(example, whole):
    assert whole["top1"] > 0.85  # guessing gets 0.1
    at = np.arange(6 * 22)
    plan = example.PLAN.resolve(total="6 epochs", steps_per_epoch=22)
    assert [one["weight_decay"] for one in whole["used"]] == list(plan["weight_decay"](at))
    scales = np.array([0.7, 0.7, 1.0, 1.0])
    first = np.array([one["lr"] for one in whole["used"]])[: 3 * 22]  # patience 2: no decision before the fourth epoch
    np.testing.assert_array_equal(first, plan["lr"].given([1.0])(at[: 3 * 22])[:, None] * scales)


def test_the_example_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(example, whole):
    first = example.main(stop_after=2)
    saved = io.BytesIO()
    torch.save(first["checkpoint"], saved)
    saved.seek(0)
    second = example.main(state=torch.load(saved, weights_only=True))
    assert first["used"] + second["used"] == whole["used"]
    assert second["top1"] == whole["top1"]


# timm's own


@pytest.mark.parametrize("in_epochs", [False, True])
def test_every_group_is_timms_own_at_every_count(in_epochs):
    groups = ({"lr_scale": 0.25}, {"lr_scale": 0.5}, {})
    shape = {"warmup_t": 4, "warmup_lr_init": 1e-4, "warmup_prefix": True, "lr_min": 1e-3}
    ours, theirs = optimizer(*groups), optimizer(*groups)
    timms = timm_schedulers().CosineLRScheduler(theirs, t_initial=16, t_in_epochs=in_epochs, **shape)
    lr = tm.warmup_cosine(peak_value=0.1, end_value=1e-3, warmup=4, init_value=1e-4, total=20)
    scheduler = TimmScheduler(ours, tm.Plan({"lr": lr}, clock="epochs" if in_epochs else "optimizer_steps"))
    for count in range(1, 25):
        ours.step()
        theirs.step()
        # both add and multiply in their own order, so that the last bits differ
        np.testing.assert_allclose(held(ours), held(theirs), rtol=1e-12, atol=0)
        for one in (scheduler, timms):
            one.step_update(count)
            one.step(count)


def test_a_script_that_begins_at_a_later_epoch_begins_there():
    one = optimizer()
    scheduler = TimmScheduler(one, tm.Plan({"lr": FALL}))
    scheduler.step_update(6)
    assert updates(one, scheduler, [7, 8]) == [[FALL(6)], [FALL(7)]]
    per_epoch = TimmScheduler(another := optimizer(), tm.Plan({"lr": FALL}, clock="epochs"))
    per_epoch.step(3)
    another.step()
    assert held(another) == [FALL(3)]


def test_counts_may_come_twice_and_leave_some_out():
    one = optimizer()
    scheduler = TimmScheduler(one, tm.Plan({"lr": FALL}))
    assert updates(one, scheduler, [1, 1, 4]) == [[1.0], [FALL(1)], [FALL(1)]]
    assert scheduler.values == {"lr": FALL(4)}


# what goes where


def test_weight_decay_goes_to_the_groups_that_began_with_some_after_a_reload_too():
    groups = ({"weight_decay": 0.0}, {"weight_decay": 0.05})
    one = optimizer(*groups)
    plan = tm.Plan({"weight_decay": FALL, "lr": tm.Constant(value=0.3)})
    scheduler = TimmScheduler(one, plan)
    updates(one, scheduler, range(1, 11))
    assert held(one, "weight_decay") == [0.0, 0.0]
    again = optimizer(*groups)
    again.load_state_dict(one.state_dict())
    TimmScheduler(again, tm.Plan({"weight_decay": tm.Constant(value=0.2), "lr": FALL}))
    again.step()
    assert held(again, "weight_decay") == [0.0, 0.2]
    assert held(again) == [1.0, 1.0]


def test_weight_decay_that_would_go_nowhere_is_refused():
    with pytest.raises(BindingError, match=r"weight_decay: every param group began with 0"):
        TimmScheduler(optimizer({}, {}), tm.Plan({"weight_decay": FALL}))


def test_a_tensor_learning_rate_stays_the_tensor_it_is():
    one = optimizer({"lr_scale": 0.5, "lr": torch.tensor(0.1)})
    tensor = one.param_groups[0]["lr"]
    scheduler = TimmScheduler(one, tm.Plan({"lr": FALL}))
    one.step()
    assert one.param_groups[0]["lr"] is tensor
    assert scheduler.lr_values == [0.5]


def test_a_target_of_ones_own_is_written():
    seen = []
    scheduler = TimmScheduler(one := optimizer(), tm.Plan({"mixup": FALL * 0.5}), targets={"mixup": seen.append})
    updates(one, scheduler, [1, 2])
    assert seen == [0.5, 0.45, 0.4]


# what counts


def test_an_update_that_the_gradient_scaler_skips_does_not_count_and_the_plan_stays_behind():
    one, scaler = optimizer(), GradScaler("cpu", init_scale=1.0)
    scheduler = TimmScheduler(one, tm.Plan({"lr": FALL}))
    used, weight = [], one.param_groups[0]["params"][0]
    for count in range(1, 6):
        weight.grad = torch.full_like(weight, math.inf if count == 3 else 1.0)
        scaler.scale(torch.zeros(1))  # the scaler begins its state here
        scaler.step(one)
        used.append(held(one)[0])
        scaler.update()
        scheduler.step_update(count)
        if count == 4:
            state = scheduler.state_dict()
    assert used == [1.0, FALL(1), FALL(2), FALL(2), FALL(3)]
    again = TimmScheduler(other := optimizer(), tm.Plan({"lr": FALL}))
    again.load_state_dict(state)
    again.step_update(4)  # as timm's script does before it goes on
    assert updates(other, again, [5, 6]) == [[FALL(3)], [FALL(4)]]
    again.step_update(9)
    assert again.values == {"lr": FALL(8)}
    third = TimmScheduler(other := optimizer(), tm.Plan({"lr": FALL}))
    third.load_state_dict(state)
    assert updates(other, third, [5, 6]) == [[FALL(3)], [FALL(4)]]


# measurements


@pytest.mark.parametrize("clock", ["optimizer_steps", "epochs"])
def test_the_epochs_metric_is_heard_and_the_running_loss_is_not(clock):
    one = optimizer()
    scheduler = TimmScheduler(one, tm.Plan({"lr": tm.Constant(value=1.0) * PLATEAU}, clock=clock))
    values, count = [], 0
    for epoch, metric in enumerate([0.5, 0.6, 0.6, None, 0.7, 0.1]):
        for _ in range(2):
            one.step()
            count += 1
            scheduler.step_update(count, metric=0.0)
        scheduler.step(epoch + 1, metric)
        values.append(scheduler.values["lr"])
    assert values == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(("total", "expected"), [(None, 60), (10, 10)])
def test_the_plans_own_total_comes_before_the_scripts_epochs(total, expected):
    scheduler = TimmScheduler(optimizer(), tm.Plan({"lr": FALL}, total=total), updates_per_epoch=3, epochs=20)
    assert scheduler.scheduler.plan.total == expected


def test_a_metric_for_a_plan_without_controllers_is_for_nobody():
    scheduler = TimmScheduler(one := optimizer(), tm.Plan({"lr": FALL}))
    one.step()
    scheduler.step_update(1, 0.5)
    scheduler.step(1, 0.5)
    assert scheduler.values == {"lr": FALL(1)}


def test_two_metrics_are_shown_by_name():
    plan = tm.Plan({"lr": FALL * PLATEAU, "weight_decay": FALL * tm.Plateau(metric="train_loss", factor=0.1)})
    scheduler = TimmScheduler(optimizer(weight_decay=0.1), plan)
    with pytest.raises(MeasurementError, match=r"step gives one metric, and the plan listens to top1, train_loss"):
        scheduler.step(1, 0.5)
    scheduler.observe(top1=0.5, train_loss=1.0)
    (decision,) = scheduler.observe(top1=0.4)
    assert (decision["entry"], decision["level"]) == ("lr", 0.5)


# refusals


def test_a_late_start_without_the_controllers_state_is_refused():
    plan = tm.Plan({"lr": FALL * PLATEAU})
    with pytest.raises(StateError, match=r"the script begins at 22, and what the plan's controllers .* is unknown"):
        TimmScheduler(optimizer(), plan).step_update(22)


def test_a_gap_later_on_is_no_late_start():
    scheduler = TimmScheduler(one := optimizer(), tm.Plan({"lr": FALL * PLATEAU}))
    assert updates(one, scheduler, [1, 4]) == [[1.0], [FALL(1)]]
    assert scheduler.values == {"lr": FALL(4)}


def test_a_count_that_goes_back_is_refused():
    scheduler = TimmScheduler(one := optimizer(), tm.Plan({"lr": FALL}))
    updates(one, scheduler, [1, 2])
    with pytest.raises(BindingError, match=r"the script is at 1, and was at 2 before"):
        scheduler.step_update(1)
    scheduler.scheduler.rewind(optimizer_steps=1)
    scheduler.step_update(1)
    assert scheduler.values == {"lr": FALL(1)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.step_update(1.5), r"num_updates .*1.5"),
        (lambda one: one.step(-1), r"epoch .*-1"),
    ],
)
def test_what_is_no_count_is_refused(call, message):
    with pytest.raises(BindingError, match=message):
        call(TimmScheduler(optimizer(), tm.Plan({"lr": FALL})))


@pytest.mark.parametrize("state", [{}, {"scheduler": {}, "behind": 0, "more": 1}, 3, {"scheduler": {}, "behind": -1}])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(StateError, match=r"a state of TimmScheduler has|behind: must be a count, got -1"):
        TimmScheduler(optimizer(), tm.Plan({"lr": FALL})).load_state_dict(state)


def test_a_plan_of_another_clock_or_none_is_refused():
    with pytest.raises(BindingError, match=r"the script counts updates and epochs, the plan env_steps"):
        TimmScheduler(optimizer(), tm.Plan({"lr": FALL}, clock="env_steps"))
    with pytest.raises(BindingError, match=r"needs a tempomat.Plan, got Linear"):
        TimmScheduler(optimizer(), FALL)  # pyright: ignore[reportArgumentType]
