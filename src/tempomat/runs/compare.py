"""Runs side by side: what their plans differ in, what was applied, and what it came to, over seeds where there are
several.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core import RecordError
from tempomat.core.errors import did_you_mean
from tempomat.plan import Plan, diff
from tempomat.plan.diff import Change
from tempomat.runs.diagnoses.case import standing
from tempomat.runs.intervals import Interval, interval
from tempomat.runs.modes import Mode, mode_of
from tempomat.runs.reader import Run

By = Literal["last", "best"]

MOST = 26
"""The most plans in one comparison: each has a letter."""
SAME = 1e-6
"""The relative difference below which two applied values are one: float32 rounds by at most 6e-8."""


class Outcome(NamedTuple):
    """What a measurement came to in one run, and at which counts; `best` is NaN where neither less nor more is
    better, or nothing was finite.
    """

    seed: int | None
    last: float
    last_at: int
    best: float
    best_at: int


class Curve(NamedTuple):
    """Values over counts, one for each count, without what a rewind went back behind."""

    counts: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, count: int) -> float:
        """What was in force at a count: of the last row up to it, or of the first."""
        return float(self.values[max(int(np.searchsorted(self.counts, count, "right")) - 1, 0)])


@final
@dataclass(frozen=True, eq=False)
class Side:
    """The runs of one plan, and their letter."""

    letter: str
    runs: tuple[Run, ...]
    clock: str

    @property
    def plan(self) -> Plan:
        """What they ran under."""
        return self.runs[0].plan

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seed of each run."""
        return tuple(run.seed for run in self.runs)

    @cached_property
    def last(self) -> int:
        """The count that the longest of them came to."""
        return max(run.rows[-1]["counts"].get(self.clock, 0) for run in self.runs)

    def applied(self, entry: str) -> Curve | None:
        """An entry as applied in the first run; None where it has none."""
        return _applied(self.runs[0], entry, self.clock)

    def differs_by_seed(self, entry: str) -> bool:
        """Whether its runs held different values of an entry, as controllers may make them."""
        curves = [_applied(run, entry, self.clock) for run in self.runs]
        return any(not _same(curves[0], other) for other in curves[1:])

    def measured(self, name: str) -> list[Curve]:
        """A measurement in each run."""
        return [_curve(*run.measured(name, clock=self.clock)) for run in self.runs]


@final
@dataclass(frozen=True, eq=False)
class Measurement:
    """One measurement that all runs have."""

    name: str
    mode: Mode | None
    outcomes: tuple[tuple[Outcome, ...], ...]
    """By side, by run."""

    def values(self, side: int, by: By = "last") -> tuple[float, ...]:
        """The last or the best value of each run of a side."""
        return tuple(getattr(one, by) for one in self.outcomes[side])

    def interval(self, side: int, by: By = "last") -> Interval:
        """The mean over the runs of a side, with its 95 % interval."""
        return interval(self.values(side, by))

    def paired(self, side: int, by: By = "last", *, to: int = 0) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """The seeds that two sides have in common, once each, and what this side has more than the other for each."""
        mine, theirs = ({one.seed: getattr(one, by) for one in self._once(place)} for place in (side, to))
        seeds = tuple(seed for seed in mine if seed is not None and seed in theirs)
        return seeds, tuple(mine[seed] - theirs[seed] for seed in seeds)

    def _once(self, side: int) -> list[Outcome]:
        times = Counter(one.seed for one in self.outcomes[side])
        return [one for one in self.outcomes[side] if times[one.seed] == 1]


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs by plan, and what they share."""

    sides: tuple[Side, ...]
    clock: str
    measurements: tuple[Measurement, ...]

    @cached_property
    def changes(self) -> tuple[tuple[Change, ...], ...]:
        """What each side's plan has otherwise than the first's; nothing for the first itself."""
        first = self.sides[0].plan
        return tuple(diff(first, side.plan) for side in self.sides)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """Every entry that any of the runs recorded."""
        names = (name for side in self.sides for run in side.runs for name in run.names["asked"])
        return tuple(dict.fromkeys(names))

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """The entries whose values were not the same in all runs."""
        return tuple(name for name in self.entries if self._differs(name))

    def counts(self, shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)) -> list[int]:
        """The counts at these shares of the longest run."""
        last = max(side.last for side in self.sides)
        return list(dict.fromkeys(round(share * last) for share in shares))

    def _differs(self, name: str) -> bool:
        first, *others = (side.applied(name) for side in self.sides)
        return any(not _same(first, other) for other in others) or any(
            side.differs_by_seed(name) for side in self.sides
        )


def compare(
    runs: Iterable[Run],
    *,
    metrics: Iterable[str] = (),
    modes: Mapping[str, Mode] | None = None,
    clock: str | None = None,
) -> Comparison:
    """Runs side by side, those of one plan together: the seeds of one side.

    Args:
        runs: as `read_run` gives them, at least two; the first one's plan is what others are compared to.
        metrics: which measurements; all that every run has where none is named.
        modes: by measurement whether less (`min`) or more (`max`) is better, where its name does not say.
        clock: what to count by, where the plans count different units.

    Raises:
        RecordError: there are fewer than two runs, or one twice; one has no rows; their clocks differ; a measurement
            is not in all of them, or there are more than 26 plans.
    """
    several = _checked(list(runs))
    unit = _clock(several, clock)
    by_plan: dict[str, list[Run]] = {}
    for run in several:
        by_plan.setdefault(run.plan.fingerprint, []).append(run)
    if len(by_plan) > MOST:
        raise RecordError(f"compare: {len(by_plan)} plans, and at most {MOST} can be told apart. Compare fewer")
    sides = tuple(Side(chr(ord("A") + place), tuple(one), unit) for place, one in enumerate(by_plan.values()))
    named = _metrics(several, tuple(metrics), modes or {})
    found = tuple(_measurement(name, (modes or {}).get(name) or mode_of(name), sides) for name in named)
    return Comparison(sides, unit, found)


def _checked(runs: list[Run]) -> list[Run]:
    if len(runs) < 2:
        raise RecordError(f"compare: needs at least two runs, got {len(runs)}")
    times = Counter(run.info["run"] for run in runs)
    for run in runs:
        if times[run.info["run"]] > 1:
            raise RecordError(f"{run.folder}: is there {times[run.info['run']]} times. Name each run once")
        if not run.rows:
            raise RecordError(f"{run.folder}: the record has no rows yet, so there is nothing to compare")
    return runs


def _clock(runs: list[Run], clock: str | None) -> str:
    clocks = {str(run.plan.clock) for run in runs}
    if clock is None and len(clocks) > 1:
        raise RecordError(f"compare: the runs count {' and '.join(sorted(clocks))}. Say which clock they share")
    unit = clock or clocks.pop()
    for run in runs:
        if unit not in run.names["counts"]:
            known = run.names["counts"]
            raise RecordError(
                f"{run.folder}: no row has the clock {unit!r}.{did_you_mean(unit, known)} Recorded: {', '.join(known)}"
            )
    return unit


def _metrics(runs: list[Run], wanted: tuple[str, ...], modes: Mapping[str, Mode]) -> list[str]:
    shared = [name for name in runs[0].names["measured"] if all(name in run.names["measured"] for run in runs)]
    for name in (*wanted, *modes):
        if name not in shared:
            known = ", ".join(shared) or "none"
            raise RecordError(
                f"compare: {name!r} was not measured in every run.{did_you_mean(name, shared)} In all of them: {known}"
            )
    for name, mode in modes.items():
        if mode not in ("min", "max"):
            raise RecordError(f"compare: the mode of {name} must be min or max, got {mode!r}")
    return list(wanted) or shared


def _measurement(name: str, mode: Mode | None, sides: tuple[Side, ...]) -> Measurement:
    outcomes = tuple(
        tuple(_outcome(run.seed, curve, mode) for run, curve in zip(side.runs, side.measured(name), strict=True))
        for side in sides
    )
    return Measurement(name, mode, outcomes)


def _outcome(seed: int | None, curve: Curve, mode: Mode | None) -> Outcome:
    costs = curve.values if mode == "min" else -curve.values
    finite = np.isfinite(costs)
    best, best_at = math.nan, int(curve.counts[-1])
    if mode is not None and finite.any():
        place = int(np.argmin(np.where(finite, costs, np.inf)))
        best, best_at = float(curve.values[place]), int(curve.counts[place])
    return Outcome(seed, float(curve.values[-1]), int(curve.counts[-1]), best, best_at)


def _applied(run: Run, entry: str, clock: str) -> Curve | None:
    if entry not in run.names["asked"]:
        return None
    counts, _, applied = run.series(entry, clock=clock)
    return _curve(counts, applied)


def _curve(counts: NDArray[np.int64], values: NDArray[np.float64]) -> Curve:
    holds = standing(counts)
    counts, values = counts[holds], values[holds]
    last = np.append(np.diff(counts) > 0, True)  # of several rows at one count the last
    return Curve(counts[last], values[last])


def _same(one: Curve | None, other: Curve | None) -> bool:
    """Whether two curves agree at the counts that both have; at none of them, in where they begin and end."""
    if one is None or other is None:
        return one is other
    _, mine, theirs = np.intersect1d(one.counts, other.counts, assume_unique=True, return_indices=True)
    ends = np.array([0, -1])
    a, b = (one.values[mine], other.values[theirs]) if mine.size else (one.values[ends], other.values[ends])
    return bool(np.allclose(a, b, rtol=SAME, atol=0, equal_nan=True))
