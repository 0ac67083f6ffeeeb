"""Every rule has a plan that it reports and the same plan with one line changed that it does not; and the presets that
started it all are reported for what is wrong with them, and for nothing else.
"""

import difflib
import shlex
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import strategies
from hypothesis import strategies as st

import tempomat as tm
from tempomat.analysis.lint import RULES, LintError, explain, faults_as_findings, handbook, lint

ROOT = Path(__file__).parents[2]


def found(text, **given):
    """Code and path of every finding in a plan written as YAML."""
    try:
        plan = tm.loads_plan(text)
    except tm.PlanError as error:
        return [(one.code, one.path) for one in faults_as_findings(error)]
    return [(one.code, one.path) for one in lint(plan, **given)]


def codes(entries, **given):
    """The codes found in a plan of these entries."""
    plan_keys = {key: given.pop(key) for key in ("total", "clock", "rates") if key in given}
    return [one.code for one in lint(tm.Plan(entries, **plan_keys), **given)]


def options_of(rule):
    """A rule's command line options as arguments of `lint`."""
    words = shlex.split(rule.options)
    return {name.removeprefix("--"): value.split(",") for name, value in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_reports_its_wrong_plan(rule):
    assert rule.code in [code for code, _ in found(rule.wrong, **options_of(rule))]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_rule_reports_the_right_plan_of_another(rule):
    assert found(rule.right, **options_of(rule)) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_two_plans_of_a_rule_differ_in_one_line(rule):
    lines = list(difflib.ndiff(rule.wrong.splitlines(), rule.right.splitlines()))
    assert [sum(line.startswith(sign) for line in lines) for sign in ("- ", "+ ")] == [1, 1]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_explained_with_both_of_its_plans(rule):
    text = explain(rule)
    for part in (rule.code, rule.name, rule.wrong, rule.right, rule.severity.capitalize()):
        assert part in text
    assert all(map(len, (rule.what, rule.why, rule.mend)))


def test_the_handbook_in_docs_is_the_one_of_the_rules():
    written = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    assert written == handbook(), "write it anew with: tempomat lint --explain all > docs/lint.md"


# the presets of the gimbal landing pipeline, as their makers ship them

STEPS = {
    "gentle_decay": [(0, 2, 1e-4), (2, 4, 5e-5), (4, 10, 2.5e-5)],
    "aggressive_decay": [(0, 1, 2e-4), (1, 2, 1e-4), (2, 3, 5e-5), (3, 4, 2e-5), (4, 10, 1e-5)],
    "stage_based": [(0, 0.5, 1.2e-4), (0.5, 1.5, 1e-4), (1.5, 3, 7e-5), (3, 5, 5e-5), (5, 10, 3e-5)],
}
NETWORKS = ("encoder", "actor", "critic")


def steps(intervals):
    """A table of constants; its ends are in millions."""
    rows = [{"start": round(a * 1e6), "end": round(b * 1e6), "lr": lr} for a, b, lr in intervals]
    return tm.IntervalTable(rule="step_decay", intervals=rows)


def decays(*intervals):
    """A table of exponentials; its ends are in millions."""
    rows = [
        {"start": round(a * 1e6), "end": round(b * 1e6), "init_lr": lr, "decay_rate": rate, "decay_interval": every}
        for a, b, lr, rate, every in intervals
    ]
    return tm.IntervalTable(rule="exponential_decay", intervals=rows)


PRESETS = {
    "constant": dict.fromkeys(NETWORKS, 1e-4),
    **{name: dict.fromkeys(NETWORKS, steps(rows)) for name, rows in STEPS.items()},
    "exponential_smooth": dict.fromkeys(NETWORKS, decays((0, 3, 1e-4, 0.9995, 10_000), (3, 10, 5e-5, 0.999, 10_000))),
    "differential": {
        "encoder": steps([(0, 3, 8e-5), (3, 10, 4e-5)]),
        "actor": decays((0, 2, 1.2e-4, 0.999, 5_000), (2, 10, 6e-5, 0.9995, 10_000)),
        "critic": steps([(0, 1, 1.5e-4), (1, 2.5, 7e-5), (2.5, 10, 3e-5)]),
    },
}


def preset(name, total=10_000_000):
    """A preset as a plan, one lr per network, counted in env steps."""
    return tm.Plan({f"{net}.lr": tree for net, tree in PRESETS[name].items()}, total=total, clock="env_steps")


def every(*found):
    """The same codes for every network."""
    return {network: list(found) for network in NETWORKS}


def by_network(name, total=10_000_000, advances=None):
    """The codes found for each network of a preset."""
    hits = [(one.path.split(".")[1], one.code) for one in lint(preset(name, total), groups=NETWORKS, advances=advances)]
    return {net: [code for where, code in hits if where == net] for net in NETWORKS if net in dict(hits)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", {}),
        ("gentle_decay", {}),
        ("aggressive_decay", {}),
        ("stage_based", {}),
        ("exponential_smooth", every("TM204")),
        ("differential", {"actor": ["TM204"]}),
    ],
)
def test_a_preset_in_the_run_it_was_made_for_has_exactly_its_known_faults(name, expected):
    assert by_network(name) == expected


def test_the_jumps_of_the_smooth_presets_are_told_with_their_values():
    (smooth,) = {one.message for one in lint(preset("exponential_smooth"))}
    assert smooth == "drops at once from 8.61e-5 to 5e-5, by a factor of 1.72, at 3_000_000 env_steps"
    (actor,) = lint(preset("differential"))
    assert actor.message == "drops at once from 8.05e-5 to 6e-5, by a factor of 1.34, at 2_000_000 env_steps"
    assert actor.path == "schedules.actor.lr.intervals[1]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", {}),
        ("gentle_decay", every("TM107")),
        ("aggressive_decay", every("TM107")),
        ("stage_based", every("TM107")),
        ("exponential_smooth", every("TM107")),
        ("differential", {"encoder": ["TM107"], "actor": ["TM105", "TM204"]}),
    ],
)
def test_a_run_of_3m_frames_never_sees_the_rest_of_a_preset_made_for_10m(name, expected):
    assert by_network(name, 3_000_000) == expected


def test_fixed_steps_are_reported_where_the_run_advances_by_stages():
    stages = ["env_steps", "stage"]
    assert by_network("stage_based", advances=stages) == every("TM111")
    assert by_network("exponential_smooth", advances=stages) == every("TM204")
    assert by_network("constant", advances=stages) == {}


def test_a_step_table_called_exponential_lacks_its_init_lr():
    table = {"type": "exponential_decay", "intervals": [{"start": 0, "end": 10, "lr": 1e-4}]}
    with pytest.raises(tm.PlanError, match="init_lr") as caught:
        tm.Plan({"actor.lr": table})
    paths = [one.path for one in faults_as_findings(caught.value)]
    assert "schedules.actor.lr.intervals[0].init_lr" in paths
    assert {one.code for one in faults_as_findings(caught.value)} == {"TM001"}


# rule by rule, what its two plans do not show

COSINE = tm.Cosine(init_value=1e-3, end_value=1e-5, duration="100%")


def test_every_missing_conversion_is_one_finding_with_the_option_that_gives_it():
    noise = tm.on("env_steps", tm.Linear(init_value=1, end_value=0, duration="3M frames"))
    plan = tm.Plan({"lr": COSINE, "noise": noise}, total="20 epochs")
    unresolved = [one for one in lint(plan) if one.code == "TM101"]
    assert [one.path for one in unresolved] == ["total", "schedules.noise.schedule.duration"]
    assert [one.fix for one in unresolved] == [
        "Give --steps-per-epoch N, or `rates: {steps_per_epoch: N}` in the plan",
        "Give --action-repeat N, or `rates: {action_repeat: N}` in the plan",
    ]
    assert "(1 more such)" in unresolved[0].message
    assert codes({"lr": COSINE}, total="20 epochs", rates={"steps_per_epoch": 10}) == []


def test_a_share_without_a_total_and_units_that_nothing_converts_are_unresolved():
    (share,) = lint(tm.Plan({"lr": COSINE}))
    assert (share.code, share.fix) == ("TM101", "Give a total")
    assert share.message == "100% is no count yet: a share of the run needs the run's length"
    (never,) = lint(tm.Plan({"lr": tm.Linear(init_value=1, end_value=2, duration="90 min")}, total=10))
    assert (never.code, never.fix) == ("TM101", "Nothing converts one into the other; use one unit")


def test_a_total_given_beside_the_plan_replaces_its_own():
    assert codes({"lr": COSINE}, total="20 epochs") == ["TM101"]
    plan = tm.Plan({"lr": COSINE.rebuilt(lambda node: node)}, total="20 epochs")
    assert lint(plan, total=1_000) == lint(plan, rates={"steps_per_epoch": 10}) == ()


def test_a_length_that_is_partly_plain_is_resolved():
    lr = tm.Linear(init_value=1.0, end_value=0.5, duration="50% - 30").then(0.5, at="50% - 30")
    assert codes({"lr": lr}, total=100) == []


def test_a_curve_that_is_shifted_past_the_end_is_told_as_that():
    curve = tm.Linear(init_value=1.0, end_value=0.5, duration=50)
    assert codes({"lr": curve.shift(2**52)}, total=100) == ["TM107"]


def test_a_total_of_no_count_is_impossible():
    assert codes({"lr": 0.1}, total="0.001 epochs", rates={"steps_per_epoch": 10}) == ["TM102"]


def test_a_warmup_that_a_recipe_cannot_fit_is_a_warmup_finding():
    lr = tm.warmup_cosine(peak_value=1e-3, init_value=1e-6, warmup="2 epochs")
    assert codes({"lr": lr}, total="1 epochs", rates={"steps_per_epoch": 10}) == ["TM108"]
    assert codes({"lr": lr}, total="3 epochs", rates={"steps_per_epoch": 10}) == []


def test_a_table_with_an_open_interval_in_the_middle_overlaps():
    rows = [{"start": "0 epochs", "lr": 0.1}, {"start": "1 epochs", "lr": 0.01}]
    table = {"type": "step_decay", "intervals": rows}
    assert said({"lr": table}, "TM103", total=100, rates={"steps_per_epoch": 10}) == (
        "schedules.lr.intervals[1]",
        "starts at 10 optimizer_steps, and intervals[0] before it has no end",
        "Move its start, or end that one earlier",
    )


def test_a_table_that_starts_late_has_a_gap_at_the_start():
    table = {"type": "step_decay", "intervals": [{"start": 10, "lr": 0.1}]}
    assert codes({"lr": table}, total=100) == ["TM104"]


def test_many_gaps_are_told_as_three():
    rows = [{"start": 10 * k, "end": 10 * k + 5, "lr": 0.1} for k in range(9)]
    gaps = lint(tm.Plan({"lr": {"type": "step_decay", "intervals": rows}}, total=85))
    assert [one.code for one in gaps] == ["TM104"] * 3
    assert gaps[-1].message.endswith("(5 more such)")


@pytest.mark.parametrize("total", [100_001, 100_050, 99_950])
def test_a_thousandth_of_the_run_is_no_difference(total):
    assert codes({"lr": tm.Cosine(init_value=1e-3, end_value=1e-5, duration=100_000)}, total=total) == []


@pytest.mark.parametrize(("duration", "expected"), [(899, ["TM106"]), (1_101, ["TM105"])])
def test_more_than_that_is_one(duration, expected):
    assert codes({"lr": tm.Cosine(init_value=1e-3, end_value=1e-5, duration=duration)}, total=1_000) == expected


def test_a_decay_as_long_as_the_run_after_a_warmup_is_cut():
    lr = tm.Linear(init_value=1e-5, end_value=1e-3, duration=100).then(
        tm.Cosine(init_value=1e-3, end_value=1e-5, duration=1_000), at=100
    )
    assert codes({"lr": lr}, total=1_000) == ["TM105"]
    assert codes({"lr": lr}, total=1_100) == []


def test_only_an_lr_is_expected_to_fall_to_the_end():
    curve = tm.Linear(init_value=1.0, end_value=0.1, duration=500)
    assert codes({"lr": curve}, total=1_000) == ["TM106"]
    assert codes({"noise": curve}, total=1_000) == []
    held = curve.then(0.1, at=500)
    assert codes({"lr": held}, total=1_000) == []


def test_an_explicit_end_of_a_table_before_the_runs_is_told():
    rows = [{"start": 0, "end": 3_000_000, "lr": 8e-5}]
    table = {"type": "step_decay", "intervals": rows}
    (early,) = lint(tm.Plan({"encoder.lr": table}, total="6M", clock="env_steps"))
    assert (early.code, early.path) == ("TM106", "schedules.encoder.lr.intervals[0].end")
    assert "for the last 50 %" in early.message
    open_end = {"type": "step_decay", "intervals": [{"lr": 8e-5}]}
    assert codes({"encoder.lr": open_end}, total="6M", clock="env_steps") == []


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        (tm.Linear(init_value=1.0, end_value=2.0, duration=50).then(2.0, at=100), "boundaries[0]"),
        (tm.MultiStep(init_value=1.0, factor=0.1, milestones=[50, 100, 150]), "milestones[1]"),
        (tm.step_decay(init_value=1.0, milestones=[50, 100]), "milestones[1]"),
        (tm.PiecewiseConstant(values=[1, 2], boundaries=[100]), "boundaries[0]"),
        (tm.PiecewiseLinear(values=[1, 2, 1], boundaries=[0, 100, 150]), "boundaries[2]"),
        (tm.StepDecay(init_value=1.0, factor=0.5, every=100), "every"),
        (tm.Linear(init_value=1.0, end_value=2.0, duration=50).repeat(100), "every"),
        (tm.Constant(value=1.0).shift(100), "by"),
        (tm.MultiStep(init_value=1.0, factor=0.1, milestones=[10, 30]).then(1.0, at=30), "parts[0].milestones[1]"),
    ],
)
def test_what_lies_at_or_after_the_end_is_never_reached(tree, path):
    assert [(one.code, one.path) for one in lint(tm.Plan({"x": tree}, total=100))] == [("TM107", f"schedules.x.{path}")]
    assert codes({"x": tree}, total=151) == [] or path.startswith("parts")


def test_a_line_that_never_reaches_its_last_point_is_cut_not_unreached():
    tree = tm.PiecewiseLinear(values=[1, 2, 1], boundaries=[0, 50, 150])
    assert codes({"x": tree}, total=100) == ["TM105"]


@pytest.mark.parametrize(
    "lr",
    [
        tm.warmup_constant(peak_value=1e-3, init_value=1e-5, warmup=100),
        tm.Linear(init_value=1e-5, end_value=1e-3, duration=100),
        tm.Linear(init_value=1e-5, end_value=1e-3, duration=100).then(tm.Plateau(), at=100),
    ],
)
def test_a_warmup_to_the_end_is_told_once(lr):
    assert codes({"lr": lr}, total=99) == ["TM108"]
    assert codes({"lr": lr}, total=200) == []


def test_a_rise_of_something_else_is_no_warmup():
    assert codes({"noise": tm.Linear(init_value=0.1, end_value=1.0, duration=200)}, total=100) == ["TM105"]


def test_a_unit_is_counted_if_the_total_says_so_while_a_rate_only_converts():
    noise = tm.on("env_steps", tm.Linear(init_value=1.0, end_value=0.1, duration=50))
    (guess,) = lint(tm.Plan({"noise": noise}, total=100))
    assert (guess.code, guess.severity, guess.path) == ("TM109", "warning", "schedules.noise.unit")
    (told,) = lint(tm.Plan({"noise": noise}, total=100), advances=["optimizer_steps"])
    assert (told.code, told.severity) == ("TM109", "error")
    assert codes({"noise": noise}, total=100, advances=["optimizer_steps", "env_steps"]) == []
    assert codes({"noise": noise}, total=100, rates={"env_steps_per_optimizer_step": 2}) == ["TM109"]
    assert codes({"noise": noise}, total="100 env_steps", rates={"env_steps_per_optimizer_step": 2}) == []


@pytest.mark.parametrize(
    ("milestone", "total", "rates", "clock", "doubted"),
    [
        (80, "90 epochs", {"steps_per_epoch": 100}, "optimizer_steps", True),
        (80, 9_000, {"steps_per_epoch": 100}, "optimizer_steps", True),
        ("80 optimizer_steps", "90 epochs", {"steps_per_epoch": 100}, "optimizer_steps", False),
        (2, "90 epochs", {"steps_per_epoch": 100}, "optimizer_steps", True),
        (1, "90 epochs", {"steps_per_epoch": 100}, "optimizer_steps", False),
        (90, "90 epochs", {"steps_per_epoch": 100}, "optimizer_steps", True),
        (91, "90 epochs", {"steps_per_epoch": 100}, "optimizer_steps", False),
        (80, "90 epochs", {"steps_per_epoch": 10}, "optimizer_steps", True),
        (80, None, {}, "epochs", False),
        (80, "90 epochs", {"steps_per_epoch": 9}, "optimizer_steps", False),
        (80, 9_000, {}, "optimizer_steps", False),
        (1_801, 90, {}, "epochs", True),
        (1_800, 90, {}, "epochs", False),
    ],
)
def test_a_bare_count_is_doubted_where_it_looks_like_the_other_unit(milestone, total, rates, clock, doubted):
    tree = tm.MultiStep(init_value=1.0, factor=0.1, milestones=[milestone])
    assert ("TM110" in codes({"x": tree}, total=total, rates=rates, clock=clock)) == doubted


def test_an_lr_tied_to_the_stage_follows_it():
    steps_of_stage = tm.on("stage", tm.PiecewiseConstant(values=[1e-3, 1e-4], boundaries=[1]))
    by_count = tm.PiecewiseConstant(values=[1e-3, 1e-4], boundaries=[50])
    assert codes({"lr": steps_of_stage}, total=100, advances=["optimizer_steps", "stage"]) == []
    assert codes({"lr": by_count}, total=100, advances=["optimizer_steps", "stage"]) == ["TM111"]
    assert codes({"lr": by_count}, total=100, advances=["optimizer_steps"]) == []


@pytest.mark.parametrize(("levels", "told"), [(1, False), (2, True), (16, True), (17, False)])
def test_more_levels_than_a_curriculum_has_stages_are_no_stages(levels, told):
    tree = tm.StepDecay(init_value=1.0, factor=0.9, every=10)
    found = codes({"lr": tree}, total=10 * levels, advances=["optimizer_steps", "stage"])
    assert ("TM111" in found) == told


def test_an_overflow_is_found_at_its_very_count():
    tree = tm.Exponential(init_value=1.0, decay_rate=1.1)
    first = next(count for count in range(7_000, 8_000) if np.isinf(tree(count)))
    (inf,) = lint(tm.Plan({"loss_weight": tree}, total=100_000))
    assert inf.message == f"is inf from {first:_} optimizer_steps on"


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("lr", -1e-3, 0.0),
        ("betas[0]", 1.0, 0.999),
        ("batch_size", 0.5, 1.0),
        ("grad_clip", 0.0, 1e-9),
        ("dropout", 1.1, 1.0),
        ("encoder.weight_decay", -0.1, 0.0),
    ],
)
def test_a_value_outside_its_hyperparameters_range_is_an_error(name, value, good):
    (wrong,) = lint(tm.Plan({name: tm.Constant(value=good).then(value, at=77)}, total=100), select=["TM202"])
    assert wrong.severity == "error"
    assert " at 77 optimizer_steps" in wrong.message
    assert codes({name: good}, total=100) == []


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (1e-3, []),
        (9.6e-4, []),
        (1.04e-3, []),
        (9.4e-4, ["TM204"]),
        (1.1e-3, ["TM204"]),
        (5.1e-4, ["TM204"]),
        (4.9e-4, ["TM203"]),
        (2.1e-3, ["TM203"]),
    ],
)
def test_a_jump_from_a_warmup_into_its_decay_is_told_by_its_size(begin, expected):
    lr = tm.Linear(init_value=1e-5, end_value=1e-3, duration=100).then(
        tm.Cosine(init_value=begin, end_value=1e-5, duration=900), at=100
    )
    assert codes({"lr": lr}, total=1_000) == expected


def test_steps_between_constants_are_no_jumps():
    assert codes({"x": tm.Constant(value=1.0).then(0.1, at=50)}, total=100) == []
    stairs = tm.StepDecay(init_value=1.0, factor=0.5, every=10).then(
        tm.MultiStep(init_value=9.0, factor=0.1, milestones=[5]), at=50
    )
    assert codes({"x": stairs}, total=100) == []


def test_a_hold_at_another_value_than_the_curve_reached_is_a_jump():
    tree = tm.Cosine(init_value=1.0, end_value=0.5, duration=50).then(0.1, at=50)
    assert codes({"x": tree}, total=100) == ["TM203"]
    assert codes({"x": tree}, total=50) == ["TM107"]  # the run ends where the jump would be


def test_a_jump_to_or_across_0_is_large():
    tree = tm.Linear(init_value=1.0, end_value=0.5, duration=50)
    assert codes({"entropy_coef": tree.then(0.0, at=50)}, total=100) == ["TM203"]
    assert codes({"entropy_coef": tree.then(-0.5, at=50)}, total=100) == ["TM203"]


def test_a_warmup_cut_off_half_way_jumps():
    lr = tm.Linear(init_value=0.1, end_value=1.0, duration=200).then(
        tm.Cosine(init_value=1.0, end_value=0.1, duration=900), at=100
    )
    assert codes({"lr": lr}, total=1_000) == ["TM204"]


def test_a_plateau_goes_on_from_the_value_reached_and_never_jumps():
    assert (
        codes({"lr": tm.Linear(init_value=1e-5, end_value=1e-3, duration=50).then(tm.Plateau(), at=50)}, total=100)
        == []
    )
    own = tm.Linear(init_value=1e-5, end_value=1e-3, duration=50).then(tm.Plateau(init_value=1e-4), at=50)
    assert codes({"lr": own}, total=100) == ["TM203"]


def test_a_coarse_staircase_may_move_by_its_own_steps_where_intervals_meet():
    assert codes({"lr": decays((0, 2, 1.0, 0.5, 1_000_000), (2, 4, 0.25, 0.5, 1_000_000))}, total=4_000_000) == []
    assert codes({"lr": decays((0, 2, 1.0, 0.5, 1_000_000), (2, 4, 0.02, 0.5, 1_000_000))}, total=4_000_000) == [
        "TM203"
    ]


def test_lines_of_a_table_that_do_not_meet_jump():
    def lines(second):
        rows = [
            {"start": 0, "end": 50, "init_lr": 1.0, "final_lr": 0.5},
            {"start": 50, "end": 100, "init_lr": second, "final_lr": 0.1},
        ]
        return tm.IntervalTable(rule="linear_decay", intervals=rows)

    assert codes({"lr": lines(0.5)}, total=100) == []
    assert codes({"lr": lines(0.3)}, total=100) == ["TM204"]
    assert codes({"lr": lines(0.2)}, total=100) == ["TM203"]
    to_zero = [{"start": 0, "end": 50, "init_lr": 1.0, "final_lr": 0.0}, {"start": 50, "end": 100, "init_lr": 0.0}]
    to_zero[1]["final_lr"] = 1.0
    assert codes({"entropy_coef": tm.IntervalTable(rule="linear_decay", intervals=to_zero)}, total=100) == []


def test_a_join_on_another_clock_is_seen_through_the_rates():
    epochs = tm.on("epochs", tm.StepDecay(init_value=0.1, factor=0.5, every=5))
    lr = tm.Linear(init_value=0.01, end_value=1.0, duration=1_000).then(epochs, at=1_000)
    counted = ["optimizer_steps", "epochs"]
    assert codes({"lr": lr}, total=2_000, rates={"steps_per_epoch": 100}, advances=counted) == ["TM203"]
    assert codes({"lr": lr}, total=2_000, advances=counted) == []  # nobody knows the value that it goes to


def test_a_step_to_a_staircase_on_another_clock_is_a_step():
    run = {"total": 2_000, "rates": {"steps_per_epoch": 100}, "advances": ["optimizer_steps", "epochs"]}
    epochs = tm.on("epochs", tm.StepDecay(init_value=0.1, factor=0.5, every=5))
    assert codes({"lr": tm.Constant(value=1.0).then(epochs, at=1_000)}, **run) == []
    both = epochs * tm.MultiStep(init_value=1.0, factor=0.5, milestones=[10])
    assert codes({"lr": tm.Constant(value=1.0).then(both, at=1_000)}, **run) == ["TM203"]


def test_a_jump_upwards_rises():
    lr = tm.Linear(init_value=1e-3, end_value=1e-4, duration=50).then(1e-3, at=50)
    path, message, fix = said({"lr": lr}, "TM203", total=100)
    assert path == "schedules.lr.parts[1]"
    assert message == "rises at once from 1e-4 to 1e-3, by a factor of 10, at 50 optimizer_steps"
    assert fix == "Begin at 1e-4, where the part before it is"


def test_the_first_epoch_at_zero_is_an_error():
    lr = tm.Linear(init_value=0.0, end_value=1e-3, duration=5)
    (step,) = lint(tm.Plan({"lr": lr}, total=100))
    (epoch,) = lint(tm.Plan({"lr": lr}, total=100, clock="epochs"))
    assert [(one.code, one.severity) for one in (step, epoch)] == [("TM301", "warning"), ("TM301", "error")]
    assert step.message == "is 0 at count 0: the first optimizer step changes nothing"
    assert epoch.message == "is 0 at count 0: the whole first epoch trains nothing"
    assert step.fix == epoch.fix == "Begin above 0, such as init_value: 2e-4"
    assert codes({"weight_decay": lr}, total=100) == []


def test_a_group_that_is_frozen_on_purpose_is_no_finding():
    assert codes({"encoder.lr": 0.0}, total=100) == []
    later = tm.Constant(value=0.0).then(tm.Constant(value=1e-3), at=50)
    assert codes({"encoder.lr": later}, total=100) == []
    assert codes({"lr": tm.Constant(value=1e-3).then(0.0, at=50)}, total=100) == []


def test_an_lr_of_0_for_the_rest_is_told_once_and_only_for_an_lr():
    curve = tm.Linear(init_value=1e-3, end_value=0.0, duration=500)
    assert codes({"lr": curve}, total=1_000) == ["TM302"]
    assert codes({"weight_decay": curve}, total=1_000) == []
    assert codes({"lr": curve}, total=500) == []


@pytest.mark.parametrize(("rate", "vanishes"), [(0.95, True), (0.99, True), (0.999, False)])
def test_an_lr_that_is_multiplied_each_step_may_vanish(rate, vanishes):
    lr = tm.Exponential(init_value=0.1, decay_rate=rate)
    assert codes({"lr": lr}, total=9_000) == (["TM303"] if vanishes else [])
    assert codes({"noise": lr}, total=9_000) == []


@pytest.mark.parametrize(("drop", "told"), [(89, True), (91, False)])
def test_an_lr_may_vanish_for_the_last_tenth_of_the_run(drop, told):
    lr = tm.MultiStep(init_value=1.0, factor=1e-9, milestones=[drop])
    assert codes({"lr": lr}, total=100) == (["TM303"] if told else [])


def test_a_decay_that_vanishes_only_at_its_very_end_is_fine():
    assert codes({"lr": tm.Polynomial(init_value=1.0, end_value=0.0, duration=1_000, power=4.0)}, total=1_000) == []


@pytest.mark.parametrize(
    ("name", "lr_name", "told"),
    [
        ("weight_decay", "lr", True),
        ("grad_clip", "lr", True),
        ("encoder.weight_decay", "lr", True),
        ("encoder.weight_decay", "encoder.lr", True),
        ("momentum", "lr", False),
        ("weight_decay", "noise", False),
    ],
)
def test_what_rises_against_the_lr_is_told(name, lr_name, told):
    up, down = (tm.Linear(init_value=a, end_value=b, duration=100) for a, b in ((0.1, 0.5), (0.5, 0.1)))
    assert codes({lr_name: down, name: up}, total=100) == (["TM304"] if told else [])
    assert codes({lr_name: down, name: down}, total=100) == []
    assert codes({lr_name: up, name: up}, total=100) == []


def test_a_rise_on_another_clock_is_not_compared():
    up, down = (tm.Linear(init_value=a, end_value=b, duration=100) for a, b in ((0.1, 0.5), (0.5, 0.1)))
    counted = ["optimizer_steps", "epochs"]
    assert codes({"lr": down, "weight_decay": tm.on("epochs", up)}, total=100, advances=counted) == []
    assert codes({"lr": down, "weight_decay": up * tm.on("epochs", up)}, total=100, advances=counted) == []


def test_what_rises_in_the_warmup_alone_is_not_told():
    lr = tm.warmup_cosine(peak_value=1.0, init_value=0.1, end_value=0.1, warmup=50, total=100)
    assert codes({"lr": lr, "weight_decay": tm.Linear(init_value=0.1, end_value=0.5, duration=50)}, total=100) == []


def test_groups_are_looked_at_only_where_they_are_given():
    entries = {"encoder.lr": 1e-3, "lr": 1e-4}
    assert codes(entries, total=10) == []
    assert codes(entries, total=10, groups=["encoder"]) == []
    assert codes(entries, total=10, groups=[]) == ["TM401"]


@pytest.mark.parametrize(
    ("names", "clash"),
    [
        (["betas", "betas[0]"], True),
        (["betas[0]", "betas"], True),
        (["betas[0]", "betas[1]"], False),
        (["lr", "learning_rate"], True),
        (["encoder.lr", "encoder.learning_rate"], True),
        (["lr", "encoder.lr"], False),
        (["grad_clip", "max_grad_norm"], True),
        (["beta2", "betas[1]"], True),
        (["beta2", "betas[0]"], False),
    ],
)
def test_two_names_for_one_hyperparameter_are_two_writers(names, clash):
    assert ("TM402" in codes(dict.fromkeys(names, 0.5), total=10)) == clash


def test_a_plateau_inside_a_tree_is_looked_up_among_the_metrics():
    lr = COSINE * tm.Plateau(metric="kl")
    (deaf,) = lint(tm.Plan({"lr": lr}, total=100), metrics=["val_loss"])
    assert (deaf.code, deaf.path) == ("TM403", "schedules.lr.parts[1].metric")
    assert codes({"lr": lr}, total=100, metrics=["kl"]) == codes({"lr": lr}, total=100) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("momentun", True), ("learning_rate", True), ("lr", False), ("my_own_knob", False), ("ent_coeff", True)],
)
def test_a_name_that_is_nearly_one_of_the_fields_is_told(name, told):
    assert codes({name: 0.5}, total=10) == (["TM404"] if told else [])


def test_betas_take_an_index_of_0_or_1():
    assert codes({"betas[2]": 0.5}, total=10) == ["TM405"]


# what a finding says


def said(entries, code, **given):
    """The one finding of a code: where, what, and how to mend it."""
    plan_keys = {key: given.pop(key) for key in ("total", "clock", "rates") if key in given}
    (one,) = [one for one in lint(tm.Plan(entries, **plan_keys), **given) if one.code == code]
    return one.path, one.message, one.fix


MOVE = "Move it into the run, write it as a share of it, or take it out"


@pytest.mark.parametrize(
    ("tree", "path", "message"),
    [
        (
            tm.MultiStep(init_value=1.0, factor=0.5, milestones=[50, 120]),
            "milestones[1]",
            "comes at 120, and the run ends at 100 optimizer_steps",
        ),
        (
            tm.MultiStep(init_value=1.0, factor=0.5, milestones=[120, 130, 140]),
            "milestones[0]",
            "comes at 120, and the run ends at 100 optimizer_steps (2 more such)",
        ),
        (
            tm.MultiStep(init_value=1.0, factor=0.5, milestones=[10, 60]).then(0.5, at=50),
            "parts[0].milestones[1]",
            "comes at 60, and the part that holds it ends at 50 optimizer_steps",
        ),
        (
            tm.MultiStep(init_value=1.0, factor=0.5, milestones=[10, 60]).repeat(40),
            "schedule.milestones[1]",
            "comes at 60, and the part that holds it ends at 40 optimizer_steps",
        ),
        (
            tm.warmup_stable_decay(peak_value=1.0, init_value=0.1, warmup=10, decay=50, total=180),
            "decay",
            "comes at 130, and the run ends at 100 optimizer_steps",
        ),
    ],
)
def test_what_is_never_reached_is_told_with_what_ends_first(tree, path, message):
    assert said({"x": tree}, "TM107", total=100) == (f"schedules.x.{path}", message, MOVE)


def test_what_stands_in_a_part_that_never_begins_is_told_once():
    inner = tm.MultiStep(init_value=1.0, factor=0.5, milestones=[10])
    assert codes({"x": tm.Constant(value=1.0).then(inner, at=100)}, total=100) == ["TM107"]
    assert codes({"x": tm.Constant(value=1.0).then(tm.on("epochs", inner), at=100)}, total=100) == ["TM107", "TM109"]


def test_an_early_end_is_told_with_what_holds_for_how_long():
    line = tm.Linear(init_value=1.0, end_value=0.1, duration=60)
    assert said({"lr": line}, "TM106", total=100) == (
        "schedules.lr.duration",
        "ends at 60 of 100 optimizer_steps, and stays at 0.1 for the last 40 %",
        "Fit it to the run: 100% for a length",
    )
    table = {"type": "step_decay", "intervals": [{"start": 50, "end": 80, "lr": 0.1}, {"end": 50, "lr": 0.2}]}
    assert said({"lr": table}, "TM106", total=100) == (
        "schedules.lr.intervals[0].end",
        "ends at 80 of 100 optimizer_steps, and its last interval goes on for the last 20 %",
        "Fit it to the run, or leave the last `end` out",
    )


def test_a_cut_curve_is_told_with_the_value_it_stops_at_and_the_one_it_was_meant_for():
    rows = [{"end": 200, "init_lr": 1.0, "decay_rate": 0.5, "decay_interval": 50}]
    table = {"type": "exponential_decay", "intervals": rows}
    assert said({"lr": table}, "TM105", total=100) == (
        "schedules.lr.intervals[0].end",
        "ends at 200, the run at 100 optimizer_steps: it stops at 0.25 instead of 0.125",
        "Fit it to the run, with 100% for a length, or lengthen the run",
    )
    recipe = tm.warmup_linear(peak_value=1.0, init_value=0.1, warmup=10, total=190)
    path, message, _ = said({"lr": recipe}, "TM105", total=100)
    assert (path, message.partition(": ")[2]) == ("schedules.lr.total", "it stops at 0.5 instead of 0")


def test_a_flat_curve_is_neither_cut_nor_early():
    flat = tm.Linear(init_value=0.1, end_value=0.1, duration=50)
    assert codes({"lr": flat}, total=100) == codes({"lr": flat}, total=40) == []


def test_a_warmup_is_told_with_both_lengths():
    lr = tm.warmup_constant(peak_value=1.0, init_value=0.1, warmup=200)
    assert said({"lr": lr}, "TM108", total=100) == (
        "schedules.lr.warmup",
        "the warmup lasts 200 and the run 100 optimizer_steps: the lr never reaches its peak",
        "Write it as a share of the run, such as 5%",
    )


@pytest.mark.parametrize("first", [tm.Linear(init_value=1.0, end_value=0.5, duration=100), tm.Constant(value=0.5)])
def test_what_does_not_rise_is_no_warmup(first):
    assert codes({"lr": first.then(0.5, at=200)}, total=150) == ([] if first.clocks == set() else ["TM106"]) + ["TM107"]


def test_a_part_that_ends_with_the_run_is_in_force_there():
    lr = tm.Cosine(init_value=1.0, end_value=0.5, duration=60).then(0.5, at=100)
    assert codes({"lr": lr}, total=100) == ["TM106", "TM107"]
    assert codes({"lr": lr}, total=101) == []


def test_a_warmup_that_waits_for_a_conversion_is_only_unresolved():
    lr = tm.warmup_cosine(peak_value=1.0, init_value=0.1, warmup="2 epochs", total=50)
    assert codes({"lr": lr}, total=100) == ["TM101"]


def test_a_fault_of_another_length_of_a_recipe_is_not_the_warmups():
    lr = tm.warmup_stable_decay(peak_value=1.0, init_value=0.1, warmup="1 epochs", decay="9 epochs", total=95)
    assert codes({"lr": lr}, total=95, rates={"steps_per_epoch": 10}) == ["TM102"]


# what is asked for


def test_rules_are_chosen_by_their_code_or_its_beginning():
    entries = {"lr": tm.Linear(init_value=0.0, end_value=1e-3, duration=500), "learning_rate": 0.1}
    everything = codes(entries, total=100)
    assert everything == ["TM108", "TM301", "TM402", "TM404"]
    assert codes(entries, total=100, select=["TM3"]) == ["TM301"]
    assert codes(entries, total=100, select=["TM4", "TM108"]) == ["TM108", "TM402", "TM404"]
    assert codes(entries, total=100, ignore=["TM1", "TM402"]) == ["TM301", "TM404"]
    with pytest.raises(LintError, match="no rule has the code 'TM9'"):
        codes(entries, select=["TM9"])


def test_an_unknown_unit_to_advance_is_refused_with_a_suggestion():
    with pytest.raises(LintError, match=r"no unit of the name 'env_step'\. Did you mean env_steps"):
        codes({"lr": 0.1}, advances=["env_step"])


def test_findings_come_in_the_order_of_the_entries():
    both = {"learning_rate": 0.1, "encoder.lr": tm.Linear(init_value=0.0, end_value=1.0, duration=5)}
    assert codes(both, total=10) == ["TM404", "TM301"]
    entries = {
        "z.lr": tm.Linear(init_value=0.0, end_value=1.0, duration=5),
        "a.lr": tm.Linear(init_value=0.0, end_value=1.0, duration=5),
    }
    assert [one.path for one in lint(tm.Plan(entries, total=10))] == ["schedules.z.lr", "schedules.a.lr"]


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    st.dictionaries(
        st.sampled_from(["lr", "encoder.lr", "weight_decay", "noise"]), strategies.trees(), min_size=1, max_size=2
    ),
    st.sampled_from([None, 8_000, "80 epochs", "3M frames"]),
    st.sampled_from([{}, dict(strategies.HORIZON.rates)]),
    st.sampled_from(["optimizer_steps", "epochs", "env_steps"]),
)
def test_whatever_the_plan_the_linter_answers(entries, total, rates, clock):
    plan = tm.Plan(entries, total=total, rates=rates, clock=clock)
    for one in lint(plan, groups=["encoder"], metrics=["kl"], advances=["stage", clock]):
        assert one.code in RULES
        assert one.path == "total" or one.path.startswith("schedules.")
        assert one.message
