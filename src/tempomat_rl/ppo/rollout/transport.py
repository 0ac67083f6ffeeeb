"""How messages reach workers, and what can go wrong on the way."""

from __future__ import annotations

from typing import Any, Protocol

from tempomat.core import TempomatError
from tempomat_rl.ppo.rollout.messages import Message


class WorkerLost(TempomatError):
    """A worker is gone, or has said nothing for too long. Another can take its place.

    Args:
        place: of the worker.
        why: such as `killed by SIGKILL`, `exited with code 3` or `silent for 300 s`.
    """

    def __init__(self, place: int, why: str) -> None:
        super().__init__(f"rollout worker {place}: {why}")
        self.place, self.why = place, why


class WorkerFailed(TempomatError):
    """Something in a worker raised an exception: its environment's own, which another worker would meet as well.

    Args:
        place: of the worker.
        what: the exception, in words.
        traceback: where it was raised, in the worker.
    """

    def __init__(self, place: int, what: str, traceback: str = "") -> None:
        super().__init__(f"rollout worker {place}: {what}" + (f"\n{traceback.rstrip()}" if traceback else ""))
        self.place, self.what, self.traceback = place, what, traceback


class Transport(Protocol):
    """Workers somewhere else, each known by its place, from 0 on. What they do is `worker.answer`.

    One message of a worker may be unanswered at a time; different workers answer in any order.
    """

    def start(self, place: int) -> None:
        """A new worker at this place, instead of the one there, if there is one: that is ended, whatever it does.

        May return before the new one is up. Messages that the old one has not answered are forgotten.
        """
        ...

    def send(self, place: int, message: Message) -> None:
        """Hand over a message, without waiting for anything.

        Raises:
            WorkerLost: it is known to be gone. `receive` may be the first to notice.
        """
        ...

    def receive(self, place: int) -> Any:
        """The answer to the message that is unanswered, waited for.

        Raises:
            WorkerLost: it is gone, or was silent for longer than the transport waits.
            WorkerFailed: an exception was raised in it.
        """
        ...

    def describe(self) -> str:
        """What there is, such as `2 processes`."""
        ...

    def close(self) -> None:
        """End all workers, whatever they do. May be called twice."""
        ...
