"""How long a batch takes to be drawn from the replay; some ten seconds and 0.5 GB.

python benchmarks/replay.py                two threads
python benchmarks/replay.py --threads 1
python benchmarks/replay.py --quick        each once, from a small replay: does it work here?

Wall time, since both cores copy at once. Contenders take turns; the fastest call is held against the limit, since what
disturbs a call only makes it slower, and the median says how disturbed they were.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import take_turns, yardstick

from tempomat_rl.frames import Batch, Frame, FrameSpec
from tempomat_rl.replay import Replay

BATCH, STACK, N_STEP, DISCOUNT = 256, 3, 3, 0.99
IMAGES, KEYPOINTS = FrameSpec((3, 84, 84), 0), FrameSpec(None, 15)
LIMITS = {"images": 4.0, "keypoints": 0.5}
"""Milliseconds that a batch may take at most."""


def measure(threads: int = 2, rounds: int = 60, frames: int = 20_000) -> dict[str, Any]:
    """Milliseconds per batch of 256 with 3 stacked frames and up to 3 steps, of each contender."""
    torch.set_num_threads(threads)
    images, keypoints = _filled(IMAGES, 1, frames), _filled(KEYPOINTS, 16, 5 * frames)
    drawn = images.sample(BATCH)
    copies = Batch(*(_like(part) for part in drawn))
    loop = Loop(images)
    figures = {
        "images": _milliseconds(
            {
                "ours": lambda: images.sample(BATCH),
                "copying as many bytes, one after another": lambda: _copy(drawn, copies),
                "a loop over the batch, in NumPy": lambda: loop.sample(BATCH),
            },
            rounds,
        ),
        "keypoints": _milliseconds({"ours": lambda: keypoints.sample(BATCH)}, 10 * rounds),
    }
    return {
        "what": f"{BATCH} x {STACK} frames of 3x84x84 bytes, or of 15 numbers; n-step {N_STEP}; ms per batch",
        "threads": threads,
        "gflops": yardstick(),
        "replay": {"images": images.describe(), "keypoints": keypoints.describe()},
        "figures": figures,
        "limits": LIMITS,
        "passed": {name: figures[name]["ours"]["fastest"] <= limit for name, limit in LIMITS.items()},
    }


class Loop:
    """The same batch as it is commonly put together: one transition after another, then collated."""

    def __init__(self, replay: Replay) -> None:
        self.images, self.frames = replay._columns["image"][:, 0], len(replay)
        self.reward = replay._columns["reward"][:, 0]
        self.generator = np.random.default_rng(0)

    def sample(self, count: int) -> list[torch.Tensor]:
        """Episodes' ends are left out, which only makes it faster."""
        found = [self.one(int(start)) for start in self.generator.integers(STACK, len(self.images) - N_STEP, count)]
        return [torch.from_numpy(np.stack(column)) for column in zip(*found, strict=True)]

    def one(self, start: int) -> tuple[Any, ...]:
        """A transition."""
        total, discount = 0.0, 1.0
        for step in range(1, N_STEP + 1):
            total, discount = total + discount * self.reward[start + step], discount * DISCOUNT
        end = start + N_STEP
        observation, following = (np.concatenate(self.images[at - STACK + 1 : at + 1]) for at in (start, end))
        return observation, np.float32(total), np.float32(discount), following


def _filled(spec: FrameSpec, num_envs: int, frames: int) -> Replay:
    """A ring whose head has gone once round; episodes end after 100 steps on average."""
    replay, generator = Replay(spec, STACK, num_envs, 6, capacity=frames, n_step=N_STEP), np.random.default_rng(0)

    def frame() -> Frame:
        image = None if spec.image is None else generator.integers(0, 256, (num_envs, *spec.image), dtype=np.uint8)
        return Frame(image, generator.normal(size=(num_envs, spec.state)).astype(np.float32))

    some, ended = [frame() for _ in range(8)], np.zeros(num_envs, bool)
    replay.add(some[0])
    for step in range(frames // num_envs + 100):
        reward = np.where(ended, 0.0, generator.normal(size=num_envs))
        ends = ~ended & (generator.random(num_envs) < 0.01)
        replay.append(some[step % 8], np.zeros((num_envs, 6)), reward, ends, np.zeros(num_envs, bool), ended)
        ended = ends
    return replay


def _like(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return torch.ones_like(part)
    return None if part is None else type(part)(*(_like(one) for one in part))


def _copy(source: Any, into: Any) -> None:
    if isinstance(source, torch.Tensor):
        into.copy_(source)
    elif source is not None:
        for one, other in zip(source, into, strict=True):
            _copy(one, other)


def _milliseconds(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    return {
        name: {kind: round(1e3 * seconds, 4) for kind, seconds in one.items()}
        for name, one in take_turns(contenders, rounds).items()
    }


def main() -> int:
    """Measure and print; 1 if a limit is passed over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one call of each, from a small replay; means little")
    options = parser.parse_args()
    result = measure(options.threads, *((1, 1_000) if options.quick else ()))
    print(json.dumps(result, indent=2))
    return 0 if options.quick or all(result["passed"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
