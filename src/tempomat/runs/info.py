"""`run.json`: what a run is, and the sessions in which it was recorded.

    {"format": 1, "run": "9f...", "seed": 0,
     "sessions": [{"started": "2026-01-31T12:00:00Z", "offset": 0, "plan": "plan.yaml", "fingerprint": "3a...",
                   "versions": {"python": "3.11.9", ...}, "platform": "Linux-...", "notes": null,
                   "ended": "2026-01-31T13:00:00Z", "size": 123456, "crc32": 305419896}],
     "checksum": "b1..."}

The first session starts a run, every later one resumes it at its `offset`. `ended`, `size` and `crc32` are there once
the recorder was closed; a session without them was broken off.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from tempomat.core import Node, PlanError, RecordError
from tempomat.plan import Plan, load_plan
from tempomat.plan.atomic import write_atomically

FORMAT = 1
"""The version of a run folder's layout."""
RECORD, INFO = "record.jsonl", "run.json"
_LIBRARIES = ("tempomat", "numpy", "torch", "jax")
_MAX_BYTES = 16_000_000

Info = dict[str, Any]


def new_info(seed: int | None) -> Info:
    """A run without sessions yet."""
    return {"format": FORMAT, "run": uuid.uuid4().hex, "seed": seed, "sessions": []}


def new_session(plan: Plan, plan_file: str, offset: int, notes: Any) -> Info:
    """A session that starts now in this process. No framework is imported to ask for its version."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        if name in sys.modules:
            versions[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return {
        "started": now(),
        "offset": offset,
        "plan": plan_file,
        "fingerprint": plan.fingerprint,
        "versions": versions,
        "platform": platform.platform(),
        "notes": notes,
    }


def check_facts(seed: object, notes: object) -> None:
    """Refuse a seed that is no integer, and notes that are no plain data."""
    if seed is not None and type(seed) is not int:
        raise RecordError(f"seed must be an int or None, got {seed!r} ({type(seed).__name__})")
    try:
        json.dumps(notes, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"notes must be plain data, as JSON has it: {error}") from None


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_info(folder: Path, info: Info) -> None:
    """Put `run.json` in the folder, atomically.

    Raises:
        RecordError: it cannot be written; the one before is untouched.
    """
    text = json.dumps({**info, "checksum": _checksum(info)}, indent=1) + "\n"
    try:
        write_atomically(folder / INFO, text.encode())
    except OSError as error:
        raise RecordError(f"{folder / INFO}: cannot be written: {error.strerror}") from error


def read_info(folder: Path) -> Info:
    """What `run.json` says, checked.

    Raises:
        RecordError: there is none, or it is damaged, or of a later format.
    """
    path = folder / INFO
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_dir():
            raise RecordError(f"{folder}: holds no run (no {INFO})") from None
        raise RecordError(f"{folder}: {'is no folder' if folder.exists() else 'does not exist'}") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        info: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise RecordError(f"{path}: is damaged: no JSON") from None
    if not isinstance(info, dict):
        raise RecordError(f"{path}: is damaged: no mapping")
    found = cast(Info, info)
    version = found.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise RecordError(
            f"{path}: has format {version}; this version of Tempomat reads up to {FORMAT}. Update Tempomat"
        )
    if found.pop("checksum", None) != _checksum(found) or version != FORMAT or not found["sessions"]:
        raise RecordError(f"{path}: was changed or damaged since it was written: its checksum does not match")
    return found


def read_plan(folder: Path, session: Info, own: Iterable[type[Node]] = ()) -> Plan:
    """The plan of a session, which must be the one that was recorded; it may name the user's own classes given.

    Raises:
        RecordError: the file is missing, damaged, or another plan by now.
    """
    path = folder / Path(session["plan"]).name
    try:
        plan = load_plan(path, own=own)
    except PlanError as error:
        raise RecordError(f"the plan of the run cannot be read: {error}") from error
    if plan.fingerprint != session["fingerprint"]:
        raise RecordError(
            f"{path}: is not the plan that was recorded: its fingerprint is {plan.fingerprint[:12]}, the run's "
            f"{session['fingerprint'][:12]}. Put the file back as it was"
        )
    return plan


def _checksum(info: Info) -> str:
    return hashlib.sha256(json.dumps(info, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
