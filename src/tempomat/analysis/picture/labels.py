"""Numbers and names as a reader wants them on a picture: short, and safe to show."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

_SIZES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def value_label(value: float) -> str:
    """A value in about four significant digits; whole numbers below ten million in full.

    >>> [value_label(v) for v in (3e-4, 2.84716e-4, 0.95, 0.99995, 0.0, 65536.0, 1e12)]
    ['3e-4', '2.847e-4', '0.95', '0.99995', '0', '65536', '1e12']
    """
    size = abs(value)
    if size < 1e7 and value == int(value):
        return str(int(value))
    if not 1e-2 <= size < 1e4:
        return f"{value:.0f}" if 1e4 <= size < 1e7 else _scientific(value, 3)
    # A decay rate's story is in its distance from 1, so that distance keeps three digits of its own.
    digits = 2 - math.floor(math.log10(1 - size)) if 0.9 < size < 1 else 3 - math.floor(math.log10(size))
    return _trimmed(f"{value:.{max(digits, 0)}f}")


def count_label(count: int) -> str:
    """A count, shortened only where nothing is lost.

    >>> [count_label(n) for n in (0, 999, 10_000, 1_250_000, 16_384, 3_000_000_000)]
    ['0', '999', '10k', '1.25M', '16_384', '3G']
    """
    for size, suffix in _SIZES:
        if abs(count) >= size and count % (size // 100) == 0:
            short = _trimmed(f"{count // (size // 100) / 100:.2f}")
            if len(short.lstrip("-").replace(".", "")) <= 3:
                return short + suffix
    return f"{count:_}" if abs(count) >= 10_000 else str(count)


def tick_labels(ticks: Sequence[float], *, log: bool = False) -> list[str]:
    """Labels for one axis, written alike where the ticks are evenly apart; on a log axis each for itself.

    >>> tick_labels([0.0, 1e-4, 2e-4]), tick_labels([0.85, 0.9, 0.95]), tick_labels([1e-9, 0.1], log=True)
    (['0', '1e-4', '2e-4'], ['0.85', '0.90', '0.95'], ['1e-9', '1e-1'])
    """
    if log and min(ticks) < 1e-2:
        return ["1" if tick == 1 else _scientific(tick, 3) for tick in ticks]
    each = [value_label(tick) for tick in ticks]
    if log or len(ticks) < 2:
        return each
    alike = _alike(ticks)
    same = all(math.isclose(float(a), t, rel_tol=1e-9, abs_tol=1e-300) for a, t in zip(alike, ticks, strict=True))
    return alike if same else each


def plain(text: str) -> str:
    r"""The text with everything written out that would steer a terminal or turn a line of text around.

    >>> plain("lr\x1b[2J\n")
    'lr\\x1b[2J\\x0a'
    """
    return "".join(
        _spelled(c) if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} else c for c in text
    )


def cells(text: str) -> int:
    """How many terminal columns a text takes: wide letters two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fitted(text: str, width: int) -> str:
    """The text cut to `width` columns, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _alike(ticks: Sequence[float]) -> list[str]:
    step = min(b - a for a, b in pairwise(ticks))
    power = math.floor(math.log10(step) + 1e-9)
    largest = max(abs(tick) for tick in ticks)
    if 1e-2 <= largest < 1e6:
        return [f"{tick:.{max(-power, 0)}f}" for tick in ticks]
    return ["0" if tick == 0 else _scientific(tick, max(_power(tick) - power, 0)) for tick in ticks]


def _power(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def _scientific(value: float, digits: int) -> str:
    mantissa, power = f"{value:.{digits}e}".split("e")
    return f"{_trimmed(mantissa)}e{int(power)}"


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
