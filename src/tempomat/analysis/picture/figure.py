"""What a picture shows, free of plans and schedules: curves over counts, in order, with names and units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import Fault, TempomatError, list_faults


@final
class FigureError(TempomatError, ValueError):
    """A figure cannot be drawn as it is given, or its file cannot be written."""


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """A boundary worth a line in the picture, such as `Mark(10_000, "warmup ends")`."""

    count: int
    label: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One curve: the value of one hyperparameter at chosen counts.

    Both arrays are copied and made read-only. The page carries every point it is given, so sample a long run
    down to a few thousand counts, with the counts on both sides of each jump among them.

    Args:
        name: `lr`, or `encoder.lr` for one network's: the last part is the hyperparameter, and series that
            share it and their unit share a panel.
        unit: what the counts count, such as `optimizer_steps`.
        counts: integers, shape (n,), n at least 1, strictly increasing.
        values: finite numbers, shape (n,), with NaN where the curve has a gap.
        steps: hold each value until the next count (a staircase) where True, else join the points by straight
            lines.
        marks: boundaries to point out.
        note: a remark printed with the curve.

    Raises:
        FigureError: with every fault found.

    Example:
        >>> Series("lr", "epochs", counts=[0, 1, 2], values=[0.1, 0.1, 0.01], steps=True).values
        array([0.1 , 0.1 , 0.01])
        >>> Series("lr", "epochs", counts=[0, 2, 1], values=[0.1, 0.1])
        Traceback (most recent call last):
            ...
        tempomat.analysis.picture.figure.FigureError: Series 'lr': 2 faults
          counts: must increase, got 1 after 2. Sort them and drop repeats.
          values: must be as many as the counts, got 2 for 3.
    """

    name: str
    unit: str
    counts: NDArray[np.int64]
    values: NDArray[np.float64]
    steps: bool = False
    marks: tuple[Mark, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        counts, values = np.asarray(self.counts), np.asarray(self.values)
        faults = [*_count_faults(counts), *_value_faults(values)]
        if not self.name.strip():
            faults.append(Fault("name", "must not be empty."))
        if counts.ndim == values.ndim == 1 and counts.size != values.size:
            faults.append(Fault("values", f"must be as many as the counts, got {values.size} for {counts.size}."))
        if faults:
            raise FigureError(list_faults(f"Series {self.name!r}", faults), faults)
        object.__setattr__(self, "counts", _frozen(counts, np.int64))
        object.__setattr__(self, "values", _frozen(values, np.float64))
        object.__setattr__(self, "marks", tuple(self.marks))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """Curves to draw together under one title, with remarks below them.

    Raises:
        FigureError: there is no series, or two share a name and a unit.
    """

    title: str
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "series", tuple(self.series))
        object.__setattr__(self, "notes", tuple(self.notes))
        if not self.series:
            raise FigureError(
                f"Figure {self.title!r}: needs at least one series, got none. Add a schedule to the plan."
            )
        seen = Counter((one.name, one.unit) for one in self.series)
        faults = [
            Fault(name, f"is there {times} times in {unit}. Give each series its own name.")
            for (name, unit), times in seen.items()
            if times > 1
        ]
        if faults:
            raise FigureError(list_faults(f"Figure {self.title!r}", faults), faults)


def _count_faults(counts: NDArray[Any]) -> Iterator[Fault]:
    if counts.ndim != 1 or counts.size == 0:
        yield Fault("counts", f"must be one row of at least one count, got shape {counts.shape}.")
    elif counts.dtype.kind not in "iu":
        yield Fault("counts", f"must be integers, got {counts.dtype}. Round them before drawing.")
    else:
        down = np.flatnonzero(counts[1:] <= counts[:-1])
        if down.size:
            before, after = counts[down[0]], counts[down[0] + 1]
            yield Fault("counts", f"must increase, got {after} after {before}. Sort them and drop repeats.")


def _value_faults(values: NDArray[Any]) -> Iterator[Fault]:
    if values.ndim != 1:
        yield Fault("values", f"must be one row, got shape {values.shape}.")
    elif values.dtype.kind not in "iuf":
        yield Fault("values", f"must be real numbers, got {values.dtype}.")
    elif np.isinf(values).any():
        at = int(np.flatnonzero(np.isinf(values))[0])
        yield Fault(f"values[{at}]", f"must be finite, got {values[at]}. Give NaN for a gap.")


def _frozen(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    copy = np.array(array, dtype=dtype)
    copy.setflags(write=False)
    return copy
