"""What the agent remembers: a ring of single frames, and transitions over n steps put together when they are drawn.

Shapes: T rows of the ring, N environments, B samples, F stacked frames, C x H x W pixels, K state numbers, A actions,
M steps of a window. A place is a row and an environment as one number, `row * N + environment`, so that one step
later is N places further, wherever the ring begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tempomat.core.errors import Fault, StateError, TempomatError, list_faults, shown
from tempomat_rl.frames import Batch, Frame, FrameSpec, Observation
from tempomat_rl.segments import checked_segments, drop_segments, read_segment, write_segments
from tempomat_rl.stacking import FrameStack

__all__ = ["FrameStack", "Replay", "ReplayError"]

FORMAT = 1

OLDEST = 255
"""Rows since an episode's first one are counted up to here, in one byte; no stack is higher."""

DRAWS = 16
"""How often a place is drawn again before all that are possible are listed; half or more of a ring's are."""


class ReplayError(TempomatError, ValueError):
    """A replay cannot be built, filled or drawn from as asked."""


class Replay:
    """The newest frames of N environments, each kept once, and transitions over `n_step` steps drawn from them.

    A transition begins at any kept frame that is not its episode's last, all equally likely. With rewards
    :math:`r_1 \\dots r_m` on the way it holds

    .. math::
        R = \\sum_{i=1}^m \\gamma^{i-1} r_i, \\qquad d = \\gamma^m \\text{, or 0 if the episode terminated on the way}

    where :math:`m` is `n_step`, or fewer where the episode ends before; an episode that ran out of time bootstraps
    from its last frame. Frames are stacked within their episode: before its first one that one is repeated. The newest
    `n_step - 1` steps wait until their windows are complete.

    Frames are handed in as they come: `add` for the first ones after a reset, then `append` for every step.

    Args:
        spec: what a frame holds.
        frame_stack: F, 1 to 256.
        num_envs: N.
        action_size: A.
        capacity: frames kept, rounded up to whole rows of N. An episode of L env steps has L + 1 of them.
        n_step: the most steps of a transition.
        discount: gamma, in (0, 1].
        seed: of the generator that draws.

    Raises:
        ReplayError: with every argument that is out of its range.

    Example:
        >>> replay = Replay(FrameSpec(None, 1), 2, num_envs=1, action_size=1, capacity=100, n_step=2, discount=0.5)
        >>> frame = lambda number: Frame(None, np.array([[number]], np.float32))
        >>> no, yes = np.array([False]), np.array([True])
        >>> replay.add(frame(0))
        >>> for number in (1, 2):
        ...     replay.append(frame(number), np.zeros((1, 1)), np.array([10.0]), no, no, no)
        >>> batch = replay.sample(1)
        >>> batch.observation.state_BFK.tolist(), batch.next_observation.state_BFK.tolist()
        ([[[0.0], [0.0]]], [[[1.0], [2.0]]])
        >>> batch.reward_B.tolist(), batch.discount_B.tolist()
        ([15.0], [0.25])
    """

    def __init__(
        self,
        spec: FrameSpec,
        frame_stack: int,
        num_envs: int,
        action_size: int,
        *,
        capacity: int,
        n_step: int = 3,
        discount: float = 0.99,
        seed: int = 0,
    ) -> None:
        whole = {"frame_stack": frame_stack, "num_envs": num_envs, "action_size": action_size}
        _check(discount, **whole, capacity=capacity, n_step=n_step)
        self.spec, self.frame_stack, self.num_envs, self.action_size = spec, frame_stack, num_envs, action_size
        self.n_step, self.discount = n_step, discount
        self.rows = -(-capacity // num_envs)
        least = (frame_stack + n_step) * num_envs
        if self.rows * num_envs < least:
            raise ReplayError(
                f"Replay: capacity: must be at least {least} for {num_envs} environments, got {capacity}."
            )
        self._begin = self._end = 0
        """Rows ever written are counted from 0; these are kept, from `_begin` to before `_end`."""
        self._columns = _columns(self.rows, spec, num_envs, action_size)
        self._generator = np.random.default_rng(seed)
        self._folder: Path | None = None
        self._segments: list[dict[str, Any]] = []
        """What of the rows is on disk in that folder."""
        self._committed: list[dict[str, Any]] = []
        """What the last committed state names."""
        self._prepare_gather()

    def __len__(self) -> int:
        """Env steps kept."""
        if self._end - self._begin == self.rows:
            return int(np.count_nonzero(~self._columns["first"]))
        kept = np.arange(self._begin, self._end) % self.rows
        return int(np.count_nonzero(~self._columns["first"][kept]))

    @property
    def memory(self) -> int:
        """Bytes once the ring is full; the system gives them as they are first written."""
        return sum(column.nbytes for column in self._columns.values())

    def describe(self) -> str:
        """One line for the start of a run."""
        pixels = self._columns["image"].nbytes if self.spec.image else 0
        share = f", {pixels / self.memory:.0%} of it images" if pixels else ""
        environments = f"{self.num_envs} environment{'s' if self.num_envs > 1 else ''}"
        frames = self.rows * self.num_envs
        return f"replay: {frames:,} frames of {environments}, {_bytes(self.memory)} when full{share}"

    @property
    def ready(self) -> bool:
        """Whether there is anything to be drawn."""
        places = self._places()
        some = (np.arange(begin, min(begin + 1024, places)) for begin in range(0, places, 1024))
        return any(bool(self._possible(place_B).any()) for place_B in some)

    def add(self, frame: Frame) -> None:
        """The first frames of episodes that begin in all environments, as after a reset. Where an episode was under
        way it ends without having terminated.
        """
        always, zero = np.ones(self.num_envs, bool), np.zeros(self.num_envs)
        self._write(frame, np.zeros((self.num_envs, self.action_size)), zero, ~always, ~always, always)

    def append(
        self,
        frame: Frame,
        action_NA: NDArray[Any],
        reward_N: NDArray[Any],
        terminated_N: NDArray[np.bool_],
        truncated_N: NDArray[np.bool_],
        first_N: NDArray[np.bool_],
    ) -> None:
        """One step of all environments: the frames it led to, and the actions that it took.

        Where `first_N` is true an episode begins with this frame, and action and reward are ignored.

        Raises:
            ReplayError: nothing was added before; an array has another shape, an image another type than bytes; a
                reward is not finite; or `first_N` is not true exactly where the step before ended an episode.
        """
        if self._end == 0:
            raise ReplayError("Replay: no step can be appended before the first frames. Call `add` after the reset.")
        newest = (self._end - 1) % self.rows
        ended = self._columns["terminated"][newest] | self._columns["truncated"][newest]
        if not np.array_equal(ended, first_N):
            got = np.flatnonzero(ended != first_N).tolist()
            raise ReplayError(
                f"Replay: `first_N` must be true exactly where the step before ended an episode; it is not in "
                f"environments {shown(got)}. Environments reset themselves at the next step, not at the same one."
            )
        if not np.isfinite(reward_N).all():
            raise ReplayError(f"Replay: rewards must be finite, got {shown(np.asarray(reward_N).tolist())}.")
        self._write(frame, action_NA, reward_N, terminated_N, truncated_N, first_N)

    def sample(self, batch_size: int) -> Batch:
        """Transitions drawn with replacement, as tensors on the CPU.

        The tensors are the same ones at every call with the same `batch_size`: what is to outlive the next call must
        be copied.

        Raises:
            ReplayError: no transition is complete yet.
        """
        start_B = self._draw(batch_size)
        path_BM = (start_B[:, None] + self._ahead_M) % self._size
        # The first frame of the next episode and all after it are not on the way; the step to `path[:, 0]` always is.
        on_BM = np.logical_and.accumulate(~self._flat["first"][path_BM], axis=1)
        steps_B = on_BM.sum(axis=1)
        reward_B = np.where(on_BM, self._flat["reward"][path_BM], 0.0) @ self._powers[:-1]
        terminated_B = (self._flat["terminated"][path_BM] & on_BM).any(axis=1)
        discount_B = np.where(terminated_B, 0.0, self._powers[steps_B])
        end_B = (start_B + self.num_envs * steps_B) % self._size
        return self._gather(start_B, end_B, path_BM[:, 0], reward_B, discount_B)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the rows that came since the last call to new files, which nothing changes afterwards.

        Returns:
            The state, plain data, which names the files with their checksums. Once it is safe in a checkpoint, call
            `commit`.

        Raises:
            RecordError: the disk is full or fails; what was saved before loads as before.
        """
        folder = Path(folder).absolute()
        if folder != self._folder:
            self._folder, self._segments, self._committed = folder, [], []
        begin = max([self._begin, *(one["end"] for one in self._segments)])
        written = write_segments(folder, self._columns, begin, self._end)
        self._segments = [one for one in self._segments if one["end"] > self._begin] + written
        return {
            "format": FORMAT,
            **self._shape(),
            "begin": self._begin,
            "end": self._end,
            "generator": self._generator.bit_generator.state,
            "segments": [dict(one) for one in self._segments],
        }

    def commit(self) -> None:
        """The state that `save` returned last is safe: remove the files that neither it names nor the one committed
        before, which the checkpoint before may need.

        Raises:
            RecordError: a file cannot be removed.
        """
        if self._folder is None:
            raise ReplayError("Replay: there is nothing to commit. Call `save` first.")
        drop_segments(self._folder, {one["name"] for one in (*self._segments, *self._committed)})
        self._committed = list(self._segments)

    def load(self, folder: Path, state: dict[str, Any]) -> None:
        """Go on from a state that `save` returned: the same draws and, at the same capacity, the same frames.

        Under another capacity the newest frames that there is room for are kept. `n_step`, `discount` and
        `frame_stack` are those of this replay.

        Raises:
            StateError: the state is incomplete or of other environments, or a file is missing or damaged. The replay
                is empty then.
        """
        self._begin = self._end = 0
        self._folder, self._segments, self._committed = None, [], []
        self._check_state(state)
        begin, end = max(state["begin"], state["end"] - self.rows), state["end"]
        segments = [one for one in checked_segments(state["segments"], begin, end) if one["end"] > begin]
        for segment in segments:
            read_segment(Path(folder), segment, self._columns)
        try:
            self._generator.bit_generator.state = state["generator"]
        except (TypeError, ValueError, KeyError) as error:
            raise StateError(f"replay.generator: is no state of a generator: {error}.") from error
        self._folder, self._segments, self._committed = Path(folder).absolute(), segments, list(segments)
        self._begin, self._end = begin, end

    def _shape(self) -> dict[str, Any]:
        image = list(self.spec.image) if self.spec.image else None
        return {"image": image, "state": self.spec.state, "num_envs": self.num_envs, "action_size": self.action_size}

    def _check_state(self, state: Any) -> None:
        needed = {"format", *self._shape(), "begin", "end", "generator", "segments"}
        if not isinstance(state, dict) or set(state) != needed:
            raise StateError(f"replay: the state must have {', '.join(sorted(needed))}, got {shown(state)}.")
        expected = {"format": FORMAT, **self._shape()}
        faults = [
            Fault(name, f"must be {value} as in this run, got {shown(state[name])}.")
            for name, value in expected.items()
            if state[name] != value
        ]
        if not (type(state["begin"]) is type(state["end"]) is int and 0 <= state["begin"] <= state["end"]):
            faults.append(Fault("end", f"must be a row from {shown(state['begin'])} on, got {shown(state['end'])}."))
        if faults:
            raise StateError(list_faults("replay", faults), faults)

    def _write(self, frame: Frame, action: Any, reward: Any, terminated: Any, truncated: Any, first: Any) -> None:
        row, columns = self._end % self.rows, self._columns
        values = {"state": frame.state_NK, "action": action, "reward": reward, "first": first}
        values |= {"terminated": terminated, "truncated": truncated}
        if "image" in columns:
            values["image"] = frame.image_NCHW
        # all before the first is written: a row is whole or not there, and nothing is broadcast or rounded to bytes
        for name, value in values.items():
            if np.shape(value) != columns[name].shape[1:] or (name == "image" and value.dtype != np.uint8):
                need = f"{columns[name].shape[1:]}{' of uint8' if name == 'image' else ''}"
                got = f"{np.shape(value)} of {getattr(value, 'dtype', type(value).__name__)}"
                raise ReplayError(f"Replay: {name}: must be {need}, got {got}.")
        before = columns["age"][row - 1]
        # `before` is unsigned: the minimum comes first, or the oldest would be new again
        columns["age"][row] = np.where(first, 0, np.minimum(before, OLDEST - 1) + 1)
        for name, value in values.items():
            columns[name][row] = value
        self._end += 1
        self._begin = max(self._begin, self._end - self.rows)

    def _places(self) -> int:
        """How many places are old enough for a whole window, counted from the oldest row on."""
        return max(self._end - self._begin - self.n_step, 0) * self.num_envs

    def _possible(self, place_B: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a transition can begin there: there is a next step, and the stack's rows are still kept."""
        at_B = (place_B + self._begin * self.num_envs) % self._size
        next_B = (at_B + self.num_envs) % self._size
        stacked_B = np.minimum(self._flat["age"][at_B], self.frame_stack - 1)
        return ~self._flat["first"][next_B] & (stacked_B <= place_B // self.num_envs)

    def _draw(self, batch_size: int) -> NDArray[np.int64]:
        if batch_size < 1:
            raise ReplayError(f"Replay: `batch_size` must be at least 1, got {shown(batch_size)}.")
        places = self._places()
        chosen = self._generator.integers(places, size=batch_size) if places else np.empty(0, np.int64)
        wrong = np.flatnonzero(~self._possible(chosen))
        for _ in range(DRAWS):
            if not wrong.size:
                break
            chosen[wrong] = self._generator.integers(places, size=wrong.size)
            wrong = wrong[~self._possible(chosen[wrong])]
        if wrong.size or not places:
            possible = np.flatnonzero(self._possible(np.arange(places)))
            if not possible.size:
                raise ReplayError(f"Replay: no transition is complete after {len(self)} env steps. Sample later.")
            chosen[wrong] = self._generator.choice(possible, size=wrong.size)
        return (chosen + self._begin * self.num_envs) % self._size

    def _stacked(self, place_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of the F frames that end with each of these, one list."""
        back_BF = np.minimum(self._back_F, self._flat["age"][place_B][:, None])
        return ((place_B[:, None] - self.num_envs * back_BF) % self._size).ravel()

    def _prepare_gather(self) -> None:
        columns, self._size = self._columns, self.rows * self.num_envs
        self._flat = {name: columns[name].reshape(-1) for name in ("first", "terminated", "reward", "age")}
        self._ahead_M = self.num_envs * np.arange(1, self.n_step + 1)
        self._back_F = np.arange(self.frame_stack - 1, -1, -1)
        self._powers = self.discount ** np.arange(self.n_step + 1, dtype=np.float64)
        self._image = _tensor(columns["image"], self._size) if self.spec.image else None
        self._state = _tensor(columns["state"], self._size)
        self._action = _tensor(columns["action"], self._size)
        if self.spec.image:
            self._pixels = (self.frame_stack * self.spec.image[0], *self.spec.image[1:])
        self._batch: Batch | None = None

    def _gather(self, start_B: Any, end_B: Any, acted_B: Any, reward_B: Any, discount_B: Any) -> Batch:
        count = len(start_B)
        if self._batch is None or len(self._batch.reward_B) != count:
            self._batch = self._empty_batch(count)
        batch = self._batch
        for observation, place_B in ((batch.observation, start_B), (batch.next_observation, end_B)):
            index = torch.from_numpy(self._stacked(place_B))
            if self._image is not None and observation.image_BFCHW is not None:
                out = observation.image_BFCHW.view(len(index), -1)
                torch.index_select(self._image, 0, index, out=out.view(self._image.dtype))
            torch.index_select(self._state, 0, index, out=observation.state_BFK.view(len(index), -1))
        torch.index_select(self._action, 0, torch.from_numpy(acted_B), out=batch.action_BA)
        batch.reward_B.copy_(torch.from_numpy(reward_B))
        batch.discount_B.copy_(torch.from_numpy(discount_B))
        return batch

    def _empty_batch(self, count: int) -> Batch:
        def observation() -> Observation:
            image = None if self._image is None else torch.empty((count, *self._pixels), dtype=torch.uint8)
            return Observation(image, torch.empty(count, self.frame_stack, self.spec.state))

        action = torch.empty(count, self.action_size)
        return Batch(observation(), action, torch.empty(count), torch.empty(count), observation())


def _columns(rows: int, spec: FrameSpec, num_envs: int, action_size: int) -> dict[str, NDArray[Any]]:
    """What is kept of each row. A row's action and reward are those of the step that led to its frame."""
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "state": ((spec.state,), np.float32),
        "action": ((action_size,), np.float32),
        "reward": ((), np.float64),
        "terminated": ((), np.bool_),
        "truncated": ((), np.bool_),
        "first": ((), np.bool_),
        "age": ((), np.uint8),
    }
    if spec.image:
        shapes["image"] = (spec.image, np.uint8)
    try:
        return {name: np.zeros((rows, num_envs, *shape), kind) for name, (shape, kind) in shapes.items()}
    except (MemoryError, ValueError) as error:  # the latter where no address could be so large
        frame = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes.values())
        need = _bytes(rows * num_envs * frame)
        raise ReplayError(f"Replay: {need} of memory cannot be had. Make `capacity` smaller.") from error


def _tensor(column: NDArray[Any], size: int) -> torch.Tensor:
    """A column as size x numbers, in the widest numbers that its rows divide into: wide ones are copied faster."""
    flat = torch.from_numpy(column.reshape(size, -1))
    wide = flat.dtype == torch.uint8 and flat.shape[1] % 8 == 0
    return flat.view(torch.int64) if wide else flat


def _check(discount: Any, **whole: Any) -> None:
    most = {"frame_stack": OLDEST + 1}
    faults = [
        Fault(name, f"must be an integer from 1{f' to {most[name]}' if name in most else ''}, got {shown(value)}.")
        for name, value in whole.items()
        if type(value) is not int or not 1 <= value <= most.get(name, value)
    ]
    if not (isinstance(discount, float | int) and 0.0 < discount <= 1.0):
        faults.append(Fault("discount", f"must be in (0, 1], got {shown(discount)}."))
    if faults:
        raise ReplayError(list_faults("Replay", faults), faults)


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
