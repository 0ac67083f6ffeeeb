"""Schedules to plain data and back. What a `type` may be follows from what `tempomat.core` exports, and from what the
caller allows of their own; nothing is imported by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from tempomat import core
from tempomat.core import (
    Constant,
    Controller,
    Duration,
    Fault,
    IntervalTable,
    Node,
    PlanError,
    Schedule,
    ScheduleError,
)
from tempomat.core.errors import did_you_mean, list_faults, shown
from tempomat.core.fields import Kind, ListOf, NodeKind, defaults_of, kinds_of
from tempomat.core.functions import FromFunction
from tempomat.core.intervals import RULES
from tempomat.core.numbers import as_float

MAX_DEPTH = 32
"""How deep a tree may be."""

ADDED: Mapping[str, frozenset[str]] = {
    "auto_clip": frozenset({"tolerance"}),
    "cosine": frozenset({"power", "k_decay"}),
    "polynomial": frozenset({"k_decay"}),
    "one_cycle": frozenset({"three_phase"}),
    **dict.fromkeys(("warmup_constant", "warmup_cosine", "warmup_linear"), frozenset({"warmup_shape"})),
    "warmup_stable_decay": frozenset({"decay_ratio", "warmup_shape"}),
}
"""Parameters that a type got after plans were fingerprinted without them. At their defaults they stay out, so that
states and records from before are still those of the same plan.
"""

Builder = Callable[..., Node]
Own = Mapping[str, type[Node]]
"""Classes of the user's own by the names that plans give them."""
NO_OWN: Own = MappingProxyType({})


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
            key = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
            found[key] = (*found.get(key, ()), one)
    return found


@cache
def type_names() -> dict[Any, str]:
    """The `type` of each builder; the longest where a recipe has a short name too."""
    return {one: name for name in sorted(registry(), key=len) for one in registry()[name]}


def own_name(kind: type[Node]) -> str:
    """The name of a class of the user's own in plans; nothing is imported by it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def own_types(given: object) -> Own:
    """Classes of the user's own that a plan may name, by their names.

    Raises:
        PlanError: one is no class that a plan could build, or two share a name; all of them at once.
    """
    if isinstance(given, (str, bytes, type)) or not isinstance(given, Iterable):
        raise PlanError(f"own: must be a list of classes, `own=[MyShape]`, got {shown(given)}")
    found: dict[str, type[Node]] = {}
    faults: list[Fault] = []
    for place, one in enumerate(cast(Iterable[object], given)):
        wrong = _not_own(one)
        if not wrong and found.get(own_name(cast(type[Node], one)), one) is not one:
            wrong = f"another class has the name {own_name(cast(type[Node], one))}"
        if wrong:
            faults.append(Fault(f"own[{place}]", wrong))
        else:
            found[own_name(cast(type[Node], one))] = cast(type[Node], one)
    if faults:
        raise PlanError(list_faults("Plan", faults), faults)
    return found


def own_types_in(nodes: Iterable[Node]) -> tuple[type[Node], ...]:
    """The classes of the user's own in trees, such as are needed to read them back."""
    kinds = {one.builder(): None for node in nodes for one in node.walk()}
    return tuple(cast(type[Node], one) for one in kinds if isinstance(one, type) and not _not_own(one))


def _not_own(one: object) -> str:
    """Why something is no class of the user's own that a plan can hold; nothing where it is one."""
    if not (isinstance(one, type) and issubclass(one, (Schedule, Controller))):
        return f"must be a class of your own, a Schedule or a Controller, got {shown(cast(object, one))}"
    if one in type_names() or one.__module__.partition(".")[0] == "tempomat":
        return f"{one.__name__} comes with Tempomat, and needs no leave"
    if getattr(one, "__abstractmethods__", None):
        return f"{one.__name__} is abstract; it lacks {', '.join(sorted(one.__abstractmethods__))}"
    settings = one.__dict__.get("__dataclass_params__")
    if settings is None or not settings.frozen:
        return f"{one.__name__} must be a frozen dataclass; put `@dataclass(frozen=True, kw_only=True)` above it"
    try:
        kinds_of(one)
    except (TypeError, NameError) as error:
        return f"the parameters of {one.__name__} cannot be read: {error}"
    return ""


def type_of(node: Node, *, full: bool = False) -> str:
    """The `type` under which a plan names a node: of a class of the user's own, its module and name. With `full` a
    name to tell it by is enough, and nothing has to be read back.

    Raises:
        ScheduleError: it is a function, or a class that no plan could build.
    """
    if isinstance(node, IntervalTable):
        return node.rule
    if isinstance(node, FromFunction):
        raise ScheduleError(
            f"{node} is a function, which has no plain data: a plan with it cannot be saved, fingerprinted, recorded "
            "or resumed. Write it as a class of your own, `class MyShape(Schedule)`, or keep to known schedules"
        )
    kind: Any = node.builder()
    if kind in type_names():
        return type_names()[kind]
    wrong = "" if full else _not_own(kind)
    if wrong:
        raise ScheduleError(f"{kind.__name__} is a schedule of your own, which a file cannot name: {wrong}")
    return own_name(kind)


def to_data(node: Node, *, full: bool = False) -> Any:
    """Plain data that reads back as the same node; with `full` also what equals its default, as fingerprints need,
    but for parameters that were `ADDED`.
    """
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, IntervalTable):
        return {
            "type": node.rule,
            "intervals": [{key: _plain(value, full) for key, value in one} for one in node.intervals],
        }
    kind, defaults = type_of(node, full=full), defaults_of(node.builder())
    if full:
        defaults = {name: value for name, value in defaults.items() if name in ADDED.get(kind, ())}
    kept = {name: value for name, value in node.parameters().items() if name not in defaults or value != defaults[name]}
    return {"type": kind, **{key: _plain(value, full) for key, value in kept.items()}}


def _plain(value: Any, full: bool) -> Any:
    if isinstance(value, Node):
        return to_data(value, full=full)
    if isinstance(value, tuple):
        return [_plain(one, full) for one in cast(tuple[Any, ...], value)]
    return str(value) if isinstance(value, (Duration, str)) else value


def build(data: object, path: str, faults: list[Fault], own: Own = NO_OWN, depth: int = 0) -> Node:
    """The node that plain data describes. Faults go to the list, each with its path; a constant stands in for what
    has any. `own` holds the classes of the user's that it may name.
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
    if not isinstance(name, str) or name not in {*registry(), *RULES, *own}:
        faults.append(_unknown_type(name, path, own, missing="type" not in data))
        return stand_in
    before = len(faults)
    if name in RULES and ("intervals" in given or name not in registry()):
        given["rule"], builder = name, IntervalTable
    else:
        builder = own[name] if name in own else _choose(registry()[name], given)
    values = _values(builder, name, given, path, faults, own, depth)
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


def _unknown_type(name: object, path: str, own: Own, *, missing: bool) -> Fault:
    types = sorted({*registry(), *RULES, *own})
    if missing:
        return Fault(path, f"has no `type`. Types: {', '.join(types)}")
    wrong = f"no schedule of the name {shown(name)}.{did_you_mean(str(name), types)}"
    if isinstance(name, str) and "." in name:
        allowed = f" Allowed are {', '.join(own)}." if own else ""
        given = f"`load_plan(path, own=[{name.rpartition('.')[2][:60]}])`"
        wrong += f"{allowed} Nothing is imported because a plan names it; a class of your own you allow by {given}"
    else:
        wrong += f" Types: {', '.join(types)}"
    return Fault(f"{path}.type", wrong)


def _choose(builders: tuple[Builder, ...], given: Mapping[object, object]) -> Builder:
    """Where two builders share a name: the one whose parameters are written, the first where neither fits better."""
    return min(
        builders,
        key=lambda one: len(given.keys() ^ (given.keys() & kinds_of(one).keys())) + len(_required(one) - given.keys()),
    )


def _required(builder: Builder) -> set[Any]:
    return set(kinds_of(builder)) - set(defaults_of(builder))


def _values(
    builder: Builder, name: str, given: Mapping[object, object], path: str, faults: list[Fault], own: Own, depth: int
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
            values[key] = _child(kind, given[key], where, faults, own, depth)
            if len(faults) == before:
                faults += [fault.under(where) for fault in kind.faults(values[key])]
    return values


def _child(kind: Kind, value: Any, path: str, faults: list[Fault], own: Own, depth: int) -> Any:
    """A parameter's value, with the nodes in it built."""
    if isinstance(kind, NodeKind):
        return build(value, path, faults, own, depth + 1)
    if isinstance(kind, ListOf) and isinstance(kind.item, NodeKind) and isinstance(value, (list, tuple)):
        return [
            build(one, f"{path}[{place}]", faults, own, depth + 1) for place, one in enumerate(cast(list[Any], value))
        ]
    return value
