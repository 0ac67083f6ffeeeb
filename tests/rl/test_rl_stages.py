"""Stages of the landing task: what they switch, and what they refuse."""

import pytest

from tempomat.core.errors import PlanError
from tempomat_rl.envs.stages import Stage


def test_the_default_is_the_full_task():
    stage = Stage()
    assert (stage.mask.tolist(), stage.weight, stage.not_visible, stage.price) == ([1, 1], 0.1, -0.025, 1e-3)


@pytest.mark.parametrize(
    ("switches", "mask"),
    [
        ({}, [0.25, 0.35]),
        ({"yaw_only": True}, [0, 0.35]),
        ({"gimbal": False}, [0, 0]),
        ({"roll": 1.0}, [0.25, 0.35]),
    ],
)
def test_what_is_switched_off_is_masked(switches, mask):
    assert Stage(pitch=0.25, yaw=0.35, **switches).mask.tolist() == mask


def test_a_visibility_reward_that_is_off_weighs_nothing():
    assert Stage(visibility_reward=False).weight == 0
    assert Stage(visibility_reward=False).not_visible == -0.025


def test_a_locked_gimbal_has_no_price():
    assert Stage(gimbal=False).price == 0


def test_a_mapping_is_read_and_what_it_leaves_out_stays_full():
    assert Stage.read({"name": "S1", "yaw": 0.15, "yaw_only": True}) == Stage(name="S1", yaw=0.15, yaw_only=True)


def test_every_fault_of_a_mapping_is_told_at_once():
    with pytest.raises(PlanError, match="stage 'S1': 3 faults") as caught:
        Stage.read({"name": "S1", "yawn": 0.15, "pitch": 2, "gimbal": 1})
    faults = {fault.path: fault.message for fault in caught.value.faults}
    assert set(faults) == {"yawn", "pitch", "gimbal"}
    assert faults["yawn"].endswith("Did you mean yaw?")
    assert faults["pitch"] == "must be from 0 to 1, got 2"
    assert faults["gimbal"] == "must be true or false, got 1"


def test_an_unknown_key_alone_is_refused():
    with pytest.raises(PlanError, match="stage 'full': wieght: a stage has no such value"):
        Stage.read({"wieght": 1})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"name": ""}, "name: must be a word, got ''"),
        ({"name": 3}, "name: must be a word, got 3"),
        ({"yaw": -0.1}, "yaw: must be from 0 to 1, got -0.1"),
        ({"roll": 1.1}, "roll: must be from 0 to 1, got 1.1"),
        ({"yaw": True}, "yaw: must be a finite number, got True"),
        ({"visibility_weight": float("inf")}, "visibility_weight: must be a finite number, got inf"),
        ({"visibility_weight": -1}, "visibility_weight: must be not negative, got -1"),
        ({"smoothness": -1e-4}, "smoothness: must be not negative, got -0.0001"),
        ({"not_visible": 0.01}, "not_visible: must be at most 0, got 0.01"),
        ({"yaw_only": None}, "yaw_only: must be true or false, got None"),
        ({"visibility_reward": "on"}, "visibility_reward: must be true or false, got 'on'"),
    ],
)
def test_a_bad_value_is_refused(bad, message):
    with pytest.raises(PlanError, match=message):
        Stage(**bad)


def test_what_is_no_mapping_is_refused():
    with pytest.raises(PlanError, match="must be a mapping of names to values, got 'S1'"):
        Stage.read("S1")  # pyright: ignore[reportArgumentType]
