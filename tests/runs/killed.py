"""Trains and dies, over and over: a process is killed before, after and in the middle of every operation on a file.

A script, since it forks: `python killed.py FOLDER`. Every run is resumed from its last checkpoint, is killed once more
at the same place, and is resumed to its end. Prints how many places there were.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from runs.fake import FakeScheduler, loss

from tempomat.plan.atomic import write_atomically
from tempomat.runs import Recorder, log, read_run

STEPS = 13
log.FLUSH_BYTES = 500

WHEN = ("before", "after", "halfway")
REAL = {name: getattr(os, name) for name in ("open", "pwrite", "ftruncate", "fsync", "replace", "unlink")}


def train(folder: Path) -> None:
    """From the last checkpoint, or from the start, to the end; a checkpoint every six steps."""
    checkpoint = folder / "checkpoint.json"
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"count": 0, "record": 0}
    scheduler = FakeScheduler(count=state["count"])
    with Recorder(folder, seed=0, resume=state["record"]) as recorder:
        while scheduler.count < STEPS:
            scheduler.step()
            recorder.write(scheduler, train_loss=loss(scheduler.count))
            if scheduler.count % 6 == 0:
                state = {"count": scheduler.count, "record": recorder.state_dict()}
                write_atomically(checkpoint, json.dumps(state).encode())


def die_at(place: int, when: str) -> None:
    """Have the operation of that number be the last: not done, done, or written in half."""
    left = [place]

    def deadly(name):
        def operation(*arguments, **options):
            left[0] -= 1
            if left[0] >= 0:
                return None if name == "fsync" else REAL[name](*arguments, **options)
            if when == "halfway" and name == "pwrite":
                handle, data, offset = arguments
                REAL[name](handle, data[: len(data) // 2], offset)
            if when == "after":
                REAL[name](*arguments, **options)
            return os.kill(os.getpid(), signal.SIGKILL)

        return operation

    for name in REAL:
        setattr(os, name, deadly(name))


def killed(folder: Path, place: int, when: str) -> bool:
    """Train in a process that dies; whether it did before its end."""
    child = os.fork()
    if child == 0:
        die_at(place, when)
        train(folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"a resumed run failed, killed {when} operation {place}"
    return status != 0


def recorded(folder: Path) -> list:
    run = read_run(folder)
    rows = [(one["counts"], one["asked"], one["applied"], one["measured"]) for one in run.rows]
    times = [one["time"] for one in run.rows]
    assert times == sorted(times)
    assert run.closed
    return [rows, [(one["event"], one["counts"], one["level"]) for one in run.events]]


def main(folder: Path) -> None:
    train(folder / "unbroken")
    expected = recorded(folder / "unbroken")
    assert [one[0]["optimizer_steps"] for one in expected[0]] == list(range(1, STEPS + 1))
    places = 0
    for when in WHEN:
        place = 0
        while killed(folder / f"{when}-{place}", place, when):
            path = folder / f"{when}-{place}"
            if (path / "run.json").exists():
                read_run(path)
            killed(path, place, when)
            killed(path, sys.maxsize, when)
            assert recorded(path) == expected, f"killed {when} operation {place}"
            place += 1
        places += place
    print(places)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
