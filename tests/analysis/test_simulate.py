"""Controllers on given measurements: the same decisions that the core's rules take one by one, and exact values."""

import re

import numpy as np
import pytest

import tempomat as tm
from tempomat.analysis.simulate import LONGEST, simulate

STUCK = [1.0] * 6
HALVE = tm.Plateau(metric="val_loss", factor=0.5, patience=0)


def test_a_tree_without_controllers_is_its_own_values():
    tree = tm.Cosine(init_value=1.0, end_value=0.0, duration=50)
    run = simulate(tree, {}, total=60)
    np.testing.assert_array_equal(run.values, tree(np.arange(60)))
    assert (run.decisions, run.states, run.heard) == ((), (), ())


def test_decisions_are_those_of_the_rule_taken_one_by_one():
    rule = tm.Plateau(factor=0.5, patience=1, cooldown=1)
    losses = [3.0, 2.0, 2.0, 2.5, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    run = simulate(tm.Constant(value=0.1) * rule, {"val_loss": losses}, every=10)
    state, levels = rule.initial(), []
    for place, loss in enumerate(losses, 1):
        state = rule.update(state, loss, 10 * place)
        levels.append(rule.level(state))
    assert run.states == (state,)
    assert run.values[10::10].tolist() == [0.1 * level for level in levels[:-1]]


def test_a_measurement_at_a_count_changes_the_value_of_that_count_and_none_before():
    run = simulate(tm.Constant(value=1.0) * HALVE, {"val_loss": {7: 1.0, 20: 1.0}}, total=30)
    assert run.values[:20].tolist() == [1.0] * 20
    assert run.values[20:].tolist() == [0.5] * 10
    (decision,) = run.decisions
    assert (decision.count, decision.controller, decision.metric) == (20, 0, "val_loss")
    assert (decision.measured, decision.before, decision.after) == (1.0, 1.0, 0.5)


def test_a_factor_scales_a_curve_from_its_decisions_on():
    cosine = tm.Cosine(init_value=1.0, end_value=0.0, duration=60)
    run = simulate(cosine * HALVE, {"val_loss": STUCK}, every=10)
    factor = 0.5 ** np.maximum(np.arange(60) // 10 - 1, 0)
    np.testing.assert_array_equal(run.values, cosine(np.arange(60)) * factor)


def test_a_controller_hears_only_while_its_part_is_in_force():
    tree = tm.Linear(init_value=0.0, end_value=1.0, duration=30).then(HALVE, at=30)
    run = simulate(tree, {"val_loss": STUCK}, every=10, total=80)
    assert run.heard == (4,)  # at 30, where it takes over, and after
    assert [one.count for one in run.decisions] == [40, 50, 60]
    assert run.values[[29, 30, 39, 40, 79]].tolist() == [29 / 30, 1.0, 1.0, 0.5, 0.125]


def test_a_controller_hears_no_more_once_its_part_is_over():
    tree = tm.Plateau(init_value=1.0, factor=0.5, patience=0).then(0.1, at=30)
    run = simulate(tree, {"val_loss": STUCK}, every=10, total=60)
    assert run.heard == (2,)  # at 10 and 20; at 30 the next part begins
    assert run.values[[19, 20, 29, 30]].tolist() == [1.0, 0.5, 0.5, 0.1]


def test_two_controllers_hear_their_own_metric():
    kl = tm.Plateau(metric="kl", factor=0.1, patience=0)
    run = simulate(
        tm.Constant(value=1.0) * HALVE * kl, {"val_loss": STUCK[:2], "kl": {15: 1.0, 25: 1.0}}, every=10, total=30
    )
    assert run.heard == (2, 2)
    assert [(one.count, one.controller) for one in run.decisions] == [(20, 0), (25, 1)]
    assert run.values[-1] == 0.5 * 0.1


def test_a_controller_on_another_clock_is_heard_through_the_rates():
    tree = tm.on("epochs", tm.Linear(init_value=1.0, end_value=1.0, duration=1).then(HALVE, at=2))
    run = simulate(tree, {"val_loss": STUCK}, every="1 epochs", total="6 epochs", rates={"steps_per_epoch": 10})
    assert run.heard == (5,)
    assert [one.count for one in run.decisions] == [30, 40, 50, 60]
    assert run.values[[29, 30]].tolist() == [1.0, 0.5]


def test_a_plan_gives_one_simulation_for_each_entry():
    plan = tm.Plan({"lr": tm.warmup_constant(peak_value=1.0, warmup="10%") * HALVE, "momentum": 0.9}, total="6 epochs")
    runs = simulate(plan, {"val_loss": STUCK}, every="1 epochs", rates={"steps_per_epoch": 10})
    assert list(runs) == ["lr", "momentum"]
    assert runs["lr"].values[[5, 6, 19, 20]].tolist() == [5 / 6, 1.0, 1.0, 0.5]
    assert set(runs["momentum"].values.tolist()) == {0.9}


def test_without_a_total_the_run_ends_with_its_last_measurement_and_shares_are_of_that():
    run = simulate(tm.Linear(init_value=0.0, end_value=1.0, duration="50%") * HALVE, {"val_loss": [2.0, 1.0]}, every=50)
    assert run.values.size == 100
    assert run.values[[0, 25, 50, 99]].tolist() == [0.0, 0.5, 1.0, 1.0]


def test_a_long_run_is_drawn_in_pieces_that_fit():
    tree = tm.Linear(init_value=0.0, end_value=1.0, duration=50_000) * HALVE
    run = simulate(tree, {"val_loss": {1: 1.0, 20_000: 1.0}}, total=50_000)
    np.testing.assert_array_equal(run.values[20_000:], tree.given([0.5])(np.arange(20_000, 50_000)))


def test_the_values_cannot_be_changed():
    run = simulate(tm.Constant(value=1.0), {}, total=5)
    with pytest.raises(ValueError, match="read-only"):
        run.values[0] = 2.0


TREE = tm.Constant(value=1.0) * HALVE
ON_ENV_STEPS = tm.on("env_steps", TREE * tm.Linear(init_value=1.0, end_value=0.0, duration=5))
THREE_EPOCHS = tm.Linear(init_value=0, end_value=1, duration="3 epochs")
ONE = {"val_loss": [1.0]}
RATES = {"steps_per_epoch": 10}


@pytest.mark.parametrize(
    ("subject", "measurements", "given", "said"),
    [
        (
            TREE,
            {**ONE, "valloss": [1.0]},
            {"every": 1},
            "valloss: nothing listens to it. Did you mean val_loss? Listened to: val_loss",
        ),
        (TREE, {}, {"total": 9}, "val_loss: a controller listens to it, and it is not given"),
        (tm.Constant(value=1.0), {"x": [1.0]}, {"every": 1}, "There is no controller"),
        (TREE, ONE, {}, "`every` must say how far apart"),
        (TREE, {"val_loss": []}, {"every": 1}, "neither a total nor a measurement"),
        (TREE, {"val_loss": [1.0] * 3}, {"every": 5, "total": 14}, "measured at 15, after the run's end at 14"),
        (TREE, {"val_loss": ["low"]}, {"every": 5}, "val_loss at 5: could not convert"),
        (TREE, {"val_loss": {-1: 1.0}}, {}, "val_loss at -1: must be between 0"),
        (TREE, {"val_loss": [float("nan")]}, {"every": 5}, "must be a finite number, got nan at count 5"),
        (TREE, {"val_loss": {1: 1.0}}, {"total": LONGEST + 1}, "must have at most 100_000_000 counts"),
    ],
)
def test_measurements_that_do_not_fit_are_refused_with_the_reason(subject, measurements, given, said):
    with pytest.raises(tm.MeasurementError, match=re.escape(said)):
        simulate(subject, measurements, **given)


@pytest.mark.parametrize(
    ("subject", "measurements", "given", "said"),
    [
        (TREE, ONE, {"every": 0}, "every: must be at least 1"),
        (TREE, ONE, {"every": "1 epochs"}, "steps_per_epoch"),
        (TREE, ONE, {"every": "0.01 epochs", "rates": RATES}, "comes to no count"),
        (ON_ENV_STEPS, {"val_loss": {1: 1.0}}, {"total": 10}, "optimizer_steps cannot be turned into env_steps"),
        (THREE_EPOCHS, {}, {"total": 9}, "simulate: duration: epochs"),
        (0.5, {}, {"total": 9}, "needs a tree or a plan, got float"),
    ],
)
def test_lengths_that_cannot_be_resolved_are_refused_with_the_reason(subject, measurements, given, said):
    with pytest.raises(tm.ScheduleError, match=re.escape(said)):
        simulate(subject, measurements, **given)


def test_a_plan_that_cannot_be_resolved_is_refused_with_its_paths():
    with pytest.raises(tm.PlanError, match=r"schedules\.lr\.duration: epochs"):
        simulate(tm.Plan({"lr": THREE_EPOCHS}), {}, total=9)


def test_a_measurement_that_is_skipped_is_heard_but_decides_nothing():
    run = simulate(
        tm.Plateau(init_value=1.0, patience=0, on_nan="skip"), {"val_loss": [1.0, float("nan"), 0.5]}, every=1
    )
    assert run.decisions == ()
    assert run.heard == (3,)
    assert run.states[0]["skipped"] == 1
