"""Where the parts of a resolved tree stand on its clocks: every node with its start, pace and term."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any, final

from tempomat.analysis import periods
from tempomat.analysis.study import at_first_levels
from tempomat.core import (
    Advance,
    Controller,
    IntervalTable,
    Node,
    On,
    Repeat,
    Sequence,
    Shift,
    Staircase,
    Stretch,
    Unit,
)
from tempomat.core.errors import join_path
from tempomat.core.fields import CountKind, ListOf, kinds_of
from tempomat.core.recipes import FromRecipe

MOST_CYCLES = 1_000
"""How many periods of one part are listed one by one."""

Span = tuple[str, Fraction, Fraction | None]
"""A clock and the counts `[start, end)` of it."""


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A node and where it stands.

    Args:
        node: a node of a resolved tree.
        path: its path from the plan; what a recipe expands to has the recipe's.
        clock: the unit that drives it.
        start: the clock's count at which the node's own count is 0.
        pace: counts of the clock for one of the node's own.
        spans: when it is in force; all of them at once. Of a repeated part it is the first cycle.
        period: after how many counts of the clock it starts anew, or None.
        recipe: what it is an expansion of, or None.
    """

    node: Node
    path: str
    clock: str
    start: Fraction = Fraction(0)
    pace: Fraction = Fraction(1)
    spans: tuple[Span, ...] = ()
    period: Fraction | None = None
    recipe: FromRecipe | None = None

    @property
    def kind(self) -> Any:
        """The class of the node, or of the composition that it is with a controller in it."""
        return self.node.builder()

    def count(self, own: int | Fraction) -> Fraction:
        """The clock's count at one of the node's own."""
        return self.start + own * self.pace

    def path_of(self, *names: str) -> str:
        """The path of the first parameter of these names that the plan writes; the node's own where it writes none."""
        written = (self.recipe or self.node).parameters()
        found = next((name for name in names if name.partition("[")[0] in written), "")
        return join_path(self.path, found)

    def in_force_until(self) -> Fraction | None:
        """The clock's count from which it is not in force any more, or None."""
        ends = [end for clock, _, end in self.spans if clock == self.clock and end is not None]
        return min(ends, default=None)


def places(node: Node, path: str, clock: Unit | str) -> Iterator[Place]:
    """Every node of a resolved tree, from left to right, the root first."""
    yield from _places(Place(node, path, str(clock)))


def _places(place: Place) -> Iterator[Place]:
    yield place
    if isinstance(place.node, FromRecipe):
        yield from _places(replace(place, node=place.node.expanded, recipe=place.recipe or place.node))
        return
    for where, (name, child) in enumerate(_children(place.node)):
        path = place.path if place.recipe else join_path(place.path, name)
        yield from _places(_below(place, replace(place, node=child, path=path), where))


def _children(node: Node) -> Iterator[tuple[str, Node]]:
    for name, value in node.parameters().items():
        for where, one in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(one, Node):
                yield (f"{name}[{where}]" if isinstance(value, tuple) else name), one


def _below(place: Place, child: Place, where: int) -> Place:
    """The frame of the child number `where`: what compositions do to the count."""
    given = place.node.parameters()
    if place.kind is Sequence:
        starts = [0, *given["boundaries"], None]
        begin, end = starts[where], starts[where + 1]
        span = (place.clock, place.count(begin), None if end is None else place.count(end))
        return replace(child, start=place.count(begin), spans=(*place.spans, span))
    if place.kind is Shift:
        return replace(child, start=place.count(given["by"]))
    if place.kind is Advance:
        return replace(child, start=place.count(-given["by"]))
    if place.kind is Stretch:
        return replace(child, pace=place.pace * Fraction(given["factor"]))
    if place.kind is Repeat:
        span = (place.clock, place.count(0), place.count(given["every"]))
        return replace(child, spans=(*place.spans, span), period=place.period or given["every"] * place.pace)
    if place.kind is On and given["unit"] != place.clock:
        return replace(child, clock=str(given["unit"]), start=Fraction(0), pace=Fraction(1), period=None)
    return child


def is_leaf(place: Place) -> bool:
    """Whether nothing is below a node."""
    return not isinstance(place.node, FromRecipe) and not place.node.children()


def end_of(node: Node) -> int | None:
    """The own count from which a shape holds its last value, where it says one."""
    given = node.parameters()
    if isinstance(node, IntervalTable):
        return max(map(dict, node.intervals), key=lambda one: one["start"]).get("end")
    if isinstance(node, Staircase):
        return given["every"] * math.ceil((node.end_value - node.init_value) / node.increment)
    if periods.comes_back(node) and "duration" not in given:
        return periods.end_of(node)
    if isinstance(given.get("duration"), int):
        return given["duration"]
    points = [given[name][-1] for name, kind in kinds_of(node.builder()).items() if _is_points(kind)]
    return max(points, default=None)


def _is_points(kind: Any) -> bool:
    """Whether a parameter holds the points of a curve, from 0 on, rather than boundaries between values."""
    return isinstance(kind, ListOf) and isinstance(kind.item, CountKind) and kind.item.at_least == 0


def breaks(place: Place, until: int) -> Iterator[Fraction]:
    """The counts of its clock, up to `until`, at which a node begins, ends or turns a corner, as far as it says so."""
    own = sorted({0, *own_breaks(place, until)})
    last = place.in_force_until()
    until = until if last is None or place.period else min(until, int(last))
    for cycle in range(MOST_CYCLES if place.period else 1):
        ahead = cycle * (place.period or 0)
        if place.start + ahead > until:
            return
        yield from (at for one in own if 0 <= (at := place.count(one) + ahead) <= until)


def own_breaks(place: Place, until: int) -> Iterator[int]:
    """The same in the node's own counts, of its first cycle."""
    if isinstance(place.node, (FromRecipe, Controller)):
        return
    if periods.comes_back(place.node):
        yield from islice(periods.turns(place.node, (until - place.start) / place.pace), MOST_CYCLES)
        return
    for name, kind in kinds_of(place.kind).items():
        value = place.node.parameters()[name]
        if name == "intervals":
            yield from (interval[end] for interval in map(dict, value) for end in ("start", "end") if end in interval)
        elif isinstance(kind, ListOf) and isinstance(kind.item, CountKind):
            yield from value
        elif name == "every":
            yield from islice(range(value, int((until - place.start) / place.pace) + 1, value), MOST_CYCLES)
        elif isinstance(kind, CountKind) and isinstance(value, int) and name != "times":
            yield value


def change(part: Node, length: int) -> float:
    """By how much a part changes over its own length, at first levels; 0 where other clocks drive it."""
    tree = at_first_levels(part)
    return 0.0 if tree.clocks - {""} else tree(length) - tree(0)
