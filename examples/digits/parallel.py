"""Many runs, a few at a time, each in a process of its own thread, with the time left; nothing depends on how many."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from typing import Any

import torch
from training import Run, train

_epochs_done: Any = None


def train_all(runs: Sequence[Run], processes: int) -> None:
    """Train every run that is not finished; each leaves its result in its folder.

    Raises:
        KeyboardInterrupt: by Ctrl-C; finished runs are kept, the others begin anew when they are asked for again.
    """
    missing = [run for run in runs if run.result is None]
    if len(missing) < len(runs):
        print(f"{len(runs) - len(missing)} of {len(runs)} runs are already there.", flush=True)
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    progress = Progress(len(missing), sum(run.epochs for run in missing), lambda: counter.value)
    pool = ProcessPoolExecutor(min(processes, len(missing)), context, _enter, (counter,))
    # Children inherit that Ctrl-C is ignored: only this process answers it.
    answer = signal.signal(signal.SIGINT, signal.SIG_IGN)
    futures = [pool.submit(_work, run) for run in missing]
    signal.signal(signal.SIGINT, answer)
    try:
        _watch(futures, progress)
    finally:
        for child in multiprocessing.active_children():
            child.terminate()  # idle when all went well; a half-trained run is worth nothing
        pool.shutdown(cancel_futures=True)


def _watch(futures: Sequence[Future[None]], progress: Progress) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=progress.every, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        progress.show(len(futures) - sum(future.done() for future in futures))
    progress.close()


def _enter(counter: Any) -> None:
    global _epochs_done
    _epochs_done = counter
    torch.set_num_threads(1)


def _work(run: Run) -> None:
    train(run, _tick)


def _tick() -> None:
    with _epochs_done.get_lock():
        _epochs_done.value += 1


class Progress:
    """One line that is written over on a terminal, and a line now and then elsewhere."""

    def __init__(self, runs: int, epochs: int, epochs_done: Callable[[], int]) -> None:
        self.runs, self.epochs, self.epochs_done = runs, epochs, epochs_done
        self.terminal = sys.stdout.isatty()
        self.every = 0.5 if self.terminal else 5.0
        self.started = time.monotonic()
        self.first: tuple[float, int] | None = None

    def show(self, runs_left: int) -> None:
        """Where things are, and what is left at the rate since the first epoch: loading PyTorch is not in it."""
        now, done = time.monotonic(), self.epochs_done()
        if self.first is None and done:
            self.first = (now, done)
        text = f"{self.runs - runs_left} of {self.runs} runs, epoch {done} of {self.epochs}"
        text += f", {_clock(now - self.started)} gone"
        if self.first and done > self.first[1]:
            rate = (now - self.first[0]) / (done - self.first[1])
            text += f", about {_clock(rate * (self.epochs - done))} left"
        print(f"\r{text:<78}" if self.terminal else text, end="" if self.terminal else "\n", flush=True)

    def close(self) -> None:
        """End the line."""
        if self.terminal:
            print(flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
