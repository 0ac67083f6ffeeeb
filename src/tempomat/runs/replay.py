"""A run's schedules as they came to be: what controllers decided, or what somebody wrote, as plain data again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tempomat.core import Constant, Controller, Node, On, PiecewiseConstant, Reactive, RecordError, Schedule, on
from tempomat.core import Sequence as Joined
from tempomat.core.fields import MAX_PARTS
from tempomat.plan import Plan
from tempomat.runs.reader import Run

Source = Literal["decisions", "applied"]
"""What a replay is made of: the plan with its controllers' decisions, or the values that the targets held."""
ROUNDING = 2.0**-8
"""The largest relative difference between a value asked for and the same one in a target's own type, bfloat16."""


def replay(run: Run, entry: str, *, source: Source = "decisions") -> Schedule:
    """An entry of a finished run as a schedule without controllers: to draw, compare, and give to another run.

    Args:
        run: as `read_run` gives it.
        entry: its name.
        source: `decisions` puts each controller's recorded levels in its place, so that every count gets exactly the
            value it had; `applied` takes what the targets held at the recorded counts, each until the next: what a
            person or a population-based search wrote is in it, and counts between two rows are not. What was done
            over again after a rewind counts as it was the last time.

    Raises:
        RecordError: there is no such entry; or, with `decisions`, the run was rewound or its plan changed on the way,
            so that no one function of a count tells it, or targets held something else than was asked for.
    """
    if source == "applied":
        return _held(run, entry)
    if source != "decisions":
        raise RecordError(f"source must be decisions or applied, got {source!r}")
    if entry in run.names["asked"]:
        _refuse_foreign(run, entry)
    if len({session["fingerprint"] for session in run.info["sessions"]}) > 1:
        raise RecordError(f"{run.folder}: its plan changed on the way; use source='applied', or replay each part")
    return decided(run.plan, run.events, entry)


def replay_plan(run: Run, *, source: Source = "decisions") -> Plan:
    """Every entry of a finished run without controllers, as a plan: `save_plan(replay_plan(run), ...)`.

    Raises:
        RecordError: as `replay`.
    """
    schedules = {name: replay(run, name, source=source) for name in run.plan.schedules}
    return Plan(schedules, total=run.plan.total, clock=run.plan.clock, rates=dict(run.plan.rates))


def decided(plan: Plan, events: Iterable[Mapping[str, Any]], entry: str) -> Schedule:
    """An entry of a resolved plan, with the decisions among `events` in its controllers' places.

    Raises:
        RecordError: a clock was set back between them.
    """
    tree = plan[entry]
    if not isinstance(tree, Reactive):
        return cast(Schedule, tree)
    happened = list(events)
    if any(one["event"] == "rewind" for one in happened):
        raise RecordError(
            f"{entry}: a clock of the run was set back, so a count has two values. To replay what stood in the end: "
            "source='applied'"
        )
    own = [one for one in happened if one["event"] == "decision" and one["entry"] == entry]
    levels: list[Schedule] = []
    clock = str(plan.clock)
    parts = zip(tree.controllers, tree.listening(), _driven(tree, clock), strict=True)
    for place, (rule, conditions, driver) in enumerate(parts):
        mine = [one for one in own if one["controller"] == place]
        start = conditions[-1][1] if conditions and driver == clock else 0
        moments = {0: rule.level(rule.initial())}
        moments |= {one["counts"][clock] - start: float(one["level"]) for one in mine}
        level = _steps(list(moments), list(moments.values()))
        # decisions are taken at counts of the plan's clock, whatever drives the part that they are in
        levels.append(level if driver == clock else cast(Schedule, on(clock, level)))
    return tree.given(levels)


def _driven(node: Node, clock: str) -> Iterator[str]:
    """For each controller, from left to right, the clock that drives its part of the tree."""
    if isinstance(node, Controller):
        yield clock
    below = str(node.parameters()["unit"]) if node.builder() is On else clock
    for child in node.children():
        yield from _driven(child, below)


def _steps(counts: Sequence[int], values: Sequence[float]) -> Schedule:
    """`values[k]` from `counts[k]` on; the first one before it too. However many there are."""
    kept = [0, *(k for k in range(1, len(values)) if values[k] != values[k - 1])]
    counts, values = [counts[k] for k in kept], [values[k] for k in kept]
    if len(values) == 1:
        return Constant(value=values[0])
    if len(values) <= MAX_PARTS:
        return PiecewiseConstant(values=values, boundaries=counts[1:])
    starts = range(0, len(values), MAX_PARTS)
    parts = []
    for start in starts:
        begin = counts[start] if start else 0
        piece = slice(start, start + MAX_PARTS)
        parts.append(_steps([count - begin for count in counts[piece]], values[piece]))
    return Joined(parts=tuple(parts), boundaries=[counts[start] for start in starts[1:]])


def _held(run: Run, entry: str) -> Schedule:
    """What stands in the end: of several rows at one count the last, and nothing that a rewind did over again."""
    counts, _, applied = run.series(entry)
    later = np.minimum.accumulate(np.append(counts[1:], np.iinfo(np.int64).max)[::-1])[::-1]
    stands = counts < later
    return _steps(counts[stands].tolist(), applied[stands].tolist())


def _refuse_foreign(run: Run, entry: str) -> None:
    counts, asked, applied = run.series(entry)
    other: NDArray[np.bool_] = ~(np.abs(applied - asked) <= ROUNDING * np.abs(asked))
    if other.any():
        place = int(np.argmax(other))
        raise RecordError(
            f"{run.folder}: {entry} was asked to be {asked[place]:g} and held {applied[place]:g} at "
            f"{counts[place]:_}: somebody else wrote it. To replay what it held: source='applied'"
        )
