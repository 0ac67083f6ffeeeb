"""The picture of a catalogue's entry: its sample; of a controller what it does with a made-up run's measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tempomat.analysis.catalogue import Entry
from tempomat.analysis.extent import Extent
from tempomat.analysis.picture import Figure, Series
from tempomat.analysis.sample import sample
from tempomat.analysis.simulate import simulate
from tempomat.analysis.study import Study
from tempomat.core import Controller, Duration, Node, PlanError, Schedule, ScheduleError
from tempomat.plan import Plan

NOMINAL_TOTAL = 1_000
"""The run that a sample is drawn for where its lengths are shares of one."""
_MEASUREMENTS = 80
_CYCLES = 7  # the three cycles of a restart that doubles


def picture_of(entry: Entry) -> Figure:
    """The picture of an entry's sample.

    Raises:
        ScheduleError: its docstring has no example that makes one.
    """
    found = entry.sample
    if found is None:
        raise ScheduleError(f"{entry.name}: its docstring has no example to draw")
    name = found.name or "value"
    if isinstance(found.tree, Schedule):
        plan = Plan({name: found.tree}, total=_total(found.tree), clock=_clock(found.tree))
        return replace(sample(plan, title=entry.name), notes=())
    return _simulated(entry.name, name, found.tree)


def _clock(tree: Node) -> str:
    """The one clock that a tree is tied to, so that it is drawn over its own counts."""
    tied = [clock for clock in tree.clocks if clock]
    return tied[0] if len(tied) == 1 else "optimizer_steps"


def _total(tree: Node) -> int | None:
    """How far a sample is drawn, where it does not say so itself."""
    try:
        Plan({"value": tree}, clock=_clock(tree)).resolve()
    except PlanError:
        return NOMINAL_TOTAL
    given = tree.parameters()
    period = given.get("cycle") or (given["up"] + (given.get("down") or given["up"]) if "up" in given else None)
    return period * _CYCLES if isinstance(period, int) and not given.get("cycles") else None


def _simulated(title: str, name: str, tree: Any) -> Figure:
    """What is measured, drawn above what becomes of it."""
    extent = Extent(Study.of(Plan({name: tree}))).of("optimizer_steps")
    every = max(extent // _MEASUREMENTS, 1)
    streams = {one.metric: measurements(one) for one in tree.controllers}
    run = simulate(tree, streams, every=every, total=every * _MEASUREMENTS)
    counts = every * np.arange(1, _MEASUREMENTS + 1)
    heard = [Series(metric, "optimizer_steps", counts, np.array(values)) for metric, values in streams.items()]
    steps = np.arange(run.values.size)
    alone = isinstance(tree, Controller)
    label = name if not alone or not tree.relative else "factor"
    level = Series(label, "optimizer_steps", steps, run.values, steps=alone)
    return Figure(title, (*heard, level), ("Measurements are made up, one for each point of the curve above.",))


def measurements(rule: Controller) -> list[float]:
    """A made-up run's measurements of what a controller listens to: always the same, and such that it has to act."""
    random = np.random.default_rng(7)
    share = np.arange(_MEASUREMENTS) / _MEASUREMENTS
    noise = random.standard_normal(_MEASUREMENTS)
    given: dict[str, Any] = rule.parameters()
    metric = rule.metric.lower()
    if "success" in metric or "max_stage" in given:
        return (random.random(_MEASUREMENTS) < 0.55 + 0.6 * share).astype(float).tolist()
    if "target" in given and not isinstance(given["target"], (str, Duration)):
        drift = np.where((share > 0.2) & (share < 0.28), 1.3, np.where((share > 0.55) & (share < 0.66), -1.3, 0.0))
        return (given["target"] * np.exp(drift + 0.2 * noise)).tolist()
    if "noise" in metric:
        low, high = float(given.get("min_value") or 32), float(given.get("max_value") or 1024)
        return (low * (1.2 * high / low) ** share * np.exp(0.15 * noise)).tolist()
    if "grad" in metric or "norm" in metric:
        return (2.0 * (1.2 - share) * np.exp(0.35 * noise + 1.6 * (noise > 1.6))).tolist()
    loss = 0.3 + 0.7 * np.exp(-9.0 * np.minimum(share, 0.45)) - 0.12 * np.clip((share - 0.7) / 0.1, 0.0, 1.0)
    loss = loss + 0.004 * noise
    if "Guard" in type(rule).__name__:
        loss = np.where((share > 0.5) & (share < 0.56), 4.0, loss)
    return (1.0 - loss if given.get("mode") == "max" else loss).tolist()
