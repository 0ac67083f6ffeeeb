"""Transformers' `get_scheduler` names, run live beside ours.

Transformers multiplies each param group's learning rate by a factor that it computes anew at every step: a few
roundings of float64, amplified where a curve nears zero.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import numpy as np
import pytest

import tempomat as tm

torch = pytest.importorskip("torch")
optimization = pytest.importorskip("transformers.optimization")

ROUNDING = 1e-10
PEAK, WARMUP, TOTAL = 0.3, 20, 200
COUNTS = np.arange(TOTAL + 1)
FALL = TOTAL - WARMUP


def theirs(name, counts=COUNTS, groups=(PEAK,), warmup=WARMUP, total=TOTAL, **given):
    """The learning rates of every group at each count; the first group's is the optimizer's default."""
    parts = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in groups]
    optimizer = torch.optim.SGD(parts, lr=groups[0])
    scheduler = optimization.get_scheduler(name, optimizer, warmup, total, given or None)
    values = []
    for _ in range(counts[-1] + 1):
        values.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(values)[counts].T


def warmed(after, warmup=WARMUP):
    """A line from 0 to the peak, then what the name stands for."""
    return tm.Linear(init_value=0.0, end_value=PEAK, duration=warmup).then(after, at=warmup)


def falling(shape, end_value=0.0, **given):
    return warmed(shape(init_value=PEAK, end_value=end_value, duration=FALL, **given))


PAIRS = {
    "constant": ({}, tm.Constant(value=PEAK)),
    "constant_with_warmup": ({}, tm.warmup_constant(peak_value=PEAK, warmup=WARMUP)),
    "linear": ({}, tm.warmup_linear(peak_value=PEAK, warmup=WARMUP, total=TOTAL)),
    "cosine": ({}, tm.warmup_cosine(peak_value=PEAK, warmup=WARMUP, total=TOTAL)),
    "cosine of whole cycles": ({"num_cycles": 2}, falling(tm.CosineCycles, cycles=2)),
    "cosine of cycles and a half": ({"num_cycles": 3.5}, falling(tm.CosineCycles, cycles=3.5)),
    "cosine of a part of a cycle": ({"num_cycles": 0.3}, falling(tm.CosineCycles, cycles=0.3)),
    "cosine_with_restarts": ({}, tm.warmup_cosine(peak_value=PEAK, warmup=WARMUP, total=TOTAL)),
    "cosine_with_restarts of three cycles": ({"num_cycles": 3}, falling(tm.CosineRestarts, cycles=3)),
    "cosine_with_restarts that no count meets": ({"num_cycles": 7}, falling(tm.CosineRestarts, cycles=7)),
    "polynomial": ({}, falling(tm.Polynomial, 1e-7, power=1)),
    "polynomial of a power": ({"lr_end": 0.003, "power": 2.5}, falling(tm.Polynomial, 0.003, power=2.5)),
    "inverse_sqrt": ({}, warmed(tm.InverseSqrt(init_value=PEAK, timescale=WARMUP))),
    "inverse_sqrt of a timescale": ({"timescale": 70}, warmed(tm.InverseSqrt(init_value=PEAK, timescale=70))),
    "cosine_with_min_lr": ({"min_lr": 0.003}, falling(tm.Cosine, 0.003)),
    "cosine_with_min_lr by its share": ({"min_lr_rate": 0.1}, falling(tm.Cosine, 0.1 * PEAK)),
    "cosine_with_min_lr of cycles": ({"min_lr": 0.003, "num_cycles": 1.5}, falling(tm.CosineCycles, 0.003, cycles=1.5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_ours_equals_transformers_over_a_whole_run(name):
    given, ours = PAIRS[name]
    (found,) = theirs(name.partition(" ")[0], **given)
    np.testing.assert_allclose(ours(COUNTS), found, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("name", ["linear", "polynomial", "cosine_with_restarts", "constant_with_warmup"])
def test_what_ours_holds_after_the_end_transformers_holds_too(name):
    given, ours = PAIRS[name]
    after = np.arange(TOTAL, 2 * TOTAL)
    (found,) = theirs(name, after, **given)
    np.testing.assert_allclose(ours(after), found, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("name", ["cosine", "cosine_with_min_lr"])
def test_after_its_end_a_cosine_holds_where_transformers_climbs_again(name):
    given, ours = PAIRS[name]
    (found,) = theirs(name, np.arange(2 * TOTAL), **given)
    assert found[TOTAL + 90] > found[TOTAL + 40] > found[TOTAL + 1] > ours(TOTAL + 1) == ours(10**9) == ours(TOTAL)


def test_a_warmup_that_begins_above_zero_is_ours_one_count_ahead():
    """cosine_warmup_with_min_lr counts its first step as 1, in the warmup and in the fall."""
    (found,) = theirs("cosine_warmup_with_min_lr", COUNTS[:-1], min_lr=0.003)
    ours = tm.warmup_cosine(peak_value=PEAK, end_value=0.003, warmup=WARMUP, total=TOTAL)
    np.testing.assert_allclose(ours(COUNTS[1:]), found, rtol=ROUNDING, atol=0)


def test_a_warmup_from_a_share_of_the_peak_reaches_it_one_count_early():
    (found,) = theirs("cosine_warmup_with_min_lr", COUNTS[:-1], min_lr=0.003, warmup_lr_rate=0.1)
    fall = tm.Cosine(init_value=PEAK, end_value=0.003, duration=FALL)
    ours = tm.Linear(init_value=0.1 * PEAK, end_value=PEAK, duration=WARMUP - 1).then(fall, at=WARMUP - 1)
    np.testing.assert_allclose(ours(COUNTS[:-1]), found, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize(
    ("name", "given", "ours"),
    [
        ("cosine_with_min_lr", {"min_lr": 1e-4}, tm.Cosine(init_value=1e-3, end_value=1e-4, duration=100)),
        ("polynomial", {"lr_end": 1e-4}, tm.Linear(init_value=1e-3, end_value=1e-4, duration=100)),
    ],
)
def test_the_floor_is_what_was_asked_for_where_that_of_transformers_is_wrong_per_group(name, given, ours):
    """Its floor is a share of the optimizer's default learning rate: a group of a tenth of that gets a tenth of it."""
    counts = np.arange(101)
    first, second = theirs(name, counts, groups=(1e-2, 1e-3), warmup=0, total=100, **given)
    np.testing.assert_allclose(first[-1], 1e-4, rtol=ROUNDING, atol=0)
    np.testing.assert_allclose(second[-1], 1e-5, rtol=ROUNDING, atol=0)
    assert ours(0) == 1e-3
    assert ours(100) == ours(10**9) == 1e-4


def test_every_restart_is_at_the_peak_where_the_rounded_progress_of_transformers_misses_some():
    """49 * (1 / 49) is less than 1: the floor comes instead of the restart."""
    (found,) = theirs("cosine_with_restarts", np.arange(49), warmup=0, total=49, num_cycles=49)
    ours = tm.CosineRestarts(init_value=PEAK, end_value=0.0, duration=49, cycles=49)
    assert found[1] < 1e-20
    assert [ours(count) for count in range(50)] == [PEAK] * 49 + [0.0]


def test_a_first_step_at_zero_is_what_a_warmup_from_zero_says_and_no_other():
    """The first update of a warmup from 0 trains nothing (transformers#34754): here the first value is written down."""
    (found,) = theirs("linear")
    assert found[0] == tm.warmup_linear(peak_value=PEAK, warmup=WARMUP, total=TOTAL)(0) == 0.0
    assert tm.warmup_linear(peak_value=PEAK, init_value=0.015, warmup=WARMUP, total=TOTAL)(0) == 0.015
