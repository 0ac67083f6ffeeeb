"""Saved states: plain data, what is wrong with one told by key and format, a changed plan never taken in silence."""

import copy
import json

import pytest
from runtime.toys import FALL, through_a_file

import tempomat as tm
from tempomat.runtime import Engine, load_state, save_state
from tempomat.runtime.state import FORMAT, checksum

PLAN = tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5), "noise": tm.on("env_steps", FALL)}, total=10)


def engine_at(plan, count, **others):
    """An engine some counts into its run."""
    engine = Engine(plan.resolve())
    engine.advance({str(plan.clock): count, **others})
    return engine


def saved(plan=PLAN, count=4, **others):
    """The state of a run after two equal losses, at a count."""
    engine = engine_at(plan, count, **others)
    if engine.tracks["lr"].states:
        engine.observe({"val_loss": 1.0})
        engine.observe({"val_loss": 1.0})
    return save_state(engine)


def signed(state):
    """A state whose checksum is right whatever is in it."""
    return {**state, "checksum": checksum(state)}


# what a state is


def test_a_state_is_plain_data_that_json_and_torch_carry_unchanged():
    state = saved(env_steps=3)
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert through_a_file(state) == state
    assert load_state(Engine(PLAN), json.loads(json.dumps(state))).asked == {"lr": FALL(4) * 0.5, "noise": FALL(3)}


def test_a_state_names_its_format_its_plan_and_its_counts():
    state = saved(env_steps=3)
    assert state["format"] == FORMAT == 1
    assert tm.Plan.from_data(state["plan"]) == PLAN
    assert state["fingerprint"] == PLAN.fingerprint
    assert state["counts"] == {"optimizer_steps": 4, "env_steps": 3}
    assert state["controllers"]["lr"][0]["level"] == 0.5


def test_a_state_does_not_change_with_the_engine_it_came_from():
    engine = engine_at(PLAN, 4)
    state = save_state(engine)
    before = copy.deepcopy(state)
    engine.advance({"optimizer_steps": 1})
    engine.observe({"val_loss": 1.0})
    assert state == before


def test_loading_changes_neither_the_state_nor_the_engine_given():
    engine, state = engine_at(PLAN, 1), saved(env_steps=3)
    before, text = save_state(engine), json.dumps(state)
    loaded = load_state(engine, state)
    loaded.observe({"val_loss": 9.0})
    loaded.advance({"optimizer_steps": 5})
    assert save_state(engine) == before
    assert json.dumps(state) == text


def test_a_loaded_engine_has_the_state_it_was_loaded_from():
    state = saved(env_steps=3)
    assert save_state(load_state(Engine(PLAN), state)) == state


def test_a_load_keeps_the_events_of_the_engine_it_goes_into():
    engine = engine_at(PLAN, 4)
    engine.rewind({"optimizer_steps": 1})
    assert [one["event"] for one in load_state(engine, saved()).events] == ["rewind"]


def test_a_state_at_the_largest_count_loads():
    assert load_state(Engine(PLAN), saved(count=2**62, env_steps=2**62)).counts["env_steps"] == 2**62


# damage

KEYS = sorted(saved())


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named_with_the_format(key):
    state = {name: value for name, value in saved().items() if name != key}
    with pytest.raises(tm.StateError, match=rf"lacks {key}\..* format 1 has format, plan"):
        load_state(Engine(PLAN), state)


@pytest.mark.parametrize("key", KEYS)
def test_a_misspelt_key_is_named_with_a_suggestion(key):
    wrong = key[:-2] + key[-1] + key[-2]
    state = {wrong if name == key else name: value for name, value in saved().items()}
    with pytest.raises(tm.StateError, match=rf"lacks {key} and has unknown {wrong}\. Did you mean {key}\? A state"):
        load_state(Engine(PLAN), state)


def test_a_key_too_many_is_named():
    with pytest.raises(tm.StateError, match=r"has unknown extra\. A state of format 1 has format, plan"):
        load_state(Engine(PLAN), {**saved(), "extra": 1})


WRONG = [None, "x", 7, [], {}, {"lr": [5]}]


@pytest.mark.parametrize(
    ("key", "wrong"), [(key, one) for key in KEYS for one in WRONG if saved()[key] != one], ids=repr
)
def test_a_wrong_value_under_any_key_is_found(key, wrong):
    with pytest.raises(tm.StateError, match=r"checksum|format"):
        load_state(Engine(PLAN), {**saved(), key: wrong})


def leaves(data, path=()):
    """The path of every plain value in a state."""
    if not isinstance(data, (dict, list)):
        return [path]
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return [leaf for key, value in items for leaf in leaves(value, (*path, key))]


def changed_at(state, path):
    """The state with one plain value nudged."""
    other = copy.deepcopy(state)
    place = other
    for key in path[:-1]:
        place = place[key]
    value = place[path[-1]]
    if isinstance(value, bool) or value is None:
        place[path[-1]] = 1
    else:
        place[path[-1]] = value + "x" if isinstance(value, str) else value + 1
    return other


@pytest.mark.parametrize("path", leaves(saved(env_steps=3)), ids=lambda path: ".".join(map(str, path)))
def test_a_change_to_any_single_value_is_found(path):
    with pytest.raises(tm.StateError, match=r"checksum|format"):
        load_state(Engine(PLAN), changed_at(saved(env_steps=3), path))


@pytest.mark.parametrize("found", [None, [], "state", 5, b"state"], ids=repr)
def test_what_is_no_mapping_is_no_state(found):
    with pytest.raises(tm.StateError, match=f"a state is a mapping with format, .*, got {type(found).__name__}"):
        load_state(Engine(PLAN), found)


def test_an_empty_state_lacks_everything():
    with pytest.raises(tm.StateError, match=r"lacks format, plan, .*checksum\. A state of format 1"):
        load_state(Engine(PLAN), {})


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (2, "has format 2; .* Update Tempomat"),
        *((one, "has format .*; .* reads 1") for one in (0, None, "1", True, 1.0, [])),
    ],
)
def test_a_state_of_another_format_is_refused_by_its_number(version, said):
    with pytest.raises(tm.StateError, match=said):
        load_state(Engine(PLAN), signed({**saved(), "format": version}))


def test_a_state_from_the_future_is_told_so_whatever_keys_it_has():
    with pytest.raises(tm.StateError, match=r"has format 9; .* Update Tempomat"):
        load_state(Engine(PLAN), {"format": 9, "soul": {}})


def rules(**change):
    """The controllers' part of the state, with one change to the plateau's."""
    return {"lr": [{**saved()["controllers"]["lr"][0], **change}]}


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("counts", [1]),
        ("counts", None),
        ("counts", {}),
        ("counts", {"optimizer_steps": 3}),
        ("counts", {"env_steps": 3}),
        ("counts", {"optimizer_steps": 3, "env_steps": 0, "steps": 1}),
        *(("counts", {"optimizer_steps": one, "env_steps": 0}) for one in (-3, "3", 3.0, True, None, 2**62 + 1)),
        ("controllers", []),
        ("controllers", None),
        ("controllers", {}),
        ("controllers", {"lr": []}),
        ("controllers", {"lr": [5]}),
        ("controllers", {"lr": {}}),
        ("controllers", {**rules(), "ghost": [{}]}),
        *(("controllers", rules(level=one)) for one in ("x", None, float("nan"), float("inf"), True, [])),
        *(("controllers", rules(best=one)) for one in ("x", float("nan"), True)),
        *(("controllers", rules(bad=one)) for one in (-1, 0.5, None, "1", True)),
        ("controllers", rules(more=1)),
        ("plan", None),
        ("plan", {}),
        ("plan", {"schedules": {"lr": {"type": "cosin"}}}),
        ("fingerprint", None),
        ("fingerprint", "0"),
        *(("record_offset", one) for one in ("x", -1, 1.5, True)),
    ],
    ids=repr,
)
def test_a_state_that_somebody_else_signed_is_refused_where_it_is_wrong(key, wrong):
    state = signed({**saved(), key: wrong})
    engine = engine_at(PLAN, 1)
    before = save_state(engine)
    with pytest.raises(tm.StateError, match="plan|fingerprint" if key == "plan" else key.removesuffix("s")):
        load_state(engine, state)
    assert save_state(engine) == before


def test_a_state_put_together_from_two_is_found():
    other = saved(tm.Plan({"lr": FALL}, total=10))
    with pytest.raises(tm.StateError, match="fingerprint"):
        load_state(Engine(PLAN), signed({**saved(), "plan": other["plan"]}))


def test_a_state_nested_without_end_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(tm.StateError, match="checksum"):
        load_state(Engine(PLAN), {**saved(), "plan": deep})


# a changed plan

SHORT = tm.Plan({"lr": FALL}, total=10)
LONG = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=20)}, total=20)


def test_a_changed_plan_is_refused_with_every_change_before_and_after():
    """Loading a state silently restored the old total over the new one: known of PyTorch's schedulers."""
    said = r"saved -> now.*total: 10 -> 20\n *schedules\.lr\.duration: 10 -> 20\n.*keep.*replace.*stretch"
    with pytest.raises(tm.StateError, match=f"(?s){said}"):
        load_state(Engine(LONG), saved(SHORT))


def test_a_changed_total_alone_is_a_change():
    with pytest.raises(tm.StateError, match="total: 10 -> 20"):
        load_state(Engine(tm.Plan({"lr": FALL}, total=20)), saved(SHORT))


def test_an_unknown_choice_is_refused_even_where_nothing_has_changed():
    with pytest.raises(tm.StateError, match="on_change must be refuse, keep, replace or stretch, got 'kep'"):
        load_state(Engine(SHORT), saved(SHORT), "kep")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("choice", "plan", "count", "value"),
    [
        ("keep", SHORT, 4, 1.0 - 4 / 10),
        ("replace", LONG, 4, 1.0 - 4 / 20),
        ("stretch", LONG, 8, 1.0 - 8 / 20),
    ],
)
def test_each_choice_goes_on_where_it_says(choice, plan, count, value):
    loaded = load_state(Engine(LONG), saved(SHORT), choice)
    assert loaded.plan == plan
    assert loaded.counts == {"optimizer_steps": count}
    assert loaded.asked == {"lr": value}
    loaded.tick()
    assert loaded.asked == {"lr": plan["lr"](count + 1)}


@pytest.mark.parametrize(("choice", "count"), [("keep", 4), ("replace", 4), ("stretch", 8)])
def test_the_choice_and_what_had_changed_are_an_event(choice, count):
    (event,) = load_state(Engine(LONG), saved(SHORT), choice).events
    changes = ["total: 10 -> 20", "schedules.lr.duration: 10 -> 20"]
    counts = {"counts": {"optimizer_steps": count}, "saved_counts": {"optimizer_steps": 4}}
    assert event == {"event": "resume", "choice": choice, "changes": changes, **counts}


@pytest.mark.parametrize("choice", ["refuse", "keep", "replace", "stretch"])
def test_where_nothing_has_changed_every_choice_is_the_same_and_no_event(choice):
    loaded = load_state(Engine(SHORT), saved(SHORT), choice)
    assert (loaded.counts, loaded.events) == ({"optimizer_steps": 4}, [])


@pytest.mark.parametrize(
    ("total", "new", "count", "stretched"),
    [
        (7, 20, 3, 9),
        (20, 7, 9, 3),
        (10, 5, 10, 5),
        (10, 1, 4, 0),
        (3, 2**53, 1, 3_002_399_751_580_331),
        (10, 20, 25, 50),
    ],
)
def test_stretching_goes_to_the_nearest_count_in_whole_numbers(total, new, count, stretched):
    plan, other = tm.Plan({"lr": FALL}, total=total), tm.Plan({"lr": FALL}, total=new)
    assert load_state(Engine(other), saved(plan, count), "stretch").counts == {"optimizer_steps": stretched}


def test_stretching_loses_no_count_that_a_float_would_lose():
    plan, other = tm.Plan({"lr": FALL}, total=2**53), tm.Plan({"lr": 1.0}, total=2**53)
    assert load_state(Engine(other), saved(plan, 2**61 + 1), "stretch").counts == {"optimizer_steps": 2**61 + 1}


def test_stretching_stretches_every_clock():
    other = tm.Plan(dict(PLAN.schedules), total=20)
    counts = load_state(Engine(other), saved(count=4, env_steps=3), "stretch").counts
    assert counts == {"optimizer_steps": 8, "env_steps": 6}


def test_stretching_leaves_a_stage_which_is_no_length():
    falling = tm.Linear(init_value=1.0, end_value=0.0, duration=4)
    stages = tm.Plan({"lr": tm.On(unit=tm.Unit.STAGE, schedule=falling)}, total=10)
    other = tm.Plan(dict(stages.schedules), total=20)
    counts = load_state(Engine(other), saved(stages, count=4, stage=2), "stretch").counts
    assert counts == {"optimizer_steps": 8, "stage": 2}


@pytest.mark.parametrize("totals", [(None, 10), (10, None)])
def test_stretching_needs_both_totals(totals):
    plan, other = (tm.Plan({"lr": FALL}, total=one) for one in totals)
    with pytest.raises(tm.StateError, match=r"'stretch' needs the total of both plans; use 'replace'"):
        load_state(Engine(other), saved(plan), "stretch")


@pytest.mark.parametrize("choice", ["replace", "stretch"])
def test_a_plan_on_another_clock_does_not_start_at_its_beginning_in_silence(choice):
    other = tm.Plan({"lr": FALL}, total=10, clock="epochs")
    with pytest.raises(tm.StateError, match=r"optimizer_steps.*epochs"):
        load_state(Engine(other), saved(SHORT), choice)
    assert load_state(Engine(other), saved(SHORT), "keep").counts == {"optimizer_steps": 4}


@pytest.mark.parametrize("choice", ["replace", "stretch"])
def test_a_clock_that_the_new_plan_alone_follows_does_not_start_in_silence_either(choice):
    other = tm.Plan({"lr": FALL, "noise": tm.on("env_steps", FALL)}, total=10)
    with pytest.raises(tm.StateError, match="env_steps"):
        load_state(Engine(other), saved(SHORT), choice)


@pytest.mark.parametrize("choice", ["replace", "stretch"])
def test_a_controller_that_stands_where_it_stood_goes_on(choice):
    """An adaptive lr that a resume resets: rsl_rl#221."""
    other = tm.Plan({**PLAN.schedules, "lr": tm.Constant(value=1.0) * tm.Plateau(patience=1, factor=0.5)}, total=10)
    loaded = load_state(Engine(other), saved(), choice)
    assert loaded.tracks["lr"].states == [saved()["controllers"]["lr"][0]]
    assert loaded.asked["lr"] == 0.5


@pytest.mark.parametrize(
    "tree",
    [tm.Plateau(init_value=1e-3), FALL * tm.Plateau(metric="train_loss"), FALL],
    ids=["a value instead of a factor", "another metric", "no controller"],
)
def test_a_controller_of_another_kind_starts_anew(tree):
    """A factor of 1 must never come back as a learning rate of 1."""
    other = tm.Plan({**PLAN.schedules, "lr": tree}, total=10)
    loaded = load_state(Engine(other), saved(), "replace")
    assert loaded.tracks["lr"].states == [rule.initial() for rule in tree.controllers]
    assert loaded.asked["lr"] == engine_at(other, 4).asked["lr"]


def test_a_level_below_the_new_floor_is_not_taken_over():
    other = tm.Plan({**PLAN.schedules, "lr": FALL * tm.Plateau(min_value=0.9)}, total=10)
    loaded = load_state(Engine(other), saved(), "replace")
    assert loaded.asked["lr"] >= FALL(4) * 0.9
