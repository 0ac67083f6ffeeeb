"""Finished runs, a file each, with the settings they were made with: what is there is not done again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import writing


def read(folder: Path, name: str, settings: Mapping[str, Any], named: str) -> dict[str, Any] | None:
    """How a run ended; None if it has not.

    Raises:
        SystemExit: it was made with other settings, which the message calls as `named`.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != json.loads(json.dumps(settings)):
        raise SystemExit(f"{path}: was made with other {named}. Remove {folder} first")
    return found


def write(folder: Path, name: str, settings: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep how a run ended; returns what `read` will."""
    text = json.dumps({"settings": settings, **found}) + "\n"
    writing.replace(folder / f"{name}.json", text)
    return json.loads(text)
