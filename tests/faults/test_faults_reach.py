"""Clocks, groups, graphs and curricula: what users report of today's schedulers, and what ours does."""

import warnings

import pytest
import torch
from runtime.toys import FALL, group, held, number, sgd, train
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR
from torch.utils._python_dispatch import TorchDispatchMode

import tempomat as tm
from tempomat import convert
from tempomat.torch import Scheduler

# clocks and units


def test_18_a_horizon_in_steps_that_is_stepped_per_epoch_is_an_error():
    """stable-worldmodel#280, Lightning#5631: the run never leaves its warmup."""
    optimizer = sgd()
    plan = tm.Plan({"lr": tm.warmup_linear(peak_value=1.0, warmup=100)}, total="10 epochs")
    scheduler = Scheduler(optimizer, plan, steps_per_epoch=50)
    for _ in range(50):
        optimizer.step()
    with pytest.raises(tm.BindingError, match=r"stepped 50 times.*after each optimizer.step\(\).*clock='epochs'"):
        scheduler.step()


def test_19_more_calls_than_updates_advance_nothing():
    """Accelerate steps the scheduler once per process (#1382, #1398, #2926, #3797)."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    for _ in range(3):
        optimizer.step()
        for _ in range(2):  # as with two processes
            scheduler.step()
    assert (scheduler.counts, held(optimizer)) == ({"optimizer_steps": 3}, [FALL(3)])


def test_20_an_update_that_mixed_precision_skips_does_not_advance():
    """Lightning#5558, pytorch#44511."""
    optimizer = sgd()
    theirs_optimizer = sgd(lr=1.0)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    theirs = LambdaLR(theirs_optimizer, FALL)
    scaler = GradScaler("cpu", init_scale=2.0)
    parameter = optimizer.param_groups[0]["params"][0]
    for gradient in (1.0, float("inf"), 1.0):
        parameter.grad = torch.full_like(parameter, gradient)
        scaler.scale(torch.zeros(1))
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.step()
    assert theirs.last_epoch == 3
    assert (scheduler.counts, scheduler.skipped) == ({"optimizer_steps": 2}, 1)


def test_21_a_cadence_longer_than_an_epoch_still_fires():
    """Lightning#17544: a frequency of 250 steps in epochs of 100 never comes round, as the count starts anew."""
    optimizer = sgd()
    scheduler = Scheduler(
        optimizer, tm.Plan({"lr": tm.StepDecay(init_value=1.0, factor=0.5, every=250)}), steps_per_epoch=100
    )
    used = [train(optimizer, scheduler, 100) for _ in range(6)]
    assert [values[0] for values in used] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
    assert (used[2][49], used[2][50]) == (1.0, 0.5)


def test_22_noise_counts_what_it_says_it_counts():
    """DrQ-v2: `linear(1.0,0.1,500000)` counts agent steps, and the training length beside it counts frames."""
    plan = tm.Plan(
        {"noise": tm.Linear(init_value=1.0, end_value=0.1, duration="1M frames")},
        clock="env_steps",
        rates={"action_repeat": 2},
    ).resolve()
    noise = convert.from_drqv2("linear(1.0,0.1,500000)")
    assert plan["noise"](250_000) == noise(250_000) == pytest.approx(0.55, rel=1e-15, abs=0)


def test_23_a_schedule_runs_on_the_wall_clock():
    """Composer refuses seconds in schedules; the others have no clock of that kind."""
    optimizer = sgd()
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration="90 min")}, clock="seconds")
    scheduler = Scheduler(optimizer, plan)
    scheduler.advance(seconds=45 * 60)
    optimizer.step()
    assert held(optimizer) == [0.5]


# groups and reach


def test_24_a_group_that_is_added_is_scheduled_or_refused():
    """After `LambdaLR` it breaks a zip, after others it works in silence; `eta_min` per group is a TypeError."""
    theirs = sgd("body", lr=1.0)
    lambdas = LambdaLR(theirs, [FALL])
    theirs.add_param_group(group("head", initial_lr=1.0))
    theirs.step()
    with pytest.raises(ValueError, match="zip"):
        lambdas.step()
    both = sgd("body", "head")
    listed = CosineAnnealingLR(both, T_max=10, eta_min=[0.1, 0.01])  # pyright: ignore[reportArgumentType]
    both.step()
    with pytest.raises(TypeError, match="unsupported operand"):
        listed.step()
    optimizer = sgd("body")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 2)
    optimizer.add_param_group(group("head"))
    train(optimizer, scheduler, 1)
    assert held(optimizer) == [FALL(3)] * 2
    floors = {f"{name}.lr": tm.Cosine(init_value=1.0, end_value=end, duration=2) for name, end in FLOORS.items()}
    both = sgd(*FLOORS)
    train(both, Scheduler(both, tm.Plan(floors)), 3)
    assert held(both) == list(FLOORS.values())
    other = sgd("body")
    one = Scheduler(other, tm.Plan({"body.lr": FALL}))
    train(other, one, 1)
    other.add_param_group(group("head"))
    with pytest.raises(tm.BindingError, match=r"\(head\) was added, and no entry of the plan reaches it"):
        other.step()


FLOORS = {"body": 0.1, "head": 0.01}


def test_27_more_than_the_learning_rate_is_scheduled():
    """Batch size, weight decay and accumulation: asked for since 2018 (pytorch#10470, #22343)."""
    optimizer = torch.optim.AdamW([number()], lr=0.1)
    doubling = tm.PiecewiseConstant(values=(32, 64), boundaries=(2,))
    entries = {"weight_decay": FALL * 0.1, "batch_size": doubling, "accumulation": doubling * (1 / 32), "betas[0]": 0.8}
    scheduler = Scheduler(optimizer, tm.Plan(entries))
    seen = []
    for _ in range(3):
        optimizer.step()
        seen.append(
            (optimizer.param_groups[0]["weight_decay"], *map(scheduler.values.get, ("batch_size", "accumulation")))
        )
        scheduler.step()
    assert seen == [(FALL(count) * 0.1, doubling(count), doubling(count) / 32) for count in range(3)]
    assert optimizer.param_groups[0]["betas"][0] == 0.8


# graphs and devices


class Seen(TorchDispatchMode):
    """The names of the operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_28_a_tensor_lr_is_filled_in_place_and_never_read():
    """pytorch#106802, burn#5779: a captured graph freezes a float, and `.item()` at each step breaks the capture."""
    optimizer = torch.optim.Adam([number()], lr=torch.tensor(0.3, dtype=torch.float64))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    tensor = optimizer.param_groups[0]["lr"]
    optimizer.step()
    with Seen() as seen:
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] is tensor
    assert set(seen.names) == {"fill_.Scalar"}
    assert tensor.item() == FALL(1)


def test_29_a_plateau_writes_no_float_that_compiles_again():
    """pytorch#133898, #163093: each new float is a new constant to the compiler."""
    optimizer = torch.optim.Adam([number()], lr=torch.tensor(0.3, dtype=torch.float64))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": tm.Plateau(init_value=1.0, factor=0.5, patience=0)}))
    tensor = optimizer.param_groups[0]["lr"]
    for _ in range(3):
        optimizer.step()
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] is tensor
    assert tensor.item() == 0.25


# curriculum


def test_30_a_gate_that_can_never_be_passed_is_refused():
    """`window < min_episodes`: no stage can ever be left."""
    with pytest.raises(tm.ScheduleError, match="no stage could ever be passed"):
        tm.SuccessGates(window=50, min_episodes=80, max_stage=4)


def test_30_the_initial_stage_is_in_force_from_the_start():
    """`initial_stage` was read and not applied."""
    gates = tm.SuccessGates(window=4, min_episodes=2, max_stage=4, initial_stage=2)
    scheduler = Scheduler(sgd(), tm.Plan({"lr": FALL, "stage": gates}))
    assert scheduler.values["stage"] == 2.0


def test_30_settings_are_not_overwritten_on_load():
    """A checkpoint's gates silently replaced those of the command line."""
    easy, hard = (tm.SuccessGates(window=4, min_episodes=2, max_stage=4, success_rate=rate) for rate in (0.5, 1.0))
    state = Scheduler(sgd(), tm.Plan({"lr": FALL, "stage": easy})).state_dict()
    with pytest.raises(tm.StateError, match=r"stage\.success_rate: 0\.5 -> 1"):
        Scheduler(sgd(), tm.Plan({"lr": FALL, "stage": hard})).load_state_dict(state)
