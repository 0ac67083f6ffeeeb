"""timm's schedulers, run live beside ours. Each is evaluated anew at every count: a few roundings of float64."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import numpy as np
import pytest
from libraries import timm_schedulers

import tempomat as tm

torch = pytest.importorskip("torch")
timm = timm_schedulers()

ROUNDING = 1e-10
BASE, FLOOR, LENGTH = 0.3, 0.003, 100
COUNTS = np.arange(4 * LENGTH)


def theirs(name, counts=COUNTS, base=BASE, **given):
    """The learning rates at each count, as timm's training script asks for them."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler, values = getattr(timm, f"{name}LRScheduler")(optimizer, **given), []
    for count in counts:
        scheduler.step(int(count))
        values.append(optimizer.param_groups[0]["lr"])
    return np.array(values)


def warmed(after, warmup=20):
    return tm.Linear(init_value=0.01, end_value=BASE, duration=warmup).then(after, at=warmup)


SPAN = {"init_value": BASE, "end_value": FLOOR, "duration": LENGTH}
CYCLES = {"init_value": BASE, "end_value": FLOOR, "cycle": LENGTH}
WARMUP = {"warmup_t": 20, "warmup_lr_init": 0.01, "warmup_prefix": True}
PAIRS = {
    "cosine": (("Cosine", {}), tm.Cosine(**SPAN)),
    "cosine with k-decay": (("Cosine", {"k_decay": 2.5}), tm.Cosine(**SPAN, k_decay=2.5)),
    "cosine with a k-decay below 1": (("Cosine", {"k_decay": 0.4}), tm.Cosine(**SPAN, k_decay=0.4)),
    "cosine after a warmup": (("Cosine", WARMUP), warmed(tm.Cosine(**SPAN))),
    "cosine cycles": (("Cosine", {"cycle_limit": 3}), tm.WarmRestarts(**CYCLES, cycles=3)),
    "cosine cycles, lower each time": (
        ("Cosine", {"cycle_limit": 9, "cycle_decay": 0.7}),
        tm.WarmRestarts(**CYCLES, cycles=9, peak_factor=0.7),
    ),
    "polynomial": (("Poly", {"power": 0.5}), tm.Polynomial(**SPAN, power=0.5)),
    "polynomial with k-decay": (
        ("Poly", {"power": 1.5, "k_decay": 1.7}),
        tm.Polynomial(**SPAN, power=1.5, k_decay=1.7),
    ),
    "polynomial after a warmup": (("Poly", {"power": 2.0, **WARMUP}), warmed(tm.Polynomial(**SPAN, power=2))),
}
STAIRS = {
    "step": (("Step", {"decay_t": 30, "decay_rate": 0.7}), tm.StepDecay(init_value=BASE, factor=0.7, every=30)),
    "step after a warmup": (
        ("Step", {"decay_t": 30, "decay_rate": 0.7, **WARMUP}),
        warmed(tm.StepDecay(init_value=BASE, factor=0.7, every=30)),
    ),
    "multistep, each milestone one count earlier": (
        ("MultiStep", {"decay_t": [30, 80, 81], "decay_rate": 0.3}),
        tm.MultiStep(init_value=BASE, factor=0.3, milestones=(29, 79, 80)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_ours_equals_timms_over_a_whole_run_and_after_it(name):
    (kind, given), ours = PAIRS[name]
    found = theirs(kind, t_initial=LENGTH, lr_min=FLOOR, **given)
    np.testing.assert_allclose(ours(COUNTS), found, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("name", STAIRS)
def test_our_stairs_equal_timms(name):
    (kind, given), ours = STAIRS[name]
    np.testing.assert_allclose(ours(COUNTS), theirs(kind, **given), rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("growth", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("limit", [2, 4])
def test_growing_cycles_equal_timms_but_at_the_restarts_that_its_logarithm_misses(growth, limit):
    given = {"t_initial": 20, "lr_min": FLOOR, "cycle_mul": growth, "cycle_decay": 0.8, "cycle_limit": limit}
    ours = tm.WarmRestarts(
        init_value=BASE, end_value=FLOOR, cycle=20, cycle_factor=growth, peak_factor=0.8, cycles=limit
    )
    restarts = [round(20 * (growth**k - 1) / (growth - 1)) for k in range(limit)]
    elsewhere = np.setdiff1d(COUNTS, restarts)
    np.testing.assert_allclose(ours(elsewhere), theirs("Cosine", elsewhere, **given), rtol=ROUNDING, atol=0)
    exact = [k for k in range(limit) if (20 * (growth**k - 1) / (growth - 1)).is_integer()]
    assert [ours(restarts[k]) for k in exact] == pytest.approx([BASE * 0.8**k for k in exact], rel=1e-15)


def test_every_restart_is_at_the_peak_where_timms_logarithm_gives_the_floor_at_some():
    """`floor(log(1 - t / T * (1 - m), m))` of a rounded quotient: one cycle too early at 111 of T=1, m=10."""
    found = theirs("Cosine", [1, 11, 111], 1.0, t_initial=1, cycle_mul=10, cycle_limit=9)
    ours = tm.WarmRestarts(init_value=1.0, end_value=0.0, cycle=1, cycle_factor=10)
    assert found[2] < 1e-9
    assert [ours(count) for count in (1, 11, 111, 1111, 1111111)] == [1.0] * 5


def test_noise_is_distributed_as_timms():
    """Normal within a limit: their standard deviations agree as far as 4 000 draws tell, and nothing is beyond it."""
    counts = np.arange(4_000)
    given = {"decay_t": 10**9, "noise_range_t": 0, "noise_pct": 0.67, "noise_std": 0.5, "noise_seed": 7}
    found, ours = theirs("Step", counts, 1.0, **given), tm.Noise(seed=7, scale=0.5, limit=0.67)(counts)
    for values in (found, ours):
        assert np.abs(values - 1.0).max() <= 0.67
        assert values.mean() == pytest.approx(1.0, abs=0.02)
    assert ours.std() == pytest.approx(found.std(), rel=0.05)
