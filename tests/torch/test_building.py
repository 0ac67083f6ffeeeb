"""Building a scheduler changes nothing; the first update already uses the value of the present count."""

import copy
from functools import partial

import pytest
import torch
from runtime.toys import FALL, group, held, number, sgd, snapshot, train, weights
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

import tempomat as tm
from tempomat.torch import Scheduler

double = partial(torch.tensor, dtype=torch.float64)
EVERYTHING = tm.Plan({"lr": FALL, "weight_decay": FALL * 0.5, "betas[0]": FALL * 0.5, "betas[1]": 0.5, "eps": 1e-3})


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_building_changes_nothing_in_the_optimizer(kind):
    """Constructing PyTorch's writes lr and `initial_lr` at once (pytorch#72874)."""
    optimizer = AdamW([group("encoder"), group("head", lr=0.7)], lr=kind(0.3))
    before = snapshot(optimizer)
    scheduler = Scheduler(optimizer, EVERYTHING)
    assert scheduler.values == scheduler.asked == {name: EVERYTHING[name](0) for name in EVERYTHING.schedules}
    assert scheduler.get_last_lr() == [1.0, 1.0]
    scheduler.state_dict()
    assert snapshot(optimizer) == before


def test_building_on_a_warm_optimizer_changes_nothing_either():
    optimizer = SGD([number()], lr=0.3, momentum=0.5)
    for _ in range(3):
        optimizer.step()
    before, state = snapshot(optimizer), copy.deepcopy(optimizer.state_dict())
    Scheduler(optimizer, tm.Plan({"lr": FALL, "momentum": FALL * 0.9}))
    assert snapshot(optimizer) == before
    assert optimizer.state_dict() == state


def test_building_one_after_the_other_leaves_the_optimizer_and_the_last_one_right():
    """The last one's value at step 0 stayed (pytorch#72874)."""
    optimizer = sgd(lr=0.3)
    before = snapshot(optimizer)
    for scale in (0.1, 0.2, 0.5):
        scheduler = None  # one writer per key: the one before it has to be gone
        scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL * scale}))
        assert snapshot(optimizer) == before
    assert train(optimizer, scheduler, 3) == [(FALL * 0.5)(count) for count in range(3)]


def test_a_build_that_fails_leaves_no_trace():
    optimizer = sgd(lr=0.3, weight_decay=0.1)
    before = snapshot(optimizer)
    with pytest.raises(tm.BindingError, match="no param group has a 'betas'"):
        Scheduler(optimizer, tm.Plan({"lr": FALL, "weight_decay": FALL, "betas[0]": FALL}))
    assert snapshot(optimizer) == before
    optimizer.step()
    assert weights(optimizer) == [-0.3]
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "weight_decay": 0.0}))
    assert train(optimizer, scheduler, 1) == [1.0]


@pytest.mark.parametrize("kind", [float, double])
@pytest.mark.parametrize("count", [0, 3])
def test_the_first_update_uses_the_value_of_the_present_count(kind, count):
    """Weight 0 and gradient 1: what SGD makes of the weight is minus the lr."""
    optimizer = sgd(lr=kind(0.3))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    scheduler.advance(optimizer_steps=count)
    assert held(optimizer) == [0.3]
    optimizer.step()
    assert weights(optimizer) == [-FALL(count)]
    scheduler.step()
    optimizer.step()
    assert weights(optimizer) == [-FALL(count) - FALL(count + 1)]


def test_the_first_update_under_a_warmup_from_zero_is_of_zero_and_not_of_the_optimizers_own():
    """It is the plan's choice and shows (transformers#34754): with `init_value` the first update counts."""
    for first in (0.0, 0.25):
        optimizer = sgd(lr=0.3)
        scheduler = Scheduler(
            optimizer, tm.Plan({"lr": tm.warmup_constant(peak_value=1.0, warmup=4, init_value=first)})
        )
        assert train(optimizer, scheduler, 1) == [first]
        assert weights(optimizer) == [-first]


def test_start_writes_the_present_values_before_the_first_update():
    optimizer = sgd(lr=0.3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    scheduler.start()
    assert held(optimizer) == [1.0]
    assert scheduler.counts == {"optimizer_steps": 0}


def test_no_value_depends_on_what_the_optimizer_held_before():
    """A float32 lr under recursion drifts by a thousandth in a hundred thousand steps."""
    for lr in (0.3, 0.0, 1e30, torch.tensor(0.3)):
        optimizer = Adam([number()], lr=lr)
        scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
        assert train(optimizer, scheduler, 3) == pytest.approx([FALL(count) for count in range(3)], rel=1e-7)


def test_values_of_a_tensor_do_not_drift():
    optimizer = sgd(lr=torch.tensor(0.3))
    schedule = tm.Exponential(init_value=1.0, decay_rate=0.9999)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": schedule}))
    for count in range(2_000):
        optimizer.step()
        assert held(optimizer) == [torch.tensor(schedule(count)).item()]  # rounded once, to float32
        scheduler.step()


def test_pytorchs_own_scheduler_built_beside_it_on_another_key_is_left_alone():
    optimizer = sgd(lr=1.0, weight_decay=0.0)
    theirs = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    ours = Scheduler(optimizer, tm.Plan({"weight_decay": FALL}))
    optimizer.step()
    theirs.step()
    ours.step()
    assert (held(optimizer), held(optimizer, "weight_decay")) == ([0.75], [FALL(1)])


def test_pytorchs_own_scheduler_on_the_same_key_is_noticed():
    optimizer = sgd(lr=1.0)
    ours = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    theirs = CosineAnnealingLR(optimizer, T_max=5)
    optimizer.step()
    theirs.step()
    with pytest.raises(tm.BindingError, match=r"lr: somebody else wrote .* Remove the other writer"):
        _ = ours.values


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"optimizer": None}, "needs a torch.optim.Optimizer, got NoneType"),
        ({"optimizer": {}}, "needs at least one optimizer, got none"),
        ({"optimizer": {"actor": 5}}, "needs a torch.optim.Optimizer for 'actor', got int"),
        ({"plan": FALL}, r"needs a tempomat.Plan, got Linear\. Write Plan"),
        ({"plan": {"lr": FALL}}, "needs a tempomat.Plan, got dict"),
        ({"foreign": "ignore"}, "`foreign` must be error or adopt, got 'ignore'"),
        ({"counting": "call"}, "`counting` must be updates or calls, got 'call'"),
        ({"targets": {"grad_clp": None}}, r"the plan has no entry 'grad_clp'\. Did you mean grad_clip\?"),
    ],
    ids=lambda one: repr(one) if isinstance(one, dict) else "",
)
def test_what_is_not_possible_is_refused_when_building(wrong, said):
    right = {"optimizer": sgd(), "plan": tm.Plan({"lr": FALL, "grad_clip": 1.0})}
    assert Scheduler(**right)
    with pytest.raises(tm.BindingError, match=said):
        Scheduler(**{**right, "optimizer": sgd(), **wrong})


def test_a_conversion_that_is_missing_is_named_and_taken_when_given():
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration="2 epochs")}, total="4 epochs")
    with pytest.raises(tm.PlanError, match="Give steps_per_epoch="):
        Scheduler(sgd(), plan)
    scheduler = Scheduler(sgd(), plan, steps_per_epoch=5)
    assert scheduler.plan["lr"] == FALL
    assert scheduler.plan.total == 20
    assert Scheduler(sgd(), plan, total=7, steps_per_epoch=5).plan.total == 7


def test_the_count_of_the_plan_is_there_under_pytorchs_name():
    """A horizon in optimizer steps stepped per epoch never leaves its warmup: the clock is the plan's, and named."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}, clock="epochs"))
    for epoch in range(3):
        assert scheduler.last_epoch == epoch
        optimizer.step()
        optimizer.step()
        scheduler.step()
    assert scheduler.counts == {"epochs": 3}
