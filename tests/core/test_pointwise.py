"""Rounding down to multiples, alone and above controllers."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits

import tempomat as tm


@settings(max_examples=200)
@given(value=st.floats(-1e6, 1e6), step=st.floats(1e-3, 1e3))
def test_it_is_the_largest_multiple_that_is_not_above_the_value(value, step):
    found = tm.Constant(value=value).floor_to(step)(0)
    whole = round(Fraction(found) / Fraction(step))
    assert whole * step == found <= value < (whole + 1) * step


@settings(max_examples=100)
@given(value=st.floats(-1e6, 1e6), step=st.floats(1e-3, 1e3))
def test_rounding_down_twice_is_rounding_down_once(value, step):
    once = tm.Constant(value=value).floor_to(step)
    assert bits([once.floor_to(step)(0)]) == bits([once(0)])
    assert bits(once(np.arange(3))) == bits([once(0)] * 3)


@pytest.mark.parametrize(
    ("value", "step", "floor"),
    [
        (29.999999999999996, 10, 20.0),
        (30.0, 10, 30.0),
        (-0.5, 8, -8.0),
        (-0.0, 8, 0.0),
        (6 * 0.1, 0.1, 6 * 0.1),
        (0.3, 0.1, 0.2),  # 3 * 0.1 is above 0.3 in float64
        (-5e-324, 8, -8.0),
    ],
)
def test_what_lies_at_an_edge_falls_to_its_side(value, step, floor):
    schedule = tm.FloorTo(schedule=value, step=step)
    assert bits([schedule(0)]) == bits(schedule(np.arange(1))) == bits([floor])


def test_a_zero_of_either_sign_comes_out_as_one():
    schedule = (-1.0 * tm.Constant(value=0.0)).floor_to(8)
    assert bits([schedule(0)]) == bits(schedule(np.arange(1))) == bits([0.0])


def test_a_multiple_is_taken_of_zero_and_not_of_the_first_value():
    batch = tm.Linear(init_value=10, end_value=30, duration=20).floor_to(8)
    assert batch(np.arange(0, 21, 5)).tolist() == [8.0, 8.0, 16.0, 24.0, 24.0]


def test_an_infinite_value_stays_one():
    schedule = tm.Exponential(init_value=1.0, decay_rate=2.0).floor_to(8)
    assert schedule(10**6) == schedule(np.array([10**6]))[0] == np.inf


@pytest.mark.parametrize("step", [0, -8, np.nan, np.inf])
def test_a_step_must_be_a_number_above_0(step):
    with pytest.raises(tm.ScheduleError, match=r"FloorTo: `step` must be (above 0|finite), got"):
        tm.Constant(value=1.0).floor_to(step)


def test_a_controllers_level_is_rounded_down_too():
    tree = (100.0 * tm.Plateau(factor=0.5, patience=0)).floor_to(8)
    assert isinstance(tree, tm.Reactive)
    assert repr(tree).startswith("FloorTo(schedule=Product(")
    (rule,) = tree.controllers
    state = rule.update(rule.update(rule.initial(), 1.0, 1), 1.0, 2)
    assert [tree.given([rule.level(one)])(0) for one in (rule.initial(), state)] == [96.0, 48.0]
