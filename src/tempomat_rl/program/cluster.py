"""A Ray cluster for a program: the one that runs already, or one that is started for it and ends with it."""

# Ray need not be installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from tempomat.core import MissingExtra, TempomatError

_PATIENCE_S = 10.0
_QUIET: dict[str, Any] = {"logging_level": "ERROR"}


class ClusterError(TempomatError):
    """There is no Ray cluster at the address, it cannot be joined, or none can be started."""


class Joined(NamedTuple):
    """A cluster."""

    ray: Any
    """the package"""
    address: str
    ours_to_leave: bool
    """False where the program had joined it before, and goes on with it afterwards"""


def join(address: str | None, num_cpus: int, *, shows: bool = False) -> Joined:
    """Join a cluster, or start one that `ray.shutdown()`, or the end of this process, ends.

    One that is started listens on 127.0.0.1 alone, where nobody else reaches it, and has no dashboard.

    Args:
        address: `host:port`; `auto` for a cluster that runs; `local` for one of the program's own; None for the one
            that `RAY_ADDRESS` names or that `ray start` started on this machine, else one of the program's own.
        num_cpus: of one that is started: as many workers fit in.
        shows: whether what its processes print is shown here.

    Raises:
        MissingExtra: Ray is not installed.
        ClusterError: there is no such cluster, or none could be started.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise MissingExtra("Ray is not installed: pip install 'tempomat[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            with _handlers_kept():
                _init(ray, address, num_cpus, shows)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = (
                f"ray_address={address}" if address else "ray_address: none, so RAY_ADDRESS or this machine's cluster"
            )
            raise ClusterError(
                f"{where}: no cluster could be joined or started: {str(error).strip()}. Start one with `ray start "
                "--head`, with RAY_AUTH_MODE=token here if its nodes share a token; or take ray_address=local for one "
                "of the run's own"
            ) from error
    return Joined(ray, str(ray.get_runtime_context().gcs_address), ours)


def _init(ray: Any, address: str | None, num_cpus: int, shows: bool) -> None:
    if _runs(address):
        ray.init(address=address, log_to_driver=shows, **_QUIET)
        return
    with _loopback():
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=shows, **_QUIET)


def _runs(address: str | None) -> bool:
    """Whether a cluster runs that is meant; if not, one of the program's own is."""
    from ray._private import services

    named = os.environ.get("RAY_ADDRESS") if address in (None, "auto") else address
    if "://" in (named or ""):
        raise ValueError("workers are not reached through Ray's client. Run the program on a node, with host:port")
    found = cast("Any", services).canonicalize_bootstrap_address(address)
    if found is None:
        return False
    try:
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except OSError as error:
        if named or address:
            raise ConnectionError(
                f"nothing answers at {found} ({error})"
            ) from error  # Ray itself would try for minutes
        return False  # Ray remembers clusters that were killed
    return True


@contextmanager
def _loopback() -> Iterator[None]:
    """A cluster that is started meanwhile listens on 127.0.0.1 alone, as Ray's do on macOS and Windows."""
    from ray._private import ray_constants

    name, constants = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", cast("Any", ray_constants)
    named, before = os.environ.get(name), getattr(constants, "ENABLE_RAY_CLUSTER", True)
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False  # for its processes, and for this one
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(name)
        os.environ.update({} if named is None else {name: named})


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """SIGTERM stays as it was: Ray would make an end of it at which nothing is saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
