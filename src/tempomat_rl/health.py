"""Whether numbers are still numbers: what a run looks at before it acts, writes down and saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from tempomat.core.errors import join_path


def unfit(values: Any, path: str = "") -> Iterator[str]:
    """The path of everything in nested mappings that is, or holds, what is no finite number.

    >>> list(unfit({"networks": {"actor": torch.tensor([1.0, float("nan")])}, "loss": 2.0}))
    ['networks.actor']
    """
    if isinstance(values, Mapping):
        for key, one in values.items():
            yield from unfit(one, join_path(path, str(key)))
    elif isinstance(values, torch.Tensor):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            yield path
    elif isinstance(values, (float, np.ndarray)) and not np.isfinite(values).all():
        yield path
