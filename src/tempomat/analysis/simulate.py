"""What controllers would do with given measurements, without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final, overload

import numpy as np

from tempomat.analysis.curve import Curve, Values
from tempomat.analysis.study import Entry, Study
from tempomat.core import Duration, MeasurementError, Node, PlanError, Schedule, ScheduleError
from tempomat.core.controllers import Controller, State
from tempomat.core.errors import Fault, did_you_mean, list_faults
from tempomat.core.fields import CountKind
from tempomat.core.numbers import as_count
from tempomat.core.ops import CHUNK
from tempomat.core.reactive import Condition, Reactive
from tempomat.plan import Plan

Measurements = Mapping[str, Sequence[float] | Mapping[int, float]]
"""By metric, its values: a list measured at equal distances, or a mapping from the count of each to its value."""

LONGEST = 100_000_000
"""The longest run that is simulated: one value of 8 bytes for each of its counts."""


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """A controller's level changed.

    Args:
        count: of the plan's clock; the new level is in force from this count on.
        controller: which one, from left to right in the tree, from 0.
        metric: what it listens to.
        measured: the measurement that it decided on.
        before: its level until then.
        after: its level from then on.
    """

    count: int
    controller: int
    metric: str
    measured: float
    before: float
    after: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """A tree under given measurements.

    Args:
        values: the value at each count of the plan's clock from 0 to the total, without it; float64, shape (total,).
        decisions: every change of a level, in the order of their counts.
        states: each controller's state at the end, from left to right.
        heard: how many measurements each controller has heard.
    """

    values: Values
    decisions: tuple[Decision, ...]
    states: tuple[State, ...]
    heard: tuple[int, ...]


@overload
def simulate(
    subject: Plan,
    measurements: Measurements,
    *,
    every: int | str | Duration | None = None,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
) -> dict[str, Simulation]: ...
@overload
def simulate(
    subject: Node,
    measurements: Measurements,
    *,
    every: int | str | Duration | None = None,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
) -> Simulation: ...
def simulate(
    subject: Plan | Node,
    measurements: Measurements,
    *,
    every: int | str | Duration | None = None,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
) -> Simulation | dict[str, Simulation]:
    """Run controllers on measurements that are given, and see what they decide and what the values become.

    A measurement at count c is heard after the c-th count, by each controller of its metric whose part of the tree
    is in force at c, and changes values from c on. The i-th of a list, from 0, is measured at `every * (i + 1)`.

    Args:
        subject: a tree, or a plan with all its entries.
        measurements: by metric, a list with one value each `every` counts, or a mapping from counts to values.
        every: how far apart the measurements of a list are: a count of the plan's clock, or a duration.
        total: the run's length; without one the plan's, or else up to the last measurement.
        rates: what converts between units, such as `{"steps_per_epoch": 100}`.

    Returns:
        A `Simulation`, or for a plan one for each entry, by its name.

    Raises:
        MeasurementError: a metric is fed that nothing listens to, or one is not fed; a measurement is after the
            run's end, or no number; a list comes without `every`.
        ScheduleError: a length cannot be resolved; for a plan a `PlanError`.

    Example:
        >>> from tempomat import Constant, Plateau
        >>> tree = Constant(value=0.1) * Plateau(metric="val_loss", factor=0.5, patience=1)
        >>> run = simulate(tree, {"val_loss": [1.0, 0.9, 0.9, 0.9]}, every=2)
        >>> run.values
        array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
        >>> run = simulate(tree, {"val_loss": [1.0, 0.9, 0.9, 0.9]}, every=2, total=10)
        >>> run.values[-2:], run.decisions[0].count
        (array([0.05, 0.05]), 8)
    """
    if not isinstance(subject, (Plan, Node)):
        raise ScheduleError(f"simulate: needs a tree or a plan, got {type(subject).__name__}")
    plan = subject if isinstance(subject, Plan) else Plan({_TREE: subject})
    study = Study.of(plan, total, rates)
    _refuse_strangers(study, measurements)
    heard = sorted(_timed(study, measurements, every), key=lambda one: one.count)
    if study.plan.total is None and heard:
        study = Study.of(study.plan, heard[-1].count)
    _refuse_unresolved(study, plan is subject)
    length = study.length(study.clock)
    if length is None:
        raise MeasurementError("simulate: neither a total nor a measurement says how long the run is. Give total=")
    if length > LONGEST:
        raise MeasurementError(f"simulate: the run must have at most {LONGEST:_} counts, got {length:_} {study.clock}")
    late = next((one for one in heard if one.count > length), None)
    if late is not None:
        raise MeasurementError(
            f"simulate: {late.metric} is measured at {late.count:_}, after the run's end at {length:_}"
        )
    runs = {entry.name: _run(study, entry, heard, length) for entry in study.entries}
    return runs if plan is subject else runs[_TREE]


_TREE = "tree"


@final
@dataclass(frozen=True, slots=True)
class _Measurement:
    count: int
    metric: str
    value: float


def _timed(study: Study, measurements: Measurements, every: int | str | Duration | None) -> Iterator[_Measurement]:
    """Every measurement with its count."""
    distance = None if every is None else _distance(study, every)
    for metric, values in measurements.items():
        if isinstance(values, Mapping):
            yield from (_measurement(metric, count, value) for count, value in values.items())
        elif distance is None:
            raise MeasurementError(f"simulate: {metric} is a list, so `every` must say how far apart its values are")
        else:
            yield from (_measurement(metric, distance * (k + 1), value) for k, value in enumerate(values))


def _distance(study: Study, every: int | str | Duration) -> int:
    try:
        distance = study.horizon.count(CountKind(1).read(every) or 0)
    except ValueError as error:
        raise ScheduleError(f"simulate: every: {error}") from None
    if distance < 1:
        raise ScheduleError(f"simulate: every: {every} comes to no count of {study.clock}")
    return distance


def _measurement(metric: str, count: object, value: Any) -> _Measurement:
    try:
        return _Measurement(as_count(count), metric, float(value))
    except (TypeError, ValueError) as error:
        raise MeasurementError(f"simulate: {metric} at {count}: {error}") from None


def _refuse_unresolved(study: Study, whole_plan: bool) -> None:
    faults = [fault for entry in study.entries for fault in entry.faults]
    if not faults:
        return
    if whole_plan:
        raise PlanError(list_faults("simulate", faults), faults)
    faults = [Fault(fault.path.removeprefix(f"schedules.{_TREE}").lstrip("."), fault.message) for fault in faults]
    raise ScheduleError(list_faults("simulate", faults), faults)


def _refuse_strangers(study: Study, given: Measurements) -> None:
    """Every controller is fed, and nothing else is."""
    wanted = {one.metric: None for entry in study.entries for one in entry.written.controllers}
    known = f"Listened to: {', '.join(wanted)}" if wanted else "There is no controller"
    faults = [
        Fault(metric, f"nothing listens to it.{did_you_mean(metric, wanted)} {known}")
        for metric in given
        if metric not in wanted
    ]
    faults += [
        Fault(metric, "a controller listens to it, and it is not given") for metric in wanted if metric not in given
    ]
    if faults:
        raise MeasurementError(list_faults("simulate", faults), faults)


def _run(study: Study, entry: Entry, heard: Sequence[_Measurement], length: int) -> Simulation:
    """One tree over the whole run: its levels hold between measurements, so it is drawn piece by piece."""
    tree: Any = entry.node
    rules: tuple[Controller, ...] = tree.controllers
    conditions = list(tree.listening(str(study.clock))) if isinstance(tree, Reactive) else []
    clocks = {*study.clocks_of(tree), *(clock for one in conditions for clock, _, _ in one)}
    ratios = study.ratios(clocks)
    states, ears, decisions = [one.initial() for one in rules], [0] * len(rules), list[Decision]()
    values, drawn = np.empty(length), 0
    for one in heard:
        for place, rule in enumerate(rules):
            if rule.metric != one.metric or not _in_force(conditions[place], one.count, ratios):
                continue
            before, ears[place] = rule.level(states[place]), ears[place] + 1
            after = rule.update(states[place], one.value, one.count)
            if rule.level(after) != before:
                _draw(study, tree, rules, states, values, drawn, one.count)
                drawn = one.count
                decisions.append(Decision(one.count, place, one.metric, one.value, before, rule.level(after)))
            states[place] = after
    _draw(study, tree, rules, states, values, drawn, length)
    values.setflags(write=False)
    return Simulation(values, tuple(decisions), tuple(states), tuple(ears))


def _in_force(conditions: tuple[Condition, ...], count: int, ratios: Mapping[str, Any]) -> bool:
    here = [(int(count * ratios[clock]), start, end) for clock, start, end in conditions]
    return all(start <= at and (end is None or at < end) for at, start, end in here)


def _draw(
    study: Study, tree: Any, rules: Sequence[Controller], states: Sequence[State], values: Values, first: int, last: int
) -> None:
    """The values from `first` to before `last`, at the controllers' present levels."""
    levels = [rule.level(state) for rule, state in zip(rules, states, strict=True)]
    schedule: Schedule = tree.given(levels) if rules else tree
    curve = Curve(schedule, str(study.clock), study.ratios(study.clocks_of(schedule)))
    for start in range(first, last, CHUNK):
        counts = np.arange(start, min(start + CHUNK, last))
        values[start : start + counts.size] = curve.at(counts)
