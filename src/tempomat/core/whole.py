"""Whole numbers that are no lengths: how many cycles, which seed. No duration stands for one, no clock counts it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from tempomat.core.errors import shown
from tempomat.core.fields import NUMBER_PATTERN, Kind
from tempomat.core.numbers import as_count, parse_number


@final
@dataclass(frozen=True)
class Whole(Kind):
    """A whole number within bounds; None where `optional`."""

    at_least: int
    at_most: int
    optional: bool = False

    def read(self, value: object) -> int | None:
        if value is None and self.optional:
            return None
        number = parse_number(value) if isinstance(value, str) else value
        if isinstance(number, (float, Fraction)) and number == number // 1:
            number = int(number)  # config readers make a float of 1e3
        count = as_count(number)
        if not self.at_least <= count <= self.at_most:
            raise ValueError(f"must be between {self.at_least} and {self.at_most}, got {shown(value)}")
        return count

    def schema(self) -> dict[str, Any]:
        whole = {"type": "integer", "minimum": self.at_least, "maximum": self.at_most}
        text = {"type": "string", "pattern": NUMBER_PATTERN}
        return {"anyOf": [whole, text, *([{"type": "null"}] if self.optional else [])]}
