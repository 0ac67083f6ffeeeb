"""Powers of trees, and a rate that follows a batch size: against the printed formulas."""

import math
from typing import Any

import numpy as np
import pytest

import tempomat as tm

SIZE = tm.PiecewiseConstant(values=(32, 48, 512), boundaries=(10, 20))
LINE = tm.Linear(init_value=0.3, end_value=0.1, duration=30)


def test_the_linear_rule_scales_by_the_share_of_the_reference():
    lr = tm.coupled(schedule=LINE, to=SIZE, reference=48)
    for count in range(40):
        assert lr(count) == LINE(count) * (SIZE(count) / 48)
    assert lr(15) == LINE(15)


def test_the_square_root_rule_scales_by_its_root():
    lr = tm.coupled(schedule=LINE, to=SIZE, reference=128, rule="sqrt")
    for count in range(40):
        assert lr(count) == pytest.approx(LINE(count) * math.sqrt(SIZE(count) / 128), rel=1e-15, abs=0)
    assert lr(25) == 2 * LINE(25)


def test_a_rate_may_follow_a_batch_size_that_follows_measurements():
    size: Any = tm.NoiseScale(min_value=32, max_value=1024)
    lr: Any = tm.coupled(schedule=LINE, to=size, rule="sqrt")
    assert [rule.metric for rule in lr.controllers] == ["noise_scale"]
    assert lr.given([128.0])(0) == 0.3 * 2.0
    both: Any = tm.coupled(schedule=LINE * tm.Plateau(), to=size)
    assert both.given([0.5, 64.0])(0) == 0.3 * 0.5 * 2.0


def test_coupled_and_power_are_plain_data_in_a_plan():
    plan = tm.Plan({"lr": tm.coupled(schedule=LINE, to=SIZE, reference=64), "batch_size": SIZE**0.5})
    data = plan.to_data()["schedules"]
    assert data["lr"]["type"] == "coupled"
    assert data["lr"]["to"]["values"] == [32, 48, 512]
    assert data["batch_size"]["type"] == "power"
    assert tm.Plan.from_data(plan.to_data()) == plan


def test_a_tree_to_a_power_is_pythons():
    assert (SIZE**0.5)(25) == 512**0.5
    assert (SIZE**-1)(0) == 1 / 32
    assert (SIZE**0)(0) == 1.0
    assert (-((SIZE) ** 3))(0) == -(32.0**3)
    np.testing.assert_array_equal((SIZE**1.7)(np.arange(30)), [(SIZE**1.7)(count) for count in range(30)])
    assert tm.Power(schedule=SIZE, exponent=2, reference=48)(15) == 1.0


@pytest.mark.parametrize("count", [3, np.arange(8)], ids=["int", "array"])
@pytest.mark.parametrize(("base", "exponent"), [(-1.0, 0.5), (0.0, -1.0)])
def test_what_has_no_real_power_is_refused_when_it_is_evaluated(count, base, exponent):
    tree = tm.Constant(value=base) ** exponent
    with pytest.raises(tm.ScheduleError, match=f"has no real power {exponent:g}. Clip it from below"):
        tree(count)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"reference": 0}, "reference: must be above 0, got 0"),
        ({"rule": "squared"}, "rule: must be one of linear, sqrt, got 'squared'"),
        ({"to": "large"}, "to: "),
    ],
)
def test_a_wrong_coupling_is_refused(change, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.coupled(**{"schedule": LINE, "to": SIZE, **change})
