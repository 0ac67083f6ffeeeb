"""Composer's schedulers. It does not install beside a present PyTorch, so its documented formulas stand here."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_composer

LR = 0.1
EPOCH = 37
"""Batches."""


def wave(share: float, last: float = 0.0) -> float:
    return last + (1.0 - last) * (1.0 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2.0


def line(t: float, length: float, first: float, last: float) -> float:
    return first + min(1.0, t / length) * (last - first)


CASES: dict[str, tuple[str, dict[str, Any], Callable[[int], float]]] = {
    "step": ("StepScheduler", {"step_size": "2ep", "gamma": 0.5}, lambda t: 0.5 ** (t // (2 * EPOCH))),
    "step of a share": ("StepScheduler", {"step_size": "0.3dur"}, lambda t: 0.1 ** (t // int(0.3 * 370))),
    "multistep": ("MultiStepScheduler", {"milestones": ["50ba", "200ba"]}, lambda t: 0.1 ** ((t >= 50) + (t >= 200))),
    "constant": ("ConstantScheduler", {}, lambda _: 1.0),
    "constant for a while": ("ConstantScheduler", {"alpha": 0.5, "t_max": "100ba"}, lambda t: 0.5 if t < 100 else 1.0),
    "linear": ("LinearScheduler", {"alpha_i": 0.5, "alpha_f": 0.01}, lambda t: line(t, 370, 0.5, 0.01)),
    "exponential": ("ExponentialScheduler", {"gamma": 0.9}, lambda t: 0.9 ** (t / EPOCH)),
    "cosine": ("CosineAnnealingScheduler", {"alpha_f": 0.1}, lambda t: wave(t / 370, 0.1)),
    "restarts": ("CosineAnnealingWarmRestartsScheduler", {"t_0": "1ep", "alpha_f": 0.1},
                 lambda t: wave(t % EPOCH / EPOCH, 0.1)),
    "longer restarts": ("CosineAnnealingWarmRestartsScheduler", {"t_0": "50ba", "t_mult": 2.0},
                        lambda t: wave((t - (0 if t < 50 else 50 if t < 150 else 150))
                                       / (50 if t < 50 else 100 if t < 150 else 200))),
    "polynomial": ("PolynomialScheduler", {"power": 2.0, "alpha_f": 0.01},
                   lambda t: 0.01 + 0.99 * (1.0 - min(t / 370, 1.0)) ** 2.0),
    "multistep with warmup": ("MultiStepWithWarmupScheduler", {"t_warmup": "20ba", "milestones": ["10ba", "3ep"]},
                              lambda t: t / 20 if t < 20 else 0.1 ** (1 + (t >= 3 * EPOCH))),
    "constant with warmup": ("ConstantWithWarmupScheduler", {"t_warmup": "1ep", "alpha": 0.5},
                             lambda t: 0.5 * min(t / EPOCH, 1.0)),
    "linear with warmup": ("LinearWithWarmupScheduler", {"t_warmup": "0.1dur", "alpha_i": 0.9, "alpha_f": 0.1},
                           lambda t: 0.9 * t / 37 if t < 37 else line(t - 37, 333, 0.9, 0.1)),
    "cosine with warmup": ("CosineAnnealingWithWarmupScheduler", {"t_warmup": "100ba", "alpha_f": 0.1},
                           lambda t: t / 100 if t < 100 else wave((t - 100) / 270, 0.1)),
    "cosine without its warmup": ("CosineAnnealingWithWarmupScheduler", {"t_warmup": "0ba"}, lambda t: wave(t / 370)),
    "polynomial with warmup": ("PolynomialWithWarmupScheduler", {"t_warmup": "100ba", "alpha_f": 0.1},
                               lambda t: t / 100 if t < 100 else
                               0.1 + 0.9 * (1.0 - min((t - 100) / 270, 1.0)) ** 2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_scheduler_is_its_multiplier_times_the_learning_rate(name: str) -> None:
    scheduler, arguments, multiplier = CASES[name]
    ours = from_composer(scheduler, lr=LR, max_duration="10ep", steps_per_epoch=EPOCH, **arguments)
    counts = np.arange(349 if name == "longer restarts" else 400)
    # the cosine's bracket cancels near its end: an ulp of 1 over what is left of it
    np.testing.assert_allclose(ours(counts), [LR * multiplier(int(t)) for t in counts], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("t_max", "clock", "end"),
    [("100ba", "", 100), ("2ep", "", 74), ("1000sp", "samples", 1_000), ("5_000tok", "tokens", 5_000),
     ("60sec", "seconds", 60), ("0.5dur", "tokens", 1_000)],
)  # fmt: skip
def test_a_time_string_chooses_the_clock(t_max: str, clock: str, end: int) -> None:
    ours = from_composer("LinearScheduler", lr=LR, t_max=t_max, max_duration="2000tok", steps_per_epoch=EPOCH)
    assert ours.clocks == {clock}
    assert ours(end) == 0.0
    assert ours(end - 1) > 0.0


def test_milestones_of_two_units_each_follow_their_own_clock() -> None:
    ours = from_composer("MultiStep", lr=LR, milestones=["100sp", "10ba"], gamma=0.5)
    plan = tm.Plan({"lr": ours})
    at = plan["lr"].at_counts
    got = [at({"optimizer_steps": steps, "samples": samples}, "optimizer_steps") for steps, samples in
           ((9, 99), (10, 99), (9, 100), (10, 100))]  # fmt: skip
    assert got == [LR, LR / 2, LR / 2, LR / 4]


def test_the_scale_schedule_ratio_stretches_lengths_but_not_shares_and_warmups() -> None:
    given = {"lr": LR, "max_duration": "1000ba", "scale_schedule_ratio": 0.5}
    assert from_composer("LinearScheduler", t_max="200ba", **given).duration == 100
    assert from_composer("LinearScheduler", t_max="1dur", **given).duration == 1_000
    warm = from_composer("LinearWithWarmupScheduler", t_warmup="50ba", t_max="400ba", **given)
    assert (warm(50), warm(200)) == (LR, 0.0)
    both = from_composer("LinearWithWarmupScheduler", t_warmup="50ba", t_max="400ba", scale_warmup=True, **given)
    assert both(25) == LR


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("CosineScheduler", {}, "'CosineScheduler' is no scheduler of Composer"),
        ("LinearSchedular", {}, "Did you mean LinearScheduler"),
        ("Linear", {"alpha": 1.0, "t_max": "9ba"}, "composer LinearScheduler: alpha: no argument of that name"),
        ("Linear", {}, "t_max: is a share of the run, whose length is missing. Give max_duration="),
        ("Linear", {"t_max": "10ep"}, "t_max: is in epochs, which Composer counts in batches. Give steps_per_epoch="),
        ("Linear", {"t_max": "10iter"}, "t_max: iterations are groups of batches"),
        ("Linear", {"t_max": "ten"}, "t_max: must be a time string such as 10ep"),
        ("Linear", {"max_duration": "1dur"}, "max_duration: cannot be a share of itself"),
        ("StepScheduler", {"gamma": "x"}, r"(?s)2 faults.*step_size: is missing.*gamma: "),
        (
            "LinearWithWarmup",
            {"t_warmup": "10ba", "t_max": "100tok"},
            "t_warmup: counts optimizer_steps and t_max tokens; Composer needs one unit",
        ),
        ("LinearWithWarmup", {"t_warmup": "10ba", "t_max": "10ba"}, r"t_max: must be longer than the warmup \(10\)"),
        (
            "MultiStepWithWarmup",
            {"t_warmup": "10ba", "milestones": ["5sp"]},
            r"milestones: must be in the unit of the warmup \(optimizer_steps\)",
        ),
        (
            "CosineAnnealingWarmRestarts",
            {"t_0": "10ba", "t_mult": 1.5},
            "t_mult: must be a whole number: Composer cuts each cycle",
        ),
        ("Step", {"step_size": "0ba"}, "composer StepScheduler: step_size: must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_composer(name, lr=LR, **arguments)
