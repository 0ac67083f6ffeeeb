"""Recipes: their ends, what they are made of, and that they remember how they were called."""

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


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        (tm.warmup_constant(peak_value=0.3, warmup=7), {0: 0.0, 7: 0.3, 8: 0.3, FAR: 0.3}),
        (tm.warmup_constant(peak_value=0.3, warmup=7, init_value=0.1), {0: 0.1, 7: 0.3, FAR: 0.3}),
        (tm.warmup_constant(peak_value=0.3, warmup=0), {0: 0.3, 1: 0.3, FAR: 0.3}),
        (
            tm.warmup_cosine(peak_value=0.3, end_value=0.1, warmup=7, total=50),
            {0: 0.0, 7: 0.3, 50: 0.1, 51: 0.1, FAR: 0.1},
        ),
        (tm.warmup_cosine(peak_value=0.3, warmup=7, total=8), {0: 0.0, 7: 0.3, 8: 0.0, FAR: 0.0}),
        (tm.warmup_cosine(peak_value=0.3, warmup=0, total=8), {0: 0.3, 8: 0.0, FAR: 0.0}),
        (tm.warmup_linear(peak_value=0.3, end_value=0.1, warmup=7, total=50), {0: 0.0, 7: 0.3, 50: 0.1, FAR: 0.1}),
        (tm.warmup_linear(peak_value=0.3, warmup=0, total=4, init_value=9), {0: 0.3, 2: 0.15, 4: 0.0, FAR: 0.0}),
        (
            tm.step_decay(init_value=1e-3, milestones=[3, 6]),
            {0: 1e-3, 2: 1e-3, 3: 1e-4, 6: 1e-3 * 0.1 * 0.1, FAR: 1e-5},
        ),
        (
            tm.warmup_stable_decay(peak_value=0.3, end_value=0.1, warmup=7, decay=10, total=50),
            {0: 0.0, 7: 0.3, 8: 0.3, 39: 0.3, 40: 0.3, 50: 0.1, 51: 0.1, FAR: 0.1},
        ),
        (tm.wsd(peak_value=0.3, warmup=0, decay=10, total=50), {0: 0.3, 39: 0.3, 40: 0.3, 50: 0.0, FAR: 0.0}),
        (tm.wsd(peak_value=0.3, warmup=40, decay=10, total=50), {0: 0.0, 40: 0.3, 50: 0.0, FAR: 0.0}),
        (tm.wsd(peak_value=0.3, warmup=0, decay=50, total=50, shape="cosine"), {0: 0.3, 50: 0.0, FAR: 0.0}),
        (tm.one_cycle(peak_value=0.5, warmup=3, total=10), {0: 0.02, 3: 0.5, 10: 0.02 / 10_000, FAR: 0.02 / 10_000}),
        (
            tm.one_cycle(peak_value=0.5, warmup=3, total=10, init_value=0.1, end_value=0.2),
            {0: 0.1, 3: 0.5, 10: 0.2, FAR: 0.2},
        ),
        (tm.one_cycle(peak_value=0.5, warmup=0, total=10), {0: 0.5, 10: 0.02 / 10_000, FAR: 0.02 / 10_000}),
    ],
    ids=repr,
)
def test_the_ends_of_a_recipe_are_exact(schedule, ends):
    expected = [1e-3 * 0.1 * 0.1 if value == 1e-5 else value for value in ends.values()]
    assert bits([schedule(count) for count in ends]) == bits(expected)
    assert bits(schedule(np.array(list(ends)))) == bits(expected)


@settings(max_examples=40)
@given(warmup=st.integers(1, 10**9), rest=st.integers(1, 10**9), peak=st.floats(-1e3, 1e3), end=st.floats(-1e3, 1e3))
def test_the_ends_of_every_rise_and_fall_are_exact_whatever_the_numbers(warmup, rest, peak, end):
    total = warmup + rest
    values = {"peak_value": peak, "end_value": end, "init_value": 0.5}
    for schedule in (
        tm.warmup_cosine(**values, warmup=warmup, total=total),
        tm.warmup_linear(**values, warmup=warmup, total=total),
        tm.warmup_stable_decay(**values, warmup=warmup, decay=rest, total=total),
        tm.warmup_stable_decay(**values, warmup=warmup, decay=rest, total=total, shape="cosine"),
        tm.one_cycle(**values, warmup=warmup, total=total),
        tm.one_cycle(**values, warmup=warmup, total=total, shape="linear"),
    ):
        assert [schedule(count) for count in (0, warmup, total, total + 1, FAR)] == [0.5, peak, end, end, end]


def test_a_linear_fall_equals_its_formula():
    schedule = tm.warmup_linear(peak_value=0.9, end_value=0.1, warmup=10, total=47)
    printed = [0.9 * (t / 10) for t in range(10)] + [0.9 + (0.1 - 0.9) * ((t - 10) / 37) for t in range(10, 47)] + [0.1]
    assert bits(schedule(np.arange(48))) == bits(printed)


def test_one_cycle_equals_its_formula():
    def half_wave(a, b, p):
        return b + 0.5 * (a - b) * (1 + math.cos(math.pi * p))

    schedule = tm.one_cycle(peak_value=0.9, init_value=0.3, end_value=0.1, warmup=10, total=47)
    rise = [half_wave(0.3, 0.9, t / 10) for t in range(1, 10)]
    fall = [half_wave(0.9, 0.1, (t - 10) / 37) for t in range(11, 47)]
    assert bits(schedule(np.arange(48))) == bits([0.3, *rise, 0.9, *fall, 0.1])


def test_warmup_stable_decay_is_flat_in_the_middle_and_follows_its_shape_at_the_end():
    line = tm.wsd(peak_value=1.0, warmup=10, decay=20, total=100)
    wave = tm.wsd(peak_value=1.0, warmup=10, decay=20, total=100, shape="cosine")
    assert set(line(np.arange(10, 81))) == set(wave(np.arange(10, 81))) == {1.0}
    assert (line(85), wave(85)) == (0.75, 0.5 * (1 + math.cos(math.pi * 0.25)))


def test_a_recipe_remembers_how_it_was_called_with_its_defaults_written_out():
    schedule = tm.warmup_cosine(peak_value=1, warmup="5%")
    written = (
        "warmup_cosine(peak_value=1.0, end_value=0.0, warmup=Duration('5%'), total=Duration('100%'), init_value=0.0, "
        "warmup_shape='linear')"
    )
    assert repr(schedule) == written
    assert schedule == tm.warmup_cosine(peak_value=1.0, warmup=tm.Duration("5%"), total="100%")
    assert schedule != tm.warmup_linear(peak_value=1, warmup="5%")
    assert schedule != tm.warmup_cosine(peak_value=1, warmup="6%")


def test_the_short_name_is_the_same_recipe():
    assert tm.wsd is tm.warmup_stable_decay


def test_a_recipe_without_a_total_takes_the_whole_run():
    horizon = tm.Horizon(total=tm.Duration("10 epochs"), rates={"steps_per_epoch": 100})
    for schedule, wanted in (
        (tm.warmup_cosine(peak_value=1, warmup="5%"), tm.warmup_cosine(peak_value=1, warmup=50, total=1000)),
        (tm.warmup_linear(peak_value=1, warmup=50), tm.warmup_linear(peak_value=1, warmup=50, total=1000)),
        (tm.wsd(peak_value=1, warmup="1 epoch", decay="20%"), tm.wsd(peak_value=1, warmup=100, decay=200, total=1000)),
        (tm.one_cycle(peak_value=1), tm.one_cycle(peak_value=1, warmup=300, total=1000)),
        (tm.warmup_cosine(peak_value=1, warmup="0%"), tm.warmup_cosine(peak_value=1, warmup=0, total=1000)),
    ):
        assert not schedule.resolved
        resolved = schedule.resolve(horizon)
        assert resolved == wanted
        assert bits(resolved(np.arange(0, 1100, 7))) == bits(wanted(np.arange(0, 1100, 7)))


def test_what_does_not_fit_the_run_is_refused_when_the_run_is_known():
    with pytest.raises(tm.ScheduleError, match=r"warmup_cosine.*warmup.*must be shorter than `total` \(100\), got 100"):
        tm.warmup_cosine(peak_value=1, warmup="100 optimizer_steps").resolve(tm.Horizon(total=tm.Duration("100")))
    with pytest.raises(tm.ScheduleError, match=r"needs the run's length. Give the plan a `total`"):
        tm.warmup_cosine(peak_value=1, warmup=5).resolve(tm.Horizon())


@pytest.mark.parametrize("warmup", ["60%", "2 epochs"])
def test_a_warmup_longer_than_its_total_is_never_turned_into_a_positive_length(warmup):
    horizon = tm.Horizon(total=tm.Duration("100"), rates={"steps_per_epoch": 30})
    with pytest.raises(tm.ScheduleError, match="warmup"):
        tm.warmup_cosine(peak_value=1, warmup=warmup, total="50%").resolve(horizon)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (
            lambda: tm.warmup_cosine(peak_value=1, warmup=10, total=10),
            r"warmup_cosine: .*warmup.* must be shorter than `total` \(10\), got 10",
        ),
        (
            lambda: tm.warmup_linear(peak_value=1, warmup=11, total=10),
            r"warmup_linear: .*warmup.* must be shorter than `total` \(10\), got 11",
        ),
        (lambda: tm.one_cycle(peak_value=1, warmup=10, total=10), r"one_cycle: .*warmup.* must be shorter"),
        (
            lambda: tm.wsd(peak_value=1, warmup=6, decay=5, total=10),
            r"warmup_stable_decay: .*decay.* and `warmup` \(6\) together are longer than `total` \(10\), got 5",
        ),
        (lambda: tm.wsd(peak_value=1, warmup=0, decay=11, total=10), "together are longer than `total`"),
        (lambda: tm.wsd(peak_value=1, warmup=0, decay=0, total=10), "decay.* must be at least 1, got 0"),
        (
            lambda: tm.wsd(peak_value=1, warmup=0, decay=5, total=10, shape="sqrt"),
            "shape.* must be one of linear, cosine, one_minus_sqrt, one_minus_square, exponential, got 'sqrt'",
        ),
        (lambda: tm.warmup_cosine(peak_value=1, warmup=-1, total=10), "warmup.* must be between 0 and"),
        (lambda: tm.warmup_cosine(peak_value=math.nan, warmup=-1, total=0), "warmup_cosine: 3 faults"),
        (lambda: tm.warmup_constant(peak_value=1, warmup=1.5), "warmup.* must be an integer count, got 1.5"),
        (lambda: tm.step_decay(init_value=1, milestones=[5, 5]), r"step_decay: .*milestones\[1\].* must come after"),
        (lambda: tm.step_decay(init_value=1, milestones=[5], factor=-1), "factor.* must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_under_the_recipes_own_name(build, match):
    with pytest.raises(tm.ScheduleError, match=match):
        build()


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: tm.warmup_cosine(warmup=1), r"warmup_cosine\(\).*peak_value"),
        (lambda: tm.warmup_cosine(peak_value=1, warmup=1, totl=3), r"warmup_cosine\(\).*totl"),
        (lambda: tm.warmup_cosine(1.0, warmup=1), "positional"),
    ],
)
def test_a_call_with_wrong_arguments_is_a_type_error_as_for_any_function(build, match):
    with pytest.raises(TypeError, match=match):
        build()
