"""PyTorch's schedulers become plans: held to the live ones over whole runs, alone, nested, saved and half done."""

# Lambdas, saved states and arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import copy
import io
import math
import subprocess
import sys
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tempomat as tm
from tempomat.convert import from_torch, from_torch_args, from_torch_state, take_over, to_torch

torch = pytest.importorskip("torch")
lr_scheduler = pytest.importorskip("torch.optim.lr_scheduler")
swa_utils = pytest.importorskip("torch.optim.swa_utils")

# PyTorch warns of its own SequentialLR, which steps what is nested in it while it is built.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step:UserWarning")

DRIFT = 1e-9
"""PyTorch multiplies step after step, so its rounding errors add up, most where a curve nears 0."""
BASE = 0.3
STEPS = 120


def optimizer_at(*lrs, kind="SGD", names=()):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs or (BASE,)]
    for group, name in zip(groups, names, strict=False):
        group["name"] = name
    return getattr(torch.optim, kind)(groups)


def run(optimizer, scheduler, steps=STEPS, key="lr", place=0):
    """What a group holds before each of the next steps."""
    values = []
    for count in range(steps):
        held = optimizer.param_groups[place][key]
        values.append(held[0] if isinstance(held, tuple) else held)
        optimizer.step()
        if count < steps - 1:
            scheduler.step()
    return values


def nested(outer, *inner, **options):
    return lambda o: outer(o, [build(o) for build in inner], **options)


def chained(*inner):
    return lambda o: lr_scheduler.ChainedScheduler([build(o) for build in inner])


def of(name, **options):
    home = swa_utils if name == "SWALR" else lr_scheduler
    return lambda o: getattr(home, name)(o, **options)


LINEAR, EXPONENTIAL = of("LinearLR", start_factor=0.1, total_iters=10), of("ExponentialLR", gamma=0.98)
STEP, COSINE = of("StepLR", step_size=7, gamma=0.8), of("CosineAnnealingLR", T_max=STEPS)
SEQUENTIAL = lr_scheduler.SequentialLR

SCHEDULERS = {
    "StepLR": STEP,
    "MultiStepLR": of("MultiStepLR", milestones=[30, 80, 81], gamma=0.3),
    "MultiStepLR with a milestone twice": of("MultiStepLR", milestones=[5, 9, 9, 30], gamma=0.5),
    "MultiStepLR without milestones": of("MultiStepLR", milestones=[], gamma=0.5),
    "ConstantLR": of("ConstantLR", factor=0.25, total_iters=17),
    "LinearLR": LINEAR,
    "LinearLR downwards": of("LinearLR", start_factor=1.0, end_factor=0.2, total_iters=50),
    "ExponentialLR": EXPONENTIAL,
    "PolynomialLR": of("PolynomialLR", total_iters=60, power=1.7),
    "CosineAnnealingLR": of("CosineAnnealingLR", T_max=STEPS, eta_min=0.003),
    "CosineAnnealingWarmRestarts": of("CosineAnnealingWarmRestarts", T_0=10, T_mult=2, eta_min=0.003),
    "CyclicLR": of("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=7, step_size_down=9),
    "CyclicLR, halved": of("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=7, mode="triangular2"),
    "CyclicLR, shrinking": of("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=7, mode="exp_range", gamma=0.99),
    "OneCycleLR": of("OneCycleLR", max_lr=2.0, total_steps=STEPS),
    "OneCycleLR between two counts": of("OneCycleLR", max_lr=2.0, total_steps=STEPS, pct_start=0.333),
    "OneCycleLR in lines": of("OneCycleLR", max_lr=2.0, total_steps=STEPS, pct_start=0.29, anneal_strategy="linear"),
    "OneCycleLR in three phases": of("OneCycleLR", max_lr=2.0, total_steps=STEPS, pct_start=0.26, three_phase=True),
    "OneCycleLR past its peak": of("OneCycleLR", max_lr=2.0, total_steps=STEPS, pct_start=0.002),
    "OneCycleLR up to its end": of("OneCycleLR", max_lr=2.0, total_steps=STEPS, pct_start=1.0),
    "SWALR": of("SWALR", swa_lr=0.05, anneal_epochs=7),
    "SWALR in a line": of("SWALR", swa_lr=0.05, anneal_epochs=7, anneal_strategy="linear"),
    "SWALR at once": of("SWALR", swa_lr=0.05, anneal_epochs=0),
    "LambdaLR of a schedule": of("LambdaLR", lr_lambda=tm.Cosine(init_value=1.0, end_value=0.0, duration=90)),
    "MultiplicativeLR of a constant": of("MultiplicativeLR", lr_lambda=tm.Constant(value=0.97)),
    "a warmup, then a cosine": nested(SEQUENTIAL, LINEAR, COSINE, milestones=[10]),
    "four in a row": nested(SEQUENTIAL, LINEAR, COSINE, of("SWALR", swa_lr=0.05), EXPONENTIAL, milestones=[10, 40, 80]),
    "a multiplication that goes on": nested(
        SEQUENTIAL, LINEAR, of("MultiplicativeLR", lr_lambda=tm.Constant(value=0.9)), milestones=[6]
    ),
    "a sequence in a sequence": nested(
        SEQUENTIAL, nested(SEQUENTIAL, LINEAR, EXPONENTIAL, milestones=[10]), STEP, milestones=[40]
    ),
    "three sequences deep": nested(
        SEQUENTIAL,
        nested(SEQUENTIAL, nested(SEQUENTIAL, LINEAR, EXPONENTIAL, milestones=[9]), STEP, milestones=[30]),
        STEP,
        milestones=[60],
    ),
    "a chain": chained(LINEAR, EXPONENTIAL, COSINE),
    "a chain in a chain": chained(LINEAR, chained(EXPONENTIAL, STEP)),
    "a chain of one": chained(of("CosineAnnealingLR", T_max=STEPS, eta_min=0.01)),
    "a chain, then a step": nested(
        SEQUENTIAL, chained(of("PolynomialLR", total_iters=60, power=2.0), EXPONENTIAL, COSINE), STEP, milestones=[40]
    ),
    "a chain of a sequence": chained(nested(SEQUENTIAL, LINEAR, COSINE, milestones=[10])),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_live_scheduler_becomes_a_plan_of_its_values(name):
    optimizer = optimizer_at()
    scheduler = SCHEDULERS[name](optimizer)
    plan = from_torch(scheduler)
    values = run(optimizer, scheduler)
    ours = [plan["lr"](count) for count in range(STEPS)]
    assert ours == pytest.approx(values, rel=DRIFT, abs=0.0)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("done", [1, 37])
def test_a_scheduler_half_way_gives_the_plan_of_the_whole_run(name, done):
    whole, half = optimizer_at(), optimizer_at()
    scheduler = SCHEDULERS[name](half)
    run(half, scheduler, done + 1)
    late, early = from_torch(scheduler)["lr"], from_torch(SCHEDULERS[name](whole))["lr"]
    ours = [late(count) for count in range(STEPS)]
    # one that is started again from its present value has that value's rounding
    assert ours == pytest.approx([early(count) for count in range(STEPS)], rel=DRIFT, abs=0.0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_taking_over_changes_no_value(name):
    live, ours = optimizer_at(), optimizer_at()
    scheduler, old = SCHEDULERS[name](live), SCHEDULERS[name](ours)
    for one, kept in ((live, scheduler), (ours, old)):
        run(one, kept, 24)
        kept.step()
    new = take_over(old, after_end="hold" if "a chain" in name else "torch")
    assert new.last_epoch == 24
    left = STEPS - 24
    assert run(ours, new, left) == pytest.approx(run(live, scheduler, left), rel=DRIFT, abs=0.0)


@settings(max_examples=15, deadline=None)
@given(
    total=st.integers(4, 150),
    share=st.floats(0.0, 1.0),
    div=st.floats(1.5, 40.0),
    shape=st.sampled_from(["cos", "linear"]),
)
def test_a_one_cycle_of_any_share_is_exact(total, share, div, shape):
    optimizer = optimizer_at()
    try:
        scheduler = lr_scheduler.OneCycleLR(
            optimizer, 2.0, total_steps=total, pct_start=share, div_factor=div, anneal_strategy=shape
        )
    except ZeroDivisionError:  # PyTorch's own, where the peak is at the first step
        return
    plan = from_torch(scheduler)
    ours = [plan["lr"](count) for count in range(total)]
    # cancellation where the fall nears an end 10 000 times smaller
    assert ours == pytest.approx(run(optimizer, scheduler, total), rel=1e-8, abs=0.0)


@settings(max_examples=15, deadline=None)
@given(warmup=st.integers(1, 20), length=st.integers(60, 120), floor=st.floats(1e-4, 0.2), start=st.floats(0.01, 1.0))
def test_a_warmup_and_a_cosine_of_any_size_are_exact(warmup, length, floor, start):
    optimizer = optimizer_at()
    scheduler = SEQUENTIAL(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, start_factor=start, total_iters=warmup),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=length, eta_min=floor),
        ],
        milestones=[warmup],
    )
    plan = from_torch(scheduler)
    ours = [plan["lr"](count) for count in range(60)]
    assert ours == pytest.approx(run(optimizer, scheduler, 60), rel=DRIFT, abs=0.0)


def test_a_cosine_stays_at_its_end_or_climbs_as_pytorchs_does():
    optimizer = optimizer_at()
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=19, eta_min=0.003)
    held, climbing = from_torch(scheduler)["lr"], from_torch(scheduler, after_end="torch")["lr"]
    assert held == tm.Cosine(init_value=BASE, end_value=0.003, duration=19)
    values = run(optimizer, scheduler)
    assert [climbing(count) for count in range(STEPS)] == pytest.approx(values, rel=DRIFT, abs=0.0)
    assert held(38) == 0.003
    assert values[38] == pytest.approx(BASE, rel=DRIFT, abs=0.0)
    assert from_torch(scheduler)["lr"] == held  # past its end too


def test_taking_over_past_the_end_of_a_cosine_goes_on_climbing():
    optimizer, live = optimizer_at(), optimizer_at()
    old, scheduler = (lr_scheduler.CosineAnnealingLR(one, T_max=10) for one in (optimizer, live))
    for one, kept in ((optimizer, old), (live, scheduler)):
        run(one, kept, 15)
        kept.step()
    new = take_over(old)
    assert run(optimizer, new, 30) == pytest.approx(run(live, scheduler, 30), rel=DRIFT, abs=0.0)


def test_a_one_cycle_stays_at_its_end_where_pytorchs_jumps():
    """PyTorch's own value one step past the total is 63 times its last, and the next step is an error."""
    optimizer = optimizer_at()
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    values = run(optimizer, scheduler, 11)
    assert values[10] > 60 * values[9]
    lr = from_torch(scheduler)["lr"]
    assert lr(10) == lr(9) == pytest.approx(values[9], rel=DRIFT, abs=0.0)


# several groups, momentum


def test_equal_groups_share_an_entry_and_others_go_by_name():
    optimizer = optimizer_at(0.1, 0.1, names=("encoder", "head"))
    assert list(from_torch(lr_scheduler.StepLR(optimizer, 10)).schedules) == ["lr"]
    optimizer = optimizer_at(0.1, 0.2, names=("encoder", "head"))
    lrs: dict[str, Any] = dict(from_torch(lr_scheduler.StepLR(optimizer, 10)).schedules)
    assert {name: one(0) for name, one in lrs.items()} == {"encoder.lr": 0.1, "head.lr": 0.2}


def test_groups_without_a_name_share_the_general_entry():
    optimizer = optimizer_at(0.1, 0.2, 0.1)
    optimizer.param_groups[1]["name"] = "head"
    lrs: dict[str, Any] = dict(from_torch(lr_scheduler.StepLR(optimizer, 10)).schedules)
    assert {name: one(0) for name, one in lrs.items()} == {"lr": 0.1, "head.lr": 0.2}
    scheduler = take_over(lr_scheduler.StepLR(optimizer, 10))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2, 0.1]
    assert scheduler.get_last_lr() == [0.1, 0.2, 0.1]


def test_groups_that_no_name_tells_apart_are_refused():
    with pytest.raises(tm.ConversionError, match=r"param_groups\[1\]: has a schedule of its own and no name"):
        from_torch(lr_scheduler.StepLR(optimizer_at(0.1, 0.2), 10))
    with pytest.raises(tm.ConversionError, match=r"param_groups\[1\]: .* the name 'a' of another group"):
        from_torch(lr_scheduler.StepLR(optimizer_at(0.1, 0.2, names=("a", "a")), 10))
    with pytest.raises(tm.ConversionError, match=r"param_groups\[0\].name: 'my head.lr' names no hyperparameter"):
        from_torch(lr_scheduler.StepLR(optimizer_at(0.1, 0.2, names=("my head", "b")), 10))


@pytest.mark.parametrize(("kind", "key"), [("SGD", "momentum"), ("AdamW", "betas[0]")])
@pytest.mark.parametrize("name", ["OneCycleLR between two counts", "OneCycleLR in three phases", "CyclicLR, halved"])
def test_the_momentum_that_moves_along_is_an_entry(name, kind, key):
    optimizer = optimizer_at(kind=kind)
    scheduler = SCHEDULERS[name](optimizer)
    plan = from_torch(scheduler)
    assert list(plan.schedules) == ["lr", key]
    values = run(optimizer, scheduler, key=key.partition("[")[0])
    assert [plan[key](count) for count in range(STEPS)] == pytest.approx(values, rel=DRIFT, abs=0.0)


@pytest.mark.parametrize("place", [0, 1])
def test_the_momentum_of_a_part_stays_before_and_after_it(place):
    cycle = of("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=7)
    parts = (cycle, STEP) if place == 0 else (LINEAR, cycle, STEP)
    optimizer = optimizer_at()
    scheduler = nested(SEQUENTIAL, *parts, milestones=[40] if place == 0 else [10, 50])(optimizer)
    plan = from_torch(scheduler)
    values = run(optimizer, scheduler, key="momentum")
    assert [plan["momentum"](count) for count in range(STEPS)] == pytest.approx(values, rel=DRIFT, abs=0.0)


def test_momenta_whose_beginning_depends_on_the_order_of_building_are_refused():
    cycle = of("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=7)
    scheduler = nested(SEQUENTIAL, STEP, cycle, cycle, milestones=[10, 50])(optimizer_at())
    with pytest.raises(tm.ConversionError, match="several parts move the momentum"):
        from_torch(scheduler)


def test_a_one_cycle_without_momentum_has_one_entry():
    scheduler = lr_scheduler.OneCycleLR(optimizer_at(), 2.0, total_steps=10, cycle_momentum=False)
    assert list(from_torch(scheduler).schedules) == ["lr"]


# plateau

LOSSES = [1.0, 0.9, 0.95, 0.93, 0.94, 0.95, 0.8, math.nan, 0.81, 0.82, 0.83, 0.79, *[0.9] * 20]


@pytest.mark.parametrize("options", [
    {},
    {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 0.02},
    {"factor": 0.5, "patience": 0, "threshold": 0.05, "threshold_mode": "abs"},
    {"mode": "max", "patience": 2, "factor": 0.3},
    {"min_lr": 0.5, "patience": 0},
])  # fmt: skip
@pytest.mark.parametrize("done", [0, 5, 9])
def test_a_plateau_is_taken_over_in_the_middle_of_its_patience(options, done):
    optimizer, live = optimizer_at(), optimizer_at()
    old, scheduler = (lr_scheduler.ReduceLROnPlateau(one, **options) for one in (optimizer, live))
    for loss in LOSSES[:done]:
        old.step(loss)
        scheduler.step(loss)
    new = take_over(old, metric="loss", clock="epochs")
    new.start()
    for loss in LOSSES[done:]:
        scheduler.step(loss)
        optimizer.step()
        new.step(loss)
        assert optimizer.param_groups[0]["lr"] == live.param_groups[0]["lr"]
    assert new.counts == {"epochs": len(LOSSES)}


def test_each_group_keeps_its_own_plateau():
    optimizer = optimizer_at(0.1, 0.2, names=("a", "b"))
    plan = from_torch(lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=[0.01, 0.02]), metric="loss", total=7)
    assert plan["a.lr"] == tm.Plateau(metric="loss", init_value=0.1, min_value=0.01, on_nan="bad")
    assert plan["b.lr"] == tm.Plateau(metric="loss", init_value=0.2, min_value=0.02, on_nan="bad")
    assert plan.total == 7


# what cannot be said


def test_functions_are_refused_each_with_its_path():
    optimizer = optimizer_at(0.1, 0.2)
    scheduler = SEQUENTIAL(
        optimizer,
        [
            lr_scheduler.LambdaLR(optimizer, [lambda t: 1.0, tm.Constant(value=1.0)]),
            lr_scheduler.MultiplicativeLR(optimizer, lambda t: 0.9),
        ],
        milestones=[5],
    )
    with pytest.raises(tm.ConversionError, match="can be called but not read") as caught:
        from_torch(scheduler)
    assert [fault.path for fault in caught.value.faults] == [
        "schedulers[0].lr_lambda[0]",
        "schedulers[1].lr_lambda[0]",
        "schedulers[1].lr_lambda[1]",
    ]
    assert "test_convert_torch.py, line" in str(caught.value)


def test_a_running_product_of_changing_values_is_refused():
    changing = tm.Linear(init_value=1.0, end_value=0.9, duration=10)
    with pytest.raises(tm.ConversionError, match=r"lr_lambda\[0\]: .* running product"):
        from_torch(lr_scheduler.MultiplicativeLR(optimizer_at(), changing))


def test_a_chain_in_which_one_erases_the_others_is_refused():
    """In PyTorch a LambdaLR in a ChainedScheduler erases the others: 1.0 instead of .590 after five of gamma .9."""
    optimizer = optimizer_at(1.0)
    plain = lr_scheduler.LambdaLR(optimizer, tm.Constant(value=1.0))
    chain = lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(optimizer, 0.9), plain])
    assert run(optimizer, chain, 6)[5] == 1.0
    with pytest.raises(tm.ConversionError, match=r"schedulers\[1\]: LambdaLR sets .* erases what the others did"):
        from_torch(chain)
    ours = tm.Exponential(init_value=1.0, decay_rate=0.9) * tm.Constant(value=1.0)
    assert ours(5) == pytest.approx(0.59049, rel=1e-12, abs=0.0)


def test_a_cosine_with_a_floor_is_no_factor_of_a_chain():
    chain = chained(EXPONENTIAL, of("CosineAnnealingLR", T_max=10, eta_min=0.01))
    with pytest.raises(tm.ConversionError, match=r"schedulers\[1\]: .* eta_min above 0 is no factor"):
        from_torch(chain(optimizer_at()))
    with pytest.raises(tm.ConversionError, match=r"schedulers\[2\]: .* Use after_end='hold'"):
        from_torch(chained(LINEAR, EXPONENTIAL, COSINE)(optimizer_at()), after_end="torch")


def test_a_class_of_ones_own_is_refused():
    class Mine(lr_scheduler.StepLR):
        pass

    with pytest.raises(tm.ConversionError, match=r"schedulers\[0\]: is a Mine of .* may compute anything"):
        from_torch(nested(SEQUENTIAL, lambda o: Mine(o, 3), STEP, milestones=[4])(optimizer_at()))
    with pytest.raises(tm.ConversionError, match=r"must be a scheduler of torch.optim.lr_scheduler, got 3"):
        from_torch(3)


def test_a_function_of_scale_and_sizes_between_counts_are_refused():
    scaled = lr_scheduler.CyclicLR(optimizer_at(), 0.1, 0.5, scale_fn=lambda x: 1.0)
    with pytest.raises(tm.ConversionError, match=r"scale_fn: is the function .* can be called but not read"):
        from_torch(scaled)
    with pytest.raises(tm.ConversionError, match=r"step_size_up and step_size_down must be whole, got 2.5, 3"):
        from_torch(lr_scheduler.CyclicLR(optimizer_at(), 0.1, 0.5, step_size_up=2.5, step_size_down=3))
    with pytest.raises(tm.ConversionError, match="pct_start: leaves no count to one of the three phases"):
        from_torch(lr_scheduler.OneCycleLR(optimizer_at(), 1.0, total_steps=20, pct_start=0.8, three_phase=True))


def test_what_we_refuse_is_named_as_pytorch_names_it():
    optimizer = optimizer_at()
    with pytest.raises(tm.ConversionError, match=r"total_iters: must be at least 1, got 0"):
        from_torch(lr_scheduler.LinearLR(optimizer, total_iters=0))
    with pytest.raises(tm.ConversionError, match=r"total_iters: must be at least 1, got 0"):
        from_torch(lr_scheduler.ConstantLR(optimizer_at(), total_iters=0))
    with pytest.raises(tm.ConversionError, match=r"gamma: must be at least 0, got -0.5"):
        from_torch(lr_scheduler.StepLR(optimizer_at(), 3, gamma=-0.5))


def test_a_present_value_that_the_parameters_do_not_say_is_refused():
    """Building a second scheduler changes what the first one's formula starts from."""
    optimizer = optimizer_at()
    lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=10)
    scheduler = lr_scheduler.StepLR(optimizer, 10)
    with pytest.raises(tm.ConversionError, match=r"param_groups\[0\]: StepLR gives 0.03 at count 0, .* say 0.3"):
        from_torch(scheduler)


def test_an_unknown_way_after_the_end_is_refused():
    with pytest.raises(tm.ConversionError, match="after_end: must be hold or torch, got 'climb'"):
        from_torch(STEP(optimizer_at()), after_end="climb")


# there and back, saved, and by name


def test_what_was_exported_comes_back():
    lr = tm.warmup_cosine(peak_value=0.3, warmup=10, total=100)
    optimizer = optimizer_at(0.05)
    assert from_torch(to_torch(lr, optimizer))["lr"] == lr
    plan = from_torch(to_torch(tm.Plan({"a.lr": lr}), optimizer_at(0.05, 0.2, names=("a", "b"))))
    assert plan["a.lr"] == lr
    assert plan["b.lr"] == tm.Constant(value=0.2)


def test_a_scheduler_of_ours_is_its_plan_and_stays_itself():
    from tempomat.torch import Scheduler

    scheduler = Scheduler(optimizer_at(), tm.Plan({"lr": 0.1}))
    assert from_torch(scheduler) is scheduler.plan
    assert take_over(scheduler) is scheduler


READABLE = [name for name in SCHEDULERS if "LambdaLR" not in name and "multiplication" not in name]


@pytest.mark.parametrize("name", [name for name in READABLE if "MultiplicativeLR" not in name])
def test_a_saved_state_gives_the_plan_of_the_live_scheduler(name):
    optimizer = optimizer_at()
    scheduler = SCHEDULERS[name](optimizer)
    run(optimizer, scheduler, 6)
    file = io.BytesIO()
    torch.save({"scheduler": scheduler.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=name.partition(" ")[0] != "MultiStepLR")  # which saves a Counter
    groups = saved["optimizer"]["param_groups"]
    plan = from_torch_state(None, saved["scheduler"], param_groups=groups)
    assert plan == from_torch(scheduler)


def test_a_saved_state_may_be_named_and_have_no_groups():
    state = lr_scheduler.StepLR(optimizer_at(), 10).state_dict()
    assert from_torch_state("StepLR", state, total=50).total == 50
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer_at(), patience=3).state_dict()
    assert from_torch_state(None, plateau)["lr"] == tm.Plateau(init_value=BASE, patience=3, on_nan="bad")


def test_a_saved_state_that_lacks_something_is_refused():
    state = lr_scheduler.OneCycleLR(optimizer_at(), 1.0, total_steps=9).state_dict()
    with pytest.raises(tm.ConversionError, match="keeps initial_lr, max_lr, min_lr in the param groups"):
        from_torch_state("OneCycleLR", state)
    with pytest.raises(tm.ConversionError, match="SWALR keeps its swa_lr in the param groups"):
        from_torch_state(None, swa_utils.SWALR(optimizer_at(), 0.1).state_dict())
    with pytest.raises(tm.ConversionError, match=r"lr_lambda\[0\]: is a function, and PyTorch saves none"):
        from_torch_state(None, lr_scheduler.LambdaLR(optimizer_at(), lambda t: 1.0).state_dict())
    with pytest.raises(tm.ConversionError, match="is no state of a StepLR: it lacks step_size"):
        from_torch_state("StepLR", lr_scheduler.ExponentialLR(optimizer_at(), 0.9).state_dict())
    with pytest.raises(tm.ConversionError, match="param_groups: must be as many as the state's learning rates"):
        from_torch_state(None, COSINE(optimizer_at()).state_dict(), param_groups=[{}, {}])
    with pytest.raises(tm.ConversionError, match="no scheduler of PyTorch saves a, b"):
        from_torch_state(None, {"a": 1, "b": 2})
    with pytest.raises(tm.ConversionError, match="must be a scheduler's state_dict, got int"):
        from_torch_state(None, 3)


def test_a_class_and_its_arguments_give_the_plan():
    lr = from_torch_args("CosineAnnealingLR", lr=0.1, T_max=100)["lr"]
    assert lr == tm.Cosine(init_value=0.1, end_value=0.0, duration=100)
    plan = from_torch_args("OneCycleLR", max_lr=0.1, total_steps=101, optimizer="AdamW")
    assert list(plan.schedules) == ["lr", "betas[0]"]
    parts = [{"name": "LinearLR", "total_iters": 5}, {"name": "StepLR", "step_size": 10}]
    sequence = from_torch_args(
        "SequentialLR", lr={"a": 0.1, "b": 0.3}, schedulers=parts, milestones=[5], clock="epochs"
    )
    assert sequence["b.lr"](25) == pytest.approx(0.003, rel=1e-12, abs=0.0)
    assert sequence.clock == tm.Unit.EPOCHS
    chain = from_torch_args("ChainedScheduler", lr=0.1, schedulers=parts)
    assert chain["lr"](10) == pytest.approx(0.01, rel=1e-12, abs=0.0)
    assert from_torch_args("SWALR", lr=0.1, swa_lr=0.05)["lr"](10) == 0.05


def test_arguments_that_pytorch_has_not_are_refused():
    with pytest.raises(tm.ConversionError, match=r"no scheduler 'StepRL'. Did you mean StepLR\?"):
        from_torch_args("StepRL", lr=0.1, step_size=3)
    with pytest.raises(
        tm.ConversionError, match=r"step_sise: no argument of that name\. Did you mean step_size\? StepLR"
    ):
        from_torch_args("StepLR", lr=0.1, step_sise=3)
    with pytest.raises(
        tm.ConversionError, match=r"gama: .* Did you mean gamma\? StepLR has step_size, gamma\n.*is missing"
    ):
        from_torch_args("StepLR", lr=0.1, gama=3)
    with pytest.raises(tm.ConversionError, match=r"metrik: .* Did you mean metric\?"):
        from_torch_args("StepLR", lr=0.1, step_size=3, metrik="loss")
    with pytest.raises(tm.ConversionError, match=r"schedulers\[0\]\.total_iter: .* Did you mean total_iters\?"):
        from_torch_args("ChainedScheduler", lr=0.1, schedulers=[{"name": "LinearLR", "total_iter": 3}])
    with pytest.raises(tm.ConversionError, match=r"last_epoch: is for runs that go on"):
        from_torch_args("StepLR", lr=0.1, step_size=3, last_epoch=4)
    with pytest.raises(tm.ConversionError, match=r"max_lr: 'x' is not a number"):
        from_torch_args("OneCycleLR", max_lr="x", total_steps=10)
    with pytest.raises(tm.ConversionError, match=r"milestones: must be a list, got 3"):
        from_torch_args("MultiStepLR", lr=0.1, milestones=3)
    with pytest.raises(tm.ConversionError, match=r"lr\.b: 'x' is not a number"):
        from_torch_args("StepLR", lr={"a": 0.1, "b": cast(Any, "x")}, step_size=3)
    with pytest.raises(tm.ConversionError, match="lr: is missing"):
        from_torch_args("StepLR", step_size=3)
    with pytest.raises(tm.ConversionError, match=r"torch\.optim has no optimizer 'Sgd'\. Did you mean SGD\?"):
        from_torch_args("StepLR", lr=0.1, step_size=3, optimizer="Sgd")
    with pytest.raises(tm.ConversionError, match="lr: Invalid learning rate"):
        from_torch_args("StepLR", lr=-0.1, step_size=3)
    with pytest.raises(tm.ConversionError, match="schedulers: must be a list of mappings"):
        from_torch_args("SequentialLR", lr=0.1, schedulers=["LinearLR"], milestones=[])
    parts = [{"name": "LinearLR"}, {"name": "Step"}]
    with pytest.raises(tm.ConversionError, match=r"schedulers\[1\]: PyTorch has no scheduler 'Step'"):
        from_torch_args("SequentialLR", lr=0.1, schedulers=parts, milestones=[3])


def test_reading_a_saved_state_needs_no_pytorch():
    program = """
import sys
from tempomat.convert import from_torch_state
plan = from_torch_state(None, {"gamma": 0.9, "base_lrs": [1.0], "last_epoch": 3, "_last_lr": [0.729]})
assert plan["lr"](2) == 0.81, plan["lr"](2)
assert not {"torch", "transformers", "jax"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_reading_leaves_the_scheduler_as_it_was():
    optimizer = optimizer_at()
    scheduler = SCHEDULERS["four in a row"](optimizer)
    before, held = copy.deepcopy(scheduler.state_dict()), [dict(group) for group in optimizer.param_groups]
    from_torch(scheduler)
    assert scheduler.state_dict() == before
    assert [dict(group) for group in optimizer.param_groups] == held
