"""The landing task behind Gymnasium's interface."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from tempomat.core.errors import PlanError, StateError
from tempomat_rl.envs import LandingTask, Spawn, Stage

ID = "tempomat_rl.envs:GimbalLanding-v0"


def make_vec(num_envs, **options) -> Any:
    return gymnasium.make_vec(ID, num_envs=num_envs, vectorization_mode="vector_entry_point", **options)


def falling(num_envs):
    action = np.zeros((num_envs, 5), np.float32)
    action[:, 2] = -1
    return action


@pytest.mark.parametrize("options", [{}, {"observation": "keypoint"}, {"image_size": 42, "frame_stack": 1}])
def test_the_environment_passes_gymnasiums_checker_without_a_warning(options):
    check_env(gymnasium.make(ID, render_mode="rgb_array", **options).unwrapped)


def test_the_spaces_are_the_papers():
    env = gymnasium.make(ID)
    assert isinstance(env.observation_space, gymnasium.spaces.Dict)
    image, state = env.observation_space["image"], env.observation_space["state"]
    assert (image.shape, image.dtype, state.shape, state.dtype) == ((3, 84, 84), np.uint8, (33,), np.float32)
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (5,), np.float32)


def test_an_episode_is_the_landing_tasks():
    env, task = gymnasium.make(ID, observation="keypoint", stage={"yaw": 0.5}), None
    observation, info = env.reset(seed=4)
    task = LandingTask(1, 4, observation="keypoint", stage=Stage(yaw=0.5))
    frames = [task.reset().state_NK[0]] * 3
    np.testing.assert_array_equal(observation["state"], np.concatenate(frames))
    assert info == {"success": False, "stage": "full"}
    done = False
    while not done:
        action = np.array([0.01, 0, -1, 0.1, -0.2], np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        step = task.step(action[None])
        frames = [*frames[1:], step.frame.state_NK[0]]
        np.testing.assert_array_equal(observation["state"], np.concatenate(frames))
        assert (reward, terminated, truncated) == (step.reward_N[0], step.terminated_N[0], step.truncated_N[0])
        assert info["success"] == step.success_N[0]
        done = terminated or truncated


def test_a_reset_without_a_seed_goes_on_to_the_next_episode_of_the_last_seed():
    env = gymnasium.make(ID, observation="keypoint")
    one = env.reset(seed=4)[0]["state"]
    two = env.reset()[0]["state"]
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(env.reset(seed=4)[0]["state"], one)
    np.testing.assert_array_equal(env.reset()[0]["state"], two)


@pytest.mark.parametrize("observation", ["image", "keypoint"])
def test_each_environment_of_a_vector_sees_what_one_alone_would(observation):
    """Through an episode's end: there its stack begins anew with the first frame, repeated."""
    options = {"observation": observation, "spawn": Spawn(resting_share=1.0)}
    vector, single = make_vec(3, **options), gymnasium.make(ID, **options)
    together, _ = vector.reset(seed=5)
    alone, _ = single.reset(seed=5)
    ended, ends = False, 0
    for _ in range(200):
        for name, part in together.items():
            np.testing.assert_array_equal(part[0], alone[name])
        together, reward, terminated, truncated, _ = vector.step(falling(3))
        if ended:
            alone, _ = single.reset()
            assert (reward[0], terminated[0], truncated[0]) == (0, False, False)
            ended = False
        else:
            alone, reward_alone, *over, _ = single.step(falling(1)[0])
            assert (reward[0], [terminated[0], truncated[0]]) == (reward_alone, over)
            ended = any(over)
        ends += ended
    assert ends >= 2


def test_a_vectors_spaces_are_batches_and_its_autoreset_is_at_the_next_step():
    env = make_vec(4)
    observation, info = env.reset(seed=1)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert observation in env.observation_space
    assert {name: part.shape for name, part in observation.items()} == {"image": (4, 3, 84, 84), "state": (4, 33)}
    assert (env.action_space.shape, info) == ((4, 5), {})
    *_, info = env.step(env.action_space.sample())
    assert (info["success"].tolist(), info["_success"].tolist()) == ([False] * 4, [True] * 4)


def test_what_a_step_returned_is_not_changed_by_the_next():
    env = make_vec(2)
    first, _ = env.reset(seed=1)
    copies = {name: part.copy() for name, part in first.items()}
    env.step(falling(2))
    for name, part in copies.items():
        np.testing.assert_array_equal(first[name], part)


@pytest.mark.parametrize("make", [gymnasium.make, lambda *args, **options: make_vec(1, **options)])
def test_a_stage_that_is_set_holds_in_the_running_episode_and_after_a_reset(make):
    env = make(ID, observation="keypoint").unwrapped
    locked = env.reset(seed=0)[0]["state"][..., -4:]
    env.set_stage(Stage(name="other", yaw=0.5))
    turn = np.zeros(env.action_space.shape, np.float32)
    turn[..., 4] = 1
    for seed in (None, 3):
        turned = env.step(turn)[0]["state"][..., -4:]
        assert 2 * np.degrees(np.arccos((locked * turned).sum())) == pytest.approx(45, rel=1e-4)
        env.reset(seed=seed)


def test_a_view_is_drawn_in_colour():
    env = gymnasium.make(ID, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert (picture.ndim, picture.shape[2], picture.dtype) == (3, 3, np.uint8)
    vector = make_vec(2, render_mode="rgb_array")
    vector.reset(seed=0)
    views = vector.render()
    assert views is not None
    assert len(views) == 2
    np.testing.assert_array_equal(views[0], picture)
    assert not np.array_equal(views[0], views[1])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frame_stack": 0}, ValueError, "frame_stack must be at least 1, got 0"),
        ({"render_mode": "human"}, ValueError, "render_mode must be rgb_array or None, got 'human'"),
        ({"stage": {"yaw": 2}}, PlanError, "stage 'full': yaw: must be from 0 to 1, got 2"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(options, error, message):
    from tempomat_rl.envs.gym import GimbalLanding

    with pytest.raises(error, match=message):
        GimbalLanding(**options)


def test_a_step_or_picture_before_the_reset_is_refused():
    from tempomat_rl.envs.gym import GimbalLanding, GimbalLandingVector

    for env in (GimbalLanding(), GimbalLandingVector(2)):
        with pytest.raises(ValueError, match="step needs a reset before it"):
            env.step(falling(2))
    with pytest.raises(ValueError, match="render needs a reset before it"):
        GimbalLanding(render_mode="rgb_array").render()


@pytest.mark.parametrize("observation", ["keypoint", "image"])
def test_a_vector_that_was_saved_goes_on_with_the_same_numbers(observation):
    options = {"observation": observation, "image_size": 42}
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (120, 3, 5)).astype(np.float32)
    env, other = make_vec(3, **options), make_vec(3, **options)
    env.reset(seed=5)
    for action in actions[:40]:
        env.step(action)
    state = env.unwrapped.state_dict()
    expected = [env.step(action) for action in actions[40:]]
    assert any(step[2].any() or step[3].any() for step in expected)
    other.reset(seed=5)
    other.unwrapped.load_state_dict(state)
    for action, (seen, reward, *ends, _) in zip(actions[40:], expected, strict=True):
        observed, rewarded, *ended, _ = other.step(action)
        assert seen.keys() == observed.keys()
        for name, part in seen.items():
            np.testing.assert_array_equal(part, observed[name])
        np.testing.assert_array_equal(reward, rewarded)
        np.testing.assert_array_equal(ends, ended)


def test_a_state_of_other_environments_is_refused():
    env = make_vec(2, observation="keypoint")
    with pytest.raises(ValueError, match="state_dict needs a reset before it"):
        env.unwrapped.state_dict()
    with pytest.raises(ValueError, match="load_state_dict needs a reset before it"):
        env.unwrapped.load_state_dict({})
    env.reset(seed=5)
    state = env.unwrapped.state_dict()
    for other, seed in ((make_vec(3, observation="keypoint"), 5), (make_vec(2), 5)):
        other.reset(seed=seed)
        with pytest.raises(StateError, match="frames: are of other observations than these environments', "):
            other.unwrapped.load_state_dict(state)
    env.reset(seed=6)
    with pytest.raises(StateError, match="the state is of seed 5, this task has 6"):
        env.unwrapped.load_state_dict(state)
