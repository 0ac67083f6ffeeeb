"""What every kind of picture decides alike: which curves share a panel, which panels share a count axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from .axes import Axis, axis_for, round_ticks
from .figure import Figure, Mark, Series
from .labels import count_label
from .story import FLAT

_MOST_LEVELS = 5


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A series in its panel: `label` is its network or its name; `color` is its network's in every panel."""

    series: Series
    label: str
    color: int


@final
@dataclass(frozen=True, slots=True)
class Panel:
    """One hyperparameter in one unit."""

    title: str
    unit: str
    lines: tuple[Line, ...]

    @property
    def values(self) -> NDArray[np.float64]:
        """The values of all its lines, one after another."""
        return np.concatenate([line.series.values for line in self.lines])

    @property
    def constant(self) -> float | None:
        """The value of a panel in which nothing ever moves, else None."""
        present = self.values[~np.isnan(self.values)]
        if not present.size or np.ptp(present) > FLAT * np.abs(present).max():
            return None
        return float(present[0])

    @property
    def still(self) -> bool:
        """Whether nothing moves in it, so that little room will do."""
        return self.constant is not None or bool(np.isnan(self.values).all())

    @property
    def levels(self) -> tuple[float, ...]:
        """The few values between which a panel of staircases moves; empty where it slopes or has many."""
        if not all(line.series.steps for line in self.lines):
            return ()
        found = [float(value) for value in np.unique(self.values) if not math.isnan(value)]
        return tuple(found) if len(found) <= _MOST_LEVELS else ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The boundaries of all its lines, each once, by count."""
        unique = {(mark.count, mark.label): mark for line in self.lines for mark in line.series.marks}
        return tuple(unique[key] for key in sorted(unique))

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks of its lines, saying whose where that is not plain."""
        alone = len(self.lines) == 1
        noted = [line for line in self.lines if line.series.note]
        return tuple(line.series.note if alone else f"{line.label}: {line.series.note}" for line in noted)

    def axis(self, *, log: bool) -> Axis:
        """The value axis for all its lines."""
        return axis_for(self.values, self.levels, log=log)


@final
@dataclass(frozen=True, slots=True)
class Group:
    """The panels that share one unit and so one count axis, from `first` to `last`."""

    unit: str
    first: int
    last: int
    panels: tuple[Panel, ...]

    def share(self, count: int) -> float:
        """Where a count lies along the axis: 0 at `first`, 1 at `last`."""
        return (count - self.first) / max(self.last - self.first, 1)

    def ticks(self, most: int) -> list[int]:
        """Round counts from `first` to `last`."""
        return [int(t) for t in round_ticks(self.first, max(self.last, self.first + 1), most) if t == int(t)]


def mark_texts(marks: Sequence[Mark]) -> list[tuple[int, str]]:
    """The count of each boundary and its words; after another of the same label the count is enough.

    >>> mark_texts([Mark(10_000, "milestone"), Mark(20_000, "milestone"), Mark(90_000, "decay ends")])
    [(10000, 'milestone at 10k'), (20000, '20k'), (90000, 'decay ends at 90k')]
    """
    before = ["", *(mark.label for mark in marks)]
    return [
        (
            mark.count,
            count_label(mark.count) if mark.label == last else f"{mark.label} at {count_label(mark.count)}",
        )
        for mark, last in zip(marks, before, strict=False)
    ]


def groups(figure: Figure) -> tuple[Group, ...]:
    """The figure's series as panels, by unit, all in order of first appearance."""
    shared: dict[str, dict[str, list[Line]]] = {}
    named = [(series, *split(series.name)) for series in figure.series]
    colors = {"": 0} if any(not owner for _, owner, _ in named) else {}
    for series, owner, name in named:
        color = colors.setdefault(owner, len(colors))
        shared.setdefault(series.unit, {}).setdefault(name, []).append(Line(series, owner or name, color))
    return tuple(_group(unit, by_name) for unit, by_name in shared.items())


def split(name: str) -> tuple[str, str]:
    """`encoder.lr` is the encoder's `lr`; a name without a dot is nobody's."""
    owner, _, last = name.rpartition(".")
    return (owner, last) if owner and last else ("", name)


def _group(unit: str, by_name: dict[str, list[Line]]) -> Group:
    panels = tuple(
        Panel(name if len(lines) > 1 else lines[0].series.name, unit, tuple(lines)) for name, lines in by_name.items()
    )
    counts = [line.series.counts for panel in panels for line in panel.lines]
    return Group(unit, min(int(c[0]) for c in counts), max(int(c[-1]) for c in counts), panels)
