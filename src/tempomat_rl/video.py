"""Films of what environments draw, as MP4 files that any browser plays."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import MissingExtra, RecordError, shown
from tempomat.plan.atomic import sync_folder

QUALITY = 15
"""Of x264, as its constant rate factor: less is better."""


class VideoWriter:
    """Writes a film frame by frame. The file appears, whole, when the writer is closed; after an error there is none.

    Args:
        path: Where the film goes; its folder must be there. An old film of that name is replaced at the end.
        fps: Frames a second; the landing task makes 6 decisions a second.

    Raises:
        MissingExtra: imageio-ffmpeg is not installed.
        RecordError: the folder is not there, or `fps` is not above 0.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with VideoWriter(Path(folder) / "film.mp4", fps=6) as film:
        ...         for shade in range(0, 250, 50):
        ...             film.add(np.full((32, 48, 3), shade, np.uint8))
        ...     film.frames, film.path.exists()
        (5, True)
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self.path, self.fps, self.frames = Path(path), fps, 0
        if not fps > 0:
            raise RecordError(f"{self.path}: `fps` must be above 0, got {shown(fps)}.")
        if not self.path.parent.is_dir():
            raise RecordError(f"{self.path}: there is no folder {self.path.parent}. Create it first.")
        self._ffmpeg = _find_ffmpeg()
        self._shape: tuple[int, ...] | None = None
        self._writer: _Encoder | None = None
        self._beside: Path | None = None
        self._closed = False

    def add(self, frame_HW3: NDArray[np.uint8]) -> None:
        """One more frame: (H, W, 3) bytes, all of one size, which must be even for this format.

        Raises:
            RecordError: another size or type than the frames before, an odd size, or the film is finished.
        """
        if self._closed:
            raise RecordError(f"{self.path}: the film is finished, and takes no more frames. Start another.")
        self._check(frame_HW3)
        if self._writer is None:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.stem}.", suffix=".part.mp4")
            os.close(handle)
            self._beside, self._shape = Path(name), frame_HW3.shape
            size = (frame_HW3.shape[1], frame_HW3.shape[0])
            self._writer = _Encoder(self._ffmpeg, name, size, self.fps)
        self._writer.add(np.ascontiguousarray(frame_HW3))
        self.frames += 1

    def close(self) -> None:
        """Finish the film and put it in its place; once is enough.

        Raises:
            RecordError: there was not a single frame.
        """
        if self._closed:
            return
        self._closed = True
        if self._beside is None:
            raise RecordError(f"{self.path}: a film needs a frame at least, and none was added.")
        beside, self._beside = self._beside, None
        try:
            self._stop()
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.chmod(0o644)
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self._closed = True
        self._stop()
        if self._beside is not None:
            self._beside.unlink(missing_ok=True)
        self._beside = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _stop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _check(self, frame: NDArray[np.uint8]) -> None:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise RecordError(f"{self.path}: a frame is (H, W, 3) bytes, got {frame.shape} of {frame.dtype}.")
        if frame.shape[0] % 2 or frame.shape[1] % 2:
            raise RecordError(f"{self.path}: a frame's height and width must be even, got {frame.shape[:2]}.")
        if self._shape not in (None, frame.shape):
            raise RecordError(f"{self.path}: frames are {self._shape}, got one that is {frame.shape}.")


def write_video(path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], fps: float) -> Path:
    """Write a film of frames, (H, W, 3) bytes each, and give its path. What `VideoWriter` raises, and as atomic."""
    with VideoWriter(path, fps) as film:
        for frame_HW3 in frames:
            film.add(frame_HW3)
    return film.path


class _Encoder:
    """FFmpeg at work on a film of raw frames.

    In a process group of its own, so that Ctrl-C, which the run finishes its turn on, does not reach it.
    """

    def __init__(self, ffmpeg: str, path: str, size: tuple[int, int], fps: float) -> None:
        width, height = size
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
        film = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(QUALITY), path]
        command = [ffmpeg, "-y", "-loglevel", "error", *raw, *film]
        nothing = subprocess.DEVNULL
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, process_group=0
        )

    def add(self, frame_HW3: NDArray[np.uint8]) -> None:
        """One more frame.

        Raises:
            OSError: FFmpeg has given up, as on a full disk.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(frame_HW3.tobytes())

    def close(self) -> None:
        """Finish the film.

        Raises:
            OSError: FFmpeg could not write it.
        """
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        if self._process.wait() != 0:
            raise OSError(errno.EIO, "FFmpeg could not write the film")


def _find_ffmpeg() -> str:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise MissingExtra("A film needs imageio-ffmpeg. Install it: pip install 'tempomat[rl]'") from error
    return get_ffmpeg_exe()
