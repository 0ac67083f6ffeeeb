"""Orders that are computed place by place: they are orders, and random enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tempomat.torch.permuting import permuted, unit, units


@given(st.integers(1, 600), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 5))
def test_every_place_holds_another_thing(size, seed, key, stream):
    assert sorted(permuted(range(size), size, seed=seed, key=key, stream=stream)) == list(range(size))


def test_some_places_are_those_of_the_whole():
    whole = permuted(range(1000), 1000, seed=3, key=4)
    assert permuted([7, 999, 0], 1000, seed=3, key=4).tolist() == whole[[7, 999, 0]].tolist()


def test_a_place_far_out_in_a_huge_order_is_found_at_once():
    found = permuted([0, 2**62 - 1], 2**62, seed=0, key=0)
    assert ((found >= 0) & (found < 2**62)).all()
    assert found[0] != found[1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"key": 1}, {"stream": 1}])
def test_seed_key_and_stream_each_give_another_order(change):
    given = {"seed": 0, "key": 0, "stream": 0}
    first, second = (permuted(range(1000), 1000, **one) for one in (given, {**given, **change}))
    assert (first == second).mean() < 0.02  # two random orders agree in one place of a thousand


@pytest.mark.parametrize("size", [3, 7, 20])
def test_each_thing_comes_equally_often_at_each_place(size):
    keys = 4000
    orders = np.array([permuted(range(size), size, seed=0, key=key) for key in range(keys)])
    counts = np.array([np.bincount(orders[:, place], minlength=size) for place in range(size)])
    # a share's standard error over the keys; five of them for the largest of at most 400 deviations
    assert np.abs(counts / keys - 1 / size).max() < 5 * np.sqrt((1 - 1 / size) / size / keys)


def test_things_at_neighbouring_places_know_nothing_of_each_other():
    order = permuted(range(20_000), 20_000, seed=5, key=6)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 5 / np.sqrt(20_000)


def test_numbers_of_places_are_the_same_however_they_are_asked_for():
    whole = units(0, 50, seed=1, key=2)
    assert [units(place, place + 1, seed=1, key=2)[0] for place in range(50)] == whole.tolist()
    assert units(13, 29, seed=1, key=2).tolist() == whole[13:29].tolist()
    assert 0 < whole.min() < 0.2 < 0.8 < whole.max() < 1


def test_a_unit_is_below_one_and_exact_beside_a_whole_number():
    drawn = [unit(0, key) for key in range(1000)]
    assert 0 <= min(drawn) < 0.05
    assert 0.95 < max(drawn) < 1
    assert all((2**20 + one) - 2**20 == one for one in drawn)
