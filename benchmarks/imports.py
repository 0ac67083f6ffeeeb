"""What an import costs: fresh interpreters, less one that imports nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

from measuring import Check, Contender, Role, Stopwatch, Table

SECONDS = 60.0
OURS, FLOOR, BARE, COLUMN = "import tempomat", "import numpy", "a bare interpreter", "fresh interpreter"
PEERS = {"import optax": "optax", "import torch": "torch", "import ignite.handlers": "ignite"}
ALLOWED_MS = 40.0


def measure(watch: Stopwatch) -> list[Table]:
    """The fastest of several starts of each; the files are in the cache by then."""
    table = Table("Import", "ms", FLOOR, [COLUMN])
    watch.fill(table, contenders(), SECONDS)
    bare = table.rows.pop(BARE)[COLUMN]
    for cells in table.rows.values():
        cells[COLUMN] -= bare
    more = (table.rows[OURS][COLUMN] - table.rows[FLOOR][COLUMN]) * 1e3
    table.checks = [Check(f"{OURS}: beyond NumPy's own import", more, ALLOWED_MS, "ms")]
    table.notes = [f"A bare interpreter, {bare * 1e3:.0f} ms, is subtracted."]
    table.notes += [f"{row}: skipped, not installed." for row, package in PEERS.items() if not find_spec(package)]
    return [table]


def contenders() -> list[Contender]:
    """Everybody who is installed."""

    def one(row: str, role: Role, code: str) -> Contender:
        command = [sys.executable, "-c", code]
        return Contender(row, COLUMN, role, 1, lambda: lambda: subprocess.run(command, check=True, env=environment))

    # A package as pip installs it has its bytecode; the first start gives it to a source tree.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    peers = [one(row, "peer", row) for row, package in PEERS.items() if find_spec(package)]
    return [one(OURS, "ours", OURS), one(FLOOR, "floor", FLOOR), one(BARE, "extra", "pass"), *peers]
