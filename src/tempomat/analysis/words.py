"""Numbers and lengths as messages say them."""

from __future__ import annotations

from fractions import Fraction

from tempomat.core import Unit


def value(number: float) -> str:
    """A value in three digits.

    >>> value(8.605e-05), value(0.001), value(0.05), value(1.0)
    ('8.61e-5', '1e-3', '0.05', '1')
    """
    digits, _, power = f"{number:.3g}".partition("e")
    if not power and number and abs(number) < 1e-2:
        digits, _, power = f"{number:.2e}".partition("e")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{digits}e{int(power)}" if power else digits


def count(number: int | Fraction, unit: Unit | str = "") -> str:
    """A count in groups of three digits, with its unit.

    >>> count(3_000_000, Unit.FRAMES)
    '3_000_000 frames'
    """
    return f"{int(number):_} {unit}".rstrip()


def share(part: int | Fraction, whole: int | Fraction) -> str:
    """What part of a whole in percent.

    >>> share(1, 3), share(1, 5_000)
    ('33 %', '0.02 %')
    """
    percent = float(Fraction(part) / Fraction(whole) * 100)
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def listed(words: object) -> str:
    """Words in a row, with commas."""
    return (
        ", ".join(str(word) for word in words) if isinstance(words, (list, tuple, set, frozenset, dict)) else str(words)
    )
