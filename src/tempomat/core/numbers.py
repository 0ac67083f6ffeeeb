"""Numbers as people write them: `10_000`, `1e-4`, `3e6`, `3M`. Text in, exact value out."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from numbers import Real
from typing import SupportsIndex, cast

from tempomat.core.errors import shown

MAX_COUNT = 2**62
"""The largest count a clock may reach."""

MAX_LENGTH = 2**53
"""The longest duration: float64 holds every count up to here exactly."""

_SUFFIX = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d+(?:_\d+)*)?(?:\.(?P<part>\d*))?(?:[eE](?P<exp>[+-]?\d{1,3}))?(?P<suffix>[kKMGBT]?)",
    re.ASCII,
)
_LONGEST_TEXT = 64


def parse_number(text: str) -> Fraction:
    """The exact value of a number as written.

    >>> parse_number("1e-4"), parse_number("3M"), parse_number("10_000")
    (Fraction(1, 10000), Fraction(3000000, 1), Fraction(10000, 1))

    Raises:
        ValueError: the text is not a number, or one that other readers take for something else (`010`, `1:30`, `on`).
    """
    match = _NUMBER.fullmatch(text.strip()) if len(text) <= _LONGEST_TEXT else None
    if match is None or not (match["whole"] or match["part"]):
        raise ValueError(f"{shown(text)} is not a number")
    whole, part = (match["whole"] or "0").replace("_", ""), match["part"] or ""
    if len(whole) > 1 and whole.startswith("0"):
        raise ValueError(
            f"{text!r} has a leading zero, which some readers take for octal; write {whole.lstrip('0') or '0'}"
        )
    exact = Fraction(int(whole + part), 10 ** len(part)) * Fraction(10) ** int(match["exp"] or 0)
    return exact * _SUFFIX[match["suffix"]] * (-1 if match["sign"] == "-" else 1)


def as_float(value: object) -> float:
    """A finite float from a number of any library, or from its text.

    Raises:
        ValueError: a bool, a NaN, an infinity, or no number at all.
    """
    if isinstance(value, str):
        value = parse_number(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        index = _index(value)
        if index is None:
            raise ValueError(f"must be a number, got {shown(value)} ({type(value).__name__})")
        value = index
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"must be finite, got {shown(value)}")
    return number


def as_count(value: object, largest: int = MAX_COUNT) -> int:
    """A Python int from an integer of any library: `int`, NumPy's, a 0-d torch tensor.

    Raises:
        ValueError: a float, a bool, a string, a negative or too large a count.
    """
    count = _index(value)
    if count is None:
        raise ValueError(f"must be an integer count, got {shown(value)} ({type(value).__name__})")
    if not 0 <= count <= largest:
        raise ValueError(f"must be between 0 and 2^{largest.bit_length() - 1}, got {shown(count)}")
    return count


def _index(value: object) -> int | None:
    """What `operator.index` makes of other libraries' integers; bools of any library are not counts."""
    if type(value) is int:
        return value
    if isinstance(value, (bool, str)) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return cast(SupportsIndex, value).__index__()
    except (AttributeError, TypeError, ValueError):
        return None
