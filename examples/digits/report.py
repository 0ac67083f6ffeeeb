"""What the runs of two plans came to: a table, a verdict, and the same as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean and the ends of its 95 % t interval: infinite ends for one value alone, which says nothing of the next."""

    mean: float
    low: float
    high: float

    def shown(self, form: str) -> str:
        """The ends in a format such as `.2f`."""
        return f"{self.low:{form}} to {self.high:{form}}" if math.isfinite(self.low) else "needs two seeds"


def interval(values: Sequence[float]) -> Interval:
    """The mean, plus and minus Student's t times the standard error; `n` values have `n - 1` degrees of freedom."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Comparison:
    """Test accuracies in percent; the same place is the same seed, so that what a seed brings to both cancels out."""

    seeds: tuple[int, ...]
    schedule: tuple[float, ...]
    constant: tuple[float, ...]

    @property
    def difference(self) -> tuple[float, ...]:
        """Schedule less constant, seed by seed, in points."""
        return tuple(one - other for one, other in zip(self.schedule, self.constant, strict=True))

    def _rows(self) -> Iterator[tuple[str, tuple[float, ...], str]]:
        yield "schedule", self.schedule, ".2f"
        yield "constant lr", self.constant, ".2f"
        yield "difference", self.difference, "+.2f"

    def table(self) -> str:
        """A line per plan and one for the difference."""
        heads = "".join(f"{f'seed {seed}':>9}" for seed in self.seeds)
        lines = [f"{'test accuracy, %':<17}{'mean':>7}   {'95 % interval':<17}{heads}"]
        for name, values, form in self._rows():
            found = interval(values)
            by_seed = "".join(f"{f'{value:{form}}':>9}" for value in values)
            lines.append(f"{name:<17}{f'{found.mean:{form}}':>7}   {found.shown(form):<17}{by_seed}")
        return "\n".join(lines)

    def verdict(self) -> str:
        """Who wins and by how much, or that no difference could be seen: then the interval holds 0."""
        found = interval(self.difference)
        basis = f"95 % interval {found.shown('+.2f')}, paired over {len(self.seeds)} seeds"
        if found.low > 0:
            return f"The schedule wins by {found.mean:.2f} points ({basis})."
        if found.high < 0:
            return f"The constant lr wins by {-found.mean:.2f} points ({basis})."
        if len(self.seeds) == 1:
            basis = "one seed: an interval needs two"
        return f"No difference could be seen: the schedule came out at {found.mean:+.2f} points ({basis})."

    def data(self) -> dict[str, Any]:
        """Everything above in full precision."""
        rows: dict[str, Any] = {"seeds": list(self.seeds)}
        for name, values, _ in self._rows():
            mean, *ends = interval(values)
            rows[name] = {"by_seed": values, "mean": mean, "interval": ends if math.isfinite(ends[0]) else None}
        return {**rows, "verdict": self.verdict()}
