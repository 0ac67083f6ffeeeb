"""How an episode begins: where the drone is, how the pad will drive, what lies around."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import Fault, PlanError, list_faults, shown
from tempomat_rl.envs.camera import CLUTTER_COLUMNS, MOST_CLUTTER

HEIGHTS = (0.8, 6.0)
OFFSET_SHARE = 0.1
"""the farthest that a drone begins beside the pad, as a share of its height"""
FASTEST_PAD = 0.5
SINE_AMPLITUDE, SINE_FREQUENCY = 2.0, 0.5
_EPISODE_SECONDS = 18.0
_FIELD = 8.0
"""metres, to each side of where the pad starts, that clutter lies in: a camera 6 m up sees 5.6 m to each side"""
_WAY = 0.9
"""metres, to each side of the pad's course, that stay free: the vehicle's half diagonal and some"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """What episodes begin with. Heights, offsets, headings and speeds are the task's; these are its options.

    Args:
        resting_share: of episodes, whose pad stands still. The others drive at a uniform speed of up to 0.5 m/s.
        sine_share: of the driving ones, whose course also swings 2 m to either side at 0.5 Hz. That is 6.3 m/s across
            the course, faster than the drone, so it is off unless asked for.
        clutter_share: of episodes, that have up to 25 objects on the ground. They are seen and never touched.

    Raises:
        PlanError: a share is no number from 0 to 1; all of them at once.
    """

    resting_share: float = 0.3
    sine_share: float = 0.0
    clutter_share: float = 0.5

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("resting_share", "sine_share", "clutter_share")}
        faults = [
            Fault(name, f"must be a number from 0 to 1, got {shown(share)}")
            for name, share in shares.items()
            if type(share) not in (int, float) or not 0 <= share <= 1
        ]
        if faults:
            raise PlanError(list_faults("spawn", faults), faults)

    def draw(self, rng: np.random.Generator) -> Beginning:
        """One episode's beginning."""
        height = rng.uniform(*HEIGHTS)
        offset, bearing = rng.uniform(0.0, OFFSET_SHARE * height), rng.uniform(-math.pi, math.pi)
        heading, speed = rng.uniform(-math.pi, math.pi), rng.uniform(0.0, FASTEST_PAD)
        moves, swings, cluttered = rng.random(3) >= (self.resting_share, 1 - self.sine_share, 1 - self.clutter_share)
        speed = speed if moves else 0.0
        return Beginning(
            position=(offset * math.cos(bearing), offset * math.sin(bearing), height),
            heading=heading,
            speed=speed,
            amplitude=SINE_AMPLITUDE if moves and swings else 0.0,
            texture=int(rng.integers(2**31)),
            clutter_KC=_scatter(rng, heading, speed * _EPISODE_SECONDS)
            if cluttered
            else np.zeros((0, len(CLUTTER_COLUMNS))),
        )


@final
@dataclass(frozen=True, slots=True)
class Beginning:
    """One episode's beginning. The pad's centre is at the origin and the drone at rest, level, heading along x."""

    position: tuple[float, float, float]
    heading: float
    """the pad's, in radians"""
    speed: float
    amplitude: float
    texture: int
    clutter_KC: NDArray[np.float64]
    """objects, with `camera.CLUTTER_COLUMNS`; none touches the pad's straight course"""


def _scatter(rng: np.random.Generator, heading: float, length: float) -> NDArray[np.float64]:
    """Up to 25 boxes, round things and flat patches; those that would lie in the vehicle's way are left out."""
    count = int(rng.integers(1, MOST_CLUTTER + 1))
    x, y = rng.uniform(-_FIELD, _FIELD, (2, count))
    turned, (half_length, half_width) = rng.uniform(-math.pi, math.pi, count), rng.uniform(0.05, 0.45, (2, count))
    height = np.where(rng.random(count) < 0.3, 0.0, rng.uniform(0.05, 0.6, count))
    shade, is_round = rng.uniform(10.0, 245.0, count), (rng.random(count) < 0.3).astype(float)
    objects_KC = np.stack([x, y, turned, half_length, half_width, height, shade, is_round], axis=1)
    along = np.clip(x * math.cos(heading) + y * math.sin(heading), 0.0, length)
    gap = np.hypot(x - along * math.cos(heading), y - along * math.sin(heading))
    return objects_KC[gap > _WAY + np.hypot(half_length, half_width)]
