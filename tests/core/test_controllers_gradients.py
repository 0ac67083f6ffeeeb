"""The batch size that follows the gradient noise scale, and the clipping threshold that is a percentile."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import itertools
import math

import numpy as np
import pytest
from core.stepping import levels, resumed, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import auto_clips, bits, noise_scales

import tempomat as tm

# the noise scale itself


def test_the_noise_scale_is_the_trace_of_the_covariance_over_the_squared_gradient():
    """Expectations of the squared norms at a batch of B are |G|^2 + tr(S) / B, so that exact ones give it exactly."""
    for signal, noise, small, big in [(1.0, 8.0, 2, 8), (4.0, 64.0, 1, 64), (0.25, 1.0, 4, 16)]:
        assert tm.noise_scale(signal + noise / small, signal + noise / big, small, big) == noise / signal


def test_the_estimate_from_means_over_many_updates_finds_the_truth():
    rng = np.random.default_rng(0)
    gradient, spread = np.array([1.0, -2.0, 0.5]), np.array([3.0, 1.0, 2.0])
    samples = rng.normal(gradient, spread, (4000, 64, 3))
    small, big = samples[:, :8].mean(1), samples.mean(1)
    found = tm.noise_scale(float((small**2).sum(1).mean()), float((big**2).sum(1).mean()), 8, 64)
    assert found == pytest.approx((spread**2).sum() / (gradient**2).sum(), rel=0.05)


def test_noise_that_drowns_the_gradient_is_an_infinite_scale_and_the_larger_norm_at_the_larger_batch_a_negative_one():
    assert tm.noise_scale(8.0, 1.0, 8, 64) == math.inf
    assert tm.noise_scale(9.0, 1.0, 8, 64) == math.inf
    assert tm.noise_scale(1.0, 2.0, 8, 64) < 0


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((1.0, 1.0, 8, 8), "noise_scale: big_batch: must be above small_batch .8., got 8"),
        ((-1.0, 1.0, 8, 9), "noise_scale: small_norm_sq: must be at least 0"),
        ((1.0, math.nan, 8, 9), "noise_scale: big_norm_sq: must be finite, got nan"),
        ((1.0, -1.0, 0, 9.5), "noise_scale: 3 faults"),
    ],
)
def test_norms_and_batches_that_cannot_be_are_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.noise_scale(*given)


# the batch size


SIZE = tm.NoiseScale(min_value=16, max_value=256, multiple=16, decay=0.9)


def naive_size(rule, measurements):
    """The mean weighted by decay^age, over everything heard; the nearest multiple between the bounds."""
    found = [rule.first]
    for heard in range(1, len(measurements) + 1):
        weights = rule.decay ** np.arange(heard - 1, -1, -1.0) if rule.decay else np.eye(heard)[-1]
        mean = float(np.average(measurements[:heard], weights=weights))
        steps = np.arange(rule.min_value, rule.max_value + 1, rule.multiple)
        asked = float(steps[::-1][np.argmin(np.abs(steps[::-1] - mean))])
        moves = heard >= rule.min_measurements and abs(asked - found[-1]) > rule.tolerance * found[-1]
        found.append(asked if moves else found[-1])
    return found


def test_sizes_are_the_nearest_multiples_of_the_smoothed_noise_scale():
    rng = np.random.default_rng(1)
    for decay in (0.0, 0.5, 0.9, 0.99):
        for tolerance, least in ((0.0, 1), (0.2, 5)):
            rule = tm.NoiseScale(
                min_value=16, max_value=256, multiple=16, decay=decay, tolerance=tolerance, min_measurements=least
            )
            measured = (rng.normal(size=150) * 40 + np.linspace(-20, 300, 150)).tolist()
            assert levels(rule, measured) == naive_size(rule, measured)


def test_the_first_measurement_counts_whole_and_of_two_sizes_as_near_it_is_the_larger():
    assert levels(SIZE, [100.0])[-1] == 96.0
    assert levels(SIZE, [104.0])[-1] == 112.0
    assert levels(SIZE, [-50.0])[-1] == 16.0
    assert levels(SIZE, [1e300])[-1] == 256.0


def test_it_starts_at_its_first_size_and_waits_until_it_has_heard_enough():
    rule = tm.NoiseScale(min_value=16, max_value=256, multiple=16, init_value=64, min_measurements=3, decay=0.0)
    assert levels(rule, [200, 200, 200]) == [64, 64, 64, 208]
    assert levels(SIZE, []) == [16]


def test_small_changes_are_not_made():
    rule = tm.NoiseScale(min_value=10, max_value=200, decay=0.0, tolerance=0.1, init_value=100)
    assert levels(rule, [110, 111, 101, 99]) == [100, 100, 111, 111, 99]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_noise_scale_that_is_no_finite_number_is_an_error_or_skipped_or_the_largest_size(bad):
    with pytest.raises(tm.MeasurementError, match="NoiseScale: noise_scale must be a finite number"):
        run(SIZE, [bad])
    skip, largest = (
        tm.NoiseScale(min_value=16, max_value=256, multiple=16, on_nan=on_nan) for on_nan in ("skip", "bad")
    )
    assert run(skip, [64.0, bad])[-1] == {**run(skip, [64.0])[-1], "skipped": 1}
    assert run(largest, [64.0, bad])[-1] == run(largest, [64.0, 256.0])[-1]


def test_a_state_whose_size_could_not_be_is_not_accepted():
    state = run(SIZE, [64.0])[-1]
    assert tm.NoiseScale(min_value=32, max_value=64, multiple=32).accepts(state)
    assert not tm.NoiseScale(min_value=72, max_value=144, multiple=8).accepts(state)
    assert not tm.NoiseScale(min_value=8, max_value=48, multiple=8).accepts(state)
    assert not tm.NoiseScale(min_value=48, max_value=480, multiple=48).accepts(state)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"min_value": 8}, r"NoiseScale: `min_value` must be a multiple of `multiple` \(16\), got 8"),
        ({"max_value": 250}, "`max_value` must be a multiple of `multiple`"),
        ({"init_value": 40}, "`init_value` must be a multiple of `multiple`"),
        ({"init_value": 272}, "`init_value` must lie between `min_value` and `max_value`, got 272"),
        ({"min_value": 512}, r"`min_value` must not be above `max_value` \(256\), got 512"),
        ({"max_value": "5 epochs"}, "`max_value` must be a count of samples, got 5 epochs"),
        ({"decay": 1.0}, "`decay` must be below 1"),
        ({"tolerance": -0.1}, "`tolerance` must be at least 0"),
        ({"multiple": 0}, "`multiple` must be at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.NoiseScale(**{"min_value": 16, "max_value": 256, "multiple": 16, **given})


# the clipping threshold


def naive_clip(rule, norms):
    """`numpy.percentile` over the norms heard so far."""
    found = [rule.init_value]
    for heard in range(1, len(norms) + 1):
        window = norms[max(0, heard - rule.window) : heard]
        enough = len(window) >= rule.min_measurements
        found.append(max(np.percentile(window, rule.percentile), rule.min_value) if enough else found[-1])
    return found


@pytest.mark.parametrize("percentile", [0, 10, 33.3, 50, 90, 100])
def test_the_threshold_is_the_percentile_of_the_norms_in_the_window(percentile):
    norms = np.random.default_rng(0).lognormal(size=120).tolist()
    for window, least in ((7, 1), (7, 7), (1, 1), (1_000, 20)):
        rule = tm.AutoClip(percentile=percentile, window=window, min_measurements=least, min_value=0.2, init_value=3.0)
        assert bits(levels(rule, norms)) == bits(naive_clip(rule, norms))


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.3])
def test_a_threshold_moves_once_its_percentile_is_further_off_than_the_tolerance(tolerance):
    norms = np.random.default_rng(1).lognormal(size=200).tolist()
    free = levels(tm.AutoClip(percentile=80, window=50), norms)
    kept, expected = 1.0, []
    for asked in free:
        kept = asked if abs(asked - kept) > tolerance * kept else kept
        expected.append(kept)
    found = levels(tm.AutoClip(percentile=80, window=50, tolerance=tolerance), norms)
    assert bits(found) == bits(expected)
    moves = sum(one != other for one, other in itertools.pairwise(found))
    assert (0.0, 0.05, 0.3).index(tolerance) == sum(moves < bound for bound in (100, 20))


def test_a_tolerance_holds_a_threshold_that_is_just_within_it_and_leaves_one_of_zero():
    rule = tm.AutoClip(percentile=50, window=1, init_value=2.0, tolerance=0.5)
    assert levels(rule, [3.0, 1.0, 3.125, 0.0, 1e-9]) == [2.0, 2.0, 2.0, 3.125, 0.0, 1e-9]


def test_a_tolerance_of_zero_is_the_plan_from_before_there_was_one():
    plan = tm.Plan({"grad_clip": tm.AutoClip(percentile=90)})
    assert "tolerance" not in plan.to_data(full=True)["schedules"]["grad_clip"]
    assert tm.Plan({"grad_clip": tm.AutoClip(percentile=90, tolerance=0.1)}).fingerprint != plan.fingerprint


def test_a_norm_that_is_no_finite_number_stays_out_of_the_window():
    rule = tm.AutoClip(on_nan="skip", percentile=50)
    assert run(rule, [1.0, math.inf, 3.0])[-1] == {"level": 2.0, "window": (1.0, 3.0), "skipped": 1}
    with pytest.raises(tm.MeasurementError, match="AutoClip: grad_norm must be a finite number, got inf at count 1"):
        run(tm.AutoClip(), [1.0, math.inf])
    with pytest.raises(tm.MeasurementError, match="AutoClip: grad_norm must be at least 0, got -1 at count 0"):
        run(rule, [-1.0])


def test_a_narrower_window_takes_over_the_newest_norms_of_a_wider_one():
    state = run(tm.AutoClip(window=5), [9.0, 9.0, 9.0, 1.0, 2.0])[-1]
    narrow = tm.AutoClip(window=2, percentile=50)
    assert narrow.update(state, 4.0, 0)["window"] == (2.0, 4.0)
    assert narrow.accepts(state)
    assert not tm.AutoClip(min_value=5.0, init_value=5.0).accepts(state)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"percentile": 101}, "AutoClip: `percentile` must be at most 100"),
        ({"percentile": -1}, "`percentile` must be at least 0"),
        ({"tolerance": -0.1}, "`tolerance` must be at least 0"),
        ({"window": 10_001}, "`window` must be at most 10_000 measurements, got 10_001"),
        ({"window": 5, "min_measurements": 6}, "`min_measurements` must fit into the window of 5, got 6"),
        ({"window": "5%"}, "`window` must be a count of measurements, got 5%"),
        ({"min_value": 2.0}, r"`init_value` must not be below `min_value` \(2\), got 1"),
        ({"init_value": 0}, "`init_value` must be above 0"),
        ({"on_nan": "bad"}, "`on_nan` must be one of error, skip"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.AutoClip(**given)


# both


@settings(max_examples=60)
@given(
    rule=noise_scales() | auto_clips(), measurements=st.lists(st.floats(0, 100), max_size=20), cut=st.integers(0, 20)
)
def test_they_are_pure_and_go_on_from_saved_states_that_are_their_own(rule, measurements, cut):
    resumed(rule, measurements, cut)
    assert not rule.relative


@pytest.mark.parametrize(
    ("window", "match"),
    [
        (5.0, "cannot have window = 5.0"),
        (None, "cannot have window = None"),
        ("12", "cannot have window = '12'"),
        ((1.0, math.nan), r"cannot have window = \(1.0, nan\)"),
        ((1.0, None), r"cannot have window = \(1.0, None\)"),
        ([True], r"cannot have window = \[True\]"),
        ([[1.0]], r"cannot have window = \[\[1.0\]\]"),
        ((1.0,) * 10_001, r"cannot have window = \(1.0, 1.0,"),
    ],
)
def test_a_window_of_anything_but_finite_numbers_is_no_state(window, match):
    rule = tm.AutoClip()
    rule.check({**rule.initial(), "window": [1, 2.5]})
    with pytest.raises(tm.StateError, match=match):
        rule.check({**rule.initial(), "window": window})
