"""Schedules to plain data and back. What a `type` may be follows from what `tempomat.core` exports; nothing is
imported by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

from tempomat import core
from tempomat.core import Constant, Controller, Duration, Fault, IntervalTable, Node, Schedule, ScheduleError
from tempomat.core.errors import did_you_mean, shown
from tempomat.core.fields import Kind, ListOf, NodeKind, defaults_of, kinds_of
from tempomat.core.intervals import RULES
from tempomat.core.numbers import as_float

MAX_DEPTH = 32
"""How deep a tree may be."""

Builder = Callable[..., Node]


@cache
def registry() -> dict[str, tuple[Builder, ...]]:
    """The builders of each `type`: classes and recipes under their own names in snake case."""
    found: dict[str, tuple[Builder, ...]] = {}
    for name in core.__all__:
        one: Any = getattr(core, name)
        concrete = (
            isinstance(one, type)
            and issubclass(one, (Schedule, Controller))
            and not getattr(one, "__abstractmethods__", True)
        )
        if (concrete and one is not IntervalTable) or hasattr(cast(object, one), "__wrapped__"):
            key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
            found[key] = (*found.get(key, ()), one)
    return found


@cache
def type_names() -> dict[Any, str]:
    """The `type` of each builder; the longest where a recipe has a short name too."""
    return {one: name for name in sorted(registry(), key=len) for one in registry()[name]}


def type_of(node: Node) -> str:
    """The `type` under which a plan names a node."""
    if isinstance(node, IntervalTable):
        return node.rule
    if node.builder() not in type_names():
        raise ScheduleError(
            f"{type(node).__name__} is a schedule of your own, which a file cannot name. "
            "Keep the plan in Python, or compose it of known ones"
        )
    return type_names()[node.builder()]


def to_data(node: Node, *, full: bool = False) -> Any:
    """Plain data that reads back as the same node; with `full` also what equals its default, as fingerprints need."""
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, IntervalTable):
        return {
            "type": node.rule,
            "intervals": [{key: _plain(value, full) for key, value in one} for one in node.intervals],
        }
    defaults = {} if full else defaults_of(node.builder())
    kept = {name: value for name, value in node.parameters().items() if name not in defaults or value != defaults[name]}
    name = type_of(node) if not full or node.builder() in type_names() else _own_name(node)
    return {"type": name, **{key: _plain(value, full) for key, value in kept.items()}}


def _own_name(node: Node) -> str:
    """A name for a schedule of the user's own, for fingerprints and comparisons; nothing is built from it."""
    return f"{type(node).__module__}.{type(node).__qualname__}"


def _plain(value: Any, full: bool) -> Any:
    if isinstance(value, Node):
        return to_data(value, full=full)
    if isinstance(value, tuple):
        return [_plain(one, full) for one in cast(tuple[Any, ...], value)]
    return str(value) if isinstance(value, (Duration, str)) else value


def build(data: object, path: str, faults: list[Fault], depth: int = 0) -> Node:
    """The node that plain data describes. Faults go to the list, each with its path; a constant stands in for what
    has any.
    """
    stand_in = Constant(value=0.0)
    if isinstance(data, Node):
        if depth + _depth(data) > MAX_DEPTH:
            faults.append(Fault(path, f"is more than {MAX_DEPTH} levels deep"))
        return data
    if not isinstance(data, Mapping):
        try:
            return Constant(value=as_float(data))
        except ValueError:
            faults.append(
                Fault(path, f"must be a number or a schedule such as {{type: cosine, ...}}, got {shown(data)}")
            )
            return stand_in
    if depth >= MAX_DEPTH:
        faults.append(Fault(path, f"is more than {MAX_DEPTH} levels deep"))
        return stand_in
    given = dict(cast(Mapping[object, object], data))
    name = given.pop("type", None)
    if not isinstance(name, str) or name not in {*registry(), *RULES}:
        faults.append(_unknown_type(name, path, missing="type" not in data))
        return stand_in
    before = len(faults)
    if name in RULES and ("intervals" in given or name not in registry()):
        given["rule"], builder = name, IntervalTable
    else:
        builder = _choose(registry()[name], given)
    values = _values(builder, name, given, path, faults, depth)
    if len(faults) > before:
        return stand_in
    try:
        return builder(**values)
    except ScheduleError as error:
        faults += [fault.under(path) for fault in error.faults]
        return stand_in


def _depth(node: Node) -> int:
    """How deep a tree is, counted level by level: a tree too deep for a plan may be too deep for recursion."""
    depth, level = 0, [node]
    while level and depth <= MAX_DEPTH:
        depth, level = depth + 1, [child for one in level for child in one.children()]
    return depth


def _unknown_type(name: object, path: str, *, missing: bool) -> Fault:
    types = sorted({*registry(), *RULES})
    if missing:
        return Fault(path, f"has no `type`. Types: {', '.join(types)}")
    return Fault(
        f"{path}.type",
        f"no schedule of the name {shown(name)}.{did_you_mean(str(name), types)} Types: {', '.join(types)}",
    )


def _choose(builders: tuple[Builder, ...], given: Mapping[object, object]) -> Builder:
    """Where two builders share a name: the one whose parameters are written, the first where neither fits better."""
    return min(
        builders,
        key=lambda one: len(given.keys() ^ (given.keys() & kinds_of(one).keys())) + len(_required(one) - given.keys()),
    )


def _required(builder: Builder) -> set[Any]:
    return set(kinds_of(builder)) - set(defaults_of(builder))


def _values(
    builder: Builder, name: str, given: Mapping[object, object], path: str, faults: list[Fault], depth: int
) -> dict[str, Any]:
    kinds = kinds_of(builder)
    shown = [key for key in kinds if key != "rule"]
    required = [key for key in shown if key in _required(builder)]
    for key in (one for one in given if one not in kinds):
        wrong = f"{name} has no parameter of that name.{did_you_mean(str(key), shown)}"
        faults.append(Fault(f"{path}.{key}", f"{wrong} Parameters: {', '.join(shown)}"))
    missing = [key for key in required if key not in given]
    faults += [Fault(f"{path}.{key}", f"is missing; {name} needs {', '.join(required)}") for key in missing]
    values: dict[str, Any] = {}
    for key, kind in kinds.items():
        if key in given:
            where = f"{path}.{key}"
            before = len(faults)
            values[key] = _child(kind, given[key], where, faults, depth)
            if len(faults) == before:
                faults += [fault.under(where) for fault in kind.faults(values[key])]
    return values


def _child(kind: Kind, value: Any, path: str, faults: list[Fault], depth: int) -> Any:
    """A parameter's value, with the nodes in it built."""
    if isinstance(kind, NodeKind):
        return build(value, path, faults, depth + 1)
    if isinstance(kind, ListOf) and isinstance(kind.item, NodeKind) and isinstance(value, (list, tuple)):
        return [build(one, f"{path}[{place}]", faults, depth + 1) for place, one in enumerate(cast(list[Any], value))]
    return value
