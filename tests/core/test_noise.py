"""Noise: its distribution, its independence, its sameness on every backend."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import statistics

import numpy as np
import pytest
from strategies import bits

import tempomat as tm

DRAWS = 100_000
COUNTS = np.arange(DRAWS)
FAR = [2**31 - 1, 2**32 - 1, 2**32, 2**32 + 1, 2**53 + 1, 2**62]
KINDS = [
    {"scale": 0.3},
    {"scale": 0.3, "limit": 0.2},
    {"scale": 0.3, "limit": 3.0},
    {"kind": "uniform", "scale": 0.3},
]


def errors(seed=0, counts=COUNTS, **given):
    """The noise itself, without the 1 around which it is."""
    return tm.Noise(seed=seed, **given)(counts) - 1.0


def distance(draws, cumulative):
    """How far the distribution of the draws is from the one they should have (Kolmogorov and Smirnov)."""
    ordered = np.sort(draws)
    return np.abs(np.array([cumulative(one) for one in ordered[::97]]) - np.arange(DRAWS)[::97] / DRAWS).max()


def within(limit):
    """The cumulative distribution of a normal number that is drawn again until it lies within."""
    normal = statistics.NormalDist(0.0, 0.3)
    below, above = normal.cdf(-limit), normal.cdf(limit)
    return lambda one: (normal.cdf(one) - below) / (above - below)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31 - 1])
def test_noise_has_the_distribution_that_was_asked_for(seed):
    bound = 1.95 / DRAWS**0.5  # exceeded by chance once in 1 000 tries
    assert distance(errors(seed, scale=0.3), statistics.NormalDist(0.0, 0.3).cdf) < bound
    assert distance(errors(seed, scale=0.3, limit=0.2), within(0.2)) < bound
    assert distance(errors(seed, scale=0.3, limit=0.9), within(0.9)) < bound
    assert distance(errors(seed, scale=0.3, kind="uniform"), lambda one: (one + 0.3) / 0.6) < bound


def test_quantiles_are_those_of_the_normal_distribution():
    """Both of its rational functions, to nearly the last digit."""
    found = np.sort(errors(scale=1.0))
    ranks = statistics.NormalDist()
    chances = [ranks.cdf(one) for one in found[::499]]
    assert [ranks.inv_cdf(one) for one in chances] == pytest.approx(found[::499], rel=1e-6)
    assert found[0] < -3.5 < 3.5 < found[-1]


@pytest.mark.parametrize("given", KINDS[1:], ids=str)
def test_nothing_is_beyond_the_limit(given):
    bound = given.get("limit", given["scale"])
    largest = np.abs(errors(**given)).max()
    assert largest <= bound * (1 + 1e-15)
    assert largest > 0.99 * bound or bound == 3.0


def correlation(one, other):
    return abs(np.corrcoef(one, other)[0, 1])


def test_counts_that_lie_close_or_far_know_nothing_of_each_other():
    draws = errors(seed=3, scale=0.3)
    bound = 4.0 / DRAWS**0.5
    for lag in (1, 2, 3, 16, 256, 4096):
        assert correlation(draws[lag:], draws[:-lag]) < bound
        assert correlation(abs(draws[lag:]), abs(draws[:-lag])) < bound
    for far in (2**31, 2**32, 2**40, 2**61):
        assert correlation(draws, errors(3, COUNTS + far, scale=0.3)) < bound


def test_seeds_know_nothing_of_each_other():
    draws = errors(seed=0, scale=0.3)
    for seed in (1, 2, 3, 2**16, 2**31 - 1):
        assert correlation(draws, errors(seed, scale=0.3)) < 4.0 / DRAWS**0.5
    assert len(set(errors(seed=0, scale=0.3).tolist())) > DRAWS - 10


def test_the_values_stay_what_they_are():
    """A run is replayed by them: the hash is part of what the class promises."""
    golden = [1.3303204299382467, 0.7446416671465761, 0.9805716196163591, 1.0953783529455416]
    assert tm.Noise(seed=42, scale=0.2)(np.array([0, 1, 2, 2**40])).tolist() == pytest.approx(golden, rel=1e-12)


@pytest.mark.parametrize("given", KINDS, ids=str)
def test_noise_is_the_same_on_every_backend(given):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    noise = tm.Noise(seed=9, **given)
    counts = np.array([*range(200), *FAR])
    expected = noise(counts)
    assert bits(expected) == bits([noise(int(count)) for count in counts])
    np.testing.assert_allclose(noise(torch.tensor(counts)).numpy(), expected, rtol=1e-14, atol=0)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(noise)(jax.numpy.array(counts)), expected, rtol=1e-14, atol=0)
    # single precision: the numbers drawn are the same, their quantiles good to 1e-6
    near = np.array([*range(200), 2**24])
    single = jax.jit(noise)(jax.numpy.array(near))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, noise(near), rtol=2e-6, atol=0)
    long = noise * tm.Linear(init_value=1.0, end_value=1.0, duration=2**40)
    np.testing.assert_allclose(jax.jit(long)(jax.numpy.array(near)), noise(near), rtol=2e-6, atol=0)


def test_under_a_stretch_noise_holds_between_its_counts():
    noise = tm.Noise(seed=1, scale=0.1)
    counts = np.arange(50)
    assert bits(noise.stretch(10)(counts)) == bits(noise(counts // 10))
    assert bits([noise.stretch(10)(int(count)) for count in counts]) == bits(noise(counts // 10))


def test_noise_scales_a_schedule():
    fall, noise = tm.Cosine(init_value=1.0, end_value=0.1, duration=100), tm.Noise(seed=1, scale=0.1)
    assert bits((fall * noise)(COUNTS)) == bits(fall(COUNTS) * noise(COUNTS))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"seed": -1}, r"`seed` must be between 0 and 2.*, got -1"),
        ({"seed": 2**31}, "`seed` must be between 0 and 2147483647, got 2147483648"),
        ({"seed": "5%"}, "`seed` '5%' is not a number"),
        ({"scale": 0}, "`scale` must be above 0, got 0"),
        ({"limit": 0}, "`limit` must be above 0, got 0"),
        ({"kind": "gauss"}, "`kind` must be one of normal, uniform, got 'gauss'"),
        ({"kind": "uniform", "limit": 0.1}, r"`limit` is for normal noise, got 0\.1 for uniform"),
    ],
)
def test_noise_refuses_what_it_cannot_draw(wrong, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.Noise(**{"seed": 1, "scale": 0.1, **wrong})
