"""RLlib's lists, Stable-Baselines3's strings and objects, DrQ-v2's strings."""

import re
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_drqv2, from_rllib, from_sb3

POINTS = [[0, 1e-3], [1_000, 1e-4], [1_000, 5e-5], [4_000, 0.0]]


def test_rllib_points_are_joined_by_lines_with_a_jump_where_two_share_a_timestep() -> None:
    ours = from_rllib(POINTS)
    counts = np.arange(5_000)
    # where two points share a timestep RLlib's search finds the later; numpy's too
    expected = np.interp(counts, [t for t, _ in POINTS], [v for _, v in POINTS])
    np.testing.assert_allclose(ours(counts), expected, rtol=1e-9, atol=0)
    assert (ours(999), ours(1_000)) == (pytest.approx(1.009e-4, rel=1e-9, abs=0), 5e-5)
    assert ours.clocks == {"env_steps"}


def test_rllib_numbers_json_and_other_clocks() -> None:
    assert from_rllib(3e-4) == from_rllib("3e-4") == tm.Constant(value=3e-4)
    assert (
        from_rllib("[(0, 1.0), (1_0, 0.0)]") == from_rllib("[[0, 1.0], [10, 0.0]]") == from_rllib([(0, 1.0), (10, 0.0)])
    )
    assert from_rllib([[0, 1.0], [10, 0.0]], unit="frames").clocks == {"frames"}
    assert from_rllib([[0, 1.0], [10, 0.0]], unit="optimizer_steps").clocks == {""}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[5, 1.0], [9, 0.0]], r"rllib: points\[0\]: must be at timestep 0, got 5"),
        ([[0, 1.0], [9, 0.5], [5, 0.0]], r"points\[2\]: must not come before the one before it \(9\), got 5"),
        ([[0, 1.0], [9]], r"points\[1\]: must be \[timestep, value\], got \[9\]"),
        ([[0, "high"], [1.5, 0.0]], r"(?s)2 faults.*points\[0\]\[1\]: .*points\[1\]\[0\]: must be an integer count"),
        ([], r"points: must have at least one \[timestep, value\]"),
        ("[[0, 1.0], [9, oops]]", r"rllib: points\[1\]\[1\]: 'oops' is not a number"),
        ("[[0, 1.0], [9, 0.0]", r"rllib: points: must be such as \[\[0, 1e-3\], .*, got '\[\[0, 1\.0\], \[9, 0\.0\]'"),
        ("linear", "rllib: value: 'linear' is not a number"),
        (None, "rllib: value: is missing"),
    ],
)
def test_rllib_faults_are_named_by_their_place(value: Any, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_rllib(value)


def test_rllib_has_no_clock_of_another_name() -> None:
    with pytest.raises(tm.ConversionError, match=r"rllib: unit: must be one of .*, got 'steps'"):
        from_rllib([[0, 1.0]], unit="steps")


def zoo(text: str) -> Any:
    """What the zoo hands to the algorithm: a function of the share of the run that is left."""
    first = float(text.partition("_")[2])
    return lambda left: left * first


@pytest.mark.parametrize("text", ["lin_3e-4", "linear_0.2"])
def test_a_zoo_string_is_the_zoos_line(text: str) -> None:
    total = 1_000
    expected = [zoo(text)(1.0 - step / total) for step in range(total + 1)]
    # the zoo multiplies a rounded share, whose last bits weigh most at the end of the line
    np.testing.assert_allclose(from_sb3(text, total=total)(np.arange(total + 1)), expected, rtol=1e-9, atol=0)


def test_without_a_total_a_zoo_line_ends_with_the_plan() -> None:
    plan = tm.Plan({"lr": from_sb3("lin_3e-4")}, total=2_000, clock="env_steps").resolve()
    assert plan["lr"](1_000) == pytest.approx(1.5e-4, rel=1e-9, abs=0)


def test_the_zoo_reads_cos_as_a_line_and_here_it_is_refused() -> None:
    """The zoo hands out a line for any prefix (`cos_1e-3`), and nobody is told."""
    with pytest.raises(tm.ConversionError, match=r"takes any prefix for one, so this ran as lin_1e-3. Write that"):
        from_sb3("cos_1e-3", total=100)


def test_sb3s_own_objects_are_read() -> None:
    theirs = pytest.importorskip("stable_baselines3.common.utils")
    total = 1_000
    for schedule in (
        theirs.LinearSchedule(1.0, 0.05, 0.3),
        theirs.FloatSchedule(theirs.LinearSchedule(0.2, 0.1, 1.0)),
        theirs.LinearSchedule(1.0, 0.05, 0.1235),
        theirs.ConstantSchedule(0.3),
        theirs.FloatSchedule(0.1),
    ):
        ours = from_sb3(schedule, total=total)
        expected = [schedule(1.0 - step / total) for step in range(total + 1)]
        np.testing.assert_allclose(ours(np.arange(total + 1)), expected, rtol=1e-9, atol=0)


def test_a_zoos_hyperparameters_are_a_plan() -> None:
    given = {"n_timesteps": "1e6", "policy": "MlpPolicy", "learning_rate": "lin_2.5e-4", "clip_range": "lin_0.1",
             "clip_range_vf": -1, "ent_coef": 0.01, "n_envs": 8}  # fmt: skip
    plan = from_sb3(given)
    assert plan.clock == "env_steps"
    assert plan.total == 1_000_000
    assert set(plan.schedules) == {"lr", "clip_range", "ent_coef"}
    assert plan["clip_range"](500_000) == 0.05
    assert plan["ent_coef"] == tm.Constant(value=0.01)


def test_the_exploration_of_dqn_is_an_epsilon() -> None:
    plan = from_sb3({"n_timesteps": 50_000, "exploration_fraction": 0.16, "exploration_final_eps": 0.04})
    assert [plan["epsilon"](step) for step in (0, 4_000, 8_000, 50_000)] == [1.0, 0.52, 0.04, 0.04]
    early = from_sb3({"exploration_fraction": 0.16})
    assert early["epsilon"] == tm.Linear(init_value=1.0, end_value=0.05, duration="16%")
    assert early.clock == "env_steps"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda left: left, "is a function of your own"),
        ("auto", "must be a number or lin_<number>, got 'auto'. It is learned, not scheduled"),
        ("lin", "must be a number or lin_<number>, got 'lin'"),
        ({"learning_rate": "lin_x", "ent_coef": "auto"}, r"(?s)2 faults.*learning_rate: .*ent_coef: "),
        ({"policy": "MlpPolicy"}, "has nothing to schedule"),
    ],
)
def test_what_sb3_can_and_a_schedule_cannot_is_named(source: Any, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_sb3(source, total=100)


def drqv2(text: str, step: int) -> float:
    """A string's value by the original's rule: blends of the ends, by shares kept within 0 and 1."""

    def blend(first: float, last: float, share: float) -> float:
        share = min(max(share, 0.0), 1.0)
        return (1.0 - share) * first + share * last

    name, *numbers = re.split(r"[(),]+", text.rstrip(")"))
    if name == "linear":
        first, last, length = map(float, numbers)
        return blend(first, last, step / length)
    first, middle, length, last, more = map(float, numbers)
    return blend(first, middle, step / length) if step <= length else blend(middle, last, (step - length) / more)


@pytest.mark.parametrize(
    "text",
    ["linear(1.0,0.1,500)", "linear(0.1,0,300)", "step_linear(1.0,0.5,100,0.1,700)", " linear( 1.0 , 0.1 , 5e2 ) "],
)
def test_a_drqv2_string_has_the_originals_value_at_every_step(text: str) -> None:
    expected = [drqv2(text.replace(" ", ""), step) for step in range(1_000)]
    np.testing.assert_allclose(from_drqv2(text)(np.arange(1_000)), expected, rtol=1e-9, atol=0)


def test_a_drqv2_string_counts_the_agents_steps_unless_frames_are_asked_for() -> None:
    """The original counts agent steps in the string, and frames in the training length beside it."""
    text = "linear(1.0,0.1,500000)"
    rates = {"action_repeat": 2}
    values = {}
    for unit in ("env_steps", "frames"):
        plan = tm.Plan({"stddev": from_drqv2(text, unit=unit)}, clock="env_steps", rates=rates)
        values[unit] = plan["stddev"].at_counts({"env_steps": 250_000, "frames": 500_000})
    assert values == {"env_steps": 0.55, "frames": 0.1}


def test_a_drqv2_number_is_a_constant() -> None:
    assert from_drqv2("0.2") == from_drqv2(0.2) == tm.Constant(value=0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linear(1.0,0.1)", r"linear: takes 3 numbers \(init, final, duration\), got 2"),
        (
            "linear(a,0.1,1.5)",
            r"(?s)2 faults.*linear.init: 'a' is not a number.*linear.duration: must be a whole number",
        ),
        ("linear(1,0,0)", "linear.duration: must be a whole number of at least 1, got 0"),
        ("cosine(1,0,10)", r"text: must be a number, linear\(init,final,duration\), step_linear"),
        ("__import__('os')", "text: must be a number"),
    ],
)
def test_drqv2_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_drqv2(text)


def test_a_drqv2_string_has_one_of_two_clocks() -> None:
    with pytest.raises(tm.ConversionError, match=r"unit: must be env_steps .* or frames, got 'epochs'"):
        from_drqv2("0.2", unit="epochs")
