"""The shapes of `decays` and `rises`: their ends, and what they refuse. Their curves are in `test_oracles_decays`."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false, reportCallIssue=false

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits

import tempomat as tm

FAR = 2**62
GEOMETRIC = {"init_value": 0.3, "end_value": 0.1, "duration": 10}
STAIRS = {"init_value": 8, "end_value": 20, "increment": 5, "every": 3}


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        (tm.Geometric(**GEOMETRIC), {0: 0.3, 10: 0.1, 11: 0.1, FAR: 0.1}),
        (tm.Geometric(init_value=-0.1, end_value=-0.7, duration=1), {0: -0.1, 1: -0.7, FAR: -0.7}),
        (tm.InverseTime(init_value=0.3, decay_rate=0.5, every=4), {0: 0.3, 8: 0.15}),
        (tm.InverseTime(init_value=0.3, decay_rate=1, every=4, staircase=True), {0: 0.3, 3: 0.3, 4: 0.15, 7: 0.15}),
        (tm.PowerLaw(init_value=0.3, timescale=4, exponent=-0.5), {0: 0.3, 12: 0.15}),
        (tm.PowerLaw(init_value=0.0, timescale=4, exponent=300), {0: 0.0, FAR: 0.0}),
        (tm.Tanh(init_value=0.3, end_value=0.1, duration=10), {10: 0.1, 11: 0.1, FAR: 0.1}),
        (tm.Rex(init_value=0.3, end_value=0.1, duration=10), {0: 0.3, 10: 0.1, 11: 0.1, FAR: 0.1}),
        (tm.Hyperbolic(init_value=0.3, infimum=0.1, duration=10, upper_bound=20), {0: 0.3}),
        (tm.Hyperbolic(init_value=1.0, infimum=0.5, duration=9, upper_bound=9), {0: 1.0, 9: 0.5, 10: 0.5, FAR: 0.5}),
        (tm.PowerRamp(init_value=0.3, end_value=0.1, duration=10, power=0.5), {0: 0.3, 10: 0.1, 11: 0.1, FAR: 0.1}),
        (tm.Logarithmic(init_value=0.3, end_value=0.1, duration=10), {0: 0.3, 9: 0.1, 10: 0.1, FAR: 0.1}),
        (tm.Logarithmic(init_value=0.3, end_value=0.1, duration=1), {0: 0.3, 1: 0.1, FAR: 0.1}),
        (tm.CosineTail(init_value=0.3, end_value=0.1, duration=10), {0: 0.3, 10: 0.1, 11: 0.1, FAR: 0.1}),
        (tm.Staircase(**STAIRS), {0: 8, 2: 8, 3: 13, 6: 18, 8: 18, 9: 20, FAR: 20}),
        (tm.Staircase(**STAIRS | {"end_value": -3, "increment": -5}), {0: 8, 3: 3, 6: -2, 9: -3, FAR: -3}),
        (tm.Staircase(**STAIRS | {"end_value": 8}), {0: 8, 3: 8, FAR: 8}),
    ],
    ids=repr,
)
def test_the_ends_are_exact(schedule, ends):
    assert bits([schedule(count) for count in ends]) == bits(list(ends.values()))
    assert bits(schedule(np.array(list(ends)))) == bits(list(ends.values()))


@settings(max_examples=60)
@given(
    first=st.floats(-1e3, 1e3),
    last=st.floats(-1e3, 1e3),
    length=st.integers(1, 10**12),
    power=st.floats(0.1, 5.0),
)
def test_the_ends_of_a_fall_are_exact_whatever_the_numbers(first, last, length, power):
    ends = {"init_value": first, "end_value": last, "duration": length}
    for schedule in (tm.Rex(**ends), tm.CosineTail(**ends), tm.PowerRamp(**ends, power=power), tm.Logarithmic(**ends)):
        assert [schedule(count) for count in (0, length, length + 1, FAR)] == [first, last, last, last]
    assert tm.Logarithmic(**ends | {"duration": length + 1})(length) == last


@settings(max_examples=60)
@given(first=st.floats(1e-9, 1e9), last=st.floats(1e-9, 1e9), length=st.integers(1, 10**12))
def test_the_ends_of_a_geometric_curve_are_exact_whatever_the_numbers(first, last, length):
    schedule = tm.Geometric(init_value=first, end_value=last, duration=length)
    assert [schedule(count) for count in (0, length, FAR)] == [first, last, last]


def test_a_tangent_misses_its_start_by_what_it_says():
    schedule = tm.Tanh(init_value=1.0, end_value=0.0, duration=10**9)
    assert 1.0 - schedule(0) == pytest.approx((1.0 + math.tanh(-7.0)) / 2.0, rel=1e-9, abs=0)
    assert schedule(10**9 - 1) == pytest.approx((1.0 - math.tanh(3.0)) / 2.0, rel=1e-7, abs=0)


def test_a_hyperbola_starts_alike_in_runs_of_any_length():
    short, long = (
        tm.Hyperbolic(init_value=1.0, infimum=0.0, duration=length, upper_bound=1_000) for length in (100, 800)
    )
    assert (1.0 - short(10)) / (1.0 - long(10)) < 2.5
    line = tm.Linear(init_value=1.0, end_value=0.0, duration=100)
    slower = tm.Linear(init_value=1.0, end_value=0.0, duration=800)
    assert (1.0 - line(10)) / (1.0 - slower(10)) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("kind", "good", "change", "match"),
    [
        (tm.Geometric, GEOMETRIC, {"init_value": 0}, r"Geometric: `init_value` must not be 0: no ratio .* Use Linear"),
        (tm.Geometric, GEOMETRIC, {"end_value": 0}, "`end_value` must not be 0 and have the sign of `init_value`"),
        (tm.Geometric, GEOMETRIC, {"end_value": -0.1}, r"have the sign of `init_value` \(0.3\), got -0.1"),
        (tm.Geometric, GEOMETRIC, {"init_value": 1e-300, "end_value": 1e300}, "`end_value` is too far from"),
        (tm.Geometric, GEOMETRIC, {"init_value": 1e300, "end_value": 1e-300}, "`end_value` is too far from"),
        (tm.Geometric, GEOMETRIC, {"duration": 0}, "`duration` must be at least 1, got 0. For a value that never"),
        (tm.InverseTime, {"init_value": 1}, {"decay_rate": 0}, "InverseTime: `decay_rate` must be above 0, got 0"),
        (tm.InverseTime, {"init_value": 1, "decay_rate": 1}, {"every": 0}, "`every` must be at least 1, got 0"),
        (tm.PowerLaw, {"init_value": 1, "exponent": -1}, {"timescale": 0}, "`timescale` must be at least 1, got 0"),
        (tm.Tanh, GEOMETRIC, {"lower": 3, "upper": 3}, r"Tanh: `lower` must be below `upper` \(3\), got 3"),
        (
            tm.Hyperbolic,
            {"init_value": 1, "infimum": 0, "duration": 10},
            {"upper_bound": 9},
            r"Hyperbolic: `upper_bound` must be at least `duration` \(10\), got 9",
        ),
        (tm.PowerRamp, GEOMETRIC, {"power": 0}, "PowerRamp: `power` must be above 0, got 0"),
        (tm.Staircase, STAIRS, {"increment": 0}, r"Staircase: `increment` must lead from .* \(8\) to .* \(20\), got 0"),
        (tm.Staircase, STAIRS, {"increment": -5}, "`increment` must lead from"),
        (tm.Staircase, STAIRS, {"end_value": 3}, "`increment` must lead from"),
        (tm.Staircase, STAIRS, {"end_value": 8, "increment": 0}, "`increment` must lead from"),
    ],
)
def test_what_cannot_be_is_refused(kind, good, change, match):
    with pytest.raises(tm.ScheduleError, match=match):
        kind(**good | change)


def test_a_bound_that_the_run_makes_too_short_is_refused_when_the_run_is_known():
    schedule = tm.Hyperbolic(init_value=1, infimum=0, duration="50%", upper_bound=99)
    assert schedule.resolve(tm.Horizon(total=tm.Duration("100"))).duration == 50
    with pytest.raises(tm.ScheduleError, match=r"`upper_bound` must be at least `duration` \(100\), got 99"):
        schedule.resolve(tm.Horizon(total=tm.Duration("200")))
