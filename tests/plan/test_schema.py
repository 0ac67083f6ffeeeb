"""The JSON Schema of plans: what editors complete and check agrees with what the reader accepts."""

import json
import re

import jsonschema
import pytest
from hypothesis import given, settings
from strategies import ROWS, plans

import tempomat as tm
from tempomat.plan import data, schema

VALIDATOR = jsonschema.Draft202012Validator(schema())
LINE = {"type": "linear", "init_value": 0, "end_value": 1, "duration": 5}


def variants():
    """What each type may have: a list for each, since some names mean several things."""
    typed = schema()["$defs"]["schedule"]["anyOf"][-1]
    cases = {case["if"]["properties"]["type"]["const"]: case["then"] for case in typed["allOf"]}
    assert typed["properties"]["type"]["enum"] == list(cases)
    return {name: then.get("anyOf", [then]) for name, then in cases.items()}


def test_the_schema_is_a_valid_one_of_its_draft():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


@settings(max_examples=40)
@given(plans())
def test_every_plan_is_valid(plan):
    VALIDATOR.validate(plan.to_data())
    VALIDATOR.validate(plan.to_data(full=True))


def test_every_type_is_in_it_with_a_description_and_its_parameters():
    found = variants()
    assert set(found) == {*data.registry(), "step_decay", "exponential_decay", "linear_decay"}
    assert len(found["step_decay"]) == 3
    assert all(one["additionalProperties"] is False for ones in found.values() for one in ones)
    named = [one for ones in found.values() for one in ones if "intervals" not in one["properties"]]
    assert all(re.match(r"[A-Z`]", one["description"]) for one in named)
    assert set(found["linear"][0]["properties"]) == {"type", "init_value", "end_value", "duration"}
    assert found["linear"][0]["required"] == ["type", "init_value", "end_value", "duration"]
    assert found["plateau"][0]["properties"]["patience"]["default"] == 10


def test_the_strategy_knows_as_many_types_as_the_schema():
    builders = {builder for ones in data.registry().values() for builder in ones} | {tm.IntervalTable}
    assert builders == set(ROWS)


@pytest.mark.parametrize(
    "entry",
    [
        1,
        1e-4,
        "1e-4",
        "3M",
        LINE,
        {**LINE, "duration": "5%"},
        {**LINE, "duration": "20 epochs"},
        {**LINE, "duration": 3e6},
        {**LINE, "init_value": "1e-4"},
        {"type": "sum", "parts": [1, LINE]},
        {"type": "clip", "schedule": LINE, "min": 0},
        {"type": "clip", "schedule": LINE, "min": 0, "max": None},
        {"type": "stretch", "schedule": LINE, "factor": "100%"},
        {"type": "on", "unit": "epochs", "schedule": LINE},
        {"type": "plateau"},
        {"type": "wsd", "peak_value": 1, "warmup": 0, "decay": "10%", "shape": "cosine"},
        {"type": "step_decay", "intervals": [{"start": 0, "end": 10, "lr": 1e-4}, {"start": 10, "lr": 1e-5}]},
        {"type": "step_decay", "init_value": 1, "milestones": [5]},
    ],
    ids=repr,
)
def test_what_the_reader_accepts_the_schema_accepts(entry):
    plan = {"schedules": {"lr": entry}}
    tm.Plan.from_data(plan)
    VALIDATOR.validate(plan)


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"schedules": {}},
        {"schedules": {"lr": 1}, "totl": 5},
        {"schedules": {"lr": 1}, "total": -1},
        {"schedules": {"lr": 1}, "total": True},
        {"schedules": {"lr": 1}, "clock": "steps"},
        {"schedules": {"lr": 1}, "rates": {"steps_per_epok": 5}},
        {"schedules": {"lr": 1}, "rates": {"steps_per_epoch": 0}},
        {"schedules": {"lr": 1}, "rates": {"steps_per_epoch": 2.5}},
        {"schedules": {"lr": None}},
        {"schedules": {"lr": True}},
        {"schedules": {"lr": [1]}},
        {"schedules": {"lr": "high"}},
        {"schedules": {"lr": {"type": "linaer"}}},
        {"schedules": {"lr": {"init_value": 1}}},
        {"schedules": {"lr": {"type": "linear", "init_value": 0}}},
        {"schedules": {"lr": {**LINE, "powr": 1}}},
        {"schedules": {"lr": {**LINE, "duration": 0}}},
        {"schedules": {"lr": {**LINE, "duration": 2.5}}},
        {"schedules": {"lr": {**LINE, "duration": True}}},
        {"schedules": {"lr": {**LINE, "init_value": "high"}}},
        {"schedules": {"lr": {**LINE, "init_value": None}}},
        {"schedules": {"lr": {"type": "sum", "parts": [1]}}},
        {"schedules": {"lr": {"type": "sum", "parts": [1, {"type": "linaer"}]}}},
        {"schedules": {"lr": {"type": "on", "unit": "step", "schedule": 1}}},
        {"schedules": {"lr": {"type": "plateau", "mode": "minimum"}}},
        {"schedules": {"lr": {"type": "plateau", "factor": 1.0}}},
        {"schedules": {"lr": {"type": "step_decay", "intervals": []}}},
        {"schedules": {"lr": {"type": "step_decay", "intervals": [{"strt": 0, "lr": 1}]}}},
        {"schedules": {"lr": {"type": "multi_step", "init_value": 1, "factor": 0.1, "milestones": []}}},
    ],
    ids=repr,
)
def test_what_the_schema_refuses_the_reader_refuses(plan):
    assert not VALIDATOR.is_valid(plan)
    with pytest.raises(tm.PlanError, match="plan"):
        tm.Plan.from_data(plan)


def test_the_deepest_plan_is_checked_level_by_level():
    """Trying every type at every level would take 5 to the power of the depth."""
    tree = 1.0
    for _ in range(32):
        tree = {"type": "sum", "parts": [tree, 1.0]}
    assert VALIDATOR.is_valid({"schedules": {"lr": tree}})
    bad = json.loads(json.dumps(tree).replace("[1.0, 1.0]", "[1.0, true]"))
    assert not VALIDATOR.is_valid({"schedules": {"lr": bad}})
