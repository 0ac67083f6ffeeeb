"""What flows between environments, replay and agent.

Shapes: N environments, B samples of a batch, F stacked frames, C channels, H x W pixels, K state numbers, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What one frame of an observation holds: an image of C x H x W bytes, K state numbers, or both."""

    image: tuple[int, int, int] | None
    state: int


class Frame(NamedTuple):
    """The newest frame of N environments. Without an image spec `image` is None; `state` is (N, 0) without a state."""

    image_NCHW: NDArray[np.uint8] | None
    state_NK: NDArray[np.float32]


class Step(NamedTuple):
    """What one step of N environments gives.

    An environment whose episode ended at the last step is reset by this one: its action is ignored, its reward is 0,
    `first` is true, and the step is no environment step. (Gymnasium's `AutoresetMode.NEXT_STEP`.)
    """

    frame: Frame
    reward_N: NDArray[np.float64]
    terminated_N: NDArray[np.bool_]
    truncated_N: NDArray[np.bool_]
    first_N: NDArray[np.bool_]
    success_N: NDArray[np.bool_]


class Task(Protocol):
    """N environments of one kind, as arrays."""

    num_envs: int
    action_size: int
    action_repeat: int
    spec: FrameSpec
    return_N: NDArray[np.float64]
    """Rewards of the running episode summed up; kept until the next one begins."""
    length_N: NDArray[np.int64]
    """Its decisions so far."""

    def reset(self) -> Frame:
        """Begin an episode in every environment."""
        ...

    def step(self, action_NA: NDArray[np.float32]) -> Step:
        """One decision in every environment; actions are in [-1, 1]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on, the random generator among it; plain data and NumPy arrays."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, with the same numbers."""
        ...


class Observation(NamedTuple):
    """Stacked frames, oldest first, as tensors."""

    image_BFCHW: torch.Tensor | None
    """uint8, B x (F * C) x H x W"""
    state_BFK: torch.Tensor
    """float32, B x F x K"""


class Batch(NamedTuple):
    """Transitions over n steps."""

    observation: Observation
    action_BA: torch.Tensor
    reward_B: torch.Tensor
    """discounted sum of the rewards on the way, unscaled"""
    discount_B: torch.Tensor
    """discount to the power of the steps made; 0 where the episode terminated on the way"""
    next_observation: Observation
