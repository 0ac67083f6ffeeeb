"""The landing task: episodes, observations, seeds, resuming, and whether it can be flown."""

import copy
import math

import numpy as np
import pytest
from rl.pilots import LOCKED, Steer, descend, fly_once, hover

from tempomat.core.errors import PlanError, StateError
from tempomat_rl.envs import LandingTask, Spawn, Stage
from tempomat_rl.envs.dynamics import CONTACT_HEIGHT, PAD_HEIGHT
from tempomat_rl.envs.landing import TIMEOUT
from tempomat_rl.frames import FrameSpec


def keypoint_task(num_envs=16, seed=0, stage=LOCKED, **options):
    return LandingTask(num_envs, seed, stage=stage, observation="keypoint", **options)


def actions(count, num_envs, seed=0):
    """Random steering at full descent, so that episodes end."""
    action = np.random.default_rng(seed).uniform(-1, 1, (count, num_envs, 5)).astype(np.float32)
    action[:, :, 2] = -1
    return action


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        if a is None or b is None:
            assert a is b
        else:
            np.testing.assert_array_equal(a, b)


def assert_same_step(one, other):
    assert_same(one.frame, other.frame)
    assert_same(one[1:], other[1:])


# Whether it can be flown. The shares are of 300 episodes from one seed.


def test_steering_with_an_integral_term_lands():
    success_N, _ = fly_once(keypoint_task(300), Steer())
    assert success_N.mean() >= 0.99


def test_straight_down_lands_about_a_third():
    success_N, _ = fly_once(keypoint_task(300), descend)
    assert 0.3 < success_N.mean() < 0.45


def test_straight_down_lands_on_most_resting_pads():
    success_N, _ = fly_once(keypoint_task(300, spawn=Spawn(resting_share=1.0)), descend)
    assert 0.9 < success_N.mean() < 1


def test_hovering_never_lands_and_runs_out_of_time():
    success_N, length_N = fly_once(keypoint_task(50), hover)
    assert not success_N.any()
    assert (length_N == TIMEOUT).all()


def test_a_swinging_pad_outruns_the_drone():
    success_N, _ = fly_once(keypoint_task(100, spawn=Spawn(resting_share=0.0, sine_share=1.0)), Steer())
    assert success_N.mean() < 0.5


# Episodes.


def test_an_ended_environment_is_reset_by_the_next_step_whose_action_is_ignored():
    task = keypoint_task(4)
    task.reset()
    while True:
        step = task.step(descend(np.zeros(4)))
        ended_N = step.terminated_N | step.truncated_N
        if ended_N.any():
            break
    assert not step.first_N.any()
    step = task.step(np.ones((4, 5), np.float32))
    np.testing.assert_array_equal(step.first_N, ended_N)
    assert (step.reward_N[ended_N] == 0).all()
    assert not (step.terminated_N | step.truncated_N | step.success_N)[ended_N].any()
    assert (step.frame.state_NK[ended_N, 4:7] == 0).all()
    assert (task.length_N[ended_N] == 0).all()
    step = task.step(np.ones((4, 5), np.float32))
    assert not step.first_N.any()
    assert (task.length_N[ended_N] == 1).all()


def test_a_timeout_truncates_at_108_decisions_and_does_not_terminate():
    task = keypoint_task(2)
    task.reset()
    for count in range(1, TIMEOUT + 1):
        step = task.step(hover(np.zeros(2)))
        assert not step.terminated_N.any()
        assert step.truncated_N.tolist() == [count == 108] * 2


def test_success_is_a_contact_from_above_and_a_crash_is_none():
    task = keypoint_task(64)
    task.reset()
    landed = crashed = 0
    for _ in range(90):
        step = task.step(descend(np.zeros(64)))
        scene = task.scene
        np.testing.assert_array_equal(step.success_N, step.success_N & step.terminated_N)
        for n in np.flatnonzero(step.terminated_N):
            offset = np.abs(scene.position_N3[n, :2] - scene.pad_position_N3[n, :2]).max()
            if step.success_N[n]:
                landed += 1
                assert step.reward_N[n] > 140
                assert scene.position_N3[n, 2] == pytest.approx(CONTACT_HEIGHT, rel=0.02)
                assert offset < 0.3375 * math.sqrt(2) + 0.06
            else:
                crashed += 1
                assert step.reward_N[n] == -1
    assert landed > 5
    assert crashed > 5


def test_returns_and_lengths_add_up_and_stay_until_the_next_episode():
    task = keypoint_task(8, stage=Stage())
    task.reset()
    total_N, length_N = np.zeros(8), np.zeros(8)
    for action in actions(150, 8):
        step = task.step(action)
        total_N, length_N = np.where(step.first_N, 0, total_N + step.reward_N), np.where(step.first_N, 0, length_N + 1)
        np.testing.assert_allclose(task.return_N, total_N, rtol=1e-12)
        np.testing.assert_array_equal(task.length_N, length_N)
    assert task.state_dict()["episode"].min() >= 1


# What an action does.


def test_commands_in_the_dead_zone_are_none():
    for size, moves in ((0.0049, False), (0.0051, True)):
        task = keypoint_task(1)
        task.reset()
        step = task.step(np.full((1, 5), size, np.float32))
        assert (np.abs(step.frame.state_NK[0, 4:7]) > 1e-5).tolist() == [moves] * 3


def test_velocities_near_the_limits_are_reached_and_said_as_shares_of_them():
    task = keypoint_task(1, spawn=Spawn(resting_share=1.0))
    task.reset()
    for _ in range(60):
        step = task.step(np.array([[1, -1, 1, 0, 0]], np.float32))
    assert step.frame.state_NK[0, 4:7] == pytest.approx([1, -1, 1], rel=0.01)
    assert task.scene.position_N3[0, 0] > 9
    assert task.scene.position_N3[0, 1] < -9


@pytest.mark.parametrize(
    ("stage", "pitch", "yaw"),
    [
        (Stage(), 47, -90),
        (Stage(pitch=0.25, yaw=0.35), 0.25 * 47, -0.35 * 90),
        (Stage(pitch=0.25, yaw=0.35, yaw_only=True), 0, -0.35 * 90),
        (LOCKED, 0, 0),
    ],
)
def test_the_gimbal_turns_by_the_stages_share_of_its_range(stage, pitch, yaw):
    task = keypoint_task(1, stage=stage)
    task.reset()
    state = task.step(np.array([[0, 0, 0, 1, -1]], np.float32)).frame.state_NK[0]
    (cos_p, sin_p), (cos_y, sin_y) = [(math.cos(a), math.sin(a)) for a in np.radians([pitch / 2, yaw / 2])]
    by_hand = [cos_y * cos_p, sin_y * sin_p, -cos_y * sin_p, sin_y * cos_p]
    assert state[11:] + 2 == pytest.approx(np.add(by_hand, 2), rel=1e-6)
    assert np.degrees([task.scene.gimbal_pitch_N[0], task.scene.gimbal_yaw_N[0]]) == pytest.approx([pitch, yaw])


def test_a_new_stage_holds_at_once():
    task = keypoint_task(1)
    task.reset()
    task.set_stage(Stage(yaw=0.5))
    task.step(np.array([[0, 0, 0, 0, 1]], np.float32))
    assert np.degrees(task.scene.gimbal_yaw_N[0]) == pytest.approx(45)


def test_smoothness_is_paid_for_changes_of_command_and_not_for_holding_one():
    rewards = {}
    for price in (0.0, 1.0):
        task = keypoint_task(1, stage=Stage(pitch=0.0, yaw=0.5, smoothness=price))
        task.reset()
        rewards[price] = [task.step(np.array([[0, 0, -1, 0.3, a]], np.float32)).reward_N[0] for a in (1, 1, -1)]
    # The command is the stage's half of the action: changes of .5, 0 and 1.
    assert np.subtract(rewards[0.0], rewards[1.0]) + 1 == pytest.approx([1.25, 1, 2], rel=1e-9)


def test_the_not_visible_term_holds_in_a_stage_without_visibility_reward():
    stage = Stage(name="S1", pitch=0.0, yaw=0.15, visibility_reward=False, not_visible=-0.01, smoothness=0.0)
    task = keypoint_task(1, stage=stage)
    task.reset()
    for _ in range(70):
        step = task.step(np.array([[1, 0, 0, 0, 0]], np.float32))
    assert step.frame.state_NK[0, :4].tolist() == [0, 0, 0, 0]
    assert step.reward_N[0] == -0.01


# What is seen.


def test_specs_say_what_frames_hold():
    assert LandingTask(1, 0).spec == FrameSpec((1, 84, 84), 11)
    assert keypoint_task().spec == FrameSpec(None, 15)
    image = LandingTask(3, 0, image_size=42)
    assert image.spec == FrameSpec((1, 42, 42), 11)
    frame = image.reset()
    assert frame.image_NCHW is not None
    assert (frame.image_NCHW.shape, frame.image_NCHW.dtype) == ((3, 1, 42, 42), np.uint8)
    assert (frame.state_NK.shape, frame.state_NK.dtype) == ((3, 11), np.float32)
    frame = keypoint_task(3).reset()
    assert frame.image_NCHW is None
    assert (frame.state_NK.shape, frame.state_NK.dtype) == ((3, 15), np.float32)


def test_both_kinds_of_observation_see_the_same_flight():
    tasks = [LandingTask(4, 5), LandingTask(4, 5, observation="keypoint")]
    for task in tasks:
        task.reset()
    for action in actions(60, 4):
        image, keypoint = [task.step(action) for task in tasks]
        assert_same(image[1:], keypoint[1:])
        np.testing.assert_array_equal(image.frame.state_NK, keypoint.frame.state_NK[:, 4:])


def test_a_pad_ahead_and_to_the_right_is_above_and_to_the_right_in_the_picture():
    task = keypoint_task(200, spawn=Spawn(resting_share=1.0))
    state_NK = task.reset().state_NK
    gap_N3 = task.scene.pad_position_N3 - task.scene.position_N3
    slope = math.tan(math.radians(85.7 / 2))
    assert (state_NK[:, 3] == 1).all()
    np.testing.assert_allclose(2 + state_NK[:, 0], 2 + gap_N3[:, 1] / gap_N3[:, 2] / slope, rtol=1e-6)
    np.testing.assert_allclose(2 + state_NK[:, 1], 2 - gap_N3[:, 0] / gap_N3[:, 2] / slope, rtol=1e-6)


# How episodes begin.


def drawn(count=4000, **options):
    spawn, rng = Spawn(**options), np.random.default_rng(0)
    return [spawn.draw(rng) for _ in range(count)]


def test_drones_begin_at_uniform_heights_near_the_pad_on_all_sides():
    position_N3 = np.array([start.position for start in drawn()])
    height_N, offset_N = position_N3[:, 2], np.hypot(position_N3[:, 0], position_N3[:, 1])
    assert 0.8 <= height_N.min() < 0.82
    assert 5.98 < height_N.max() <= 6.0
    assert np.quantile(height_N, [0.25, 0.5, 0.75]) == pytest.approx([2.1, 3.4, 4.7], rel=0.05)
    share_N = offset_N / height_N
    assert 0.0999 < share_N.max() <= 0.1
    assert np.quantile(share_N, [0.25, 0.5, 0.75]) == pytest.approx([0.025, 0.05, 0.075], rel=0.07)
    sides = np.histogram(np.arctan2(position_N3[:, 1], position_N3[:, 0]), 4, (-math.pi, math.pi))[0]
    assert sides == pytest.approx([1000] * 4, rel=0.1)


def test_three_pads_in_ten_rest_and_the_others_drive_at_up_to_half_a_metre_per_second_anywhere():
    starts = drawn()
    speed_N = np.array([start.speed for start in starts])
    assert (speed_N == 0).mean() == pytest.approx(0.3, rel=0.1)
    driving_N = speed_N[speed_N > 0]
    assert np.quantile(driving_N, [0.25, 0.5, 0.75, 1]) == pytest.approx([0.125, 0.25, 0.375, 0.5], rel=0.07)
    headings = np.histogram([start.heading for start in starts], 4, (-math.pi, math.pi))[0]
    assert headings == pytest.approx([1000] * 4, rel=0.1)
    assert {start.amplitude for start in starts} == {0.0}


def test_shares_of_resting_swinging_and_cluttered_episodes_are_options():
    assert all(start.speed == 0 for start in drawn(50, resting_share=1.0))
    assert all(start.speed > 0 for start in drawn(50, resting_share=0.0))
    swinging = drawn(400, resting_share=0.5, sine_share=0.5)
    assert np.mean([start.amplitude == 2.0 for start in swinging]) == pytest.approx(0.25, rel=0.25)
    assert not any(start.amplitude and not start.speed for start in swinging)
    assert not any(len(start.clutter_KC) for start in drawn(50, clutter_share=0.0))
    assert np.mean([len(start.clutter_KC) > 0 for start in drawn(50, clutter_share=1.0)]) > 0.9


def test_half_the_episodes_have_up_to_25_objects_clear_of_the_course():
    starts = drawn(600)
    assert np.mean([len(start.clutter_KC) > 0 for start in starts]) == pytest.approx(0.5, rel=0.15)
    assert 20 < max(len(start.clutter_KC) for start in starts) <= 25
    for start in starts:
        along = start.speed * np.linspace(0, 18, 50)
        course_T2 = np.stack([along * math.cos(start.heading), along * math.sin(start.heading)], axis=1)
        gap_KT = np.linalg.norm(start.clutter_KC[:, None, :2] - course_T2, axis=2)
        half_diagonal_K = np.hypot(start.clutter_KC[:, 3], start.clutter_KC[:, 4])
        assert (gap_KT.min(axis=1, initial=9) > 0.337 * math.sqrt(2) + half_diagonal_K).all()


def test_textures_differ_between_episodes():
    assert len({start.texture for start in drawn(100)}) == 100


def test_a_scene_has_the_spawned_objects_and_none_of_the_episode_before():
    task = keypoint_task(32)
    task.reset()
    task.reset()
    counts, clutter_NKC = task.scene.clutter_count_N, task.scene.clutter_NKC
    assert 0 < (counts > 0).sum() < 32
    for n in range(32):
        start = task.spawn.draw(np.random.default_rng((0, n, 1)))
        np.testing.assert_array_equal(clutter_NKC[n, : counts[n]], start.clutter_KC)
        assert not clutter_NKC[n, counts[n] :].any()
    assert (task.scene.pad_position_N3[:, 2] == PAD_HEIGHT).all()


@pytest.mark.parametrize("bad", [{"resting_share": 1.1}, {"sine_share": -0.1}, {"clutter_share": "half"}])
def test_a_share_outside_0_to_1_is_refused(bad):
    with pytest.raises(PlanError, match=f"spawn: {next(iter(bad))}: must be a number from 0 to 1, got "):
        Spawn(**bad)


# Seeds and resuming.


@pytest.mark.parametrize("observation", ["keypoint", "image"])
def test_the_same_seed_gives_the_same_flights_and_another_seed_others(observation):
    tasks = [LandingTask(4, seed, observation=observation, image_size=42) for seed in (7, 7, 8)]
    frames = [task.reset() for task in tasks]
    assert_same(frames[0], frames[1])
    assert (tasks[0].scene.position_N3 != tasks[2].scene.position_N3).all()
    for action in actions(120, 4):
        one, two, _ = [task.step(action) for task in tasks]
        assert_same_step(one, two)


def test_an_environments_episodes_do_not_depend_on_how_many_others_there_are():
    few, many = keypoint_task(2, 3), keypoint_task(5, 3)
    np.testing.assert_array_equal(few.reset().state_NK, many.reset().state_NK[:2])
    for action in actions(200, 5):
        one, other = few.step(action[:2]), many.step(action)
        np.testing.assert_array_equal(one.frame.state_NK, other.frame.state_NK[:2])
        np.testing.assert_array_equal(one.reward_N, other.reward_N[:2])


def test_a_second_reset_begins_other_episodes():
    task = keypoint_task(4)
    first = task.reset().state_NK
    assert (first[:, 2] != task.reset().state_NK[:, 2]).all()


@pytest.mark.parametrize("steps", [0, 1, 37, 100])
def test_a_resumed_task_goes_on_with_the_same_numbers(steps):
    spawn = Spawn(sine_share=0.5)
    unbroken = LandingTask(4, 2, image_size=42, spawn=spawn)
    unbroken.reset()
    moves = actions(steps + 120, 4)
    for action in moves[:steps]:
        unbroken.step(action)
    state = copy.deepcopy(unbroken.state_dict())
    resumed = LandingTask(4, 2, image_size=42, spawn=spawn)
    resumed.load_state_dict(state)
    for action in moves[steps:]:
        assert_same_step(unbroken.step(action), resumed.step(action))
    np.testing.assert_array_equal(unbroken.return_N, resumed.return_N)


def test_a_saved_state_stays_as_it_was_while_the_task_goes_on():
    task = keypoint_task(2)
    task.reset()
    state = task.state_dict()
    before = copy.deepcopy(state)
    for action in actions(100, 2):
        task.step(action)
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)


def test_a_state_is_plain_data():
    assert {type(value) for value in keypoint_task().state_dict().values()} == {int, np.ndarray}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "the state is of seed 1, this task has 0"),
        ({"num_envs": 3}, "the state is of num_envs 3, this task has 2"),
        ({"time": np.zeros(3)}, r"time of a landing task's state is float64 \(2,\), got float64 \(3,\)"),
        ({"over": np.zeros(2)}, r"over of a landing task's state is bool \(2,\), got float64 \(2,\)"),
        ({"tyme": 0}, "keys missing or unknown: tyme"),
    ],
)
def test_a_state_of_another_task_is_refused_and_changes_nothing(change, message):
    task = keypoint_task(2)
    task.reset()
    before = task.state_dict()
    with pytest.raises(StateError, match=message):
        task.load_state_dict(before | {"position": np.ones((2, 3))} | change)
    for name, value in task.state_dict().items():
        np.testing.assert_array_equal(before[name], value)


def test_a_state_with_a_key_missing_is_refused():
    task = keypoint_task(2)
    state = task.state_dict()
    del state["rate"]
    with pytest.raises(StateError, match="keys missing or unknown: rate"):
        task.load_state_dict(state)


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"observation": "pixels"}, "observation must be image or keypoint, got 'pixels'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LandingTask(**({"num_envs": 1, "seed": 0} | options))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros((3, 5)), r"actions must be \(2, 5\), got \(3, 5\)"),
        (np.full((2, 5), np.nan), "actions must be numbers from -1 to 1, got one that is not finite"),
    ],
)
def test_bad_actions_are_refused(action, message):
    task = keypoint_task(2)
    task.reset()
    with pytest.raises(ValueError, match=message):
        task.step(action)


def test_actions_beyond_1_are_1():
    one, two = keypoint_task(2, stage=Stage()), keypoint_task(2, stage=Stage())
    one.reset()
    two.reset()
    assert_same_step(one.step(np.full((2, 5), 3.0, np.float32)), two.step(np.ones((2, 5), np.float32)))


def test_a_step_before_the_reset_is_refused():
    with pytest.raises(ValueError, match="step needs a reset before it"):
        keypoint_task(2).step(np.zeros((2, 5), np.float32))
