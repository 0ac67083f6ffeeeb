"""A coloured picture of a flat world, painted from far to near; what `view` draws with.

H x W pixels, M corners. Everything is painted twice as large as it is handed out, so that edges are smooth.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from tempomat_rl.envs import textures
from tempomat_rl.envs.geometry import Floats, columns, edges, look, rows
from tempomat_rl.envs.painting import Bytes, outline, shrink
from tempomat_rl.envs.textures import LEVELS, SIDE, TEXEL

Colour = tuple[int, int, int]

FINE = 2
SKY_HIGH, SKY_LOW = (88, 146, 212), (208, 222, 230)
TINTS: tuple[tuple[Colour, Colour], ...] = (
    ((62, 58, 52), (196, 190, 178)),
    ((60, 42, 30), (182, 146, 110)),
    ((82, 74, 74), (214, 204, 194)),
    ((70, 46, 28), (198, 154, 106)),
    ((52, 66, 36), (176, 172, 112)),
    ((26, 56, 22), (138, 178, 84)),
    ((74, 77, 82), (204, 206, 208)),
    ((50, 58, 78), (184, 190, 204)),
)
"""Dark and light of each kind of ground, in the order of `textures.grounds`."""


class Canvas:
    """What an eye at `eye_3` sees that looks at `target_3` with its head upright; `fov` in degrees across."""

    def __init__(self, width: int, height: int, eye_3: ArrayLike, target_3: ArrayLike, fov: float) -> None:
        self.width, self.height = width, height
        self.eye_3 = np.asarray(eye_3, np.float64)
        axis = np.asarray(target_3, np.float64) - self.eye_3
        axis /= np.linalg.norm(axis)
        right = np.cross(axis, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        self.camera_33 = np.stack([right, np.cross(right, axis), axis])
        slope = float(np.tan(np.radians(fov / 2)))
        self.slopes = slope, slope * height / width
        self.image_HW3: Bytes = np.empty((height * FINE, width * FINE, 3), np.uint8)
        self._planes_M3 = np.empty((40, 3))

    def ground(self, look_8: Floats, beam_33: Floats, beam_eye_3: Floats, beam_slope: float) -> None:
        """Ground and sky; what lies in another camera's view is lit up."""
        index = int(look_8[0])
        dark, light = (np.array(tint) for tint in TINTS[index % len(TINTS)])
        palette = np.clip(dark + np.arange(-40, 216)[:, None] / 160 * (light - dark), 0, 255)
        _paint_ground(
            self.image_HW3,
            self.camera_33,
            self.eye_3,
            self.slopes,
            look_8,
            textures.grounds()[index],
            palette,
            (beam_33, beam_eye_3, beam_slope),
            (np.array(SKY_HIGH, np.float64), np.array(SKY_LOW, np.float64)),
        )

    def polygon(self, points_M3: ArrayLike, colour: Colour, opacity: float = 1.0) -> None:
        """A flat convex polygon of at most 40 corners."""
        self._fill((np.asarray(points_M3, np.float64) - self.eye_3) @ self.camera_33.T, colour, opacity)

    def line(self, start_3: ArrayLike, end_3: ArrayLike, colour: Colour, width: float, opacity: float = 1.0) -> None:
        """A straight line, `width` pixels wide at any distance."""
        ends_23 = (np.array([start_3, end_3], np.float64) - self.eye_3) @ self.camera_33.T
        across = np.cross(ends_23[0], ends_23[1])[:2]
        if (ends_23[:, 2] < 0.05).any() or not across.any():
            return
        across = across / np.hypot(*across) * (width * self.slopes[0] / self.width)
        side_23 = ends_23[:, 2:] * np.array([*across, 0.0])
        self._fill(np.concatenate([ends_23 - side_23, (ends_23 + side_23)[::-1]]), colour, opacity)

    def disc(self, centre_3: ArrayLike, plane_23: ArrayLike, colour: Colour, opacity: float = 1.0) -> None:
        """A disc, or what two vectors from its centre make of one."""
        turn = np.arange(24) * (2 * np.pi / 24)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        self.polygon(np.asarray(centre_3) + ring @ np.asarray(plane_23), colour, opacity)

    def ball(self, centre_3: ArrayLike, radius: float, colour: Colour) -> None:
        """A ball with a light spot."""
        right, up = self.camera_33[:2] * radius
        self.disc(centre_3, (right, up), colour)
        self.disc(np.asarray(centre_3) - 0.3 * right + 0.35 * up, (right * 0.35, up * 0.35), (255, 255, 255), 0.35)

    def box(self, base_M2: Floats, low: float, high: float, colour: Colour, sun_2: Floats) -> None:
        """Upright walls over a base whose corners go to the left, and a lid."""
        for p, q in zip(base_M2, np.roll(base_M2, -1, axis=0), strict=True):
            out = np.array([q[1] - p[1], p[0] - q[0]])
            if high > low and (self.eye_3[:2] - p) @ out > 0:
                lit = 0.62 - 0.22 * float(out @ sun_2) / float(np.hypot(*out) * np.hypot(*sun_2))
                wall = [(*p, low), (*q, low), (*q, high), (*p, high)]
                self.polygon(wall, shaded(colour, lit))
        if self.eye_3[2] > high:
            self.polygon(np.column_stack([base_M2, np.full(len(base_M2), high)]), colour)

    def picture(self, corners_43: Floats, picture_SS: Bytes) -> None:
        """A gray picture on a square: its rows go from the first corner to the last one, its columns to the second."""
        points = (corners_43 - self.eye_3) @ self.camera_33.T
        _fill_picture(self.image_HW3, points, *self.slopes, picture_SS, self._planes_M3)

    def finished(self) -> Bytes:
        """(H, W, 3) bytes."""
        return np.stack([shrink(self.image_HW3[None, ..., i], FINE)[0] for i in range(3)], axis=-1)

    def _fill(self, points_M3: Floats, colour: Colour, opacity: float) -> None:
        _fill(self.image_HW3, points_M3, np.array(colour, np.float64), opacity, *self.slopes, self._planes_M3)


def shaded(colour: Colour, light: float) -> Colour:
    """A colour times a brightness."""
    red, green, blue = (int(min(255, max(0, part * light))) for part in colour)
    return red, green, blue


def rectangle(x: float, y: float, heading: float, length: float, width: float, is_round: bool = False) -> Floats:
    """The corners (M, 2), to the left, of a rectangle or an octagon; half sizes."""
    out_82 = np.empty((8, 2))
    return out_82[: outline(x, y, heading, length, width, is_round, out_82)]


@njit(cache=True, error_model="numpy")
def _fill(
    image_HW3: Bytes,
    points_M3: Floats,
    colour_3: Floats,
    opacity: float,
    slope_x: float,
    slope_y: float,
    planes_M3: Floats,
) -> None:
    height, width = image_HW3.shape[:2]
    count = points_M3.shape[0]
    first, end = rows(points_M3, count, slope_y, height)
    if first >= end or not edges(points_M3, count, slope_x, slope_y, height, width, planes_M3):
        return
    for i in range(first, end):
        left, right = columns(planes_M3, count, i, width)
        for j in range(left, right):
            for k in range(3):
                under = image_HW3[i, j, k]
                image_HW3[i, j, k] = np.uint8(under + (colour_3[k] - under) * opacity + 0.5)


@njit(cache=True, error_model="numpy")
def _fill_picture(
    image_HW3: Bytes, points_43: Floats, slope_x: float, slope_y: float, picture_SS: Bytes, planes_M3: Floats
) -> None:
    height, width = image_HW3.shape[:2]
    first, end = rows(points_43, 4, slope_y, height)
    if first >= end or not edges(points_43, 4, slope_x, slope_y, height, width, planes_M3):
        return
    size = picture_SS.shape[0]
    origin, down, across = points_43[0], points_43[3] - points_43[0], points_43[1] - points_43[0]
    normal = np.cross(down, across)
    height_over = normal @ origin
    for i in range(first, end):
        left, right = columns(planes_M3, 4, i, width)
        for j in range(left, right):
            ray = np.array(((2 * (j + 0.5) / width - 1) * slope_x, (1 - 2 * (i + 0.5) / height) * slope_y, 1.0))
            at = ray * (height_over / (normal @ ray)) - origin
            row = min(size - 1, max(0, int(at @ down / (down @ down) * size)))
            column = min(size - 1, max(0, int(at @ across / (across @ across) * size)))
            for k in range(3):
                image_HW3[i, j, k] = picture_SS[row, column]


@njit(cache=True, error_model="numpy")
def _paint_ground(
    image_HW3: Bytes,
    camera_33: Floats,
    eye_3: Floats,
    slopes: tuple[float, float],
    look_8: Floats,
    ground_T: Bytes,
    palette_P3: Floats,
    beam: tuple[Floats, Floats, float],
    sky: tuple[Floats, Floats],
) -> None:
    height, width = image_HW3.shape[:2]
    cos, sin = np.cos(look_8[1]) / TEXEL, np.sin(look_8[1]) / TEXEL
    beam_33, beam_eye, beam_slope = beam
    seen, high, low = np.empty(3), sky[0], sky[1]
    for i in range(height):
        v = (1 - (2 * i + 1) / height) * slopes[1]
        fall = -(camera_33[2, 2] + v * camera_33[1, 2])  # the eye's head is upright: one for the row
        if fall <= 1e-3:
            share = min(1.0, max(0.0, -fall * 3))
            for j in range(width):
                for k in range(3):
                    image_HW3[i, j, k] = np.uint8(low[k] + (high[k] - low[k]) * share)
            continue
        reach = eye_3[2] / fall
        haze = min(1.0, max(0.0, (reach - 8) / 60)) ** 0.7
        texels = reach * np.sqrt(reach / max(eye_3[2], 0.1)) * 2 * slopes[0] / width / TEXEL
        level = min(LEVELS - 1, max(0, int(np.log2(max(texels, 1e-9)) + 0.5)))
        size, start = SIDE >> level, (SIDE * SIDE - (SIDE >> level) ** 2) // 3 * 4
        for j in range(width):
            u = ((2 * j + 1) / width - 1) * slopes[0]
            x = eye_3[0] + (camera_33[2, 0] + v * camera_33[1, 0] + u * camera_33[0, 0]) * reach
            y = eye_3[1] + (camera_33[2, 1] + v * camera_33[1, 1] + u * camera_33[0, 1]) * reach
            at_x = (x * cos - y * sin + look_8[2]) / (1 << level) - 0.5
            at_y = (x * sin + y * cos + look_8[3]) / (1 << level) - 0.5
            gray = _between(ground_T, start, size, at_x, at_y)
            look(beam_33, beam_eye, x, y, 0.0, seen)
            lit = seen[2] > 0 and max(abs(seen[0]), abs(seen[1])) <= beam_slope * seen[2]
            below = min(254, int(gray))
            for k in range(3):
                value = palette_P3[below, k] + (palette_P3[below + 1, k] - palette_P3[below, k]) * (gray - below)
                value += (low[k] - value) * haze
                if lit:
                    value += ((150.0, 225.0, 255.0)[k] - value) * 0.16
                image_HW3[i, j, k] = np.uint8(value)


@njit(cache=True, error_model="numpy")
def _between(ground_T: Bytes, start: int, size: int, x: float, y: float) -> float:
    """The mean of the four texels around a point, by nearness."""
    column, row = int(np.floor(x)), int(np.floor(y))
    right, down, mask = x - column, y - row, size - 1
    a, b = start + (row & mask) * size, start + ((row + 1) & mask) * size
    c, d = column & mask, (column + 1) & mask
    upper = ground_T[a + c] * (1 - right) + ground_T[a + d] * right
    return upper * (1 - down) + (ground_T[b + c] * (1 - right) + ground_T[b + d] * right) * down
