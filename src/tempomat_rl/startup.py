"""What a run says before it begins: the schedules as they will be applied, and what the linter finds in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import tempomat as tm
from tempomat.analysis.lint import Finding
from tempomat_rl.curriculum import METRIC
from tempomat_rl.schedules import NETWORKS, config_path
from tempomat_rl.settings import Config

Thing = TypeVar("Thing")
_MOST_ROWS = 8


def findings(config: Config) -> tuple[Finding, ...]:
    """What the linter finds in the run's plan."""
    staged = config.curriculum is not None
    advances = {"env_steps", "frames", *(["stage"] if staged else [])}
    return tm.lint(config.plan, groups=NETWORKS, metrics=[METRIC] if staged else [], advances=advances)


def lines(config: Config) -> list[str]:
    """The table of learning rates and noise over the run, every finding and every note; what is the same for several
    networks once.
    """
    total = config.total_env_steps
    scaled = f", scaled by {config.lr / config.base_lr:g}" if config.lr != config.base_lr else ""
    last = None if config.curriculum is None else config.curriculum.last
    tables = {name: tuple(_rows(config.plan[f"{name}.lr"], total, last)) for name in NETWORKS}
    tables["noise"] = tuple(_rows(config.plan["noise"], total, last))
    text = [f"lr_schedule {config.preset}{scaled}, over {_grouped(total)} env steps:"]
    for rows, names in _together((rows, name) for name, rows in tables.items()):
        shown = rows if len(rows) <= _MOST_ROWS else (*rows[: _MOST_ROWS - 2], "...", rows[-1])
        text += [f"  {', '.join(names)}", *(f"    {row}" for row in shown)]
    for worded, places in _together((_worded(one), config_path(one.path)) for one in findings(config)):
        text.append(f"  {worded} [{', '.join(places)}]")
    return [*text, *(f"  note: {note}" for note in config.notes)]


def _together(pairs: Iterable[tuple[Thing, str]]) -> Iterator[tuple[Thing, list[str]]]:
    """Each thing once, with everybody whose it is."""
    found: dict[Thing, list[str]] = {}
    for thing, owner in pairs:
        found.setdefault(thing, []).append(owner)
    yield from found.items()


def _worded(finding: Finding) -> str:
    return f"{finding.severity} {finding.code}: {finding.message}"


def _rows(node: tm.Node, total: int, last_stage: int | None) -> Iterator[str]:
    """From where on which value, up to the end of the run."""
    unit, end = "env step", total
    if isinstance(node, tm.On):
        unit, node, end = str(node.unit), node.schedule, 0 if last_stage is None else last_stage + 1
    if not isinstance(node, tm.Schedule) or node.clocks - {""}:
        yield "follows more than one count"
        return
    starts = _starts(node)
    for start, later in zip(starts, [*starts[1:], end], strict=True):
        first, last = node(start), node(max(start, min(later, end) - 1))
        changes = f" to {last:.3g}" if last != first else ""
        yield f"from {unit} {_grouped(start)}: {first:.3g}{changes}{'' if start < end else ' (never reached)'}"


def _starts(node: tm.Schedule) -> list[int]:
    if isinstance(node, tm.IntervalTable):
        return sorted(dict(one)["start"] for one in node.intervals)
    return [0]


def _grouped(count: int) -> str:
    return f"{count:,}"
