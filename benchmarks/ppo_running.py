"""The runs of PPO's results, each in a folder and a process of its own: begun, gone on with, read."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppo_arms import PEER, Run

ROOT = Path(__file__).parents[1]
SETTINGS, OUTPUT, RESULT = "settings.json", "output.txt", "result.json"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

Train = Callable[[Run, Path, int | None], None]
"""Makes the run, in this folder, on this core; returns once it has ended, or was broken off."""


def train_in_process(run: Run, folder: Path, core: int | None) -> None:
    """`python train_ppo.py ...`, or what else makes it, with its output beside the run."""
    command = [str(ROOT / "train_ppo.py"), *run.settings, f"checkpoint_dir={folder}"]
    if run.part == PEER:
        command = [str(Path(__file__).parent / "ppo_zoo_seeds.py"), run.task, str(run.seed), str(folder)]
    with (folder / OUTPUT).open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD},
        )
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        process.wait()


@dataclass
class Runs:
    """The folder of all runs: what has ended there is not done again, what was broken off is gone on with."""

    folder: Path
    train: Train = train_in_process
    _read: dict[Run, dict[str, Any]] = field(default_factory=dict, repr=False)

    def place(self, run: Run) -> Path:
        """Where a run is."""
        return self.folder / run.name

    def result(self, run: Run) -> dict[str, Any] | None:
        """How it ended; None if it has not.

        Raises:
            SystemExit: the folder's run was made with other settings.
        """
        if run in self._read:
            return self._read[run]
        path, made = self.place(run) / RESULT, self.place(run) / SETTINGS
        if not path.exists():
            return None
        with_these = json.loads(made.read_text(encoding="utf-8")) if made.exists() else []
        if with_these != list(run.settings):
            told = " ".join(with_these) or "unknown settings"
            raise SystemExit(f"{self.place(run)}: was made with {told}. Remove that folder first")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not found["finished"]:
            return None
        self._read[run] = found
        return found

    def carry_out(self, run: Run, core: int | None = None) -> dict[str, Any] | None:
        """Begin a run or go on with it; None if it was broken off again."""
        folder = self.place(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(json.dumps(run.settings), encoding="utf-8")
        self.train(run, folder, core)
        return self.result(run)

    def finished(self, runs: Iterable[Run]) -> dict[Run, dict[str, Any]]:
        """Results of those that have ended."""
        return {run: found for run in runs if (found := self.result(run)) is not None}


class Broken(Exception):
    """Runs that did not end; what is to be said about it."""


def carry_out(runs: Runs, wanted: Sequence[Run], jobs: int, say: Callable[[str], None]) -> None:
    """Make what is not there yet, so many at a time, and say how long the rest will take.

    Ctrl-C reaches the runs as well: each saves, none is begun any more, and a later call goes on.

    Raises:
        Broken: some have not ended.
    """
    waiting = [run for run in wanted if runs.result(run) is None]
    say(f"{len(wanted) - len(waiting)} of {len(wanted)} runs are there, in {runs.folder}")
    cores = _cores(jobs)
    stopped = threading.Event()

    def one(run: Run) -> tuple[Run, dict[str, Any] | None, float]:
        if stopped.is_set():
            return run, None, 0.0
        core, began = cores.get(), time.monotonic()
        try:
            found = runs.carry_out(run, core)
        except BaseException:
            stopped.set()
            raise
        finally:
            cores.put(core)
        return run, found, time.monotonic() - began

    pool, broken, pace = ThreadPoolExecutor(jobs), list[str](), Pace()
    try:
        left = set(waiting)
        for done, future in enumerate(as_completed([pool.submit(one, run) for run in waiting]), start=1):
            run, found, seconds = future.result()
            left.discard(run)
            if found is None:
                broken.append(f"{run.name}: has not ended, see {runs.place(run) / OUTPUT}")
                say(broken[-1])
                continue
            pace.add(run, seconds)
            told = f"{found['episode_return']:.1f} in {seconds:.0f} s"
            say(f"{done}/{len(waiting)} {run.name}: {told}; about {pace.left(left) / jobs / 60:.0f} min left")
    except KeyboardInterrupt:
        stopped.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    if broken:
        raise Broken("\n".join(broken))


def _cores(jobs: int) -> queue.SimpleQueue[int | None]:
    """A core for each of several runs at a time; one alone is not pinned."""
    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    cores: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for place in range(jobs):
        cores.put(known[place] if 1 < jobs <= len(known) else None)
    return cores


class Pace:
    """How long runs of each kind take."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = {}

    def add(self, run: Run, seconds: float) -> None:
        """One has ended."""
        self._seconds.setdefault((run.part, run.task), []).append(seconds)

    def left(self, runs: Iterable[Run]) -> float:
        """Seconds for these; of a kind that none has ended of, as long as the others on average."""
        known = {kind: sum(all_of_it) / len(all_of_it) for kind, all_of_it in self._seconds.items()}
        mean = sum(known.values()) / len(known) if known else 0.0
        return sum(known.get((run.part, run.task), mean) for run in runs)
