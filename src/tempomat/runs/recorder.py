"""The recorder: what a run did, row by row, in a folder that survives the run."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, final

from tempomat.core import RecordError, TempomatError
from tempomat.plan import Plan
from tempomat.runs.folder import RunFolder, comes_to, differs
from tempomat.runs.log import Log
from tempomat.runs.rows import Row, encode, encode_values, numbers, parse

_GOES_BACK = ("rewind", "resume")
"""Events after which a count may be lower than in the row before."""

Event = Mapping[str, Any]


class Recordable(Protocol):
    """What is recorded: a `Scheduler`, or anything else with a plan, counts and values."""

    @property
    def plan(self) -> Plan:
        """The plan in force, resolved."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """The counters by unit, that of the plan's clock among them."""
        ...

    @property
    def asked(self) -> Mapping[str, float]:
        """What the plan says, by entry, in float64."""
        ...

    @property
    def values(self) -> Mapping[str, float]:
        """What the targets hold, by entry, read back from them."""
        ...

    @property
    def events(self) -> Sequence[Event]:
        """What happened besides, oldest first: plain data with an `event` that names the kind."""
        ...


class Mirror(Protocol):
    """A second place for the rows, such as TensorBoard. The record stays the truth; a mirror that fails is an error."""

    def start(self, folder: Path, plan: Plan, after: int | None) -> None:
        """Rows will come. On resume those with counts above `after` come again (-1: all); None for a new run."""
        ...

    def row(self, row: Mapping[str, Any]) -> None:
        """One row of values as it is recorded."""
        ...

    def flush(self) -> None:
        """Hand on what waits."""
        ...

    def close(self) -> None:
        """No more rows will come."""
        ...


@final
class Recorder:
    """Records a run into a folder: `record.jsonl`, `plan.yaml`, `run.json`. One writer per folder, one row per `write`.

    Rows wait in memory until 64 KiB are together or 5 seconds have passed. A crash loses those that wait; the steps
    they tell of are done again from the checkpoint anyway. `offset` makes everything so far last, and is what a
    checkpoint keeps: opened again with `resume=offset`, the record goes on right there, and each row stands in it
    exactly once.

    Not for several threads. In a distributed run, record in one process.

    Args:
        folder: made if it is not there. A folder that holds a run is only taken with `resume`.
        plan: where given, a folder with another plan shows at once, otherwise at the first row. What is recorded is the
            scheduler's, which must be this one, resolved.
        seed: the run's seed, for readers.
        notes: plain data, for readers.
        resume: what `offset` or `state_dict()` said when the checkpoint was taken; rows after it are dropped. 0 starts
            over.
        on_change: what a plan other than the recorded one does on resume: `refuse`, or `accept` (it is kept beside the
            first).
        mirrors: further places for the rows, such as `tempomat.integrations.tensorboard.TensorBoard()`.

    Raises:
        RecordError: another process records there; there is a run already, or none to resume, or not the checkpoint's;
            the plan differs; the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from types import SimpleNamespace
        >>> plan, at = Plan({"lr": 0.1}, total=10), {"optimizer_steps": 3}
        >>> scheduler = SimpleNamespace(plan=plan, counts=at, asked={"lr": 0.1}, values={"lr": 0.1}, events=[])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Recorder(folder, seed=0) as recorder:
        ...         recorder.write(scheduler, loss=0.7)
        ...     Path(folder, "record.jsonl").read_text().partition(',"time"')[0]
        '{"counts":{"optimizer_steps":3},"asked":{"lr":0.1},"applied":{"lr":0.1},"measured":{"loss":0.7}'
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: Plan | None = None,
        *,
        seed: int | None = None,
        notes: Any = None,
        resume: int | Mapping[str, Any] | None = None,
        on_change: Literal["refuse", "accept"] = "refuse",
        mirrors: Iterable[Mirror] = (),
    ) -> None:
        if on_change not in ("refuse", "accept"):
            raise RecordError(f"on_change must be refuse or accept, got {on_change!r}")
        self.folder, self._resumed = Path(folder), resume is not None
        self._given, self._plan = plan, None
        self._scheduler: Recordable | None = None
        self._seen, self._latest = 0, None
        accept = on_change == "accept"
        self._run = RunFolder(self.folder, seed=seed, notes=notes, resume=resume, accept=accept)
        # a recorder that nobody closes: what it holds is written when it is collected, or when the program ends
        self._mirrors = tuple(mirrors)
        self._finish = weakref.finalize(self, _finish, self._run, self._mirrors, os.getpid())
        last = self._run.last or {}
        self._counts: Mapping[str, int] = last.get("counts", {})
        self._zero = time.monotonic() - last.get("time", 0.0)
        if plan is not None:
            try:
                if not isinstance(plan, Plan):
                    raise RecordError(f"plan must be a tempomat.Plan, got {type(plan).__name__}")
                self._run.check(plan)
            except BaseException:
                self._finish()
                raise

    def write(self, scheduler: Recordable, /, **measured: Any) -> None:
        """One row: counts, values as asked and as applied, measurements by name. Events since the last come before it.

        Raises:
            RecordError: the disk is full or fails, and the row is not taken; the plan is not the recorded one; a count
                went back without a rewind; or a mirror failed, with the row in the record.
            MeasurementError: a measurement is no number. NaN and infinities are numbers here.
        """
        if scheduler is not self._scheduler:
            _check_recordable(scheduler)
        row: Row = {
            "counts": dict(scheduler.counts),
            "asked": numbers(scheduler.asked, "asked"),
            "applied": numbers(scheduler.values, "applied"),
            "measured": numbers(measured, "measured"),
            "time": self._time(),
        }
        if scheduler is not self._scheduler or scheduler.plan is not self._plan:
            self._meet(scheduler, row["counts"])
        self._append(scheduler, row["counts"], row)
        for mirror in self._mirrors:
            with _errors_of(mirror):
                mirror.row(row)

    def flush(self) -> None:
        """Hand every row to the system: they then survive the end of this process, though not of the machine."""
        if self._run.begun or not self._finish.alive:
            self._log.flush()
            for mirror in self._mirrors:
                with _errors_of(mirror):
                    mirror.flush()

    @property
    def offset(self) -> int:
        """Where the record stands, in bytes, with everything up to there on the disk. Ask right before a checkpoint."""
        return self.state_dict()["offset"]

    def state_dict(self) -> dict[str, Any]:
        """The offset, and what tells this record from any other: the run, and the checksum of everything recorded."""
        if self._run.begun or not self._finish.alive:
            self._settle()
        return self._run.state()

    def close(self) -> None:
        """Write everything, note in `run.json` that the run was closed, let others have the folder. Again does nothing.

        Raises:
            RecordError: something cannot be written. The recorder stays open, to be closed again when there is room.
        """
        if self._finish.alive and self._run.begun:
            try:
                self._settle()
                self._run.end()
            except RecordError:
                if self._log.failed:
                    self._finish()
                raise
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._finish()

    @property
    def _log(self) -> Log:
        if self._run.log is None:
            raise RecordError(f"{self.folder}: the recorder is closed")
        return self._run.log

    def _time(self) -> float:
        """Seconds of recording since the run began, without the pauses between sessions."""
        return round(time.monotonic() - self._zero, 6)

    def _meet(self, scheduler: Recordable, counts: Mapping[str, int]) -> None:
        """Begin with a scheduler and its plan, or refuse one whose plan is not that of this session."""
        plan = scheduler.plan
        if not self._finish.alive:
            raise RecordError(f"{self.folder}: the recorder is closed")
        if self._given is not None and not comes_to(self._given, plan):
            what = differs("the scheduler's plan is not the recorder's", self._given, plan)
            raise RecordError(f"{self.folder}: {what}. Give both the same")
        if self._plan is not None and plan != self._plan:
            what = differs("the plan has changed while it was recorded", self._plan, plan)
            fix = "Close the recorder, and open it again with resume=offset and on_change='accept'"
            raise RecordError(f"{self.folder}: {what}. {fix}")
        if scheduler is not self._scheduler:
            events = scheduler.events
            seen = self._recorded(events)
            if not self._run.begun:
                self._begin(plan, events[seen:], counts)
            self._seen, self._latest = seen, events[seen - 1] if seen else None
        self._scheduler, self._plan = scheduler, plan

    def _recorded(self, events: Sequence[Event]) -> int:
        """How many of a scheduler's events are in the record already: one that was pickled brings old ones along."""
        old = [{**one, "time": 0} for one in self._run.events()] if events else []
        new = [{**parse(self._line(one, {})), "time": 0} for one in events[: len(old)]]
        return next((number for number in range(len(new), 0, -1) if new[:number] == old[-number:]), 0)

    def _begin(self, plan: Plan, news: Sequence[Event], counts: Mapping[str, int]) -> None:
        """Change the folder, now that everything is known to fit it."""
        if not plan.resolved:
            raise RecordError(
                f"{self.folder}: the scheduler's plan has lengths that are no counts yet; resolve() it first"
            )
        self._run.check(plan)
        if not _goes_back(news):
            self._refuse_going_back(counts)
        after = self._counts.get(plan.clock, -1) if self._resumed else None
        for mirror in self._mirrors:
            with _errors_of(mirror):
                mirror.start(self.folder, plan, after)
        self._run.begin(plan)

    def _settle(self) -> None:
        """Put everything that has happened on the disk, events since the last row included."""
        if self._scheduler is not None:
            self._append(self._scheduler, dict(self._scheduler.counts))
        self._log.sync()
        for mirror in self._mirrors:
            with _errors_of(mirror):
                mirror.flush()

    def _append(self, scheduler: Recordable, counts: Mapping[str, int], *rows: Row) -> None:
        """Take new events, and a row after them: all of it or nothing."""
        events = scheduler.events
        # a scheduler may have begun its events anew
        same = self._seen <= len(events) and (not self._seen or events[self._seen - 1] == self._latest)
        news = events[self._seen :] if same else events
        back = _goes_back(news)
        if rows and not back:
            self._refuse_going_back(counts)
        lines = [self._line(one, counts) for one in news] + [encode_values(row) for row in rows]
        self._log.append(b"".join(lines))
        self._seen, self._latest = len(events), events[-1] if events else None
        if rows or back:
            self._counts = counts

    def _line(self, event: Event, counts: Mapping[str, int]) -> bytes:
        try:
            return encode(
                {"event": event["event"], **event, "counts": event.get("counts", counts), "time": self._time()}
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise RecordError(f"the event {event.get('event')!r} cannot be recorded: {error!r}") from None

    def _refuse_going_back(self, counts: Mapping[str, int]) -> None:
        for unit, before in self._counts.items():
            if counts.get(unit, before) < before:
                raise RecordError(
                    f"{self.folder}: {unit} is {counts[unit]}, and {before} in the row before. A count goes back by "
                    "rewind() only; after loading a checkpoint, open the recorder with that checkpoint's resume=offset"
                )


def _check_recordable(scheduler: object) -> None:
    missing = [name for name in ("plan", "counts", "asked", "values", "events") if not hasattr(scheduler, name)]
    if missing:
        raise RecordError(f"write() takes a Scheduler, got {type(scheduler).__name__}, without {', '.join(missing)}")


def _goes_back(news: Sequence[Event]) -> bool:
    return any(one.get("event") in _GOES_BACK for one in news)


def _finish(run: RunFolder, mirrors: tuple[Mirror, ...], process: int) -> None:
    if os.getpid() == process:
        try:
            run.release()
        finally:
            for mirror in mirrors:
                with _errors_of(mirror):
                    mirror.close()


@contextmanager
def _errors_of(mirror: Mirror) -> Iterator[None]:
    try:
        yield
    except TempomatError:
        raise
    except Exception as error:
        what = f"{type(mirror).__name__}: {type(error).__name__}: {error}"
        raise RecordError(f"{what}. What was to be mirrored is in the record") from error
