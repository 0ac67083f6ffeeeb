"""Learning rates and noise as the guide's tables write them, turned into a plan."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false

import numpy as np
import pytest

import tempomat as tm
from tempomat_rl.schedules import NETWORKS, Schedules, config_path, noise_schedule

STEPS = {
    "type": "step_decay",
    "intervals": [
        {"start": 0, "end": 1_000_000, "lr": 1e-4},
        {"start": 1_000_000, "end": 3_000_000, "lr": 5e-5},
        {"start": 3_000_000, "end": 6_000_000, "lr": 1e-5},
    ],
}
DECAY = {
    "type": "exponential_decay",
    "intervals": [{"start": 0, "end": 1_000_000, "init_lr": 1e-4, "decay_rate": 0.999, "decay_interval": 1000}],
}
GATES = tm.SuccessGates(max_stage=4)


def plan_of(lr_schedule, **changes):
    """The plan of these tables, and what is wrong with them."""
    given = {
        "lr": 1e-4,
        "base_lr": 1e-4,
        "decay_rate": None,
        "fit_schedules": False,
        "noise": 0.1,
        "gates": GATES,
        "num_train_frames": 6_000_000,
        "action_repeat": 1,
    }
    faults = []
    return Schedules(lr_schedule=lr_schedule, **{**given, **changes}).plan(faults), [str(fault) for fault in faults]


def good_plan(lr_schedule, **changes):
    plan, faults = plan_of(lr_schedule, **changes)
    assert faults == []
    return plan


@pytest.mark.parametrize("nothing", [None, {}, {"encoder": None, "critic": None}])
def test_without_tables_every_network_has_the_constant_lr(nothing):
    plan = good_plan(nothing, lr=3e-4)
    assert list(plan.schedules) == ["encoder.lr", "actor.lr", "critic.lr", "noise", "curriculum_stage"]
    assert all(plan[f"{name}.lr"] == tm.Constant(value=3e-4) for name in NETWORKS)
    assert plan.clock == "env_steps"
    assert plan.total == 6_000_000


def test_a_network_without_a_table_has_the_constant_lr_beside_one_with():
    plan = good_plan({"encoder": STEPS}, lr=2e-4)
    assert plan["encoder.lr"](0) == 2e-4
    assert plan["actor.lr"] == plan["critic.lr"] == tm.Constant(value=2e-4)


def test_each_network_follows_its_own_table():
    plan = good_plan({"encoder": STEPS, "actor": DECAY})
    counts = [0, 999_999, 1_000_000, 2_999_999, 3_000_000, 10**9]
    assert [plan["encoder.lr"](count) for count in counts] == [1e-4, 1e-4, 5e-5, 5e-5, 1e-5, 1e-5]
    exact = [1e-4 * 0.999 ** (count // 1000) for count in (0, 999, 1000, 500_000, 2_000_000)]
    found = [plan["actor.lr"](count) for count in (0, 999, 1000, 500_000, 2_000_000)]
    np.testing.assert_allclose(found, exact, rtol=1e-13, atol=0)  # libm's pow


@pytest.mark.parametrize(("lr", "base_lr"), [(2e-4, 1e-4), (5e-5, 1e-4), (1e-3, 1e-4), (3e-4, 2e-4), (0.0, 1e-4)])
def test_lr_over_base_lr_scales_every_rate_of_every_table_to_the_last_digit(lr, base_lr):
    line = {"type": "linear_decay", "intervals": [{"start": 0, "end": 100, "init_lr": 4e-4, "final_lr": 2e-4}]}
    plan = good_plan({"encoder": STEPS, "actor": DECAY, "critic": line}, lr=lr, base_lr=base_lr)
    ratio = {2e-4: 2, 5e-5: 0.5, 1e-3: 10, 3e-4: 1.5, 0.0: 0}[lr]
    assert plan["encoder.lr"](0) == pytest.approx(1e-4 * ratio, rel=1e-15, abs=0)
    assert plan["encoder.lr"](3_000_000) == pytest.approx(1e-5 * ratio, rel=1e-15, abs=0)
    assert plan["actor.lr"](0) == pytest.approx(1e-4 * ratio, rel=1e-15, abs=0)
    assert plan["critic.lr"](0) == pytest.approx(4e-4 * ratio, rel=1e-15, abs=0)
    assert plan["critic.lr"](100) == pytest.approx(2e-4 * ratio, rel=1e-15, abs=0)


def test_a_scaled_rate_is_the_decimal_that_one_would_write():
    rows = [{"start": place, "end": place + 1, "lr": lr} for place, lr in enumerate((7e-5, 3e-5, 1.2e-4))]
    plan = good_plan({"encoder": {"type": "step_decay", "intervals": rows}}, lr=3e-4)
    assert [plan["encoder.lr"](count) for count in range(3)] == [2.1e-4, 9e-5, 3.6e-4]


def test_any_schedule_of_a_plan_may_stand_for_a_network_and_is_scaled_too():
    given = {"encoder": {"type": "warmup_cosine", "peak_value": 1e-4, "warmup": "5%"}, "actor": 3e-4, "critic": "2e-4"}
    plan = good_plan(given)
    assert plan["encoder.lr"](300_000) == 1e-4
    assert plan["actor.lr"] == tm.Constant(value=3e-4)
    assert plan["critic.lr"] == tm.Constant(value=2e-4)
    twice = good_plan(given, lr=2e-4)
    assert [twice["encoder.lr"](count) for count in (0, 300_000)] == [0.0, 2e-4]
    assert [twice[f"{name}.lr"](0) for name in ("actor", "critic")] == [6e-4, 4e-4]


def test_a_step_table_whose_type_alone_was_changed_decays_from_its_rates():
    plan = good_plan({"actor": {**STEPS, "type": "exponential_decay"}})
    found = [plan["actor.lr"](count) for count in (0, 999, 1000, 1_000_000, 1_002_000)]
    exact = [1e-4, 1e-4, 1e-4 * 0.999, 5e-5, 5e-5 * 0.999**2]
    np.testing.assert_allclose(found, exact, rtol=1e-13, atol=0)


def test_what_such_a_table_says_about_its_decay_holds():
    rows = [{"start": 0, "lr": 1e-4, "decay_rate": 0.5}, {"start": 0, "lr": 1e-4, "decay_interval": 10}]
    first, second = (good_plan({"actor": {"type": "exponential_decay", "intervals": [row]}}) for row in rows)
    assert [first["actor.lr"](count) for count in (999, 1000)] == [1e-4, 5e-5]
    assert [second["actor.lr"](count) for count in (9, 10)] == [1e-4, pytest.approx(1e-4 * 0.999, rel=1e-13, abs=0)]


def test_an_exponential_table_that_lacks_its_decay_is_still_refused():
    _, faults = plan_of({"actor": {"type": "exponential_decay", "intervals": [{"start": 0, "init_lr": 1e-4}]}})
    assert [fault.split(":")[0] for fault in sorted(faults)] == [
        "lr_schedule.actor.intervals[0].decay_interval",
        "lr_schedule.actor.intervals[0].decay_rate",
    ]


def test_decay_rate_replaces_that_of_every_exponential_interval_and_nothing_else():
    two = [{"start": 0, "end": 100, "init_lr": 1.0, "decay_rate": 0.9, "decay_interval": 10}]
    two += [{"start": 100, "init_lr": 2.0, "decay_rate": 0.8, "decay_interval": 10}]
    plan = good_plan(
        {"encoder": STEPS, "actor": {"type": "exponential_decay", "intervals": two}, "critic": {**STEPS, **DECAY}},
        decay_rate=0.5,
    )
    assert plan["encoder.lr"] == good_plan({"encoder": STEPS})["encoder.lr"]
    assert [plan["actor.lr"](count) for count in (9, 10, 100, 110)] == [1.0, 0.5, 2.0, 1.0]
    assert plan["critic.lr"](1000) == 5e-5


def test_fitting_puts_the_last_end_of_all_networks_on_the_end_of_the_run():
    plan = good_plan({"encoder": STEPS, "actor": DECAY}, fit_schedules=True, num_train_frames=60_000)
    assert [plan["encoder.lr"](count) for count in (9_999, 10_000, 29_999, 30_000)] == [1e-4, 5e-5, 5e-5, 1e-5]
    (interval,) = plan["actor.lr"].intervals
    assert dict(interval) == {"start": 0, "end": 10_000, "init_lr": 1e-4, "decay_rate": 0.999, "decay_interval": 10}
    long = good_plan({"encoder": STEPS}, fit_schedules=True, num_train_frames=24_000_000, action_repeat=2)
    assert [long["encoder.lr"](count) for count in (1_999_999, 2_000_000)] == [1e-4, 5e-5]


def test_fitting_leaves_alone_what_follows_the_stage_or_is_no_table():
    staged = {"clock": "curriculum_stage", "type": "step_decay", "intervals": [{"start": 0, "end": 3, "lr": 1e-4}]}
    cosine = {"type": "cosine", "init_value": 1e-4, "end_value": 0.0, "duration": 500}
    tables = {"encoder": staged, "actor": cosine}
    assert good_plan(tables, fit_schedules=True) == good_plan(tables)
    both = good_plan({**tables, "critic": STEPS}, fit_schedules=True, num_train_frames=6000)
    assert both["encoder.lr"] == good_plan(tables)["encoder.lr"]
    assert both["critic.lr"](1000) == 5e-5


def test_fitting_needs_to_know_how_long_the_table_is():
    _, faults = plan_of({"critic": {"type": "step_decay", "intervals": [{"lr": 1e-4}]}}, fit_schedules=True)
    assert faults[0].startswith("lr_schedule.critic.intervals: fit_schedules needs the `end` of the last interval")


def test_a_table_on_the_curriculums_clock_follows_the_stage():
    rows = [{"start": 0, "end": 2, "lr": 1e-4}, {"start": 2, "lr": 5e-5}]
    plan = good_plan({"encoder": {"clock": "curriculum_stage", "type": "step_decay", "intervals": rows}}, lr=2e-4)
    assert plan["encoder.lr"].clocks == {"stage"}
    assert [plan["encoder.lr"].schedule(stage) for stage in range(4)] == [2e-4, 2e-4, 1e-4, 1e-4]
    smooth = {"type": "linear", "init_value": 1e-4, "end_value": 5e-5, "duration": 4, "clock": "curriculum_stage"}
    plan = good_plan({"encoder": smooth})
    assert plan["encoder.lr"].schedule(4) == 5e-5


def test_without_a_curriculum_nothing_can_follow_its_stage():
    tables = {"encoder": {"clock": "curriculum_stage", **STEPS}}
    plan, faults = plan_of(tables, gates=None)
    assert plan is None
    assert faults[0].startswith("lr_schedule.encoder.clock: curriculum_stage needs a curriculum")
    assert "curriculum_stage" not in good_plan(None, gates=None).schedules


def test_lengths_may_be_shares_of_the_run_or_frames():
    rows = [{"start": 0, "end": "25%", "lr": 1e-4}, {"start": "25%", "end": "3M frames", "lr": 5e-5}]
    rows += [{"start": "3M frames", "lr": 1e-5}]
    plan = good_plan({"encoder": {"type": "step_decay", "intervals": rows}}, action_repeat=2)
    assert plan.total == 3_000_000
    counts = (749_999, 750_000, 1_499_999, 1_500_000)
    assert [plan["encoder.lr"](count) for count in counts] == [1e-4, 5e-5, 5e-5, 1e-5]


def test_every_fault_comes_at_once_with_the_path_that_the_user_wrote():
    overlap = [{"start": 0, "end": 2_000_000, "lr": 1e-4}, {"start": 1_000_000, "end": 3_000_000, "lr": 5e-5}]
    plan, faults = plan_of(
        {
            "encoder": {"type": "step_decay", "intervals": overlap},
            "actor": {"type": "step_decya", "intervals": overlap},
            "critic": {"clock": "curriculum_stag", "type": "step_decay", "intervals": [{"start": 0, "lr": "fast"}]},
            "critc": STEPS,
        },
        noise="linear(1.0, 0.1)",
    )
    assert plan is None
    found = dict(fault.split(": ", 1) for fault in faults)
    assert set(found) == {
        "lr_schedule.critc",
        "lr_schedule.critic.clock",
        "noise",
        "lr_schedule.encoder.intervals[1]",
        "lr_schedule.actor.type",
        "lr_schedule.critic.intervals[0].lr",
    }
    assert found["lr_schedule.critc"].endswith("this run has encoder, actor, critic. Did you mean critic?")
    assert found["lr_schedule.critic.clock"].endswith("Did you mean curriculum_stage?")
    assert found["lr_schedule.encoder.intervals[1]"].startswith("starts at 1_000_000, before intervals[0] ends")


@pytest.mark.parametrize(
    ("tables", "path"),
    [
        ([1], "lr_schedule"),
        ({"actor": {"type": "exponential_decay", "intervals": "none"}}, "lr_schedule.actor.intervals"),
        ({"actor": {"type": "exponential_decay", "intervals": [3]}}, "lr_schedule.actor.intervals[0]"),
        ({"actor": {"type": "step_decay", "intervals": [[3]]}}, "lr_schedule.actor.intervals[0]"),
        ({"actor": "quick"}, "lr_schedule.actor"),
        ({"actor": {"intervals": []}}, "lr_schedule.actor"),
        ({"actor": {"clock": "curriculum_stage", "type": "step_decay", "intervals": [{"lr": None}]}},
         "lr_schedule.actor.intervals[0].lr"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_no_table_is_refused_where_it_stands(tables, path, scale):
    _, faults = plan_of(tables, lr=scale * 1e-4, fit_schedules=False)
    assert faults[0].startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("linear(1.0,0.1,500000)", [(0, 1.0), (250_000, 0.55), (500_000, 0.1), (10**7, 0.1)]),
        ("linear(0.42, 0.01, 5M)", [(0, 0.42), (2_500_000, 0.215), (5_000_000, 0.01)]),
        ("step_linear(1.0,0.5,100,0.1,400)", [(0, 1.0), (50, 0.75), (100, 0.5), (300, 0.3), (500, 0.1), (900, 0.1)]),
        ("0.2", [(0, 0.2), (10**6, 0.2)]),
        (0.3, [(0, 0.3)]),
        ({"type": "cosine", "init_value": 1.0, "end_value": 0.0, "duration": "50%"}, [(0, 1.0), (3_000_000, 0.0)]),
    ],
)
def test_noise_reads_as_drqv2_writes_it_or_as_any_schedule(written, expected):
    noise = good_plan(None, noise=written)["noise"]
    for count, value in expected:
        assert noise(count) == pytest.approx(value, rel=1e-12, abs=0)


def test_drqv2s_strings_agree_with_its_published_formula():
    """`utils.schedule` of DrQ-v2: a mix clipped to [0, 1] of the count over the duration."""

    def published(name, count, numbers):
        if name == "linear":
            init, final, duration = numbers
            mix = np.clip(count / duration, 0.0, 1.0)
            return (1.0 - mix) * init + mix * final
        init, final1, duration1, final2, duration2 = numbers
        if count <= duration1:
            mix = np.clip(count / duration1, 0.0, 1.0)
            return (1.0 - mix) * init + mix * final1
        mix = np.clip((count - duration1) / duration2, 0.0, 1.0)
        return (1.0 - mix) * final1 + mix * final2

    for name, numbers in (("linear", (1.0, 0.1, 500)), ("step_linear", (1.0, 0.5, 300, 0.1, 700))):
        noise = good_plan(None, noise=f"{name}({','.join(map(str, numbers))})")["noise"]
        counts = np.arange(0, 1500, 7)
        exact = [published(name, count, numbers) for count in counts.tolist()]
        np.testing.assert_allclose(noise(counts), exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("noise", "match"),
    [
        ("linear(1.0, 0.1)", r"must be a number, linear\(init, end, duration\), .*got 'linear\(1.0, 0.1\)'"),
        ("step_linear(1.0, 0.1, 500)", "must be a number"),
        ("cosine(1.0, 0.1, 500)", "must be a number"),
        ("linear(1.0, x, 500)", "' x' is not a number, in 'linear"),
        ("linear(1.0, 0.1, 0.5)", "a duration must be a count of at least 1, got 0.5"),
        ("linear(1.0, 0.1, 0)", "a duration must be a count of at least 1, got 0"),
    ],
)
def test_a_noise_that_cannot_be_read_is_refused(noise, match):
    with pytest.raises(tm.ScheduleError, match=match):
        noise_schedule(noise)


def test_a_noise_that_is_nothing_at_all_is_a_fault_of_the_noise():
    _, faults = plan_of(None, noise="loud")
    assert faults[0].startswith("noise: must be a number or a schedule")


def test_a_plans_paths_are_told_as_the_user_wrote_them():
    assert config_path("schedules.actor.lr.schedule.intervals[1].lr") == "lr_schedule.actor.intervals[1].lr"
    assert config_path("schedules.actor.lr") == "lr_schedule.actor"
    assert config_path("schedules.actor.lrx") == "actor.lrx"
    assert config_path("total") == "num_train_frames"
    assert config_path("schedules.noise") == "noise"
