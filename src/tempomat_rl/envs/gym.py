"""The landing task behind Gymnasium's interface, for one drone and for N.

Shapes: N environments, F stacked frames, H x W pixels, K numbers of state per frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, SupportsFloat, final

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from tempomat.core import StateError
from tempomat.core.errors import shown
from tempomat_rl.envs.dynamics import DECISION_RATE
from tempomat_rl.envs.landing import LandingTask
from tempomat_rl.envs.spawn import Spawn
from tempomat_rl.envs.stages import Stage
from tempomat_rl.frames import Frame

if TYPE_CHECKING:
    from tempomat_rl.envs.view import Trail

Observation = dict[str, NDArray[Any]]
_STATE_BOUND = 2.0
"""All state is a share of a limit or part of a unit quaternion, and near the limit a gust of control may pass 1."""


class _Stacked:
    """A landing task whose frames are stacked: what both classes below are made of."""

    def __init__(self, num_envs: int, frame_stack: int, render_mode: str | None, options: dict[str, Any]) -> None:
        if frame_stack < 1:
            raise ValueError(f"frame_stack must be at least 1, got {frame_stack}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be rgb_array or None, got {shown(render_mode)}")
        self.num_envs, self.frame_stack, self.options = num_envs, frame_stack, options
        self.task: LandingTask | None = None
        self._frames: Observation = {}
        self._trails: dict[int, Trail] = {}

    def space(self) -> spaces.Dict:
        """Of one environment's observation."""
        spec = LandingTask(1, 0, **self.options).spec
        bound = np.full(self.frame_stack * spec.state, _STATE_BOUND, np.float32)
        parts: dict[str, spaces.Space[Any]] = {"state": spaces.Box(-bound, bound)}
        if spec.image:
            channels, height, width = spec.image
            parts["image"] = spaces.Box(0, 255, (self.frame_stack * channels, height, width), np.uint8)
        return spaces.Dict(parts)

    def reset(self, seed: int | None) -> Observation:
        """Begin episodes: those of a seed from its first on, or the next of the seed there is."""
        if seed is not None or self.task is None:
            self.task = LandingTask(self.num_envs, seed or 0, **self.options)
        return self.add(self.task.reset(), np.ones(self.num_envs, bool))

    def add(self, frame: Frame, first_N: NDArray[np.bool_]) -> Observation:
        """Each environment's latest frames, oldest first; an episode's first frame stands for those before it."""
        newest: Observation = {"state": frame.state_NK}
        if frame.image_NCHW is not None:
            newest["image"] = frame.image_NCHW
        for name, part in newest.items():
            repeated = np.repeat(part[:, None], self.frame_stack, axis=1)
            if name in self._frames:
                going = ~first_N
                repeated[going, :-1] = self._frames[name][going, 1:]
            self._frames[name] = repeated
        return {name: _flat(frames).copy() for name, frames in self._frames.items()}

    def draw(self, env_index: int) -> NDArray[np.uint8]:
        """A view of one environment, (H, W, 3) bytes, with the paths since the episode's first view."""
        from tempomat_rl.envs.view import Trail, draw  # who never renders need not wait for the painter

        if self.task is None:
            raise ValueError("render needs a reset before it")
        seconds, total = self.task.length_N[env_index] / DECISION_RATE, self.task.return_N[env_index]
        return draw(
            self.task.scene,
            env_index,
            title=self.task.stage.name,
            lines=(f"{seconds:.1f} s", f"return {total:.1f}"),
            picture=self._frames["image"][env_index, -1, 0] if "image" in self._frames else None,
            trail=self._trails.setdefault(env_index, Trail()),
        )

    def state_dict(self) -> dict[str, Any]:
        """Task and frames; paths that were drawn are no part of it."""
        if self.task is None:
            raise ValueError("state_dict needs a reset before it")
        return {"task": self.task.state_dict(), "frames": {name: part.copy() for name, part in self._frames.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Into a task of the same seed and number."""
        if self.task is None:
            raise ValueError("load_state_dict needs a reset before it")
        wrong = [name for name, part in self._frames.items() if _shape(state, name) != part.shape]
        if wrong or len(state["frames"]) != len(self._frames):
            raise StateError(f"frames: are of other observations than these environments', {', '.join(self._frames)}")
        self.task.load_state_dict(state["task"])
        self._frames = {name: part.copy() for name, part in state["frames"].items()}


def _shape(state: Mapping[str, Any], name: str) -> tuple[int, ...] | None:
    """Of one kind of frames in a state."""
    return np.shape(state["frames"][name]) if name in state.get("frames", {}) else None


def _flat(frames: NDArray[Any]) -> NDArray[Any]:
    """Frames side by side: (N, F, K) to (N, F K), and (N, F, C, H, W) to (N, F C, H, W)."""
    num, count, first, *rest = frames.shape
    return frames.reshape(num, count * first, *rest)


def _read_options(
    stage: Stage | Mapping[str, Any] | None, observation: str, image_size: int, spawn: Spawn | Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "stage": Stage.read(stage) if isinstance(stage, Mapping) else stage,
        "observation": observation,
        "image_size": image_size,
        "spawn": Spawn(**spawn) if isinstance(spawn, Mapping) else spawn,
    }


_METADATA = {"render_modes": ["rgb_array"], "render_fps": DECISION_RATE}
_ACTION_SPACE = spaces.Box(-1.0, 1.0, (LandingTask.action_size,), np.float32)


@final
class GimbalLanding(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One drone that lands on a driving pad; `LandingTask` says what an action does and what a frame holds.

    An observation is a dict: `image`, (F, H, W) bytes, and `state`, F x 11 numbers, each with the oldest frame first.
    With `observation="keypoint"` it is `state` alone, F x 15. `info` has `success` and `stage`.

    Args:
        stage: of the curriculum, as a `Stage` or a mapping of its values; without it the full task.
        observation: "image" or "keypoint".
        image_size: H and W.
        frame_stack: F.
        spawn: what episodes begin with, as a `Spawn` or a mapping.
        render_mode: "rgb_array", or None.
    """

    metadata: ClassVar[dict[str, Any]] = _METADATA

    def __init__(
        self,
        *,
        stage: Stage | Mapping[str, Any] | None = None,
        observation: Literal["image", "keypoint"] = "image",
        image_size: int = 84,
        frame_stack: int = 3,
        spawn: Spawn | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._drone = _Stacked(1, frame_stack, render_mode, _read_options(stage, observation, image_size, spawn))
        self.render_mode = render_mode
        self.observation_space = self._drone.space()  # pyright: ignore[reportAttributeAccessIssue]
        self.action_space = spaces.Box(_ACTION_SPACE.low, _ACTION_SPACE.high, dtype=np.float32)

    def set_stage(self, stage: Stage) -> None:
        """From the next step on, commands and rewards are this stage's."""
        self._drone.options["stage"] = stage
        if self._drone.task:
            self._drone.task.set_stage(stage)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; without a seed, the next one of the seed given last."""
        super().reset(seed=seed)
        if seed is None and self._drone.task is None:
            seed = int(self.np_random.integers(2**31))
        return _only(self._drone.reset(seed)), self._info(success=False)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """One decision, 1/6 s."""
        if self._drone.task is None:
            raise ValueError("step needs a reset before it")
        step = self._drone.task.step(np.asarray(action)[None])
        observation = _only(self._drone.add(step.frame, step.first_N))
        info = self._info(success=bool(step.success_N[0]))
        return observation, float(step.reward_N[0]), bool(step.terminated_N[0]), bool(step.truncated_N[0]), info

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A view of drone, pad and camera from outside, (H, W, 3) bytes; None without a render mode."""
        return self._drone.draw(0) if self.render_mode else None

    def _info(self, *, success: bool) -> dict[str, Any]:
        stage = self._drone.options["stage"] or Stage()
        return {"success": success, "stage": stage.name}


def _only(observation: Observation) -> Observation:
    """One environment's observation of a batch of one."""
    return {name: part[0] for name, part in observation.items()}


@final
class GimbalLandingVector(VectorEnv[Observation, NDArray[np.float32], NDArray[Any]]):
    """N drones as arrays; the same as `GimbalLanding`, with a first dimension of N.

    After an episode's end the next step begins a new one in that environment, and its action is ignored
    (`AutoresetMode.NEXT_STEP`). `info["success"]` is (N,).
    """

    metadata: ClassVar[dict[str, Any]] = {**_METADATA, "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        *,
        stage: Stage | Mapping[str, Any] | None = None,
        observation: Literal["image", "keypoint"] = "image",
        image_size: int = 84,
        frame_stack: int = 3,
        spawn: Spawn | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        options = _read_options(stage, observation, image_size, spawn)
        self.num_envs, self.render_mode = num_envs, render_mode
        self._drones = _Stacked(num_envs, frame_stack, render_mode, options)
        self.single_observation_space = self._drones.space()
        self.single_action_space = spaces.Box(_ACTION_SPACE.low, _ACTION_SPACE.high, dtype=np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def set_stage(self, stage: Stage) -> None:
        """From the next step on, in running episodes too, commands and rewards are this stage's."""
        self._drones.options["stage"] = stage
        if self._drones.task:
            self._drones.task.set_stage(stage)

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every environment; without a seed, the next ones of the seed given last."""
        super().reset(seed=seed)
        if seed is None and self._drones.task is None:
            seed = int(self.np_random.integers(2**31))
        return self._drones.reset(seed), {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """One decision in every environment."""
        if self._drones.task is None:
            raise ValueError("step needs a reset before it")
        step = self._drones.task.step(actions)
        observation = self._drones.add(step.frame, step.first_N)
        info = {"success": step.success_N, "_success": np.ones(self.num_envs, bool)}
        return observation, step.reward_N, step.terminated_N, step.truncated_N, info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A view of each environment from outside; None without a render mode."""
        return tuple(map(self._drones.draw, range(self.num_envs))) if self.render_mode else None

    def state_dict(self) -> dict[str, Any]:
        """Plain data and arrays, from which every running episode goes on; the stage is the caller's to keep."""
        return self._drones.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, after a reset with the same seed.

        Raises:
            StateError: it is of another number of environments, another seed, or other observations.
        """
        self._drones.load_state_dict(state)
