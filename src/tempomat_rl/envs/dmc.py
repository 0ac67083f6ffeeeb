"""Tasks of dm_control from pixels, as DrQ-v2 trains on them.

Shapes: N environments, A actions, 3 x H x W pixels. Rendering needs OpenGL; without a display `MUJOCO_GL=egl` (a GPU or
Mesa) or `MUJOCO_GL=osmesa` says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tempomat.core import MissingExtra
from tempomat.core.errors import StateError, TempomatError, did_you_mean
from tempomat_rl.frames import Frame, FrameSpec, Step

_CAMERAS = {"quadruped": 2}
"""The camera that DrQ-v2 looks through, where it is not the first one."""


class ControlError(TempomatError):
    """A task of dm_control that there is not, or that cannot be drawn here."""


@final
class ControlTask:
    """N environments of one dm_control task, one after another; `frames.Task`.

    An episode of the suite lasts 1 000 frames and ends by time alone, so it bootstraps. The reward of a decision is the
    sum over its frames. There is no state beside the picture, and no success.

    Args:
        domain, task: as dm_control names them: `cartpole`, `balance`.
        num_envs: N.
        seed: of all episodes.
        image_size: pixels along an edge.
        action_repeat: frames for one decision.

    Raises:
        MissingExtra: dm_control is not installed.
        ControlError: there is no such task, or no OpenGL.
    """

    def __init__(
        self, domain: str, task: str, num_envs: int, seed: int, *, image_size: int = 84, action_repeat: int = 2
    ) -> None:
        self.num_envs, self.seed, self.action_repeat = num_envs, seed, action_repeat
        self._camera = _CAMERAS.get(domain, 0)
        self._envs = [_load(domain, task, seed, place) for place in range(num_envs)]
        action = self._envs[0].action_spec()
        self._low, self._high = np.asarray(action.minimum, float), np.asarray(action.maximum, float)
        self.action_size = int(np.prod(action.shape))
        self.spec = FrameSpec((3, image_size, image_size), 0)
        self.return_N, self.length_N = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        self._over_N = np.zeros(num_envs, bool)

    def reset(self) -> Frame:
        """Begin an episode in every environment."""
        for place in range(self.num_envs):
            self._begin(place)
        return self._look()

    def step(self, action_NA: NDArray[np.float32]) -> Step:
        """One decision, `action_repeat` frames or up to the episode's end, in every environment."""
        first_N = self._over_N.copy()
        reward_N, terminated_N = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        for place in range(self.num_envs):
            if first_N[place]:
                self._begin(place)
                continue
            action = self._low + (np.clip(action_NA[place], -1.0, 1.0) + 1.0) / 2.0 * (self._high - self._low)
            reward_N[place], self._over_N[place], terminated_N[place] = self._act(place, action)
            self.return_N[place] += reward_N[place]
            self.length_N[place] += 1
        truncated_N = self._over_N & ~terminated_N & ~first_N
        return Step(self._look(), reward_N, terminated_N, truncated_N, first_N, np.zeros(self.num_envs, bool))

    def _begin(self, place: int) -> None:
        self._envs[place].reset()
        self.return_N[place], self.length_N[place], self._over_N[place] = 0.0, 0, False

    def _act(self, place: int, action: NDArray[np.float64]) -> tuple[float, bool, bool]:
        """Reward, whether the episode is over, and whether it ended for another reason than time."""
        total = 0.0
        for _ in range(self.action_repeat):
            seen = self._envs[place].step(action)
            total += seen.reward or 0.0
            if seen.last():
                return total, True, seen.discount == 0.0
        return total, False, False

    def _look(self) -> Frame:
        _, height, width = self.spec.image or (3, 0, 0)
        try:
            pictures = [env.physics.render(height, width, camera_id=self._camera) for env in self._envs]
        except Exception as error:  # each way to OpenGL has errors of its own
            raise ControlError(
                f"dm_control cannot draw here: {error}. Without a display set MUJOCO_GL=egl or MUJOCO_GL=osmesa; "
                "Debian has them in libegl1 and libosmesa6"
            ) from error
        image_NCHW = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.uint8, order="C")
        return Frame(image_NCHW, np.zeros((self.num_envs, 0), np.float32))

    # going on

    def state_dict(self) -> dict[str, Any]:
        """Physics, random generators and counts."""
        return {
            "num_envs": self.num_envs,
            "seed": self.seed,
            "physics": [_physics_state(env) for env in self._envs],
            "random": [_random_state(env) for env in self._envs],
            "frames": [int(env._step_count) for env in self._envs],
            "return": self.return_N.copy(),
            "length": self.length_N.copy(),
            "over": self._over_N.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the same numbers.

        Raises:
            StateError: of another number of environments, or of another task.
        """
        if state["num_envs"] != self.num_envs or state["seed"] != self.seed:
            raise StateError(f"the state is of {state['num_envs']} environments with the seed {state['seed']}")
        for place, env in enumerate(self._envs):
            env.reset()
            _load_physics(env, np.asarray(state["physics"][place]))
            kind, keys, *rest = state["random"][place]
            env.task.random.set_state((kind, np.asarray(keys), *rest))
            env._step_count, env._reset_next_step = state["frames"][place], False
        for name, array in (("return", self.return_N), ("length", self.length_N), ("over", self._over_N)):
            array[...] = state[name]


def _load(domain: str, task: str, seed: int, place: int) -> Any:
    try:
        from dm_control import suite
    except ImportError:
        raise MissingExtra("tasks of dm_control need it: pip install 'tempomat[dmc]'") from None
    known = [f"{one}_{other}" for one, other in suite.ALL_TASKS]
    if (domain, task) not in suite.ALL_TASKS:
        name = f"{domain}_{task}"
        raise ControlError(f"dm_control has no task {name}.{did_you_mean(name, known)}")
    own = int(np.random.SeedSequence((seed, place)).generate_state(1, np.uint32)[0])
    return suite.load(domain, task, task_kwargs={"random": own})


def _physics_state(env: Any) -> NDArray[np.float64]:
    """All that integration depends on, what the solver starts from included."""
    mujoco, whole = _mujoco()
    model, data = env.physics.model.ptr, env.physics.data.ptr
    state = np.empty(mujoco.mj_stateSize(model, whole))
    mujoco.mj_getState(model, data, state, whole)
    return state


def _load_physics(env: Any, state: NDArray[np.float64]) -> None:
    mujoco, whole = _mujoco()
    model, data = env.physics.model.ptr, env.physics.data.ptr
    size = mujoco.mj_stateSize(model, whole)
    if state.shape != (size,):
        raise StateError(f"the state is of another task: its physics has {state.shape}, this one's {(size,)}")
    mujoco.mj_setState(model, data, state, whole)
    mujoco.mj_forward(model, data)
    mujoco.mj_setState(model, data, state, whole)  # forward has moved what the solver starts from


def _mujoco() -> tuple[Any, Any]:
    """The library, and which parts of a state are meant: all that integration reads."""
    mujoco: Any = import_module("mujoco")
    return mujoco, mujoco.mjtState.mjSTATE_INTEGRATION


def _random_state(env: Any) -> list[Any]:
    kind, keys, *rest = env.task.random.get_state()
    return [kind, keys, *rest]
