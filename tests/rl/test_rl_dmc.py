"""dm_control from pixels; without OpenGL only what needs no picture."""

import numpy as np
import pytest
from dm_control import suite

from tempomat_rl.config import compose
from tempomat_rl.envs.dmc import ControlError, ControlTask
from tempomat_rl.train import Training


def make(num_envs: int = 1, **options) -> ControlTask:
    return ControlTask("cartpole", "balance", num_envs, 3, **options)


@pytest.fixture(scope="module")
def drawing() -> None:
    try:
        make().reset()
    except ControlError as error:
        pytest.skip(f"no OpenGL here: {error}")


def test_a_misspelt_task_is_named_with_its_neighbour():
    with pytest.raises(ControlError, match=r"no task cartpole_balanc\. Did you mean cartpole_balance"):
        ControlTask("cartpole", "balanc", 1, 0)


def test_pictures_are_dm_controls_own(drawing):
    task = make(2)
    frame = task.reset()
    assert frame.image_NCHW is not None
    assert frame.image_NCHW.shape == (2, 3, 84, 84)
    own = int(np.random.SeedSequence((3, 1)).generate_state(1, np.uint32)[0])
    env = suite.load("cartpole", "balance", task_kwargs={"random": own})
    env.reset()
    assert np.array_equal(frame.image_NCHW[1].transpose(1, 2, 0), env.physics.render(84, 84, camera_id=0))


def test_an_episode_is_a_thousand_frames_and_ends_by_time(drawing):
    task = make(action_repeat=8)
    task.reset()
    steps = [task.step(np.full((1, 1), 0.3, np.float32)) for _ in range(126)]
    assert [step.truncated_N[0] for step in steps].index(True) == 124
    assert not any(step.terminated_N[0] for step in steps)
    assert steps[125].first_N[0]
    assert steps[125].reward_N[0] == 0.0
    env = suite.load("cartpole", "balance", task_kwargs={"random": task._envs[0].task.random})
    assert 0 < steps[0].reward_N[0] <= 8
    assert env.action_spec().shape == (task.action_size,)


def test_a_task_goes_on_with_the_same_numbers(drawing):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (30, 2, 1)).astype(np.float32)
    whole, again = make(2, action_repeat=50), make(2, action_repeat=50)
    whole.reset()
    for action in actions[:12]:
        whole.step(action)
    again.load_state_dict(whole.state_dict())
    for action in actions[12:]:
        one, other = whole.step(action), again.step(action)
        assert np.array_equal(one.reward_N, other.reward_N)
        assert one.frame.image_NCHW is not None
        assert other.frame.image_NCHW is not None
        assert np.array_equal(one.frame.image_NCHW, other.frame.image_NCHW)
        assert np.array_equal(one.first_N, other.first_N)


def test_drqv2_trains_on_it_as_configured(drawing, tmp_path):
    short = ["num_seed_frames=20", "num_random_frames=10", "batch_size=8", "eval_every_frames=1000000"]
    config = compose(["task=dmc/cartpole_balance", *short, "replay_size=100", f"checkpoint_dir={tmp_path}"])
    assert (config.action_repeat, config.agent.tau, config.agent.hidden_dim) == (2, 0.01, 1024)
    training = Training(config)
    training.run(lambda: training.env_steps >= 30)
    training.close()
    assert training.updates == (30 - 10) // 2
