"""The append-only file of a run's rows: buffered, checksummed, cut back to a checkpoint's offset on resume."""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import final

from tempomat.core import RecordError

FLUSH_BYTES = 1 << 16
"""So many bytes wait in memory at most."""
FLUSH_SECONDS = 5.0
"""So long a row waits at most, as long as others come."""
_CHUNK = 1 << 20


@final
class Log:
    """Rows go to memory, and from there to the file once `FLUSH_BYTES` wait or `FLUSH_SECONDS` have passed.

    Every write names its place in the file, so one that broke off halfway is simply done again: a row is in the file
    once.

    Args:
        path: the file; it must exist.
        offset: where to go on: the end of a row. What comes after it stays until `cut()`.
        crc32: the checksum that the bytes before `offset` must have; None where it is not known.

    Raises:
        RecordError: the file cannot be opened, is shorter than `offset`, or is another one than the checkpoint's.
    """

    def __init__(self, path: Path, offset: int = 0, crc32: int | None = None) -> None:
        self.path, self.size, self.crc32 = path, 0, 0
        self._handle, self._process = -1, os.getpid()
        self.failed = ""
        self._waiting: list[bytes] = []
        self._bytes, self._flushed = 0, time.monotonic()
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            length = os.fstat(self._handle).st_size
            self.last = self._read_until(offset, length, crc32)
        except OSError as error:
            self._close()
            if isinstance(error, RecordError):
                raise
            raise RecordError(f"{path}: cannot be opened: {error.strerror}") from error
        self.dropped = length - offset

    def _read_until(self, offset: int, length: int, crc32: int | None) -> bytes:
        """Take the checksum of what is kept; returns its last row."""
        if length < offset:
            raise RecordError(
                f"{self.path}: has {length} bytes, and the checkpoint was taken at {offset}. This is another run's "
                "record, or it was cut; resume in the folder that belongs to the checkpoint"
            )
        tail = b""
        while self.size < offset:
            chunk = os.pread(self._handle, min(_CHUNK, offset - self.size), self.size)
            if not chunk:
                raise RecordError(f"{self.path}: ends at {self.size} while it is read; somebody else is changing it")
            self.size, self.crc32 = self.size + len(chunk), zlib.crc32(chunk, self.crc32)
            # a last row that spans chunks grows; one that ended before this chunk is forgotten
            tail = (tail + chunk)[(tail + chunk).rfind(b"\n", 0, -1) + 1 :]
        if (offset and not tail.endswith(b"\n")) or (crc32 is not None and crc32 != self.crc32):
            raise RecordError(
                f"{self.path}: what stands before byte {offset} is not what the checkpoint was taken with: the file is "
                "another run's, or damaged. Resume in the folder that belongs to the checkpoint, or from an earlier one"
            )
        return tail

    def cut(self) -> None:
        """Drop what comes after the offset: rows of steps that will be done again, and a torn last one."""
        if not self.dropped:
            return
        try:
            os.ftruncate(self._handle, self.size)
            os.fsync(self._handle)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be cut back: {error.strerror}") from error

    def append(self, rows: bytes) -> None:
        """Take complete rows. If earlier ones cannot be written now, these are not taken.

        Raises:
            RecordError: as in `flush`.
        """
        if self._bytes >= FLUSH_BYTES or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()
        self._usable()
        self._waiting.append(rows)
        self._bytes += len(rows)

    def flush(self) -> None:
        """Hand every row to the system, where it survives the end of this process.

        Raises:
            RecordError: the disk is full or fails; the rows stay in memory, and the next flush tries again.
        """
        self._usable()
        self._flushed = time.monotonic()
        data = memoryview(b"".join(self._waiting))
        if not data:
            return
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._handle, data[done:], self.size + done)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._handle, self.size)
            raise RecordError(
                f"{self.path}: cannot be written: {error.strerror}. {len(self._waiting)} rows wait in memory. "
                "Make room and flush() again"
            ) from error
        # no call between these: an interrupt cannot fall between the new size and the emptied buffer
        crc32 = zlib.crc32(data, self.crc32)
        self.size, self.crc32, self._waiting, self._bytes = self.size + done, crc32, [], 0

    def sync(self) -> None:
        """Flush, and have the disk keep it through a power loss.

        Raises:
            RecordError: as in `flush`; or the disk did not take what was flushed, after which nothing more is written.
        """
        self.flush()
        try:
            os.fsync(self._handle)
        except OSError as error:
            # after a failed fsync the system may have dropped the pages and report the next one as fine
            self.failed = (
                f"{self.path}: the disk did not take the rows: {error.strerror}. Resume from the last checkpoint"
            )
            raise RecordError(self.failed) from error

    def close(self) -> None:
        """Flush and close, also if that fails."""
        try:
            if not self.failed:
                self.flush()
        finally:
            self._close()

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _usable(self) -> None:
        if self.failed:
            raise RecordError(self.failed)
        if self._handle < 0:
            raise RecordError(f"{self.path}: the recorder is closed")
        if os.getpid() != self._process:
            raise RecordError(
                f"{self.path}: belongs to process {self._process}; a forked process, such as a data loader's worker, "
                "cannot record"
            )
