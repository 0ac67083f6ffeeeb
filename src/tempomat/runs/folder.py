"""A run's folder while it is written: locked, checked, and changed only once everything is known to fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, final

from tempomat.core import PlanError, RecordError
from tempomat.core.errors import did_you_mean
from tempomat.core.numbers import as_count
from tempomat.plan import Plan, diff, dumps_plan, load_plan, own_types_in
from tempomat.plan.atomic import write_atomically
from tempomat.runs.info import INFO, RECORD, check_facts, new_info, new_session, now, read_info, read_plan, write_info
from tempomat.runs.lock import FolderLock
from tempomat.runs.log import Log
from tempomat.runs.rows import Row, parse

PLAN = "plan.yaml"
STATE_FORMAT = 1
_STATE = ("format", "run", "offset", "crc32")


@final
class RunFolder:
    """Opening looks and locks; `begin` writes. Before it nothing that was there is changed.

    Args:
        path: made if it is not there.
        seed: of the run; the same again on resume, or None.
        notes: of this session.
        resume: an offset, a recorder's state, or None for a new run.
        accept: whether another plan than the recorded one may go on.

    Raises:
        RecordError: as `Recorder` says.
    """

    def __init__(
        self,
        path: Path,
        *,
        seed: int | None,
        notes: Any,
        resume: int | Mapping[str, Any] | None,
        accept: bool,
    ) -> None:
        check_facts(seed, notes)
        self.path, self._notes, self._accept = path, notes, accept
        self.offset, crc32, run = _position(resume)
        self.last: Row | None = None
        self.log: Log | None = None
        self.begun = False
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{path}: cannot be made: {error.strerror}") from error
        self._lock = FolderLock(path)
        try:
            if (path / INFO).exists():
                self._found(seed, resume is not None, crc32, run)
            else:
                self._empty(seed)
        except BaseException:
            self.release()
            raise

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """What `run.json` knows of the sessions so far."""
        return self.info["sessions"]

    def check(self, plan: Plan) -> None:
        """Refuse a plan that is not the recorded one, with what differs, unless that was accepted."""
        if not self.sessions or self._accept:
            return
        recorded = read_plan(self.path, self.sessions[-1], own_types_in(plan.schedules.values()))
        if not comes_to(plan, recorded):
            fix = "Use another folder, or go on under the new plan with on_change='accept'"
            raise RecordError(f"{self.path}: {differs('the plan is not the one recorded here', recorded, plan)}. {fix}")

    def begin(self, plan: Plan) -> Log:
        """Start the session under a checked plan: put it and `run.json` there, cut the record back to the offset.

        Raises:
            RecordError: something cannot be written. A new run's files are removed again then; one that was to be
                resumed can still be.
        """
        made: list[Path] = []
        try:
            name = self._put_plan(plan, made)
            log = self.log or self._new_log(made)
            session = new_session(plan, name, log.size, self._notes)
            # first to go again if this fails: without it the folder holds no run
            made.insert(0, self.path / INFO)
            # before the cut, after which what the last session noted about the record no longer holds
            write_info(self.path, {**self.info, "sessions": [*self.sessions, session]})
            log.cut()
        except BaseException:
            if self.log is None:
                for path in made:
                    with suppress(OSError):
                        path.unlink()
            raise
        self.info["sessions"].append(session)
        self.log, self.begun = log, True
        return log

    def events(self) -> list[Row]:
        """The events in the record so far; before `begin`, in the part that is kept."""
        if self.log is None:
            return []
        self.log.flush()
        try:
            with open(self.log.path, "rb") as file:
                return [parse(line) for line in _until(file, self.log.size) if line.startswith(b'{"event":')]
        except OSError as error:
            raise RecordError(f"{self.log.path}: cannot be read: {error}") from error

    def end(self) -> None:
        """Note in `run.json` that the session was closed, and what the record is then."""
        if self.log is not None:
            ended = {"ended": now(), "size": self.log.size, "crc32": self.log.crc32}
            write_info(self.path, {**self.info, "sessions": [*self.sessions[:-1], {**self.sessions[-1], **ended}]})

    def release(self) -> None:
        """Write what waits, and let others have the folder."""
        try:
            if self.log is not None:
                self.log.close()
        finally:
            self._lock.release()

    def state(self) -> dict[str, Any]:
        """Where the record stands on the disk, with what tells it from any other."""
        size, crc32 = (self.log.size, self.log.crc32) if self.log is not None else (0, 0)
        return {"format": STATE_FORMAT, "run": self.info["run"], "offset": size, "crc32": crc32}

    def _found(self, seed: int | None, resume: bool, crc32: int | None, run: str | None) -> None:
        self.info = read_info(self.path)
        if not resume:
            raise RecordError(
                f"{self.path}: holds a run already, started {self.sessions[0]['started']}. Use another folder, or go "
                "on with resume=offset (of its checkpoint; 0 starts over and drops every row)"
            )
        if run is not None and run != self.info["run"]:
            raise RecordError(f"{self.path}: is run {self.info['run']}, and the checkpoint belongs to run {run}")
        if seed is not None and seed != self.info["seed"]:
            raise RecordError(f"{self.path}: was recorded with seed {self.info['seed']}, got seed {seed}")
        self.log = Log(self.path / RECORD, self.offset, crc32)
        if self.log.last:
            try:
                self.last = parse(self.log.last)
            except RecordError as error:
                raise RecordError(f"{self.path / RECORD}: the row before byte {self.offset} {error}") from None

    def _empty(self, seed: int | None) -> None:
        record = self.path / RECORD
        if self.offset:
            raise RecordError(
                f"{self.path}: holds no run (no {INFO}), and the checkpoint was taken at byte {self.offset}"
            )
        if record.exists() and record.stat().st_size:
            raise RecordError(f"{record}: holds rows, and no {INFO} says of which run. Use another folder")
        self.info = new_info(seed)

    def _put_plan(self, plan: Plan, made: list[Path]) -> str:
        """Write the plan, unless it is there; one that stands there is never overwritten. Returns the file's name."""
        for session in self.sessions:
            if session["fingerprint"] == plan.fingerprint:
                read_plan(self.path, session, own_types_in(plan.schedules.values()))
                return session["plan"]
        later = (self.path / f"plan-{number}.yaml" for number in count(2))
        path = (
            next(one for one in later if not one.exists() or _holds(one, plan)) if self.sessions else self.path / PLAN
        )
        if path.exists():
            if not _holds(path, plan):
                fix = "Use another folder, or rename it"
                raise RecordError(f"{path}: is there already and is not this run's plan (resolved). {fix}")
            return path.name
        made.append(path)
        try:
            write_atomically(path, dumps_plan(plan).encode())
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror}") from error
        return path.name

    def _new_log(self, made: list[Path]) -> Log:
        path = self.path / RECORD
        made.append(path)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            raise RecordError(f"{path}: cannot be made: {error.strerror}") from error
        return Log(path)


def _until(file: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The lines that begin before a place in the file."""
    for line in file:
        if size <= 0:
            return
        size -= len(line)
        yield line


def comes_to(plan: Plan, resolved: Plan) -> bool:
    """Whether `resolved` is this plan, for a run of its total and rates."""
    try:
        return plan.resolve(total=resolved.total, **resolved.rates) == resolved
    except PlanError:
        return False


def differs(what: str, before: Plan, after: Plan) -> str:
    """What differs between two plans, one change to a line."""
    return "\n  ".join([f"{what} (before -> now):", *map(str, diff(before, after))])


def _holds(path: Path, plan: Plan) -> bool:
    try:
        return load_plan(path, own=own_types_in(plan.schedules.values())).fingerprint == plan.fingerprint
    except PlanError:
        return False


def _position(resume: int | Mapping[str, Any] | None) -> tuple[int, int | None, str | None]:
    """The offset, checksum and run to go on from."""
    if resume is None:
        return 0, None, None
    if not isinstance(resume, Mapping):
        try:
            return as_count(resume), None, None
        except ValueError as error:
            raise RecordError(f"resume {error}. Give what `offset` or `state_dict()` said at the checkpoint") from None
    unknown = [str(key) for key in resume if key not in _STATE]
    missing = [key for key in _STATE if key not in resume]
    if unknown or missing:
        said = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        near = did_you_mean(unknown[0], missing) if unknown else ""
        raise RecordError(f"resume: the recorder's state {said}.{near} It has {', '.join(_STATE)}")
    if resume["format"] != STATE_FORMAT:
        raise RecordError(
            f"resume: the recorder's state has format {resume['format']!r}; this version reads {STATE_FORMAT}"
        )
    try:
        return as_count(resume["offset"]), as_count(resume["crc32"]), str(resume["run"])
    except ValueError as error:
        raise RecordError(f"resume: in the recorder's state, offset or crc32 {error}") from None
