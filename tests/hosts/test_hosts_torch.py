"""A plain PyTorch loop, run for real: per update as per epoch, and beside PyTorch's own scheduler."""

import io
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

import tempomat as tm
from tempomat.torch import Scheduler

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def example():
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "examples" / "hosts" / "torch_loop.py")))


@pytest.fixture(scope="module", params=["PER_UPDATE", "PER_EPOCH_PLAN"])
def plan(request, example):
    return getattr(example, request.param)


def test_the_loop_learns_and_uses_every_value_as_planned(example):
    found = example.main()
    assert found["val_loss"] < 0.7  # guessing gives 2.3
    resolved = example.PER_UPDATE.resolve()
    for name in example.PER_UPDATE.schedules:
        assert [one[name] for one in found["used"]] == list(resolved[name](np.arange(6 * 22)))


def test_a_plan_of_epochs_holds_through_each_epoch(example):
    found = example.main(example.PER_EPOCH_PLAN)
    assert found["val_loss"] < 0.7
    lr = example.PER_EPOCH_PLAN["lr"].given([1.0])
    assert [one["lr"] for one in found["used"]] == [lr(epoch) for epoch in range(6) for _ in range(22)]


def test_the_loop_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(example, plan):
    whole, first = example.main(plan), example.main(plan, stop_after=3)
    saved = io.BytesIO()
    torch.save(first["checkpoint"], saved)
    saved.seek(0)
    second = example.main(plan, state=torch.load(saved, weights_only=True))
    assert first["used"] + second["used"] == whole["used"]
    assert second["val_loss"] == whole["val_loss"]


def sgd():
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones_like(weight)
    return torch.optim.SGD([weight], lr=0.01)


def held(optimizer):
    return optimizer.param_groups[0]["lr"]


def test_a_cosine_takes_the_place_of_pytorchs_own_line_by_line():
    ours, theirs = sgd(), sgd()
    pairs = [
        (
            ours,
            Scheduler(ours, tm.Plan({"lr": tm.Cosine(init_value=0.01, end_value=1e-4, duration=50)}, clock="epochs")),
        ),
        (theirs, CosineAnnealingLR(theirs, T_max=50, eta_min=1e-4)),
    ]
    for _ in range(50):
        for optimizer, scheduler in pairs:
            optimizer.step()
            scheduler.step()
        # PyTorch goes from value to value and gathers rounding errors
        np.testing.assert_allclose(held(ours), held(theirs), rtol=1e-12, atol=0)


def test_a_plateau_takes_the_place_of_pytorchs_own_line_by_line():
    ours, theirs = sgd(), sgd()
    rule = tm.Constant(value=0.01) * tm.Plateau(factor=0.1, patience=2)
    mine = Scheduler(ours, tm.Plan({"lr": rule}, clock="epochs"))
    other = ReduceLROnPlateau(theirs, "min", patience=2, factor=0.1)
    for loss in [1.0, 0.9, 0.91, 0.9, 0.92, 0.93, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]:
        for optimizer, scheduler in ((ours, mine), (theirs, other)):
            optimizer.step()
            scheduler.step(loss)
        np.testing.assert_allclose(held(ours), held(theirs), rtol=1e-12, atol=0)
    assert held(ours) < 1e-3
