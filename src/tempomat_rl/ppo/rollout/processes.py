"""Workers in processes of this machine.

Each has a pipe, and here a thread that hands a message over and waits for the answer: a worker that is stopped or dies
in the middle of either can so be given up. Workers take no notice of Ctrl-C, which reaches all processes of a terminal;
they end with their pipe, with the process that started them, or are killed.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, final

from tempomat_rl.ppo.rollout.messages import Message, WorkerSpec
from tempomat_rl.ppo.rollout.transport import WorkerLost
from tempomat_rl.ppo.rollout.worker import Answer, Worker, answer, opened, use_one_thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What the one who started the workers answers for them."""
GRACE = 1.0
"""Seconds that idle workers get to close their environments."""
START = 120.0
"""Seconds that a new process gets to come up in any case: its libraries are no silence of an environment."""
_GONE = 5.0
"""Seconds within which a process that was killed, or closed its pipe, has an exit code."""


@final
class Processes:
    """A process for each worker, started anew from nothing (`spawn`).

    Args:
        spec_of: what the worker at a place is built from.
        num_workers: how many places there are.
        timeout_s: seconds after which a worker that is waited for and says nothing counts as lost.
    """

    def __init__(self, spec_of: Callable[[int], WorkerSpec], num_workers: int, *, timeout_s: float) -> None:
        self._spec_of, self._num_workers, self._timeout_s = spec_of, num_workers, timeout_s
        self._workers: dict[int, _Process] = {}
        atexit.register(self.close)  # before multiprocessing itself would wait for them

    def start(self, place: int) -> None:
        if old := self._workers.pop(place, None):
            old.kill()
        self._workers[place] = _Process(self._spec_of(place))

    def send(self, place: int, message: Message) -> None:
        self._workers[place].send(message)

    def receive(self, place: int) -> Any:
        worker = self._workers[place]
        seconds = self._timeout_s
        try:
            if not worker.up.wait(max(seconds, START)):
                seconds = max(seconds, START)
                raise queue.Empty
            told = worker.answers.get(timeout=seconds)
        except queue.Empty:
            worker.kill()
            raise WorkerLost(place, f"silent for {seconds:g} s") from None
        if told is None:
            raise WorkerLost(place, worker.how_it_ended())
        return opened(place, told)

    def pids(self) -> dict[int, int]:
        """The process of each worker, by place."""
        return {place: worker.process.pid or 0 for place, worker in self._workers.items()}

    def describe(self) -> str:
        return "1 process" if self._num_workers == 1 else f"{self._num_workers} processes"

    def close(self) -> None:
        atexit.unregister(self.close)
        workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            worker.dismiss()
        for worker in workers:
            worker.process.join(GRACE)
            worker.kill()


class _Process:
    """A worker, seen from the process that started it."""

    def __init__(self, spec: WorkerSpec) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, spec), name=f"rollout-{spec.place}")
        resource_tracker.ensure_running()  # whose own start would undo the mask
        # a mask, other than a handler, is there from the new process's first moment on
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.up = threading.Event()
        """Set once it has said that it is there, or is known not to come."""
        self._busy = False
        threading.Thread(target=self._carry, name=f"rollout-{spec.place}", daemon=True).start()

    def send(self, message: Message) -> None:
        """Made into bytes at once, so that nobody changes an array while it waits."""
        self._messages.put(bytes(ForkingPickler.dumps(message)))

    def _carry(self) -> None:
        try:
            self._pipe.recv()
            self.up.set()
            while (data := self._messages.get()) is not None:
                self._busy = True
                self._pipe.send_bytes(data)
                told = self._pipe.recv()
                self._busy = False
                self.answers.put(told)
        except (OSError, EOFError):
            self.answers.put(None)
        finally:
            self.up.set()
            self._pipe.close()

    def how_it_ended(self) -> str:
        """In words."""
        self.process.join(_GONE)
        code = self.process.exitcode
        if code is None:
            self.kill()
            return "closed its pipe"
        if code >= 0:
            return f"exited with code {code}"
        hint = ", as by a machine that is short of memory" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"

    def dismiss(self) -> None:
        """Ask it to end; one that is busy would do its work first, which nobody waits for."""
        if self._busy:
            self.process.kill()
        self._messages.put(None)

    def kill(self) -> None:
        """Whatever it does."""
        self.process.kill()
        self._messages.put(None)
        self.process.join(_GONE)


def _serve(pipe: Connection, spec: WorkerSpec) -> None:
    """What a worker's process does."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # what an environment starts may be asked to end
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()
    worker = Worker(spec)
    try:
        pipe.send(None)
        while True:
            pipe.send(answer(worker, pipe.recv()))
    except (OSError, EOFError):
        worker.close()


def _end_with_parent() -> None:
    """A worker in the middle of a rollout would notice only after it."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os._exit(1)
