"""A comparison in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tempomat.runs.compare import By, Comparison, Measurement
from tempomat.runs.diagnoses.case import number
from tempomat.runs.intervals import Interval, interval

_LISTED = 6
"""The most names that a sentence lists."""


def sentences(found: Comparison, by: By = "last") -> Iterator[str]:
    """What a comparison says: what differs, how far the runs went, and who is better, or that nobody can tell."""
    yield from _plans(found)
    yield from _lengths(found)
    for one in found.measurements:
        if one.mode is not None:
            yield from _verdicts(found, one, by)


def shown(found: Interval) -> str:
    """A mean with its interval in words."""
    if not found.known:
        return number(found.mean)
    return f"{number(found.mean)} (95 % interval {number(found.low)} to {number(found.high)})"


def _plans(found: Comparison) -> Iterator[str]:
    if len(found.sides) == 1:
        entries = _listed(found.differing)
        by_seed = f", and their controllers made {entries} differ" if entries else ""
        yield f"All runs had one plan{by_seed}."
        return
    for side, changes in zip(found.sides[1:], found.changes[1:], strict=True):
        parts = [change.path.removeprefix("schedules.") for change in changes]
        yield f"{side.letter}'s plan differs from A's in {_listed(dict.fromkeys(parts)) or 'nothing that is said'}."


def _lengths(found: Comparison) -> Iterator[str]:
    lasts = {side.letter: side.last for side in found.sides}
    if len(set(lasts.values())) > 1:
        said = ", ".join(f"{letter} {last:_}" for letter, last in lasts.items())
        yield f"They end at different counts of {found.clock}: {said}. Last values are not those of equal effort."


def _verdicts(found: Comparison, one: Measurement, by: By) -> Iterator[str]:
    for place, side in enumerate(found.sides[1:], 1):
        seeds, differences = one.paired(place, by)
        what = f"{one.name} ({by} value, {'less' if one.mode == 'min' else 'more'} is better)"
        if not all(map(math.isfinite, (*one.values(0, by), *one.values(place, by)))):
            yield f"{what}: some values are no finite numbers, so A and {side.letter} are not compared."
        elif len(seeds) >= 2:
            yield _paired(what, side.letter, one, interval(differences), len(seeds))
        else:
            mine, first = one.interval(place, by).mean, one.interval(0, by).mean
            why = "one seed in common" if seeds else "no seeds in common"
            yield (
                f"{what}: {side.letter} came out at {number(mine)}, A at {number(first)}, with {why}. "
                "An interval of the difference needs two"
                f"{'' if side.seeds.count(None) == 0 else ', and some runs were recorded without a seed'}."
            )


def _paired(what: str, letter: str, one: Measurement, difference: Interval, seeds: int) -> str:
    basis = f"95 % interval {difference.low:+.3g} to {difference.high:+.3g}, paired over {seeds} seeds"
    if difference.low <= 0 <= difference.high:
        return f"{what}: no difference could be seen. {letter} less A is {difference.mean:+.3g} ({basis})."
    better = letter if (difference.mean < 0) == (one.mode == "min") else "A"
    return f"{what}: {better} is better by {number(abs(difference.mean))} ({letter} less A: {basis})."


def _listed(names: object) -> str:
    listed = list(names) if isinstance(names, (dict, tuple, list)) else []
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(map(str, listed[:_LISTED])) + more
