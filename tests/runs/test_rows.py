"""Rows: strict JSON, numbers of any library, and nothing lost on the way."""

import json
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tempomat.core import MeasurementError, RecordError
from tempomat.runs.rows import decode, encode, encode_values, number, numbers, parse

NUMBERS = st.one_of(st.floats(), st.integers(-(2**63) + 1, 2**63 - 1))
SECTION = st.dictionaries(st.text(), NUMBERS, max_size=4)
COUNTS = st.dictionaries(st.text(), st.integers(0, 2**62), max_size=3)
TIME = st.floats(0, 1e9)
ROWS = st.tuples(COUNTS, SECTION, SECTION, SECTION, TIME).map(
    lambda parts: dict(zip(("counts", "asked", "applied", "measured", "time"), parts, strict=True))
)
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


def strict(line: bytes) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


def same(left: object, right: object) -> bool:
    return repr(left) == repr(right)


@given(ROWS)
def test_a_row_of_values_reads_back_as_it_was_nan_and_infinities_included(row):
    line = encode_values(row)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    strict(line)
    back = parse(line)
    assert list(back) == list(row)
    for section in ("counts", "measured", "asked"):
        assert same(back[section], row[section])
    assert back["applied"].keys() == row["applied"].keys()
    assert all(np.array_equal(back["applied"][key], row["applied"][key], equal_nan=True) for key in row["applied"])


@given(ROWS)
def test_the_fast_line_is_the_line_that_the_library_writes(row):
    # where asked and applied are equal numbers of different spelling (1 and 1.0), the fast line spells them alike
    row["applied"] = dict(row["asked"])
    assert encode_values(row) == encode(row)


@given(st.dictionaries(st.text().filter(lambda key: key not in ("event", "counts", "time", "nonfinite")), DATA))
def test_an_event_of_any_plain_data_reads_back_as_it_was(data):
    row = {"event": "decision", **data, "counts": {}, "time": 1.0}
    line = encode(row)
    strict(line)
    assert same(parse(line), row)


def test_what_is_not_finite_is_null_and_named_by_a_json_pointer():
    row = {"event": "x", "a/b": {"c~d": [1.0, math.inf, -math.inf]}, "loss": math.nan, "counts": {}, "time": 0.0}
    data = strict(encode(row))
    assert data["a/b"] == {"c~d": [1.0, None, None]}
    assert data["loss"] is None
    assert data["nonfinite"] == {"/a~1b/c~0d/1": "Infinity", "/a~1b/c~0d/2": "-Infinity", "/loss": "NaN"}


@pytest.mark.parametrize(
    "value",
    [3, 2.5, np.float32(2.5), np.float64(2.5), np.int64(3), np.array(2.5), np.array([2.5]), np.uint8(7), -(2**62)],
    ids=repr,
)
def test_a_number_of_any_library_becomes_pythons(value):
    plain = number(value)
    assert type(plain) in (int, float)
    assert plain == value


def test_a_tensor_that_asks_for_its_gradient_is_a_number():
    torch = pytest.importorskip("torch")
    loss = torch.tensor(2.0, requires_grad=True) * 1.5
    assert number(loss) == 3.0
    assert number(torch.tensor(7)) == 7


def test_nan_of_any_library_is_a_number():
    assert math.isnan(number(np.float32("nan")))


@pytest.mark.parametrize("value", ["0.5", None, True, np.bool_(True), [0.5], np.zeros(2), 2**63, 1j, object], ids=repr)
def test_what_is_no_number_is_refused_with_its_name(value):
    with pytest.raises(MeasurementError, match=r"measured\.loss: must be a number, got .*\("):
        numbers({"fine": 0.5, "loss": value}, "measured")


def test_every_measurement_that_is_none_is_named_at_once():
    with pytest.raises(MeasurementError, match=r"2 faults(?s:.*)measured\.a(?s:.*)measured\.c"):
        numbers({"a": "x", "b": 1.0, "c": None}, "measured")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no row, but list"),
        (b"{}", "counts, asked, applied, measured missing"),
        (b'{"counts":{},"asked":{},"applied":{},"time":1}', "measured missing"),
        (b'{"counts":{},"asked":{},"applied":{},"measured":[],"time":1}', "measured missing"),
        (b'{"counts":{},"asked":{},"applied":{},"measured":{}}', "time missing"),
        (b'{"event":"x","time":1}', "counts missing"),
        (b'{"event":5,"counts":{},"time":1}', "asked, applied, measured missing"),
        (b'{"event":"x","counts":{},"time":1,"nonfinite":5}', "points to no null"),
        (b'{"event":"x","counts":{},"time":1,"nonfinite":{"/a":"NaN"}}', "points to no null"),
        (b'{"event":"x","counts":{},"time":1,"nonfinite":{"/time":"NaN"}}', "points to no null"),
        (b'{"event":"x","a":null,"counts":{},"time":1,"nonfinite":{"/a":"nan"}}', "points to no null"),
        (b'{"event":"x","a":[null],"counts":{},"time":1,"nonfinite":{"/a/1":"NaN"}}', "points to no null"),
        (b'{"event":"x","a":[null],"counts":{},"time":1,"nonfinite":{"/a/b":"NaN"}}', "points to no null"),
        (b'{"event":"x","a":null,"counts":{},"time":1,"nonfinite":{"":"NaN"}}', "points to no null"),
    ],
)
def test_a_line_that_is_no_row_is_refused(line, said):
    with pytest.raises(RecordError, match=said):
        parse(line)


def test_mappings_and_numbers_of_other_libraries_are_plain_data_in_events():
    row = {"event": "x", "inner": MappingProxyType({"a": np.float32(0.5), "b": np.float32("nan")})}
    data = strict(encode(row))
    assert data["inner"] == {"a": 0.5, "b": None}
    assert data["nonfinite"] == {"/inner/b": "NaN"}


def test_what_is_no_data_is_refused():
    with pytest.raises(ValueError, match="must be a number, got <object"):
        encode({"event": "x", "what": object()})


def test_decode_takes_a_value_that_is_parsed_already():
    assert decode({"event": "x", "counts": {}, "time": 0}) == {"event": "x", "counts": {}, "time": 0}
