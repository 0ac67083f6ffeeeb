"""The loops that tutorials print, line by line as printed, with our scheduler in the place of PyTorch's."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runtime.toys import number, sgd
from strategies import bits
from torch import optim
from torch.optim import lr_scheduler

import tempomat as tm
from tempomat.torch import Scheduler

BASE = 0.01
"""The lr that PyTorch's schedulers start from; ours have it in the plan."""


def adam():
    return optim.Adam([number()], lr=BASE)


def ours(schedule, clock="epochs"):
    """Builds our scheduler for an optimizer."""
    return lambda optimizer: Scheduler(optimizer, tm.Plan({"lr": schedule}, clock=clock))


def per_epoch(build, epochs, batches=3):
    """The printed loop: batches inside, `scheduler.step()` once after them. The lr of each epoch."""
    optimizer = adam()
    scheduler = build(optimizer)
    used = []
    for _ in range(epochs):
        for _ in range(batches):
            optimizer.step()
            used.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert used == [lr for lr in used[::batches] for _ in range(batches)]
    return used[::batches]


def per_batch(build, updates):
    """The same with `scheduler.step()` after every batch."""
    optimizer = adam()
    scheduler = build(optimizer)
    used = []
    for _ in range(updates):
        optimizer.step()
        used.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return used


def closed_form(build, length):
    """PyTorch's own closed forms, which it uses where an epoch is given; its `step()` multiplies the value before."""
    optimizer = adam()
    scheduler = build(optimizer)
    used = []
    for epoch in range(length):
        scheduler.last_epoch = epoch
        used.append(scheduler._get_closed_form_lr()[0])
    return used


STEP = (
    lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.1),
    tm.StepDecay(init_value=BASE, factor=0.1, every=10),
)
COSINE = (
    lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.0001),
    tm.Cosine(init_value=BASE, end_value=0.0001, duration=50),
)
COSINE_TO_ZERO = (
    lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=50),
    tm.Cosine(init_value=BASE, end_value=0.0, duration=50),
)
EXPONENTIAL = (
    lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.95),
    tm.Exponential(init_value=BASE, decay_rate=0.95),
)
MULTI_STEP = (
    lambda optimizer: lr_scheduler.MultiStepLR(optimizer, milestones=[30, 80], gamma=0.1),
    tm.MultiStep(init_value=BASE, factor=0.1, milestones=(30, 80)),
)
PRINTED = pytest.mark.parametrize(
    ("theirs", "schedule", "length"),
    [(*STEP, 101), (*COSINE, 51), (*COSINE_TO_ZERO, 51), (*EXPONENTIAL, 101), (*MULTI_STEP, 101)],
    ids=["StepLR", "CosineAnnealingLR", "CosineAnnealingLR to 0", "ExponentialLR", "MultiStepLR"],
)


@PRINTED
@pytest.mark.parametrize("loop", [per_epoch, per_batch])
def test_the_printed_loop_applies_the_values_that_pytorch_applies(theirs, schedule, length, loop):
    clock = "epochs" if loop is per_epoch else "optimizer_steps"
    # PyTorch multiplies the value before, and is off by an ulp for every step; ours is not
    assert loop(ours(schedule, clock), length) == pytest.approx(loop(theirs, length), rel=5e-15, abs=1e-17)


@PRINTED
def test_to_the_last_bit_they_are_pytorchs_closed_forms(theirs, schedule, length):
    if schedule is MULTI_STEP[1]:  # here the recursion is what PyTorch applies, and ours equals that
        assert bits(per_epoch(ours(schedule), length)) == bits(per_epoch(theirs, length))
    else:
        assert bits(per_epoch(ours(schedule), length)) == bits(closed_form(theirs, length))


def test_past_its_end_a_cosine_stays_where_pytorchs_climbs_again():
    """`CosineAnnealingLR` rises after `T_max`: the printed example runs 100 epochs with `T_max=50`."""
    held, climbs = per_epoch(ours(COSINE[1]), 100), per_epoch(COSINE[0], 100)
    assert set(held[50:]) == {0.0001}
    assert climbs[99] > 0.009


def test_the_formulas_hold_as_printed():
    lr_0, lr_min, t_max, gamma = 0.01, 0.0001, 50, 0.95
    epochs = range(101)
    step_size = 10
    assert per_epoch(ours(STEP[1]), 101) == [lr_0 * 0.1 ** (t // step_size) for t in epochs]
    assert per_epoch(ours(EXPONENTIAL[1]), 101) == [lr_0 * gamma**t for t in epochs]
    cosine = [lr_min + 0.5 * (lr_0 - lr_min) * (1 + math.cos(math.pi * t / t_max)) for t in range(51)]
    assert per_epoch(ours(COSINE[1]), 51) == cosine


def test_the_loop_printed_with_a_validation_step_takes_a_plateau():
    """The whole printed block: model, optimizer, scheduler, a hundred epochs, `scheduler.step(validation_loss)`."""
    model = torch.nn.Linear(2, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    plan = tm.Plan({"lr": tm.Plateau(mode="min", patience=5, factor=0.1, init_value=0.01)}, clock="epochs")
    scheduler = Scheduler(optimizer, plan)
    logged = []
    num_epochs = 100
    for epoch in range(num_epochs):
        for batch in [SimpleNamespace(data=torch.ones(1, 2), labels=torch.ones(1, 1))]:
            optimizer.zero_grad()
            outputs = model(batch.data)
            loss = torch.nn.functional.mse_loss(outputs, batch.labels)
            loss.backward()
            optimizer.step()
        validation_loss = 1.0 if epoch < 20 else 0.5
        scheduler.step(validation_loss)
        current_lr = optimizer.param_groups[0]["lr"]
        logged.append(current_lr)
    drops = [epoch for epoch in range(1, 100) if logged[epoch] != logged[epoch - 1]]
    assert drops == [6, 12, 18, 26, 32, 38]  # more than 5 without improvement; epoch 20 improves; below 1e-8 it rests
    assert logged[-1] == pytest.approx(1e-8, rel=1e-14)


STREAM = np.random.default_rng(7).normal(size=300).cumsum() * 0.05 + 3.0
"""A loss that wanders, always above 0."""


def plateaus(**options):
    """Both plateaus over the same measurements: the lr of each epoch."""
    torch_options = {{"min_value": "min_lr"}.get(name, name): value for name, value in options.items()}
    optimizers = sgd(lr=BASE), sgd(lr=BASE)
    plan = tm.Plan({"lr": tm.Plateau(init_value=BASE, **options)}, clock="epochs")
    pair = lr_scheduler.ReduceLROnPlateau(optimizers[0], **torch_options), Scheduler(optimizers[1], plan)
    used = [], []
    for loss in STREAM:
        for optimizer, scheduler, lrs in zip(optimizers, pair, used, strict=True):
            optimizer.step()
            lrs.append(optimizer.param_groups[0]["lr"])
            scheduler.step(loss)
    return used


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max"},
        {"patience": 0},
        {"patience": 3, "factor": 0.5},
        {"patience": 2, "cooldown": 4, "factor": 0.7},
        {"patience": 1, "threshold": 0.1, "factor": 0.5},
        {"patience": 1, "threshold": 0.2, "threshold_mode": "abs", "factor": 0.5},
        {"patience": 1, "threshold": 0.2, "threshold_mode": "abs", "mode": "max", "factor": 0.9},
        {"patience": 1, "factor": 0.5, "min_value": 1e-3},
        {"patience": 1, "factor": 0.5, "eps": 1e-3},
    ],
    ids=repr,
)
def test_a_plateau_decides_as_pytorchs_does_at_every_epoch(options):
    theirs, mine = plateaus(**options)
    assert len(set(mine)) > 1
    assert bits(mine) == bits(theirs)


def test_a_plateau_scales_a_cosine_as_pytorchs_cannot():
    """Cosine times plateau: transformers#29417, pytorch#82859."""
    optimizer = sgd()
    tree = tm.Cosine(init_value=BASE, end_value=0.0, duration=20) * tm.Plateau(patience=0, factor=0.5)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": tree}, clock="epochs"))
    used = []
    for epoch in range(20):
        optimizer.step()
        used.append(optimizer.param_groups[0]["lr"])
        scheduler.step(1.0 if epoch < 10 else 2.0 if epoch == 10 else 0.5 - epoch / 100)
    drops = [0, 0, *range(1, 10), *[10] * 9]
    assert used == [tm.Cosine(init_value=BASE, end_value=0.0, duration=20)(t) * 0.5 ** drops[t] for t in range(20)]


def test_a_printed_loop_says_nothing_where_nothing_is_wrong():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        per_epoch(ours(COSINE[1]), 5)
        per_batch(ours(COSINE[1], "optimizer_steps"), 5)
    assert said == []
