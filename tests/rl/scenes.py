"""Scenes to look at, and a pinhole camera written anew: rotation matrices multiplied, rays traced one by one."""

import numpy as np

from tempomat_rl.envs.camera import CLUTTER_COLUMNS, MOST_CLUTTER, Scene

SLOPE = np.tan(np.radians(85.7 / 2))


def scene(count=1, **changed):
    """Level drones at 2 m over pads of .26 m, heading along x, on the same ground, with nothing around."""
    arrays = {
        "position_N3": np.tile([0.0, 0.0, 2.0], (count, 1)),
        "attitude_N4": np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
        "gimbal_pitch_N": np.zeros(count),
        "gimbal_yaw_N": np.zeros(count),
        "pad_position_N3": np.tile([0.0, 0.0, 0.26], (count, 1)),
        "pad_heading_N": np.zeros(count),
        "texture_N": np.full(count, 5),
        "clutter_NKC": np.zeros((count, MOST_CLUTTER, len(CLUTTER_COLUMNS))),
        "clutter_count_N": np.zeros(count, np.int64),
    }
    for name, value in changed.items():
        array = arrays[name]
        arrays[name] = np.broadcast_to(np.asarray(value, array.dtype), array.shape).copy()
    return Scene(**arrays)


def random_scene(count, seed, *, clutter=0, tilt=0.15, turn=0.8):
    """Drones anywhere over their pads, tilted, with their cameras turned; objects of .1 to .6 m around."""
    rng = np.random.default_rng(seed)
    attitude_N4 = np.concatenate([np.ones((count, 1)), rng.normal(size=(count, 3)) * tilt], axis=1)
    clutter_NKC = np.zeros((count, MOST_CLUTTER, len(CLUTTER_COLUMNS)))
    low, high = [-3, -3, -3, 0.1, 0.1, 0.1, 0, 0], [3, 3, 3, 0.6, 0.6, 0.6, 255, 0]
    clutter_NKC[:, :clutter] = rng.uniform(low, high, (count, clutter, len(CLUTTER_COLUMNS)))
    return scene(
        count,
        position_N3=rng.uniform([-0.8, -0.8, 0.7], [0.8, 0.8, 4], (count, 3)),
        attitude_N4=attitude_N4 / np.linalg.norm(attitude_N4, axis=1, keepdims=True),
        gimbal_pitch_N=rng.uniform(-turn, turn, count),
        gimbal_yaw_N=rng.uniform(-1.5, 1.5, count),
        pad_heading_N=rng.uniform(-3, 3, count),
        texture_N=rng.integers(2**31, size=count),
        clutter_NKC=clutter_NKC,
        clutter_count_N=clutter,
    )


def camera_matrix(scene, n):
    """Columns: the camera's x (up in the picture), y (left) and z (backwards) in the world."""
    w, v = scene.attitude_N4[n, 0], scene.attitude_N4[n, 1:]
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    body = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    (cos_p, sin_p), (cos_y, sin_y) = ((np.cos(a[n]), np.sin(a[n])) for a in (scene.gimbal_pitch_N, scene.gimbal_yaw_N))
    yaw = np.array([[cos_y, -sin_y, 0], [sin_y, cos_y, 0], [0, 0, 1]])
    pitch_back = np.array([[cos_p, 0, -sin_p], [0, 1, 0], [sin_p, 0, cos_p]])
    return body @ yaw @ pitch_back


def project(scene, n, point):
    """Where a point is in the picture, each from -1 to 1, right and up; and its depth."""
    up, left, back = camera_matrix(scene, n).T @ (np.asarray(point) - scene.position_N3[n])
    return -left / -back / SLOPE, up / -back / SLOPE, -back


def rays(scene, n, size):
    """The direction (H, W, 3) of every pixel's middle, in the world."""
    middle = (np.arange(size) + 0.5) * 2 / size - 1
    right, up = np.meshgrid(middle, -middle)
    return np.stack([up * SLOPE, -right * SLOPE, -np.ones_like(up)], axis=-1) @ camera_matrix(scene, n).T


def hit_level(scene, n, size, height):
    """Where each pixel's ray meets a level plane (H, W, 3), and whether it does at all."""
    ray = rays(scene, n, size)
    with np.errstate(divide="ignore"):
        reach = (height - scene.position_N3[n, 2]) / ray[..., 2]
    return scene.position_N3[n] + ray * reach[..., None], reach > 0


def hit_box(scene, n, size, box):
    """Which pixels' rays meet an upright box on the ground (x, y, heading, half length, half width, height)."""
    x, y, heading, length, width, height = box[:6]
    turn = np.array([[np.cos(heading), np.sin(heading), 0], [-np.sin(heading), np.cos(heading), 0], [0, 0, 1]])
    eye, ray = turn @ (scene.position_N3[n] - (x, y, 0)), rays(scene, n, size) @ turn.T
    low, high = np.array([-length, -width, 0]), np.array([length, width, height])
    at = np.stack([(low - eye) / ray, (high - eye) / ray])
    enters, leaves = at.min(axis=0).max(axis=-1), at.max(axis=0).min(axis=-1)
    return (enters < leaves) & (leaves > 0)
