"""Rules on what the values mean to an optimizer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tempomat.analysis import words
from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.horizon import ends, falls_to_its_end
from tempomat.analysis.rules.registry import Hit, rule
from tempomat.analysis.study import Entry
from tempomat.core import Constant, IntervalTable, Unit

_VANISHED = 1e-6
"""The share of its peak below which an lr changes next to nothing."""
_LONG = 0.1
"""The share of the run for which it has to be so."""
_NOTICED = 1.05


@rule(
    "TM301",
    "first-step-at-zero",
    "warning",
    wrong="""
        total: 10_000
        schedules:
          lr: {type: warmup_cosine, peak_value: 1.0e-3, warmup: 5%}
    """,
    right="""
        total: 10_000
        schedules:
          lr: {type: warmup_cosine, peak_value: 1.0e-3, warmup: 5%, init_value: 2.0e-6}
    """,
)
def first_step_at_zero(case: Case) -> Iterator[Hit]:
    """The lr is 0 at count 0, so the first optimizer step changes nothing.

    A batch is spent, and an adaptive optimizer's moments take it in while the weights do not move; users ask about
    it again and again (transformers#34754, gpt-neox#1373). On a clock of epochs it is an error: the whole first
    epoch trains nothing.

    Begin above 0, for instance at the peak over the warmup's length: `init_value: 2.0e-6`. If the 0 is meant,
    ignore the rule; a group that is frozen by a constant 0 is not reported.
    """
    for entry in case.resolved:
        traced = case.traced(entry)
        if entry.target.key != "lr" or traced is None or _frozen_at_first(case, entry):
            continue
        curve, counts, values = traced
        if counts[0] == 0 and values[0] == 0 and values.any():
            whole_epoch = curve.clock == Unit.EPOCHS
            spent = (
                "the whole first epoch trains nothing" if whole_epoch else "the first optimizer step changes nothing"
            )
            at_one = words.value(float(curve.at(np.array([1]))[0]))
            fix = f"Begin above 0, such as init_value: {at_one}"
            yield Hit(entry.path, f"is 0 at count 0: {spent}", fix, "error" if whole_epoch else None)


def _frozen_at_first(case: Case, entry: Entry) -> bool:
    """Whether the entry begins with a constant, which is written on purpose."""
    shapes = [place for place in case.places(entry) if all(begin == 0 for _, begin, _ in place.spans)]
    return any(isinstance(place.node, Constant) and place.node.value == 0 for place in shapes)


@rule(
    "TM302",
    "ends-at-zero",
    "error",
    wrong="""
        total: 100_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 0.0, duration: 60_000}
    """,
    right="""
        total: 100_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 0.0, duration: 100%}
    """,
)
def ends_at_zero(case: Case) -> Iterator[Hit]:
    """The lr has come down to 0 before the run ends: the rest of it trains nothing.

    The loss stands still, which looks like convergence. It happens when a run is made longer and its schedule is
    not, or where a launcher steps the schedule once for each of its processes (Accelerate#1382).

    Make the duration the run's: `duration: 100%`. To stop on purpose, end the run there, or write the 0 as a last
    part.
    """
    for entry in case.resolved:
        for end in ends(case, entry):
            early = end.at + case.slack(end.unit) < end.length
            if (
                early
                and end.value == 0
                and falls_to_its_end(entry, end)
                and not isinstance(end.place.node, IntervalTable)
            ):
                rest = words.share(end.length - end.at, end.length)
                message = f"is 0 from {words.count(end.at)} of {words.count(end.length, end.unit)} on"
                yield Hit(
                    end.path,
                    f"{message}: the last {rest} of the run trains nothing",
                    "Fit it to the run: 100% for a length",
                )


@rule(
    "TM303",
    "lr-vanishes",
    "warning",
    wrong="""
        total: 9_000
        schedules:
          lr: {type: exponential, init_value: 0.1, decay_rate: 0.95}
    """,
    right="""
        total: 9_000
        schedules:
          lr: {type: exponential, init_value: 0.1, decay_rate: 0.95, every: 100}
    """,
)
def lr_vanishes(case: Case) -> Iterator[Hit]:
    """The lr falls below a millionth of its peak, and a tenth of the run or more is still to come.

    A rate that was meant per epoch and is applied per step does that: 0.95 per step is 1e-20 of the peak after 900
    steps. Such updates are mostly lost in the rounding of float32 weights.

    Give the rate its period (`every: 1 epoch`), or a floor (`end_value`).
    """
    for entry in case.resolved:
        traced = case.traced(entry)
        if entry.target.key != "lr" or traced is None or not np.isfinite(traced[2]).all():
            continue
        curve, counts, values = traced
        least, length = _VANISHED * float(np.abs(values).max()), int(counts[-1]) + 1
        seen = np.flatnonzero(np.abs(values) >= least)
        start = curve.first(counts[seen[-1] :], lambda rest, least=least: np.abs(rest) < least)
        if start is None or any(_holds_on_purpose(place.node) for place in case.leaves_at_end(entry)):
            continue
        if length - start > _LONG * length:
            rest = (
                f"from {words.count(start, curve.clock)} on, the last {words.share(length - start, length)} of the run"
            )
            message = f"is below a millionth of its peak {rest}"
            yield Hit(entry.path, message, "Is the rate meant per epoch? Give its period with `every`, or a floor")


def _holds_on_purpose(node: object) -> bool:
    """A constant that ends a sequence is written; so is a curve whose last value is 0, which has a rule of its own."""
    return isinstance(node, Constant) or getattr(node, "end_value", None) == 0


@rule(
    "TM304",
    "rises-as-lr-falls",
    "warning",
    wrong="""
        total: 10_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
          weight_decay: {type: linear, init_value: 0.01, end_value: 0.1, duration: 100%}
    """,
    right="""
        total: 10_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
          weight_decay: {type: linear, init_value: 0.1, end_value: 0.01, duration: 100%}
    """,
)
def rises_as_lr_falls(case: Case) -> Iterator[Hit]:
    """Weight decay or the gradient clip rises while the lr of the same group falls.

    In AdamW and SGD the decay acts through the lr: what shrinks the weights is the product of the two, so a rise of
    one can hide in the fall of the other, and a comparison of two runs sees neither. A clip that opens late lets
    through the gradients that it was set against. Both can be meant: DINO raises the decay from 0.04 to 0.4.

    Let it fall with the lr, hold it, or ignore the rule if you mean it.
    """
    falling = {entry.target.group: entry for entry in case.resolved if entry.target.key == "lr"}
    for entry in case.resolved:
        if entry.target.key not in ("weight_decay", "grad_clip", "max_grad_norm"):
            continue
        lr = falling.get(entry.target.group) or falling.get(None) or next(iter(falling.values()), None)
        found = None if lr is None else _opposed(case, lr, entry)
        if lr is not None and found is not None:
            rise, fall, start = found
            message = f"rises {rise} while {lr.name} falls {fall}, from {start} on"
            yield Hit(entry.path, message, "Let it fall with the lr, or ignore the rule if this is meant")


def _opposed(case: Case, lr: Entry, other: Entry) -> tuple[str, str, str] | None:
    """How one rises and the other falls from the lr's peak to the end, and where the peak is; None unless both do."""
    one, two = case.traced(lr), case.traced(other)
    if one is None or two is None or one[0].clock != two[0].clock:
        return None
    _, counts, values = one
    top = int(values.argmax())
    low, high = (float(value) for value in two[0].at(counts[[top, -1]]))
    peak, end = float(values[top]), float(values[-1])
    if not (high > max(low, low * _NOTICED) and peak > max(end, end * _NOTICED)):
        return None
    rise, fall = (f"from {words.value(a)} to {words.value(b)}" for a, b in ((low, high), (peak, end)))
    return rise, fall, words.count(int(counts[top]), one[0].clock)
