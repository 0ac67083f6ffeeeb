"""The landing task's reward, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from tempomat_rl.envs.reward import decision_reward, descent, nearness
from tempomat_rl.envs.stages import Stage


def reward(stage=None, **changed):
    """Of one drone 4 m away, sinking at a quarter of a metre per second, the pad in view 60 degrees off the axis."""
    case = {
        "distance_N": 4.0, "vertical_speed_N": -0.25, "visible_N": True, "angle_N": math.pi / 3,
        "command_change_N": 0.0, "landed_N": False, "crashed_N": False,
    } | changed  # fmt: skip
    arrays = {name: np.array([value]) for name, value in case.items()}
    return decision_reward(stage or Stage(), **arrays)[0]


HALF = (math.sqrt(30) - 1) / 29
"""both parts at half their reach"""


def test_nearness_by_hand():
    by_hand = [1, (30**0.75 - 1) / 29, HALF, 0, 0]
    np.testing.assert_allclose(nearness(np.array([0, 2, 4, 8, 100.0])), by_hand, rtol=1e-12)


def test_descent_by_hand():
    speeds = np.array([-0.501, -0.5, -0.25, -1e-9, 0, 1e-9, 1])
    np.testing.assert_allclose(descent(speeds), [-0.01, 1, HALF, 2.3456e-10, 0, -0.1, -0.1], rtol=1e-4)


def test_a_visible_pad_pays_for_shaping_and_view():
    assert reward() == pytest.approx(0.56 * HALF + HALF + 0.1 * 0.5**5, rel=1e-12)


def test_without_the_visibility_reward_the_view_pays_nothing():
    assert reward(Stage(visibility_reward=False)) == pytest.approx(1.56 * HALF, rel=1e-12)


@pytest.mark.parametrize("on", [True, False])
def test_a_pad_out_of_view_costs_whether_or_not_the_visibility_reward_is_on(on):
    assert reward(Stage(visibility_reward=on, not_visible=-0.01), visible_N=False) == -0.01


@pytest.mark.parametrize("visible", [True, False])
def test_a_landing_pays_140_and_the_shaping_in_view_or_not(visible):
    assert reward(landed_N=True, visible_N=visible) == pytest.approx(140 + 1.56 * HALF, rel=1e-12)


@pytest.mark.parametrize("visible", [True, False])
def test_a_crash_costs_1(visible):
    assert reward(crashed_N=True, visible_N=visible) == -1


def test_a_pad_behind_the_camera_pays_nothing_for_its_view():
    assert reward(angle_N=2.0) == pytest.approx(1.56 * HALF, rel=1e-12)


@pytest.mark.parametrize("case", [{}, {"visible_N": False}, {"landed_N": True}, {"crashed_N": True}])
def test_a_change_of_command_is_paid_for_in_every_case(case):
    stage = Stage(smoothness=0.5)
    assert reward(stage, command_change_N=0.25, **case) == pytest.approx(reward(stage, **case) - 0.125, rel=1e-12)


def test_hovering_over_the_pad_pays_56_hundredths():
    stage = Stage(visibility_reward=False)
    assert reward(stage, distance_N=0.0, vertical_speed_N=0.0) == pytest.approx(0.56, rel=1e-12)
