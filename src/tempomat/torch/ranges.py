"""What a range test came to: the curve, what it suggests and why, and its picture."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core import BindingError

if TYPE_CHECKING:
    from tempomat.analysis.picture import Figure

FEWEST = 8
"""Finite losses below which nothing is suggested."""
CREEP = 0.05
"""The share of the longest fall that is cut off at each of its ends before its middle is taken."""
Curve = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Suggestion:
    """A value that a rule picks: `valley`, `steepest`, `tenth`, or `lowest`; and why."""

    rule: str
    value: float
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.value:.3g}, {self.reason}"


@final
@dataclass(frozen=True, eq=False)
class RangeTest:
    """The losses of a range test, and what follows from them. Printed, it is a picture and its explanation.

    Args:
        entry: what was tried.
        values: shape (n,), in the order tried: those up to where the loss diverged.
        losses: shape (n,), as measured at each value; NaN or infinite where it was.
        spacing: `log` or `linear`.
        afresh: for how many updates each value was tried from the same start; None where training went on.
        stopped: why it ended before the last value; empty if it did not.
    """

    entry: str
    values: Curve
    losses: Curve
    spacing: Literal["log", "linear"]
    afresh: int | None
    stopped: str

    @property
    def smoothed(self) -> Curve:
        """The losses under a Gaussian window of 2.5 % of the values tried, at least one, to both sides alike: without
        delay.
        """
        return smooth(self.losses, max(1.0, self.losses.size / 40))

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """What the rules pick, the one to try first in front; none where the loss never clearly fell."""
        return tuple(_suggestions(self)) if not self._unclear else ()

    @property
    def suggestion(self) -> float:
        """The value to try first.

        Raises:
            BindingError: the loss never clearly fell, or there are too few values to tell.
        """
        if self._unclear:
            raise BindingError(f"range_test: no {self.entry} can be suggested: {self._unclear}")
        return self.suggestions[0].value

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the curve should know."""
        return tuple(_remarks(self, self._unclear))

    def figure(self) -> Figure:
        """The losses and the values by place in the test, with the suggestions marked."""
        from tempomat.analysis.picture import Figure, Mark, Series

        places, smoothed = np.arange(self.values.size), self.smoothed
        found = [(int(np.argmin(np.abs(self._axis - self._on_axis(one.value)))), one) for one in self.suggestions]
        marks = tuple(
            Mark(place, f"{one.rule} {one.value:.2g}") for place, one in sorted(found, key=lambda one: one[0])
        )
        unit = f"place in the test, {self.entry} from {self.values[0]:.3g} to {self.values[-1]:.3g}"
        ceiling = math.inf if self._drawn_on_log else _ceiling(smoothed)
        shown, mean = (np.where(np.isfinite(one) & (one <= ceiling), one, np.nan) for one in (self.losses, smoothed))
        cut = (f"Losses above {ceiling:.3g} are not drawn.",) if (self.losses > ceiling).any() else ()
        return Figure(
            f"Range test of {self.entry}",
            (
                Series("measured.loss", unit, places, shown),
                Series("smoothed.loss", unit, places, mean, marks=marks),
                Series(self.entry, unit, places, self.values),
            ),
            (*(str(one) for one in self.suggestions), *self.remarks, *cut),
        )

    def png(self, path: str | os.PathLike[str]) -> None:
        """The picture as a file.

        Raises:
            MissingExtra: matplotlib is not installed.
            FigureError: the file cannot be written.
        """
        from tempomat.analysis.picture import png

        png(self.figure(), path, log=self._drawn_on_log)

    def __str__(self) -> str:
        from tempomat.analysis.picture import terminal

        return terminal(self.figure(), log=self._drawn_on_log)

    @property
    def _drawn_on_log(self) -> bool:
        return self.spacing == "log" and bool((self.losses[np.isfinite(self.losses)] > 0).all())

    @property
    def _axis(self) -> Curve:
        return np.log(self.values) if self.spacing == "log" else self.values

    def _on_axis(self, value: float) -> float:
        return float(np.log(value)) if self.spacing == "log" else value

    @property
    def _unclear(self) -> str:
        """Why nothing is suggested; empty where something is."""
        finite = np.isfinite(self.losses)
        if finite.sum() < FEWEST:
            return f"it takes {FEWEST} finite losses, and there are {int(finite.sum())}. Begin lower, or give counts="
        smoothed = self.smoothed
        bottom = int(np.nanargmin(smoothed))
        fall = float(np.nanmax(smoothed if self.afresh else smoothed[: bottom + 1]) - smoothed[bottom])
        before = slice(None) if self.afresh else slice(0, bottom + 1)
        apart = (self.losses - smoothed)[before]
        noise = float(np.std(apart[np.isfinite(apart)]))
        if fall <= 2 * noise or fall == 0:
            return f"the loss fell by {fall:.3g}, and its noise is {noise:.3g} from one update to the next"
        return ""


def smooth(values: Curve, width: float) -> Curve:
    """Gaussian means of standard deviation `width` places; what is not finite counts for nothing, and stays NaN.

    >>> smooth(np.array([1.0, 1.0, np.inf, 1.0]), 1.0)
    array([ 1.,  1., nan,  1.])
    """
    finite = np.isfinite(values)
    reach = int(4 * width)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    size = values.size
    weights = np.convolve(finite.astype(float), window)[reach : reach + size]
    sums = np.convolve(np.where(finite, values, 0.0), window)[reach : reach + size]
    return np.where(finite, sums / np.where(weights > 0, weights, 1.0), np.nan)


def longest_fall(values: Curve) -> tuple[int, int]:
    """Where the longest strictly falling subsequence begins and ends; of several the first.

    >>> longest_fall(np.array([1.0, 5.0, 4.0, 4.5, 3.0, 6.0]))
    (1, 4)
    """
    length, start = np.ones(values.size, int), np.arange(values.size)
    for place in range(1, values.size):
        above = np.flatnonzero(values[:place] > values[place])
        if above.size:
            best = above[np.argmax(length[above])]
            length[place], start[place] = length[best] + 1, start[best]
    end = int(np.argmax(length))
    return int(start[end]), end


def core_of_fall(values: Curve) -> tuple[int, int]:
    """Between which places the longest fall has its first and its last 5 % behind and before it: what creeps at the
    ends depends on how low the test began.

    >>> core_of_fall(np.array([10.0, 9.9, 9.8, 6.0, 3.0, 1.0, 0.9, 0.8]))
    (2, 5)
    """
    start, end = longest_fall(values)
    fall, after = values[start] - values[end], values[start : end + 1]
    first = int(np.flatnonzero(after >= values[start] - CREEP * fall)[-1])
    last = int(np.flatnonzero(after <= values[end] + CREEP * fall)[0])
    return start + first, start + max(first, last)


def _suggestions(test: RangeTest) -> Iterator[Suggestion]:
    smoothed, values = test.smoothed, test.values
    bottom = int(np.nanargmin(smoothed))
    low, lowest = float(smoothed[bottom]), float(values[bottom])
    if test.afresh:
        yield Suggestion("lowest", lowest, f"where the loss after {test.afresh} updates was lowest, {low:.3g}")
        return
    start, end = core_of_fall(smoothed)
    yield Suggestion(
        "valley",
        float(values[(start + end) // 2]),
        f"the middle of the longest fall of the loss, most of it from {values[start]:.3g} to {values[end]:.3g}",
    )
    slopes = np.gradient(smoothed, test._axis)
    steepest = int(np.nanargmin(slopes[: bottom + 1]))
    per = "for each factor of 10" if test.spacing == "log" else f"for each 1 of {test.entry}"
    fall = -float(slopes[steepest]) * (np.log(10) if test.spacing == "log" else 1.0)
    yield Suggestion("steepest", float(values[steepest]), f"where the loss fell fastest, by {fall:.3g} {per}")
    if test.spacing == "log":
        yield Suggestion("tenth", lowest / 10, f"a tenth of {lowest:.3g}, where the loss was lowest, {low:.3g}")


def _remarks(test: RangeTest, unclear: str) -> Iterator[str]:
    if test.stopped:
        yield test.stopped
    if unclear:
        yield f"Nothing is suggested: {unclear}."
        return
    smoothed = test.smoothed
    if not test.stopped and int(np.nanargmin(smoothed)) >= test.values.size - 1:
        yield f"The loss was lowest at the last value tried, {test.values[-1]:.3g}: go on to a higher one."
    if int(np.nanargmin(smoothed)) == 0:
        yield f"The loss was lowest at the first value tried, {test.values[0]:.3g}: begin with a lower one."
    if test.afresh is None and test.entry.rpartition(".")[2] != "lr":
        yield (
            "Training went on while the value moved, so that a lower loss at a later value is in part its age. "
            "With afresh= every value starts from the same point."
        )


def _ceiling(smoothed: Curve) -> float:
    """Where the picture ends: a loss that explodes would flatten everything before it."""
    first, low, high = float(smoothed[0]), float(np.nanmin(smoothed)), float(np.nanmax(smoothed))
    return min(high, max(first, low) + 2 * (first - low)) if first > low else high
