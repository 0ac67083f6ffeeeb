"""What a count may be: an integer of any library from 0 to 2^62, alone or in an array; all else is refused by name."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import tempomat as tm

LINE = tm.Linear(init_value=0.0, end_value=1.0, duration=10)


class Five(int):
    """An integer of a kind of its own, as enums have them."""


@pytest.mark.parametrize("kind", [int, np.int8, np.int64, np.uint64, Five])
def test_an_integer_of_any_kind_gives_a_float(kind):
    assert LINE(kind(5)) == 0.5
    assert type(LINE(kind(5))) is float


@pytest.mark.parametrize(
    ("count", "match"),
    [
        (5.0, r"^Linear: a count must be an integer count, got 5.0 \(float\)"),
        (np.float64(5.0), "must be an integer count, got"),
        (math.nan, "must be an integer count, got nan"),
        (True, "must be an integer count, got True"),
        (np.bool_(True), "must be an integer count, got"),
        ("5", "must be an integer count, got '5'"),
        (None, "must be an integer count, got None"),
        (Fraction(5), "must be an integer count, got Fraction"),
        (Decimal(5), "must be an integer count, got Decimal"),
        ([5], r"must be an integer count, got \[5\]"),
        ({}, "must be an integer count, got {}"),
        (-1, r"must be between 0 and 2\^62, got -1"),
        (2**62 + 1, r"must be between 0 and 2\^62, got 4611686018427387905"),
        (10**400, r"must be between 0 and 2\^62, got 1000"),
        (np.uint64(2**63), r"must be between 0 and 2\^62"),
        (np.array([0.0]), "counts must be integers, got an array of float64"),
        (np.array([True]), "counts must be integers, got an array of bool"),
        (np.array(["5"]), "counts must be integers, got an array of <U1"),
        (np.array([5], dtype=object), "counts must be integers, got an array of object"),
        (np.array([3, -1]), r"counts must be between 0 and 2\^62, got -1 to 3"),
        (np.array([2**63], dtype=np.uint64), r"counts must be between 0 and 2\^62, got 9223372036854775808"),
    ],
    ids=repr,
)
def test_anything_else_is_refused(count, match):
    with pytest.raises(tm.ScheduleError, match=match):
        LINE(count)


@pytest.mark.parametrize("count", [5.0, True, "5", -1, 2**62 + 1, None])
def test_the_counts_of_several_clocks_are_held_to_the_same_rule(count):
    with pytest.raises(tm.ScheduleError, match=r"must be (an integer count|between 0 and)"):
        LINE.at_counts({"epochs": count}, clock="epochs")


class Foreign:
    """An array of a library that nobody knows."""

    dtype, ndim = "int64", 1


def test_an_array_of_an_unknown_library_is_refused():
    with pytest.raises(tm.ScheduleError, match="must be an integer or an array of integers, got Foreign"):
        LINE(Foreign())


def test_a_list_of_counts_is_no_count():
    with pytest.raises(tm.ScheduleError, match=r"got \[1, 2\]"):
        LINE([1, 2])


def test_a_length_that_depends_on_the_run_says_what_to_do():
    with pytest.raises(tm.ScheduleError, match=r"'5%' is no count yet.*resolve\(Horizon\(total="):
        tm.Linear(init_value=0, end_value=1, duration="5%")(3)
    with pytest.raises(tm.ScheduleError, match=r"is no count yet"):
        tm.Constant(value=1).then(tm.Constant(value=2), at="5 epochs")(np.arange(3))
    with pytest.raises(tm.ScheduleError, match=r"'5 epochs' is no count yet"):
        tm.IntervalTable(rule="step_decay", intervals=[{"lr": 1, "end": "5 epochs"}])(3)
    with pytest.raises(tm.ScheduleError, match=r"'5%' is no count yet"):
        tm.Constant(value=1).stretch("5%")(3)
