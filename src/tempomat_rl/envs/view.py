"""The landing task seen from beside: for people to watch, without a display or a graphics card.

The drone is drawn `DRONE_SCALE` times as large as it is, since a real one of 9 cm would be a dot; everything else, the
shadows too, is where it is and as large as it is. The lit ground is what the drone's camera sees of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import MissingExtra
from tempomat_rl.envs.camera import FIELD_OF_VIEW, PAD_HALF, Camera, Scene, keypoints
from tempomat_rl.envs.canvas import Canvas, Colour, rectangle
from tempomat_rl.envs.geometry import Floats, sweep, turn_camera
from tempomat_rl.envs.painting import PLATE, appearance
from tempomat_rl.envs.textures import pad_picture

DRONE_SCALE = 3.5
SIZE = (960, 540)
_ARM = 0.0325
"""Metres from a Crazyflie's middle to a rotor, along each axis."""
_ROTOR = 0.023
_WHEEL_X, _WHEEL_Y, _WHEEL_WIDTH, _WHEEL_RADIUS = 0.22, 0.27, 0.045, 0.095
"""Metres from the vehicle's middle to a wheel's, half a wheel's width, and its radius."""
_UP: Colour = (255, 190, 60)
"""The upper edge of the camera's picture, in the world and in the corner."""
_SHADOW: Colour = (12, 14, 24)
_THINGS: tuple[Colour, ...] = (
    (196, 120, 62),
    (64, 112, 170),
    (188, 64, 52),
    (222, 178, 66),
    (92, 138, 84),
    (150, 146, 140),
    (120, 84, 140),
    (214, 206, 192),
)


def draw(
    scene: Scene,
    env_index: int = 0,
    *,
    size: tuple[int, int] = SIZE,
    title: str = "",
    lines: Sequence[str] = (),
    picture: NDArray[np.uint8] | None = None,
    trail: Trail | None = None,
) -> NDArray[np.uint8]:
    """One drone of a scene from the side, with its camera's picture in a corner: (height, width, 3) bytes.

    Args:
        scene: What there is to see.
        env_index: Which of its N drones.
        size: Width and height in pixels, at least 160 x 90.
        title: A line in large letters.
        lines: More lines under it.
        picture: The camera's picture (H, W) as the agent gets it; otherwise one is rendered.
        trail: Where drone and pad have been; it takes this scene in.

    Raises:
        IndexError: there is no such drone.
        MissingExtra: Pillow is not installed.
    """
    one = _single(scene, env_index)
    if trail is not None:
        trail.append(one)
    canvas = _place_eye(one, *size)
    look_8 = appearance(int(one.texture_N[0]))
    beam_33 = turn_camera(one.attitude_N4[0], float(one.gimbal_pitch_N[0]), float(one.gimbal_yaw_N[0]))
    slope = float(np.tan(np.radians(FIELD_OF_VIEW / 2)))
    canvas.ground(look_8, beam_33, one.position_N3[0], slope)
    if trail is not None:
        _draw_tracks(canvas, trail)
    _draw_shadows(canvas, one, look_8)
    ends = _find_beam(one, beam_33, slope)
    _draw_footprint(canvas, ends)
    _draw_things(canvas, one, look_8)
    _draw_beam(canvas, one, ends)
    if trail is not None:
        _draw_path(canvas, trail)
    _draw_plumb_line(canvas, one)
    _draw_drone(canvas, one, beam_33)
    seen = Camera().render(one)[0] if picture is None else picture
    return _write_on(canvas.finished(), one, title, lines, seen)


class Trail:
    """Where drone and pad of one environment have been in this episode."""

    def __init__(self, most: int = 400) -> None:
        self.most = most
        self.drone: list[Floats] = []
        self.pad: list[tuple[float, float, float]] = []
        self._texture: int | None = None

    def append(self, scene: Scene) -> None:
        """Take in the first drone of a scene. Another texture is another episode, which begins anew."""
        if self._texture != (texture := int(scene.texture_N[0])):
            self.drone.clear()
            self.pad.clear()
        self._texture = texture
        self.drone.append(scene.position_N3[0].copy())
        x, y, _ = scene.pad_position_N3[0]
        self.pad.append((float(x), float(y), float(scene.pad_heading_N[0])))
        del self.drone[: -self.most], self.pad[: -self.most]


def _single(scene: Scene, index: int) -> Scene:
    if not -len(scene) <= index < len(scene):
        raise IndexError(f"view.draw: `env_index` must be below {len(scene)}, got {index}.")
    one = slice(index % len(scene), index % len(scene) + 1)
    return Scene(*(getattr(scene, name)[one] for name in Scene.__slots__))


def _place_eye(scene: Scene, width: int, height: int) -> Canvas:
    """Beside the middle between drone and pad, far enough to show both."""
    drone, pad = scene.position_N3[0], scene.pad_position_N3[0]
    apart = float(np.linalg.norm(drone - pad))
    target = pad * 0.5 + drone * 0.5 + (0, 0, 0.05)
    # One side for an episode: neighbouring ones look from elsewhere.
    azimuth = float(appearance(int(scene.texture_N[0]))[1]) * 3
    tilt = np.radians(17)
    away = 1.5 + 1.75 * apart
    eye = target + away * np.array([np.cos(azimuth) * np.cos(tilt), np.sin(azimuth) * np.cos(tilt), np.sin(tilt)])
    return Canvas(width, height, eye, target, 60)


def _draw_tracks(canvas: Canvas, trail: Trail) -> None:
    """What the wheels leave on the ground, from the rear axle backwards."""
    for side in (-_WHEEL_Y, _WHEEL_Y):
        left, right = (
            [(*(np.array([x, y]) + _turned(turn, -_WHEEL_X, side + edge)), 0.0) for x, y, turn in trail.pad]
            for edge in (_WHEEL_WIDTH, -_WHEEL_WIDTH)
        )
        for k in range(len(left) - 1):
            canvas.polygon([left[k], right[k], right[k + 1], left[k + 1]], (30, 26, 22), 0.3)


def _turned(heading: float, ahead: float, left: float) -> Floats:
    """A vehicle's own coordinates in the world, (2,), relative to its middle."""
    cos, sin = np.cos(heading), np.sin(heading)
    return np.array([ahead * cos - left * sin, ahead * sin + left * cos])


def _bodies(scene: Scene) -> list[tuple[Floats, float, float, Colour]]:
    """The clutter: base, lower and upper end, colour."""
    out = []
    for k in range(int(scene.clutter_count_N[0])):
        x, y, heading, length, width, height, shade, is_round = scene.clutter_NKC[0, k]
        red, green, blue = _THINGS[int(shade * 7919) % len(_THINGS)]
        bright = 0.55 + 0.6 * shade / 255
        colour = (int(min(255, red * bright)), int(min(255, green * bright)), int(min(255, blue * bright)))
        out.append((rectangle(x, y, heading, length, width, is_round > 0.5), 0.0, float(height), colour))
    return out


def _draw_shadows(canvas: Canvas, scene: Scene, look_8: Floats) -> None:
    sun, pad, drone = look_8[4:6], scene.pad_position_N3[0], scene.position_N3[0]
    casting = [(base, top) for base, _, top, _ in _bodies(scene) if top > 0]
    casting.append((rectangle(pad[0], pad[1], float(scene.pad_heading_N[0]), PAD_HALF, PAD_HALF), float(pad[2])))
    for base, top in casting:
        out = np.empty((20, 2))
        count = sweep(base, len(base), sun[0] * top, sun[1] * top, out)
        canvas.polygon(np.column_stack([out[:count], np.zeros(count)]), _SHADOW, 0.45)
    _draw_drone_shadow(canvas, drone, sun, 0.0)


def _draw_drone_shadow(canvas: Canvas, drone: Floats, sun: Floats, level: float) -> None:
    spot = np.array([*(drone[:2] + sun * (drone[2] - level)), level])
    for i in range(4):
        along = np.array([1.0 if i < 2 else -1.0, 1.0 if i % 2 else -1.0, 0.0]) * _ARM * DRONE_SCALE
        reach = _ROTOR * DRONE_SCALE
        canvas.disc(spot + along, ((reach, 0, 0), (0, reach, 0)), _SHADOW, 0.35)
    reach = 0.02 * DRONE_SCALE
    canvas.disc(spot, ((reach, 0, 0), (0, reach, 0)), _SHADOW, 0.4)


def _draw_things(canvas: Canvas, scene: Scene, look_8: Floats) -> None:
    bodies = _bodies(scene)
    pad = scene.pad_position_N3[0]
    far = [float(np.linalg.norm(base.mean(axis=0) - canvas.eye_3[:2])) for base, *_ in bodies]
    order = sorted(range(len(bodies)), key=lambda k: -far[k])
    here, flat = float(np.linalg.norm(pad[:2] - canvas.eye_3[:2])), [k for k in order if bodies[k][2] == 0]
    behind = [k for k in order if bodies[k][2] > 0 and far[k] > here]
    before = [k for k in order if bodies[k][2] > 0 and far[k] <= here]
    for k in flat + behind:
        canvas.box(*bodies[k], look_8[4:6])
    _draw_vehicle(canvas, scene, look_8[4:6])
    for k in before:
        canvas.box(*bodies[k], look_8[4:6])


def _draw_vehicle(canvas: Canvas, scene: Scene, sun: Floats) -> None:
    (x, y, top), turn = scene.pad_position_N3[0], float(scene.pad_heading_N[0])
    ahead, left = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    middle = np.array([x, y])
    # From the far side to the near one.
    toward = canvas.eye_3[:2] - middle
    near_left, near_ahead = (1.0 if toward @ way > 0 else -1.0 for way in (left, ahead))
    wheels = [(along * near_ahead, across * near_left) for across in (-1, 1) for along in (-1, 1)]
    for along, across in wheels[:2]:
        _draw_wheel(canvas, middle + along * _WHEEL_X * ahead + across * _WHEEL_Y * left, ahead, left, near_left)
    canvas.box(rectangle(x, y, turn, 0.36, 0.21), 0.3 * top, 0.8 * top, (44, 82, 128), sun)
    lamps, lit = middle + 0.362 * near_ahead * ahead, (250, 236, 170) if near_ahead > 0 else (214, 48, 40)
    canvas.box(rectangle(lamps[0], lamps[1], turn, 0.004, 0.16), 0.5 * top, 0.66 * top, lit, sun)
    for along, across in wheels[2:]:
        _draw_wheel(canvas, middle + along * _WHEEL_X * ahead + across * _WHEEL_Y * left, ahead, left, near_left)
    canvas.box(rectangle(x, y, turn, 0.2, 0.16), 0.8 * top, top - PLATE, (60, 62, 68), sun)
    canvas.box(rectangle(x, y, turn, PAD_HALF, PAD_HALF), float(top) - PLATE, float(top), (196, 198, 200), sun)
    base = [(-ahead - left), (-ahead + left), (ahead + left), (ahead - left)]
    corners = np.array([(*(middle + PAD_HALF * corner), top) for corner in base])
    canvas.picture(corners, _pad_bytes())
    # The drone's shadow falls on the pad, if at all, only where both of its halves do.
    drone = scene.position_N3[0]
    spot = drone[:2] + sun * (drone[2] - top) - middle
    if max(abs(spot @ ahead), abs(spot @ left)) < PAD_HALF - 1.8 * _ARM * DRONE_SCALE:
        _draw_drone_shadow(canvas, drone, sun, float(top))


@lru_cache(maxsize=1)
def _pad_bytes() -> NDArray[np.uint8]:
    return np.rint(pad_picture(128)).astype(np.uint8)


def _draw_wheel(canvas: Canvas, middle_2: Floats, ahead_2: Floats, left_2: Floats, near: float) -> None:
    """The tread's facing parts, then the side that is seen, then its hub."""
    turn = np.arange(16) * (2 * np.pi / 16)
    rim = np.stack([np.cos(turn), np.sin(turn)], axis=1) * _WHEEL_RADIUS
    around = np.column_stack([rim[:, :1] * ahead_2, rim[:, 1] + _WHEEL_RADIUS])
    inner, outer = (around + np.append(middle_2 + side * _WHEEL_WIDTH * left_2, 0.0) for side in (-near, near))
    for k in range(16):
        out = np.cos(turn[k] + np.pi / 16) * ahead_2, np.sin(turn[k] + np.pi / 16)
        if (canvas.eye_3[:2] - inner[k, :2]) @ out[0] + (canvas.eye_3[2] - inner[k, 2]) * out[1] > 0:
            m = (k + 1) % 16
            canvas.polygon([inner[k], inner[m], outer[m], outer[k]], (44, 44, 48) if k % 2 else (28, 28, 32))
    canvas.polygon(outer, (36, 36, 40))
    hub = outer.mean(axis=0)
    canvas.polygon(hub + (outer - hub) * 0.55, (150, 154, 160))
    canvas.polygon(hub + (outer - hub) * 0.25, (60, 62, 68))


def _find_beam(scene: Scene, beam_33: Floats, slope: float) -> list[Floats]:
    """Where the edges of the camera's view end: on the pad, on the ground, or after 8 m."""
    eye, pad, turn = scene.position_N3[0], scene.pad_position_N3[0], float(scene.pad_heading_N[0])
    ends = []
    for across, up in ((-1, 1), (1, 1), (1, -1), (-1, -1)):
        ray = beam_33[2] + slope * (across * beam_33[0] + up * beam_33[1])
        ray = ray / np.linalg.norm(ray)
        end = eye + ray * min(8.0, eye[2] / -ray[2] if ray[2] < -1e-6 else 8.0)
        if ray[2] < -1e-6 and eye[2] > pad[2]:
            on_pad = eye + ray * ((eye[2] - pad[2]) / -ray[2])
            if np.abs(_turned(-turn, *(on_pad - pad)[:2])).max() <= PAD_HALF:
                end = on_pad
        ends.append(end)
    return ends


def _draw_footprint(canvas: Canvas, ends: list[Floats]) -> None:
    """The outline on the ground; the edge that is up in the picture tells how it is turned."""
    for here, there in zip(ends, [*ends[1:], ends[0]], strict=True):
        canvas.line(here, there, (200, 240, 255), 1.6, 0.7)
    canvas.line(ends[0], ends[1], _UP, 2.4, 0.9)


def _draw_beam(canvas: Canvas, scene: Scene, ends: list[Floats]) -> None:
    eye = scene.position_N3[0]
    for here, there in zip(ends, [*ends[1:], ends[0]], strict=True):
        canvas.polygon([eye, here, there], (150, 225, 255), 0.04)
    for i, end in enumerate(ends):
        canvas.line(eye, end, _UP if i < 2 else (200, 240, 255), 1.2, 0.5)


def _draw_path(canvas: Canvas, trail: Trail) -> None:
    points = trail.drone
    for i, (start, end) in enumerate(pairwise(points)):
        canvas.line(start, end, (255, 120, 60), 2.2, 0.15 + 0.75 * (i + 1) / len(points))


def _draw_plumb_line(canvas: Canvas, scene: Scene) -> None:
    """From the drone straight down, dashed, so that one sees where it is over the ground."""
    drone, pad = scene.position_N3[0], scene.pad_position_N3[0]
    beside = np.abs(_turned(-float(scene.pad_heading_N[0]), *(drone - pad)[:2])).max()
    level = float(pad[2]) if beside <= PAD_HALF else 0.0
    for low in np.arange(level, drone[2], 0.12):
        high = min(low + 0.06, drone[2])
        canvas.line((*drone[:2], low), (*drone[:2], high), (255, 255, 255), 1.4, 0.5)


def _draw_drone(canvas: Canvas, scene: Scene, beam_33: Floats) -> None:
    """Arms, body, camera and rotors; the origin is its lowest point, so that it stands on the pad at its real size."""
    level = turn_camera(scene.attitude_N4[0], 0.0, 0.0)
    ahead, left, up = level[1], -level[0], -level[2]
    middle = scene.position_N3[0] + up * 0.012 * DRONE_SCALE
    lens = middle - up * 0.008 * DRONE_SCALE
    canvas.ball(lens, 0.008 * DRONE_SCALE, (28, 30, 36))
    canvas.disc(lens + beam_33[2] * 0.008 * DRONE_SCALE, beam_33[:2] * 0.005 * DRONE_SCALE, (120, 200, 255), 0.9)
    rotors = [middle + (a * ahead + b * left) * _ARM * DRONE_SCALE for a in (-1, 1) for b in (-1, 1)]
    rotors.sort(key=lambda rotor: -float(np.linalg.norm(rotor - canvas.eye_3)))
    wide = 0.011 * DRONE_SCALE / float(np.linalg.norm(middle - canvas.eye_3)) / canvas.slopes[0] * canvas.width / 2
    for rotor in rotors:
        canvas.line(middle, rotor, (40, 44, 52), max(1.5, wide))
    canvas.ball(middle + up * 0.004 * DRONE_SCALE, 0.015 * DRONE_SCALE, (232, 84, 40))
    for rotor in rotors:
        hub, reach = rotor + up * 0.01 * DRONE_SCALE, _ROTOR * DRONE_SCALE
        front = (rotor - middle) @ ahead > 0
        canvas.line(rotor, hub, (40, 44, 52), max(1.2, wide * 0.7))
        canvas.disc(hub, (ahead * reach, left * reach), (246, 120, 70) if front else (236, 240, 246), 0.45)
        canvas.disc(hub, (ahead * reach * 0.2, left * reach * 0.2), (30, 32, 38), 0.9)


def _write_on(
    image_HW3: NDArray[np.uint8], scene: Scene, title: str, lines: Sequence[str], picture_HW: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The camera's picture with a mark on the pad, and the words."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingExtra("A view needs Pillow. Install it: pip install 'tempomat[rl]'") from error
    image = Image.fromarray(image_HW3)
    pen = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    unit = height / 540
    side, gap = round(190 * unit), round(16 * unit)
    left, top = width - side - gap, height - side - gap
    frame = [left - 3 * unit, top - 26 * unit, left + side + 2 * unit, top + side + 2 * unit]
    pen.rounded_rectangle(frame, 4 * unit, fill=(14, 18, 26, 230))
    resampled = Image.fromarray(picture_HW).resize((side, side), Image.Resampling.NEAREST)
    image.paste(resampled, (left, top))
    pen.line([left, top, left + side - 1, top], _UP, max(1, round(3 * unit)))
    found = keypoints(scene)
    colour = (90, 230, 130, 255) if found.visible_N[0] else (240, 80, 70, 255)
    if found.visible_N[0]:
        x = left + (1 + found.centre_x_N[0]) * side / 2
        y = top + (1 - found.centre_y_N[0]) * side / 2
        reach = max(7 * unit, found.size_N[0] * side * 0.72)
        box = [
            max(x - reach, left),
            max(y - reach, top),
            min(x + reach, left + side - 1),
            min(y + reach, top + side - 1),
        ]
        pen.rectangle(box, outline=colour, width=max(1, round(1.5 * unit)))
    small = ImageFont.load_default(round(15 * unit))
    label = "pad in view" if found.visible_N[0] else "pad not in view"
    pen.text((left + 6 * unit, top - 22 * unit), label, fill=colour, font=small)
    _write_words(pen, title, lines, unit, gap)
    return np.asarray(image)


def _write_words(pen, title: str, lines: Sequence[str], unit: float, gap: int) -> None:  # noqa: ANN001
    from PIL import ImageFont

    words = [(title, 22)] * bool(title) + [(line, 16) for line in lines]
    if not words:
        return
    fonts = [ImageFont.load_default(round(points * unit)) for _, points in words]
    wide = max(font.getlength(text) for (text, _), font in zip(words, fonts, strict=True))
    tall = sum(points * 1.35 for _, points in words) * unit
    pen.rounded_rectangle([gap, gap, gap * 2.2 + wide, gap * 1.9 + tall], 6 * unit, fill=(14, 18, 26, 170))
    y = gap * 1.35
    for (text, points), font in zip(words, fonts, strict=True):
        pen.text((gap * 1.6, y), text, fill=(255, 255, 255, 255) if points > 16 else (214, 222, 232, 255), font=font)
        y += points * 1.35 * unit
