"""Plans: round trips, fingerprints, every fault at once with its path, caps, and what a new schedule costs."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import copy
import hashlib
import json
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import plans, trees

import tempomat as tm
from tempomat import core
from tempomat.core.fields import Length, Value
from tempomat.plan import data as plan_data
from tempomat.plan import schema

some = settings(max_examples=60)
COSINE = {"type": "cosine", "init_value": 1e-3, "end_value": 1e-5, "duration": 100}
DIGITS = {
    "total": "20 epochs",
    "schedules": {
        "lr": {"type": "warmup_cosine", "peak_value": 3e-4, "end_value": 3e-6, "warmup": "5%"},
        "batch_size": {"type": "piecewise_constant", "values": [32, 64, 128], "boundaries": ["5 epochs", "10 epochs"]},
        "grad_clip": 1.0,
    },
}


@some
@given(plans())
def test_a_plan_reads_back_from_its_data(plan):
    for full in (False, True):
        data = plan.to_data(full=full)
        assert tm.Plan.from_data(data) == plan
        assert tm.Plan.from_data(json.loads(json.dumps(data))) == plan


@some
@given(plans())
def test_a_plan_reads_back_from_its_text(plan):
    text = tm.dumps_plan(plan)
    assert tm.loads_plan(text) == plan
    assert tm.dumps_plan(tm.loads_plan(text)) == text


@some
@given(plans())
def test_a_plan_survives_pickling_and_copying(plan):
    for again in (pickle.loads(pickle.dumps(plan)), copy.copy(plan), copy.deepcopy(plan)):
        assert again == plan
        assert hash(again) == hash(plan)
        assert again.fingerprint == plan.fingerprint


@some
@given(plans(), plans())
def test_plans_share_a_fingerprint_exactly_when_they_are_equal(one, two):
    assert (one.fingerprint == two.fingerprint) == (one == two) == (hash(one) == hash(two))


@some
@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_entries_changes_neither_plan_nor_fingerprint(plan, random):
    entries = list(plan.schedules.items())
    random.shuffle(entries)
    again = tm.Plan(dict(entries), total=plan.total, clock=plan.clock, rates=plan.rates)
    assert again == plan
    assert again.fingerprint == plan.fingerprint


@some
@given(trees(), trees())
def test_a_fingerprint_tells_any_two_trees_apart(one, two):
    assert (tm.Plan({"lr": one}).fingerprint == tm.Plan({"lr": two}).fingerprint) == (one == two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"lr": 0.0}, {"lr": -0.0}),
        ({"lr": 1}, {"lr": {"type": "constant", "value": "1.0"}}),
        ({"lr": COSINE}, {"lr": {**COSINE, "duration": "1e2", "init_value": "1e-3"}}),
        ({"lr": tm.Constant(value=1).stretch(2)}, {"lr": tm.Constant(value=1).stretch(2.0)}),
        (
            {"lr": {"type": "wsd", "peak_value": 1, "warmup": 5, "decay": 5}},
            {"lr": tm.wsd(peak_value=1, warmup=5, decay=5)},
        ),
        ({"lr": tm.on(tm.Unit.EPOCHS, 1.0)}, {"lr": tm.on("epochs", 1.0)}),
        ({"lr": tm.Constant(value=1).shift("1h")}, {"lr": tm.Constant(value=1).shift("60 min")}),
    ],
    ids=repr,
)
def test_two_spellings_of_one_plan_are_one_plan(one, two):
    assert tm.Plan(one) == tm.Plan(two)
    assert tm.Plan(one).fingerprint == tm.Plan(two).fingerprint


def test_a_fingerprint_is_the_sha_256_of_the_canonical_plan_and_stays_so():
    """A saved state carries it: another way to compute it would refuse every older run."""
    plan = tm.Plan({"lr": COSINE, "grad_clip": 1}, total=500, rates={"steps_per_epoch": 10})
    canonical = (
        '{"clock":"optimizer_steps","rates":{"steps_per_epoch":10},"schedules":{"grad_clip":1.0,'
        '"lr":{"duration":100,"end_value":1e-05,"init_value":0.001,"type":"cosine"}},"total":500}'
    )
    assert plan.fingerprint == hashlib.sha256(canonical.encode()).hexdigest()


def test_what_equals_a_default_is_left_out_of_a_file_but_not_of_a_fingerprint():
    plan = tm.Plan({"lr": tm.Plateau(patience=10, factor=0.5)})
    assert plan.to_data() == {"schedules": {"lr": {"type": "plateau", "factor": 0.5}}}
    full = plan.to_data(full=True)
    assert (full["total"], full["clock"], full["rates"]) == (None, "optimizer_steps", {})
    assert full["schedules"]["lr"]["patience"] == 10


def test_a_plan_resolves_every_length_at_once():
    plan = tm.Plan.from_data(DIGITS)
    assert not plan.resolved
    resolved = plan.resolve(steps_per_epoch=100)
    assert resolved.resolved
    assert resolved.total == 2_000
    assert resolved.rates == {"steps_per_epoch": 100}
    assert resolved["lr"] == tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=100, total=2_000)
    assert [resolved["batch_size"](count) for count in (0, 499, 500, 1_000)] == [32.0, 32.0, 64.0, 128.0]
    assert resolved["grad_clip"](10**15) == 1.0
    assert resolved.resolve() == resolved


def test_resolving_may_give_another_total():
    plan = tm.Plan({"lr": tm.warmup_cosine(peak_value=1, warmup="10%")}, total="20 epochs")
    shorter = plan.resolve(total="10 epochs", steps_per_epoch=10)
    assert (shorter.total, shorter["lr"](10), shorter["lr"](100)) == (100, 1.0, 0.0)
    assert plan.total == tm.Duration("20 epochs")


def test_a_total_is_a_count_of_the_plans_own_clock():
    plan = tm.Plan(
        {"lr": tm.Linear(init_value=0, end_value=1, duration="50%")},
        total=1_000,
        clock="env_steps",
        rates={"action_repeat": 2},
    )
    assert plan.resolve()["lr"].duration == 500
    again = tm.Plan(
        {"lr": tm.Linear(init_value=0, end_value=1, duration="50%")},
        total="1_000 frames",
        clock="env_steps",
        rates={"action_repeat": 2},
    )
    assert again.resolve()["lr"].duration == 250
    assert again.resolve().total == 500


def test_every_conversion_that_is_missing_is_named_at_once_with_its_path():
    plan = tm.Plan(
        {
            "lr": tm.Linear(init_value=0, end_value=1, duration="2 epochs"),
            "wd": tm.Constant(value=1).shift("9 samples"),
            "clip": 1.0,
        },
    )
    with pytest.raises(tm.PlanError, match="Plan: 2 faults") as caught:
        plan.resolve()
    assert [(fault.path, "Give " in fault.message) for fault in caught.value.faults] == [
        ("schedules.lr.duration", True),
        ("schedules.wd.by", True),
    ]
    with pytest.raises(
        tm.PlanError, match=r"total: epochs cannot be turned into optimizer_steps. Give steps_per_epoch="
    ):
        tm.Plan({"lr": 1.0}, total="20 epochs").resolve()


@pytest.mark.parametrize(
    ("rates", "match"),
    [({"step_per_epoch": 5}, "Did you mean steps_per_epoch?"), ({"steps_per_epoch": 0}, "must be at least 1")],
)
def test_resolving_with_a_wrong_rate_is_refused(rates, match):
    with pytest.raises(tm.PlanError, match=match):
        tm.Plan({"lr": 1.0}).resolve(**rates)


BAD = {
    "schedules": {
        "lr": {"type": "cosin", "init_value": 1},
        "wd": {"type": "linear", "init_value": "x", "end_vaule": 1, "duration": 0},
        "clip": "high",
        "momentum": {
            "type": "sequence",
            "parts": [1.0, {"type": "cosine", "init_value": 1, "end_value": 0, "duration": "5 steps"}, {"no": "type"}],
            "boundaries": [5, 5],
        },
        "2lr": 1.0,
        "beta": {"type": "clip", "schedule": {"type": "product", "parts": [1, True]}},
    },
    "total": "5%",
    "clock": "steps",
    "rates": {"steps_per_epok": 5},
    "schedule": {},
}


def test_every_fault_of_a_plan_is_named_at_once_each_with_its_path():
    with pytest.raises(tm.PlanError, match=r"^Plan: \d+ faults\n") as caught:
        tm.Plan.from_data(BAD, source="Plan")
    found = {fault.path: fault.message for fault in caught.value.faults}
    wanted = {
        "schedule": "no key of that name. Did you mean schedules? Keys: total, clock",
        "schedules.lr.type": "no schedule of the name 'cosin'. Did you mean cosine?",
        "schedules.wd.init_value": "'x' is not a number",
        "schedules.wd.end_vaule": "linear has no parameter of that name. Did you mean end_value?",
        "schedules.wd.end_value": "is missing; linear needs init_value, end_value, duration",
        "schedules.wd.duration": "must be at least 1, got 0",
        "schedules.clip": "must be a number or a schedule such as",
        "schedules.momentum.parts[1].duration": "`steps` means several things",
        "schedules.momentum.parts[2]": "has no `type`. Types: ",
        "schedules.momentum.boundaries[1]": "must come after the one before it",
        "schedules.2lr": "names no hyperparameter",
        "schedules.beta.schedule.parts[1]": "must be a number or a schedule",
        "total": "cannot be a share of itself, got 5%",
        "clock": "must be one of optimizer_steps",
        "rates": "Did you mean steps_per_epoch?",
    }
    assert set(found) == set(wanted)
    for path, message in wanted.items():
        assert message in found[path], path
        assert path in str(caught.value)


def test_an_unknown_key_hides_no_fault_of_a_known_one_with_the_same_beginning():
    with pytest.raises(tm.PlanError, match="2 faults") as caught:
        tm.Plan({"lr": {"type": "plateau", "factors": 1, "factor": 2}})
    assert {fault.path for fault in caught.value.faults} == {"schedules.lr.factors", "schedules.lr.factor"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schedules": {}}, "schedules: must be a mapping from names to schedules"),
        ({"schedules": None}, "schedules: must be a mapping"),
        ({"schedules": [1]}, "schedules: must be a mapping"),
        ({"total": 0}, "total: must be at least 1, got 0"),
        ({"total": -5}, "total: must be between 0"),
        ({"total": 2.5}, "total: must be an integer count"),
        ({"total": True}, "total: must be an integer count, got True"),
        ({"total": "20 epocs"}, "total: .*Did you mean epochs?"),
        ({"total": "50% + 5"}, "total: cannot be a share of itself"),
        ({"clock": ""}, "clock: must be one of"),
        ({"clock": False}, "clock: must be one of .*, got False"),
        ({"clock": [1]}, "clock: must be one of"),
        ({"clock": "epoch"}, "clock: .* Did you mean epochs?"),
        ({"rates": 5}, "rates: must be a mapping"),
        ({"rates": 0}, "rates: must be a mapping"),
        ({"rates": "steps_per_epoch"}, "rates: must be a mapping"),
        ({"rates": {"steps_per_epoch": 2.5}}, "rates: steps_per_epoch must be an integer count"),
        ({"rates": {5: 5}}, "rates: no conversion of the name"),
        ({"totl": 5}, "totl: no key of that name. Did you mean total?"),
        ({5: 5}, "5: no key of that name"),
        ({"schedules": {5: 1.0}}, "schedules.5: 5 names no hyperparameter"),
        ({"schedules": {"": 1.0}}, "'' names no hyperparameter"),
        ({"schedules": {"lr": None}}, "schedules.lr: must be a number or a schedule .* got None"),
        ({"schedules": {"lr": [1.0]}}, r"schedules.lr: must be a number or a schedule .* got \[1.0\]"),
        ({"schedules": {"lr": {"type": None}}}, "schedules.lr.type: no schedule of the name None"),
        ({"schedules": {"lr": {"type": ["cosine"]}}}, "schedules.lr.type: no schedule of the name"),
        ({"schedules": {"lr": {"type": "os.system"}}}, "schedules.lr.type: no schedule of the name 'os.system'"),
        ({"schedules": {"lr": {"type": "Cosine"}}}, "Did you mean cosine?"),
        ({"schedules": {"lr": {"type": "schedule"}}}, "no schedule of the name 'schedule'"),
        ({"schedules": {"lr": {"type": "composite", "parts": []}}}, "no schedule of the name 'composite'"),
        (
            {"schedules": {"lr": {"type": "interval_table", "rule": "step_decay", "intervals": []}}},
            "no schedule of the name 'interval_table'",
        ),
        ({"schedules": {"lr": {"type": "sum", "parts": {"a": 1}}}}, "schedules.lr.parts: must be a list, got dict"),
        (
            {"schedules": {"lr": {"type": "sum", "parts": [1]}}},
            "schedules.lr.parts: must have 2 to 4096 entries, got 1",
        ),
        ({"schedules": {"lr": {**COSINE, 5: 1}}}, "schedules.lr.5: cosine has no parameter of that name"),
        (
            {"schedules": {"lr": {"type": "warmup_cosine", "peak_value": 1, "warmup": 9, "total": 9}}},
            "schedules.lr.warmup: must be shorter",
        ),
        ({"schedules": {"lr": {"type": "clip", "schedule": 1}}}, "schedules.lr.min: and `max` are both left out"),
        (
            {"schedules": {"lr": {"type": "step_decay", "intervals": [{"start": 0, "lr": "x"}]}}},
            r"schedules.lr.intervals\[0\].lr: 'x' is not a number",
        ),
        (
            {"schedules": {"lr": {"type": "step_decay", "intervals": [{"lr": 1}, {"start": 5, "lr": 1}]}}},
            r"schedules.lr.intervals\[1\]: starts at 5, before",
        ),
        (
            {"schedules": {"lr": {"type": "exponential_decay", "intervals": [{"lr": 1}]}}},
            r"intervals\[0\].init_lr: is missing",
        ),
        ({"schedules": {"lr": {"type": "linear_decay"}}}, "schedules.lr.intervals: is missing"),
        (
            {"schedules": {"lr": {"type": "stretch", "schedule": {"type": "plateau"}, "factor": 2}}},
            "schedules.lr: .*a controller cannot be stretched",
        ),
    ],
)
def test_a_plan_with_one_thing_wrong_says_which(change, match):
    with pytest.raises(tm.PlanError, match=match):
        tm.Plan.from_data({**DIGITS, **change})


@pytest.mark.parametrize("data", [None, 5, "lr", [1], {1, 2}])
def test_what_is_no_mapping_is_no_plan(data):
    with pytest.raises(tm.PlanError, match="plan: must be a mapping with total, clock, rates, schedules, got"):
        tm.Plan.from_data(data)


def nested(depth):
    """A tree of that many compositions over a constant, as data."""
    tree = 1.0
    for _ in range(depth):
        tree = {"type": "shift", "by": 1, "schedule": tree}
    return tree


def test_a_tree_may_be_as_deep_as_the_cap_and_no_deeper():
    plan = tm.Plan({"lr": nested(32)})
    assert tm.loads_plan(tm.dumps_plan(plan)) == plan
    assert plan["lr"](5) == 1.0
    with pytest.raises(tm.PlanError, match="is more than 32 levels deep"):
        tm.Plan({"lr": nested(33)})


def test_a_tree_made_in_python_is_held_to_the_same_depth():
    tree = tm.Constant(value=1.0)
    for _ in range(31):
        tree = tree.shift(1)
    assert tm.loads_plan(tm.dumps_plan(tm.Plan({"lr": tree})))["lr"] == tree
    for _ in range(2_000):
        tree = tm.Shift(schedule=tree, by=1)
    with pytest.raises(tm.PlanError, match=r"schedules.lr: is more than 32 levels deep"):
        tm.Plan({"lr": tree})


def test_a_plan_has_at_most_256_entries():
    assert len(tm.Plan({f"group_{k}.lr": 1.0 for k in range(256)}).schedules) == 256
    with pytest.raises(tm.PlanError, match="schedules: has 257 entries; a plan has at most 256"):
        tm.Plan({f"group_{k}.lr": 1.0 for k in range(257)})


def test_a_schedule_has_at_most_4096_parts():
    parts = {"type": "sum", "parts": [1.0] * 4096}
    assert tm.Plan({"lr": parts})["lr"](0) == 4096.0
    with pytest.raises(tm.PlanError, match=r"schedules.lr.parts: must have 2 to 4096 entries, got 4097"):
        tm.Plan({"lr": {"type": "sum", "parts": [1.0] * 4097}})


def test_nothing_in_a_plan_can_be_assigned():
    plan: Any = tm.Plan(DIGITS["schedules"], total="20 epochs")
    with pytest.raises(AttributeError, match="cannot assign"):
        plan.total = 5
    with pytest.raises(TypeError, match="does not support item assignment"):
        plan.schedules["lr"] = 1.0
    with pytest.raises(TypeError, match="does not support item assignment"):
        plan.rates["batch_size"] = 1


def test_a_plan_does_not_change_with_the_data_it_was_made_of():
    data = json.loads(json.dumps(DIGITS))
    plan = tm.Plan.from_data(data)
    before = plan.fingerprint
    data["schedules"]["lr"]["peak_value"] = 9
    data["schedules"]["more"] = 1.0
    assert plan == tm.Plan.from_data(DIGITS)
    assert tm.Plan.from_data(plan.to_data()).fingerprint == before


def test_an_entry_that_is_not_there_is_refused_with_a_suggestion():
    with pytest.raises(
        tm.PlanError,
        match=r"the plan has no entry 'batchsize'. Did you mean batch_size.* Entries: lr, batch_size, grad_clip",
    ):
        tm.Plan.from_data(DIGITS)["batchsize"]


def test_entries_may_be_schedules_data_numbers_and_text_alike():
    plan = tm.Plan(
        {
            "lr": tm.Constant(value=0.1),
            "a": {"type": "constant", "value": 0.1},
            "b": 0.1,
            "c": "1e-1",
            "d": np.float64(0.1),
        }
    )
    assert set(plan.schedules.values()) == {tm.Constant(value=0.1)}


def test_a_type_has_its_classs_name_in_snake_case_and_a_recipe_its_own():
    names = plan_data.registry()
    assert {"multi_step", "inverse_sqrt", "piecewise_constant", "on", "plateau", "wsd", "one_cycle"} <= set(names)
    plan = tm.Plan({"lr": tm.wsd(peak_value=1, warmup=1, decay=1), "x": tm.InverseSqrt(init_value=1, timescale=5)})
    assert [entry["type"] for entry in plan.to_data()["schedules"].values()] == ["warmup_stable_decay", "inverse_sqrt"]


def test_step_decay_means_a_class_a_recipe_or_a_table_by_what_is_written():
    entries = {
        "a": {"type": "step_decay", "init_value": 1.0, "factor": 0.5, "every": 10},
        "b": {"type": "step_decay", "init_value": 1.0, "milestones": [10, 20]},
        "c": {"type": "step_decay", "init_value": 1.0, "factor": 0.5, "milestones": [10, 20]},
        "d": {"type": "step_decay", "intervals": [{"start": 0, "end": 10, "lr": 1.0}, {"start": 10, "lr": 0.5}]},
    }
    plan = tm.Plan(entries)
    assert plan["a"] == tm.StepDecay(init_value=1, factor=0.5, every=10)
    assert plan["b"] == tm.step_decay(init_value=1, milestones=[10, 20])
    assert plan["c"] == tm.step_decay(init_value=1, factor=0.5, milestones=[10, 20])
    assert isinstance(plan["d"], tm.IntervalTable)
    assert tm.loads_plan(tm.dumps_plan(plan)) == plan


def test_a_schedule_of_ones_own_that_is_no_dataclass_runs_in_a_plan_but_has_no_name_in_a_file():
    class Mine(tm.Schedule):
        """Not exported by anyone."""

        __slots__ = ()

        def _at(self, t, ops):
            return ops.full(t, 2.0)

    plan = tm.Plan({"lr": Mine() * 2.0})
    assert plan["lr"](5) == 4.0
    assert plan.fingerprint != tm.Plan({"lr": 4.0}).fingerprint
    with pytest.raises(tm.PlanError, match=r"schedules.lr: Mine is a schedule of your own, which a file cannot name"):
        tm.dumps_plan(plan)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HalfLife(tm.Schedule):
    """Halves every `length` counts.

    Stands for the schedule that someone adds tomorrow.
    """

    init_value: Value
    length: Length = 100

    def _at(self, t, ops):
        return self.init_value * ops.power(0.5, ops.real(t) / self.length)


@pytest.fixture
def exported(monkeypatch):
    """The package as it is with one more class and one more export."""
    monkeypatch.setattr(core, "HalfLife", HalfLife, raising=False)
    monkeypatch.setattr(core, "__all__", [*core.__all__, "HalfLife"])
    for cached in (plan_data.registry, plan_data.type_names):
        cached.cache_clear()
    yield
    monkeypatch.undo()
    for cached in (plan_data.registry, plan_data.type_names):
        cached.cache_clear()


@pytest.mark.usefixtures("exported")
def test_a_new_schedule_needs_its_class_and_one_export_and_plans_know_it():
    """The third and fourth place are its row in the strategy and its oracle."""
    plan = tm.loads_plan("schedules: {lr: {type: half_life, init_value: 1e-1, length: 2k}}")
    assert plan["lr"] == HalfLife(init_value=0.1, length=2_000)
    assert plan["lr"](2_000) == 0.05
    assert tm.loads_plan(tm.dumps_plan(plan)) == plan
    assert plan["lr"](np.array([0, 4_000])).tolist() == [0.1, 0.025]
    cases = schema()["$defs"]["schedule"]["anyOf"][-1]["allOf"]
    (then,) = [case["then"] for case in cases if case["if"]["properties"]["type"]["const"] == "half_life"]
    assert then["description"] == "Halves every `length` counts."
    assert then["required"] == ["type", "init_value"]
    with pytest.raises(tm.PlanError, match=r"lr.length: must be at least 1.*"):
        tm.Plan({"lr": {"type": "half_life", "init_value": 1, "length": 0}})
    with pytest.raises(tm.PlanError, match=r"Did you mean half_life?"):
        tm.Plan({"lr": {"type": "halflife", "init_value": 1}})


@pytest.mark.usefixtures("exported")
def test_a_new_schedule_makes_the_completeness_of_the_strategy_fail_until_it_has_its_row():
    from strategies import ROWS

    assert HalfLife not in ROWS
    assert "HalfLife" in core.__all__
