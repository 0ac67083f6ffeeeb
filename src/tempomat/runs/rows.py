"""A row of a record as one line of JSON, and back.

JSON has no NaN and no infinity. Where one stands, the line holds null and the row says under `nonfinite` what it was,
by JSON pointer (RFC 6901): `{"measured": {"loss": null}, "nonfinite": {"/measured/loss": "NaN"}}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from tempomat.core import Fault, MeasurementError, RecordError
from tempomat.core.errors import list_faults

Row = dict[str, Any]
"""Either `counts`, `asked`, `applied`, `measured` and `time`, or an `event` and what belongs to it."""

SECTIONS = ("counts", "asked", "applied", "measured")
"""What a row of values maps names to numbers under."""

_MARKS = "nonfinite"
_WORDS = ("NaN", "Infinity", "-Infinity")
_FLOAT = frozenset({float})
_LARGEST = 2**63  # beyond it other readers of JSON lose digits or fail


def number(value: Any) -> float | int:
    """A Python number from a number of any library, such as a 0-d tensor; NaN and infinities pass.

    Raises:
        ValueError: no number, a bool, or an integer of 64 bits and more.
    """
    kind = type(value)
    if kind is float or (kind is int and -_LARGEST < value < _LARGEST):
        return value
    try:
        plain = value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):
        plain = None
    if type(plain) is int and -_LARGEST < plain < _LARGEST:
        return plain
    if isinstance(plain, float):
        return float(plain)
    text = repr(value)
    raise ValueError(f"must be a number, got {text if len(text) <= 60 else text[:57] + '...'} ({kind.__name__})")


def numbers(values: Mapping[str, Any], section: str) -> dict[str, float | int]:
    """Every value as a Python number.

    Raises:
        MeasurementError: every value that is none, with its path.
    """
    if _FLOAT.issuperset(map(type, values.values())):
        return dict(values)
    try:
        return {name: number(value) for name, value in values.items()}
    except ValueError:
        raise _not_numbers(values, section) from None


def _not_numbers(values: Mapping[str, Any], section: str) -> MeasurementError:
    faults: list[Fault] = []
    for name, value in values.items():
        try:
            number(value)
        except ValueError as error:
            faults.append(Fault(f"{section}.{name}", str(error)))
    return MeasurementError(list_faults("the record", faults), faults)


def _other(value: Any) -> Any:
    """What the encoder does not know: mappings that are no dict, numbers of other libraries."""
    return dict(cast(Mapping[Any, Any], value)) if isinstance(value, Mapping) else number(value)


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_other).encode


def encode(row: Mapping[str, Any]) -> bytes:
    """The row as a line of strict JSON, with its line feed.

    >>> encode({"measured": {"loss": float("nan"), "lr": 0.1}})
    b'{"measured":{"loss":null,"lr":0.1},"nonfinite":{"/measured/loss":"NaN"}}\\n'

    Raises:
        ValueError: something in the row is no plain data.
    """
    try:
        text = _encode(row)
    except ValueError:
        # either a value that JSON has no word for, or one that is no data at all, which fails here again
        marks: dict[str, str] = {}
        text = _encode({**_marked(row, "", marks), _MARKS: marks})
    return text.encode() + b"\n"


def encode_values(row: Row) -> bytes:
    """The line that `encode` gives, for a row of values, in a third less time: one is written at every step."""
    asked, applied, measured = row["asked"], row["applied"], row["measured"]
    if not all(map(math.isfinite, (*asked.values(), *applied.values(), *measured.values()))):
        return encode(row)
    said = _members(asked)
    held = said if applied == asked else _members(applied)
    text = (
        f'{{"counts":{{{_members(row["counts"])}}},"asked":{{{said}}},"applied":{{{held}}},'
        f'"measured":{{{_members(measured)}}},"time":{row["time"]!r}}}\n'
    )
    return text.encode()


def _members(values: Mapping[str, float | int]) -> str:
    # JSON writes finite numbers as Python's repr does
    return ",".join([f"{_quoted(name)}:{value!r}" for name, value in values.items()])


_quoted = lru_cache(maxsize=4096)(json.dumps)


def _marked(value: Any, pointer: str, marks: dict[str, str]) -> Any:
    """The value with null for whatever is not finite, which is noted in `marks`."""
    if not isinstance(value, (str, bool, int, float, Mapping, list, tuple, type(None))):
        value = number(value)
    if isinstance(value, float) and not math.isfinite(value):
        marks[pointer] = _WORDS[0] if math.isnan(value) else _WORDS[1 if value > 0 else 2]
        return None
    if isinstance(value, Mapping):
        parts = cast(Mapping[str, Any], value)
        return {key: _marked(one, f"{pointer}/{_escaped(key)}", marks) for key, one in parts.items()}
    if isinstance(value, (list, tuple)):
        items = cast(Sequence[Any], value)
        return [_marked(one, f"{pointer}/{place}", marks) for place, one in enumerate(items)]
    return value


def decode(data: Any) -> Row:
    """A row from the JSON value of its line, with the values that were not finite in their places.

    Raises:
        RecordError: the value is no row.
    """
    if not isinstance(data, dict):
        raise RecordError(f"is no row, but {type(data).__name__}")
    row = cast(Row, data)
    marks: Any = row.pop(_MARKS, None)
    if marks is not None:
        _unmark(row, marks)
    needed = SECTIONS[:1] if isinstance(row.get("event"), str) else SECTIONS
    wrong = [name for name in needed if not isinstance(row.get(name), dict)]
    if wrong or not isinstance(row.get("time"), (int, float)):
        raise RecordError(f"is no row: {', '.join(wrong or ['time'])} missing")
    return row


def parse(line: bytes) -> Row:
    """A row from its line.

    Raises:
        RecordError: the line is no row.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise RecordError("is no JSON") from None
    return decode(data)


def _unmark(row: Row, marks: Any) -> None:
    try:
        for pointer, word in marks.items():
            *path, last = (_unescaped(part) for part in pointer.split("/")[1:])
            holder: Any = row
            for part in path:
                holder = holder[int(part) if isinstance(holder, list) else part]
            key: Any = int(last) if isinstance(holder, list) else last
            if word not in _WORDS or holder[key] is not None:
                raise ValueError
            holder[key] = float(word)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise RecordError(f"`{_MARKS}` points to no null of the row") from None


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
