"""Flight, against MuJoCo's rigid body, and contact."""

# pyright: reportAttributeAccessIssue=false
# MuJoCo's names come from its extension module, which has no types.

import math

import mujoco
import numpy as np
import pytest

from tempomat_rl.envs import dynamics
from tempomat_rl.envs.dynamics import CONTACT_HEIGHT, CRASHED, FLYING, LANDED, Drones, Pads

LIMITS = np.array([1.4167, 1.4167, 0.5])
LEVER = dynamics.ARM / math.sqrt(2)
ROTORS = [(1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1)]
"""x, y and the sign of the drag torque: front left, rear left, rear right, front right"""


def mujoco_quadrotor():
    """The same body, whose rotors are four actuators at their places."""
    places = "".join(f'<site name="r{i}" pos="{x * LEVER} {y * LEVER} 0"/>' for i, (x, y, _) in enumerate(ROTORS))
    motors = "".join(
        f'<general site="r{i}" gear="0 0 1 0 0 {turn * dynamics.DRAG}"/>' for i, (_, _, turn) in enumerate(ROTORS)
    )
    jx, jy, jz = dynamics.INERTIA
    return mujoco.MjModel.from_xml_string(f"""
        <mujoco>
          <option timestep="{dynamics.TIME_STEP}" gravity="0 0 {-dynamics.GRAVITY}" integrator="Euler"/>
          <worldbody><body><freejoint/>
            <inertial pos="0 0 0" mass="{dynamics.MASS}" diaginertia="{jx} {jy} {jz}"/>{places}
          </body></worldbody>
          <actuator>{motors}</actuator>
        </mujoco>""")


def fly(drones, target, *, pads=None, decisions=1):
    """Outcomes and times after some decisions with one target velocity, or at the first end."""
    num = len(drones.rate_N3)
    pads, time, outcome = pads or Pads.resting(num), np.zeros(num), np.zeros(num, np.int64)
    target_N3 = np.broadcast_to(np.asarray(target, float), (num, 3)).copy()
    for _ in range(decisions):
        dynamics.fly(
            drones.position_N3, drones.velocity_N3, drones.attitude_N4, drones.rate_N3,
            pads.heading_N, pads.speed_N, pads.amplitude_N, pads.frequency_N,
            time, target_N3, outcome == FLYING, outcome,
        )  # fmt: skip
        if outcome.any():
            break
    return outcome, time


def drone_at(*position, velocity=(0, 0, 0)):
    drones = Drones.at_rest(1)
    drones.position_N3[0], drones.velocity_N3[0] = position, velocity
    return drones


@pytest.mark.parametrize("seed", range(3))
def test_a_drone_flies_as_mujocos_rigid_body_does_under_the_same_rotors(seed):
    rng = np.random.default_rng(seed)
    model = mujoco_quadrotor()
    data = mujoco.MjData(model)
    data.qpos[:3], data.qpos[3:] = rng.normal(size=3), rng.normal(size=4)
    data.qpos[3:] /= np.linalg.norm(data.qpos[3:])
    data.qvel[:] = rng.normal(size=6) * [1, 1, 1, 5, 5, 5]
    p, q, v, w = data.qpos[:3].copy(), data.qpos[3:].copy(), data.qvel[:3].copy(), data.qvel[3:].copy()
    for count in range(480):
        if count % 40 == 0:
            target = rng.uniform(-1, 1, 3)
        rotors = dynamics.rotor_thrusts(*dynamics.command(v, q, w, target))
        dynamics.advance(p, v, q, w, *dynamics.wrench(*rotors))
        data.ctrl[:] = rotors
        mujoco.mj_step(model, data)
    # Two seconds of feedback magnify both sides' rounding; the numbers are of the order of 1.
    np.testing.assert_allclose(p, data.qpos[:3], rtol=1e-8)
    np.testing.assert_allclose(v, data.qvel[:3], rtol=1e-8)
    np.testing.assert_allclose(q, data.qpos[3:], rtol=1e-6)


@pytest.mark.parametrize("wanted", [(0.3, 1e-4, -2e-4, 1e-5), (0.25, -3e-4, 1e-4, -2e-5)])
def test_the_rotors_give_the_thrust_and_torques_that_were_wanted(wanted):
    np.testing.assert_allclose(dynamics.wrench(*dynamics.rotor_thrusts(*wanted)), wanted, rtol=1e-12)


def test_no_rotor_pulls_nor_pushes_beyond_its_most():
    assert dynamics.rotor_thrusts(9.0, 0, 0, 0) == (dynamics.MAX_THRUST,) * 4
    assert dynamics.rotor_thrusts(-9.0, 0, 0, 0) == (0.0,) * 4
    assert dynamics.rotor_thrusts(0.3, 9.0, 0, 0) == (dynamics.MAX_THRUST, dynamics.MAX_THRUST, 0.0, 0.0)
    assert dynamics.rotor_thrusts(0.3, 0, 9.0, 0) == (0.0, dynamics.MAX_THRUST, dynamics.MAX_THRUST, 0.0)


def test_four_rotors_lift_two_and_a_quarter_times_the_weight():
    most = 4 * dynamics.MAX_THRUST
    assert most == pytest.approx(2.25 * 0.027 * 9.8, rel=1e-12)


@pytest.mark.parametrize("target", [(1.2, 0, 0), (0, -1.2, 0), (0, 0, 0.4), (0.5, 0.5, -0.3)])
def test_the_controller_reaches_the_velocity_that_it_is_told_and_keeps_its_heading(target):
    drones = drone_at(0, 0, 50)
    fly(drones, target, decisions=12)
    np.testing.assert_allclose(drones.velocity_N3[0] + 1, np.add(target, 1), rtol=1e-3)
    assert abs(drones.attitude_N4[0, 3]) < 1e-3


def test_a_drone_at_rest_hovers():
    drones = drone_at(0, 0, 2)
    fly(drones, (0, 0, 0), decisions=100)
    np.testing.assert_allclose(drones.position_N3[0, 2], 2, rtol=1e-9)


def test_steering_at_full_descent_never_falls_faster_than_the_limit():
    rng, drones = np.random.default_rng(0), Drones.at_rest(16)
    drones.position_N3[:, 2] = 100
    for _ in range(300):
        action = rng.uniform(-1, 1, (16, 3)) * [1, 1, 0] - [0, 0, 1]
        pads, time, outcome = Pads.resting(16), np.zeros(16), np.zeros(16, np.int64)
        dynamics.fly(
            drones.position_N3, drones.velocity_N3, drones.attitude_N4, drones.rate_N3,
            pads.heading_N, pads.speed_N, pads.amplitude_N, pads.frequency_N, time,
            0.15 * action * LIMITS + 0.85 * drones.velocity_N3, outcome == FLYING, outcome,
        )  # fmt: skip
        assert (drones.velocity_N3[:, 2] >= -0.5).all()
    assert drones.velocity_N3[:, 2] == pytest.approx(-0.5, rel=1e-3)


def test_a_drone_that_does_not_fly_stays_as_it_is():
    drones, time, outcome = drone_at(0, 0, 2, velocity=(1, 2, 3)), np.zeros(1), np.full(1, CRASHED)
    dynamics.fly(
        drones.position_N3, drones.velocity_N3, drones.attitude_N4, drones.rate_N3, *[np.zeros(1)] * 4,
        time, np.ones((1, 3)), np.zeros(1, bool), outcome,
    )  # fmt: skip
    assert drones.position_N3.tolist() == [[0, 0, 2]]
    assert drones.velocity_N3.tolist() == [[1, 2, 3]]
    assert (time[0], outcome[0]) == (0, FLYING)


def test_a_fall_onto_the_pad_is_a_landing_although_the_hull_is_inside_after_the_contact():
    drones = drone_at(0.1, -0.2, 0.4, velocity=(0, 0, -0.5))
    outcome, time = fly(drones, (0, 0, -0.5), decisions=3)
    assert outcome[0] == LANDED
    assert CONTACT_HEIGHT - 0.5 / 240 - 1e-6 < drones.position_N3[0, 2] < CONTACT_HEIGHT
    assert 0.2 < time[0] < 0.3


def test_a_flight_into_the_vehicles_side_is_a_crash():
    outcome, _ = fly(drone_at(-0.6, 0, 0.2, velocity=(1, 0, 0)), (1, 0, 0), decisions=3)
    assert outcome[0] == CRASHED


def test_the_ground_is_a_crash():
    outcome, _ = fly(drone_at(2, 0, 0.1, velocity=(0, 0, -0.5)), (0, 0, -0.5), decisions=3)
    assert outcome[0] == CRASHED


def test_a_pad_that_drives_into_a_low_drone_crashes_it():
    pads = Pads(np.full(1, math.pi / 2), np.full(1, 0.5), np.zeros(1), np.zeros(1))
    assert fly(drone_at(0, 0.6, 0.2), (0, 0, 0), pads=pads, decisions=5)[0] == CRASHED
    pads = Pads(np.full(1, -math.pi / 2), np.full(1, 0.5), np.zeros(1), np.zeros(1))
    assert fly(drone_at(0, 0.6, 0.2), (0, 0, 0), pads=pads, decisions=5)[0] == FLYING


@pytest.mark.parametrize(
    ("point", "heading", "contact"),
    [
        ((0, 0, CONTACT_HEIGHT), 0, 1),
        ((0, 0, CONTACT_HEIGHT + 1e-9), 0, 0),
        ((0.3975, 0, 0.2), 0, 1),
        ((0.3976, 0, 0.2), 0, 0),
        ((0, -0.3975, 0.2), 0, 1),
        ((0, -0.3976, 0.2), 0, 0),
        ((0.39, 0.39, 0.2), 0, 0),
        ((0.37, 0.37, 0.2), 0, 1),
        ((0.5, 0, 0.2), 0, 0),
        ((0.5, 0, 0.2), math.pi / 4, 1),
        ((0.36, -0.36, 0.2), math.pi / 4, 0),
        ((5, 5, 0.0125), 0, 2),
        ((5, 5, 0.0126), 0, 0),
        ((0, 0, 0.01), 0, 2),
    ],
)
def test_what_touches(point, heading, contact):
    moved = np.add(point, (3.0, -1.0, 0.0))
    assert dynamics.touches(moved, 3.0, -1.0, heading) == contact


def test_a_pad_is_where_its_course_says_in_flight_as_in_the_scene():
    rng = np.random.default_rng(1)
    values = rng.uniform(0.1, 2.0, (5, 20))
    pads = Pads(*values[:4])
    centre_N2, heading_N = pads.at(values[4])
    for n in range(20):
        assert dynamics._pad(*values[:, n]) == pytest.approx((*centre_N2[n], heading_N[n]), rel=1e-12)


def test_a_straight_course_by_hand():
    pads = Pads(np.array([math.pi / 2]), np.array([0.5]), np.zeros(1), np.array([0.5]))
    centre, heading = pads.at(np.array([4.0]))
    assert centre[0] + 1 == pytest.approx([1, 3], rel=1e-12)
    assert heading[0] == math.pi / 2


def test_a_sine_course_by_hand():
    pads = Pads(np.array([0.0]), np.array([0.5]), np.array([2.0]), np.array([0.5]))
    centre, heading = pads.at(np.array([0.5]))
    assert centre[0] == pytest.approx([0.25, 2.0], rel=1e-12)
    assert 1 + heading[0] == pytest.approx(1, rel=1e-9)
    _, heading = pads.at(np.array([0.0]))
    assert heading[0] == pytest.approx(math.atan2(2 * math.pi, 0.5), rel=1e-12)


def test_six_metres_take_about_75_decisions_at_full_descent():
    drones, count = drone_at(0, 0, 6), 0
    outcome = [FLYING]
    while outcome[0] == FLYING:
        outcome, _ = fly(drones, [0, 0, -0.075 + 0.85 * drones.velocity_N3[0, 2]])
        count += 1
    assert (outcome[0], count) == (LANDED, 76)


def test_both_quaternions_of_an_attitude_are_steered_alike():
    rng = np.random.default_rng(3)
    q, v, w, target = rng.normal(size=4), rng.normal(size=3), rng.normal(size=3), rng.normal(size=3)
    q /= np.linalg.norm(q)
    assert dynamics.command(v, -q, w, target) == dynamics.command(v, q, w, target)


@pytest.mark.parametrize("tilt", [1.0, 2.0])
def test_a_drone_that_is_tilted_far_and_past_its_side_rights_itself(tilt):
    drones = drone_at(0, 0, 50)
    drones.attitude_N4[0] = [math.cos(tilt / 2), 0, math.sin(tilt / 2), 0]
    fly(drones, (0, 0, 0), decisions=18)
    assert drones.attitude_N4[0, 0] == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(drones.velocity_N3[0] + 1, 1, rtol=0.02)
