"""Lines in a grid of characters: each braille character carries two dots across and four down."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

ACROSS, DOWN = 2, 4
# Unicode numbers the dots 1-2-3-7 down the left side and 4-5-6-8 down the right.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)


@final
class Canvas:
    """A drawing `columns` by `rows` characters; its dots are counted from the lower left corner."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * ACROSS, rows * DOWN
        self._bits = np.zeros((rows, columns), dtype=np.uint8)
        self._ink = np.full((rows, columns), -1, dtype=np.int64)
        self._letters: dict[tuple[int, int], tuple[str, int]] = {}

    def draw(self, x: NDArray[np.float64], y: NDArray[np.float64], *, ink: int = 0) -> None:
        """Join the points (x, y), in dots, in this ink. NaN lifts the pen; what lies outside is cut off."""
        across, up = _dots(np.round(x), np.round(y))
        inside = (across >= 0) & (across < self.width) & (up >= 0) & (up < self.height)
        column, row = across[inside], self.height - 1 - up[inside]
        cell = (row // DOWN, column // ACROSS)
        np.bitwise_or.at(self._bits, cell, _BITS[row % DOWN, column % ACROSS])
        self._ink[cell] = ink

    def letter(self, letter: str, x: float, y: float, *, ink: int = 0) -> None:
        """Write a letter over the character at (x, y), in dots, if there is one; NaN is nowhere."""
        if -0.5 <= x < self.width - 0.5 and -0.5 <= y < self.height - 0.5:
            self._letters[(self.height - 1 - round(y)) // DOWN, round(x) // ACROSS] = (letter, ink)

    def row(self, index: int) -> list[tuple[str, int]]:
        """The characters of a row from the top, each with its ink; a blank and -1 where nothing is drawn."""
        pairs = zip(self._bits[index].tolist(), self._ink[index].tolist(), strict=True)
        drawn = [(chr(0x2800 + bits) if bits else " ", ink) for bits, ink in pairs]
        return [self._letters.get((index, column), cell) for column, cell in enumerate(drawn)]


def stairs(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points of a staircase that holds each y until the next x."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def _dots(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every dot of every stretch between two present points, and the points that stand alone."""
    present = ~(np.isnan(x) | np.isnan(y))
    joined = present[:-1] & present[1:]
    dx, dy = np.diff(x)[joined], np.diff(y)[joined]
    lengths = np.maximum(np.abs(dx), np.abs(dy)).astype(np.int64)
    start = np.repeat(np.cumsum(lengths + 1) - (lengths + 1), lengths + 1)
    part = (np.arange(start.size) - start) / np.repeat(np.maximum(lengths, 1), lengths + 1)
    across = np.round(np.repeat(x[:-1][joined], lengths + 1) + part * np.repeat(dx, lengths + 1)).astype(np.int64)
    up = np.round(np.repeat(y[:-1][joined], lengths + 1) + part * np.repeat(dy, lengths + 1)).astype(np.int64)
    alone = present.copy()
    alone[:-1] &= ~joined
    alone[1:] &= ~joined
    return np.append(across, x[alone].astype(np.int64)), np.append(up, y[alone].astype(np.int64))
