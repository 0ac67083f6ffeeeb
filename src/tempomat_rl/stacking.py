"""The newest frames, stacked for acting."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tempomat.core.errors import Fault, StateError, list_faults, shown
from tempomat_rl.frames import Frame, FrameSpec, Observation


class FrameStack:
    """The newest F frames of N environments, for acting; an episode's first frame is repeated.

    Example:
        >>> stack = FrameStack(FrameSpec(None, 1), 3, num_envs=1)
        >>> stack.push(Frame(None, np.array([[7]], np.float32)), np.array([True])).state_BFK.tolist()
        [[[7.0], [7.0], [7.0]]]
        >>> stack.push(Frame(None, np.array([[8]], np.float32)), np.array([False])).state_BFK.tolist()
        [[[7.0], [7.0], [8.0]]]
    """

    def __init__(self, spec: FrameSpec, frame_stack: int, num_envs: int) -> None:
        self.spec, self.frame_stack, self.num_envs = spec, frame_stack, num_envs
        self._image = None if spec.image is None else np.zeros((num_envs, frame_stack, *spec.image), np.uint8)
        self._state = np.zeros((num_envs, frame_stack, spec.state), np.float32)

    def push(self, frame: Frame, first_N: NDArray[np.bool_] | None = None) -> Observation:
        """Put the newest frames on top. Where `first_N` is true an episode begins; None means everywhere."""
        first = np.ones(self.num_envs, bool) if first_N is None else first_N
        self._state = _pushed(self._state, frame.state_NK, first)
        if self._image is not None:
            self._image = _pushed(self._image, frame.image_NCHW, first)
        return self.observation

    @property
    def observation(self) -> Observation:
        """What the last `push` gave. Nothing changes it afterwards."""
        image = None if self._image is None else torch.from_numpy(self._image).flatten(1, 2)
        return Observation(image, torch.from_numpy(self._state))

    def state_dict(self) -> dict[str, Any]:
        """The frames, as NumPy arrays."""
        return {"image": self._image, "state": self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            StateError: the state is incomplete, or of other environments or another height.
        """
        own = self.state_dict()
        if set(state) != set(own):
            raise StateError(f"frame stack: the state must have image and state, got {shown(sorted(state))}.")
        faults = [
            Fault(name, f"must have shape {_shape(kept)} as in this run, got {_shape(state[name])}.")
            for name, kept in own.items()
            if _shape(state[name]) != _shape(kept)
        ]
        if faults:
            raise StateError(list_faults("frame stack", faults), faults)
        self._image, self._state = state["image"], state["state"]


def _shape(array: Any) -> tuple[int, ...] | None:
    return getattr(array, "shape", None)


def _pushed(stacked: Any, newest: Any, first: NDArray[np.bool_]) -> Any:
    """A new array, since the one before may still be read as an observation."""
    moved = np.concatenate([stacked[:, 1:], np.asarray(newest, stacked.dtype)[:, None]], axis=1)
    if first.any():
        moved[first] = moved[first, -1:]
    return moved
