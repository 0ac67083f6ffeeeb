"""A picture is exact where it matters: at boundaries, jumps and ends; and what had to be assumed for it is said."""

import hypothesis
import numpy as np
import pytest
import strategies
from hypothesis import strategies as st

import tempomat as tm
from tempomat.analysis.curve import Curve
from tempomat.analysis.picture import terminal
from tempomat.analysis.sample import sample
from tempomat.analysis.study import Study


def drawn(tree, total=None, name="lr", points=50, **given):
    """The one series of a plan with one entry, and the figure's notes."""
    plan = {key: given.pop(key) for key in ("clock", "rates") if key in given}
    figure = sample(tm.Plan({name: tree}, total=total, **plan), points=points, **given)
    return figure.series[0], figure.notes


def marks(series):
    return [(mark.count, mark.label) for mark in series.marks]


def test_a_curve_runs_from_0_to_the_total_with_its_own_values():
    tree = tm.Cosine(init_value=1e-3, end_value=1e-5, duration=1_000)
    series, notes = drawn(tree, 1_000)
    assert (series.counts[0], series.counts[-1]) == (0, 1_000)
    np.testing.assert_array_equal(series.values, tree(series.counts))
    assert (series.unit, series.steps, series.note, notes) == ("optimizer_steps", False, "", ())


@pytest.mark.parametrize("at", [1, 333_333, 999_999])
def test_both_sides_of_a_boundary_are_there(at):
    tree = tm.Linear(init_value=0.0, end_value=1.0, duration=at).then(
        tm.Linear(init_value=0.5, end_value=0.0, duration=10**6), at=at
    )
    series, _ = drawn(tree, 1_000_000)
    assert {at - 1, at} <= set(series.counts.tolist())


def test_a_staircase_is_its_moves_and_nothing_else():
    series, _ = drawn(tm.MultiStep(init_value=1.0, factor=0.5, milestones=[123_457, 654_321]), 1_000_000)
    assert series.steps
    assert series.counts.tolist() == [0, 123_457, 654_321, 1_000_000]
    assert series.values.tolist() == [1.0, 0.5, 0.25, 0.25]


def test_a_staircase_of_a_thousand_steps_is_exact():
    tree = tm.Exponential(init_value=1.0, decay_rate=0.999, every=10_000, staircase=True)
    series, _ = drawn(tree, 10_000_000, points=2_000)
    assert series.counts.tolist() == list(range(0, 10_000_001, 10_000))
    assert series.steps


def test_a_staircase_that_is_finer_than_the_picture_stays_small():
    series, _ = drawn(
        tm.Exponential(init_value=1.0, decay_rate=0.999, every=100, staircase=True), 10_000_000, points=500
    )
    assert series.counts.size < 5_000


def test_a_curve_with_a_flat_end_is_no_staircase():
    series, _ = drawn(tm.Linear(init_value=0.0, end_value=1.0, duration=3), 1_000)
    assert not series.steps
    assert {0, 3} <= set(series.counts.tolist())


class Hidden(tm.Schedule):
    """A jump that no parameter tells of."""

    def _at(self, t, ops):
        return ops.where(t < 777_777, 1.0, ops.full(t, 0.5))


def test_a_jump_that_no_parameter_tells_of_is_found():
    counts, values = Curve(Hidden(), "optimizer_steps", {}).trace(1_000_000, points=100)
    assert {777_776, 777_777} <= set(counts.tolist())
    assert values[counts.tolist().index(777_776)] == 1.0


def test_corners_in_every_cycle_of_a_repeated_curve_are_there():
    triangle = tm.PiecewiseLinear(values=[0, 1, 0], boundaries=[0, 333, 1_000]).repeat(1_000)
    series, _ = drawn(triangle, 10_000)
    assert {1_000 * k + 333 for k in range(10)} <= set(series.counts.tolist())


def test_shifted_and_stretched_curves_have_their_corners_where_they_are():
    tree = tm.Linear(init_value=0.0, end_value=1.0, duration=11).stretch(7).shift(1_001)
    series, _ = drawn(tree, 100_000)
    assert {1_001, 1_001 + 77} <= set(series.counts.tolist())


def test_every_boundary_of_a_table_is_there():
    rows = [
        {"start": 17, "end": 4_711, "init_lr": 1.0, "final_lr": 0.5},
        {"start": 5_003, "end": 9_001, "init_lr": 0.4, "final_lr": 0.0},
    ]
    series, _ = drawn(tm.IntervalTable(rule="linear_decay", intervals=rows), 10_000)
    assert {17, 4_711, 5_002, 5_003, 9_001} <= set(series.counts.tolist())
    assert marks(series) == [(17, "next interval"), (5_003, "next interval")]


# clocks


def test_an_entry_on_a_clock_of_its_own_has_its_own_axis():
    noise = tm.on("env_steps", tm.Linear(init_value=1.0, end_value=0.1, duration=4_000))
    series, notes = drawn(noise, 1_000, "noise", rates={"env_steps_per_optimizer_step": 8})
    assert (series.unit, series.counts[-1], notes) == ("env_steps", 8_000, ())
    assert series.values[-1] == 0.1


def test_without_a_rate_it_is_drawn_as_far_as_it_says():
    noise = tm.on("env_steps", tm.Linear(init_value=1.0, end_value=0.1, duration=4_000))
    series, _ = drawn(noise, 1_000, "noise")
    assert (series.unit, series.counts[-1]) == ("env_steps", 4_000)
    assert series.note == "how many env_steps the run has is not known: drawn as far as the schedules name counts"


def test_a_tree_on_two_clocks_is_drawn_along_the_plans():
    tree = tm.Cosine(init_value=1.0, end_value=0.0, duration=1_000) * tm.on(
        "epochs", tm.StepDecay(init_value=1.0, factor=0.5, every=3)
    )
    series, _ = drawn(tree, 1_000, rates={"steps_per_epoch": 100})
    assert series.unit == "optimizer_steps"
    for count in (299, 300, 599, 600):
        where = series.counts.tolist().index(count)
        assert series.values[where] == tree.at_counts(
            {"optimizer_steps": count, "epochs": count // 100}, "optimizer_steps"
        )


def test_a_tree_on_two_clocks_without_a_rate_is_left_out_and_the_note_says_why():
    mixed = tm.Cosine(init_value=1.0, end_value=0.0, duration=1_000) * tm.on(
        "stage", tm.MultiStep(init_value=1.0, factor=0.5, milestones=[1])
    )
    figure = sample(tm.Plan({"lr": mixed, "momentum": 0.9}, total=1_000))
    assert [series.name for series in figure.series] == ["momentum"]
    (note,) = figure.notes
    assert note.startswith("lr is not drawn: it follows optimizer_steps, stage at once")


# what is assumed

SHARES = tm.warmup_cosine(peak_value=1.0, warmup="5%")


def test_a_nominal_epoch_has_100_steps_and_the_note_says_that_it_does_not_matter():
    series, (note,) = drawn(SHARES, "20 epochs")
    assert series.counts[-1] == 2_000
    assert note == "steps_per_epoch is not known: drawn with 100. The shape is the same with another."


@pytest.mark.parametrize(
    "tree", [tm.warmup_cosine(peak_value=1.0, warmup=500), tm.Constant(value=1.0).then(0.5, at="500 optimizer_steps")]
)
def test_beside_lengths_in_steps_the_note_says_that_it_matters(tree):
    _, (note,) = drawn(tree, "20 epochs")
    assert note.endswith("Lengths in optimizer_steps would look different with another.")


def test_a_known_epoch_is_taken_and_nothing_said():
    series, notes = drawn(SHARES, "20 epochs", rates={"steps_per_epoch": 7})
    assert (series.counts[-1], notes) == (140, ())
    series, notes = drawn(SHARES, "20 epochs", clock="epochs")
    assert (series.counts[-1], notes) == (20, ())


@pytest.mark.parametrize(
    ("tree", "end"),
    [
        (tm.Linear(init_value=1.0, end_value=0.0, duration=300), 300),
        (tm.MultiStep(init_value=1.0, factor=0.1, milestones=[40, 160]), 200),
        (tm.StepDecay(init_value=1.0, factor=0.5, every=30), 300),
        (tm.InverseSqrt(init_value=1.0, timescale=50), 500),
        (tm.Exponential(init_value=1.0, decay_rate=0.5, every=10), 100),
        (tm.Exponential(init_value=1.0, decay_rate=0.99), 458),
        (tm.Exponential(init_value=1.0, decay_rate=1.0, every=10), 100),
        (tm.Constant(value=1.0), 100),
        (tm.Constant(value=1.0).then(tm.Linear(init_value=1.0, end_value=0.0, duration=70), at=30), 100),
    ],
)
def test_without_a_total_it_is_drawn_as_far_as_it_names_counts(tree, end):
    series, notes = drawn(tree)
    assert series.counts[-1] == end
    assert notes == ("No total is given: drawn as far as the schedules name counts.",)
    assert series.note == ""


def test_a_total_that_cannot_be_turned_into_counts_is_said():
    series, notes = drawn(tm.Linear(init_value=1.0, end_value=0.0, duration=300), "3M frames")
    assert series.counts[-1] == 300
    assert notes[0].startswith("The total (3000000 frames) is no count of optimizer_steps yet")


def test_a_total_given_beside_the_plan_is_taken():
    assert drawn(SHARES, 100)[0].counts[-1] == 100
    figure = sample(tm.Plan({"lr": SHARES}, total=100), total="3 epochs", rates={"steps_per_epoch": 9})
    assert figure.series[0].counts[-1] == 27


def test_an_entry_that_cannot_be_resolved_is_left_out_with_its_reason():
    plan = tm.Plan({"lr": 0.1, "noise": tm.Linear(init_value=1.0, end_value=0.0, duration="3M frames")}, total=100)
    figure = sample(plan)
    assert [series.name for series in figure.series] == ["lr"]
    assert figure.notes[0].startswith("noise is not drawn: duration: frames cannot be turned into optimizer_steps")


def test_a_plan_with_nothing_to_draw_is_refused_with_every_reason():
    plan = tm.Plan({"lr": SHARES, "noise": tm.Linear(init_value=1.0, end_value=0.0, duration="3M frames")})
    with pytest.raises(tm.PlanError, match="nothing can be drawn: 2 faults") as caught:
        sample(plan)
    assert [fault.path for fault in caught.value.faults] == ["schedules.lr", "schedules.noise"]


def test_a_controller_stands_at_its_first_level_and_the_note_says_so():
    series, _ = drawn(tm.Linear(init_value=1.0, end_value=0.0, duration=100) * tm.Plateau(metric="kl"), 100)
    assert series.values[0] == 1.0
    assert series.note == "plateau drawn at its factor 1; kl decides from there"
    assert drawn(tm.KLPenalty(), 100)[0].note.startswith("kl_penalty drawn at its first level 0.2;")
    series, _ = drawn(tm.Plateau(init_value=0.3), 100)
    assert set(series.values.tolist()) == {0.3}
    assert series.note == "plateau drawn at its first level 0.3; val_loss decides from there"


def test_what_is_not_finite_is_a_gap_with_a_note():
    series, _ = drawn(tm.Exponential(init_value=1.0, decay_rate=1.1), 10_000)
    assert np.isnan(series.values[-1])
    assert np.isfinite(series.values[series.counts < 7_448]).all()
    assert series.note == "not finite from 7_448 on"


# marks


def test_boundaries_are_marked_with_what_begins_there():
    wsd = tm.warmup_stable_decay(peak_value=1.0, warmup=10, decay=20, total=100)
    assert marks(drawn(wsd, 100)[0]) == [(10, "warmup ends"), (80, "decay begins")]
    hold = (
        tm.Linear(init_value=1.0, end_value=0.5, duration=10)
        .then(0.5, at=10)
        .then(tm.Linear(init_value=0.5, end_value=1.0, duration=9), at=20)
    )
    assert marks(drawn(hold, 100)[0])[:2] == [(10, "constant from here"), (20, "rise begins")]
    plateau = tm.Linear(init_value=1.0, end_value=0.5, duration=10).then(tm.Plateau(), at=10)
    assert marks(drawn(plateau, 100)[0]) == [(10, "plateau takes over")]


def test_what_begins_is_judged_over_the_length_of_its_part():
    hill = tm.PiecewiseLinear(values=[1.0, 2.0, 0.0], boundaries=[0, 10, 20])
    first, last = tm.Constant(value=1.0), tm.Constant(value=2.0)
    assert marks(drawn(first.then(hill, at=10).then(last, at=20), 100)[0])[0] == (10, "rise begins")
    assert marks(drawn(first.then(hill, at=10), 30)[0]) == [(10, "decay begins")]
    assert marks(drawn(first.then(hill, at=10), 20)[0]) == [(10, "rise begins")]


def test_the_start_is_no_boundary():
    rows = [
        {"start": 0, "end": 10, "init_lr": 1.0, "final_lr": 0.5},
        {"start": 10, "end": 20, "init_lr": 0.5, "final_lr": 0},
    ]
    series, _ = drawn(tm.IntervalTable(rule="linear_decay", intervals=rows), 20)
    assert marks(series) == [(10, "next interval")]


def test_an_end_inside_the_run_is_marked():
    curve = tm.Linear(init_value=1.0, end_value=0.5, duration=60)
    assert marks(drawn(curve, 100)[0]) == [(60, "ends")]
    assert marks(drawn(curve, 60)[0]) == []


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    st.dictionaries(st.sampled_from(["lr", "encoder.lr", "noise"]), strategies.trees(), min_size=1, max_size=2),
    st.sampled_from([None, 8_000, "80 epochs"]),
)
def test_every_plan_is_drawn_or_refused_with_reasons(entries, total):
    plan = tm.Plan(entries, total=total, rates=dict(strategies.HORIZON.rates))
    curves = {entry.name: entry.curve for entry in Study.of(plan).entries if entry.curve is not None}
    if not curves:
        with pytest.raises(tm.PlanError, match="nothing can be drawn"):
            sample(plan)
        return
    figure = sample(plan, points=40)
    assert terminal(figure, width=60, color=False)
    for series in figure.series:
        tree = curves[series.name]
        if len(tree.clocks) <= 1:
            finite = np.isfinite(series.values)
            np.testing.assert_array_equal(series.values[finite], tree(series.counts)[finite])
