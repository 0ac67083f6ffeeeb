"""What differs between two plans, path by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, final

from tempomat.core.errors import join_path
from tempomat.plan.plan import Plan

ABSENT = "(absent)"


@final
@dataclass(frozen=True, slots=True)
class Change:
    """One path whose value differs."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


def diff(before: Plan, after: Plan) -> tuple[Change, ...]:
    """Every path at which two plans differ, in the order of the first.

    >>> a, b = Plan({"lr": 0.1}, total=10), Plan({"lr": 0.2}, total=10)
    >>> [str(change) for change in diff(a, b)]
    ['schedules.lr: 0.1 -> 0.2']
    """
    return diff_data(before.to_data(full=True), after.to_data(full=True))


def diff_data(before: Any, after: Any) -> tuple[Change, ...]:
    """Every path at which two plans' canonical data differ."""
    return tuple(_changes("", before, after))


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    one, two = _parts(before), _parts(after)
    if one is None or two is None or one.get("type") != two.get("type"):
        if before != after:
            yield Change(path, before, after)
        return
    for key in [*one, *(key for key in two if key not in one)]:
        yield from _changes(join_path(path, key), one.get(key, ABSENT), two.get(key, ABSENT))


def _parts(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return {str(key): one for key, one in cast(Mapping[Any, Any], value).items()}
    return {f"[{place}]": one for place, one in enumerate(cast(list[Any], value))} if isinstance(value, list) else None


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
