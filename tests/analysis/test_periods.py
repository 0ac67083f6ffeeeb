"""Shapes that come back: drawn as far as their cycles show, with every corner, and left alone by the linter."""

import numpy as np
import pytest

import tempomat as tm
from tempomat.analysis.lint import lint
from tempomat.analysis.sample import sample


def drawn(tree, **given):
    """The one series of a plan of this tree."""
    return sample(tm.Plan({"lr": tree}, total=given.pop("total", None)), **given).series[0]


def found(tree, total):
    """Code and path of every finding."""
    return [(one.code, one.path) for one in lint(tm.Plan({"lr": tree}, total=total))]


def restarts(**given):
    return tm.WarmRestarts(init_value=1.0, end_value=0.1, **{"cycle": 10, **given})


def triangle(**given):
    return tm.Cyclic(init_value=0.1, peak_value=1.0, up=10, **given)


@pytest.mark.parametrize(
    ("tree", "end"),
    [
        (restarts(), 100),
        (restarts(cycle_factor=2), 150),
        (restarts(cycle_factor=10), 110),
        (restarts(cycle_factor=1.1), 160),
        (restarts(cycles=3), 30),
        (restarts(cycle_factor=2, cycles=3), 70),
        (restarts(cycle_factor=1.5, cycles=2, cycle=15), 38),
        (restarts().shift(7), 107),
        (triangle(), 200),
        (triangle(down=5), 150),
        (tm.CosineRestarts(init_value=1.0, end_value=0.1, duration=97, cycles=2.5), 97),
        (tm.Staircase(init_value=8, end_value=64, increment=10, every=7), 42),
        (tm.length_warmup(init_value=8, end_value=64, increment=8, every=7), 49),
        (tm.InverseTime(init_value=1.0, decay_rate=1e-3, every=10), 90_000),
        (tm.InverseTime(init_value=1.0, decay_rate=100.0), 1),
    ],
)
def test_without_a_total_it_is_drawn_as_far_as_it_shows_itself(tree, end):
    assert drawn(tree).counts[-1] == end


@pytest.mark.parametrize(
    ("tree", "corners"),
    [
        (restarts(cycle=1_000, cycle_factor=2), [0, 999, 1_000, 2_999, 3_000, 6_999, 7_000]),
        (restarts(cycle=1_000, warmup=100, cycles=2), [99, 100, 999, 1_000, 1_099, 1_100, 1_999, 2_000]),
        (restarts(cycle=15, cycle_factor=1.5, cycles=2), [14, 15, 37, 38]),
        (triangle(down=500), [10, 509, 510, 520, 1_020]),
        (tm.CosineRestarts(init_value=1.0, end_value=0.1, duration=97_000, cycles=2.5), [38_799, 38_800, 77_600]),
        (restarts(cycle=1_000).stretch(3).shift(7), [7, 3_006, 3_007, 6_007]),
    ],
)
def test_every_cycle_begins_and_turns_in_the_picture(tree, corners):
    series = drawn(tree, total=100_000, points=3)
    assert set(corners) <= set(series.counts.tolist())
    np.testing.assert_array_equal(series.values, tree(series.counts))


def test_cycles_without_number_are_listed_as_far_as_it_is_worth():
    series = drawn(restarts(cycle=2), total=10**9, points=3)
    assert 1_000 < series.counts.size < 5_000


def test_the_last_of_a_few_cycles_is_an_end():
    marks = [(mark.count, mark.label) for mark in drawn(restarts(cycle_factor=2, cycles=3), total=100).marks]
    assert marks == [(70, "ends")]
    assert found(restarts(cycle_factor=2, cycles=3), 70) == []
    assert found(restarts(cycle_factor=2, cycles=3), 100) == [("TM106", "schedules.lr.cycles")]
    assert found(restarts(cycle_factor=2, cycles=3), 50) == [("TM105", "schedules.lr.cycles")]


@pytest.mark.parametrize(
    "tree",
    [
        restarts(),
        restarts(warmup=3, cycle_factor=2),
        triangle(mode="exp_range", gamma=0.999),
        triangle(mode="triangular2"),
        tm.CosineRestarts(init_value=1.0, end_value=0.1, duration=1_000, cycles=4),
        tm.wsd_s(peak_value=1.0, end_value=0.1, warmup=10, decay=50, anneals=(400, 1_000), init_value=0.01),
        tm.Cosine(init_value=1.0, end_value=0.1, duration=1_000) * tm.Noise(seed=3, scale=0.05),
        tm.Advance(schedule=tm.Cosine(init_value=1.0, end_value=0.1, duration=1_010), by=10),
        tm.Advance(schedule=tm.InverseSqrt(init_value=1.0, timescale=50), by=5_000),
    ],
)
def test_what_comes_back_by_design_is_no_finding(tree):
    assert found(tree, 1_000) == []


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_no_jump_where_parts_meet_but_a_jump_with_noise_is(seed):
    noise = tm.Noise(seed=seed, scale=0.05, limit=0.15)
    rise = tm.Linear(init_value=0.5, end_value=1.0, duration=100)
    fall = tm.Cosine(init_value=1.0, end_value=0.1, duration=900)
    assert found((rise * noise).then(fall * noise, at=100), 1_000) == []
    assert found(rise.then(fall * noise, at=100), 1_000) == []
    assert found((rise * noise).then(0.2 * fall * noise, at=100), 1_000) == [("TM203", "schedules.lr.parts[1]")]


def test_a_jump_in_a_tree_that_a_recipe_was_given_is_told():
    jump = tm.Linear(init_value=0.5, end_value=1.0, duration=100).then(
        tm.Cosine(init_value=0.2, end_value=0.1, duration=900), at=100
    )
    followed = tm.proportional(schedule=jump, from_low=0.0, from_high=1.0, to_low=0.0, to_high=1.0)
    assert [code for code, _ in found(followed, 1_000)] == ["TM203"]
