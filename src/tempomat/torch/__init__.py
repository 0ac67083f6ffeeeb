"""Tempomat on PyTorch."""

from tempomat.core import MissingExtra

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise MissingExtra("tempomat.torch needs PyTorch: pip install 'tempomat[torch]'") from error

from tempomat.torch.scheduler import Scheduler

__all__ = ["Scheduler"]
