"""Which calls count: applied updates do, on a clock of updates; skipped ones, second calls and wrong orders do not."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from runtime.toys import FALL, held, number, sgd, snapshot, train, weights
from torch.amp.grad_scaler import GradScaler
from torch.optim import AdamW
from torch.optim.lr_scheduler import StepLR

import tempomat as tm
from tempomat.torch import Scheduler

HALF = FALL * 0.5


def counts(scheduler):
    return scheduler.counts["optimizer_steps"]


# wrong orders and numbers of calls


def test_the_scheduler_first_is_warned_of_as_pytorch_warns_and_does_not_count():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    theirs = StepLR(sgd(), step_size=1)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`") as said:
        theirs.step()
    with pytest.warns(said[0].category, match=r"`scheduler.step\(\)` was called before `optimizer.step\(\)`") as ours:
        scheduler.step()
    assert ours[0].filename == said[0].filename == __file__
    assert (counts(scheduler), scheduler.skipped) == (0, 1)
    assert train(optimizer, scheduler, 2) == [1.0, FALL(1)]


def test_on_another_clock_the_scheduler_first_is_warned_of_and_counts():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}, clock="epochs"))
    with pytest.warns(UserWarning, match=r"`scheduler.step\(\)` was called before"):
        scheduler.step()
    scheduler.step()
    assert (scheduler.counts, scheduler.skipped) == ({"epochs": 2}, 0)
    assert held(optimizer) == [FALL(2)]


def test_a_second_call_for_one_update_does_not_count():
    """Accelerate steps the scheduler once per process (accelerate#1382, #2926)."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    for _ in range(3):
        optimizer.step()
        scheduler.step()
        scheduler.step()
    assert (counts(scheduler), scheduler.skipped, held(optimizer)) == (3, 3, [FALL(3)])


def test_a_measurement_with_a_call_that_does_not_count_is_not_heard():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)}))
    optimizer.step()
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert (counts(scheduler), held(optimizer)) == (1, [FALL(1)])


def test_one_call_for_several_updates_counts_as_one_and_is_warned_of_once():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    optimizer.step()
    optimizer.step()
    with pytest.warns(UserWarning, match=r"has stepped 2 times since .* counts as one.*clock='epochs'") as said:
        scheduler.step()
    assert said[0].filename == __file__
    for _ in range(3):
        optimizer.step()
    scheduler.step()
    assert (counts(scheduler), held(optimizer)) == (2, [FALL(2)])


def test_each_kind_of_mistake_is_warned_of_once():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            scheduler.step()
        for _ in range(2):
            optimizer.step()
            optimizer.step()
            scheduler.step()
    assert [str(one.message)[:20] for one in said] == ["`scheduler.step()` w", "the optimizer has st"]


def test_one_call_for_several_updates_is_an_error_where_epochs_are_known():
    """A horizon in steps, stepped once an epoch, never leaves its warmup (stable-worldmodel#280, Lightning#5631)."""
    optimizer = sgd()
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration="2 epochs")}, rates={"steps_per_epoch": 5})
    scheduler = Scheduler(optimizer, plan)
    for _ in range(5):
        optimizer.step()
    with pytest.raises(tm.BindingError, match=r"has stepped 5 times since .*once an epoch"):
        scheduler.step()
    assert counts(scheduler) == 0


def test_any_number_of_updates_may_make_an_epoch():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}, clock="epochs", rates={"steps_per_epoch": 5}))
    for updates in (5, 4, 1, 0):
        for _ in range(updates):
            optimizer.step()
        scheduler.step()
    assert (scheduler.counts, held(optimizer)) == ({"epochs": 4}, [FALL(4)])


def test_counting_calls_takes_every_call_and_says_nothing():
    optimizer = sgd(lr=0.3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}), counting="calls")
    scheduler.step()
    assert held(optimizer) == [FALL(1)]
    for _ in range(3):
        optimizer.step()
    scheduler.step()
    scheduler.step()
    assert (counts(scheduler), held(optimizer), scheduler.skipped) == (3, [FALL(3)], 0)


def test_an_epoch_given_by_hand_is_refused_and_the_update_still_counts():
    """PyTorch jumps to it; here clocks move by `advance` and `rewind`."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    optimizer.step()
    with pytest.raises(tm.BindingError, match=r"epoch.*advance"):
        scheduler.step(epoch=7)  # pyright: ignore[reportArgumentType]
    scheduler.step()
    assert (counts(scheduler), held(optimizer)) == (1, [FALL(1)])


def test_accumulated_gradients_count_once_an_update():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    for batch in range(12):
        if batch % 4 == 3:
            optimizer.step()
            scheduler.step()
    assert counts(scheduler) == 3


# mixed precision


@pytest.mark.parametrize("fused", [False, True])
def test_an_update_that_the_gradient_scaler_skips_does_not_count(fused):
    """Skipped steps advance PyTorch's schedules (pytorch#44511, Lightning#5558). A fused one is called even so."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = AdamW([weight], fused=fused)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    scaler = GradScaler("cpu", init_scale=2.0)
    counted = []
    for overflows in (False, True, False, True, True, False):
        optimizer.zero_grad()
        scaler.scale((weight * (float("inf") if overflows else 1.0)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        counted.append(counts(scheduler))
    assert counted == [1, 1, 2, 2, 2, 3]
    assert scheduler.skipped == 3
    assert held(optimizer) == [FALL(3)]


def test_a_first_update_that_the_scaler_skips_is_warned_of_with_that_said():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    scaler = GradScaler("cpu", init_scale=2.0)
    scaler.scale((weight * float("inf")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    with pytest.warns(UserWarning, match=r"If a gradient scaler skipped the first update, or .*, nothing is wrong"):
        scheduler.step()
    assert counts(scheduler) == 0


# several clocks, several optimizers


def test_agent_steps_and_frames_are_two_clocks_and_stay_apart():
    """DrQ-v2 counts its noise in agent steps and the length of training beside it in frames."""
    optimizer = sgd()
    noise = tm.Linear(init_value=1.0, end_value=0.1, duration="100 frames")
    plan = tm.Plan({"lr": FALL, "noise": tm.on("env_steps", noise)}, rates={"action_repeat": 2})
    scheduler = Scheduler(optimizer, plan)
    for update in range(3):
        optimizer.step()
        scheduler.step()
        scheduler.advance(env_steps=8)
        assert scheduler.counts == {"optimizer_steps": update + 1, "env_steps": 8 * (update + 1)}
    assert scheduler.values["noise"] == tm.Linear(init_value=1.0, end_value=0.1, duration=50)(24)
    assert scheduler.values["lr"] == FALL(3)


def test_a_clock_advances_by_integers_of_any_library_and_by_nothing_else():
    scheduler = Scheduler(sgd(), tm.Plan({"lr": FALL}))
    amounts: dict[str, Any] = {"env_steps": np.int32(3), "frames": torch.tensor(6)}
    scheduler.advance(**amounts)
    before = scheduler.counts
    assert before == {"optimizer_steps": 0, "env_steps": 3, "frames": 6}
    for wrong in (2.0, True, -1, "3"):
        with pytest.raises(tm.BindingError, match="env_steps must be"):
            scheduler.advance(env_steps=wrong)  # pyright: ignore[reportArgumentType]
    assert scheduler.counts == before


def test_an_update_of_each_optimizer_is_one_count():
    actor, critic = sgd(), sgd()
    scheduler = Scheduler({"actor": actor, "critic": critic}, tm.Plan({"actor.lr": FALL, "critic.lr": HALF}))
    for _ in range(3):
        critic.step()
        actor.step()
        scheduler.step()
    critic.step()
    scheduler.step()
    scheduler.step()
    assert (counts(scheduler), scheduler.skipped) == (4, 1)


def test_a_rewind_writes_the_earlier_values_and_is_in_the_events():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 5)
    scheduler.rewind(optimizer_steps=2)
    assert held(optimizer) == [FALL(2)]
    assert [one["event"] for one in scheduler.events] == ["rewind"]
    assert train(optimizer, scheduler, 2) == [FALL(2), FALL(3)]


# refusals


def test_a_value_out_of_range_is_refused_before_anything_changes_and_again_when_called_again():
    optimizer = sgd("encoder", "head", weight_decay=0.0)
    sinks = tm.Linear(init_value=1.0, end_value=-1.0, duration=4)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": sinks, "weight_decay": HALF}))
    train(optimizer, scheduler, 2)
    optimizer.step()
    before, state = snapshot(optimizer), scheduler.state_dict()
    for _ in range(2):
        with pytest.raises(
            tm.BindingError, match=r"head\.lr comes to -0\.5 at optimizer_steps 3, .* at least 0\. Clip"
        ):
            scheduler.step()
        assert (snapshot(optimizer), scheduler.state_dict()) == (before, state)
    assert scheduler.skipped == 0


def test_a_first_value_out_of_range_is_refused_before_the_first_update():
    optimizer = sgd(momentum=0.5)
    Scheduler(sgd(), tm.Plan({"lr": FALL}))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "momentum": 1.0}))
    before = snapshot(optimizer)
    with pytest.raises(tm.BindingError, match=r"momentum comes to 1\.0 .* at least 0 and below 1"):
        optimizer.step()
    assert (snapshot(optimizer), weights(optimizer), scheduler.counts) == (before, [0.0], {"optimizer_steps": 0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -1e-9),
        ("weight_decay", -0.1),
        ("momentum", 1.0),
        ("grad_clip", 0.0),
        ("batch_size", 0.5),
        ("dropout", 1.1),
    ],
)
def test_each_hyperparameter_has_its_bounds(name, value):
    """optax lets b2 = .999 become 1.0 under bfloat16 (optax#1414)."""
    scheduler = Scheduler(
        sgd(),
        tm.Plan({"eps" if name == "lr" else "lr": 1e-8, name: value}, clock="epochs"),
        targets={"eps": None} if name == "lr" else {},
    )
    with pytest.raises(tm.BindingError, match=f"{name} comes to {value} .* and must be"):
        scheduler.start()


def test_a_measurement_that_is_refused_leaves_the_update_to_be_counted():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)}))
    optimizer.step()
    before, state = snapshot(optimizer), scheduler.state_dict()
    with pytest.raises(tm.MeasurementError, match="val_loss must be a finite number, got nan"):
        scheduler.step(float("nan"))
    with pytest.raises(tm.MeasurementError, match="val_loss must be a number"):
        scheduler.step("low")
    assert (snapshot(optimizer), scheduler.state_dict()) == (before, state)
    scheduler.step(1.0)
    assert (counts(scheduler), scheduler.skipped) == (1, 0)


def test_one_measurement_for_several_metrics_or_none_is_refused_with_what_to_write():
    optimizer = sgd()
    two = FALL * tm.Plateau() * tm.Plateau(metric="reward", mode="max")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": two}))
    optimizer.step()
    with pytest.raises(tm.MeasurementError, match=r"listens to reward, val_loss: use observe\(reward=\.\.\.\)"):
        scheduler.step(0.5)
    plain = Scheduler(sgd(), tm.Plan({"lr": FALL}), counting="calls")
    with pytest.raises(
        tm.MeasurementError, match=r"step\(0\.5\) gives one measurement, and the plan has no controller"
    ):
        plain.step(0.5)
    assert (counts(scheduler), counts(plain)) == (0, 0)


def test_observing_by_name_decides_at_once_and_returns_the_decisions():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)}))
    train(optimizer, scheduler, 1)
    assert scheduler.observe(val_loss=1.0) == []
    (decision,) = scheduler.observe(val_loss=torch.tensor(1.0))
    assert (decision["level"], held(optimizer)) == (0.5, [FALL(1) * 0.5])
    assert scheduler.events == [decision]
    with pytest.raises(tm.MeasurementError, match=r"'val_los'\. Did you mean val_loss\?"):
        scheduler.observe(val_los=1.0)


def test_a_loss_that_still_has_its_graph_is_a_measurement():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)}))
    optimizer.step()
    scheduler.step((number() + 0.5).sum())
    assert scheduler.state_dict()["controllers"]["lr"][0]["best"] == 0.5


# functions of the user's


class Failing:
    """A target that fails while it is told to."""

    def __init__(self):
        self.fails, self.seen = False, []

    def __call__(self, value):
        if self.fails:
            raise RuntimeError("the sampler is gone")
        self.seen.append(value)


@pytest.mark.parametrize(
    "move",
    [
        lambda scheduler: scheduler.step(),
        lambda scheduler: scheduler.step(1.0),
        lambda scheduler: scheduler.observe(val_loss=1.0),
        lambda scheduler: scheduler.advance(optimizer_steps=1),
        lambda scheduler: scheduler.rewind(optimizer_steps=0),
        lambda scheduler: scheduler.start(),
    ],
    ids=["step", "step with a measurement", "observe", "advance", "rewind", "start"],
)
def test_a_function_of_the_users_that_fails_leaves_training_as_it_was(move):
    optimizer, target = sgd(), Failing()
    tree = FALL * tm.Plateau(patience=0, factor=0.5)
    plan = tm.Plan({"lr": tree, "batch_size": tree + 1, "grad_clip": 1.0})
    scheduler = Scheduler(optimizer, plan, targets={"batch_size": target})
    train(optimizer, scheduler, 1)
    scheduler.observe(val_loss=1.0)
    optimizer.step()
    before = snapshot(optimizer), scheduler.state_dict(), scheduler.values, scheduler.events
    target.fails = True
    with pytest.raises(RuntimeError, match="the sampler is gone"):
        move(scheduler)
    assert (snapshot(optimizer), scheduler.state_dict(), scheduler.values, scheduler.events) == before
    target.fails = False
    scheduler.step()
    assert scheduler.values == {"lr": FALL(2), "batch_size": FALL(2) + 1, "grad_clip": 1.0}
    assert target.seen[-1] == FALL(2) + 1


def test_a_function_of_the_users_that_fails_at_the_start_stops_the_first_update():
    optimizer, target = sgd(lr=0.3), Failing()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "batch_size": 32}), targets={"batch_size": target})
    target.fails, before = True, snapshot(optimizer)
    with pytest.raises(RuntimeError, match="the sampler is gone"):
        optimizer.step()
    assert (snapshot(optimizer), weights(optimizer)) == (before, [0.0])
    target.fails = False
    assert train(optimizer, scheduler, 2) == [1.0, FALL(1)]
