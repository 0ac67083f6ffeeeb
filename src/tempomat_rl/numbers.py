"""Numbers as people write them in a configuration: `3e6`, `3_000_000`, `3M`, `'1e-4'`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tempomat.core.errors import shown
from tempomat.core.numbers import MAX_LENGTH, as_float, parse_number


def whole_number(value: object, at_least: int = 0) -> int:
    """A count, however it is written.

    >>> whole_number("3M"), whole_number(3e6), whole_number("3_000_000")
    (3000000, 3000000, 3000000)

    Raises:
        ValueError: it is no whole number, too small, or above 2^53.
    """
    number = parse_number(value) if isinstance(value, str) else as_float(value)
    if number != int(number):
        raise ValueError(f"must be a whole number, got {shown(value)}")
    if not at_least <= number <= MAX_LENGTH:
        raise ValueError(f"must be from {at_least} to 2^53, got {shown(value)}")
    return int(number)


def plain_numbers(value: Any) -> Any:
    """Plain data with the numbers that are written as text, or whole ones as floats, as Python's own numbers.

    >>> plain_numbers({"hidden_dim": 1e3, "tau": "1e-2", "encoder": {"name": "keypoint", "widths": ["1k"]}})
    {'hidden_dim': 1000, 'tau': 0.01, 'encoder': {'name': 'keypoint', 'widths': [1000]}}
    """
    if isinstance(value, Mapping):
        return {key: plain_numbers(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_numbers(one) for one in value]
    if isinstance(value, str):
        try:
            value = float(parse_number(value))
        except (ValueError, OverflowError):
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value
