"""Runs read back: plan, rows, series as arrays. Reading takes no lock; a run can be read while it is written."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core import Node, RecordError
from tempomat.core.errors import did_you_mean
from tempomat.plan import Plan
from tempomat.runs.info import RECORD, Info, read_info, read_plan
from tempomat.runs.rows import Row, decode, parse

_TOGETHER = 1000
"""Lines parsed at a time: in one go the parser shares the names among rows."""


class Series(NamedTuple):
    """One entry over a run, an element per row that has it."""

    counts: NDArray[np.int64]
    asked: NDArray[np.float64]
    applied: NDArray[np.float64]


class Measured(NamedTuple):
    """One measurement over a run, an element per row that has it; NaN and infinities as they were."""

    counts: NDArray[np.int64]
    values: NDArray[np.float64]


@final
@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Args:
        folder: where it lies.
        info: `run.json`: seed, sessions with their versions, start times and notes.
        plan: the plan of the last session, resolved.
        rows: the rows of values, in order: `counts`, `asked`, `applied`, `measured`, `time`.
        events: decisions, resumes and rewinds, in order.
    """

    folder: Path
    info: Info = field(repr=False)
    plan: Plan = field(repr=False)
    rows: tuple[Row, ...] = field(repr=False)
    events: tuple[Row, ...] = field(repr=False)

    @property
    def seed(self) -> int | None:
        """The seed that was given to the recorder."""
        return self.info["seed"]

    @property
    def closed(self) -> bool:
        """Whether the recorder was closed, rather than broken off or still writing."""
        return "ended" in self.info["sessions"][-1]

    def series(self, entry: str, *, clock: str | None = None) -> Series:
        """An entry as asked and as applied, over the counts of the plan's clock or another.

        Raises:
            RecordError: no row has that entry, or that clock.
        """
        rows, counts = self._rows_with("asked", entry, clock)
        asked, applied = ([row[section].get(entry) for row in rows] for section in ("asked", "applied"))
        return Series(counts, self._array(asked, np.float64), self._array(applied, np.float64))

    def measured(self, name: str, *, clock: str | None = None) -> Measured:
        """A measurement over the counts of the plan's clock or another.

        Raises:
            RecordError: no row has that measurement, or that clock.
        """
        rows, counts = self._rows_with("measured", name, clock)
        return Measured(counts, self._array([row["measured"][name] for row in rows], np.float64))

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The names that occur under `counts`, `asked` and `measured`, each in order of appearance."""
        sections = ("counts", "asked", "measured")
        return {one: tuple(dict.fromkeys(name for row in self.rows for name in row[one])) for one in sections}

    def _rows_with(self, section: str, name: str, clock: str | None) -> tuple[list[Row], NDArray[np.int64]]:
        unit = str(self.plan.clock) if clock is None else clock
        for kind, wanted in ((section, name), ("counts", unit)):
            known = self.names[kind]
            if wanted not in known:
                what = {"asked": "entry", "measured": "measurement", "counts": "clock"}[kind]
                listed = ", ".join(known) or "none"
                raise RecordError(
                    f"{self.folder}: no row has the {what} {wanted!r}.{did_you_mean(wanted, known)} Recorded: {listed}"
                )
        rows = [row for row in self.rows if name in row[section] and unit in row["counts"]]
        return rows, self._array([row["counts"][unit] for row in rows], np.int64)

    def _array(self, values: list[Any], kind: Any) -> NDArray[Any]:
        try:
            return np.array(values, kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise RecordError(f"{self.folder / RECORD}: holds what is no number: {error}") from None


def read_run(folder: str | os.PathLike[str], *, own: Iterable[type[Node]] = ()) -> Run:
    """A run from its folder. A last row that is torn, as a crash leaves it, is left out.

    Args:
        folder: where it lies.
        own: schedule classes of your own that its plan names; see `tempomat.load_plan`.

    Raises:
        RecordError: there is no run, or something in it is damaged: `run.json`, a plan, a row, or, in a run that was
            closed, any byte of the record.
    """
    path = Path(folder)
    info = read_info(path)
    plans = {one["plan"]: read_plan(path, one, own) for one in _one_of_each_plan(info["sessions"])}
    record = path / RECORD
    try:
        content = record.read_bytes()
    except OSError as error:
        raise RecordError(f"{record}: cannot be read: {error.strerror}") from error
    _check(record, content, info["sessions"][-1])
    rows: list[Row] = []
    events: list[Row] = []
    for row in _rows(record, content):
        (events if "event" in row else rows).append(row)
    return Run(path, info, plans[info["sessions"][-1]["plan"]], tuple(rows), tuple(events))


def _one_of_each_plan(sessions: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return {(one["plan"], one["fingerprint"]): one for one in sessions}.values()


def _check(record: Path, content: bytes, session: dict[str, Any]) -> None:
    size = session.get("size", session["offset"])
    if len(content) < size:
        raise RecordError(f"{record}: has {len(content)} bytes, and had {size}: it was cut")
    if "crc32" in session and (len(content) != size or zlib.crc32(content) != session["crc32"]):
        raise RecordError(f"{record}: was changed or damaged since the run was closed: its checksum does not match")


def _rows(record: Path, content: bytes) -> Iterator[Row]:
    lines = content.split(b"\n")[:-1]
    for start in range(0, len(lines), _TOGETHER):
        block = lines[start : start + _TOGETHER]
        for place, data in enumerate(_parsed(block), start):
            try:
                yield parse(lines[place]) if data is None else decode(data)
            except RecordError as error:
                raise RecordError(f"{record}, line {place + 1}: {error}") from None


def _parsed(lines: list[bytes]) -> list[Any]:
    """The JSON value of each line; None for all of them where one is wrong."""
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        values = []
    return values if len(values) == len(lines) else [None] * len(lines)
