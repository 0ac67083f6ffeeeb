"""Rollouts: made in this process, by processes of this machine, or by actors of a Ray cluster.

`source.Source` is what the loop sees. `local.Local` is one; `pool.Pool` is the other, over a `transport.Transport` that
carries `messages` to each `worker.Worker`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tempomat_rl.ppo.rollout.messages import WorkerSpec
from tempomat_rl.ppo.rollout.transport import Transport

__all__ = ["make_transport"]


def make_transport(
    kind: Literal["process", "ray"],
    spec_of: Callable[[int], WorkerSpec],
    num_workers: int,
    *,
    timeout_s: float,
    ray_address: str | None = None,
) -> Transport:
    """What reaches the workers of a run.

    Args:
        kind: processes of this machine, or actors of a Ray cluster.
        spec_of: what the worker at a place is built from.
        num_workers: how many places there are.
        timeout_s: seconds after which a worker that says nothing counts as lost.
        ray_address: of the cluster; None for the one in `RAY_ADDRESS` or on this machine, else one that is started.

    Raises:
        MissingExtra: `ray` is wanted and not installed.
    """
    if kind == "process":
        from tempomat_rl.ppo.rollout.processes import Processes

        return Processes(spec_of, num_workers, timeout_s=timeout_s)
    from tempomat_rl.ppo.rollout.actors import Actors  # Ray is an extra, and takes a second to import

    return Actors(spec_of, num_workers, timeout_s=timeout_s, ray_address=ray_address)
