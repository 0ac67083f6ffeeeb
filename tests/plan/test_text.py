"""YAML as people write it: what is a number, where a fault stands, and what a text may not do."""

import sys

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import plans

import tempomat as tm
from tempomat.plan.text import MAX_ITEMS, MAX_NESTING, dump_yaml, parse_yaml

PLAN = """\
total: 20 epochs
schedules:
  lr: {type: warmup_cosine, peak_value: 3.0e-4, end_value: 3.0e-6, warmup: 5%}
  batch_size: {type: piecewise_constant, values: [32, 64, 128], boundaries: [5 epochs, 10 epochs]}
  grad_clip: 1.0
"""


def value_of(word):
    return parse_yaml(f"x: {word}")[0]["x"]


def test_the_plan_of_the_front_page_reads():
    plan = tm.loads_plan(PLAN)
    assert plan.total == tm.Duration("20 epochs")
    assert plan["lr"] == tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup="5%")
    assert plan["grad_clip"] == tm.Constant(value=1.0)
    assert tm.loads_plan(tm.dumps_plan(plan)) == plan


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("3e6", 3_000_000),
        ("3M", 3_000_000),
        ("1.5M", 1_500_000),
        ("10_000", 10_000),
        ("-5", -5),
        ("+5", 5),
        ("0.1", 0.1),
        (".5", 0.5),
        ("5.", 5),
        ("0", 0),
        ("010", "010"),
        ("1:30", "1:30"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("0x10", "0x10"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2024-01-01", "2024-01-01"),
        ("5%", "5%"),
        ("90 min", "90 min"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_a_word_is_what_people_mean_by_it(word, value):
    found = value_of(word)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "word", ["010", "1:30", "on", "yes", "0x10", ".inf", ".nan", "true", "~", "2024-01-01", "'1:30'"]
)
def test_what_other_readers_take_for_a_number_is_refused_where_one_is_needed(word):
    for text in (
        f"schedules: {{lr: {word}}}",
        f"schedules: {{lr: {{type: constant, value: {word}}}}}",
        f"schedules: {{lr: {{type: linear, init_value: 0, end_value: 1, duration: {word}}}}}",
        f"schedules: {{lr: {{type: step_decay, intervals: [{{lr: {word}}}]}}}}",
    ):
        with pytest.raises(tm.PlanError, match=r"line 1, schedules.lr[\w.\[\]]*:? "):
            tm.loads_plan(text)


@pytest.mark.parametrize("word", ["1e-4", "0.0001", "1.0e-04", "'1e-4'", ".0001", "0.1e-3"])
def test_one_number_is_the_same_number_however_it_is_written(word):
    assert tm.loads_plan(f"schedules: {{lr: {word}}}")["lr"] == tm.Constant(value=1e-4)


@pytest.mark.parametrize("word", ["3000000", "3e6", "3M", "3_000_000", "3.0e6", "'3M'", "3.M", "3.0"])
def test_one_length_is_the_same_length_however_it_is_written(word):
    plan = tm.loads_plan(f"schedules: {{lr: {{type: linear, init_value: 0, end_value: 1, duration: {word}}}}}")
    assert plan["lr"].duration == (3 if word == "3.0" else 3_000_000)


@settings(max_examples=60)
@given(plans())
def test_any_yaml_reader_reads_what_is_written(plan):
    """A file that only its writer understands would be a trap for every other tool."""
    assert yaml.safe_load(tm.dumps_plan(plan)) == plan.to_data()


words = st.text(max_size=8) | st.sampled_from(
    ["1e-4", "3M", "tRue", "010", "on", "~", "1:30", "=", "a: b", "- a", "# a", "", "é\n"]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(words, below, max_size=3),
    max_leaves=6,
)


@given(plain)
@example({"metric": "3M"})
@example([1e16, 5e-324, -0.0, 1e22])
def test_plain_data_reads_back_from_its_text(data):
    text = dump_yaml(data)
    again = parse_yaml(text)[0]
    assert again == data
    assert repr(again) == repr(data)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_written_so_that_every_reader_sees_a_float(value):
    text = dump_yaml({"x": value})
    assert repr(parse_yaml(text)[0]["x"]) == repr(yaml.safe_load(text)["x"]) == repr(value)


def test_short_mappings_are_on_one_line():
    assert tm.dumps_plan(tm.loads_plan(PLAN)) == (
        "total: 20 epochs\n"
        "schedules:\n"
        "  lr: {type: warmup_cosine, peak_value: 0.0003, end_value: 3.0e-06, warmup: 5%}\n"
        "  batch_size:\n"
        "    type: piecewise_constant\n"
        "    values: [32.0, 64.0, 128.0]\n"
        "    boundaries: [5 epochs, 10 epochs]\n"
        "  grad_clip: 1.0\n"
    )


def test_json_is_yaml():
    assert tm.loads_plan('{"schedules": {"lr": {"type": "constant", "value": 1e-4}}}')["lr"](0) == 1e-4


def test_every_fault_has_the_line_it_stands_on():
    text = (
        "total: 20 epochs\n"
        "schedules:\n"
        "  lr:\n"
        "    type: cosine\n"
        "    init_value: 010\n"
        "    end_vlaue: 1\n"
        "    duration: 5 steps\n"
        "  wd:\n"
        "    type: sum\n"
        "    parts:\n"
        "      - 1\n"
        "      - {type: linaer}\n"
        "clok: epochs\n"
    )
    with pytest.raises(tm.PlanError, match=r"mine.yaml: 6 faults\n") as caught:
        tm.loads_plan(text, source="mine.yaml")
    said = str(caught.value)
    for where in (
        "line 13, clok: no key of that name. Did you mean clock?",
        "line 5, schedules.lr.init_value: '010' has a leading zero",
        "line 6, schedules.lr.end_vlaue: cosine has no parameter of that name. Did you mean end_value?",
        "line 3, schedules.lr.end_value: is missing",
        "line 7, schedules.lr.duration: '5 steps': `steps` means several things",
        "line 12, schedules.wd.parts[1].type: no schedule of the name 'linaer'. Did you mean linear?",
    ):
        assert where in said
    assert "schedules.lr.duration" in [fault.path for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("schedules:\n  lr: 1\n  lr: 2\n", "plan, line 3: the key 'lr' stands twice in one mapping"),
        ("schedules: {lr: 1}\nschedules: {wd: 1}\n", "line 2: the key 'schedules' stands twice"),
        ("schedules: {lr: {type: constant, value: 1, value: 2}}", "line 1: the key 'value' stands twice"),
        ("schedules: {1: 5, '1': 6}", "the key '1' stands twice"),
        ("schedules: &all {lr: 1}", "line 1: anchors and aliases .* are not read. Write the value out"),
        ("schedules:\n  lr: &x 1\n  wd: *x\n", "line 2: anchors and aliases"),
        ("schedules:\n  lr: *x\n", "line 2: anchors and aliases"),
        (
            "schedules: !!python/object/apply:os.system ['true']",
            r"line 1: tags \(.*os.system\) are not read; a plan is plain data",
        ),
        ("schedules: !mine {lr: 1}", r"line 1: tags \(!mine\) are not read"),
        ("schedules: {lr: !!float 5}", r"line 1: tags \(tag:yaml.org,2002:float\) are not read"),
        ("schedules: {lr: !!python/name:os.system ''}", "tags .* are not read"),
        ("schedules: {lr: 1}\n---\nschedules: {lr: 2}\n", "line 2: has several documents; a plan is one"),
        ("schedules: {lr: 1", r"line \d: is no YAML: "),
        ("schedules:\n\tlr: 1\n", r"line 2: is no YAML: .*\. Indent it by spaces: YAML knows no tabs"),
        ("schedules: {? [a] : 1}", "line 1: a key must be a name"),
        ("schedules: {? {a: 1} : 1}", "line 1: a key must be a name"),
        ("schedules: {<<: {lr: 1}}", "schedules.<<: '<<' names no hyperparameter"),
        ("", "plan: must be a mapping with total, clock, rates, schedules, got nothing"),
        ("# nothing\n", "must be a mapping"),
        ("just text", "must be a mapping .*, got str"),
        ("- lr", "must be a mapping .*, got list"),
        ("schedules: {lr: \x07}", "is no YAML"),
        ("\ud800", "is no YAML|is not UTF-8|surrogate"),
    ],
    ids=repr,
)
def test_a_text_that_is_more_or_less_than_plain_data_is_refused_with_its_line(text, match):
    with pytest.raises(tm.PlanError, match=match):
        tm.loads_plan(text)


def calls_made(text):
    """How many functions run until a text is refused: a cost that no clock has to measure."""
    made = 0

    def note(frame, event, argument):
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        with pytest.raises(tm.PlanError, match="plan"):
            tm.loads_plan(text)
    finally:
        sys.setprofile(None)
    return made


HOSTILE = {
    "lists in lists": lambda size: "schedules: " + "[" * size,
    "mappings in mappings": lambda size: "schedules: " + "{a: " * size,
    "an alias bomb": lambda size: "a: &a [x, x]\n" + "".join(f"a{k}: &a{k} [*a, *a]\n" for k in range(size)),
    "a million entries": lambda size: "schedules: {lr: {type: sum, parts: [" + "1," * (5_000 + size),
    "a million keys": lambda size: "\n".join(f"k{k}: 1" for k in range(5_000 + size)),
    "a duplicate key": lambda size: "a: 1\n" * size,
    "documents": lambda size: "--- {}\n" * size,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_costs_no_more_when_it_is_larger(name):
    build = HOSTILE[name]
    calls_made(build(1_000))  # imports
    assert calls_made(build(30_000)) <= calls_made(build(1_000)) + 100


def test_a_text_is_at_most_a_megabyte():
    filler = "# " + "x" * 998 + "\n"
    assert tm.loads_plan(filler * 990 + PLAN)["grad_clip"](0) == 1.0
    with pytest.raises(tm.PlanError, match="a plan has at most 1_000_000"):
        tm.loads_plan(filler * 1_000 + PLAN)


def test_the_cap_on_size_counts_bytes():
    with pytest.raises(tm.PlanError, match="a plan has at most 1_000_000"):
        tm.loads_plan("# " + "\u00e4" * 600_000 + "\n" + PLAN)


def test_nesting_is_allowed_up_to_the_cap():
    assert parse_yaml("[" * MAX_NESTING + "]" * MAX_NESTING)[0]
    with pytest.raises(tm.PlanError, match=f"is nested more than {MAX_NESTING} levels deep"):
        parse_yaml("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1))


def test_a_list_is_as_long_as_the_cap_and_no_longer():
    assert len(parse_yaml("a: [" + "1," * MAX_ITEMS + "]")[0]["a"]) == MAX_ITEMS
    with pytest.raises(tm.PlanError, match="line 1: a has more than 4096 entries"):
        parse_yaml("a: [" + "1," * (MAX_ITEMS + 1) + "]")


def test_a_long_value_is_not_repeated_whole_in_its_message():
    long = "x" * 100_000
    entries = [f"'{long}'", f"{{type: {long}}}", f"{{type: constant, value: {long}}}"]
    for entry in entries:
        with pytest.raises(tm.PlanError, match=r"schedules.lr") as caught:
            tm.loads_plan(f"schedules: {{lr: {entry}}}")
        assert len(str(caught.value)) < 2_000


FOREIGN = """
base: &base
  total: !!float 1e6
  rate: !!str 1e-3
  on: !!bool true
other:
  <<: *base
  rate: 2e-3
"""


def test_a_file_of_another_program_may_have_yamls_own_tags_and_begin_an_entry_with_another():
    base = {"total": 1_000_000, "rate": "1e-3", "on": True}
    assert parse_yaml(FOREIGN, foreign=True)[0] == {"base": base, "other": {**base, "rate": 0.002}}
    with pytest.raises(tm.PlanError, match="anchors and aliases"):
        parse_yaml(FOREIGN)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1}\nb: {c: {<<: *a}}",
        "a: &a {x: 1}\nb: *a",
        "a: &a {x: 1}\nb: {<<: [*a, *a]}",
        "a: &a {<<: *a}",
        "a: &a [1]\nb: {<<: *a}",
        "b: {<<: *nobody}",
        "*nobody",
    ],
)
def test_no_other_alias_is_read_so_that_no_text_grows(text):
    with pytest.raises(tm.PlanError, match=r"the alias \*\w+ is read only in an entry that begins with another"):
        parse_yaml(text, foreign=True)


def test_tags_that_build_objects_are_refused_in_any_file():
    with pytest.raises(tm.PlanError, match=r"tags \(tag:yaml.org,2002:python/object/apply:os.system\) are not read"):
        parse_yaml("a: !!python/object/apply:os.system [true]", foreign=True)
