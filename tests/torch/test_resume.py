"""The resume sweep: every schedule and controller, stopped at every count and loaded in every order, goes on exactly.

All of them run at once, each on a param group of its own, so that one resume tries them all. A run is stopped and
saved at each of its counts; what was saved goes through a file that holds plain data alone, into fresh objects.
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from runtime.toys import group, held, read, weights, written
from strategies import ROWS, bits, name_of
from torch.optim import SGD, Optimizer

import tempomat as tm
from tempomat.analysis.catalogue import entries
from tempomat.torch import Scheduler

LENGTH = 60
FALL = tm.Linear(init_value=1.0, end_value=0.1, duration=40)
WAVE = tm.Cosine(init_value=1.0, end_value=0.1, duration=50)
DROP = tm.Plateau(patience=1, factor=0.5)

TREES: dict[str, Any] = {
    "constant": tm.Constant(value=0.5),
    "linear": FALL,
    "polynomial": tm.Polynomial(init_value=1.0, end_value=0.1, duration=55, power=1.7),
    "cosine": WAVE,
    "exponential": tm.Exponential(init_value=1.0, decay_rate=0.93),
    "staircase": tm.Exponential(init_value=1.0, decay_rate=0.5, every=7, staircase=True, end_value=0.1),
    "inverse_sqrt": tm.InverseSqrt(init_value=1.0, timescale=5),
    "step_decay": tm.StepDecay(init_value=1.0, factor=0.3, every=11),
    "multi_step": tm.MultiStep(init_value=1.0, factor=0.3, milestones=(1, 20, 59)),
    "piecewise_constant": tm.PiecewiseConstant(values=(1.0, 0.2, 0.7), boundaries=(10, 45)),
    "piecewise_linear": tm.PiecewiseLinear(values=(0.1, 1.0, 0.3), boundaries=(5, 15, 50)),
    "interval_table": tm.IntervalTable(
        rule="exponential_decay",
        intervals=(
            {"start": 3, "end": 20, "init_lr": 1.0, "decay_rate": 0.9, "decay_interval": 4},
            {"start": 30, "init_lr": 0.5, "decay_rate": 0.8, "decay_interval": 3},
        ),
    ),
    "warmup_constant": tm.warmup_constant(peak_value=1.0, warmup=13),
    "warmup_cosine": tm.warmup_cosine(peak_value=1.0, end_value=0.01, warmup="10%"),
    "warmup_linear": tm.warmup_linear(peak_value=1.0, warmup=7, total=50),
    "step_decay_recipe": tm.step_decay(init_value=1.0, milestones=(15, 40)),
    "warmup_stable_decay": tm.warmup_stable_decay(peak_value=1.0, warmup=5, decay="25%", total=58),
    "one_cycle": tm.one_cycle(peak_value=1.0),
    "sequence": FALL.then(WAVE, at=17).then(0.25, at=45),
    "sum": FALL + WAVE,
    "product": FALL * WAVE,
    "minimum": FALL.minimum(0.5),
    "maximum": FALL.maximum(WAVE * 0.9),
    "clip": WAVE.clip(min=0.3, max=0.8),
    "shift": WAVE.shift(9),
    "stretch": WAVE.stretch(2),
    "repeat": FALL.repeat(13, times=3),
    "on": tm.on("env_steps", tm.Linear(init_value=1.0, end_value=0.1, duration=150)),
    "two_clocks": FALL * tm.on("env_steps", tm.Cosine(init_value=1.0, end_value=0.5, duration=100)),
    "plateau": tm.Plateau(patience=2, factor=0.7, init_value=1.0),
    "plateau_times_cosine": WAVE * DROP,
    "plateau_after_warmup": tm.Linear(init_value=0.1, end_value=1.0, duration=10).then(DROP, at=10),
    "plateau_for_a_while": FALL.then(DROP, at=10).then(WAVE, at=40),
    "plateau_with_everything": WAVE
    * tm.Plateau(patience=1, factor=0.6, cooldown=3, threshold=0.05, threshold_mode="abs", min_value=0.05),
    "plateau_of_the_reward": FALL * tm.Plateau(metric="reward", mode="max", patience=1, factor=0.8),
    "plateau_that_skips": FALL * tm.Plateau(metric="noisy", patience=1, factor=0.9, on_nan="skip"),
    "plateau_that_counts_bad": FALL * tm.Plateau(metric="noisy", patience=4, factor=0.9, on_nan="bad"),
    "two_plateaus": DROP * WAVE * tm.Plateau(metric="reward", mode="max", patience=3, factor=0.5),
    "plateau_of_two_clocks": DROP.maximum(0.05) * tm.on("env_steps", WAVE.stretch(2)),
    "success_gates": tm.SuccessGates(
        window=6,
        min_episodes=3,
        success_rate=0.6,
        max_stage=9,
        initial_stage=1,
        min_stage_episodes=4,
        require_consecutive_windows=2,
        cooldown_episodes=5,
        bootstrap_failures=1,
        after=8,
    )
    * 0.1,
    "greedy": WAVE * tm.Greedy(factor=0.6, patience=1, min_value=0.2, max_value=2.0, reset_after=2, cooldown=1),
    "greedy_that_smooths": tm.Greedy(
        metric="reward", mode="max", smooth=True, window=3, patience=0, warmup=1, init_value=0.3
    ),
    "kl_adaptive": tm.KLAdaptive(target=0.3, max_value=1.0, init_value=0.01, metric="noisy", on_nan="bad"),
    "kl_penalty": FALL * tm.KLPenalty(target=0.4, max_value=4.0, metric="noisy", on_nan="skip"),
    "noise_scale": 0.01 * tm.NoiseScale(min_value=2, max_value=64, multiple=2, decay=0.6, metric="noise", on_nan="bad"),
    "auto_clip": tm.AutoClip(window=7, percentile=40, min_measurements=3, metric="noisy", on_nan="skip"),
    "divergence_guard": WAVE
    * tm.DivergenceGuard(metric="noisy", spike=1.4, window=9, min_measurements=4, cooldown=1, recovery=2),
}


def moving(tree: Any) -> Any:
    """A pure schedule, drawn together until it moves within so many counts."""
    resolved = tree.resolve(tm.Horizon(total=tm.Duration(str(LENGTH))))
    for factor in (1.0, 0.1, 0.01, 1e-3):
        drawn = resolved.stretch(factor)
        if len(set(drawn(np.arange(LENGTH)))) > 1:
            return tree if factor == 1.0 else drawn
    raise AssertionError(f"{tree} does not move")


_named = {node.builder() for tree in TREES.values() for node in tree.walk()}
TREES |= {one.name: moving(one.sample.tree) for one in entries() if one.builder not in _named and one.sample}
"""What needs no tree of its own here takes part as the example in its docstring."""
PLAN = tm.Plan({f"{name}.lr": tree for name, tree in TREES.items()}, total=LENGTH)

_random = np.random.default_rng(1)
LOSSES = (2.0 - np.linspace(0.0, 1.5, LENGTH) + _random.normal(size=LENGTH) * 0.4).tolist()
REWARDS = _random.normal(size=LENGTH).cumsum().tolist()
NOISY = np.where(_random.random(LENGTH) < 0.2, np.nan, _random.random(LENGTH)).tolist()
ENV_STEPS = _random.integers(0, 6, LENGTH).tolist()
SUCCESSES = _random.integers(0, 4, LENGTH).clip(max=1).tolist()
NOISE = np.where(_random.random(LENGTH) < 0.1, np.inf, _random.random(LENGTH) * 50).tolist()
MEASURED = {"val_loss": LOSSES, "reward": REWARDS, "noisy": NOISY, "noise": NOISE, "success": SUCCESSES}

Pair = tuple[Optimizer, Scheduler]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are computed in blocks ahead of time; with short ones a run crosses many of their ends, and costs less."""
    monkeypatch.setattr("tempomat.runtime.engine.BLOCK", 7)


def fresh(kind: Any) -> Optimizer:
    """An optimizer as a new process builds it."""
    return SGD([group(name, lr=kind(0.3)) for name in TREES], lr=0.3, momentum=0.5)


def seen(count: int) -> dict[str, float]:
    """What is measured in a round."""
    return {name: values[count] for name, values in MEASURED.items()}


def go(pair: Pair, start: int, stop: int) -> list[Any]:
    """Rounds of the loop. Of each: what is asked, what the update used, the weights after it, the decisions taken."""
    optimizer, scheduler = pair
    trail = []
    for count in range(start, stop):
        asked = scheduler.asked
        optimizer.step()
        used, moved = held(optimizer), weights(optimizer)
        decisions = scheduler.observe(**seen(count))
        scheduler.step()
        scheduler.advance(env_steps=ENV_STEPS[count])
        trail.append({"asked": asked, "used": bits(used), "weights": bits(moved), "decisions": decisions})
    return trail


@cache
def unbroken(kind: Any) -> tuple[list[Any], list[bytes], Pair]:
    """One run from end to end: of each count what happened, and the file saved before it."""
    optimizer = fresh(kind)
    pair = optimizer, Scheduler(optimizer, PLAN)
    trail, saved = [], []
    for count in range(LENGTH):
        parameters = [one["params"][0].detach().clone() for one in optimizer.param_groups]
        checkpoint = {"optimizer": optimizer.state_dict(), "scheduler": pair[1].state_dict(), "parameters": parameters}
        saved.append(written(checkpoint))
        trail += go(pair, count, count + 1)
    return trail, saved, pair


@cache
def reread(file: bytes) -> Any:
    """What a file holds, read once: nothing that is loaded may change it, but for the momentum, which is PyTorch's."""
    return read(file)


def checkpoint_of(file: bytes) -> Any:
    """What a new process would load. The optimizer goes on in the tensors that it is given, so that it gets its own."""
    checkpoint = reread(file)
    return {**checkpoint, "optimizer": copy.deepcopy(checkpoint["optimizer"])}


def with_weights(kind: Any, saved: Any) -> Optimizer:
    """A fresh optimizer over the saved weights."""
    optimizer = fresh(kind)
    for kept, one in zip(saved["parameters"], optimizer.param_groups, strict=True):
        one["params"][0].data.copy_(kept)
    return optimizer


def build_optimizer_scheduler(kind: Any, saved: Any) -> Pair:
    optimizer = with_weights(kind, saved)
    scheduler = Scheduler(optimizer, PLAN)
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    return optimizer, scheduler


def build_scheduler_optimizer(kind: Any, saved: Any) -> Pair:
    optimizer = with_weights(kind, saved)
    scheduler = Scheduler(optimizer, PLAN)
    scheduler.load_state_dict(saved["scheduler"])
    optimizer.load_state_dict(saved["optimizer"])
    return optimizer, scheduler


def optimizer_build_scheduler(kind: Any, saved: Any) -> Pair:
    """The order that is silently wrong with PyTorch's schedulers."""
    optimizer = with_weights(kind, saved)
    optimizer.load_state_dict(saved["optimizer"])
    scheduler = Scheduler(optimizer, PLAN)
    scheduler.load_state_dict(saved["scheduler"])
    return optimizer, scheduler


def everything_twice(kind: Any, saved: Any) -> Pair:
    optimizer, scheduler = optimizer_build_scheduler(kind, saved)
    for _ in range(2):
        scheduler.load_state_dict(saved["scheduler"])
        optimizer.load_state_dict(saved["optimizer"])
    return optimizer, scheduler


def into_a_run_under_way(kind: Any, saved: Any) -> Pair:
    optimizer = fresh(kind)
    scheduler = Scheduler(optimizer, PLAN)
    for loss in (0.1, 9.0, 9.0, 9.0, 0.05):
        optimizer.step()
        scheduler.observe(val_loss=loss, reward=-loss)
        scheduler.step()
        scheduler.advance(env_steps=7)
    scheduler.load_state_dict(saved["scheduler"])
    for kept, one in zip(saved["parameters"], optimizer.param_groups, strict=True):
        one["params"][0].data.copy_(kept)
    optimizer.load_state_dict(saved["optimizer"])
    return optimizer, scheduler


def only_the_scheduler(kind: Any, saved: Any) -> Pair:
    optimizer = fresh(kind)
    scheduler = Scheduler(optimizer, PLAN)
    scheduler.load_state_dict(saved["scheduler"])
    return optimizer, scheduler


ORDERS: list[Callable[..., Pair]] = [
    build_optimizer_scheduler,
    build_scheduler_optimizer,
    optimizer_build_scheduler,
    everything_twice,
    into_a_run_under_way,
    only_the_scheduler,
]


def differing(one: dict[str, Any], other: dict[str, Any], parts: list[str]) -> list[str]:
    """Which schedules differ in a round, and in what."""
    found = []
    for part in parts:
        if part in ("used", "weights"):
            found += [f"{part} of {name}" for name, a, b in zip(TREES, one[part], other[part], strict=True) if a != b]
        elif one[part] != other[part]:
            found += [part]
    return found


def test_every_schedule_and_controller_that_there_is_takes_part():
    taking_part = {node.builder() for tree in TREES.values() for node in tree.walk()}
    assert [name_of(one) for one in ROWS if one not in taking_part] == []


def test_in_the_unbroken_run_everything_moves_and_every_controller_decides():
    trail, _, (_, scheduler) = unbroken(float)
    used = np.array([one["used"] for one in trail])
    still = [name for place, name in enumerate(TREES) if len(set(used[:, place])) == 1]
    assert still == ["constant"]
    deciding = {(one["entry"], one["controller"]) for part in trail for one in part["decisions"]}
    assert deciding == {(f"{name}.lr", place) for name, tree in TREES.items() for place in range(len(tree.controllers))}
    assert scheduler.counts == {"optimizer_steps": LENGTH, "env_steps": sum(ENV_STEPS)}


@pytest.mark.parametrize("kind", [float, torch.tensor], ids=["float", "tensor"])
@pytest.mark.parametrize("order", ORDERS, ids=name_of)
def test_a_run_stopped_at_any_count_goes_on_as_if_it_had_not_been(order, kind):
    """In a sweep of 944 resumes of PyTorch's schedulers, the optimizer loaded first was silently wrong 466 times.

    Sources of such faults: pytorch#162591, slime#1547, rsl_rl#221, ml-agents#205.
    """
    trail, saved, (_, finished) = unbroken(kind)
    parts = ["asked", "used", "decisions"] if order is only_the_scheduler else ["asked", "used", "weights", "decisions"]
    for count in range(LENGTH):
        checkpoint = checkpoint_of(saved[count])
        pair = order(kind, checkpoint)
        assert pair[1].state_dict() == checkpoint["scheduler"]
        # what follows from an equal state is equal too, so that only one order has to go to the end from every count
        to_the_end = order is build_optimizer_scheduler and kind is float
        stop = LENGTH if to_the_end else min(count + 3, LENGTH)
        for place, one in enumerate(go(pair, count, stop), count):
            assert (count, place, differing(one, trail[place], parts)) == (count, place, [])
        after = reread(saved[stop])["scheduler"] if stop < LENGTH else finished.state_dict()
        assert pair[1].state_dict() == after


@pytest.mark.parametrize("count", [0, 1, 29, LENGTH - 1])
def test_a_run_stopped_between_the_update_and_the_step_goes_on_too(count):
    trail, saved, _ = unbroken(float)
    optimizer, scheduler = build_optimizer_scheduler(float, checkpoint_of(saved[count]))
    optimizer.step()
    parameters = [one["params"][0].detach().clone() for one in optimizer.param_groups]
    checkpoint = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "parameters": parameters}
    optimizer, scheduler = optimizer_build_scheduler(float, read(written(checkpoint)))
    scheduler.observe(**seen(count))
    scheduler.step()
    scheduler.advance(env_steps=ENV_STEPS[count])
    for place, one in enumerate(go((optimizer, scheduler), count + 1, LENGTH), count + 1):
        assert differing(one, trail[place], ["asked", "used", "weights", "decisions"]) == []


@pytest.mark.parametrize("clock", ["epochs", "samples"])
def test_a_plan_on_another_clock_resumes_as_well(clock):
    plan = tm.Plan({"lr": WAVE * DROP}, total=LENGTH, clock=clock)

    def rounds(optimizer: Optimizer, scheduler: Scheduler, start: int, stop: int) -> list[float]:
        used = []
        for count in range(start, stop):
            for _ in range(3):
                optimizer.step()
            used += held(optimizer)
            scheduler.step(LOSSES[count])
        return used

    optimizer = SGD([group()], lr=0.3)
    scheduler = Scheduler(optimizer, plan)
    states, used = [], []
    for count in range(LENGTH):
        states.append(written(scheduler.state_dict()))
        used += rounds(optimizer, scheduler, count, count + 1)
    for count in range(LENGTH):
        again = SGD([group()], lr=0.3)
        resumed = Scheduler(again, plan)
        resumed.load_state_dict(read(states[count]))
        assert bits(rounds(again, resumed, count, LENGTH)) == bits(used[count:])
