"""A stage of the curriculum: how far the gimbal may turn, and what is paid for keeping the pad in view."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core.errors import Fault, PlanError, did_you_mean, list_faults, shown


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the landing task. The defaults are the full task.

    Args:
        name: what logs call it.
        pitch, roll, yaw: the share of the gimbal's range that an action of 1 commands, from 0 (locked) to 1. No action
            commands roll, so its share changes nothing; presets name it all the same.
        visibility_reward: whether `visibility_weight` is paid.
        visibility_weight: what a pad in the middle of the image is worth per decision; not negative.
        not_visible: the reward of a decision after which the pad is out of view, in place of all shaping; at most 0.
            It holds in every stage, whether or not the visibility reward is on.
        smoothness: the price of a squared change of the gimbal's command; not negative.
        gimbal: off locks the camera straight down.
        yaw_only: pitch and roll are locked whatever their shares are.

    Raises:
        PlanError: a share outside 0 to 1, a weight or price of the wrong sign, a value of another type. All faults
            at once.

    Example:
        >>> Stage(name="S2", pitch=0.25, yaw=0.35).mask
        array([0.25, 0.35])
        >>> Stage(name="S1", pitch=0.25, yaw=0.15, yaw_only=True).mask
        array([0.  , 0.15])
    """

    name: str = "full"
    pitch: float = 1.0
    roll: float = 0.0
    yaw: float = 1.0
    visibility_reward: bool = True
    visibility_weight: float = 0.10
    not_visible: float = -0.025
    smoothness: float = 1e-3
    gimbal: bool = True
    yaw_only: bool = False

    def __post_init__(self) -> None:
        faults = tuple(_faults(self))
        if faults:
            raise PlanError(list_faults(f"stage {shown(self.name)}", faults), faults)

    @property
    def mask(self) -> NDArray[np.float64]:
        """Shares of the gimbal's range per action, pitch and yaw; what the stage switches off is 0."""
        pitch = self.pitch if self.gimbal and not self.yaw_only else 0.0
        return np.array([pitch, self.yaw if self.gimbal else 0.0])

    @property
    def weight(self) -> float:
        """What a pad in the middle of the image is worth; 0 where the visibility reward is off."""
        return self.visibility_weight if self.visibility_reward else 0.0

    @property
    def price(self) -> float:
        """The price of a squared change of command; 0 where the gimbal is locked."""
        return self.smoothness if self.gimbal else 0.0

    @classmethod
    def read(cls, mapping: Mapping[str, Any]) -> Stage:
        """A stage from a config's mapping; keys that are not there keep the full task's values.

        Raises:
            PlanError: unknown keys, each with the nearest known one, and every fault of a value.
        """
        if not isinstance(mapping, Mapping):
            raise PlanError(f"a stage must be a mapping of names to values, got {shown(mapping)}")
        known = [field.name for field in fields(cls)]
        faults = [
            Fault(str(key), f"a stage has no such value; it has {', '.join(known)}.{did_you_mean(str(key), known)}")
            for key in mapping
            if key not in known
        ]
        try:
            stage = cls(**{key: value for key, value in mapping.items() if key in known})
        except PlanError as error:
            faults += error.faults
        else:
            if not faults:
                return stage
        raise PlanError(list_faults(f"stage {shown(mapping.get('name', 'full'))}", faults), faults)


_BOUNDS: dict[str, tuple[float, float]] = {
    "pitch": (0.0, 1.0),
    "roll": (0.0, 1.0),
    "yaw": (0.0, 1.0),
    "visibility_weight": (0.0, math.inf),
    "not_visible": (-math.inf, 0.0),
    "smoothness": (0.0, math.inf),
}


def _faults(stage: Stage) -> Iterator[Fault]:
    if not isinstance(stage.name, str) or not stage.name:
        yield Fault("name", f"must be a word, got {shown(stage.name)}")
    for name in ("visibility_reward", "gimbal", "yaw_only"):
        if type(value := getattr(stage, name)) is not bool:
            yield Fault(name, f"must be true or false, got {shown(value)}")
    for name, (low, high) in _BOUNDS.items():
        value = getattr(stage, name)
        if type(value) not in (int, float) or not math.isfinite(value):
            yield Fault(name, f"must be a finite number, got {shown(value)}")
        elif not low <= value <= high:
            bound = f"from {low:g} to {high:g}" if high == 1.0 else "not negative" if low == 0.0 else "at most 0"
            yield Fault(name, f"must be {bound}, got {value:g}")
