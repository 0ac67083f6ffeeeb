"""A run in this process: its folder held, begun or gone on with, its loop, and how it ended."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from tempomat.core import RecordError
from tempomat.plan.atomic import write_atomically
from tempomat_rl.checkpoint import Checkpoints, Found
from tempomat_rl.program.resuming import Resuming, Settled, claim, nearby
from tempomat_rl.program.settings import AnyConfig
from tempomat_rl.progress import Progress, stop_on_signal

RESULT = "result.json"
INTERRUPTED = 130
"""The status of a program that was ended by Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Ending(ABC):
    """How a run ended, as `result.json` says it."""

    folder: str
    finished: bool
    """False if it was interrupted, and can go on."""
    env_steps: int

    def write(self) -> None:
        """Put `result.json` into the run's folder, whole or not at all."""
        path = Path(self.folder) / RESULT
        try:
            write_atomically(path, (json.dumps(asdict(self), indent=2) + "\n").encode())
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error

    @abstractmethod
    def sentence(self) -> str:
        """Success rate, return and time."""


AnyEnding = TypeVar("AnyEnding", bound=Ending)


class Session(ABC, Generic[AnyConfig, AnyEnding]):
    """A run and its loop, from one program's start to its end.

    Args:
        config: of the run; `config.folder` is where it leaves its traces.
    """

    resuming: ClassVar[Resuming[Any]]
    ending: ClassVar[type[Any]]
    progress: Progress
    log: Any

    def __init__(self, config: AnyConfig) -> None:
        self.folder = claim(config.folder or Path("exp_local") / "unnamed")
        with ExitStack() as closing:
            closing.callback(self.resuming.hold(self.folder).release)
            self.checkpoints = Checkpoints(self.folder, last_stage=0)
            found = self.checkpoints.newest_intact()
            settled = self.resuming.settle(config, found)
            self.config: AnyConfig = settled.config
            self.seconds = 0.0
            self.result: dict[str, Any] | None = None
            self._open(found, settled, closing)
            self._closing = closing.pop_all()

    @classmethod
    def train(cls, config: AnyConfig) -> AnyEnding:
        """To the end, or until somebody interrupts."""
        with stop_on_signal() as stopped:
            session = cls(config)
            try:
                return session.run(stopped)
            finally:
                session.close()

    def run(self, stopped: Callable[[], bool]) -> AnyEnding:
        """To the end, or until `stopped` says so."""
        if self.result is not None and self._over:
            return self._finished_before(self.result)
        (self.folder / RESULT).unlink(missing_ok=True)  # of a run that has been made longer
        self.result = None
        while not self._over:
            if stopped():
                path, command = self.save(), self.resuming.go_on_command(self.config, self.folder)
                self.progress.say(f"interrupted; saved {nearby(path)}. To go on:\n  {command}")
                return self._result()
            self._turn()
        return self._finish()

    @property
    def _over(self) -> bool:
        return bool(self._reached())

    def _introduce(self, lines: Iterable[str], found: Found | None, settled: Settled[AnyConfig], saved: int) -> None:
        """Say what will be done before it is; `saved` is the checkpoint's env step."""
        say = self.progress.say
        for line in lines:
            say(line)
        if found:
            for line in found.skipped:
                say(f"passed over: {line}")
            counted = "" if saved == self.env_steps else f", which counts as {self.env_steps:,} of the new length"
            say(f"goes on from {found.path.name}, at env step {saved:,}{counted}")
        for line in settled.lines():
            say(line)

    def _finish(self) -> AnyEnding:
        """The last row and evaluation; then everything is saved."""
        if self.log.waiting:
            self._write_row()
        result = self._result(self._evaluate_last())
        self.result = asdict(result)
        self.save()
        result.write()
        self.progress.say(f"finished: {result.sentence()}")
        return result

    def _finished_before(self, saved: dict[str, Any]) -> AnyEnding:
        """Nothing is left to do, except what a kill may have prevented."""
        result = replace(self.ending(**saved), folder=str(self.folder))
        result.write()
        self.progress.say(
            f"this run is finished already, at env step {self.env_steps:,}: {result.sentence()}. To train on, give "
            f"{' and '.join(self._reached())} with on_change=replace"
        )
        return result

    def close(self) -> None:
        """Let go of the folder and leave the progress line standing."""
        self._closing.close()

    @property
    def elapsed(self) -> float:
        """Seconds of training in this session and those before."""
        return self.seconds + time.perf_counter() - self._began

    # what a program says

    env_steps: int
    """Steps of all environments together."""
    _began: float

    @abstractmethod
    def _open(self, found: Found | None, settled: Settled[AnyConfig], closing: ExitStack) -> None:
        """Build everything, begin or go on; `closing` undoes it."""

    @abstractmethod
    def save(self) -> Path:
        """A snapshot, from which the run goes on with the same numbers."""

    @abstractmethod
    def _reached(self) -> list[str]:
        """What ended the run, as the settings that would make it longer; empty while it is not over."""

    @abstractmethod
    def _turn(self) -> None:
        """One of the loop."""

    @abstractmethod
    def _write_row(self) -> None:
        """What was measured since the row before."""

    @abstractmethod
    def _evaluate_last(self) -> Any:
        """The evaluation that counts, also in the log."""

    @abstractmethod
    def _result(self, final: Any = None) -> AnyEnding:
        """How the run stands; finished where `final`, the last evaluation, is given."""
