"""Environments in step: any of Gymnasium's, as N at once, with an observation for each and a state that can be saved.

Two kinds. `VectorEnvs` are computed as arrays by the environment itself, where it can. `SeparateEnvs` are stepped one
after the other, every episode from a seed of its own, so that a running episode is known by its seed and its actions.

Shapes: N environments that are active, O an observation, A a continuous action.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray

import tempomat_rl.envs  # noqa: F401  registers GimbalLanding-v0
from tempomat.core import BindingError, StateError, TempomatError
from tempomat_rl.ppo.batch import Observation


class EnvError(TempomatError, ValueError):
    """There is no environment of that name, or none that a policy here can act in."""


class Step(NamedTuple):
    """What one step of N environments gives.

    Where an episode ended, `observation` is either its last one, and the next step is spent on the reset and not valid
    (Gymnasium's `NEXT_STEP`), or it is the next episode's first one, and `final` has the last one (`SAME_STEP`).
    """

    observation: Observation
    reward_N: NDArray[Any]
    terminated_N: NDArray[np.bool_]
    truncated_N: NDArray[np.bool_]
    valid_N: NDArray[np.bool_]
    final: tuple[list[int], Observation] | None
    """Places of episodes that were truncated and already begun anew, and their last observations."""
    success_N: NDArray[np.bool_] | None
    """Whether an episode that ended succeeded; None where the environment does not say."""


class Envs(ABC):
    """N environments of one kind.

    `resets_at_next_step` tells whether episodes are begun anew by a step of their own.
    """

    num_envs: int
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    resets_at_next_step: bool

    @abstractmethod
    def reset(self) -> Observation:
        """Begin an episode in each."""

    @abstractmethod
    def step(self, action_N: NDArray[Any]) -> Step:
        """One step in each of the active ones; actions as the action space has them."""

    @abstractmethod
    def resize(self, num_envs: int) -> Observation:
        """Another number of active ones. Those beyond it pause where they are, and go on when there are more again."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Plain data and arrays, from which every running episode goes on."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            StateError: it is another environment's, or cannot be brought about again.
        """

    def begin_anew(self, state: Mapping[str, Any]) -> Observation:
        """Where a state cannot be brought about: new episodes instead of its running ones, and their observations.

        Raises:
            StateError: it is of environments of another kind.
        """
        return self.reset()

    def close(self) -> None:
        """Let go of windows and files."""


@final
class VectorEnvs(Envs):
    """Environments that are computed as arrays.

    Args:
        env: with autoreset at the next or the same step.
        seed: of all episodes.
        attributes: those of `env` that its state consists of, where it cannot save itself.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], seed: int, attributes: Sequence[str] = ()) -> None:
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise EnvError(f"{env}: its autoreset must be NEXT_STEP or SAME_STEP, got {mode}. Choose one")
        self.env, self._seed, self._attributes = env, seed, tuple(attributes)
        self.num_envs = env.num_envs
        self.observation_space, self.action_space = env.single_observation_space, env.single_action_space
        self.resets_at_next_step = mode is AutoresetMode.NEXT_STEP
        self._ended_N = np.zeros(self.num_envs, bool)

    def reset(self) -> Observation:
        self._ended_N = np.zeros(self.num_envs, bool)
        return self.env.reset(seed=self._seed)[0]

    def step(self, action_N: NDArray[Any]) -> Step:
        observation, reward_N, terminated_N, truncated_N, info = self.env.step(action_N)
        valid_N = ~self._ended_N
        final = None
        if self.resets_at_next_step:
            self._ended_N = terminated_N | truncated_N
        elif "final_obs" in info:
            cut = np.flatnonzero(truncated_N & ~terminated_N).tolist()
            final = (cut, _stacked([info["final_obs"][place] for place in cut])) if cut else None
        return Step(observation, reward_N, terminated_N, truncated_N, valid_N, final, _successes(info, self.num_envs))

    def resize(self, num_envs: int) -> Observation:
        raise BindingError(
            f"num_envs: comes to {num_envs}, and these are {self.num_envs} computed together. Give vectorize=false"
        )

    def state_dict(self) -> dict[str, Any]:
        inner = self.env.unwrapped
        if not self._attributes:
            return {"env": inner.state_dict(), "ended_N": self._ended_N}  # pyright: ignore[reportAttributeAccessIssue]
        kept = {name: getattr(inner, name) for name in self._attributes}
        return {"env": kept, "rng": inner.np_random.bit_generator.state, "ended_N": self._ended_N}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.reset()
        inner, held = self.env.unwrapped, state.get("ended_N")
        if not isinstance(held, np.ndarray) or held.shape != (self.num_envs,):
            raise StateError("environments: were saved by another kind. Give the same num_envs, env and vectorize")
        self._ended_N = held.copy()
        if not self._attributes:
            inner.load_state_dict(state["env"])  # pyright: ignore[reportAttributeAccessIssue]
            return
        for name in self._attributes:
            setattr(inner, name, state["env"][name].copy())
        inner.np_random.bit_generator.state = state["rng"]

    def close(self) -> None:
        self.env.close()


@final
class SeparateEnvs(Envs):
    """Environments that are stepped one after the other, and begun anew in the step that ends an episode.

    A running episode is saved as its seed and its actions, and brought about again by doing them: exact for every
    environment whose episodes follow from these two, as Gymnasium asks of all.

    Args:
        make: builds one.
        num_envs: that are active at first.
        seed: with an environment's place and the number of its episode it gives the episode's seed.
        first, stride: these are the environments `first`, `first + stride`, ... of a run whose others are elsewhere.
    """

    resets_at_next_step = False

    def __init__(
        self,
        make: Callable[[], gymnasium.Env[Any, Any]],
        num_envs: int,
        seed: int,
        *,
        first: int = 0,
        stride: int = 1,
    ) -> None:
        self._make, self._seed, self.num_envs = make, seed, num_envs
        self._first, self._stride = first, stride
        self._envs: list[gymnasium.Env[Any, Any]] = []
        self._episodes: list[int] = []
        self._actions: list[list[Any]] = []
        self._seen: list[Any] = []
        self._build(num_envs)
        self.observation_space, self.action_space = self._envs[0].observation_space, self._envs[0].action_space

    def reset(self) -> Observation:
        for place in range(self.num_envs):
            self._begin(place, 0)
        return self._observation

    def step(self, action_N: NDArray[Any]) -> Step:
        reward_N, ends_2N = np.zeros(self.num_envs), np.zeros((2, self.num_envs), bool)
        cut: list[int] = []
        last: list[Any] = []
        success_N = np.zeros(self.num_envs, bool)
        told = False
        for place in range(self.num_envs):
            action = action_N[place]
            seen, reward, terminated, truncated, info = self._envs[place].step(action)
            self._seen[place], reward_N[place] = seen, reward
            self._actions[place].append(action)
            if terminated or truncated:
                ends_2N[:, place] = terminated, truncated
                success = info.get("success", info.get("is_success"))
                told, success_N[place] = told or success is not None, bool(success)
                if not terminated:
                    cut.append(place)
                    last.append(seen)
                self._begin(place, self._episodes[place] + 1)
        final = (cut, _stacked(last)) if cut else None
        valid_N = np.ones(self.num_envs, bool)
        return Step(self._observation, reward_N, ends_2N[0], ends_2N[1], valid_N, final, success_N if told else None)

    def resize(self, num_envs: int) -> Observation:
        before = len(self._envs)
        self._build(num_envs)
        for place in range(before, num_envs):
            self._begin(place, 0)
        self.num_envs = num_envs
        return self._observation

    def state_dict(self) -> dict[str, Any]:
        return {
            "num_envs": self.num_envs,
            "episodes": list(self._episodes),
            "actions": [np.array(actions) for actions in self._actions],
            "seen": [_arrays(seen) for seen in self._seen],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        _refuse_other(state)
        self._build(len(state["actions"]))
        for place, actions in enumerate(state["actions"]):
            self._begin(place, state["episodes"][place])
            for action in actions:
                self._seen[place] = self._envs[place].step(action)[0]
                self._actions[place].append(action)
            if not _same(_arrays(self._seen[place]), state["seen"][place]):
                raise StateError(
                    f"environment {self._global(place)}: the same seed and {len(actions)} actions led elsewhere than "
                    "before. Its episodes do not follow from their seeds, or it is another version: begin anew"
                )
        self.num_envs = state["num_envs"]

    def begin_anew(self, state: Mapping[str, Any]) -> Observation:
        _refuse_other(state)
        self._build(len(state["episodes"]))
        for place, episode in enumerate(state["episodes"]):
            self._begin(place, episode + 1)
        self.num_envs = state["num_envs"]
        return self._observation

    def close(self) -> None:
        for env in self._envs:
            env.close()

    @property
    def _observation(self) -> Observation:
        return _stacked(self._seen[: self.num_envs])

    def _build(self, num_envs: int) -> None:
        for _ in range(len(self._envs), num_envs):
            self._envs.append(self._make())
            self._episodes.append(0)
            self._actions.append([])
            self._seen.append(None)

    def _global(self, place: int) -> int:
        return self._first + place * self._stride

    def _begin(self, place: int, episode: int) -> None:
        seed = np.random.SeedSequence((self._seed, self._global(place), episode)).generate_state(1, np.uint32)
        self._episodes[place], self._actions[place] = episode, []
        self._seen[place] = self._envs[place].reset(seed=int(seed[0]))[0]


def _refuse_other(state: Mapping[str, Any]) -> None:
    """A state of environments that are computed together."""
    if "actions" not in state:
        raise StateError("environments: were saved by another kind. Give the same num_envs, env and vectorize")


SAVED_BY_ATTRIBUTES = {"CartPoleVectorEnv": ("state", "steps", "prev_done")}
"""What the state of Gymnasium's own vector environments consists of, besides their random numbers."""


def make_envs(
    env_id: str,
    num_envs: int,
    *,
    seed: int,
    options: Mapping[str, Any] | None = None,
    vectorize: bool = True,
    first: int = 0,
    stride: int = 1,
) -> Envs:
    """N environments: computed as arrays where that is wanted, there is such a kind and its state can be saved.

    Args:
        env_id: Gymnasium's, such as `CartPole-v1`, or `module:Name-v0` for one that a module registers.
        num_envs: how many.
        seed: of all their episodes.
        options: what the environment takes besides.
        vectorize: whether arrays are wanted; their number is fixed.
        first, stride: these are the environments `first`, `first + stride`, ... of a run whose others are elsewhere.

    Raises:
        EnvError: there is no such environment, it cannot be built, or its spaces are none a policy can act in.
    """
    given = dict(options or {})
    try:
        native = _native(env_id, num_envs, seed_of(seed, first), given) if vectorize else None
        envs = native or SeparateEnvs(lambda: _one(env_id, given), num_envs, seed, first=first, stride=stride)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise EnvError(f"env: {env_id}: {error}") from error
    if not isinstance(envs.action_space, (spaces.Discrete, spaces.Box)):
        raise EnvError(f"env: {env_id}: its actions are {envs.action_space}; must be Discrete or Box")
    return envs


def seed_of(seed: int, place: int) -> int:
    """Of what is random at one of several places; at the first it is the run's own, as where there is but one.

    >>> seed_of(7, 0), seed_of(7, 1) == seed_of(7, 2)
    (7, False)
    """
    return seed if not place else int(np.random.SeedSequence((seed, place)).generate_state(1, np.uint32)[0])


def _native(env_id: str, num_envs: int, seed: int, options: dict[str, Any]) -> VectorEnvs | None:
    """The environment's own vector kind, if it has one that can be saved."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)  # which `gymnasium.make` does, and `spec` does not
    if gymnasium.spec(name).vector_entry_point is None:
        return None
    env = gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **options)
    attributes = SAVED_BY_ATTRIBUTES.get(type(env.unwrapped).__name__, ())
    if not attributes and not hasattr(env.unwrapped, "load_state_dict"):
        env.close()
        return None
    return VectorEnvs(env, seed, attributes)


def _one(env_id: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make(env_id, disable_env_checker=True, **options)
    space = env.observation_space
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else (space,)
    return env if all(isinstance(part, spaces.Box) for part in parts) else FlattenObservation(env)


def _stacked(seen: Sequence[Any]) -> Observation:
    """Observations of several environments as one array, or as one by name."""
    if isinstance(seen[0], Mapping):
        return {name: np.stack([one[name] for one in seen]) for name in seen[0]}
    return np.stack(seen)


def _arrays(seen: Any) -> Any:
    if isinstance(seen, Mapping):
        return {name: np.asarray(part) for name, part in seen.items()}
    return np.asarray(seen)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(np.array_equal(part, other[name]) for name, part in one.items())
    return np.array_equal(one, other)


def _successes(info: Mapping[str, Any], num_envs: int) -> NDArray[np.bool_] | None:
    last = info.get("final_info", info)  # of the episodes that ended, where others have begun since
    told = last.get("success", last.get("is_success"))
    return None if told is None else np.broadcast_to(np.asarray(told, bool), num_envs)
