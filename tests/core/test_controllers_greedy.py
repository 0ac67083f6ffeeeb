"""The greedy controller against Transformers' `GreedyLR`, live and bit for bit, and where it is meant to differ."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math

import numpy as np
import pytest
from core.stepping import levels, resumed, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits, greedy

import tempomat as tm

RULE = tm.Greedy(factor=0.5, patience=1, threshold=0.0, min_value=0.125, max_value=4.0, init_value=1.0)


# held to the library


def theirs(lr, measurements, **options):
    """The learning rates of `transformers.optimization.GreedyLR`."""
    torch = pytest.importorskip("torch")
    get_scheduler = pytest.importorskip("transformers").get_scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = get_scheduler("greedy", optimizer, scheduler_specific_kwargs=options)
    found = [lr]
    for measurement in measurements:
        scheduler.step(measurement)
        found.append(optimizer.param_groups[0]["lr"])
    return found


RENAMED = {"min_lr": "min_value", "max_lr": "max_value", "window_size": "window", "reset_start": "reset_after"}


def ours(lr, measurements, **options):
    given = {RENAMED.get(name, name): value for name, value in options.items()}
    return levels(tm.Greedy(init_value=lr, on_nan="bad", **given), measurements)


def drawn(rng):
    """Options, a first learning rate, and how the metric wanders; short rows and near bounds, so that all happens."""
    low = float(rng.uniform(1e-4, 0.1))
    options = {
        "mode": str(rng.choice(["min", "max"])),
        "factor": float(rng.uniform(0.3, 0.99)),
        "patience": int(rng.integers(0, 4)),
        "threshold": float(rng.choice([0.0, 1e-6, 0.05])),
        "threshold_mode": str(rng.choice(["rel", "abs"])),
        "cooldown": int(rng.integers(0, 4)),
        "warmup": int(rng.integers(0, 4)),
        "min_lr": low,
        "max_lr": low * float(rng.uniform(2.0, 50.0)),
        "eps": float(rng.choice([0.0, 1e-8, 1e-3])),
        "smooth": bool(rng.integers(0, 2)),
        "window_size": int(rng.integers(1, 6)),
        "reset_start": int(rng.integers(1, 5)),
    }
    trend = np.linspace(0.0, float(rng.uniform(-8.0, 8.0)), 150)
    measured = 10.0 + trend + rng.normal(size=150) * float(rng.choice([0.05, 0.5]))
    if not options["smooth"]:  # a NaN never leaves Transformers' running mean
        measured[rng.random(150) < 0.05] = np.nan
    return options, float(rng.uniform(low, options["max_lr"])), np.abs(measured).tolist()


def test_it_equals_transformers_bit_for_bit_with_all_its_options():
    rng = np.random.default_rng(0)
    moved = 0
    for _ in range(200):
        options, lr, measured = drawn(rng)
        expected = theirs(lr, measured, **options)
        assert bits(ours(lr, measured, **options)) == bits(expected), options
        moved += len(set(expected)) > 2
    assert moved > 150, "the runs have to be ones in which the learning rate moves"


def test_its_defaults_are_those_of_transformers():
    rng = np.random.default_rng(1)
    measured = (5.0 - np.linspace(0, 4, 900) + rng.normal(size=900) * 0.01).tolist()
    still = [1.0] * 700  # to the floor and, five hundred falls later, back
    for metrics in (measured, measured + still * 20):
        assert bits(ours(0.05, metrics)) == bits(theirs(0.05, metrics))


def test_a_relative_threshold_is_of_the_size_of_a_negative_best_where_that_of_transformers_has_the_wrong_sign():
    options = {"threshold_mode": "rel", "threshold": 0.1, "patience": 0, "min_lr": 1e-3}
    measured = [-10.0, -9.5]  # the second is worse
    assert theirs(0.1, measured, **options)[-1] > theirs(0.1, measured, **options)[1]
    assert ours(0.1, measured, **options)[-1] < ours(0.1, measured, **options)[1]


def test_a_floor_above_the_first_level_is_refused_where_transformers_silently_only_climbs():
    assert theirs(5e-5, [1.0] * 50) == [5e-5] * 51
    with pytest.raises(tm.ScheduleError, match=r"Greedy: `init_value` must not be below `min_value` \(0.001\), got 5e"):
        ours(5e-5, [])


# on its own


def test_it_climbs_after_a_row_of_good_measurements_and_falls_after_a_row_of_bad_ones():
    assert levels(RULE, [5, 4, 3, 2, 1]) == [1, 1, 2, 2, 4, 4]
    assert levels(RULE, [5, 6, 6, 6, 6]) == [1, 1, 1, 0.5, 0.5, 0.25]
    assert levels(RULE, [5, 6, 4, 6, 3, 6]) == [1] * 7, "no row is long enough"


def test_it_stays_between_its_bounds():
    assert max(levels(RULE, range(100, 0, -1))) == 4.0
    assert min(levels(RULE, [1.0] * 30)) == 0.125


def test_after_a_fall_and_after_a_climb_it_does_not_hear_for_a_while():
    falls = tm.Greedy(factor=0.5, patience=0, cooldown=2, init_value=1.0)
    assert levels(falls, [1, 1, 0, 0, 1]) == [1, 1, 0.5, 0.5, 0.5, 0.25]
    climbs = tm.Greedy(factor=0.5, patience=0, warmup=2, max_value=9.0, init_value=1.0)
    assert levels(climbs, [3, 9, 9, 2]) == [1, 2, 2, 2, 4]


def test_after_enough_falls_at_the_floor_it_starts_anew_with_what_it_counted():
    rule = tm.Greedy(factor=0.5, patience=0, min_value=0.25, reset_after=2, init_value=1.0, on_nan="skip")
    states = run(rule, [1, math.nan, 1, 1, 1, 1])
    assert [rule.level(state) for state in states] == [1, 1, 1, 0.5, 0.25, 1.0, 1.0]
    assert states[5] == {**rule.initial(), "skipped": 1}
    climbed = tm.Greedy(factor=0.5, patience=0, min_value=0.5, max_value=4.0, reset_after=2, init_value=1.0)
    assert levels(climbed, [5, 6, 6, 4, 6, 6, 6])[-4:] == [1.0, 0.5, 1.0, 2.0], "a climb begins the count again"


def test_the_mean_is_over_the_last_measurements_and_takes_no_nan_in():
    rule = tm.Greedy(smooth=True, window=2, patience=0, factor=0.5, threshold=0.0, max_value=9.0, init_value=1.0,
                     on_nan="skip")  # fmt: skip
    states = run(rule, [4.0, math.nan, 2.0, 6.0])
    assert [state["best"] for state in states] == [None, 4.0, 4.0, 3.0, 3.0]
    assert states[-1]["window"] == (2.0, 6.0)


@pytest.mark.parametrize("on_nan", ["skip", "bad"])
def test_a_mean_that_overflows_is_no_finite_number_and_does_not_stay(on_nan):
    rule = tm.Greedy(smooth=True, window=4, init_value=1.0, on_nan=on_nan)
    state = run(rule, [1.5e308, 1.5e308])[-1]
    assert state["window"] == (1.5e308,)
    rule.check(state)
    with pytest.raises(tm.MeasurementError, match="must be a finite number, got inf at count 1"):
        run(tm.Greedy(smooth=True, init_value=1.0), [1.5e308, 1.5e308])


@settings(max_examples=60)
@given(rule=greedy(), measurements=st.lists(st.floats(-10, 10), max_size=20), cut=st.integers(0, 20))
def test_it_is_pure_and_goes_on_from_saved_states_that_are_its_own(rule, measurements, cut):
    for state in resumed(rule, measurements, cut):
        assert rule.min_value <= rule.level(state) <= rule.max_value


def test_a_state_outside_the_bounds_of_another_is_not_accepted_by_it():
    state = run(RULE, [1, 1, 1])[-1]
    assert state["level"] == 0.5
    assert not tm.Greedy(min_value=0.6, init_value=1.0).accepts(state)
    assert not tm.Greedy(max_value=0.4, init_value=0.1).accepts(state)
    assert tm.Greedy(min_value=0.5, max_value=0.5, init_value=0.5).accepts(state)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"factor": 1.0}, "Greedy: `factor` must be below 1, got 1"),
        ({"factor": 0.0}, "`factor` must be above 0"),
        ({"window": 0}, "`window` must be at least 1"),
        ({"window": 10_001}, "`window` must be at most 10_000 measurements, got 10_001"),
        ({"patience": "5%"}, "`patience` must be a count of measurements, got 5%"),
        ({"reset_after": 0}, "`reset_after` must be at least 1"),
        ({"min_value": 2.0}, r"`min_value` must not be above `max_value` \(1\), got 2"),
        ({"max_value": 0.5}, "`max_value` must not be below 1, where a factor starts, got 0.5. .* init_value"),
        ({"min_value": 1.5, "max_value": 2.0}, "`min_value` must not be above 1, where a factor starts"),
        ({"init_value": 1.5}, r"`init_value` must not be above `max_value` \(1\), got 1.5"),
        ({"on_nan": "cut"}, "`on_nan` must be one of error, skip, bad"),
    ],
)
def test_what_cannot_be_is_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.Greedy(**given)
