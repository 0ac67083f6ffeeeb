"""The report: Markdown to read, JSON for programs, and the machine that both come from."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measuring import Check, Table

LIBRARIES = ("tempomat", "numpy", "torch", "optax", "jax", "pytorch-ignite", "transformers", "timm", "fvcore")
SCALE = {"us": 1e6, "ms": 1e3}
ONE_CORE = "pinned to one core. They take turns; the processor time of each one's fastest call counts"


def machine(libraries: Sequence[str] = LIBRARIES) -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load before": load,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in libraries},
    }


def as_markdown(
    figures: Mapping[str, Sequence[Table]],
    where: Mapping[str, Any],
    command: str,
    *,
    title: str = "Benchmarks",
    how: str = ONE_CORE,
) -> str:
    """The whole report."""
    lines = [f"# {title}", "", f"`{command}`, {how}.", ""]
    lines += [", ".join(f"{name} {value}" for name, value in where.items() if value is not None) + ".", ""]
    for tables in figures.values():
        for table in tables:
            lines += [f"## {table.title}", "", *_rows(table), ""]
            lines += [f"- {note}" for note in table.notes] + [""] * bool(table.notes)
            lines += [f"- {_told(one)}" for one in table.checks] + [""] * bool(table.checks)
    checks = [one for tables in figures.values() for table in tables for one in table.checks]
    lines.append(f"{sum(one.passed for one in checks)} of {len(checks)} targets reached.")
    return "\n".join(lines) + "\n"


def as_json(figures: Mapping[str, Sequence[Table]], where: Mapping[str, Any], command: str) -> str:
    """The same as data; times in seconds."""
    told = {
        name: [
            asdict(table) | {"checks": [asdict(one) | {"passed": one.passed} for one in table.checks]}
            for table in tables
        ]
        for name, tables in figures.items()
    }
    return json.dumps({"command": command, "machine": dict(where), "figures": told}, indent=1) + "\n"


def replace(path: Path, text: str) -> None:
    """Written beside and put in place at once, so that a run that is broken off leaves the last result."""
    beside = path.with_name(path.name + ".part")
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _told(check: Check) -> str:
    side = "at least" if check.at_least else "at most"
    told = (
        f"**{'PASS' if check.passed else 'FAIL'}** {check.text}: {_measured(check, check.got)}, {side} {check.limit:g}"
    )
    if check.peer_got is None:
        return told
    return f"{told}; {check.peer}: {_measured(check, check.peer_got)}, ratio {check.got / check.peer_got:.2f}"


def _measured(check: Check, value: float) -> str:
    """Two decimals, unless they would say nothing, or too much."""
    shown = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:.2f}"
    return f"{shown} {check.unit}".rstrip()


def _rows(table: Table) -> list[str]:
    head = [f"{table.unit} (times {table.base})" if table.base else table.unit, *table.columns]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in table.rows:
        name = f"**{row}**" if table.roles[row] == "ours" else row
        lines.append("| " + " | ".join([name, *(_cell(table, row, column) for column in table.columns)]) + " |")
    return lines


def _cell(table: Table, row: str, column: str) -> str:
    if column not in table.rows[row]:
        return "-"
    shown = f"{table.rows[row][column] * SCALE[table.unit]:.3g}"
    return shown if table.base in ("", row) else f"{shown} ({table.ratio(row, column):.2f})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
