"""Policies written by hand, on keypoint frames, and a way to score them."""

import numpy as np

from tempomat_rl.envs import Stage

LOCKED = Stage(
    name="S0", pitch=0.0, yaw=0.0, visibility_reward=False, visibility_weight=0.0, not_visible=0.0, smoothness=0.0,
    gimbal=False,
)  # fmt: skip


def descend(state_NK):
    """Straight down."""
    action_NA = np.zeros((len(state_NK), 5), np.float32)
    action_NA[:, 2] = -1
    return action_NA


def hover(state_NK):
    return np.zeros((len(state_NK), 5), np.float32)


class Steer:
    """Down, and towards the pad as a locked camera shows it: in proportion, and with an integral term."""

    def __init__(self, proportional=1.0, integral=0.02):
        self.proportional, self.integral = proportional, integral
        self.sum_N2 = 0.0

    def __call__(self, state_NK):
        error_N2 = np.stack([state_NK[:, 1], -state_NK[:, 0]], axis=1)  # 0 while the pad is out of view
        self.sum_N2 = self.sum_N2 + self.integral * error_N2
        action_NA = descend(state_NK)
        action_NA[:, :2] = np.clip(self.proportional * error_N2 + self.sum_N2, -1, 1)
        return action_NA


def fly_once(task, pilot):
    """Success and length of one episode in every environment."""
    state_NK = task.reset().state_NK
    over_N, success_N, length_N = np.zeros(task.num_envs, bool), np.zeros(task.num_envs, bool), np.zeros(task.num_envs)
    while not over_N.all():
        step = task.step(pilot(state_NK))
        state_NK = step.frame.state_NK
        success_N |= step.success_N & ~over_N
        length_N += ~over_N
        over_N |= step.terminated_N | step.truncated_N
    return success_N, length_N
