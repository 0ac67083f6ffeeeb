"""The record in TensorBoard: every row's values and measurements as scalars.

One line: `Recorder("runs/a", mirrors=[TensorBoard()])`, then `tensorboard --logdir runs`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from tempomat.core import MissingExtra, RecordError
from tempomat.plan import Plan, entry_name

Scalars = Iterable[tuple[str, float]]


@runtime_checkable
class ScalarWriter(Protocol):
    """PyTorch's and tensorboardX's `SummaryWriter`, and whatever else has their `add_scalar`."""

    def add_scalar(self, tag: str, value: float, step: int, /) -> Any:
        """One value at one count."""
        ...


def tag(entry: str) -> str:
    """The tag of a plan's entry: `key_index_group`, of which only the key is always there.

    >>> tag("lr"), tag("encoder.lr"), tag("betas[0]"), tag("encoder.betas[0]")
    ('lr', 'lr_encoder', 'betas_0', 'betas_0_encoder')
    """
    name = entry_name(entry)
    index = None if name.index is None else str(name.index)
    return "_".join(part for part in (name.key, index, name.group) if part is not None)


@final
class TensorBoard:
    """A mirror of the record for TensorBoard: entries as applied under their `tag`, measurements under their own names.

    A point's step is the count of the plan's clock. Values are in float32 there; the record has them in full. On resume
    the points of the steps that are done again are purged, if the event files are this mirror's own and the session
    before began in an earlier second.

    Args:
        target: a folder for event files, written by TensorBoard's own library; None for the run's own folder; or a
            writer with `add_scalar(tag, value, step)`, which stays open (PyTorch's takes `purge_step=` for a resume).

    Raises:
        MissingExtra: `tensorboard` is not installed and the target is no writer.
        RecordError: the target is neither folder nor writer.
    """

    def __init__(self, target: str | os.PathLike[str] | ScalarWriter | None = None) -> None:
        if not (target is None or isinstance(target, (str, os.PathLike, ScalarWriter))):
            raise RecordError(f"TensorBoard: needs a folder or a writer with add_scalar, got {type(target).__name__}")
        if not isinstance(target, ScalarWriter) and find_spec("tensorboard") is None:
            raise MissingExtra("TensorBoard: needs the package tensorboard: pip install 'tempomat[tensorboard]'")
        self._target = target
        self._writer: _Events | _Foreign | None = None
        self._clock = ""
        self._tags: dict[str, str] = {}

    def start(self, folder: Path, plan: Plan, after: int | None) -> None:
        """Open the event file, and on resume purge the points above the count `after`."""
        self.close()
        self._clock, self._tags = str(plan.clock), {}
        for entry in plan.schedules:
            twin = self._tags.setdefault(tag(entry), entry)
            if twin != entry:
                raise RecordError(f"TensorBoard: {twin} and {entry} both have the tag {tag(entry)}. Rename one of them")
        if isinstance(self._target, ScalarWriter):
            self._writer = _Foreign(self._target)
        else:
            self._writer = _Events(folder if self._target is None else Path(self._target), after)

    def row(self, row: Mapping[str, Any]) -> None:
        """Write a row of the record."""
        if self._writer is None:
            raise RecordError("TensorBoard: has not been started; give it to a Recorder as mirrors=[TensorBoard()]")
        taken = [name for name in row["measured"] if name in self._tags]
        if taken:
            raise RecordError(
                f"TensorBoard: the measurement {taken[0]} has the tag of the entry {self._tags[taken[0]]}. Rename it"
            )
        applied = [(tag(entry), value) for entry, value in row["applied"].items()]
        self._writer.add([*applied, *row["measured"].items()], row["counts"][self._clock])

    def flush(self) -> None:
        """Write what waits into the event file."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Close the event file; a writer that was given is flushed and stays open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _Foreign:
    """Somebody else's writer."""

    def __init__(self, writer: ScalarWriter) -> None:
        self._writer = writer

    def add(self, scalars: Scalars, step: int) -> None:
        for name, value in scalars:
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        getattr(self._writer, "flush", lambda: None)()

    def close(self) -> None:
        self.flush()


class _Events:
    """An event file of our own, by TensorBoard's library: what PyTorch's `SummaryWriter` wraps, without PyTorch."""

    def __init__(self, folder: Path, after: int | None) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        events: Any = event_pb2
        self._event = events.Event
        self._writer = EventFileWriter(str(folder))
        if after is not None:
            start = events.SessionLog(status=events.SessionLog.START)
            self._writer.add_event(self._event(step=after + 1, wall_time=time.time(), session_log=start))

    def add(self, scalars: Scalars, step: int) -> None:
        event = self._event(step=step, wall_time=time.time())
        add = event.summary.value.add  # in place: a message that is handed over is copied
        for name, value in scalars:
            add(tag=name, simple_value=value)
        self._writer.add_event(event)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
