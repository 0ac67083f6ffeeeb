"""Saved states: plain data with a format version, the plan and its fingerprint, counts, controller states and a
checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from tempomat.core import StateError, Unit
from tempomat.core.controllers import State
from tempomat.core.errors import did_you_mean
from tempomat.core.numbers import as_count
from tempomat.plan import Plan, diff
from tempomat.runtime.engine import Engine

FORMAT = 1
"""The version of the state's layout."""

OnChange = Literal["refuse", "keep", "replace", "stretch"]
"""What a changed plan does on load: an error; the saved plan goes on; the new plan from the same count; the new plan
from the same share of its total.
"""

_KEYS = ("format", "plan", "fingerprint", "counts", "controllers", "record_offset", "checksum")


def save_state(engine: Engine, record_offset: int | None) -> dict[str, Any]:
    """The engine's state as plain data: what `torch.load(weights_only=True)`, JSON and YAML carry."""
    state: dict[str, Any] = {
        "format": FORMAT,
        "plan": engine.plan.to_data(full=True),
        "fingerprint": engine.plan.fingerprint,
        "counts": dict(engine.counts),
        "controllers": {
            name: [dict(one) for one in track.states] for name, track in engine.tracks.items() if track.states
        },
        "record_offset": record_offset,
    }
    return {**state, "checksum": checksum(state)}


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
    good = _checked(state)
    if on_change not in ("refuse", "keep", "replace", "stretch"):
        raise StateError(f"on_change must be refuse, keep, replace or stretch, got {on_change!r}")
    saved = Plan.from_data(good["plan"], source="the saved plan")
    if saved.fingerprint != good["fingerprint"]:
        raise StateError(
            "the saved plan does not match its fingerprint; the state is damaged or was put together from two"
        )
    changes = diff(saved, engine.plan)
    if changes and on_change == "refuse":
        listed = "\n".join(f"  {change}" for change in changes)
        raise StateError(
            f"the plan has changed since the state was saved (saved -> now):\n{listed}\nSay how to go on: "
            "on_change='keep' (the saved plan), "
            "'replace' (the new plan at the same count) or 'stretch' (the new plan at the same share of its total)"
        )
    loaded = Engine(saved if on_change == "keep" else engine.plan)
    counts = cast(dict[str, int], good["counts"])
    loaded.counts.update(_stretched(counts, saved, engine.plan) if changes and on_change == "stretch" else counts)
    _restore(loaded, saved, good["controllers"], strict=not changes or on_change == "keep")
    if changes:
        listed = [str(change) for change in changes]
        loaded.events.append(
            {
                "event": "resume",
                "choice": on_change,
                "changes": listed,
                "counts": dict(loaded.counts),
                "saved_counts": counts,
            }
        )
    return loaded


def _checked(state: object) -> dict[str, Any]:
    if not isinstance(state, Mapping):
        raise StateError(f"a state is a mapping with {', '.join(_KEYS)}, got {type(state).__name__}")
    given = dict(cast(Mapping[str, Any], state))
    version = given.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise StateError(
            f"the state has format {version}; this version of Tempomat reads up to {FORMAT}. Update Tempomat"
        )
    missing, unknown = [key for key in _KEYS if key not in given], [key for key in given if key not in _KEYS]
    if missing or unknown:
        near = "".join(did_you_mean(str(key), _KEYS) for key in unknown[:1])
        words = [f"lacks {', '.join(missing)}"] * bool(missing) + [
            f"has unknown {', '.join(map(str, unknown))}.{near}"
        ] * bool(unknown)
        raise StateError(f"the state {' and '.join(words)}. A state of format {FORMAT} has {', '.join(_KEYS)}")
    if version != FORMAT:
        raise StateError(f"the state has format {version!r}; this version of Tempomat reads {FORMAT}")
    try:
        intact = checksum(given) == given["checksum"]
    except (TypeError, ValueError):
        intact = False
    if not intact:
        raise StateError(
            "the state does not match its checksum: something in it was changed or damaged. "
            "Load the checkpoint before it"
        )
    for unit, count in given["counts"].items():
        if unit not in tuple(Unit):
            raise StateError(f"the state counts {unit!r}, which is no unit")
        as_count(count)
    return given


def _stretched(counts: dict[str, int], saved: Plan, new: Plan) -> dict[str, int]:
    if not isinstance(saved.total, int) or not isinstance(new.total, int):
        raise StateError("on_change='stretch' needs the total of both plans; use 'replace' to go on at the same count")
    # the nearest count to the same share, in whole numbers: a float would lose counts beyond 2^53
    return {unit: (2 * count * new.total + saved.total) // (2 * saved.total) for unit, count in counts.items()}


def _restore(engine: Engine, saved: Plan, controllers: Mapping[str, list[State]], *, strict: bool) -> None:
    """Give each controller its state; under a changed plan, those that stand where one of their kind stood."""
    for name, track in engine.tracks.items():
        states, rules = controllers.get(name, []), track.tree.controllers
        before = saved.schedules[name].controllers if name in saved.schedules else ()
        if strict and len(states) != len(rules):
            raise StateError(
                f"the state has {len(states)} controller states for {name}, the plan has {len(rules)} controllers"
            )
        for place, (rule, old, state) in enumerate(zip(rules, before, states, strict=False)):
            if type(rule) is type(old) and rule.metric == old.metric and set(state) == set(rule.initial()):
                track.states[place] = dict(state)
            elif strict:
                raise StateError(
                    f"the state of controller {place} of {name} has {', '.join(state)}, and needs "
                    f"{', '.join(rule.initial())}"
                )
        track.settle()
