"""Geometry of a pinhole camera, compiled: where it points, what a view cuts off, which pixels a flat polygon covers.

Camera coordinates are right, up and along the axis, in metres. A pixel's ray is axis + u right + v up.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True, error_model="numpy")
def turn_camera(attitude_4: Floats, pitch: float, yaw: float) -> Floats:
    """Right, up and axis of a drone's camera in the world, as the rows of a 3x3 matrix."""
    w, x, y, z = attitude_4[0], attitude_4[1], attitude_4[2], attitude_4[3]
    body = np.empty((3, 3))
    body[0, 0], body[0, 1], body[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    body[1, 0], body[1, 1], body[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    body[2, 0], body[2, 1], body[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    cos_p, sin_p, cos_y, sin_y = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    out = np.empty((3, 3))
    for i in range(3):
        ahead = body[i, 0] * cos_y + body[i, 1] * sin_y
        out[0, i] = body[i, 0] * sin_y - body[i, 1] * cos_y
        out[1, i] = ahead * cos_p + body[i, 2] * sin_p
        out[2, i] = ahead * sin_p - body[i, 2] * cos_p
    return out


@njit(cache=True, error_model="numpy")
def look(camera_33: Floats, eye_3: Floats, x: float, y: float, z: float, out_3: Floats) -> None:
    """Write a world point in camera coordinates."""
    dx, dy, dz = x - eye_3[0], y - eye_3[1], z - eye_3[2]
    for i in range(3):
        out_3[i] = camera_33[i, 0] * dx + camera_33[i, 1] * dy + camera_33[i, 2] * dz


@njit(cache=True, error_model="numpy")
def clip(points_M3: Floats, count: int, slope: float, spare_M3: Floats) -> int:
    """Cut a polygon, in place, by the four planes of a view; returns how many corners are left.

    The planes meet in the camera, so that nothing behind it is left over. Each cut adds one corner at most.
    """
    for side in range(4):
        axis, sign = side // 2, 1.0 - 2.0 * (side % 2)
        kept = 0
        for i in range(count):
            j = (i + 1) % count
            here = slope * points_M3[i, 2] - sign * points_M3[i, axis]
            there = slope * points_M3[j, 2] - sign * points_M3[j, axis]
            if here >= 0:
                _blend(points_M3, i, i, 0.0, spare_M3, kept)
                kept += 1
            if (here >= 0) != (there >= 0):
                _blend(points_M3, i, j, here / (here - there), spare_M3, kept)
                kept += 1
        count = kept
        for i in range(count):
            _blend(spare_M3, i, i, 0.0, points_M3, i)
    return count


@njit(cache=True, error_model="numpy")
def _blend(from_M3: Floats, i: int, j: int, share: float, to_M3: Floats, at: int) -> None:
    """Write the point that is a share of the way from point i to point j. (Whole rows compile ten times as slowly.)"""
    for k in range(3):
        to_M3[at, k] = from_M3[i, k] + (from_M3[j, k] - from_M3[i, k]) * share


@njit(cache=True, error_model="numpy")
def area(points_M3: Floats, count: int) -> float:
    """The area of a flat convex polygon in space."""
    x, y, z = 0.0, 0.0, 0.0
    for i in range(1, count - 1):
        ax, bx = points_M3[i, 0] - points_M3[0, 0], points_M3[i + 1, 0] - points_M3[0, 0]
        ay, by = points_M3[i, 1] - points_M3[0, 1], points_M3[i + 1, 1] - points_M3[0, 1]
        az, bz = points_M3[i, 2] - points_M3[0, 2], points_M3[i + 1, 2] - points_M3[0, 2]
        x, y, z = x + ay * bz - az * by, y + az * bx - ax * bz, z + ax * by - ay * bx
    return np.sqrt(x * x + y * y + z * z) / 2


@njit(cache=True, error_model="numpy")
def edges(
    points_M3: Floats, count: int, slope_x: float, slope_y: float, height: int, width: int, out_M3: Floats
) -> bool:
    """The planes through the camera and each side of a convex polygon, as functions a + b column + c row >= 0 inside.

    They need no clipping: what is behind the camera has the wrong sign at one of them. False if the polygon is seen
    edge-on, and nothing of it can be drawn.
    """
    x, y, z = 0.0, 0.0, 0.0
    for i in range(count):
        p, q = points_M3[i], points_M3[(i + 1) % count]
        x += p[1] * q[2] - p[2] * q[1]
        y += p[2] * q[0] - p[0] * q[2]
        z += p[0] * q[1] - p[1] * q[0]
    # The sum is twice the area's vector; its side of the first corner says which way round the camera sees it.
    turn = x * points_M3[0, 0] + y * points_M3[0, 1] + z * points_M3[0, 2]
    if turn == 0:
        return False
    sign = 1.0 if turn > 0 else -1.0
    step_u, step_v = 2 * slope_x / width, -2 * slope_y / height
    for i in range(count):
        p, q = points_M3[i], points_M3[(i + 1) % count]
        a = sign * (p[1] * q[2] - p[2] * q[1])
        b = sign * (p[2] * q[0] - p[0] * q[2])
        c = sign * (p[0] * q[1] - p[1] * q[0])
        out_M3[i, 1], out_M3[i, 2] = a * step_u, b * step_v
        out_M3[i, 0] = c + a * (0.5 * step_u - slope_x) + b * (0.5 * step_v + slope_y)
    return True


@njit(cache=True, error_model="numpy")
def rows(points_M3: Floats, count: int, slope_y: float, height: int) -> tuple[int, int]:
    """The first row that a polygon may cover, and the one after its last: all rows if it reaches behind the camera."""
    low, high = height, 0
    for i in range(count):
        depth = points_M3[i, 2]
        if depth < 1e-6:
            return 0, height
        row = (1 - points_M3[i, 1] / (depth * slope_y)) * height / 2
        low, high = min(low, int(max(row, 0.0))), max(high, int(min(max(row, 0.0), height - 1.0)) + 1)
    return low, high


@njit(cache=True, error_model="numpy")
def columns(edges_M3: Floats, count: int, row: int, width: int) -> tuple[int, int]:
    """The pixels of a row whose centres a polygon covers: the first, and the one after the last."""
    low, high = 0.0, width - 1.0
    for i in range(count):
        base, step = edges_M3[i, 0] + edges_M3[i, 2] * row, edges_M3[i, 1]
        if step > 0:
            low = max(low, -base / step)
        elif step < 0:
            high = min(high, -base / step)
        elif base < 0:
            return 0, 0
    first = int(np.ceil(low))
    return (first, int(np.floor(high)) + 1) if low <= high else (0, 0)


@njit(cache=True, error_model="numpy")
def sweep(corners_M2: Floats, count: int, x: float, y: float, out_M2: Floats) -> int:
    """The convex outline of a convex polygon (corners to the left) and its copy moved by (x, y): a box's shadow."""
    kept = 0
    for i in range(count):
        before, here, after = corners_M2[(i - 1) % count], corners_M2[i], corners_M2[(i + 1) % count]
        came = (here[1] - before[1]) * x - (here[0] - before[0]) * y > 0
        goes = (after[1] - here[1]) * x - (after[0] - here[0]) * y > 0
        if came:
            out_M2[kept, 0], out_M2[kept, 1] = here[0] + x, here[1] + y
            kept += 1
        if not came or not goes:
            out_M2[kept, 0], out_M2[kept, 1] = here[0], here[1]
            kept += 1
        if not came and goes:
            out_M2[kept, 0], out_M2[kept, 1] = here[0] + x, here[1] + y
            kept += 1
    return kept


@njit(cache=True, error_model="numpy")
def find_pads(
    position_N3: Floats,
    attitude_N4: Floats,
    pitch_N: Floats,
    yaw_N: Floats,
    pad_N3: Floats,
    heading_N: Floats,
    slope: float,
    inner: float,
    half: float,
    least: float,
    x_N: Floats,
    y_N: Floats,
    size_N: Floats,
    visible_N: NDArray[np.bool_],
    angle_N: Floats,
    share_N: Floats,
) -> None:
    """Fill the last six, which are zeros: what `Keypoints` says of them."""
    square, polygon, spare, centre = np.empty((12, 3)), np.empty((12, 3)), np.empty((12, 3)), np.empty(3)
    for n in range(position_N3.shape[0]):
        camera, eye, at = turn_camera(attitude_N4[n], pitch_N[n], yaw_N[n]), position_N3[n], pad_N3[n]
        look(camera, eye, at[0], at[1], at[2], centre)
        distance = np.sqrt(centre[0] ** 2 + centre[1] ** 2 + centre[2] ** 2)
        angle_N[n] = np.arccos(min(1.0, max(-1.0, centre[2] / distance))) if distance > 0 else 0.0
        if eye[2] <= at[2]:
            continue
        cos, sin = np.cos(heading_N[n]) * half, np.sin(heading_N[n]) * half
        for i in range(4):
            ahead, left = (1.0 if i < 2 else -1.0), (1.0 if 0 < i < 3 else -1.0)
            look(camera, eye, at[0] + ahead * cos - left * sin, at[1] + ahead * sin + left * cos, at[2], square[i])
        for i in range(4):
            _blend(square, i, i, 0.0, polygon, i)
        corners = clip(polygon, 4, inner, spare)
        share_N[n] = area(polygon, corners) / (4 * half**2)
        visible_N[n] = share_N[n] >= least
        if not visible_N[n]:
            continue
        corners = clip(square, 4, slope, spare)
        for i in range(corners):
            depth = square[i, 2] * slope  # over which the picture is 2 x 2
            square[i, 0], square[i, 1], square[i, 2] = square[i, 0] / depth, square[i, 1] / depth, 1.0
        size_N[n] = np.sqrt(min(1.0, area(square, corners) / 4))
        # A centre beside or behind the camera is held at the edge that it lies beyond.
        depth = max(centre[2] * slope, 1e-9)
        x_N[n], y_N[n] = min(1.0, max(-1.0, centre[0] / depth)), min(1.0, max(-1.0, centre[1] / depth))
