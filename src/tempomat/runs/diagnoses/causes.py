"""The causes of what a loss did, each weighed by what the record shows, and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tempomat.runs.diagnoses.case import Case, Curve, Track, number, percent
from tempomat.runs.diagnoses.record import clipped
from tempomat.runs.diagnoses.registry import Cause, Weight

if TYPE_CHECKING:
    from tempomat.runs.diagnoses.training import Downfall

LOW, HIGH = 0.1, 0.5
"""Shares of the peak: below the one a value has been decayed, above the other it has hardly been."""
EARLY = 0.2
"""The share of a run within which a warmup could have mattered."""
FELL = 0.1
"""Of the first loss: a fall beyond the noise of a first batch, so that the model did learn."""
EXPLODED = 10.0
"""Times its first level; gradients of a healthy run vary by less than that upwards."""
OFTEN = 0.5
"""Shares of clipped gradients, or of clipped PPO ratios, above which a limit shapes most updates."""
FIRST = 10
"""The most gradient norms that are taken for the first level."""
EXPLORATION = ("entropy_coef", "epsilon", "noise", "temperature")
_ENTROPY = ("entropy_coef", "temperature")


def of_divergence(case: Case, curve: Curve, fall: Downfall) -> tuple[Cause, ...]:
    """Causes of divergence: lr, warmup, gradients, initialisation."""
    return (*_lr_too_high(case, fall), *_warmup(case, fall), _exploding(case, fall), _initialisation(curve, fall))


def _lr_too_high(case: Case, fall: Downfall) -> Iterator[Cause]:
    lr = case.lr
    if lr is None:
        yield Cause("not told", "lr too high", "no lr was recorded")
        return
    share = lr.share(fall.count)
    # past its peak and low again, it was survived at more than this
    survived = lr.applied[lr.counts < fall.count].max(initial=0.0)
    weight: Weight = "likely" if share >= HIGH else "unlikely" if survived > lr.at(fall.count) / LOW else "possible"
    said = f"{lr.name} was {_said(lr, fall.count)} ({number(lr.peak)})"
    if weight == "unlikely":
        said += ", which the run had come through"
    yield Cause(weight, "lr too high", said)


def _warmup(case: Case, fall: Downfall) -> Iterator[Cause]:
    lr = case.lr
    if lr is None:
        return
    top = int(lr.counts[int(np.argmax(lr.applied))])
    early = fall.count <= EARLY * case.span
    if lr.applied[0] <= HIGH * lr.peak:
        rose = f"{lr.name} rose from {number(lr.applied[0])} to {number(lr.peak)} over the first {top - lr.counts[0]:_}"
        yield Cause("unlikely", "no warmup", f"{rose} ({case.part(top)})")
    elif early:
        yield Cause("likely", "no warmup", f"{lr.name} began at {_said(lr, int(lr.counts[0]))}")
    else:
        yield Cause("unlikely", "no warmup", f"it went wrong only after {case.part(fall.count)} of the run")


def _exploding(case: Case, fall: Downfall) -> Cause:
    what = "exploding gradients"
    if "grad_norm" not in case.measurements:
        return Cause("not told", what, "no grad_norm was recorded")
    norms = case.measured("grad_norm")
    good = norms.finite
    before = good.values[good.counts < fall.count]
    first = (before if len(before) else good.values)[:FIRST]
    start = float(np.median(first)) if len(first) else 0.0
    over = ~np.isfinite(norms.values) | ((norms.values > EXPLODED * start) & (start > 0))
    clip = "" if any(case.keyed("grad_clip")) else "; the plan has no grad_clip"
    if not over.any():
        most = number(float(norms.values.max()))
        return Cause("unlikely", what, f"grad_norm began at {number(start)} and was never above {most}")
    count, value = int(norms.counts[np.argmax(over)]), norms.values[np.argmax(over)]
    when = "before the loss did" if count < fall.count else "with the loss" if count == fall.count else "after the loss"
    weight: Weight = "likely" if count <= fall.count else "possible"
    return Cause(weight, what, f"grad_norm began at {number(start)} and was {number(value)} at {count:_}, {when}{clip}")


def _initialisation(curve: Curve, fall: Downfall) -> Cause:
    what = "bad initialisation"
    if not np.isfinite(fall.first):
        return Cause("possible", what, f"there was no finite {curve.name} before it")
    if abs(fall.first - fall.best) > FELL * abs(fall.first):
        return Cause("unlikely", what, f"{curve.name} had gone from {number(fall.first)} to {number(fall.best)} before")
    return Cause("possible", what, f"{curve.name} hardly improved on its first value ({number(fall.first)}) before")


def against_divergence(case: Case) -> str:
    """What to try, with this run's numbers."""
    if case.lr is None:
        return "Record the lr, and try a third of it"
    peak = case.lr.peak
    clip = "" if any(case.keyed("grad_clip")) else "; then a gradient clip (grad_clip: 1.0)"
    return f"Try a third of the lr ({number(peak)} -> {number(peak / 3)}) with a warmup over the first 5 %{clip}"


def of_plateau(case: Case, count: int) -> tuple[Cause, ...]:
    """Causes of a plateau: lr, exploration, batch, and that there is no more to learn."""
    return (
        *_decayed_too_soon(case, count),
        *_explores_too_little(case, count),
        _batch(case),
        Cause("possible", "nothing left to learn", "no record can tell; a larger model or more data would"),
    )


def _decayed_too_soon(case: Case, count: int) -> Iterator[Cause]:
    lr = case.lr
    if lr is None:
        yield Cause("not told", "lr decayed too soon", "no lr was recorded")
        return
    share, end = lr.share(count), lr.share(case.last)
    said = f"{lr.name} was {_said(lr, count)} ({number(lr.peak)})"
    rising = lr.at(count) < lr.peak and count < lr.counts[int(np.argmax(lr.applied))]
    weight: Weight = "unlikely" if share >= HIGH or rising else "likely" if share <= LOW else "possible"
    yield Cause(weight, "lr decayed too soon", said)
    if end >= HIGH:
        yield Cause("possible", "lr too high to settle", f"{lr.name} is still {percent(end)} of its highest at the end")


def _explores_too_little(case: Case, count: int) -> Iterator[Cause]:
    for track in case.keyed(*EXPLORATION):
        share = track.share(count)
        weight: Weight = "likely" if share <= LOW else "unlikely" if share >= HIGH else "possible"
        yield Cause(weight, "exploration too low", f"{track.name} was {_said(track, count)}")


def _batch(case: Case) -> Cause:
    track = next(case.keyed("batch_size"), None)
    if track is None:
        return Cause("not told", "batch too small", "no batch_size was recorded")
    sizes = float(track.applied.min()), track.peak
    if sizes[0] == sizes[1]:
        return Cause("possible", "batch too small", f"{track.name} stayed {number(sizes[0])}")
    return Cause("possible", "batch too small", f"{track.name} was between {number(sizes[0])} and {number(sizes[1])}")


def against_plateau(case: Case, count: int) -> str:
    """What to try, by where the lr was."""
    if case.lr is None:
        return "Record the lr, to see where it stood"
    if case.lr.share(count) <= LOW:
        return f"Keep the lr up for longer than {count:_} {case.unit}: a longer decay, or a higher end"
    if case.lr.share(case.last) >= HIGH:
        more = case.curve is not None and case.curve.mode == "max"
        better = f"{case.curve.name} rises" if more and case.curve is not None else "the loss falls"
        return f"Let the lr fall to a hundredth of its peak by the end, and see whether {better} with it"
    return "Try a larger batch late in the run, or end it sooner"


def of_oscillation(case: Case, curve: Curve, since: int) -> tuple[Cause, ...]:
    """Causes of swings: lr, entropy, aggressive updates, and the batches themselves."""
    found = [*_not_decayed(case), *_entropy(case), _aggressive(case, since)]
    if curve.is_outcome:
        found.append(Cause("possible", "noise of the episodes", f"{curve.name} is of other episodes each time"))
    elif not curve.judged_apart:
        found.append(Cause("possible", "noise of the batches", f"{curve.name} may be of another batch each time"))
    return tuple(found)


def _said(track: Track, count: int) -> str:
    return f"{number(track.at(count))}, {percent(track.share(count))} of its highest"


def _held(track: Track, case: Case) -> tuple[Weight, str]:
    share = track.share(case.last)
    weight: Weight = "likely" if share >= HIGH else "unlikely" if share <= LOW else "possible"
    return weight, f"{track.name} ends at {_said(track, case.last)}"


def _not_decayed(case: Case) -> Iterator[Cause]:
    if case.lr is None:
        yield Cause("not told", "lr not decayed enough", "no lr was recorded")
        return
    weight, said = _held(case.lr, case)
    yield Cause(weight, "lr not decayed enough", said)


def _entropy(case: Case) -> Iterator[Cause]:
    for track in case.keyed(*_ENTROPY):
        weight, said = _held(track, case)
        yield Cause("possible" if weight == "likely" else weight, "entropy too high", said)


def _aggressive(case: Case, since: int) -> Cause:
    what = "too aggressive updates"
    if "clip_fraction" in case.measurements and "grad_norm_max" not in case.measurements:  # that would be `ClipMeter`'s
        late = case.measured("clip_fraction").finite
        late = late.values[late.counts >= since]
        if len(late):
            share = float(np.median(late))
            return Cause("likely" if share >= OFTEN else "unlikely", what, f"clip_fraction is {number(share)} late")
    known = clipped(case, since)
    if known is None:
        return Cause("not told", what, "neither clip_fraction nor enough of grad_norm and grad_clip was recorded")
    weight: Weight = "possible" if known[0] >= OFTEN else "unlikely"
    return Cause(weight, what, f"{percent(known[0])} of the gradients were clipped in the last fifth")


def against_oscillation(case: Case) -> str:
    """What to try, by where the lr ended."""
    if case.lr is not None and case.lr.share(case.last) <= LOW:
        return "The lr is low already: try a larger batch, or a lower gradient clip"
    entropy = " and the entropy coefficient" if any(case.keyed(*_ENTROPY)) else ""
    return f"Let the lr{entropy} fall to a hundredth of the peak by the end, as in warmup_cosine"
