"""What every test stands on: one thread, no screen, no accelerator, and the same draws at every run."""

import os
import random
import sys

# Read by the libraries when they are first imported, hence before any of them; two workers with a pool of
# threads each would only wait for one another.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "agg")

import signal

import hypothesis
import numpy as np
import pytest

# A run in a shell's background ignores Ctrl-C, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: how long an example takes is the machine's affair. No database: no run knows of the one before.
hypothesis.settings.register_profile("tempomat", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("tempomat")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Start every test from the same global random state, in whatever order they run."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the libraries under test draw from the global state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` where PyTorch sees none; nothing else makes it import PyTorch."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))
