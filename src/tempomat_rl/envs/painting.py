"""Pictures of what many drones see, compiled; `camera` has the words for it.

A picture is painted from far to near: ground, shadows, then every object with its upper side last.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tempomat_rl.envs.geometry import columns, edges, look, rows, sweep, turn_camera
from tempomat_rl.envs.textures import GROUNDS, LEVELS, PAD_LEVELS, PAD_SIDE, SIDE, TEXEL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

HAZE_FROM, HAZE_TO = 12.0, 45.0
"""Metres of ground distance between which the ground fades into the sky."""
PLATE = 0.03
"""Metres from the pad's upper side to its lower one."""


@njit(cache=True, error_model="numpy")
def render(
    position_N3: Floats,
    attitude_N4: Floats,
    pitch_N: Floats,
    yaw_N: Floats,
    pad_N3: Floats,
    heading_N: Floats,
    texture_N: Ints,
    clutter_NKC: Floats,
    count_N: Ints,
    slope: float,
    half: float,
    grounds_GT: Bytes,
    pattern_T: Bytes,
    out_NHW: Bytes,
) -> None:
    """Fill the pictures."""
    for n in range(position_N3.shape[0]):
        camera, eye = turn_camera(attitude_N4[n], pitch_N[n], yaw_N[n]), position_N3[n]
        look_8 = appearance(texture_N[n])
        _paint_ground(out_NHW[n], camera, eye, look_8, grounds_GT[int(look_8[0])], slope)
        objects_KC, at, heading = clutter_NKC[n, : count_N[n]], pad_N3[n], heading_N[n]
        _paint_objects(out_NHW[n], camera, eye, look_8, objects_KC, at, heading, slope, half, pattern_T)


@njit(cache=True, error_model="numpy")
def shrink(fine_NHW: Bytes, samples: int) -> Bytes:
    """Means of squares of `samples` x `samples` pixels."""
    count, height, width = fine_NHW.shape[0], fine_NHW.shape[1] // samples, fine_NHW.shape[2] // samples
    out_NHW = np.empty((count, height, width), np.uint8)
    whole = samples * samples
    for n in range(count):
        for i in range(height):
            for j in range(width):
                total = whole // 2
                for k in range(samples):
                    for m in range(samples):
                        total += fine_NHW[n, i * samples + k, j * samples + m]
                out_NHW[n, i, j] = total // whole
    return out_NHW


@njit(cache=True, error_model="numpy")
def appearance(seed: int) -> Floats:
    """What a number looks like: which ground, its turn, its offset in x and y (texels), the shadow of a metre's height
    in x and y (m), the vehicle's shade, the sky's shade.
    """
    out, state = np.empty(8), np.uint64(seed)
    for i in range(8):  # Vigna's splitmix64: neighbouring numbers look nothing alike
        state += np.uint64(0x9E3779B97F4A7C15)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[i] = float((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2.0**53
    length, angle = 0.25 + 0.75 * out[4], 2 * np.pi * out[5]
    out[0] = np.floor(out[0] * GROUNDS)
    out[1] *= 2 * np.pi
    out[2] *= SIDE
    out[3] *= SIDE
    out[4], out[5] = length * np.cos(angle), length * np.sin(angle)
    out[6], out[7] = 30 + 50 * out[6], 150 + 80 * out[7]
    return out


@njit(cache=True, error_model="numpy")
def _paint_ground(
    image_HW: Bytes, camera_33: Floats, eye_3: Floats, look_8: Floats, ground_T: Bytes, slope: float
) -> None:
    """Texel of a ray = offset + turn (eye + ray height / -ray z): the parts are linear in the pixel, and one division
    is left. Rows far away read smaller copies of the ground, so that it does not flicker.
    """
    height, width = image_HW.shape
    cos, sin = np.cos(look_8[1]) / TEXEL, np.sin(look_8[1]) / TEXEL
    base_x = eye_3[0] * cos - eye_3[1] * sin + look_8[2]
    base_y = eye_3[0] * sin + eye_3[1] * cos + look_8[3]
    base_x, base_y = base_x - SIDE * np.floor(base_x / SIDE), base_y - SIDE * np.floor(base_y / SIDE)
    up = max(eye_3[2], 1e-3)
    texel_W = np.empty(width, np.int32)
    step_u = 2 * slope / width
    step_x = (camera_33[0, 0] * cos - camera_33[0, 1] * sin) * step_u * up
    step_y = (camera_33[0, 0] * sin + camera_33[0, 1] * cos) * step_u * up
    step_w = -camera_33[0, 2] * step_u
    for i in range(height):
        v, u = slope * (1 - (2 * i + 1) / height), step_u / 2 - slope
        ray_x = camera_33[2, 0] + v * camera_33[1, 0] + u * camera_33[0, 0]
        ray_y = camera_33[2, 1] + v * camera_33[1, 1] + u * camera_33[0, 1]
        w = -(camera_33[2, 2] + v * camera_33[1, 2] + u * camera_33[0, 2])
        last = w + step_w * (width - 1)
        middle = (w + last) / 2
        sharp = up * step_u / TEXEL / max(middle, 1e-3)
        level = min(LEVELS - 1, max(0, int(np.log2(sharp * np.sqrt(1 / max(middle, 1e-3))) + 0.5)))
        size, start = SIDE >> level, (SIDE * SIDE - (SIDE >> level) ** 2) // 3 * 4
        x, y = (ray_x * cos - ray_y * sin) * up, (ray_x * sin + ray_y * cos) * up
        scale = 1.0 / (1 << level)
        # x / w + base, at this level: the base is moved into the numerator.
        _find_texels(
            texel_W,
            np.float32((x + base_x * w) * scale),
            np.float32((step_x + base_x * step_w) * scale),
            np.float32((y + base_y * w) * scale),
            np.float32((step_y + base_y * step_w) * scale),
            np.float32(w),
            np.float32(step_w),
            np.int32(size - 1),
            np.int32(8 - level),
            np.int32(start),
        )
        row_W = image_HW[i]
        for j in range(width):
            row_W[j] = ground_T[texel_W[j]]
        if min(w, last) < up / HAZE_FROM:
            _paint_haze(row_W, w, step_w, up, look_8[7])


@njit(cache=True, error_model="numpy", fastmath=True)
def _find_texels(
    out_W: NDArray[np.int32],
    x: np.float32,
    step_x: np.float32,
    y: np.float32,
    step_y: np.float32,
    w: np.float32,
    step_w: np.float32,
    mask: np.int32,
    bits: np.int32,
    start: np.int32,
) -> None:
    """In float32 and without a branch, so that a row is worked off in vectors."""
    # 2**15 texels keep everything positive that is not haze: conversion then rounds down.
    far, least = np.float32(32768.0), np.float32(1e-3)
    for j in range(out_W.shape[0]):
        at = np.float32(j)
        inverse = np.float32(1.0) / max(w + step_w * at, least)
        column = np.int32((x + step_x * at) * inverse + far) & mask
        row = np.int32((y + step_y * at) * inverse + far) & mask
        out_W[j] = start + (row << bits) + column


@njit(cache=True, error_model="numpy")
def _paint_haze(row_W: Bytes, w: float, step_w: float, up: float, sky: float) -> None:
    for j in range(row_W.shape[0]):
        here = w + step_w * j
        share = 1.0 if here * HAZE_TO <= up else min(1.0, max(0.0, (up / here - HAZE_FROM) / (HAZE_TO - HAZE_FROM)))
        lighter = sky + 25 * min(1.0, max(0.0, -here * 1.5))
        row_W[j] = np.uint8(row_W[j] + (lighter - row_W[j]) * share)


@njit(cache=True, error_model="numpy")
def outline(x: float, y: float, heading: float, length: float, width: float, is_round: bool, out_M2: Floats) -> int:
    """The corners, to the left, of a rectangle or of an octagon in its place, given half sizes."""
    cos, sin = np.cos(heading), np.sin(heading)
    count = 8 if is_round else 4
    for i in range(count):
        turn = (2 * i + 1) * np.pi / count
        reach = 1.0 if is_round else np.sqrt(2.0)
        ahead, left = length * reach * np.cos(turn), width * reach * np.sin(turn)
        out_M2[i, 0], out_M2[i, 1] = x + ahead * cos - left * sin, y + ahead * sin + left * cos
    return count


@njit(cache=True, error_model="numpy")
def _paint_objects(
    image_HW: Bytes,
    camera_33: Floats,
    eye_3: Floats,
    look_8: Floats,
    clutter_KC: Floats,
    pad_3: Floats,
    heading: float,
    slope: float,
    half: float,
    pattern_T: Bytes,
) -> None:
    seen, count = np.empty(3), clutter_KC.shape[0]
    order, far, shown = np.empty(count + 1, np.int64), np.empty(count + 1), 0
    for k in range(count + 1):
        x, y = (pad_3[0], pad_3[1]) if k == count else (clutter_KC[k, 0], clutter_KC[k, 1])
        top = pad_3[2] if k == count else clutter_KC[k, 5]
        wide = 2 * half if k == count else clutter_KC[k, 3] + clutter_KC[k, 4]
        look(camera_33, eye_3, x, y, top / 2, seen)
        # Its shadow is at most a metre long per metre of height.
        if slope * seen[2] - max(abs(seen[0]), abs(seen[1])) < -(wide + 1.5 * top) * np.sqrt(1 + slope**2):
            continue
        distance = (x - eye_3[0]) ** 2 + (y - eye_3[1]) ** 2
        if distance > HAZE_TO**2 / 2:
            continue
        place = shown
        while place > 0 and far[place - 1] < distance:
            far[place], order[place] = far[place - 1], order[place - 1]
            place -= 1
        far[place], order[place] = distance, k
        shown += 1
    corners, shadow, points, planes = np.empty((8, 2)), np.empty((10, 2)), np.empty((10, 3)), np.empty((10, 3))
    for i in range(shown):
        k = order[i]
        if k == count:
            sides = outline(pad_3[0], pad_3[1], heading, half, half, False, corners)
            top = pad_3[2]
        else:
            c = clutter_KC[k]
            sides = outline(c[0], c[1], c[2], c[3], c[4], c[7] > 0.5, corners)
            top = c[5]
        if top > 0:
            sides = sweep(corners, sides, look_8[4] * top, look_8[5] * top, shadow)
            _paint_flat(image_HW, camera_33, eye_3, shadow, sides, 0.0, -1.0, slope, points, planes)
    for i in range(shown):
        k = order[i]
        if k == count:
            _paint_vehicle(image_HW, camera_33, eye_3, look_8, pad_3, heading, slope, half, pattern_T)
        else:
            c = clutter_KC[k]
            sides = outline(c[0], c[1], c[2], c[3], c[4], c[7] > 0.5, corners)
            _paint_box(image_HW, camera_33, eye_3, look_8, corners, sides, 0.0, c[5], c[6], slope, points, planes)


@njit(cache=True, error_model="numpy")
def _paint_box(
    image_HW: Bytes,
    camera_33: Floats,
    eye_3: Floats,
    look_8: Floats,
    corners_M2: Floats,
    count: int,
    low: float,
    high: float,
    shade: float,
    slope: float,
    points_M3: Floats,
    planes_M3: Floats,
) -> None:
    """The sides that face the camera, darker than the top the more they turn away from the light; then the top."""
    for i in range(count if high > low else 0):
        p, q = corners_M2[i], corners_M2[(i + 1) % count]
        out_x, out_y = q[1] - p[1], p[0] - q[0]
        if (eye_3[0] - p[0]) * out_x + (eye_3[1] - p[1]) * out_y <= 0:
            continue
        look(camera_33, eye_3, p[0], p[1], low, points_M3[0])
        look(camera_33, eye_3, q[0], q[1], low, points_M3[1])
        look(camera_33, eye_3, q[0], q[1], high, points_M3[2])
        look(camera_33, eye_3, p[0], p[1], high, points_M3[3])
        lit = -(out_x * look_8[4] + out_y * look_8[5]) / np.sqrt(
            (out_x**2 + out_y**2) * (look_8[4] ** 2 + look_8[5] ** 2)
        )
        _fill(image_HW, points_M3, 4, shade * (0.6 + 0.25 * lit), slope, planes_M3)
    if eye_3[2] > high:
        _paint_flat(image_HW, camera_33, eye_3, corners_M2, count, high, shade, slope, points_M3, planes_M3)


@njit(cache=True, error_model="numpy")
def _paint_vehicle(
    image_HW: Bytes,
    camera_33: Floats,
    eye_3: Floats,
    look_8: Floats,
    pad_3: Floats,
    heading: float,
    slope: float,
    half: float,
    pattern_T: Bytes,
) -> None:
    """Four wheels, a chassis that is longer than the pad, and the pad's plate, from below upwards."""
    corners, points, planes = np.empty((8, 2)), np.empty((10, 3)), np.empty((10, 3))
    cos, sin, top, shade = np.cos(heading), np.sin(heading), pad_3[2], look_8[6]
    for i in range(4):
        ahead, left = (0.72 if i < 2 else -0.72) * half, (0.85 if i % 2 else -0.85) * half
        x, y = pad_3[0] + ahead * cos - left * sin, pad_3[1] + ahead * sin + left * cos
        sides = outline(x, y, heading, 0.28 * half, 0.13 * half, False, corners)
        _paint_box(image_HW, camera_33, eye_3, look_8, corners, sides, 0.0, 0.65 * top, 18.0, slope, points, planes)
    sides = outline(pad_3[0], pad_3[1], heading, 1.15 * half, 0.68 * half, False, corners)
    low, high = 0.25 * top, top - PLATE
    _paint_box(image_HW, camera_33, eye_3, look_8, corners, sides, low, high, shade, slope, points, planes)
    sides = outline(pad_3[0], pad_3[1], heading, half, half, False, corners)
    _paint_box(image_HW, camera_33, eye_3, look_8, corners, sides, high, top, 150.0, slope, points, planes)
    if eye_3[2] <= top:
        return
    for i in range(4):
        look(camera_33, eye_3, corners[i, 0], corners[i, 1], top, points[i])
    _paint_pattern(image_HW, camera_33, eye_3, pad_3, cos / half, sin / half, points, slope, half, pattern_T, planes)


@njit(cache=True, error_model="numpy")
def _paint_flat(
    image_HW: Bytes,
    camera_33: Floats,
    eye_3: Floats,
    corners_M2: Floats,
    count: int,
    z: float,
    shade: float,
    slope: float,
    points_M3: Floats,
    planes_M3: Floats,
) -> None:
    """A level polygon."""
    for i in range(count):
        look(camera_33, eye_3, corners_M2[i, 0], corners_M2[i, 1], z, points_M3[i])
    _fill(image_HW, points_M3, count, shade, slope, planes_M3)


@njit(cache=True, error_model="numpy")
def _fill(image_HW: Bytes, points_M3: Floats, count: int, shade: float, slope: float, planes_M3: Floats) -> None:
    """A polygon in one shade; below 0 it is a shadow, which keeps half of what lies under it."""
    height, width = image_HW.shape
    first, end = rows(points_M3, count, slope, height)
    if first >= end or not edges(points_M3, count, slope, slope, height, width, planes_M3):
        return
    value = np.uint8(min(255.0, max(0.0, shade)))
    for i in range(first, end):
        left, right = columns(planes_M3, count, i, width)
        if shade < 0:
            for j in range(left, right):
                image_HW[i, j] = image_HW[i, j] >> 1
        else:
            for j in range(left, right):
                image_HW[i, j] = value


@njit(cache=True, error_model="numpy")
def _paint_pattern(
    image_HW: Bytes,
    camera_33: Floats,
    eye_3: Floats,
    pad_3: Floats,
    cos: float,
    sin: float,
    points_M3: Floats,
    slope: float,
    half: float,
    pattern_T: Bytes,
    planes_M3: Floats,
) -> None:
    """The pad's pattern, from the copy whose texels are about as large as a pixel."""
    height, width = image_HW.shape
    first, end = rows(points_M3, 4, slope, height)
    if first >= end or not edges(points_M3, 4, slope, slope, height, width, planes_M3):
        return
    up, step = eye_3[2] - pad_3[2], 2 * slope / width
    depth = (points_M3[0, 2] + points_M3[2, 2]) / 2
    texels = max(depth, 1e-3) * step * PAD_SIDE / (2 * half)
    level = min(PAD_LEVELS - 1, max(0, int(np.log2(texels) + 0.5)))
    size, start = PAD_SIDE >> level, (PAD_SIDE * PAD_SIDE - (PAD_SIDE >> level) ** 2) // 3 * 4
    for i in range(first, end):
        left, right = columns(planes_M3, 4, i, width)
        v = slope * (1 - (2 * i + 1) / height)
        for j in range(left, right):
            u = (j + 0.5) * step - slope
            reach = up / -(camera_33[2, 2] + v * camera_33[1, 2] + u * camera_33[0, 2])
            x = eye_3[0] - pad_3[0] + (camera_33[2, 0] + v * camera_33[1, 0] + u * camera_33[0, 0]) * reach
            y = eye_3[1] - pad_3[1] + (camera_33[2, 1] + v * camera_33[1, 1] + u * camera_33[0, 1]) * reach
            ahead = min(size - 1, max(0, int((x * cos + y * sin + 1) * size / 2)))
            across = min(size - 1, max(0, int((y * cos - x * sin + 1) * size / 2)))
            image_HW[i, j] = pattern_T[start + ahead * size + across]
