"""A plan set against a run: what is known of its length and units, and each entry resolved as far as that goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from tempomat.core import Controller, Duration, Fault, Horizon, Node, Schedule, ScheduleError, Unit
from tempomat.core.errors import join_path
from tempomat.core.fields import CountKind, ListOf, kinds_of
from tempomat.core.intervals import IntervalsKind
from tempomat.core.reactive import Reactive
from tempomat.plan import EntryName, Plan, entry_name


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a plan.

    Args:
        name: as the plan writes it.
        written: the tree as it is written.
        node: the same tree with every length as a count, or None where that is not possible.
        faults: why it is not, each with its path from the plan.
    """

    name: str
    written: Node
    node: Node | None
    faults: tuple[Fault, ...] = ()

    @property
    def path(self) -> str:
        return f"schedules.{self.name}"

    @property
    def target(self) -> EntryName:
        return entry_name(self.name)

    @property
    def curve(self) -> Schedule | None:
        """The schedule that the entry is while no controller has decided anything; None where it cannot be resolved."""
        return None if self.node is None else at_first_levels(self.node)


@final
@dataclass(frozen=True, slots=True)
class Study:
    """A plan, and the run it is for."""

    plan: Plan
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, plan: Plan, total: int | str | Duration | None = None, rates: Mapping[str, int] | None = None) -> Study:
        """The plan for a run of this total and these rates; what is left out stays as the plan has it.

        Raises:
            PlanError: `total` or `rates` is not possible.
        """
        run = Plan(
            plan.schedules,
            total=plan.total if total is None else total,
            clock=plan.clock,
            rates={**plan.rates, **(rates or {})},
        )
        return cls(run, tuple(_entry(name, node, run.horizon) for name, node in run.schedules.items()))

    @property
    def horizon(self) -> Horizon:
        return self.plan.horizon

    @property
    def clock(self) -> Unit:
        return self.plan.clock

    def length(self, unit: Unit | str) -> int | None:
        """The run's length in a unit; None where nothing known gives it."""
        total = self.plan.total
        if total is None:
            return None
        try:
            whole = self.horizon.count(Duration(f"{total} {self.clock}") if isinstance(total, int) else total)
            return self.horizon.count(Duration(f"{whole} {self.clock}"), Unit(unit))
        except ScheduleError:
            return None

    def ratio(self, unit: Unit | str) -> Fraction | None:
        """How many of a unit one count of the plan's clock is; None where no rate converts them."""
        try:
            return self.horizon.ratio(self.clock, Unit(unit))
        except ScheduleError:
            return None

    def ratios(self, units: Iterable[str]) -> dict[str, Fraction]:
        """How many of each unit one count of the plan's clock is.

        Raises:
            ScheduleError: nothing given converts one of them; the message names what is missing.
        """
        return {unit: self.horizon.ratio(self.clock, Unit(unit)) for unit in units}

    def clocks_of(self, tree: Node) -> frozenset[str]:
        """The units that a tree follows, the plan's clock among them by its name."""
        return frozenset(name or str(self.clock) for name in tree.clocks)


def at_first_levels(node: Node) -> Any:
    """A tree with its controllers at their first levels."""
    if isinstance(node, Reactive):
        return node.given([first_level(one) for one in node.controllers])
    return node


def first_level(controller: Controller) -> float:
    """Where a controller stands before any measurement."""
    return controller.level(controller.initial())


def nodes(node: Node, unit: Unit, path: str = "") -> Iterator[tuple[str, Node, Unit]]:
    """Every node of a tree as it is written: its path, itself, and the unit of its counts. Recipes are not expanded."""
    yield path, node, unit
    below = node._unit_below(unit)
    for name, value in node.parameters().items():
        for where, child in _items(value, join_path(path, name)):
            if isinstance(child, Node):
                yield from nodes(child, below, where)


def lengths(tree: Node, unit: Unit, path: str = "") -> Iterator[tuple[str, int | Duration, Unit]]:
    """Every length written in a tree: its path, itself, and the unit of a bare count there."""
    for where, node, counted in nodes(tree, unit, path):
        for name, kind in kinds_of(node.builder()).items():
            plain = isinstance(kind.item if isinstance(kind, ListOf) else kind, (CountKind, IntervalsKind))
            # a controller counts measurements, and `times` counts repetitions
            plain = plain and not isinstance(node, Controller) and name != "times"
            for place, value in _items(node.parameters()[name], join_path(where, name)):
                if isinstance(value, Duration) or (plain and type(value) is int):
                    yield place, value, counted


def _items(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A parameter's values: those of a list by index, those of an interval by key."""
    if not isinstance(value, tuple):
        yield path, value
        return
    for place, one in enumerate(value):
        if isinstance(one, tuple):
            yield from ((f"{path}[{place}].{key}", item) for key, item in one)
        else:
            yield f"{path}[{place}]", one


def _entry(name: str, node: Node, horizon: Horizon) -> Entry:
    try:
        resolved = node.resolve(horizon)
        at_first_levels(resolved)
        return Entry(name, node, resolved)
    except ScheduleError as error:
        return Entry(name, node, None, tuple(fault.under(f"schedules.{name}") for fault in error.faults))
