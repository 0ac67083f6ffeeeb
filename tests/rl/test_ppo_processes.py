"""Rollout workers in processes of their own, which are killed, hang and fail: numbers as of workers in this one."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rl.test_ppo_rollout import local_of, made, pool_of, spec_of
from rl.workers import wait_shortly

from tempomat_rl.ppo.rollout import make_transport, processes
from tempomat_rl.ppo.rollout.pool import Pool
from tempomat_rl.ppo.rollout.source import Wanted
from tempomat_rl.ppo.rollout.transport import WorkerFailed, WorkerLost

LONG = 120.0
SIZES = [(12, 3)] * 5


@contextmanager
def pool_in_processes(num_workers, **other):
    like, _ = pool_of(num_workers, **other)
    specs = [spec_of(place, num_workers, **other) for place in range(num_workers)]
    transport: Any = make_transport("process", specs.__getitem__, num_workers, timeout_s=LONG)
    pool = Pool(transport, num_workers, like._learner, like.normalizer)
    pool.refresh(0)
    try:
        yield pool, transport
    finally:
        pool.close()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_process_gives_what_this_one_does_and_minds_nobody_who_asks_it_to_end():
    with pool_in_processes(1, vectorize=True) as (pool, transport):
        start = transport.start

        def starting(place):
            start(place)
            ask_to_end()

        def ask_to_end():  # as whoever ends a whole terminal or job does; the one who started it answers for it
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(transport.pids()[0], number)

        transport.start = starting
        found = made(pool, *SIZES[:2])
        ask_to_end()
        assert found + made(pool, *SIZES[2:]) == made(local_of(3, vectorize=True), *SIZES)
        assert not pool.take_news()
        assert pool.describe() == " in 1 process"
        pids = transport.pids().values()
    assert not any(map(alive, pids))


def test_processes_that_are_killed_at_any_moment_change_no_number():
    with pool_in_processes(2) as (pool, transport):
        before_it_is_up, with_a_request = [1], []
        start, request = transport.start, pool.request

        def starting(place):
            start(place)
            kill(before_it_is_up, place)

        def requesting(wanted):
            request(wanted)
            kill(with_a_request, 1)

        def kill(doomed, place):
            if place in doomed:
                doomed.remove(place)
                os.kill(transport.pids()[place], signal.SIGKILL)

        transport.start, pool.request = starting, requesting
        found = made(pool, SIZES[0])
        kill([0], 0)  # between two requests, and the one that replaces it as well
        before_it_is_up.append(0)
        found += made(pool, SIZES[1])
        with_a_request.append(1)
        found += made(pool, *SIZES[2:])
        assert found == made(pool_of(2)[0], *SIZES)
        news = pool.take_news()
        assert [one["place"] for one in news] == [1, 0, 0, 1]
        assert all(one["why"].startswith("killed by SIGKILL") for one in news)


@pytest.mark.parametrize("trouble", ["sleeps", "exits", "raises"])
def test_an_environment_in_trouble_is_waited_for_replaced_or_reported(trouble, tmp_path):
    options = {"at": 5, "trouble": trouble, "once": str(tmp_path / "once")}
    other: Any = {"env": "rl.workers:Troubled-v0"}
    with pool_in_processes(1, env_options=options, **other) as (pool, transport):
        found = made(pool, (4, 1))
        if trouble == "raises":
            pool.request(Wanted(length=4, num_envs=1))
            with pytest.raises(WorkerFailed, match=r"rollout worker 0: ZeroDivisionError: no such place\n"):
                pool.receive()
            return
        if trouble == "sleeps":
            wait_shortly(transport, LONG)
        found += made(pool, (4, 1))
        (event,) = pool.take_news()
        assert event["why"] == ("silent for 0.2 s" if trouble == "sleeps" else "exited with code 3")
    calm = pool_of(1, env_options={"at": 0, "trouble": "none"}, **other)[0]
    assert found == made(calm, (4, 1), (4, 1))


def test_a_busy_worker_does_not_outlive_the_pool(tmp_path):
    options = {"at": 1, "trouble": "sleeps", "once": str(tmp_path / "sleeping")}
    with pool_in_processes(1, env="rl.workers:Troubled-v0", env_options=options) as (pool, transport):
        pool.request(Wanted(length=4, num_envs=1))
        while not (tmp_path / "sleeping").exists():
            time.sleep(0.01)
        (pid,) = transport.pids().values()
    assert not alive(pid)


PARENT = """
import sys
from rl.test_ppo_processes import Wanted, pool_in_processes

if __name__ == "__main__":
    options = {"at": 1, "trouble": "sleeps", "once": sys.argv[1]}
    with pool_in_processes(1, env="rl.workers:Troubled-v0", env_options=options) as (pool, transport):
        pool.request(Wanted(length=4, num_envs=1))
        print(transport.pids()[0], flush=True)
        pool.receive()
"""


def test_a_busy_worker_does_not_outlive_the_one_who_started_it(tmp_path):
    program, sleeping = tmp_path / "parent.py", tmp_path / "sleeping"
    program.write_text(PARENT)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, str(program), str(sleeping)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    while not sleeping.exists():
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 60.0
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(pid)


def test_a_process_that_never_comes_up_is_given_up(monkeypatch):
    monkeypatch.setattr(processes, "_serve", os._exit)
    with pool_in_processes(1) as (pool, _):
        pool.request(Wanted(length=4, num_envs=1))
        with pytest.raises(WorkerLost, match=r"lost 3 times in a row with the same request, at last exited with"):
            pool.receive()
