"""The curriculum: stages and gates from a configuration, and how they move a scheduler."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

import pytest
import torch

import tempomat as tm
from tempomat.torch import Scheduler
from tempomat_rl import curriculum
from tempomat_rl.config import compose
from tempomat_rl.envs.stages import Stage

STAGES = [{"name": "easy", "gimbal": False}, {"name": "middle", "yaw": 0.5}, {"name": "full"}]
GIVEN = {"window": 4, "min_episodes": 2, "success_rate": 0.75, "require_consecutive_windows": 2, "stages": STAGES}


def read(given, after=0):
    faults = []
    return curriculum.read(given, after=after, faults=faults), [str(fault) for fault in faults]


def good(given, after=0):
    found, faults = read(given, after)
    assert faults == []
    return found


def scheduler_of(course, **entries):
    plan = tm.Plan({"lr": 1.0, "curriculum_stage": course.gates, **entries}, clock="env_steps", total=1000)
    layer = torch.nn.Linear(1, 1)
    targets = dict.fromkeys(["curriculum_stage", *(name for name in entries if name != "lr")])
    return Scheduler(torch.optim.SGD(layer.parameters(), lr=1.0), plan, targets=targets)


# the page of the pipeline: name, pitch, roll, yaw, visibility reward, weight, not visible, smoothness, gimbal, yaw only
PRESETS = {
    "balanced": (
        (100, 80, 0.85, 4),
        [
            Stage.read(dict(zip(["name", "pitch", "roll", "yaw", "visibility_reward", "visibility_weight",
                                 "not_visible", "smoothness", "gimbal", "yaw_only"], row, strict=True)))
            for row in [
                ("S0_lock", 0, 0, 0, False, 0, 0, 0, False, False),
                ("S1_yaw_small", 0, 0, 0.15, False, 0, -0.010, 1e-4, True, True),
                ("S2_yaw_pitch_small", 0.25, 0, 0.35, True, 0.05, -0.015, 3e-4, True, False),
                ("S3_mid", 0.60, 0, 0.60, True, 0.10, -0.020, 5e-4, True, False),
                ("S4_full", 1, 0, 1, True, 0.10, -0.025, 1e-3, True, False),
            ]
        ],
    ),
    "conservative": (
        (60, 59, 0.85, 3),
        [
            Stage(name="S0_lock", pitch=0, yaw=0, visibility_reward=False, visibility_weight=0, not_visible=0,
                  smoothness=0, gimbal=False),
            Stage(name="S1_yaw_small", pitch=0, yaw=0.12, visibility_reward=False, visibility_weight=0,
                  not_visible=-0.010, smoothness=2e-4, yaw_only=True),
            Stage(name="S2_yaw_pitch_small", pitch=0.20, yaw=0.30, visibility_weight=0.04, not_visible=-0.015,
                  smoothness=4e-4),
            Stage(name="S3_full_moderate", visibility_weight=0.08, not_visible=-0.020, smoothness=8e-4),
        ],
    ),
    "aggressive": (
        (40, 39, 0.82, 3),
        [
            Stage(name="S0_short_lock", pitch=0, yaw=0, visibility_reward=False, visibility_weight=0, not_visible=0,
                  smoothness=0, gimbal=False),
            Stage(name="S1_yaw_med", pitch=0, yaw=0.40, visibility_weight=0.06, not_visible=-0.015, smoothness=2e-4,
                  yaw_only=True),
            Stage(name="S2_mid", pitch=0.60, yaw=0.70, visibility_weight=0.12, not_visible=-0.022, smoothness=6e-4),
            Stage(name="S3_full_strong", visibility_weight=0.14, not_visible=-0.028, smoothness=1.2e-3),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_stages_and_gates_that_are_documented(preset):
    (window, least, rate, last), stages = PRESETS[preset]
    found = compose([f"curriculum_preset={preset}"]).curriculum
    assert list(found.stages) == stages
    assert found.gates == tm.SuccessGates(
        window=window, min_episodes=least, success_rate=rate, max_stage=last, after=4800
    )
    assert (found.last, len(found), found[last]) == (last, last + 1, stages[last])


def test_a_gate_that_is_left_out_has_the_rules_own_default():
    found = good({"stages": STAGES})
    assert found.gates == tm.SuccessGates(max_stage=2)


def test_without_a_curriculum_there_is_none():
    assert good(None) is None


def test_episodes_move_the_stage_and_the_clock_of_stages():
    course = good(GIVEN)
    noise = tm.on("stage", tm.PiecewiseConstant(values=(0.5, 0.2, 0.1), boundaries=(1, 2)))
    scheduler = scheduler_of(course, noise=noise)
    assert course.start(scheduler) == course[0]
    assert course.success_rate(scheduler) is None
    assert [course.episode(scheduler, True) for _ in range(2)] == [None, None]
    assert course.success_rate(scheduler) == 1.0
    assert course.episode(scheduler, True) == course[1]
    assert (course.stage(scheduler), scheduler.counts["stage"], scheduler.values["noise"]) == (1, 1, 0.2)
    assert course.success_rate(scheduler) is None
    assert [course.episode(scheduler, False), course.episode(scheduler, True)] == [None, None]
    assert course.success_rate(scheduler) == 0.5
    assert [course.episode(scheduler, True) for _ in range(3)] == [None, None, course[2]]
    assert (course.stage(scheduler), scheduler.values["noise"]) == (2, 0.1)
    assert [course.episode(scheduler, True) for _ in range(9)] == [None] * 9, "the last stage is never left"
    assert scheduler.counts["stage"] == 2


def test_no_stage_is_passed_before_the_seed_steps_are_over():
    course = good(GIVEN, after=10)
    scheduler = scheduler_of(course)
    assert [course.episode(scheduler, True) for _ in range(5)] == [None] * 5
    scheduler.advance(env_steps=9)
    assert course.episode(scheduler, True) is None
    scheduler.advance(env_steps=1)
    assert course.episode(scheduler, True) == course[1]


def test_an_initial_stage_is_where_the_run_and_the_clock_of_stages_begin():
    course = good({**GIVEN, "initial_stage": 1})
    noise = tm.on("stage", tm.PiecewiseConstant(values=(0.5, 0.2), boundaries=(1,)))
    scheduler = scheduler_of(course, noise=noise)
    assert course.start(scheduler) == course[1]
    assert (course.stage(scheduler), scheduler.counts["stage"], scheduler.values["noise"]) == (1, 1, 0.2)
    assert course.start(scheduler) == course[1]
    assert scheduler.counts["stage"] == 1


def test_a_resumed_curriculum_goes_on_with_the_same_window():
    course = good(GIVEN)
    one, two = scheduler_of(course), scheduler_of(course)
    for outcome in (True, True, True, False, True, True):
        course.episode(one, outcome)
    two.load_state_dict(one.state_dict())
    assert course.start(two) == course.start(one) == course[1]
    assert course.success_rate(two) == course.success_rate(one) == 2 / 3
    assert [course.episode(one, True) for _ in range(2)] == [course.episode(two, True) for _ in range(2)]
    assert course.stage(two) == 2


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"window": 1}, "curriculum.window", "holds at most 1 episodes, and `min_episodes` asks for 2"),
        ({"success_rate": 1.5}, "curriculum.success_rate", "must be at most 1, got 1.5"),
        ({"initial_stage": 3}, "curriculum.initial_stage", "must not be above `max_stage` (2), got 3"),
        ({"max_stage": 3}, "curriculum.max_stage", "must be below the number of stages, 3, since they count from 0"),
        ({"min_stage_episodes": -1}, "curriculum.min_stage_episodes", "must be between 0"),
        ({"windo": 3}, "curriculum.windo", "no setting of that name. Did you mean window?"),
        ({"after": 3}, "curriculum.after", "no setting of that name."),
        ({"stages": []}, "curriculum.stages", "must be a list of at least one stage, got []"),
        ({"stages": None}, "curriculum.stages", "must be a list of at least one stage, got None"),
        ({"stages": [*STAGES[:2], {"yaww": 1}]}, "curriculum.stages[2].yaww", "Did you mean yaw?"),
        ({"stages": [{"yaw": 2}, *STAGES[1:]]}, "curriculum.stages[0].yaw", "must be from 0 to 1, got 2"),
    ],
)
def test_what_no_run_could_pass_is_refused_at_its_path(change, path, words):
    found, (fault,) = read({**GIVEN, **change})
    assert found is None
    assert fault.startswith(f"{path}: ")
    assert words in fault


def test_a_curriculum_that_is_no_mapping_is_refused():
    assert read([1])[1] == ["curriculum: must be a mapping with stages, window and so on, got [1]"]


def test_faults_of_stages_and_gates_come_together():
    _, faults = read({**GIVEN, "window": 1, "extra": 1, "stages": [{"yaw": -1}, {"pitch": "much"}]})
    assert [fault.partition(":")[0] for fault in faults] == [
        "curriculum.extra",
        "curriculum.stages[0].yaw",
        "curriculum.stages[1].pitch",
        "curriculum.window",
    ]


def test_numbers_in_stages_are_read_as_people_write_them():
    course = good({**GIVEN, "stages": [{"name": "1k", "smoothness": "1e-4", "yaw": 1}]})
    assert course.stages == (Stage(name="1k", smoothness=1e-4, yaw=1.0),)


def test_a_stage_that_is_no_mapping_is_refused():
    _, faults = read({**GIVEN, "stages": [STAGES[0], 3, STAGES[2]]})
    assert faults == ["curriculum.stages[1]: a stage must be a mapping of names to values, got 3"]


def test_the_last_stage_is_held_when_its_gate_would_open_if_there_were_one():
    course = good(GIVEN)
    scheduler = scheduler_of(course)
    for _ in range(3):
        assert not course.holds(scheduler), "not the last stage"
        course.episode(scheduler, True)
    assert not course.full(scheduler), "a new stage begins with an empty window"
    for _ in range(3):
        course.episode(scheduler, True)
    assert course.stage(scheduler) == 2
    held, full = [], []
    for outcome in (True, True, True, False, False):
        course.episode(scheduler, outcome)
        held.append(course.holds(scheduler))
        full.append(course.full(scheduler))
    assert held == [False, False, True, True, False]
    assert full == [False, True, True, True, True]
