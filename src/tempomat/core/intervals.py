"""Tables of half-open intervals, as RL configurations write them: one rule inside each, gaps hold, overlaps are
errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast, final

from tempomat.core.clock import Duration, Horizon, Unit
from tempomat.core.errors import Fault, ScheduleError, did_you_mean, list_faults, shown
from tempomat.core.fields import MAX_PARTS, CountKind, Kind, NumberKind
from tempomat.core.ops import Ops, counted
from tempomat.core.schedule import Node, Schedule

Rule = Literal["step_decay", "exponential_decay", "linear_decay"]

_VALUES: dict[str, dict[str, Kind]] = {
    "step_decay": {"lr": NumberKind()},
    "exponential_decay": {
        "init_lr": NumberKind(),
        "decay_rate": NumberKind(above=0),
        "decay_interval": CountKind(1),
    },
    "linear_decay": {"init_lr": NumberKind(), "final_lr": NumberKind()},
}
RULES = tuple(_VALUES)
"""The rules that a table may follow inside its intervals."""
_ENDS: dict[str, Kind] = {"start": CountKind(0), "end": CountKind(1, optional=True)}


class IntervalsKind(Kind):
    """The list of intervals; each is a mapping whose keys depend on the table's rule."""

    def read(self, value: object) -> tuple[Any, ...]:
        faults = list(self.faults(value))
        if faults:
            raise ScheduleError("; ".join(map(str, faults)), faults)
        return tuple(_canonical(one) for one in cast(list[Any], value))

    def faults(self, value: object) -> Iterator[Fault]:
        if not isinstance(value, (list, tuple)) or not 1 <= len(cast(list[Any], value)) <= MAX_PARTS:
            yield Fault(
                "",
                f"must be a list of 1 to {MAX_PARTS} intervals such as {{start: 0, end: 1000000, lr: 1.0e-4}}",
            )
            return
        for place, one in enumerate(cast(list[Any], value)):
            if not isinstance(one, Mapping) and not _is_items(one):
                yield Fault(
                    f"[{place}]",
                    f"must be an interval such as {{start: 0, end: 1000000, lr: 1.0e-4}}, got {shown(one)}",
                )
                continue
            known = {**_ENDS, **{key: kind for keys in _VALUES.values() for key, kind in keys.items()}}
            for key, item in dict(cast(Any, one)).items():
                if key not in known:
                    yield Fault(
                        f"[{place}].{key}",
                        f"no key of that name.{did_you_mean(str(key), known)} Keys: {', '.join(known)}",
                    )
                else:
                    yield from (fault.under(f"[{place}].{key}") for fault in known[key].faults(item))

    def schema(self) -> dict[str, Any]:
        known = {**_ENDS, **{key: kind for keys in _VALUES.values() for key, kind in keys.items()}}
        item = {
            "type": "object",
            "properties": {key: kind.schema() for key, kind in known.items()},
            "additionalProperties": False,
        }
        return {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_PARTS}


def _is_items(one: object) -> bool:
    """Whether this is an interval in canonical form, as `repr` writes it."""
    return isinstance(one, tuple) and all(
        isinstance(pair, tuple) and len(cast(Any, pair)) == 2 for pair in cast(Any, one)
    )


def _canonical(interval: Any) -> tuple[tuple[str, Any], ...]:
    """An interval's items in a fixed order, canonical, `start` always there and an open `end` never."""
    given = {"start": 0, **dict(interval)}
    kinds = {**_ENDS, **{key: kind for keys in _VALUES.values() for key, kind in keys.items()}}
    return tuple((key, kind.read(given[key])) for key, kind in kinds.items() if given.get(key) is not None)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IntervalTable(Schedule):
    r"""A rule inside each of several half-open intervals `[start, end)`.

    `step_decay`: `lr`. `exponential_decay`: :math:`\text{init\_lr} \cdot r^{\lfloor (t - start) / k \rfloor}`.
    `linear_decay`: a straight line from `init_lr` to `final_lr`, reached at `end`.

    Before the first start: the first interval's first value. In a gap: the value reached at the end of the interval
    before it. Past the last end the last interval goes on: a step holds, a line stays at its end, an exponential
    keeps decaying.

    Args:
        rule: `step_decay`, `exponential_decay` or `linear_decay`, one for the whole table.
        intervals: mappings with `start` (0 if left out), `end` (open if left out) and the rule's keys; sorted by start.

    Raises:
        ScheduleError: intervals overlap; one is empty; a key is missing or belongs to another rule.

    Agrees with:
        No library has it. A `step_decay` table without gaps is a `PiecewiseConstant`.

    Example:
        >>> steps = [{"start": 0, "end": 10, "lr": 1e-4}, {"start": 10, "lr": 5e-5}]
        >>> table = IntervalTable(rule="step_decay", intervals=steps)
        >>> table(9), table(10), table(10**15)
        (0.0001, 5e-05, 5e-05)
    """

    rule: Rule
    intervals: Annotated[Sequence[Any], IntervalsKind()]
    _table: tuple[dict[str, Any], ...] | None = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        table = sorted((dict(one) for one in self.intervals), key=lambda one: one["start"]) if self.resolved else None
        object.__setattr__(self, "_table", None if table is None else tuple(table))

    def _check(self) -> Iterator[Fault]:
        keys = _VALUES[self.rule]
        for place, one in enumerate(self.intervals):
            interval = dict(one)
            for key in keys.keys() - interval.keys():
                yield Fault(
                    f"intervals[{place}].{key}",
                    f"is missing; an interval of {self.rule} needs {', '.join(keys)}",
                )
            if self.rule == "linear_decay" and "end" not in interval:
                yield Fault(f"intervals[{place}].end", "is missing; a line needs an end to reach its `final_lr`")
            for key in interval.keys() - keys.keys() - _ENDS.keys():
                yield Fault(
                    f"intervals[{place}].{key}",
                    f"belongs to another rule; an interval of {self.rule} has {', '.join(keys)}",
                )
        yield from self._order()

    def _order(self) -> Iterator[Fault]:
        order = sorted(range(len(self.intervals)), key=lambda place: _number(dict(self.intervals[place])["start"]))
        before: int | None = None
        for place in order:
            interval = dict(self.intervals[place])
            start, end = interval["start"], interval.get("end")
            if isinstance(start, int) and isinstance(end, int) and end <= start:
                yield Fault(f"intervals[{place}]", f"is empty: it starts at {start:_} and ends at {end:_}")
            if before is not None:
                last = dict(self.intervals[before]).get("end")
                if isinstance(start, int) and (last is None or (isinstance(last, int) and start < last)):
                    ends = f"ends ({last:_})" if last is not None else "ends (it has no end)"
                    yield Fault(
                        f"intervals[{place}]",
                        f"starts at {start:_}, before intervals[{before}] {ends}. Move its start, or end that "
                        "one earlier",
                    )
            before = place

    def resolve_on(self, horizon: Horizon, unit: Unit) -> Node:
        resolved: list[dict[str, Any]] = []
        faults: list[Fault] = []
        for place, one in enumerate(self.intervals):
            resolved.append({})
            for key, value in one:
                try:
                    resolved[-1][key] = horizon.count(value, unit) if isinstance(value, Duration) else value
                except ScheduleError as error:
                    faults += [fault.under(f"intervals[{place}].{key}") for fault in error.faults]
        if faults:
            raise ScheduleError(list_faults("IntervalTable", faults), faults)
        return IntervalTable(rule=self.rule, intervals=tuple(resolved))

    @property
    def resolved(self) -> bool:
        """Whether every start, end and interval is a plain count."""
        return not any(isinstance(value, Duration) for one in self.intervals for _, value in one)

    def _at(self, t: Any, ops: Ops) -> Any:
        table = self._table
        if table is None:
            counted(next(value for one in self.intervals for _, value in one if isinstance(value, Duration)))
            return None

        def inside(place: int, t: Any, ops: Ops) -> Any:
            return _rule(self.rule, t, ops, table[place], last=place == len(table) - 1)

        return ops.select(t, ops.starts(tuple(one["start"] for one in table[1:]), ()), inside)


def _number(start: int | Duration) -> int:
    return start if isinstance(start, int) else 0


def _rule(rule: str, t: Any, ops: Ops, interval: dict[str, Any], *, last: bool) -> Any:
    """The formula of one interval, holding before its start and, unless it is the last, from its end on."""
    start: Any = ops.count(interval["start"])
    end: Any = ops.count(interval["end"]) if "end" in interval else None
    if rule == "step_decay":
        return ops.full(t, interval["lr"])
    if rule == "linear_decay":
        share = ops.real(ops.clip(t, start, end) - start) / (end - start)
        line = interval["init_lr"] + (interval["final_lr"] - interval["init_lr"]) * share
        return ops.where(t < end, line, interval["final_lr"])
    if interval["init_lr"] == 0.0:
        return ops.full(t, 0.0)  # 0 times an infinite power is no number
    t = ops.maximum(t, start)
    t = t if last or end is None else ops.minimum(t, end - 1)
    decays = ops.real((t - start) // ops.count(interval["decay_interval"]))
    return interval["init_lr"] * ops.power(interval["decay_rate"], decays)
