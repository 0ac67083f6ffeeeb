"""One writer per run folder: a lock that the system itself releases when its holder ends, however it ends."""

from __future__ import annotations

import os
import re
import socket
import weakref
from contextlib import suppress
from pathlib import Path
from typing import final

from tempomat.core import RecordError

_HELD: weakref.WeakSet[FolderLock] = weakref.WeakSet()
_HOOKED: list[bool] = []


@final
class FolderLock:
    """Held from construction until `release()`, or until the process ends.

    Raises:
        RecordError: somebody else holds it, whose process is named; or the file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import fcntl
        except ImportError:
            raise RecordError(f"{folder}: recording needs POSIX file locks, which this system lacks") from None
        self._handle = -1
        try:
            handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise RecordError(f"{folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError:
            holder = _holder(handle)
            os.close(handle)
            raise RecordError(
                f"{folder}: {holder} is writing this run. Use another folder, or end that process first"
            ) from None
        except OSError as error:
            os.close(handle)
            raise RecordError(f"{folder}: cannot be locked: {error.strerror}") from error
        self._handle = handle
        _close_in_children()
        _HELD.add(self)

    def release(self) -> None:
        """Let others write. The file stays: to remove it would let two writers lock two files of one name."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            _HELD.discard(self)
            os.close(handle)


def _holder(handle: int) -> str:
    with suppress(OSError):
        match = re.fullmatch(r"(\d{1,10}) ([\w.-]{1,255})\n", os.pread(handle, 300, 0).decode("ascii", "replace"))
        if match:
            return f"process {match[1]} on {match[2]}"
    return "another process"


def _close_in_children() -> None:
    """Have forked children close their copies: a data loader's worker that outlives a killed run would hold it."""
    if not _HOOKED:
        _HOOKED.append(True)
        os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    for lock in list(_HELD):
        lock.release()
