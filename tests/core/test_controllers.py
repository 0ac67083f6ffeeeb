"""Controllers: a plateau as a pure rule, and the compositions of measurements with schedules that nobody else has."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false, reportOptionalOperand=false

import json
import math
from typing import Any

import numpy as np
import pytest
from core.stepping import levels, resumed, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits, plateaus, success_gates

import tempomat as tm

WARMUP = tm.Linear(init_value=0.0, end_value=0.8, duration=10)
COSINE = tm.Cosine(init_value=1.0, end_value=0.0, duration=100)


def test_it_drops_after_more_than_patience_bad_measurements_in_a_row():
    rule = tm.Plateau(factor=0.5, patience=2, init_value=1.0)
    assert levels(rule, [1, 1, 1, 1, 1, 1, 1]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert levels(rule, [1, 1, 1, 0.5, 1, 1, 1]) == [1, 1, 1, 1, 1, 1, 1, 0.5]


def test_without_patience_every_bad_measurement_drops():
    assert levels(tm.Plateau(factor=0.5, patience=0, init_value=1.0), [1, 1, 1]) == [1, 1, 0.5, 0.25]


def test_while_cooling_down_bad_measurements_do_not_count():
    rule = tm.Plateau(factor=0.5, patience=0, cooldown=2, init_value=1.0)
    assert levels(rule, [1, 1, 1, 1, 1, 1, 1]) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_a_better_measurement_while_cooling_down_is_remembered():
    rule = tm.Plateau(factor=0.5, patience=0, cooldown=3, init_value=1.0)
    assert run(rule, [1, 1, 0.5])[-1]["best"] == 0.5


def test_it_never_falls_below_its_floor_nor_by_less_than_eps():
    assert levels(tm.Plateau(factor=0.5, patience=0, min_value=0.4, init_value=1.0), [1, 1, 1, 1])[-2:] == [0.4, 0.4]
    assert levels(tm.Plateau(factor=0.9, patience=0, eps=0.1, init_value=1.0), [1, 1, 1])[-1] == 1.0
    assert levels(tm.Plateau(factor=0.9, patience=0, eps=0.09, init_value=1.0), [1, 1, 1])[-1] == 0.9


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "best", "just_no", "just_better"),
    [
        ("min", "rel", 10.0, 9.0, 8.99),
        ("min", "abs", 10.0, 9.9, 9.89),
        ("max", "rel", 10.0, 11.0, 11.01),
        ("max", "abs", 10.0, 10.1, 10.11),
        ("min", "rel", -10.0, -11.0, -11.01),
        ("min", "abs", -10.0, -10.1, -10.11),
        ("max", "rel", -10.0, -9.0, -8.99),
        ("max", "abs", -10.0, -9.9, -9.89),
        ("min", "rel", 0.0, 0.0, -1e-300),
        ("max", "rel", 0.0, 0.0, 1e-300),
    ],
)
def test_a_measurement_is_better_only_beyond_the_threshold_of_the_size_of_the_best(
    mode, threshold_mode, best, just_no, just_better
):
    """The threshold is of |best|: for a negative best other libraries ask for a worse value."""
    rule = tm.Plateau(mode=mode, threshold=0.1, threshold_mode=threshold_mode)
    assert run(rule, [best, just_no])[-1]["bad"] == 1
    assert run(rule, [best, just_better])[-1]["bad"] == 0


BAD = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_finite_number_is_an_error_unless_told_otherwise(bad):
    rule = tm.Plateau(metric="loss")
    with pytest.raises(
        tm.MeasurementError, match=r"Plateau: loss must be a finite number, got .* at count 7. .*on_nan"
    ):
        rule.update(rule.initial(), bad, 7)


@pytest.mark.parametrize("bad", BAD)
def test_what_is_skipped_changes_nothing_but_its_number(bad):
    rule = tm.Plateau(on_nan="skip", patience=0, init_value=1.0)
    before = run(rule, [1.0])[-1]
    assert rule.update(before, bad, 1) == {**before, "skipped": 1}
    assert run(rule, [1.0, bad, bad])[-1]["skipped"] == 2


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("bad", BAD)
def test_what_counts_as_bad_never_becomes_the_best(mode, bad):
    """One -inf would lock a best for ever."""
    rule = tm.Plateau(on_nan="bad", mode=mode, patience=1, factor=0.5, init_value=1.0)
    states = run(rule, [bad, 1.0, bad, bad])
    assert [state["best"] for state in states] == [None, None, 1.0, 1.0, 1.0]
    assert [rule.level(state) for state in states] == [1.0, 1.0, 1.0, 1.0, 0.5]
    better = 0.5 if mode == "min" else 2.0
    assert rule.update(states[-1], better, 9)["best"] == better


@pytest.mark.parametrize("measurement", ["0.5", None, [0.5], object()])
def test_what_is_no_number_at_all_is_refused_by_name(measurement):
    rule = tm.Plateau(metric="loss")
    with pytest.raises(tm.MeasurementError, match="Plateau: loss must be a"):
        rule.update(rule.initial(), measurement, 3)


@pytest.mark.parametrize("kind", [int, float, np.float32, np.float64, np.int64])
def test_a_state_is_plain_data_whatever_the_measurements_were(kind):
    rule = tm.Plateau(patience=0, init_value=1.0)
    state = run(rule, [kind(2), kind(1), kind(3)])[-1]
    assert {type(value) for value in state.values()} <= {int, float, type(None)}
    assert json.loads(json.dumps(state)) == state


@settings(max_examples=60)
@given(rule=plateaus(), measurements=st.lists(st.floats(-10, 10), max_size=20))
def test_a_rule_is_pure_and_never_changes_a_state(rule, measurements):
    states = [rule.initial()]
    for count, measurement in enumerate(measurements):
        before = dict(states[-1])
        states.append(rule.update(states[-1], measurement, count))
        assert dict(states[-2]) == before
        assert rule.update(states[-2], measurement, count) == states[-1]
    assert rule.initial() == states[0]


@settings(max_examples=60)
@given(rule=plateaus(), measurements=st.lists(st.floats(-10, 10), min_size=1, max_size=20), cut=st.integers(0, 20))
def test_a_rule_goes_on_from_a_saved_state_as_if_it_had_never_stopped(rule, measurements, cut):
    saved = json.loads(json.dumps(run(rule, measurements[:cut])[-1]))
    for count, measurement in enumerate(measurements[cut:], cut):
        saved = rule.update(saved, measurement, count)
    assert saved == run(rule, measurements)[-1]


@settings(max_examples=60)
@given(rule=plateaus(), measurements=st.lists(st.floats(-10, 10), max_size=20))
def test_every_state_that_a_rule_reaches_is_one_of_its_states(rule, measurements):
    for state in run(rule, measurements):
        rule.check(state)
        rule.check(json.loads(json.dumps(state)))
        assert rule.accepts(state)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (None, "a state of Plateau has level, best, bad, cooldown, skipped, got nothing"),
        ({"wrst": 1.0}, "got level, best, bad, cooldown, skipped, wrst"),
        ({"level": None}, "a state of Plateau cannot have level = None"),
        ({"level": "1"}, "cannot have level = '1'"),
        ({"level": True}, "cannot have level = True"),
        ({"level": math.nan}, "cannot have level = nan"),
        ({"best": math.inf}, "cannot have best = inf"),
        ({"best": [1.0]}, "cannot have best = "),
        ({"bad": -1}, "cannot have bad = -1"),
        ({"bad": 1.0}, "cannot have bad = 1.0"),
        ({"bad": False}, "cannot have bad = False"),
        ({"cooldown": None}, "cannot have cooldown = None"),
    ],
)
def test_what_is_no_state_of_a_rule_is_refused(change, match):
    rule = tm.Plateau()
    with pytest.raises(tm.StateError, match=match):
        rule.check(change if change is None else {**rule.initial(), **change})


def test_a_state_below_the_floor_of_another_rule_is_not_accepted_by_it():
    state = run(tm.Plateau(patience=0, factor=0.5, init_value=1.0), [1, 1, 1])[-1]
    assert tm.Plateau(min_value=0.25, init_value=1.0).accepts(state)
    assert not tm.Plateau(min_value=0.26, init_value=1.0).accepts(state)


def test_a_factor_cannot_have_a_floor_above_its_start():
    assert tm.Plateau(min_value=1.0).accepts(tm.Plateau(min_value=1.0).initial())
    with pytest.raises(tm.ScheduleError, match=r"Plateau: `min_value`"):
        tm.Plateau(min_value=1.5)


@settings(max_examples=60)
@given(rule=plateaus(), measurements=st.lists(st.floats(-10, 10), max_size=30))
def test_levels_only_fall_and_stay_at_or_above_the_floor(rule, measurements):
    found = levels(rule, measurements)
    assert found == sorted(found, reverse=True)
    assert found[0] == (1.0 if rule.init_value is None else rule.init_value)
    assert min(found) >= min(rule.min_value, found[0])


def test_the_level_is_the_value_with_an_init_value_and_a_factor_without():
    assert not tm.Plateau(init_value=0.1).relative
    assert tm.Plateau().relative
    assert levels(tm.Plateau(init_value=0.1), [])[0] == 0.1
    assert levels(tm.Plateau(), [])[0] == 1.0


def test_a_level_of_zero_is_a_level():
    rule = tm.Plateau(factor=0.0, patience=0, init_value=1.0)
    assert levels(rule, [1, 1, 1]) == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"factor": 1.0}, "Plateau: `factor` must be below 1, got 1"),
        ({"factor": -0.1}, "`factor` must be at least 0"),
        ({"patience": -1}, "`patience` must be between 0"),
        ({"patience": 1.5}, "`patience` must be an integer count"),
        ({"cooldown": True}, "`cooldown` must be an integer count"),
        ({"threshold": -1}, "`threshold` must be at least 0"),
        ({"threshold_mode": "relative"}, "`threshold_mode` must be one of rel, abs, got 'relative'"),
        ({"mode": "minimum"}, "`mode` must be one of min, max, got 'minimum'"),
        ({"mode": "mni"}, "Did you mean min?"),
        ({"min_value": -1}, "`min_value` must be at least 0"),
        ({"eps": math.nan}, "`eps` must be finite"),
        ({"metric": " "}, "`metric` must be a name"),
        ({"metric": 3}, "`metric` must be a name, got 3"),
        ({"on_nan": "ignore"}, "`on_nan` must be one of error, skip, bad"),
        ({"init_value": 0.1, "min_value": 0.2}, r"`init_value` must not be below `min_value` \(0.2\), got 0.1"),
        ({"factor": 2, "patience": -1, "mode": 3}, "Plateau: 3 faults"),
    ],
)
def test_what_cannot_be_is_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.Plateau(**given)


def test_a_tree_with_a_controller_is_no_schedule_and_says_how_to_get_one():
    tree = COSINE * tm.Plateau()
    assert isinstance(tree, tm.Reactive)
    assert not isinstance(tree, tm.Schedule)
    assert repr(tree) == f"Product(parts=({COSINE!r}, {tm.Plateau()!r}))"
    with pytest.raises(tm.ScheduleError, match=r"depends on measurements \(Plateau\).*tree.given\(\[1.0\]\)\(count\)"):
        tree(5)
    with pytest.raises(tm.ScheduleError, match=r"depends on measurements \(Plateau\)"):
        tm.Plateau()(np.arange(3))


def test_a_plateau_scales_a_schedule():
    tree = COSINE * tm.Plateau()
    assert bits(tree.given([0.25])(np.arange(120))) == bits(COSINE(np.arange(120)) * 0.25)
    assert isinstance(tree.given([0.25]), tm.Schedule)


def test_a_plateau_after_a_schedule_goes_on_from_the_value_reached():
    tree = WARMUP.then(tm.Plateau(), at=10)
    assert [tree.given([1.0])(count) for count in (0, 5, 10, 11, 2**62)] == [0.0, 0.4, 0.8, 0.8, 0.8]
    assert [tree.given([0.5])(count) for count in (0, 5, 10, 2**62)] == [0.0, 0.4, 0.4, 0.4]
    early = WARMUP.then(tm.Plateau(), at=4)
    assert early.given([1.0])(100) == WARMUP(4)


def test_a_plateau_with_a_value_of_its_own_starts_there_instead():
    tree = WARMUP.then(tm.Plateau(init_value=0.3), at=10)
    assert [tree.given([0.3])(count) for count in (5, 10)] == [0.4, 0.3]


def test_a_plateau_in_the_middle_hands_over_to_what_follows():
    tree = WARMUP.then(tm.Plateau(), at=10).then(COSINE, at=50)
    assert [tree.given([0.5])(count) for count in (5, 49, 50, 100)] == [0.4, 0.4, 1.0, COSINE(50)]


def test_one_plateau_after_another_goes_on_from_where_the_first_one_is():
    tree = WARMUP.then(tm.Plateau(metric="a"), at=10).then(tm.Plateau(metric="b"), at=50)
    assert [tree.given([0.5, 0.25])(count) for count in (10, 49, 50)] == [0.4, 0.4, 0.1]


def test_controllers_are_counted_from_left_to_right_through_any_nesting():
    a, b, c = (tm.Plateau(metric=name) for name in "abc")
    tree = (COSINE * a).then((WARMUP + b).clip(max=2.0), at=20).minimum(c)
    assert [one.metric for one in tree.controllers] == ["a", "b", "c"]
    fixed = tree.given([0.5, 0.25, 3.0])
    assert fixed(10) == COSINE(10) * 0.5
    assert fixed(25) == WARMUP(5) + 0.25
    assert tree.given([4.0, 0.25, 0.01])(10) == 0.01


def test_a_controller_may_stand_in_every_composition_but_those_that_bend_time():
    rule = tm.Plateau(init_value=1.0)
    for tree in (
        rule + 1,
        rule * COSINE,
        rule.minimum(3),
        rule.maximum(0),
        rule.clip(max=3),
        rule.shift(5),
        tm.on("epochs", rule),
        rule.then(2, at=3),
    ):
        assert tree.controllers == (rule,)
        assert tree.given([1.0]).controllers == ()
        assert eval(repr(tree), dict(vars(tm))) == tree
    with pytest.raises(tm.ScheduleError, match="Stretch: a controller cannot be stretched"):
        (COSINE * rule).stretch(2)
    with pytest.raises(tm.ScheduleError, match="Repeat: a controller cannot be repeated"):
        (COSINE * rule).repeat(10)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: tm.Plateau().then(COSINE, at=0), r"boundaries\[0\].* must be at least 1"),
        (lambda: (COSINE * tm.Plateau()).clip(), "both left out"),
        (lambda: tm.Sequence(parts=(COSINE, tm.Plateau()), boundaries=(1, 2)), "one less than the parts"),
        (lambda: tm.Sum(parts=(tm.Plateau(),)), "`parts` must have 2 to 4096 entries"),
        (lambda: tm.Sum(parts=tm.Plateau()), "`parts` must be a list"),
    ],
)
def test_a_composition_with_a_controller_is_held_to_the_same_rules(build, match):
    with pytest.raises(tm.ScheduleError, match=match):
        build()


@pytest.mark.parametrize(
    ("levels", "match"),
    [
        ([], "1 controllers need as many levels, got 0"),
        ([1.0, 2.0], "1 controllers need as many levels, got 2"),
        (5, "levels must be a list"),
        (["high"], "level 'high' is not a number"),
        ([math.nan], "level must be finite"),
        ([tm.Plateau()], "a level must be a number or a schedule without controllers, got Plateau"),
    ],
)
def test_levels_are_as_many_as_controllers_and_have_none_themselves(levels, match):
    for tree in (COSINE * tm.Plateau(), tm.Plateau()):
        with pytest.raises(tm.ScheduleError, match=match):
            tree.given(levels)


def test_a_whole_run_is_replayed_by_putting_its_decisions_in_the_controllers_place():
    tree = COSINE * tm.Plateau()
    decisions = tm.PiecewiseConstant(values=(1.0, 0.5, 0.25), boundaries=(30, 60))
    replay = tree.given([decisions])
    live = [tree.given([1.0 if count < 30 else 0.5 if count < 60 else 0.25])(count) for count in range(120)]
    assert bits(replay(np.arange(120))) == bits(live)
    assert eval(repr(replay), dict(vars(tm))) == replay


def test_a_replay_after_a_warmup_multiplies_the_value_reached_at_the_boundary():
    tree = WARMUP.then(tm.Plateau(), at=10)
    replay = tree.given([tm.PiecewiseConstant(values=(1.0, 0.5), boundaries=(20,))])
    assert [replay(count) for count in (5, 10, 29, 30)] == [0.4, 0.8, 0.8, 0.4]


def heard(tree):
    """For each controller the clocks and counts under which it hears measurements."""
    return [set(conditions) for conditions in tree.listening()]


def test_each_controller_listens_while_its_part_is_in_force():
    a, b, c = (tm.Plateau(metric=name) for name in "abc")
    assert heard(COSINE * a) == [set()]
    tree = WARMUP.then(a, at=10).then(COSINE * b, at=50)
    assert heard(tree) == [{("", 10, 50)}, {("", 50, None)}]
    assert heard(tm.on("epochs", tree)) == [{("epochs", 10, 50)}, {("epochs", 50, None)}]
    assert heard(c.shift(7)) == [{("", 7, None)}]
    assert heard((c + WARMUP.then(a, at=10)).shift(5)) == [{("", 5, None)}, {("", 5, None), ("", 15, None)}]


def test_a_controller_first_in_a_sequence_listens_from_the_start_until_it_ends():
    assert heard(tm.Plateau(init_value=1.0).then(COSINE, at=10)) == [{("", 0, 10)}]


def test_a_plateau_may_follow_a_schedule_whose_length_is_not_known_yet():
    tree = tm.Linear(init_value=0, end_value=0.8, duration="5%").then(tm.Plateau(), at=50)
    later = tm.Linear(init_value=0, end_value=0.8, duration="5%").then(tm.Plateau(), at="5%")
    for one in (tree, later):
        assert not one.resolved
        assert eval(repr(one), dict(vars(tm))) == one
        resolved = one.resolve(tm.Horizon(total=tm.Duration("1000")))
        assert resolved == tm.Linear(init_value=0, end_value=0.8, duration=50).then(tm.Plateau(), at=50)
        assert resolved.given([0.5])(50) == 0.4


def test_a_tree_with_a_controller_has_the_clocks_of_its_parts():
    assert tm.Plateau().clocks == set()
    assert (tm.on("epochs", COSINE) * tm.Plateau()).clocks == {"epochs"}
    assert tm.on("epochs", COSINE).then(tm.Plateau(), at=5).clocks == {"", "epochs"}


def test_a_rule_of_ones_own_needs_its_reducer_alone():
    from collections.abc import Mapping
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True, repr=False)
    class Halve(tm.Controller):
        """Halves at every measurement above a bound."""

        metric: str = "kl"
        bound: float = 1.0

        def initial(self) -> Mapping:
            return {"level": 1.0}

        def update(self, state, observation, count):
            return {"level": self.level(state) * (0.5 if observation > self.bound else 1.0)}

        def level(self, state) -> Any:
            return state["level"]

    rule = Halve()
    assert levels(rule, [0.5, 2.0, 2.0]) == [1.0, 1.0, 0.5, 0.25]
    assert (COSINE * rule).given([0.5])(0) == 0.5


# success gates


GATES = tm.SuccessGates(window=10, min_episodes=4, success_rate=0.75, max_stage=3, require_consecutive_windows=2)


def naive_gates(rule, episodes):
    """The stage and the rolling rate after each (success, count), as the rule is told in words, with lists."""
    stage, window, outcomes, passes, wait = rule.initial_stage, [0] * rule.bootstrap_failures, [], 0, 0
    least = rule.min_episodes if rule.min_stage_episodes is None else rule.min_stage_episodes
    told = []
    for success, count in episodes:
        window = [*window, success][-rule.window :]
        outcomes.append(success)
        if len(window) < rule.min_episodes or sum(window) / len(window) < rule.success_rate:
            passes = 0
        else:
            passes += 1
        cooling = wait > 0
        wait -= cooling
        open_gate = passes >= rule.require_consecutive_windows and len(outcomes) >= least
        if open_gate and count >= rule.after and not cooling and stage < rule.max_stage:
            stage, window, outcomes, passes = stage + 1, [0] * rule.bootstrap_failures, [], 0
            wait = rule.cooldown_episodes
        told.append((stage, sum(window) / len(window) if window else None))
    return told


@settings(max_examples=50)
@given(
    rule=success_gates(st.integers(0, 100)),
    seed=st.integers(0, 2**32 - 1),
    skill=st.sampled_from([0.5, 0.8, 0.9, 1.0]),
)
def test_stages_advance_as_an_independent_implementation_with_lists_says(rule, seed, skill):
    rng = np.random.default_rng(seed)
    counts = np.cumsum(rng.integers(0, 3, 200)).tolist()
    episodes = list(zip((rng.random(200) < skill).astype(int).tolist(), counts, strict=True))
    state, found = rule.initial(), []
    for success, count in episodes:
        state = rule.update(state, success, count)
        found.append((rule.level(state), rule.rate(state)))
    assert found == naive_gates(rule, episodes)


def test_a_stage_is_passed_when_enough_windows_in_a_row_reach_the_gate():
    assert levels(GATES, [1] * 4)[-1] == 0.0
    assert levels(GATES, [1] * 5)[-1] == 1.0
    assert levels(GATES, [0, 1, 1, 1])[-1] == 0.0
    assert levels(GATES, [0, 1, 1, 1, 1])[-1] == 1.0, "3 of 4 and 4 of 5 both reach 0.75"
    assert levels(GATES, [1, 1, 1, 0, 0, 1, 1, 1])[-1] == 0.0, "a window below the gate ends the row"


def test_a_rate_just_at_the_gate_passes():
    gates = tm.SuccessGates(window=100, min_episodes=100, success_rate=0.85, max_stage=1, require_consecutive_windows=1)
    assert levels(gates, [0] * 15 + [1] * 85)[-1] == 1.0
    assert levels(gates, [0] * 16 + [1] * 84)[-1] == 0.0


def test_after_an_advance_everything_but_the_stage_starts_anew():
    state = run(GATES, [1] * 5)[-1]
    assert state == {**GATES.initial(), "stage": 1}
    assert GATES.rate(state) is None


def test_the_last_stage_is_never_left_and_no_stage_goes_down():
    found = levels(GATES, [1] * 40 + [0] * 100)
    assert found == sorted(found)
    assert found[-1] == 3.0


def test_no_stage_is_passed_before_the_count_it_must_wait_for():
    gates = tm.SuccessGates(window=4, min_episodes=1, max_stage=9, require_consecutive_windows=1, after=7)
    assert levels(gates, [1] * 9) == [0] * 8 + [1, 2]


def test_a_wait_given_as_a_duration_is_a_count_once_the_plan_is_resolved():
    gates = tm.SuccessGates(window=4, min_episodes=1, max_stage=9, require_consecutive_windows=1, after="14 frames")
    with pytest.raises(tm.ScheduleError, match="'14 frames' is no count yet"):
        gates.update(gates.initial(), 1, 0)
    plan = tm.Plan({"stage": gates}, clock="env_steps", rates={"action_repeat": 2}).resolve()
    assert levels(plan["stage"], [1] * 9) == [0] * 8 + [1, 2]


def test_a_cooldown_holds_the_stage_for_so_many_episodes_after_an_advance_and_not_before_the_first():
    gates = tm.SuccessGates(window=4, min_episodes=1, max_stage=9, require_consecutive_windows=1, cooldown_episodes=3)
    assert levels(gates, [1] * 9) == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_the_least_number_of_episodes_in_a_stage_is_that_of_the_window_unless_it_is_given():
    gates = {"window": 4, "min_episodes": 2, "max_stage": 9, "require_consecutive_windows": 1}
    assert levels(tm.SuccessGates(**gates), [1] * 4) == [0, 0, 1, 1, 2]
    assert levels(tm.SuccessGates(**gates, min_stage_episodes=3), [1] * 6) == [0, 0, 0, 1, 1, 1, 2]
    assert levels(tm.SuccessGates(**gates, min_stage_episodes=0, bootstrap_failures=0), [1] * 4) == [0, 0, 1, 1, 2]


def test_a_window_that_starts_with_failures_delays_the_gate_and_fills_the_window():
    gates = tm.SuccessGates(
        window=4, min_episodes=4, success_rate=0.5, max_stage=1, require_consecutive_windows=1, bootstrap_failures=3,
        min_stage_episodes=0,
    )  # fmt: skip
    states = run(gates, [1, 1])
    assert [gates.rate(state) for state in states] == [0.0, 0.25, 0.0]
    assert [gates.level(state) for state in states] == [0.0, 0.0, 1.0]


@settings(max_examples=40)
@given(
    rule=success_gates(st.integers(0, 10)),
    measurements=st.lists(st.integers(0, 1), max_size=30),
    cut=st.integers(0, 30),
)
def test_gates_are_pure_and_go_on_from_saved_states_that_are_their_own(rule, measurements, cut):
    for state in resumed(rule, measurements, cut):
        assert {type(value) for value in state.values()} == {int}


def test_the_state_of_the_widest_window_survives_json_and_a_checkpoint(tmp_path):
    torch = pytest.importorskip("torch")
    gates = tm.SuccessGates(window=1000, min_episodes=1000, max_stage=1)
    state = run(gates, [1] * 1000)[-1]
    assert state["window"] == 2**1000 - 1
    torch.save(state, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == json.loads(json.dumps(state)) == state


def test_gates_go_on_in_a_scheduler_from_its_saved_state_as_if_it_had_never_stopped():
    torch = pytest.importorskip("torch")
    from tempomat.torch import Scheduler

    plan = tm.Plan({"lr": tm.on("stage", tm.PiecewiseConstant(values=(1.0, 0.5), boundaries=(1,))), "stage": GATES})
    layer = torch.nn.Linear(1, 1)
    one, two = (Scheduler(torch.optim.SGD(layer.parameters(), lr=1.0), plan, targets={"stage": None}) for _ in "ab")
    outcomes = [1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    for place, outcome in enumerate(outcomes):
        one.observe(success=outcome)
        if place == 5:
            two.load_state_dict(json.loads(json.dumps(one.state_dict())))
        elif place > 5:
            two.observe(success=outcome)
    assert one.values == two.values
    assert one.values["stage"] == naive_gates(GATES, [(outcome, 0) for outcome in outcomes])[-1][0] == 2.0
    assert one.state_dict() == two.state_dict()


def test_a_state_below_the_first_stage_of_other_gates_is_not_accepted_and_one_above_the_last_stays_there():
    state = run(GATES, [1] * 10)[-1]
    assert state["stage"] == 2
    later, shorter = (
        tm.SuccessGates(max_stage=9, initial_stage=3),
        tm.SuccessGates(max_stage=1, window=4, min_episodes=1, require_consecutive_windows=1),
    )
    assert not later.accepts(state)
    assert shorter.accepts(state)
    assert shorter.level(state) == shorter.level(shorter.update(state, 1, 0)) == 1.0


def test_a_narrower_window_takes_over_the_newest_episodes_of_a_wider_one():
    state = run(tm.SuccessGates(window=8, min_episodes=8, max_stage=1), [1, 1, 1, 1, 1, 0, 0, 1])[-1]
    narrow = tm.SuccessGates(window=4, min_episodes=4, max_stage=1)
    assert narrow.rate(narrow.update(state, 1, 0)) == 0.5


@pytest.mark.parametrize("success", [0.5, 2, -1, math.nan, math.inf])
def test_an_episode_either_succeeds_or_fails(success):
    with pytest.raises(tm.MeasurementError, match=r"SuccessGates: success must be 1 \(success\) or 0 .* at count 7"):
        GATES.update(GATES.initial(), success, 7)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"window": 59}, r"`window` holds at most 59 episodes, and `min_episodes` asks for 80: no stage could ever be"),
        ({"window": 1001}, "`window` must be at most 1_000 episodes, got 1_001"),
        ({"window": 0}, "`window` must be at least 1, got 0"),
        ({"window": "5%"}, "`window` must be a count of episodes or stages, got 5%"),
        ({"min_episodes": 0}, "`min_episodes` must be at least 1"),
        ({"success_rate": 1.01}, "`success_rate` must be at most 1, got 1.01"),
        ({"success_rate": 0}, "`success_rate` must be above 0, got 0"),
        ({"initial_stage": 5}, r"`initial_stage` must not be above `max_stage` \(4\), got 5"),
        ({"max_stage": -1}, "`max_stage` must be between 0"),
        ({"min_stage_episodes": -1}, "`min_stage_episodes` must be between 0"),
        ({"require_consecutive_windows": 0}, "`require_consecutive_windows` must be at least 1"),
        ({"cooldown_episodes": 1.5}, "`cooldown_episodes` must be an integer count"),
        ({"bootstrap_failures": 101}, "`bootstrap_failures` must fit into the window of 100, got 101"),
        ({"after": -1}, "`after` must be between 0"),
        ({"window": 10, "success_rate": 2, "initial_stage": 9}, r"SuccessGates: `success_rate`"),
        ({"window": 10, "initial_stage": 9}, "SuccessGates: 2 faults"),
    ],
)
def test_gates_that_nobody_could_pass_are_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.SuccessGates(**{"max_stage": 4, **given})


def test_the_edges_of_what_gates_may_be():
    gates = tm.SuccessGates(
        window=1000, min_episodes=1000, success_rate=1.0, max_stage=0, initial_stage=0, bootstrap_failures=1000
    )
    assert levels(gates, [1] * 3) == [0.0] * 4
    assert not gates.relative
