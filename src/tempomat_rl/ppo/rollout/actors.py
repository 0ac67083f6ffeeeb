"""Rollout workers as actors of a Ray cluster: one that runs already, or one that is started here and ends with the run.

An actor takes one CPU and imports `tempomat_rl` where it lives: the same version has to be installed on every node.
Other modules are found where the program finds them, if that folder is there.
"""

# Ray need not be installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any, final

import tempomat
from tempomat.core import TempomatError
from tempomat_rl.ppo.rollout.messages import Message, Weights, WorkerSpec
from tempomat_rl.ppo.rollout.transport import WorkerFailed, WorkerLost
from tempomat_rl.ppo.rollout.worker import Answer, Worker, answer, opened, use_one_thread
from tempomat_rl.program.cluster import ClusterError, join

_WHY = re.compile(r"because (.+?)(?:\.\s|$)")
_BROKEN = re.compile(r"RPC error: (.+?) rpc_code")
_WHERE = re.compile(r"\bip: (\S+)")


@final
class Actors:
    """A Ray actor for each worker, spread over the nodes.

    Ray brings none back by itself (`max_restarts=0`): a worker that is gone, or whose node is, is told as `WorkerLost`,
    and a new one can be started wherever a CPU is free. Weights are stored once in the cluster for all workers.

    Args:
        spec_of: what the worker at a place is built from.
        num_workers: how many places there are, and CPUs of a cluster that is started here.
        timeout_s: seconds after which a worker that is waited for and says nothing counts as lost.
        ray_address: of the cluster, see `cluster.join`.

    Raises:
        MissingExtra: Ray is not installed.
        ClusterError: there is no such cluster, or none could be started.
    """

    def __init__(
        self,
        spec_of: Callable[[int], WorkerSpec],
        num_workers: int,
        *,
        timeout_s: float,
        ray_address: str | None = None,
    ) -> None:
        self._spec_of, self._num_workers, self._timeout_s = spec_of, num_workers, timeout_s
        self._ray, self._address, self._joined = join(ray_address, num_workers)
        self._new = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(
            _Actor
        )
        self._actors: dict[int, Any] = {}
        self._homes: dict[int, Any] = {}
        """References to where each actor lives, which is known once it is up."""
        self._unanswered: dict[int, Any] = {}
        self._stored: tuple[Weights, Any] | None = None
        """The weights last sent, and the reference to them in the cluster."""

    def start(self, place: int) -> None:
        self._end(place)
        self._actors[place] = actor = self._new.remote(self._spec_of(place), tempomat.__version__, _folders())
        self._homes[place] = actor.home.remote()

    def send(self, place: int, message: Message) -> None:
        name, value = message
        weights = getattr(value, "weights", None)
        if weights is not None:
            value, weights = replace(value, weights=None), self._reference(weights)
        self._unanswered[place] = self._actors[place].answer.remote(name, value, weights)

    def receive(self, place: int) -> Any:
        reference = self._unanswered.pop(place)
        try:
            ready, _ = self._ray.wait([reference], timeout=self._timeout_s)
            if not ready:
                raise self._silent(place)
            told: Answer = self._ray.get(reference, timeout=self._timeout_s)
        except self._ray.exceptions.RayError as error:
            raise self._gone(place, error) from error
        return opened(place, deepcopy(told))  # arrays as Ray hands them over are the cluster's memory, and read-only

    def homes(self) -> dict[int, tuple[str, int]]:
        """The node and the process of each worker, by place; waits until all are up."""
        return dict(zip(self._homes, self._ray.get(list(self._homes.values()), timeout=self._timeout_s), strict=True))

    def describe(self) -> str:
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        few = f", which has {self._cpus} CPUs for them" if self._cpus < self._num_workers else ""
        return f"{_several(self._num_workers, 'Ray actor')} on {_several(nodes, 'node')} of {self._address}{few}"

    def close(self) -> None:
        for place in list(self._actors):
            self._end(place)
        self._stored = None
        if self._joined:
            self._joined = False
            self._ray.shutdown()

    def _end(self, place: int) -> None:
        actor = self._actors.pop(place, None)
        self._unanswered.pop(place, None)
        self._homes.pop(place, None)
        if actor is not None and self._ray.is_initialized():
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)

    def _reference(self, weights: Weights) -> Any:
        """To weights in the cluster, which are stored when they are sent for the first time."""
        if self._stored is None or self._stored[0] is not weights:
            self._stored = weights, self._ray.put(dict(weights))
        return self._stored[1]

    @property
    def _cpus(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def _silent(self, place: int) -> TempomatError:
        """Why there is no answer: it hangs; or no CPU is free for it, and another would have to wait as well."""
        up, _ = self._ray.wait([self._homes[place]], timeout=0)
        if up or self._ray.available_resources().get("CPU", 0) >= 1:
            return WorkerLost(place, f"silent for {self._timeout_s:g} s")
        return WorkerFailed(
            place,
            f"no CPU was free for it for {self._timeout_s:g} s: a worker takes one, and the cluster has {self._cpus}. "
            "Lower num_workers, add nodes, or wait longer with worker_timeout",
        )

    def _gone(self, place: int, error: Exception) -> TempomatError:
        """What an error of Ray's means: that it is no more, or that no other would do better in its place."""
        errors = self._ray.exceptions
        failed = isinstance(error, errors.RayTaskError | errors.RuntimeEnvSetupError)
        if failed or getattr(error, "actor_init_failed", False):
            what = str(error).strip().splitlines()[-1].strip()
            return WorkerFailed(place, f"cannot work where it is: {what}", str(error))
        return WorkerLost(place, brief(error))


@final
class _Actor:
    """A worker, as Ray holds it."""

    def __init__(self, spec: WorkerSpec, version: str, folders: list[str]) -> None:
        if version != tempomat.__version__:
            raise ClusterError(
                f"tempomat {tempomat.__version__} is installed there, and the run has {version}. Install the same"
            )
        sys.path += [one for one in folders if one not in sys.path and os.path.isdir(one)]
        use_one_thread()
        self._worker = Worker(spec)

    def home(self) -> tuple[str, int]:
        """The node and the process."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()

    def answer(self, name: str, value: Any, weights: Weights | None) -> Answer:
        """To a message, with the weights that were left out of it."""
        return answer(self._worker, (name, value if weights is None else replace(value, weights=weights)))


def _folders() -> list[str]:
    """Where the program finds modules that nobody installed, such as those of its environments."""
    return [os.path.abspath(one) for one in sys.path if not one.startswith((sys.prefix, sys.base_prefix))]


def brief(error: Exception) -> str:
    """The clause of Ray's many words that says what happened, and where.

    >>> brief(Exception("The actor died.\\n ip: 10.0.0.2\\nThe actor is dead because its node has died. Node Id: 12"))
    'its node has died (10.0.0.2)'
    """
    text = " ".join(str(error).split())
    why, broken, where = _WHY.search(text), _BROKEN.search(text), _WHERE.search(text)
    said = why[1] if why else f"{type(error).__name__}: {text.partition('. ')[0]}"
    said = f"connection lost: {broken[1]}" if broken and not why else said
    return f"{said} ({where[1]})" if where else said


def _several(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)
