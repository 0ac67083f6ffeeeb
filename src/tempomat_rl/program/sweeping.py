"""A sweep: several runs of one command line, one after the other, at the same time, or on a cluster (`--multirun`).

What becomes of one run is no matter of the others: one that fails is told of and the rest goes on. Ctrl-C stops them
all, each with everything saved, and the same command in the same folder goes on with them.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, final

from hydra.errors import CompactHydraException

from tempomat.core import MissingExtra, RecordError, TempomatError
from tempomat.core.errors import did_you_mean
from tempomat_rl.program.command import SWEEP_DIR
from tempomat_rl.program.resuming import nearby
from tempomat_rl.program.session import INTERRUPTED, Ending
from tempomat_rl.program.settings import ConfigError
from tempomat_rl.progress import SIGNALS


class Launcher(NamedTuple):
    """A launcher of Hydra's that a package of its own brings."""

    module: str
    extra: str
    """that installs it"""
    overrides: tuple[str, ...]
    """that it is used with, unless the command line says other"""


LAUNCHERS = {
    "joblib": Launcher(
        "hydra_plugins.hydra_joblib_launcher",
        "sweep",
        # a run waits for a free process, never behind another one
        ("hydra.launcher.batch_size=1", "hydra.launcher.pre_dispatch=n_jobs"),
    ),
    "ray": Launcher(
        "hydra_plugins.hydra_ray_launcher",
        "ray-sweep",
        # a cluster that runs takes no orders about its memory; one CPU is a run's, as it is a rollout worker's
        (
            "++hydra.launcher.ray.init.object_store_memory=null",
            "++hydra.launcher.ray.init.logging_level=ERROR",
            "++hydra.launcher.ray.remote.num_cpus=1",
        ),
    ),
}


class RunFailed(CompactHydraException):
    """One run of a sweep, in words: Hydra shows no traceback of it, and goes on with the others."""


@final
@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep, as the program that launches it and the processes that carry out its runs know it.

    Args:
        folder: of all its runs, absolute: a run may be carried out elsewhere.
        here: where the program was called.
        launcher: Hydra's choice.
    """

    folder: Path
    here: Path
    launcher: str

    @property
    def _meeting(self) -> Path:
        """Where the processes leave word for each other, as long as the sweep goes on."""
        return self.folder / ".sweep"

    # the program that launches it

    def launch(self, run: Callable[[], None], written: Sequence[str]) -> None:
        """All its runs; ends the program with what failed, or with 130 and the command that goes on with it.

        Args:
            run: Hydra's.
            written: the command line.
        """
        code: Any = None
        try:
            with self._launched(), self._joined(written):
                run()
        except TempomatError as error:
            raise SystemExit(str(error)) from None
        except KeyboardInterrupt:
            self._interrupt()
        except SystemExit as error:
            code = error.code
        interrupted, failures = self._ended()
        if interrupted:
            sys.stdout.write(f"the sweep was interrupted. To go on with it:\n  {self._go_on_command(written)}\n")
        if failures:
            raise SystemExit("\n".join([f"failed, of the sweep's runs: {len(failures)}", *failures]))
        if interrupted or code:
            raise SystemExit(INTERRUPTED if interrupted else code)

    @contextmanager
    def _launched(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM reach the runs and not the launcher, which would kill them while they save.

        Raises:
            RecordError: the folder cannot be made.
        """
        self._clear()
        try:
            self._meeting.mkdir(parents=True)
        except OSError as error:
            raise RecordError(f"{self.folder}: cannot be the sweep's folder: {error.strerror}. Name another") from error
        if self.launcher == "ray":
            os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # Ray takes lines for the same that differ in their numbers
        parallel = self.launcher == "joblib"
        before = {number: signal.getsignal(number) for number in SIGNALS} if parallel else {}
        try:
            if parallel:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # as workers have it from here while they wait for a run
                signal.signal(signal.SIGTERM, self._pass_on)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _joined(self, written: Sequence[str]) -> Iterator[None]:
        """The cluster of a Ray sweep, unless the command line says how Ray is begun.

        Hydra's launcher would begin one that other machines reach.
        """
        if self.launcher != "ray" or any("hydra.launcher.ray.init." in one for one in written):
            yield
            return
        from tempomat_rl.program.cluster import join

        joined = join(None, os.cpu_count() or 1, shows=True)
        try:
            yield
        finally:
            time.sleep(1.0)  # what runs print at their end comes a moment later
            if joined.ours_to_leave:
                joined.ray.shutdown()

    def _pass_on(self, number: int, _: Any) -> None:
        self._interrupt()
        for path in self._meeting.glob("*.pid"):
            with suppress(OSError, ValueError):
                os.kill(int(path.stem), number)

    def _ended(self) -> tuple[bool, list[str]]:
        """Whether it was interrupted, and what failed."""
        failures = [path.read_text() for path in sorted(self._meeting.glob("*.failed"))]
        interrupted = self._interrupted
        self._clear()
        with suppress(OSError):  # out of the way of `tempomat compare FOLDER/*`
            (self.folder / "multirun.yaml").replace(self.folder / ".multirun.yaml")
        return interrupted, failures

    def _clear(self) -> None:
        shutil.rmtree(self._meeting, ignore_errors=True)

    def _go_on_command(self, written: Sequence[str]) -> str:
        """What to type to go on with it: runs that are finished stay as they are."""
        kept = [one for one in written if not one.startswith(f"{SWEEP_DIR}=")]
        return shlex.join(["python", Path(sys.argv[0]).name, *kept, f"{SWEEP_DIR}={nearby(self.folder)}"])

    # a process that carries out runs

    def run(self, name: str, train: Callable[[], Ending | None]) -> None:
        """One run of it, unless the sweep is interrupted already.

        Raises:
            RunFailed: it failed.
        """
        try:
            os.chdir(self.here)  # Ray's workers are elsewhere, and settings may name folders from here
        except OSError as error:
            raise self._failed(name, f"{self.here}: where the program runs is not there: {error.strerror}") from None
        if self._interrupted:
            return
        if multiprocessing.get_start_method(allow_none=True) == "loky":
            multiprocessing.set_start_method(None, force=True)  # joblib's; no process of a run's own could begin by it
        with self._present():
            try:
                result = train()
            except TempomatError as error:
                raise self._failed(name, str(error)) from None
        if result is not None and not result.finished:
            self._interrupt()

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Signals come here from the launcher; before and after the training itself they only stop what is to come."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        path = self._meeting / f"{os.getpid()}.pid"
        before = {number: signal.signal(number, lambda *_: self._interrupt()) for number in SIGNALS}
        try:
            with suppress(OSError):
                path.touch()
            yield
        finally:
            path.unlink(missing_ok=True)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _failed(self, name: str, why: str) -> RunFailed:
        sys.stderr.write(f"{name}: failed: {why}\n")
        with suppress(OSError):
            (self._meeting / f"{name}.failed").write_text(f"{name}: {why}")
        return RunFailed(f"{name}: {why}")

    def _interrupt(self) -> None:
        with suppress(OSError):
            (self._meeting / "interrupted").touch()

    @property
    def _interrupted(self) -> bool:
        return (self._meeting / "interrupted").exists()


def require(name: str) -> tuple[str, ...]:
    """The overrides that a launcher is used with.

    Raises:
        MissingExtra: it is not installed.
    """
    launcher = LAUNCHERS.get(name)
    if launcher is None:
        return ()
    try:
        there = find_spec(launcher.module)
    except ImportError:  # nothing in `hydra_plugins`
        there = None
    if there is None:
        raise MissingExtra(
            f"hydra/launcher={name} needs a package of its own: pip install 'tempomat[{launcher.extra}]'"
        )
    return launcher.overrides


def no_launcher(name: str) -> ConfigError:
    """What to say where Hydra finds none of that name."""
    known = ("basic", *LAUNCHERS)
    return ConfigError(
        f"hydra/launcher={name}: no such launcher.{did_you_mean(name, known)} Launchers: {', '.join(known)}"
    )
