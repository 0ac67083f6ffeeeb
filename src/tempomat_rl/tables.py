"""Tables that grow row by row: `train.csv`, `eval.csv`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from tempomat.core import RecordError


@final
class Table:
    """A CSV file with a header, to which whole rows are appended. It is made with its first row.

    Args:
        path: the file.
        columns: their order. A row may leave some empty; an unknown one is an error.
        offset: where a resumed run goes on, as `settle` said when the checkpoint was taken; rows behind it are dropped.

    Raises:
        RecordError: the file cannot be cut back, or ends before the offset.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, offset: int = 0) -> None:
        self.path, self.columns = path, tuple(columns)
        size = path.stat().st_size if path.exists() else 0
        if size < offset:
            raise RecordError(
                f"{path}: has {size} bytes, and {offset} when the checkpoint was taken. Put it back as it was"
            )
        if size > offset:
            try:
                os.truncate(path, offset)
            except OSError as error:
                raise RecordError(f"{path}: cannot be cut back: {error.strerror}") from error

    def settle(self) -> int:
        """Make every row last. Returns the file's length in bytes: what a checkpoint keeps."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row.

        Raises:
            RecordError: the disk is full or fails.
        """
        unknown = row.keys() - set(self.columns)
        if unknown:
            raise KeyError(f"{self.path.name} has no column {', '.join(sorted(unknown))}")
        try:
            with self.path.open("a", newline="") as file:
                header = [] if file.tell() else [self.columns]
                file.write(_text([*header, [_cell(row.get(name, "")) for name in self.columns]]))
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be written: {error.strerror}") from error


def _text(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
