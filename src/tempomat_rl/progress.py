"""How a long run tells where it is, and how it is asked to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

from tqdm import tqdm

QUIET = 20.0
"""Seconds between two lines where there is no terminal."""
STOPPING = b"\nstopping: this step is finished and everything saved; Ctrl-C again stops at once\n"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@final
class Progress:
    """A line with frames, frames/s, the time left, stage and success rate; where there is no terminal, every 20 s anew.

    Args:
        total: frames of the run, or what else `unit` says.
        done: of a run that goes on.
        unit: what is counted.
    """

    def __init__(self, total: int, done: int = 0, *, unit: str = "frames") -> None:
        self._unit = unit
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            unit_scale=True,
            smoothing=0.05,
            mininterval=0.5,
            dynamic_ncols=True,
            disable=not self._terminal,
        )
        self._total, self._first, self._done, self._news = total, done, done, ""
        self._began = self._said = time.monotonic()

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self._terminal:
            self._bar.write(line)
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def show(self, **news: Any) -> None:
        """What stands behind the bar."""
        self._news = ", ".join(f"{name}={value}" for name, value in news.items())
        self._bar.set_postfix_str(self._news, refresh=False)

    def advance(self, frames: int) -> None:
        """So many more are done."""
        frames = min(frames, self._total - self._done)  # the last step of many environments may go beyond
        self._done += frames
        self._bar.update(frames)
        now = time.monotonic()
        if not self._terminal and now - self._said > QUIET:
            self._said = now
            self.say(self._line(now - self._began))

    def _line(self, elapsed: float) -> str:
        """The bar's numbers without the bar."""
        rate = (self._done - self._first) / elapsed
        left = tqdm.format_interval((self._total - self._done) / rate) if rate else "?"
        done = f"{tqdm.format_sizeof(self._done)}/{tqdm.format_sizeof(self._total)} {self._unit}"
        return f"{done}, {tqdm.format_sizeof(rate)} {self._unit}/s, {left} left, {self._news}".rstrip(", ")

    def close(self) -> None:
        """Leave the last line standing."""
        self._bar.close()


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, or the system asked to end: the loop finishes what it does and saves.

    A second Ctrl-C interrupts at once. Signals reach the main thread alone; elsewhere nothing is caught.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        os.write(2, STOPPING)  # a handler may interrupt a print, which could then not be entered again

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
