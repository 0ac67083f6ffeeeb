"""Rows of a replay on disk: files that are written once, named by what they hold, and never changed.

A file is one `.npy` after another, a column each, in the columns' order by name.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import RecordError, StateError, shown
from tempomat.plan.atomic import sync_folder, write_atomically

MOST = 64 * 2**20
"""Bytes of one file at most, as far as whole rows allow: some copies of it are in memory while it is written."""

NAME = re.compile(r"rows-(\d{1,19})-(\d{1,19})-([0-9a-f]{16})\.npys")
Columns = Mapping[str, NDArray[Any]]


def write_segments(folder: Path, columns: Columns, begin: int, end: int) -> list[dict[str, Any]]:
    """Write rows `begin` to before `end`, counted since the run's beginning, of a ring.

    Returns:
        For each file its `name`, `begin`, `end` and `sha256`: plain data.

    Raises:
        RecordError: the disk is full or fails; nothing that was there before has changed.
    """
    rows = len(columns["first"])
    step = max(1, MOST * rows // max(1, sum(column.nbytes for column in columns.values())))
    try:
        make_folder(folder)
        return [
            _write_segment(folder, columns, start, min(start + step, end), rows) for start in range(begin, end, step)
        ]
    except OSError as error:
        raise RecordError(f"{folder}: the replay cannot be saved: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power loss, if it is not there."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def _write_segment(folder: Path, columns: Columns, begin: int, end: int, rows: int) -> dict[str, Any]:
    buffer, kept = io.BytesIO(), np.arange(begin, end) % rows
    for name in sorted(columns):
        np.save(buffer, columns[name][kept], allow_pickle=False)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    name = f"rows-{begin}-{end}-{digest[:16]}.npys"
    write_atomically(folder / name, content)
    return {"name": name, "begin": begin, "end": end, "sha256": digest}


def read_segment(folder: Path, segment: dict[str, Any], columns: Columns) -> None:
    """Put a file's rows where they belong in a ring that may be smaller than the one they came from.

    Raises:
        StateError: the file is missing, or is not what was written.
    """
    path, rows = folder / segment["name"], len(columns["first"])
    content = _verified(path, segment["sha256"])
    begin, end = segment["begin"], segment["end"]
    kept = np.arange(max(begin, end - rows), end)
    buffer = io.BytesIO(content)
    for name in sorted(columns):
        try:
            values = np.load(buffer, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise StateError(f"{path}: is no file of rows: {error}") from error
        expected = (end - begin, *columns[name].shape[1:])
        if values.shape != expected or values.dtype != columns[name].dtype:
            raise StateError(f"{path}: `{name}` must be {expected}, got {values.shape} of {values.dtype}.")
        columns[name][kept % rows] = values[kept - begin]


def _verified(path: Path, sha256: str) -> bytes:
    fix = "Put the right file back, take an older checkpoint, or begin with an empty replay."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}. {fix}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StateError(f"{path}: is damaged: it is not what was written. {fix}")
    return content


def checked_segments(state: Any, begin: int, end: int) -> list[dict[str, Any]]:
    """The state's list of files, once they are known to hold all rows from `begin` to before `end`, each once."""
    fields: dict[str, Callable[[Any], bool]] = {
        "name": lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
        "begin": lambda value: type(value) is int,
        "end": lambda value: type(value) is int,
        "sha256": lambda value: isinstance(value, str),
    }
    for one in state if isinstance(state, list) else [state]:
        if not isinstance(one, dict) or not all(name in one and right(one[name]) for name, right in fields.items()):
            raise StateError(f"replay.segments: each must have {', '.join(fields)}, got {shown(one)}.")
    reached = state[0]["begin"] if state else end
    if reached > begin:
        raise StateError(f"replay.segments: must begin at row {begin} or before it, got {reached}.")
    for one in state:
        if one["begin"] != reached or one["end"] <= reached:
            raise StateError(f"replay.segments: {one['name']} must go on at row {reached}.")
        reached = one["end"]
    if reached != end:
        raise StateError(f"replay.segments: must end before row {end}, got {reached}.")
    return [dict(one) for one in state]


def drop_segments(folder: Path, keep: Collection[str]) -> None:
    """Remove every file of rows whose name is not among these, and what an interrupted writer left."""
    try:
        dropped = [path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.name not in keep]
        for path in [*dropped, *folder.glob(".rows-*.part")]:
            path.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise RecordError(f"{folder}: old rows of the replay cannot be removed: {error.strerror}") from error
