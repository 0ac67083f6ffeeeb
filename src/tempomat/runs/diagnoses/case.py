"""A run as the diagnoses see it: its loss as a curve, its values over the counts, and robust figures of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from tempomat.core import Constant, RecordError, SuccessGates
from tempomat.core.errors import did_you_mean
from tempomat.plan.names import entry_name
from tempomat.runs.modes import Mode, is_rate, is_return, mode_of
from tempomat.runs.reader import Run

Floats = NDArray[np.float64]

LOSSES = ("val_loss", "loss", "train_loss")
"""What is taken for the loss, the first that was recorded often enough."""
OUTCOMES = ("success_rate", "episode_return")
"""What episodes came to, of which more is better: judged before a loss, since in reinforcement learning that moves with
the data that the policy makes for itself. Their names may be in a part of the record, as in `eval/success_rate`.
"""
PASSED = 0.95
"""A share of successes with little left to gain, where no gate of the plan says another."""
ENOUGH = 40
"""Values below which a curve's shape is not judged: a fifth of them is 8, whose spread is known within a third."""
FEW = 10
"""Finite values below which nothing is said of where a curve ends: a fifth of them is 2."""
WINDOWS = 10
"""Parts of a curve whose medians say where it stopped: of 40 values each has 4."""
BEYOND = 3.0
"""Standard errors beyond which a difference of medians is taken for one; a claim that noise could make is not made."""
_SIGMA = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""


def spread(values: Floats) -> float:
    """The standard deviation about a straight trend, from medians, so that single spikes do not count."""
    if len(values) < 4:
        return 0.0
    half = len(values) // 2
    slope = (np.median(values[-half:]) - np.median(values[:half])) / (len(values) - half)
    rest = values - slope * np.arange(len(values))
    return float(_SIGMA * np.median(np.abs(rest - np.median(rest))))


def standing(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows still hold: not those that a rewind went back behind."""
    holds = np.ones(len(counts), bool)
    for place in np.flatnonzero(np.diff(counts) < 0) + 1:
        holds[:place] &= counts[:place] < counts[place]
    return holds


@final
@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One measurement over the plan's clock.

    Args:
        name: the measurement's.
        mode: `min` where less is better, `max` where more is.
        counts: of its values; int64, shape (n,).
        values: as recorded, NaN and infinities included; float64, shape (n,).
    """

    name: str
    mode: Mode
    counts: NDArray[np.int64]
    values: Floats

    @property
    def finite(self) -> Curve:
        """The same without what is no finite number."""
        good = np.isfinite(self.values)
        return Curve(self.name, self.mode, self.counts[good], self.values[good])

    @property
    def costs(self) -> Floats:
        """The values with the sign that makes less better."""
        return self.values if self.mode == "min" else -self.values

    @property
    def judged_apart(self) -> bool:
        """Whether it is measured on the same data each time, rather than on batches or episodes of its own."""
        return not self.is_outcome and any(word in self.name for word in ("val", "test", "eval"))

    @property
    def is_rate(self) -> bool:
        """Whether it is a share of episodes that succeeded."""
        return is_rate(self.name)

    @property
    def is_return(self) -> bool:
        """Whether it is what episodes brought in: its 0 means nothing, and it swings with the episodes."""
        return is_return(self.name)

    @property
    def is_outcome(self) -> bool:
        """Whether it is of episodes, and so of the stage that they are in."""
        return self.is_rate or self.is_return

    def __len__(self) -> int:
        return len(self.values)

    def since(self, count: int) -> Curve:
        """The values from a count on."""
        later = self.counts >= count
        return Curve(self.name, self.mode, self.counts[later], self.values[later])

    def fifth(self, which: int) -> Curve:
        """One fifth of the values, from 0."""
        places = np.array_split(np.arange(len(self)), 5)[which]
        return Curve(self.name, self.mode, self.counts[places], self.values[places])

    @property
    def level(self) -> float:
        """The median."""
        return float(np.median(self.values))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """An entry of the plan over the plan's clock, as asked and as applied."""

    name: str
    counts: NDArray[np.int64]
    asked: Floats
    applied: Floats

    @property
    def peak(self) -> float:
        """The largest value that was applied."""
        return float(np.max(self.applied))

    def at(self, count: int) -> float:
        """What was in force at a count: of the last row up to it."""
        return float(self.applied[max(int(np.searchsorted(self.counts, count, "right")) - 1, 0)])

    def share(self, count: int) -> float:
        """The value at a count as a share of the peak; 1 where there is no peak above 0."""
        return self.at(count) / self.peak if self.peak > 0 else 1.0


@final
class Case:
    """A run, and which measurement of it is the loss.

    Raises:
        RecordError: the run has no rows, or none with the plan's clock or `metric`; `mode` is neither, or is missing.
    """

    def __init__(self, run: Run, metric: str | None = None, mode: Mode | None = None) -> None:
        if not run.rows:
            raise RecordError(f"{run.folder}: the record has no rows yet, so there is nothing to look at")
        if mode not in (None, "min", "max"):
            raise RecordError(f"mode must be min or max, got {mode!r}")
        self.run = run
        self.unit = str(run.plan.clock)
        if not len(self.counts):
            raise RecordError(f"{run.folder}: no row has a count of the plan's clock, {self.unit}")
        self.curve = self._loss(metric, mode)

    def _loss(self, metric: str | None, mode: Mode | None) -> Curve | None:
        if metric is None:
            found = [self._of_stage(name, mode) for name in self.outcomes]
            found += [self.measured(name, mode or "min") for name in LOSSES if name in self.measurements]
            # the first of those with the most to judge by
            return max(found, key=lambda one: min(len(one.finite), ENOUGH), default=None)
        if metric not in self.measurements:
            near, known = did_you_mean(metric, self.measurements), ", ".join(self.measurements) or "none"
            raise RecordError(f"{self.run.folder}: {metric!r} was not measured.{near} Measured: {known}")
        mode = mode or mode_of(metric) or ("min" if "loss" in metric else None)
        if mode is None:
            raise RecordError(f"{metric}: say whether less of it is better (mode min) or more (mode max)")
        return self._of_stage(metric, mode)

    def _of_stage(self, name: str, mode: Mode | None) -> Curve:
        """A measurement; what each stage has of its own, since the last one began."""
        curve = self.measured(name, mode or "max")
        return curve.since(self.last_stage) if curve.is_outcome else curve

    @cached_property
    def measurements(self) -> tuple[str, ...]:
        """What was measured, by name."""
        return self.run.names["measured"]

    @property
    def outcomes(self) -> list[str]:
        """Measured outcomes of episodes: shares of success before returns, those of evaluations first."""
        found = [name for name in self.measurements if name.rsplit("/", 1)[-1] in OUTCOMES]
        return sorted(found, key=lambda name: (not is_rate(name), "eval" not in name))

    @property
    def rates(self) -> list[str]:
        """Measured shares of success, those of evaluations first."""
        return [name for name in self.outcomes if is_rate(name)]

    @cached_property
    def gates(self) -> dict[str, SuccessGates]:
        """The entries of the plan that are stages, passed by measured success."""
        nodes = self.run.plan.schedules.items()
        return {name: node for name, node in nodes if isinstance(node, SuccessGates)}

    @cached_property
    def last_stage(self) -> int:
        """The count at which the last stage that was reached began; 0 where there are no stages."""
        begun = [one["counts"].get(self.unit, 0) for one in self.run.events if one.get("entry") in self.gates]
        return max(begun, default=0)

    @cached_property
    def passing(self) -> float:
        """The share of successes that is enough."""
        return max((gate.success_rate for gate in self.gates.values()), default=PASSED)

    @property
    def held(self) -> bool:
        """Whether the plan has stages, the last one was reached, and the last success rate there keeps to its gate."""
        tracks = [(gate, self.tracks.get(name)) for name, gate in self.gates.items()]
        if not tracks or any(track is None or track.at(self.last) < gate.max_stage for gate, track in tracks):
            return False
        rates = (self.measured(name, "max").since(self.last_stage).values for name in self.rates)
        last = next((values[-1] for values in rates if len(values)), 0.0)
        return bool(last >= self.passing)

    def measured(self, name: str, mode: Mode = "min") -> Curve:
        """A measurement, without what a rewind went back behind."""
        counts, values = self.run.measured(name)
        holds = standing(counts)
        return Curve(name, mode, counts[holds], values[holds])

    @cached_property
    def tracks(self) -> dict[str, Track]:
        """Every entry that was recorded with a value applied."""
        found: dict[str, Track] = {}
        for name in self.run.names["asked"]:
            counts, asked, applied = self.run.series(name)
            holds = standing(counts) & np.isfinite(applied)
            if holds.any():
                found[name] = Track(name, counts[holds], asked[holds], applied[holds])
        return found

    def keyed(self, *keys: str) -> Iterator[Track]:
        """The entries for one of these hyperparameters, of whatever group."""
        yield from (track for name, track in self.tracks.items() if entry_name(name).key in keys)

    @cached_property
    def lr(self) -> Track | None:
        """The learning rate: `lr` itself, or the first group's."""
        return self.tracks.get("lr") or next(self.keyed("lr"), None)

    def constant(self, name: str) -> bool:
        """Whether the plan says that an entry never moves."""
        return isinstance(self.run.plan.schedules.get(name), Constant)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The count of every row, in order."""
        return np.array([row["counts"][self.unit] for row in self.run.rows if self.unit in row["counts"]], np.int64)

    @property
    def last(self) -> int:
        """The count of the last row."""
        return int(self.counts[-1])

    @property
    def span(self) -> int:
        """The run's length: the plan's total, or as far as was recorded where it has none."""
        total = self.run.plan.total
        return total if isinstance(total, int) else max(self.last, 1)

    def part(self, count: int) -> str:
        """A count as a share of the run."""
        return percent(count / self.span)


def percent(share: float) -> str:
    """A share in percent; never 0 % or 100 % for what is only near it.

    >>> percent(0.5), percent(0.999), percent(0.0004), percent(1.0)
    ('50 %', '99.9 %', '0.04 %', '100 %')
    """
    if share in (0, 1) or 0.01 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.3g} %" if share > 0.99 else f"{100 * share:.1g} %"


def number(value: float) -> str:
    """A value in three digits."""
    return f"{value:.3g}"
