"""Wrong values that users of today's schedulers report: each shown where the library installs, and ours beside it.

The numbers are those of the list of faults; a test's docstring names the thread.
"""

import pytest
import torch
from libraries import timm_schedulers
from runtime.toys import held, sgd, train
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    OneCycleLR,
)

import tempomat as tm
from tempomat import convert
from tempomat.torch import Scheduler


def test_1_the_cycle_is_found_by_whole_numbers_so_every_restart_is_at_the_peak():
    """PyTorch's `CosineAnnealingWarmRestarts.step(epoch)` and timm's `cycle_mul` round a logarithm."""
    theirs = CosineAnnealingWarmRestarts(sgd(lr=1.0), T_0=1, T_mult=10, eta_min=0.01)
    theirs.step(111)
    assert theirs.get_last_lr() == pytest.approx([0.01])  # the floor, at a restart
    wrong = 0
    for first in range(1, 12):
        for factor in range(1, 12):
            ours = tm.WarmRestarts(init_value=1.0, end_value=0.01, cycle=first, cycle_factor=factor)
            restarts = [sum(first * factor**k for k in range(cycle)) for cycle in range(6)]
            wrong += sum(ours(count) != 1.0 for count in restarts)
    assert wrong == 0


def test_1_timm_shares_the_fault_and_what_comes_from_timm_does_not():
    """timm's cosine with `cycle_mul` 10: the restart at 111 gives the floor."""
    cosine = timm_schedulers().CosineLRScheduler
    theirs = cosine(sgd(lr=1.0), t_initial=1, lr_min=0.01, cycle_mul=10.0, cycle_limit=4)
    assert max(theirs._get_lr(111)) < 1.0
    assert tm.WarmRestarts(init_value=1.0, end_value=0.01, cycle=1, cycle_factor=10)(111) == 1.0


def test_2_one_cycle_holds_after_its_end():
    """PyTorch's `OneCycleLR` one step past its total: from 4e-6 to 5.07e-4, then a ValueError."""
    optimizer = sgd(lr=0.1)
    theirs = OneCycleLR(optimizer, max_lr=1e-3, total_steps=10, final_div_factor=10.0)
    for _ in range(9):
        optimizer.step()
        theirs.step()
    end = theirs.get_last_lr()[0]
    optimizer.step()
    theirs.step()
    assert theirs.get_last_lr()[0] > 10 * end
    ours = tm.one_cycle(peak_value=1e-3, end_value=4e-6, warmup=3, total=10)
    assert [ours(count) for count in (10, 11, 10**6)] == [4e-6] * 3


def test_3_a_cosine_stays_at_its_end():
    """PyTorch's `CosineAnnealingLR` rises again after `T_max`."""
    optimizer = sgd(lr=1.0)
    theirs = CosineAnnealingLR(optimizer, T_max=10)
    for _ in range(15):
        optimizer.step()
        theirs.step()
    assert theirs.get_last_lr()[0] == pytest.approx(0.5)
    ours = tm.Cosine(init_value=1.0, end_value=0.0, duration=10)
    assert [ours(count) for count in (10, 15, 20)] == [0.0] * 3


def test_4_factors_multiply_whatever_they_are():
    """PyTorch's `ChainedScheduler` with a `LambdaLR` in it: 1.0 instead of .590."""
    optimizer = sgd(lr=1.0)
    theirs = ChainedScheduler([ExponentialLR(optimizer, gamma=0.9), LambdaLR(optimizer, lambda _: 1.0)])
    ours_optimizer = sgd()
    decay = tm.Exponential(init_value=1.0, decay_rate=0.9)
    ours = Scheduler(ours_optimizer, tm.Plan({"lr": decay * tm.Constant(value=1.0)}))
    for _ in range(5):
        optimizer.step()
        theirs.step()
    train(ours_optimizer, ours, 5)
    assert (held(optimizer), held(ours_optimizer)) == ([1.0], [pytest.approx(0.59049, rel=1e-12, abs=0)])


def test_5_each_group_has_the_floor_it_was_given():
    """Transformers' `cosine_with_min_lr` takes the floor's ratio from the default lr: asked 1e-4, got 1e-6."""
    transformers = pytest.importorskip("transformers")
    optimizer = sgd("body", "head", lr=1e-2)
    optimizer.param_groups[1]["lr"] = 1e-4
    args = {"num_warmup_steps": 0, "num_training_steps": 10, "scheduler_specific_kwargs": {"min_lr": 1e-4}}
    theirs = transformers.get_scheduler("cosine_with_min_lr", optimizer, **args)
    for _ in range(10):
        optimizer.step()
        theirs.step()
    assert held(optimizer) == [pytest.approx(1e-4), pytest.approx(1e-6)]
    ours_optimizer = sgd("body", "head")
    entries = {"body.lr": 1e-2, "head.lr": 2e-4}
    plan = tm.Plan({name: tm.Cosine(init_value=lr, end_value=1e-4, duration=10) for name, lr in entries.items()})
    train(ours_optimizer, Scheduler(ours_optimizer, plan), 10)
    assert held(ours_optimizer) == [1e-4, 1e-4]


def test_6_a_schedule_on_frames_decays_over_frames():
    """rl_games' linear schedule on frames never decays: it divides by a number of epochs that is not set."""
    plan = tm.Plan(
        {"lr": tm.on("frames", tm.Linear(init_value=1.0, end_value=0.0, duration="1M frames"))}, clock="optimizer_steps"
    )
    optimizer = sgd()
    scheduler = Scheduler(optimizer, plan)
    scheduler.advance(frames=250_000)
    optimizer.step()
    assert held(optimizer) == [0.75]


def test_6_a_word_that_is_no_schedule_is_refused():
    """The SB3 zoo reads `cos_1e-3` as linear; rsl_rl reads a misspelt name as "fixed"."""
    with pytest.raises(tm.ConversionError, match="cos_1e-3"):
        convert.from_sb3("cos_1e-3")
    with pytest.raises(tm.PlanError, match="Did you mean cosine"):
        tm.loads_plan("schedules: {lr: {type: cosin, init_value: 1, end_value: 0, duration: 10}}")


def test_6_shares_that_come_to_one_are_not_refused_for_their_rounding():
    """fastai's `combine_scheds` rejects [.7, .2, .1], whose sum is not 1.0 in floating point."""
    assert sum([0.7, 0.2, 0.1]) != 1.0
    plan = tm.Plan({"lr": tm.Constant(value=3.0).then(2.0, at="70%").then(1.0, at="90%")}, total=10).resolve()
    assert [plan["lr"](count) for count in (6, 7, 8, 9)] == [3.0, 2.0, 2.0, 1.0]


def test_6_a_boundary_that_is_missing_is_an_error():
    """optax drops the third schedule when a boundary is missing, and logs bad input instead of refusing it."""
    optax = pytest.importorskip("optax")
    parts = [optax.constant_schedule(value) for value in (1.0, 2.0, 3.0)]
    theirs = optax.join_schedules(parts, [10])
    assert {float(theirs(count)) for count in range(100)} == {1.0, 2.0}
    with pytest.raises(tm.ScheduleError, match=r"boundaries.*one less than the parts \(3\), got 1"):
        tm.Sequence(parts=(tm.Constant(value=1.0),) * 3, boundaries=(10,))
    with pytest.raises(tm.ScheduleError, match=r"duration.*at least 1"):
        tm.Linear(init_value=1.0, end_value=0.0, duration=0)


def test_6_a_milestone_falls_at_its_own_count():
    """fvcore fires the milestone 3M of 6M six steps early: it compares shares of the run as floats."""
    pytest.importorskip("fvcore")
    from fvcore.common.param_scheduler import MultiStepParamScheduler

    theirs = MultiStepParamScheduler([1.0, 0.1], num_updates=6_000_000, milestones=[3_000_000])
    assert theirs((3_000_000 - 6) / 6_000_000) == 0.1
    ours = tm.MultiStep(init_value=1.0, factor=0.1, milestones=(3_000_000,))
    assert (ours(2_999_999), ours(3_000_000)) == (1.0, 0.1)


def test_7_a_value_near_one_is_never_rounded_up_to_it():
    """`optax.inject_hyperparams` lets b2 = .999 become 1.0 under bfloat16 (optax#1414)."""
    assert torch.tensor(0.999, dtype=torch.bfloat16).item() == 1.0
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    optimizer = torch.optim.Adam([parameter], lr=1e-3)
    plan = tm.Plan({"betas[1]": tm.Linear(init_value=0.99, end_value=0.999, duration=2)})
    scheduler = Scheduler(optimizer, plan)
    for _ in range(3):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["betas"][1] == 0.999
    with pytest.raises(tm.BindingError, match=r"betas\[1\] comes to 1\.0.*below 1"):
        Scheduler(torch.optim.Adam([parameter]), tm.Plan({"betas[1]": 1.0})).start()


def test_8_a_first_update_at_zero_is_the_users_choice_and_the_linter_says_so():
    """transformers#34754, gpt-neox#1373: under warmup the first optimizer step does nothing."""
    at_zero = tm.Plan({"lr": tm.warmup_cosine(peak_value=1e-3, warmup=10, total=100)})
    chosen = tm.Plan({"lr": tm.warmup_cosine(peak_value=1e-3, warmup=10, total=100, init_value=1e-4)})
    assert "TM301" in {finding.code for finding in tm.lint(at_zero)}
    assert "TM301" not in {finding.code for finding in tm.lint(chosen)}
    assert chosen["lr"](0) == 1e-4
