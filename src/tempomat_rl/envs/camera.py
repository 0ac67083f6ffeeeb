"""The drone's gimballed camera: what it sees, as a picture and as numbers about the pad.

N drones, K objects of clutter, H x W pixels. The world is right-handed with z up and the ground at z = 0, in metres; a
body has x forward, y left, z up; a quaternion is (w, x, y, z) and turns body vectors into world vectors.

The gimbal sits on the body and turns with it. At zero it looks straight down and the picture's upper edge is forward.
The mount is first turned left by `gimbal_yaw` about the body's z, and the camera then tipped forward by `gimbal_pitch`
about the mount's y, so that

    gimbal = Rz(yaw) Ry(-pitch),   camera = attitude gimbal,   axis = -camera z,   up = camera x,   right = -camera y.

A positive pitch therefore looks ahead (at 90 degrees at the horizon), and a positive yaw to the left of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import PlanError, shown
from tempomat_rl.envs import painting, textures
from tempomat_rl.envs.geometry import find_pads

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIELD_OF_VIEW = 85.7
"""Degrees, across the picture as well as down it."""
PAD_HALF = 0.3375
"""Half of the pad's side, in metres."""
VISIBLE_SHARE = 0.0014
"""The pad counts as visible from this share of its square on."""
VISIBLE_MARGIN = 2.0
"""Degrees at each edge of the picture that do not count for it."""
MOST_CLUTTER = 25
CLUTTER_COLUMNS = ("x", "y", "heading", "half_length", "half_width", "height", "shade", "round")
"""One object: its centre, heading, half sizes, height (0: a flat patch), shade from 0 to 255, and 1 if it is round."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that can be seen around N drones at one instant. Arrays are read, never changed or kept."""

    position_N3: Floats
    """The drones, and their cameras with them."""
    attitude_N4: Floats
    """Unit quaternions (w, x, y, z), body to world."""
    gimbal_pitch_N: Floats
    """Radians; forward is positive."""
    gimbal_yaw_N: Floats
    """Radians; left is positive."""
    pad_position_N3: Floats
    """The centre of each pad's upper side."""
    pad_heading_N: Floats
    """Radians from world x to world y: where the vehicle under the pad drives."""
    texture_N: Ints
    """Whatever number, of which the look of ground, vehicle and light is made."""
    clutter_NKC: Floats
    """Objects on the ground, with `CLUTTER_COLUMNS`."""
    clutter_count_N: Ints
    """How many rows of the clutter there are; the others are ignored."""

    def __len__(self) -> int:
        return len(self.position_N3)


class Keypoints(NamedTuple):
    """Where N cameras see the pad. Of a pad that is not visible, the first three are 0."""

    centre_x_N: Floats
    """The pad's centre in the picture, from -1 at the left edge to 1 at the right one, held there if it is outside."""
    centre_y_N: Floats
    """The same from -1 at the lower edge to 1 at the upper one."""
    size_N: Floats
    """The root of the share of the picture that the pad covers, from 0 to 1."""
    visible_N: NDArray[np.bool_]
    """Whether `share_N` is at least `VISIBLE_SHARE`."""
    angle_N: Floats
    """Radians between the camera's axis and the line to the pad's centre, visible or not."""
    share_N: Floats
    """How much of the pad's square, by its own area, is inside the view less its margin; 0 from below."""


def gimbal_quaternion(pitch_N: Floats, yaw_N: Floats) -> Floats:
    """The gimbal's rotation, camera to body, as (N, 4) quaternions: Rz(yaw) Ry(-pitch).

    Example:
        >>> gimbal_quaternion(np.array([0.0]), np.array([0.0]))
        array([[ 1.,  0., -0.,  0.]])
    """
    pitch, yaw = np.asarray(pitch_N, np.float64) / 2, np.asarray(yaw_N, np.float64) / 2
    cos_p, sin_p, cos_y, sin_y = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    return np.stack([cos_y * cos_p, sin_y * sin_p, -cos_y * sin_p, sin_y * cos_p], axis=-1)


def keypoints(scene: Scene, fov: float = FIELD_OF_VIEW) -> Keypoints:
    """Where each camera sees its pad, by geometry alone: clutter hides nothing.

    Args:
        scene: N drones.
        fov: Degrees across the picture.
    """
    count = len(scene)
    out = Keypoints(
        centre_x_N=np.zeros(count),
        centre_y_N=np.zeros(count),
        size_N=np.zeros(count),
        visible_N=np.zeros(count, np.bool_),
        angle_N=np.zeros(count),
        share_N=np.zeros(count),
    )
    half = np.radians(fov / 2)
    find_pads(
        *_in_a_row(scene)[:6],
        np.tan(half),
        np.tan(half - np.radians(VISIBLE_MARGIN)),
        PAD_HALF,
        VISIBLE_SHARE,
        *out,
    )
    return out


class Camera:
    """A pinhole camera with square pictures in gray.

    A picture holds the ground with the texture and the light of the scene's `texture_N`, the vehicle with the pad on
    it, the objects around, and the shadows of these; not the drone itself.

    Args:
        size: Pixels along each side of a picture, from 8 to 4096.
        fov: Degrees across a picture, between 10 and 150.
        samples: A pixel is the mean of `samples` x `samples` rays, from 1 to 8. By default 1, and 2 in pictures below
            64 pixels, where a pad at 6 m is smaller than 3 pixels and would flicker.

    Raises:
        PlanError: one of them is outside of its range.

    Example:
        >>> Camera(size=84).fov
        85.7
    """

    def __init__(self, size: int = 84, fov: float = FIELD_OF_VIEW, samples: int | None = None) -> None:
        self.size, self.fov = int(_checked("size", size, 8, 4096)), float(_checked("fov", fov, 10, 150))
        self.samples = int(_checked("samples", samples, 1, 8)) if samples is not None else 1 if size >= 64 else 2
        self._slope = float(np.tan(np.radians(fov / 2)))

    def render(self, scene: Scene) -> NDArray[np.uint8]:
        """(N, H, W) bytes, a new array; the upper row comes first. The same scene gives the same bytes."""
        fine = self.size * self.samples
        out_NHW = np.empty((len(scene), fine, fine), np.uint8)
        painting.render(
            *_in_a_row(scene),
            self._slope,
            PAD_HALF,
            textures.grounds(),
            textures.pad(),
            out_NHW,
        )
        return painting.shrink(out_NHW, self.samples) if self.samples > 1 else out_NHW

    def keypoints(self, scene: Scene) -> Keypoints:
        """`keypoints` with this camera's field of view."""
        return keypoints(scene, self.fov)


def _in_a_row(scene: Scene) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats, Ints, Floats, Ints]:
    """The scene's arrays in the one layout that is compiled for; a column of another array would cost a second one."""
    return (
        np.ascontiguousarray(scene.position_N3, np.float64),
        np.ascontiguousarray(scene.attitude_N4, np.float64),
        np.ascontiguousarray(scene.gimbal_pitch_N, np.float64),
        np.ascontiguousarray(scene.gimbal_yaw_N, np.float64),
        np.ascontiguousarray(scene.pad_position_N3, np.float64),
        np.ascontiguousarray(scene.pad_heading_N, np.float64),
        np.ascontiguousarray(scene.texture_N, np.int64),
        np.ascontiguousarray(scene.clutter_NKC, np.float64),
        np.ascontiguousarray(scene.clutter_count_N, np.int64),
    )


def _checked(name: str, value: float, least: float, most: float) -> float:
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise PlanError(f"Camera: `{name}` must be from {least} to {most}, got {shown(value)}.")
    return value
