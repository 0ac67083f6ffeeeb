"""Saved states: plain data with a format version, the plan and its fingerprint, counts, controller states and a
checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from tempomat.core import Controller, Fault, PlanError, StateError, Unit
from tempomat.core.controllers import State
from tempomat.core.errors import did_you_mean, list_faults
from tempomat.core.numbers import MAX_COUNT
from tempomat.plan import Plan, diff_data, fingerprint_of, own_types_in, to_data
from tempomat.runtime.engine import Engine

FORMAT = 1
"""The version of the state's layout."""

OnChange = Literal["refuse", "keep", "replace", "stretch"]
"""What a changed plan does on load: an error; the saved plan goes on; the new plan from the same count; the new plan
from the same share of its total.
"""

_KEYS = ("format", "plan", "fingerprint", "counts", "controllers", "pending", "record_offset", "checksum")


def save_state(engine: Engine, *, pending: int = 0, record_offset: int | None = None) -> dict[str, Any]:
    """The engine's state as plain data: what `torch.load(weights_only=True)`, JSON and YAML carry.

    `pending` says how many updates the optimizer has made that the clock has not counted yet.

    Raises:
        StateError: a schedule of the plan is a function, whose change from one run to the next nobody could see.
    """
    state: dict[str, Any] = {
        "format": FORMAT,
        "plan": _data(engine.plan),
        "fingerprint": engine.plan.fingerprint,
        "counts": dict(engine.counts),
        "controllers": {
            name: [_plain(one) for one in track.states] for name, track in engine.tracks.items() if track.states
        },
        "pending": pending,
        "record_offset": record_offset,
    }
    return {**state, "checksum": checksum(state)}


def _plain(state: State) -> dict[str, Any]:
    """A controller's state with lists for its tuples, which JSON and YAML have not."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in state.items()}


def checksum(state: Mapping[str, Any]) -> str:
    """The SHA-256 of everything else in a state."""
    body = {key: value for key, value in state.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_state(engine: Engine, state: object, on_change: OnChange = "refuse") -> Engine:
    """An engine that goes on from a saved state: under the engine's own plan, or, with `keep`, under the saved one.

    The engine given is untouched; targets have to be bound anew.

    Raises:
        StateError: the state is damaged, incomplete or of another format; or its plan differs and `on_change` is
            `refuse`.
    """
    good = check_state(state)
    if on_change not in ("refuse", "keep", "replace", "stretch"):
        raise StateError(f"on_change must be refuse, keep, replace or stretch, got {on_change!r}")
    saved = good["plan"]
    changes = [str(change) for change in diff_data(saved, _data(engine.plan))]
    if changes and on_change == "refuse":
        listed = "\n".join(f"  {change}" for change in changes)
        raise StateError(
            f"the plan has changed since the state was saved (saved -> now):\n{listed}\n"
            "Say how to go on: on_change='keep' (the saved plan), 'replace' (the new plan at the same count) "
            "or 'stretch' (the new plan at the same share of its total)"
        )
    plan = _rebuilt(saved, engine.plan) if changes and on_change == "keep" else engine.plan
    if saved["clock"] != str(plan.clock):
        raise StateError(
            f"the saved plan counts {saved['clock']}, this one {plan.clock}; only on_change='keep' goes on from there"
        )
    loaded = Engine(plan)
    stretched = changes and on_change == "stretch"
    _restore_counts(loaded, _stretched(good["counts"], saved, plan) if stretched else good["counts"])
    _restore_controllers(loaded, saved, good["controllers"], strict=not changes or on_change == "keep")
    loaded.events = list(engine.events)
    if changes:
        counts = {"saved_counts": good["counts"], "counts": dict(loaded.counts)}
        loaded.events.append({"event": "resume", "choice": on_change, "changes": changes, **counts})
    return loaded


def check_state(state: object) -> dict[str, Any]:
    """A state whose every part is what it should be; anything else is refused, with the keys and the format."""
    if not isinstance(state, Mapping):
        raise StateError(f"a state is a mapping with {', '.join(_KEYS)}, got {type(state).__name__}")
    given = dict(cast(Mapping[str, Any], state))
    version = given.get("format")
    if type(version) is int and version > FORMAT:
        raise StateError(f"the state has format {version}; this version of Tempomat reads {FORMAT}. Update Tempomat")
    missing, unknown = [key for key in _KEYS if key not in given], [str(key) for key in given if key not in _KEYS]
    words = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
    if words:
        near = "".join(did_you_mean(key, missing) for key in unknown)
        raise StateError(f"the state {' and '.join(words)}.{near} A state of format {FORMAT} has {', '.join(_KEYS)}")
    if type(version) is not int or version != FORMAT:
        raise StateError(f"the state has format {version!r}; this version of Tempomat reads {FORMAT}")
    try:
        intact = checksum(given) == given["checksum"]
    except (TypeError, ValueError, RecursionError):
        intact = False
    if not intact:
        raise StateError(
            "the state does not match its checksum: something in it was changed or damaged. Load the one before it"
        )
    faults = list(_faults(given))
    if faults:
        raise StateError(list_faults(f"the state (format {FORMAT})", faults), faults)
    return given


def _faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with a state that its checksum does not show: somebody else wrote it."""
    for key in ("plan", "counts", "controllers"):
        if not isinstance(given[key], Mapping):
            yield Fault(key, f"must be a mapping, got {type(given[key]).__name__}")
            return
    if fingerprint_of(given["plan"]) != given["fingerprint"] or "clock" not in given["plan"]:
        yield Fault("fingerprint", "does not match the plan; the state was put together from two")
    for key in ("pending", "record_offset"):
        if not (_is_count(given[key]) or (key == "record_offset" and given[key] is None)):
            yield Fault(key, f"must be a count, got {given[key]!r}")
    for unit, count in given["counts"].items():
        if unit not in tuple(Unit) or not _is_count(count):
            yield Fault(f"counts.{unit}", f"must be a count of a known unit, got {count!r}")
    if given["plan"].get("clock") not in given["counts"]:
        yield Fault("counts", f"lacks the plan's clock, {given['plan'].get('clock')}")
    for name, states in given["controllers"].items():
        if not isinstance(states, list) or not all(isinstance(one, Mapping) for one in cast(list[Any], states)):
            yield Fault(f"controllers.{name}", "must be a list of states")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _data(plan: Plan) -> dict[str, Any]:
    try:
        return plan.to_data(full=True)
    except PlanError as error:
        raise StateError(f"the plan has no state that could be saved or loaded. {error}", error.faults) from None


def _rebuilt(saved: Mapping[str, Any], now: Plan) -> Plan:
    """The saved plan; it may name what stands in the present one of the user's own classes."""
    try:
        return Plan.from_data(saved, source="the saved plan", own=own_types_in(now.schedules.values()))
    except PlanError as error:
        raise StateError(f"on_change='keep': the saved plan cannot be rebuilt. {error}") from None


def _stretched(counts: Mapping[str, int], saved: Mapping[str, Any], new: Plan) -> dict[str, int]:
    before, now = saved.get("total"), new.total
    if not isinstance(before, int) or not isinstance(now, int):
        raise StateError("on_change='stretch' needs the total of both plans; use 'replace' to go on at the same count")
    # the nearest count to the same share, in whole numbers: a float would lose counts beyond 2^53
    return {
        unit: count if unit == Unit.STAGE else (2 * count * now + before) // (2 * before)  # a stage is no length
        for unit, count in counts.items()
    }


def _restore_counts(engine: Engine, counts: Mapping[str, int]) -> None:
    missing = [unit for unit in engine.counts if unit not in counts]
    if missing:
        raise StateError(f"the state has no count of {', '.join(missing)}, which the plan follows")
    engine.counts.update(counts)


def _restore_controllers(
    engine: Engine, saved: Mapping[str, Any], controllers: Mapping[str, list[State]], *, strict: bool
) -> None:
    """Give each controller its state; under a changed plan, those that stand where one of their kind stood."""
    unknown = [name for name in controllers if name not in engine.tracks]
    if strict and unknown:
        raise StateError(f"the state has controllers of {', '.join(unknown)}, which the plan has not")
    for name, track in engine.tracks.items():
        states, rules = controllers.get(name, []), track.tree.controllers
        if strict and len(states) != len(rules):
            raise StateError(
                f"the state has {len(states)} controller states for {name}, the plan has {len(rules)} controllers"
            )
        same = strict or _rules(saved["schedules"].get(name)) == [_rule(one) for one in rules]
        if same and _check_all(name, rules, states) and (strict or all(map(_accepts, rules, states))):
            track.states = [
                {key: tuple(value) if isinstance(value, list) else value for key, value in state.items()}
                for state in states
            ]
            track.schedule = track.under(track.states)


def _accepts(rule: Controller, state: State) -> bool:
    return rule.accepts(state)


def _check_all(name: str, rules: Sequence[Controller], states: Sequence[State]) -> bool:
    for place, (rule, state) in enumerate(zip(rules, states, strict=True)):
        try:
            rule.check(state)
        except StateError as error:
            raise StateError(f"controllers.{name}[{place}]: {error} (format {FORMAT})") from None
    return True


def _rule(controller: Controller) -> tuple[Any, ...]:
    """What makes two controllers take each other's states: kind, metric, and whether the level is a factor."""
    data = cast(dict[str, Any], to_data(controller, full=True))
    return data["type"], controller.metric, data.get("init_value") is None


def _rules(data: Any) -> list[tuple[Any, ...]]:
    """The same of the controllers in plain data, from left to right."""
    if isinstance(data, Mapping):
        node = cast(Mapping[str, Any], data)
        if "metric" in node:
            return [(node["type"], node["metric"], node.get("init_value") is None)]
        return [rule for value in node.values() for rule in _rules(value)]
    return [rule for value in cast(list[Any], data) for rule in _rules(value)] if isinstance(data, list) else []
