"""The rollouts of several workers as one.

Environment p of N belongs to worker p mod W, whatever N is: as N changes, no environment moves to another worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Ends, Observation, Rollout, joined

_PLAIN = (
    "action_TN", "logprob_TN", "value_TN", "reward_TN", "terminated_TN", "truncated_TN", "valid_TN", "final_value_TN",
)  # fmt: skip


def share(place: int, num_envs: int, num_workers: int) -> int:
    """How many of N environments are a worker's.

    >>> [share(place, 5, 3) for place in range(3)], share(2, 2, 3)
    ([2, 2, 1], 0)
    """
    return len(range(place, num_envs, num_workers))


def merged(parts: Sequence[Rollout]) -> Rollout:
    """One rollout, its columns in the order of the environments' places.

    Args:
        parts: of the workers from the first on, as many as have environments; all of the same length.
    """
    if len(parts) == 1:
        return parts[0]
    width = sum(part.num_envs for part in parts)

    def columns(read: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        return _interleaved([read(part) for part in parts], width, axis=1)

    arrays: dict[str, Any] = {name: columns(attrgetter(name)) for name in _PLAIN}
    return Rollout(
        observation_TNO=_observations([part.observation_TNO for part in parts], width, axis=1),
        **arrays,
        last_value_N=_interleaved([part.last_value_N for part in parts], width, axis=0),
        ends=_ends(parts, width),
    )


def _interleaved(arrays: Sequence[NDArray[Any]], width: int, axis: int) -> NDArray[Any]:
    first, count = arrays[0], len(arrays)
    whole = np.empty((*first.shape[:axis], width, *first.shape[axis + 1 :]), first.dtype)
    for place, array in enumerate(arrays):
        whole[(slice(None),) * axis + (slice(place, None, count),)] = array
    return whole


def _observations(parts: Sequence[Observation], width: int, axis: int) -> Observation:
    first: Any = parts[0]
    others: Any = parts
    if isinstance(first, Mapping):
        return {name: _interleaved([part[name] for part in others], width, axis) for name in first}
    return _interleaved(others, width, axis)


def _ends(parts: Sequence[Rollout], width: int) -> Ends | None:
    ends = [part.ends for part in parts if part.ends is not None]
    if len(ends) < len(parts):
        return None
    stride = np.array([1, len(parts)])
    places = [one.place_K2 * stride + [0, place] for place, one in enumerate(ends)]
    finals = [one.final_KO for one in ends if one.final_KO is not None]
    last_NO = _observations([one.last_NO for one in ends], width, axis=0)
    return Ends(last_NO, joined(finals) if finals else None, np.concatenate(places))
