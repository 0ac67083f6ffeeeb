"""What a decision of the landing task earns. N drones; metres, metres per second, radians."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.envs.stages import Stage

Array = NDArray[np.float64]

LANDING = 140.0
CRASH = -1.0
SPEED_LIMIT_Z = 0.5
"""the fastest descent that is paid for"""
_BASE, _REACH, _FASTER, _RISING, _NEARNESS = 30.0, 8.0, -0.01, -0.1, 0.56


def nearness(distance_N: Array) -> Array:
    r"""The horizontal part, :math:`(30^{(8 - d) / 8} - 1) / 29`: 1 above the pad, 0 from 8 m on.

    Example:
        >>> nearness(np.array([0.0, 8.0, 9.0]))
        array([1., 0., 0.])
    """
    return (_BASE ** np.clip((_REACH - distance_N) / _REACH, 0.0, 1.0) - 1) / (_BASE - 1)


def descent(vertical_speed_N: Array) -> Array:
    r"""The vertical part, :math:`(30^{-v_z / 0.5} - 1) / 29`: 0 when hovering, 1 at -0.5 m/s; -0.01 when falling faster
    than that and -0.1 when rising.

    Example:
        >>> descent(np.array([-0.6, -0.5, 0.0, 0.1]))
        array([-0.01,  1.  ,  0.  , -0.1 ])
    """
    share = -vertical_speed_N / SPEED_LIMIT_Z
    paid = (_BASE ** np.clip(share, 0.0, 1.0) - 1) / (_BASE - 1)
    return np.where(share > 1.0, _FASTER, np.where(share < 0.0, _RISING, paid))


def decision_reward(
    stage: Stage,
    *,
    distance_N: Array,
    vertical_speed_N: Array,
    visible_N: NDArray[np.bool_],
    angle_N: Array,
    command_change_N: Array,
    landed_N: NDArray[np.bool_],
    crashed_N: NDArray[np.bool_],
) -> Array:
    r"""The reward of one decision, from what is so after it.

    .. math::
        hv = 0.56 \, r_{xy} + r_z, \qquad viz = w \cos^5(\text{angle})

    140 + hv for a landing, -1 for a crash; else hv + viz while the pad is visible, and the stage's `not_visible` while
    it is not, whether or not the visibility reward is on. From each of these the stage's `smoothness` times the
    squared change of the gimbal's command is taken.

    Args:
        stage: its weight, price and not-visible term.
        distance_N: to the pad's centre, horizontally.
        vertical_speed_N: upwards is positive.
        visible_N: whether the camera sees enough of the pad.
        angle_N: between the camera's axis and the line to the pad's centre.
        command_change_N: :math:`|\Delta|^2` of the gimbal's command, in shares of its range.
        landed_N, crashed_N: how the decision ended the episode, if it did.
    """
    shaping = _NEARNESS * nearness(distance_N) + descent(vertical_speed_N)
    seen = shaping + stage.weight * np.maximum(np.cos(angle_N), 0.0) ** 5
    reward = np.where(visible_N, seen, stage.not_visible)
    reward = np.where(landed_N, LANDING + shaping, np.where(crashed_N, CRASH, reward))
    return reward - stage.price * command_change_N
