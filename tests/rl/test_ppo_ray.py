"""Rollout workers as actors of a real cluster, which are killed and whose nodes are; numbers as of workers here."""

# Ray need not be installed.
# pyright: reportMissingImports=false

import os
import re
import signal
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rl.runs import never
from rl.test_ppo_resume import numbers, rows
from rl.test_ppo_rollout import made, pool_of, spec_of, told
from rl.test_ppo_sweep import alone, ended, folders, sweep
from rl.test_ppo_workers import config, whole
from rl.workers import wait_shortly

import tempomat
from tempomat.cli import main as tempomat_command
from tempomat.core import MissingExtra
from tempomat_rl.ppo.rollout import make_transport
from tempomat_rl.ppo.rollout.pool import Pool
from tempomat_rl.ppo.rollout.source import Wanted
from tempomat_rl.ppo.rollout.transport import WorkerFailed
from tempomat_rl.ppo.train import Training
from tempomat_rl.program import cluster as joining
from tempomat_rl.program.cluster import ClusterError
from tempomat_rl.program.sweeping import Sweep

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Ray's own, where nodes start
LONG = 120.0
SIZES = [(12, 3)] * 4


@pytest.fixture(scope="module")
def cluster():
    """Room for two workers on the first node."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    one = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield one
    one.shutdown()


@pytest.fixture
def second(cluster):
    """A second node, with room for one worker; it may be removed."""
    node = cluster.add_node(num_cpus=1)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@contextmanager
def pool_of_actors(num_workers, address, **other: Any):
    like, _ = pool_of(num_workers, **other)
    transport: Any = make_transport(
        "ray",
        lambda place: spec_of(place, num_workers, **other),
        num_workers,
        timeout_s=LONG,
        ray_address=address,
    )
    pool = Pool(transport, num_workers, like._learner, like.normalizer)
    pool.refresh(0)
    try:
        yield pool, transport
    finally:
        pool.close()


def test_actors_on_two_nodes_give_what_this_process_does(cluster, second):
    values: dict[str, Any] = {"normalize_observation": True, "normalize_reward": True}
    with pool_of_actors(2, cluster.address, **values) as (pool, transport):
        assert pool.describe() == f" in 2 Ray actors on 2 nodes of {cluster.address}"
        found = made(pool, *SIZES, noise=0.1)
        homes = transport.homes()
        assert {node for node, _ in homes.values()} == {cluster.head_node.node_id, second.node_id}
        assert len({pid for _, pid in homes.values()} - {os.getpid()}) == 2
        assert found == made(pool_of(2, **values)[0], *SIZES, noise=0.1)


def test_a_rollout_is_the_runs_own_to_write(cluster):
    with pool_of_actors(1, cluster.address) as (pool, _):
        pool.request(Wanted(length=4, num_envs=2))
        rollout: Any = pool.receive().rollout
        assert rollout.observation_TNO.flags.writeable
        assert rollout.reward_TN.flags.writeable


def test_weights_are_stored_once_for_all_workers(cluster, monkeypatch):
    with pool_of_actors(2, cluster.address) as (pool, transport):
        put, stored = transport._ray.put, []
        monkeypatch.setattr(transport._ray, "put", lambda value: stored.append(sorted(value)) or put(value))
        made(pool, *SIZES[:2])
        pool.refresh(1)
        assert [one["version"] for one in made(pool, *SIZES[:2])] == [1, 1]
        assert stored == [sorted(pool._weights)] * 2


def test_actors_whose_processes_are_killed_change_no_number(cluster, second):
    with pool_of_actors(2, cluster.address) as (pool, transport):
        found = made(pool, *SIZES[:1])
        os.kill(transport.homes()[0][1], signal.SIGKILL)  # between two requests
        found += made(pool, *SIZES[1:2])
        pool.request(Wanted(length=12, num_envs=3))
        os.kill(transport.homes()[1][1], signal.SIGKILL)  # with a request before it, or answered already
        pool.receive()
        found += made(pool, *SIZES[3:])
        expected = made(pool_of(2)[0], *SIZES)
        assert found == expected[:2] + expected[3:]
        news = pool.take_news()
        assert news[0]["place"] == 0
        assert all(one["why"].startswith(("its worker process has died", "connection lost")) for one in news)


def test_the_workers_of_a_node_that_dies_go_on_at_what_is_left(cluster, second):
    with pool_of_actors(2, cluster.address, env="Acrobot-v1", normalize_observation=True) as (pool, transport):
        found = made(pool, *SIZES[:1])
        pool.request(Wanted(length=12, num_envs=3))
        doomed = lose(cluster, second, transport)
        pool.receive()
        found += [None, *made(pool, *SIZES[2:])]
        assert {node for node, _ in transport.homes().values()} == {cluster.head_node.node_id}
        assert doomed in [one["place"] for one in pool.take_news()]
        expected = made(pool_of(2, env="Acrobot-v1", normalize_observation=True)[0], *SIZES)
        assert found[0] == expected[0]
        assert found[2:] == expected[2:]


def lose(cluster, node, transport):
    """A node dies with everything on it; returns the place of its worker."""
    ((place, pid),) = [(place, pid) for place, (home, pid) in transport.homes().items() if home == node.node_id]
    cluster.remove_node(node, allow_graceful=False)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # a process of a machine that dies has no second to go on
    return place


RUN = ["num_workers=2", "overlap=true", "policy_refresh=2", "normalize_observation=true", "vectorize=false"]


def test_a_run_whose_actors_and_node_die_has_the_numbers_of_one_with_processes(cluster, second, tmp_path):
    expected = whole(tmp_path / "processes", *RUN, "rollout=process")
    training = Training(config(tmp_path / "actors", *RUN, "rollout=ray", f"ray_address={cluster.address}"))
    source: Any = training.source
    with closing(training):
        transport = source._transport
        assert not training.run(lambda: training.env_steps >= 150).finished
        homes = dict(transport.homes().values())
        assert homes.keys() == {cluster.head_node.node_id, second.node_id}
        os.kill(homes[cluster.head_node.node_id], signal.SIGKILL)  # the second node has no room for another
        assert not training.run(lambda: training.env_steps >= 350).finished
        lose(cluster, second, transport)
        assert training.run(never).finished
        assert {node for node, _ in transport.homes().values()} == {cluster.head_node.node_id}
        assert numbers(training) == expected
    recorded: list[Any] = rows(tmp_path / "actors")
    replaced = [row for row in recorded if row.get("event") == "worker_replaced"]
    assert len(replaced) >= 2
    assert [row for row in recorded if row not in replaced] == rows(tmp_path / "processes")


@pytest.mark.parametrize("trouble", ["sleeps", "exits", "raises"])
def test_an_environment_in_trouble_is_waited_for_replaced_or_reported(cluster, trouble, tmp_path):
    options = {"at": 5, "trouble": trouble, "once": str(tmp_path / "once")}
    other: dict[str, Any] = {"env": "rl.workers:Troubled-v0"}
    with pool_of_actors(1, cluster.address, env_options=options, **other) as (pool, transport):
        found = made(pool, (4, 1))
        pool.request(Wanted(length=4, num_envs=1))
        if trouble == "raises":
            with pytest.raises(WorkerFailed, match=r"rollout worker 0: ZeroDivisionError: no such place\nTraceback"):
                pool.receive()
            return
        if trouble == "sleeps":
            wait_shortly(transport, LONG)
        last = pool.receive()
        (event,) = pool.take_news()
        assert event["why"].startswith("silent for 0.2 s" if trouble == "sleeps" else "its worker process has died")
    calm = pool_of(1, env_options={"at": 0, "trouble": "none"}, **other)[0]
    assert found == made(calm, (4, 1))
    calm.request(Wanted(length=4, num_envs=1))
    assert told(last.rollout) == told(calm.receive().rollout)


def test_a_worker_for_which_no_cpu_is_free_is_reported(cluster):
    with pool_of_actors(3, cluster.address) as (pool, transport):
        while "on 1 node " not in pool.describe():  # until the cluster has taken note of nodes that were removed
            time.sleep(0.05)
        assert pool.describe().endswith(", which has 2 CPUs for them")
        for place in range(3):
            transport.start(place)
        ray = transport._ray
        up, waiting = ray.wait(list(transport._homes.values()), num_returns=2, timeout=LONG)
        (place,) = [place for place, home in transport._homes.items() if home in waiting]
        assert len(up) == 2
        transport.send(place, ("load", {}))
        transport._timeout_s = 0.2
        with pytest.raises(
            WorkerFailed, match=r"no CPU was free for it for 0\.2 s: a worker takes one, and the cluster has 2"
        ):
            transport.receive(place)


def test_a_node_with_another_version_is_reported(cluster, monkeypatch):
    here = tempomat.__version__
    monkeypatch.setattr(tempomat, "__version__", "0.0.1")
    with pool_of_actors(1, cluster.address) as (pool, _):
        pool.request(Wanted(length=4, num_envs=1))
        with pytest.raises(WorkerFailed, match=rf"tempomat {here} is installed there, and the run has 0\.0\.1"):
            pool.receive()


def test_a_sweep_on_a_cluster_is_compared_and_one_that_fails_stops_no_other(cluster, second, tmp_path, capsys):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    arguments = ["seed=1,-1,2", "rollout=local", "hydra/launcher=ray"]
    with sweep(tmp_path, *arguments, RAY_ADDRESS=cluster.address) as process:
        status, said = ended(process)
    assert status == 1, said
    assert re.search(r"^failed, of the sweep's runs: 1\n1_.*: seed: must be from 0", said, re.MULTILINE)
    one, _, other = folders(tmp_path)
    assert rows(other) == alone(tmp_path / "alone", "seed=2")
    assert tempomat_command(["compare", str(one), str(other)]) == 0
    assert "seeds 1, 2;" in capsys.readouterr().out


def test_a_cluster_that_runs_is_found_and_left_running(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    for address in (None, "auto"):
        with pool_of_actors(1, address) as (pool, transport):
            assert transport._address == cluster.address
            pids = [pid for _, pid in transport.homes().values()]
            assert len(made(pool, (4, 1))) == 1
            pids = [pid for _, pid in transport.homes().values()]
        assert not transport._ray.is_initialized()
        wait_for_end(pids)
    assert cluster.head_node.any_processes_alive()


def test_a_cluster_of_the_runs_own_listens_to_this_machine_alone_and_ends_with_it(cluster, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with pool_of_actors(2, "local") as (pool, transport):
        assert transport._address.startswith("127.0.0.1:")
        assert transport._address != cluster.address
        assert signal.getsignal(signal.SIGTERM) is before
        assert made(pool, *SIZES[:2]) == made(pool_of(2)[0], *SIZES[:2])
        pids = [pid for _, pid in transport.homes().values()]
    assert not transport._ray.is_initialized()
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
    wait_for_end(pids)
    transport.close()


def wait_for_end(pids):
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.05)


def test_a_sweeps_own_cluster_listens_to_this_machine_alone_unless_the_command_line_begins_ray(monkeypatch, tmp_path):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    one = Sweep(tmp_path, tmp_path, "ray")
    with one._joined(["-m", "seed=1"]):
        assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    assert not ray.is_initialized()
    with one._joined(["-m", "hydra.launcher.ray.init.address=auto"]):
        assert not ray.is_initialized()


def test_a_cluster_that_a_program_had_joined_stays_joined(cluster):
    import ray

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with pool_of_actors(1, "local") as (pool, _):
            assert pool.describe().endswith(cluster.address)
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:10001"])
def test_a_cluster_that_is_not_there_is_an_error(address):
    pytest.importorskip("ray")
    with pytest.raises(ClusterError, match=rf"ray_address={address}: no cluster could be joined or started: "):
        make_transport("ray", spec_of, 1, timeout_s=LONG, ray_address=address)


def test_a_killed_cluster_that_ray_remembers_is_none_unless_it_is_asked_for(monkeypatch):
    pytest.importorskip("ray")
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "canonicalize_bootstrap_address", lambda _: "127.0.0.1:1")
    assert not joining._runs(None)
    with pytest.raises(ConnectionError, match=r"nothing answers at 127\.0\.0\.1:1 "):
        joining._runs("auto")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"nothing answers at 127\.0\.0\.1:1 "):
        joining._runs(None)


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"Ray is not installed: pip install 'tempomat\[ray\]'"):
        make_transport("ray", spec_of, 1, timeout_s=LONG)
