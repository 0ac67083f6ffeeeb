"""Laws that hold for every schedule there is, nested ones and recipes included."""

import copy
import gc
import pickle
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import HORIZON, LONGEST, ROWS, SCHEDULES, bits, name_of, one_of_kind, schedules, trees, written

import tempomat as tm
from tempomat import core

some = settings(max_examples=60)
WINDOW = 2 * LONGEST
FAR = [10**6, 10**9, 2**31, 10**12, 10**15, 2**53, 2**53 + 1, 2**62]


def one_by_one(schedule, counts):
    return [schedule(int(count)) for count in counts]


def calls_made(schedule, count):
    """How many functions run for one evaluation: a cost that no clock has to measure."""
    made = 0

    def note(frame, event, argument):
        nonlocal made
        made += event in ("call", "c_call")

    collects = gc.isenabled()
    gc.disable()  # what it collects may have something to call as well
    sys.setprofile(note)
    try:
        schedule(count)
    finally:
        sys.setprofile(None)
        if collects:
            gc.enable()
    return made


counts = st.lists(st.integers(0, WINDOW), min_size=1, max_size=30)


def test_everything_concrete_that_core_exports_has_a_row_in_the_strategy():
    exported = {one for one in map(vars(core).get, core.__all__) if callable(one)}
    nodes = {one for one in exported if isinstance(one, type) and issubclass(one, core.Node)}
    concrete = {one for one in nodes if not one.__abstractmethods__ and one is not core.Composite}
    recipes = {one for one in exported if hasattr(one, "__wrapped__")}
    assert len(recipes) >= 6
    assert concrete | recipes == set(ROWS)


@pytest.mark.parametrize("kind", ROWS, ids=name_of)
@settings(max_examples=5)
@given(data=st.data())
def test_a_row_draws_what_it_is_for(kind, data):
    node = data.draw(one_of_kind(kind))
    assert repr(node).startswith(f"{name_of(kind)}(")


@some
@given(schedule=schedules(), counts=counts)
def test_an_array_equals_its_scalars_to_the_last_bit(schedule, counts):
    assert bits(schedule(np.array(counts))) == bits(one_by_one(schedule, counts))


@some
@given(schedule=schedules(), counts=counts, kind=st.sampled_from(["int8", "int32", "uint16", "uint64"]))
def test_the_integer_type_of_an_array_does_not_matter(schedule, counts, kind):
    fitting = [min(count, np.iinfo(kind).max) for count in counts]
    found = schedule(np.array(fitting, dtype=kind))
    assert found.dtype == np.float64
    assert bits(found) == bits(one_by_one(schedule, fitting))


@some
@given(schedule=schedules(), counts=st.lists(st.integers(0, WINDOW), min_size=24, max_size=24))
def test_an_array_keeps_its_shape_whatever_its_layout(schedule, counts):
    flat = np.array(counts)
    expected = schedule(flat)
    for shaped, wanted in (
        (flat.reshape(2, 3, 4), expected.reshape(2, 3, 4)),
        (flat.reshape(4, 6).T, expected.reshape(4, 6).T),
        (flat[::-2], expected[::-2]),
        (flat[3:4].reshape(()), expected[3:4].reshape(())),
    ):
        found = schedule(shaped)
        assert found.shape == wanted.shape
        assert bits(found) == bits(wanted)


@some
@given(schedule=schedules(), shape=st.sampled_from([(0,), (0, 3), (2, 0)]))
def test_an_empty_array_gives_an_empty_array(schedule, shape):
    found = schedule(np.empty(shape, dtype=np.int64))
    assert found.shape == shape
    assert found.dtype == np.float64


@pytest.mark.parametrize("kind", SCHEDULES, ids=name_of)
@settings(max_examples=1)
@given(data=st.data())
def test_a_long_array_equals_its_pieces(kind, data):
    schedule = data.draw(one_of_kind(kind))
    long = np.arange(20_000)
    assert bits(schedule(long)) == bits(np.concatenate([schedule(part) for part in np.array_split(long, 7)]))


@some
@given(schedule=schedules(), counts=counts, data=st.data())
def test_the_order_of_the_counts_does_not_matter(schedule, counts, data):
    order = data.draw(st.permutations(range(len(counts))))
    values = schedule(np.array(counts))
    assert bits(schedule(np.array(counts)[list(order)])) == bits(values[list(order)])
    assert bits(one_by_one(schedule, reversed(counts))) == bits(values[::-1])


@some
@given(schedule=schedules())
def test_every_value_is_a_finite_float(schedule):
    values = schedule(np.arange(0, WINDOW, 7))
    assert np.isfinite(values).all()
    assert type(schedule(3)) is float


@some
@given(schedule=schedules())
def test_any_count_up_to_two_to_the_62_has_a_finite_value(schedule):
    scalars = one_by_one(schedule, FAR)
    assert all(type(value) is float for value in scalars)
    assert np.isfinite(scalars).all()
    assert bits(schedule(np.array(FAR))) == bits(scalars)


@some
@given(schedule=schedules())
def test_a_far_count_costs_what_a_near_one_does(schedule):
    past_stretching = [WINDOW << k for k in range(22)]  # a schedule that is stretched twice may end far out
    near = max(calls_made(schedule, count) for count in [*range(0, WINDOW, 61), *past_stretching])
    assert max(calls_made(schedule, count) for count in FAR) <= near


@some
@given(schedule=schedules())
def test_a_curve_that_stands_still_far_out_has_ended_by_then(schedule):
    """What holds past its end holds at once and for ever: no drift between 1e9 and 2^62."""
    assume(schedule(10**9) == schedule(10**9 + 1) == schedule(10**12 + 5))
    assert bits([schedule(2**62)]) == bits([schedule(10**12)])


@some
@given(tree=trees())
def test_the_repr_evaluates_to_an_equal_tree(tree):
    again = eval(repr(tree), dict(vars(tm)))
    assert again == tree
    assert hash(again) == hash(tree)
    assert repr(again) == repr(tree)


@some
@given(tree=trees())
def test_pickle_and_copies_give_an_equal_tree(tree):
    for again in (pickle.loads(pickle.dumps(tree)), copy.copy(tree), copy.deepcopy(tree)):
        assert again == tree
        assert hash(again) == hash(tree)
        assert again.controllers == tree.controllers
        assert again.clocks == tree.clocks


@some
@given(schedule=schedules(), counts=counts)
def test_a_pickled_schedule_has_the_same_values(schedule, counts):
    assert bits(pickle.loads(pickle.dumps(schedule))(np.array(counts))) == bits(schedule(np.array(counts)))


@some
@given(one=trees(), two=trees())
def test_trees_are_equal_exactly_when_their_reprs_are(one, two):
    assert (one == two) == (repr(one) == repr(two))


@some
@given(tree=trees())
def test_nothing_can_be_assigned(tree):
    for name in tree.parameters():
        with pytest.raises((AttributeError, TypeError), match=r"cannot assign|no attribute|super"):
            setattr(tree, name, 1)


@some
@given(tree=trees())
def test_rebuilding_over_the_same_children_changes_nothing(tree):
    assert tree.rebuilt(lambda child: child) == tree
    assert len(list(tree.walk())) == 1 + sum(len(list(child.walk())) for child in tree.children())


@some
@given(tree=trees())
def test_resolving_twice_is_resolving_once(tree):
    try:
        once = tree.resolve(HORIZON)
    except tm.ScheduleError:
        assume(False)  # lengths that fit no run of this size
        raise
    assert once.resolved
    assert once.resolve(HORIZON) == once
    assert eval(repr(once), dict(vars(tm))) == once


@some
@given(schedule=schedules())
def test_what_is_resolved_comes_back_as_it_is(schedule):
    assert schedule.resolved
    assert schedule.resolve(tm.Horizon()) is schedule


@some
@given(schedule=written(), counts=counts)
def test_a_resolved_schedule_can_be_called_at_counts_of_every_clock(schedule, counts):
    try:
        resolved = schedule.resolve(HORIZON)
    except tm.ScheduleError:
        assume(False)
        raise
    clocks = {
        name or "optimizer_steps": count for name, count in zip(sorted(resolved.clocks), counts * 9, strict=False)
    }
    value = resolved.at_counts(clocks, clock="optimizer_steps")
    assert type(value) is float
    if len(resolved.clocks) == 1:
        assert bits([value]) == bits([resolved(counts[0])])


@some
@given(schedule=schedules(), by=st.integers(1, LONGEST), counts=counts)
def test_shifting_commutes_with_evaluation(schedule, by, counts):
    late, places = schedule.shift(by), np.array(counts)
    assert bits(late(places + by)) == bits(schedule(places))
    assert bits(late(np.arange(by))) == bits(np.full(by, schedule(0)))


@some
@given(schedule=schedules(), factor=st.integers(1, 1000), counts=counts)
def test_stretching_commutes_with_evaluation(schedule, factor, counts):
    places = np.array(counts)
    assert bits(schedule.stretch(factor)(places * factor)) == bits(schedule(places))


@some
@given(schedule=schedules(), scale=st.floats(-1e3, 1e3), counts=counts)
def test_scaling_and_lifting_commute_with_evaluation(schedule, scale, counts):
    for place in counts:
        value = schedule(place)
        assert (schedule * scale)(place) == (scale * schedule)(place) == value * scale
        assert (schedule + scale)(place) == (scale + schedule)(place) == value + scale
        assert (schedule - scale)(place) == value - scale
        assert (scale - schedule)(place) == scale - value
        assert (-schedule)(place) == -value
        assert schedule.clip(min=scale)(place) == max(value, scale)
        assert schedule.clip(max=scale)(place) == min(value, scale)


@some
@given(one=schedules(), two=schedules(), counts=counts)
def test_arithmetic_of_two_is_the_arithmetic_of_their_values(one, two, counts):
    for place in counts:
        a, b = one(place), two(place)
        assert (one + two)(place) == a + b
        assert (one - two)(place) == a - b
        assert (one * two)(place) == a * b
        assert one.minimum(two)(place) == min(a, b)
        assert one.maximum(two)(place) == max(a, b)


@some
@given(parts=st.lists(schedules(), min_size=3, max_size=3), first=st.integers(1, 500), more=st.integers(1, 500))
def test_a_sequence_equals_its_parts(parts, first, more):
    second = first + more
    whole = parts[0].then(parts[1], at=first).then(parts[2], at=second)
    expected = [parts[0](np.arange(first)), parts[1](np.arange(more)), parts[2](np.arange(200))]
    assert bits(whole(np.arange(second + 200))) == bits(np.concatenate(expected))


@some
@given(schedule=schedules(), every=st.integers(1, 300), times=st.integers(1, 4))
def test_a_repetition_is_periodic_and_may_end(schedule, every, times):
    once, places = schedule(np.arange(every)), np.arange(every * (times + 2))
    assert bits(schedule.repeat(every)(places)) == bits(np.tile(once, times + 2))
    ended = np.concatenate([np.tile(once, times), np.full(2 * every, schedule(every))])
    assert bits(schedule.repeat(every, times=times)(places)) == bits(ended)
    assert schedule.repeat(every)(2**62) == schedule(2**62 % every)
