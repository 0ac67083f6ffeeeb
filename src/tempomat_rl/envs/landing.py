"""The landing task: N drones, each to land on a driving pad that its gimballed camera must keep in view.

Shapes: N environments, K state numbers, A = 5 actions. SI units and radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import StateError, shown
from tempomat_rl.envs.camera import (
    CLUTTER_COLUMNS,
    MOST_CLUTTER,
    Camera,
    Keypoints,
    Scene,
    gimbal_quaternion,
    keypoints,
)
from tempomat_rl.envs.dynamics import CRASHED, LANDED, PAD_HEIGHT, Drones, Pads, fly
from tempomat_rl.envs.reward import decision_reward
from tempomat_rl.envs.spawn import SINE_FREQUENCY, Spawn
from tempomat_rl.envs.stages import Stage
from tempomat_rl.frames import Frame, FrameSpec, Step

TIMEOUT = 108
"""decisions, at 6 Hz: 18 s"""
SPEED_LIMITS = np.array([1.4167, 1.4167, 0.5])
GIMBAL_RANGE = np.array([math.radians(47.0), math.radians(90.0)])
"""pitch and yaw that a full command turns to, either way"""
DEAD_ZONE = 0.005
_KEEP = 0.85
"""of the velocity that there is, in the velocity that is aimed at"""
_STATE = 11
_KEYPOINTS = 4


@final
class LandingTask:
    """N landing environments as arrays; `frames.Task`.

    An action is in [-1, 1]^5: velocity along x, y and z, as shares of the limits 1.4167, 1.4167 and 0.5 m/s, and the
    gimbal's pitch and yaw, as shares of 47 and 90 degrees, times the stage's. The velocity aimed at is 0.15 of the
    commanded one and 0.85 of the present one; commands below 0.005 are none. The gimbal is where it is told at once.

    A frame's state is velocity over limit (3), attitude (4) and gimbal (4) as quaternions (w, x, y, z). With keypoints
    in place of images it begins with four more: the pad's centre in the picture, x to the right and y up in [-1, 1]
    (0 while unseen), the root of the share of the picture that the pad covers, and 1 while it is visible.

    The k-th episode of environment i depends on the seed, i and k alone, not on how long other episodes were.

    Args:
        num_envs: N.
        seed: of all episodes.
        stage: of the curriculum; `set_stage` changes it.
        observation: "image" for a camera's picture of `image_size` x `image_size` gray pixels, or "keypoint".
        spawn: what episodes begin with.

    Attributes:
        return_N: the rewards of the running episode summed up, unscaled. Kept until the next one begins.
        length_N: its decisions so far.
    """

    action_size = 5
    action_repeat = 1

    def __init__(
        self,
        num_envs: int,
        seed: int,
        *,
        stage: Stage | None = None,
        observation: Literal["image", "keypoint"] = "image",
        image_size: int = 84,
        spawn: Spawn | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        if observation not in ("image", "keypoint"):
            raise ValueError(f"observation must be image or keypoint, got {shown(observation)}")
        self.num_envs, self.seed = int(num_envs), int(seed)
        self.stage, self.spawn = stage or Stage(), spawn or Spawn()
        self._camera = Camera(size=image_size) if observation == "image" else None
        image = (1, image_size, image_size) if self._camera else None
        self.spec = FrameSpec(image, _STATE if self._camera else _STATE + _KEYPOINTS)
        self._allocate()

    def _allocate(self) -> None:
        num = self.num_envs
        self._drones, self._pads = Drones.at_rest(num), Pads.resting(num)
        self._time_N = np.zeros(num)
        self._command_N2 = np.zeros((num, 2))
        self._outcome_N = np.zeros(num, np.int64)
        self._over_N = np.zeros(num, bool)
        self._episode_N = np.full(num, -1)
        self._texture_N = np.zeros(num, np.int64)
        self._clutter_NKC = np.zeros((num, MOST_CLUTTER, len(CLUTTER_COLUMNS)))
        self._clutter_count_N = np.zeros(num, np.int64)
        self.return_N, self.length_N = np.zeros(num), np.zeros(num, np.int64)

    def set_stage(self, stage: Stage) -> None:
        """From the next step on, in running episodes too, commands and rewards are this stage's."""
        self.stage = stage

    def reset(self) -> Frame:
        """Begin an episode in every environment."""
        self._over_N[:] = False
        self._begin(np.ones(self.num_envs, bool))
        return self._look()[0]

    def step(self, action_NA: NDArray[np.float32]) -> Step:
        """One decision, 1/6 s, in every environment; `frames.Step` says what happens after an episode's end.

        Raises:
            ValueError: the actions are not (N, 5), or one is no number, or there was no `reset`.
        """
        wanted_NA = self._checked(action_NA)
        first_N, going_N = self._over_N.copy(), ~self._over_N
        command_N2 = wanted_NA[:, 3:] * self.stage.mask
        change_N = ((command_N2 - self._command_N2) ** 2).sum(axis=1)
        self._command_N2[going_N] = command_N2[going_N]
        self._fly(wanted_NA[:, :3], going_N)
        self.length_N += going_N
        landed_N, crashed_N = self._outcome_N == LANDED, self._outcome_N == CRASHED
        terminated_N = landed_N | crashed_N
        truncated_N = going_N & ~terminated_N & (self.length_N >= TIMEOUT)
        self._over_N = terminated_N | truncated_N
        if first_N.any():
            self._begin(first_N)
        frame, seen = self._look()
        reward_N = decision_reward(
            self.stage,
            distance_N=self.distance_N,
            vertical_speed_N=self._drones.velocity_N3[:, 2],
            visible_N=seen.visible_N,
            angle_N=seen.angle_N,
            command_change_N=change_N,
            landed_N=landed_N,
            crashed_N=crashed_N,
        )
        reward_N[first_N] = 0.0
        self.return_N += reward_N
        return Step(frame, reward_N, terminated_N, truncated_N, first_N, landed_N)

    @property
    def scene(self) -> Scene:
        """What there is to see, as of the last step. Its arrays are the task's own, and change with the next one."""
        return self._scene

    @property
    def distance_N(self) -> NDArray[np.float64]:
        """From drone to pad, horizontally."""
        gap_N2 = self._drones.position_N3[:, :2] - self._scene.pad_position_N3[:, :2]
        return np.sqrt((gap_N2**2).sum(axis=1))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on but the settings: stage, spawn and observation are the caller's."""
        return {"num_envs": self.num_envs, "seed": self.seed} | {name: a.copy() for name, a in self._arrays().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the same numbers.

        Raises:
            StateError: of another number of environments or another seed, or not a state of this task.
        """
        arrays = self._arrays()
        needed = {"num_envs", "seed", *arrays}
        if set(state) != needed:
            wrong = ", ".join(sorted(needed ^ set(state)))
            raise StateError(f"not a state of this landing task: keys missing or unknown: {wrong}")
        for name in ("num_envs", "seed"):
            if state[name] != getattr(self, name):
                raise StateError(f"the state is of {name} {state[name]}, this task has {getattr(self, name)}")
        given = {name: np.asarray(state[name]) for name in arrays}
        for name, array in arrays.items():
            if given[name].shape != array.shape or given[name].dtype != array.dtype:
                got = f"{given[name].dtype} {given[name].shape}"
                raise StateError(f"{name} of a landing task's state is {array.dtype} {array.shape}, got {got}")
        for name, array in arrays.items():
            array[...] = given[name]
        self._look_around()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """All that changes, by name."""
        drones, pads = self._drones, self._pads
        return {
            "position": drones.position_N3,
            "velocity": drones.velocity_N3,
            "attitude": drones.attitude_N4,
            "rate": drones.rate_N3,
            "pad_heading": pads.heading_N,
            "pad_speed": pads.speed_N,
            "pad_amplitude": pads.amplitude_N,
            "pad_frequency": pads.frequency_N,
            "time": self._time_N,
            "command": self._command_N2,
            "over": self._over_N,
            "episode": self._episode_N,
            "texture": self._texture_N,
            "clutter": self._clutter_NKC,
            "clutter_count": self._clutter_count_N,
            "return": self.return_N,
            "length": self.length_N,
        }

    def _checked(self, action_NA: NDArray[np.float32]) -> NDArray[np.float64]:
        action = np.asarray(action_NA, np.float64)
        if action.shape != (self.num_envs, self.action_size):
            raise ValueError(f"actions must be {(self.num_envs, self.action_size)}, got {action.shape}")
        if not np.isfinite(action).all():
            raise ValueError("actions must be numbers from -1 to 1, got one that is not finite")
        if self._episode_N[0] < 0:
            raise ValueError("step needs a reset before it")
        return action.clip(-1.0, 1.0)

    def _fly(self, velocity_N3: NDArray[np.float64], going_N: NDArray[np.bool_]) -> None:
        drones, pads = self._drones, self._pads
        wanted_N3 = np.where(np.abs(velocity_N3) < DEAD_ZONE, 0.0, velocity_N3) * SPEED_LIMITS
        fly(
            drones.position_N3, drones.velocity_N3, drones.attitude_N4, drones.rate_N3,
            pads.heading_N, pads.speed_N, pads.amplitude_N, pads.frequency_N,
            self._time_N, (1 - _KEEP) * wanted_N3 + _KEEP * drones.velocity_N3, going_N, self._outcome_N,
        )  # fmt: skip

    def _begin(self, which_N: NDArray[np.bool_]) -> None:
        """Begin the next episode where `which_N` says so."""
        self._episode_N[which_N] += 1
        for changed in (self._drones.velocity_N3, self._drones.rate_N3, self._time_N, self._command_N2, self.return_N):
            changed[which_N] = 0.0
        self._drones.attitude_N4[which_N] = (1.0, 0.0, 0.0, 0.0)
        self.length_N[which_N] = 0
        for n in np.flatnonzero(which_N):
            start = self.spawn.draw(np.random.default_rng((self.seed, int(n), int(self._episode_N[n]))))
            self._drones.position_N3[n] = start.position
            self._pads.heading_N[n], self._pads.speed_N[n] = start.heading, start.speed
            self._pads.amplitude_N[n], self._pads.frequency_N[n] = start.amplitude, SINE_FREQUENCY
            self._texture_N[n], self._clutter_count_N[n] = start.texture, len(start.clutter_KC)
            self._clutter_NKC[n] = 0.0
            self._clutter_NKC[n, : len(start.clutter_KC)] = start.clutter_KC

    def _look_around(self) -> None:
        """Put together the scene as it is now."""
        pad_N3 = np.full((self.num_envs, 3), PAD_HEIGHT)
        pad_N3[:, :2], heading_N = self._pads.at(self._time_N)
        gimbal_N2 = self._command_N2 * GIMBAL_RANGE
        self._scene = Scene(
            position_N3=self._drones.position_N3,
            attitude_N4=self._drones.attitude_N4,
            gimbal_pitch_N=gimbal_N2[:, 0],
            gimbal_yaw_N=gimbal_N2[:, 1],
            pad_position_N3=pad_N3,
            pad_heading_N=heading_N,
            texture_N=self._texture_N,
            clutter_NKC=self._clutter_NKC,
            clutter_count_N=self._clutter_count_N,
        )

    def _look(self) -> tuple[Frame, Keypoints]:
        """The newest frames, and where the pads are in them."""
        self._look_around()
        scene, seen = self._scene, keypoints(self._scene)
        parts = [
            self._drones.velocity_N3 / SPEED_LIMITS,
            scene.attitude_N4,
            gimbal_quaternion(scene.gimbal_pitch_N, scene.gimbal_yaw_N),
        ]
        if self._camera is None:
            where = (seen.centre_x_N, seen.centre_y_N, seen.size_N, seen.visible_N.astype(float))
            parts.insert(0, np.stack(where, axis=1))
        image = self._camera.render(scene)[:, None] if self._camera else None
        return Frame(image, np.concatenate(parts, axis=1, dtype=np.float32)), seen
