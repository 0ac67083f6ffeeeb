"""One writer for each key of each group, and whoever else writes is noticed."""

import gc

import pytest
import torch
from runtime.toys import FALL, group, held, sgd, train
from torch.optim import Adam

import tempomat as tm
from tempomat.torch import Scheduler

HALF = FALL * 0.5


@pytest.mark.parametrize(
    ("first", "second"),
    [("lr", "lr"), ("lr", "encoder.lr"), ("encoder.lr", "lr"), ("betas[0]", "encoder.betas[0]"), ("eps", "eps")],
)
def test_a_second_scheduler_of_the_same_key_is_refused(first, second):
    """Two writers of one hyperparameter overwrite each other unseen."""
    optimizer = Adam([group("encoder"), group("head")])
    kept = Scheduler(optimizer, tm.Plan({first: HALF}))
    with pytest.raises(
        tm.BindingError, match=rf"(?s){second[:2]}.*another Scheduler already writes .*both into one plan"
    ):
        Scheduler(optimizer, tm.Plan({second: HALF}))
    assert train(optimizer, kept, 2) is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [("lr", "weight_decay"), ("encoder.lr", "head.lr"), ("betas[0]", "betas[1]"), ("lr", "grad_clip")],
)
def test_schedulers_of_different_keys_or_groups_live_side_by_side(first, second):
    optimizer = Adam([group("encoder"), group("head")])
    one, other = Scheduler(optimizer, tm.Plan({first: HALF})), Scheduler(optimizer, tm.Plan({second: HALF}))
    for count in range(3):
        assert (one.values, other.values) == ({first: HALF(count)}, {second: HALF(count)})
        optimizer.step()
        one.step()
        other.step()


def test_one_that_is_gone_makes_room():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 2)
    del scheduler
    gc.collect()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": HALF}))
    assert train(optimizer, scheduler, 2) == [HALF(0), HALF(1)]


def test_a_scheduler_is_gone_with_its_last_name_and_not_kept_alive_by_the_optimizer():
    gc.disable()
    try:
        optimizer = sgd()
        for _ in range(3):
            scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
            train(optimizer, scheduler, 1)
            del scheduler
    finally:
        gc.enable()
    optimizer.step()
    assert held(optimizer) == [FALL(1)]


def test_a_group_that_comes_later_is_not_written_twice_either():
    optimizer = sgd("encoder")
    one = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    other = Scheduler(optimizer, tm.Plan({"weight_decay": FALL, "head.lr": HALF}), later=["head"])
    train(optimizer, one, 1)
    optimizer.add_param_group(group("head"))
    with pytest.raises(tm.BindingError, match="another Scheduler already writes"):
        optimizer.step()
    assert other.values["head.lr"] == HALF(0)


def test_a_saved_plan_that_goes_on_is_not_a_second_writer_in_disguise():
    optimizer = sgd()
    state = Scheduler(sgd(), tm.Plan({"lr": FALL, "weight_decay": HALF})).state_dict()
    one, other = Scheduler(optimizer, tm.Plan({"lr": FALL})), Scheduler(optimizer, tm.Plan({"weight_decay": HALF}))
    with pytest.raises(tm.BindingError, match="another Scheduler already writes weight_decay"):
        one.load_state_dict(state, on_change="keep")
    assert (one.plan, other.plan) == (tm.Plan({"lr": FALL}), tm.Plan({"weight_decay": HALF}))


# foreign writes


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_a_value_that_somebody_else_wrote_is_noticed_when_values_are_read(kind):
    optimizer = sgd("encoder", "head", lr=kind(0.3))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 2)
    optimizer.param_groups[1]["lr"] = kind(0.125)
    with pytest.raises(tm.BindingError, match=r"lr: somebody else wrote 0\.125 .* the plan had written 0\.8.*'adopt'"):
        _ = scheduler.values
    train(optimizer, scheduler, 1)
    if kind is float:
        assert scheduler.values == {"lr": FALL(3)}


def test_a_tensor_that_somebody_else_filled_is_noticed():
    optimizer = sgd(lr=torch.tensor(0.3))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 2)
    optimizer.param_groups[0]["lr"].fill_(0.125)
    with pytest.raises(tm.BindingError, match=r"somebody else wrote 0\.125"):
        _ = scheduler.values


def test_an_element_of_a_tuple_that_somebody_else_wrote_is_noticed_and_its_neighbour_is_theirs():
    optimizer = Adam([group()])
    scheduler = Scheduler(optimizer, tm.Plan({"betas[0]": HALF}))
    train(optimizer, scheduler, 1)
    optimizer.param_groups[0]["betas"] = (HALF(1), 0.5)
    assert scheduler.values == {"betas[0]": HALF(1)}
    scheduler.advance(optimizer_steps=1)
    assert held(optimizer, "betas") == [(HALF(2), 0.5)]
    optimizer.param_groups[0]["betas"] = (0.125, 0.5)
    with pytest.raises(tm.BindingError, match=r"betas\[0\]: somebody else wrote 0\.125"):
        _ = scheduler.values


@pytest.mark.parametrize("wrong", [float("nan"), -1.0])
def test_an_impossible_value_that_somebody_else_wrote_is_noticed_too(wrong):
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 1)
    optimizer.param_groups[0]["lr"] = wrong
    with pytest.raises(tm.BindingError, match=f"somebody else wrote {wrong}"):
        _ = scheduler.values


def test_adopted_it_is_recorded_as_applied_and_stays_until_the_schedule_next_changes():
    optimizer = sgd()
    decay = tm.StepDecay(init_value=1.0, factor=0.5, every=3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": decay}), foreign="adopt")
    train(optimizer, scheduler, 1)
    optimizer.param_groups[0]["lr"] = 0.125
    assert (scheduler.values, scheduler.asked) == ({"lr": 0.125}, {"lr": 1.0})
    assert train(optimizer, scheduler, 3) == [0.125, 0.125, 0.5]


@pytest.mark.parametrize("replaced", [0.125, torch.tensor(0.125)], ids=["by a float", "by a tensor"])
def test_adopted_in_a_tensors_place_it_stays_no_longer_than_that_either(replaced):
    optimizer = sgd("encoder", "head", lr=torch.tensor(0.3))
    decay = tm.StepDecay(init_value=1.0, factor=0.5, every=3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": decay}), foreign="adopt")
    train(optimizer, scheduler, 1)
    optimizer.param_groups[0]["lr"] = replaced
    assert scheduler.values == {"lr": 0.125}
    train(optimizer, scheduler, 3)
    assert held(optimizer) == [0.5, 0.5]
    assert scheduler.values == {"lr": 0.5}


def test_what_somebody_else_wrote_never_enters_the_schedule():
    """A value depends on plan, counts and decisions, and never on what the optimizer holds."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}), foreign="adopt")
    for count in range(5):
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 77.0
        scheduler.step()
        assert scheduler.values == {"lr": FALL(count + 1)}
