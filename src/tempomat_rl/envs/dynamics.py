"""Flight of N quadrotors at 240 Hz: a rigid body, four rotors, and the controller that follows a velocity.

Shapes: N drones. World z points up; quaternions are (w, x, y, z), from the body's axes to the world's; velocities are
in the world's axes, body rates in the body's. SI units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.envs.camera import PAD_HALF

if TYPE_CHECKING:
    from collections.abc import Callable

    def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
else:
    from numba import njit as compiled

Array = NDArray[np.float64]

# The Crazyflie 2X as identified by Foerster (2015), ETH Zurich; the thrust-to-weight ratio and limits are the task's.
GRAVITY = 9.8
MASS = 0.027
INERTIA = (1.4e-5, 1.4e-5, 2.17e-5)
ARM = 0.0397
"""metres from the centre to a rotor; the rotors stand in an X"""
DRAG = 7.94e-12 / 3.16e-10
"""a rotor's drag torque per newton of its thrust, in metres"""
MAX_THRUST = 2.25 * MASS * GRAVITY / 4
"""newtons, of one rotor"""
RADIUS = 0.06
HALF_HEIGHT = 0.0125
"""half the height of the drone's hull, a cylinder"""

CONTACT_HEIGHT = 0.2745
"""where the drone's centre is when it stands on the pad; a contact any lower is one with the vehicle or the ground"""
PAD_HEIGHT = CONTACT_HEIGHT - HALF_HEIGHT
"""of the pad's top"""

PHYSICS_RATE = 240
DECISION_RATE = 6
SUBSTEPS = PHYSICS_RATE // DECISION_RATE
TIME_STEP = 1.0 / PHYSICS_RATE

# The rotors turn the body at up to 260 rad/s^2, which 10 degrees at 30 rad/s stay below; the horizontal loop is
# a quarter as fast as the attitude under it, and the vertical one, which needs no tilting, twice as fast as that.
_ATTITUDE_GAIN = 30.0**2
_RATE_GAIN = 2 * 0.9 * 30.0
_YAW_GAIN, _YAW_RATE_GAIN = 25.0, 10.0
_HORIZONTAL_GAIN = 8.0
_VERTICAL_GAIN = 16.0

FLYING, LANDED, CRASHED = 0, 1, 2


@final
@dataclass(frozen=True, slots=True)
class Drones:
    """The state of N drones, changed in place by `fly`."""

    position_N3: Array
    velocity_N3: Array
    attitude_N4: Array
    rate_N3: Array

    @classmethod
    def at_rest(cls, num: int) -> Drones:
        """All at the origin, level, heading along x."""
        attitude = np.zeros((num, 4))
        attitude[:, 0] = 1.0
        return cls(np.zeros((num, 3)), np.zeros((num, 3)), attitude, np.zeros((num, 3)))


@final
@dataclass(frozen=True, slots=True)
class Pads:
    """The courses of N pads: straight on, with a sine across where an amplitude is set. All pads start at the origin.

    .. math::
        p(t) = v t \\, (\\cos h, \\sin h) + a \\sin(2 \\pi f t) \\, (-\\sin h, \\cos h)
    """

    heading_N: Array
    speed_N: Array
    amplitude_N: Array
    frequency_N: Array

    @classmethod
    def resting(cls, num: int) -> Pads:
        """None of them moves."""
        return cls(np.zeros(num), np.zeros(num), np.zeros(num), np.zeros(num))

    def at(self, time_N: Array) -> tuple[Array, Array]:
        """Centres (N, 2) and headings (N,), along the course, after `time_N` seconds."""
        cos, sin = np.cos(self.heading_N), np.sin(self.heading_N)
        phase = 2 * np.pi * self.frequency_N
        along, across = self.speed_N * time_N, self.amplitude_N * np.sin(phase * time_N)
        turn = np.arctan2(self.amplitude_N * phase * np.cos(phase * time_N), self.speed_N)
        centre = np.stack([along * cos - across * sin, along * sin + across * cos], axis=1)
        return centre, self.heading_N + turn


@compiled(cache=True)
def rotor_thrusts(thrust: float, roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Four thrusts, front left, rear left, rear right, front right, that give a total and three torques, each kept
    between 0 and its most. Front left and rear right turn clockwise, so that their drag turns the body to the left.
    """
    lever = ARM / math.sqrt(2.0)
    mean, r, p, y = thrust / 4, roll / (4 * lever), pitch / (4 * lever), yaw / (4 * DRAG)
    return (
        min(max(mean + r - p + y, 0.0), MAX_THRUST),
        min(max(mean + r + p - y, 0.0), MAX_THRUST),
        min(max(mean - r + p + y, 0.0), MAX_THRUST),
        min(max(mean - r - p - y, 0.0), MAX_THRUST),
    )


@compiled(cache=True)
def wrench(
    front_left: float, rear_left: float, rear_right: float, front_right: float
) -> tuple[float, float, float, float]:
    """The total thrust along the body's z and the torques about its axes that four rotor thrusts give."""
    lever = ARM / math.sqrt(2.0)
    return (
        front_left + rear_left + rear_right + front_right,
        lever * (front_left + rear_left - rear_right - front_right),
        lever * (rear_left + rear_right - front_left - front_right),
        DRAG * (front_left + rear_right - rear_left - front_right),
    )


@compiled(cache=True)
def advance(p: Array, v: Array, q: Array, w: Array, thrust: float, roll: float, pitch: float, yaw: float) -> None:
    """One step of a rigid body under a thrust along its z and torques about its axes: semi-implicit Euler, the new
    velocities moving position and attitude, the attitude along the exact rotation. As MuJoCo's Euler integrator does.
    """
    up_x = 2 * (q[1] * q[3] + q[0] * q[2])
    up_y = 2 * (q[2] * q[3] - q[0] * q[1])
    up_z = 1 - 2 * (q[1] * q[1] + q[2] * q[2])
    lift = thrust / MASS
    v[0] += TIME_STEP * lift * up_x
    v[1] += TIME_STEP * lift * up_y
    v[2] += TIME_STEP * (lift * up_z - GRAVITY)
    jx, jy, jz = INERTIA
    wx, wy, wz = w[0], w[1], w[2]
    w[0] += TIME_STEP * (roll - (jz - jy) * wy * wz) / jx
    w[1] += TIME_STEP * (pitch - (jx - jz) * wz * wx) / jy
    w[2] += TIME_STEP * (yaw - (jy - jx) * wx * wy) / jz
    for i in range(3):
        p[i] += TIME_STEP * v[i]
    _rotate(q, w)


@compiled(cache=True)
def _rotate(q: Array, w: Array) -> None:
    """Turn an attitude by a body rate during one time step."""
    rate = math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    if rate == 0.0:
        return
    s = math.sin(rate * TIME_STEP / 2) / rate
    c, x, y, z = math.cos(rate * TIME_STEP / 2), s * w[0], s * w[1], s * w[2]
    q0, q1, q2, q3 = q[0], q[1], q[2], q[3]
    n0 = q0 * c - q1 * x - q2 * y - q3 * z
    n1 = q0 * x + q1 * c + q2 * z - q3 * y
    n2 = q0 * y - q1 * z + q2 * c + q3 * x
    n3 = q0 * z + q1 * y - q2 * x + q3 * c
    norm = math.sqrt(n0 * n0 + n1 * n1 + n2 * n2 + n3 * n3)
    q[0], q[1], q[2], q[3] = n0 / norm, n1 / norm, n2 / norm, n3 / norm


@compiled(cache=True)
def command(v: Array, q: Array, w: Array, target: Array) -> tuple[float, float, float, float]:
    """Thrust and torques that steer towards a velocity, heading along x.

    The thrust carries the weight and the wanted climb at whatever tilt there is, so that steering sideways does not
    disturb the descent; the attitude is turned, by its shortest way, until the thrust points where it must.
    """
    ax, ay = _HORIZONTAL_GAIN * (target[0] - v[0]), _HORIZONTAL_GAIN * (target[1] - v[1])
    az = _VERTICAL_GAIN * (target[2] - v[2]) + GRAVITY
    up_z = max(1 - 2 * (q[1] * q[1] + q[2] * q[2]), 0.5)
    norm = math.sqrt(ax * ax + ay * ay + az * az)
    g0, g1, g2 = 1 + az / norm, -ay / norm, ax / norm
    half = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2)
    g0, g1, g2 = g0 / half, g1 / half, g2 / half
    e0 = q[0] * g0 + q[1] * g1 + q[2] * g2
    sign = 2.0 if e0 >= 0 else -2.0
    ex = sign * (q[0] * g1 - q[1] * g0 + q[3] * g2)
    ey = sign * (q[0] * g2 - q[2] * g0 - q[3] * g1)
    ez = sign * (q[2] * g1 - q[1] * g2 - q[3] * g0)
    return (
        MASS * az / up_z,
        INERTIA[0] * (_ATTITUDE_GAIN * ex - _RATE_GAIN * w[0]),
        INERTIA[1] * (_ATTITUDE_GAIN * ey - _RATE_GAIN * w[1]),
        INERTIA[2] * (_YAW_GAIN * ez - _YAW_RATE_GAIN * w[2]),
    )


@compiled(cache=True)
def touches(p: Array, x: float, y: float, heading: float) -> int:
    """Whether a drone at `p` would be in the vehicle, a box under the pad at (x, y), or in the ground.

    0 for neither. The hull is upright for this, whatever the attitude.
    """
    if p[2] - HALF_HEIGHT <= 0.0:
        return 2
    if p[2] > CONTACT_HEIGHT:
        return 0
    cos, sin = math.cos(heading), math.sin(heading)
    dx, dy = p[0] - x, p[1] - y
    out_x = max(abs(cos * dx + sin * dy) - PAD_HALF, 0.0)
    out_y = max(abs(cos * dy - sin * dx) - PAD_HALF, 0.0)
    return 1 if out_x * out_x + out_y * out_y <= RADIUS * RADIUS else 0


@compiled(cache=True)
def fly(
    position: Array, velocity: Array, attitude: Array, rate: Array,
    heading: Array, speed: Array, amplitude: Array, frequency: Array,
    time: Array, target: Array, flying: NDArray[np.bool_], outcome: NDArray[np.int64],
) -> None:  # fmt: skip
    """Fly every drone of `flying` for one decision, `SUBSTEPS` steps, or until it touches something.

    The arrays of `Drones` and `time` (N,) are changed in place; the arrays of `Pads` are read. `target` is the velocity
    to follow (N, 3). `outcome` (N,) gets `FLYING`, `LANDED` or `CRASHED`. A contact counts at the height before the
    step that makes it: after that step the hull is already a little inside.
    """
    for n in range(len(time)):
        outcome[n] = FLYING
        if not flying[n]:
            continue
        p, v, q, w = position[n], velocity[n], attitude[n], rate[n]
        for _ in range(SUBSTEPS):
            height = p[2]
            thrust, roll, pitch, yaw = command(v, q, w, target[n])
            f0, f1, f2, f3 = rotor_thrusts(thrust, roll, pitch, yaw)
            thrust, roll, pitch, yaw = wrench(f0, f1, f2, f3)
            advance(p, v, q, w, thrust, roll, pitch, yaw)
            time[n] += TIME_STEP
            x, y, turned = _pad(heading[n], speed[n], amplitude[n], frequency[n], time[n])
            contact = touches(p, x, y, turned)
            if contact:
                outcome[n] = LANDED if contact == 1 and height >= CONTACT_HEIGHT else CRASHED
                break


@compiled(cache=True)
def _pad(heading: float, speed: float, amplitude: float, frequency: float, time: float) -> tuple[float, float, float]:
    """Where a pad is, and its heading: `Pads.at` for one of them."""
    along, across, turn = speed * time, 0.0, 0.0
    if amplitude != 0.0:
        phase = 2 * math.pi * frequency
        across = amplitude * math.sin(phase * time)
        turn = math.atan2(amplitude * phase * math.cos(phase * time), speed)
    cos, sin = math.cos(heading), math.sin(heading)
    return along * cos - across * sin, along * sin + across * cos, heading + turn
