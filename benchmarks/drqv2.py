"""The agent's own work: updates, actions and augmentation, ours and straightforward ones, each in a process of its own.

python benchmarks/pipeline.py --only update laptop act augmentation     the tables

A process each, since the C library's allocator is told once per process what to keep, and threads are counted when
PyTorch is first imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from measuring import Role, Work, take_turns, yardstick

if TYPE_CHECKING:
    from tempomat_rl.frames import Batch, FrameSpec, Observation

BATCH, ACTIONS, FEATURES, HIDDEN, PAD, NOISE = 256, 6, 50, 1024, 4, 0.2
LAPTOP: dict[str, Any] = {"feature_dim": 128, "hidden_dim": 128}
"""As `scale=laptop` has it; its batches are of 128."""
LAPTOP_BATCH, DRONES = 128, 16
LRS = 0.0, 1e-4
"""Losses are compared without a step of the networks between them, and with one."""
FP32, BF16, STRAIGHT = "ours, fp32", "ours, bf16", "straightforward"
PEER = f"{STRAIGHT}, as it comes"
SHIFT, SAMPLED = "ours", "grid_sample on floats"


@dataclass(frozen=True)
class Row:
    """One row of a table: which contender, and how its process is set up."""

    contender: str
    role: Role
    threads: int = 2
    quiet: bool = True
    turns: int = 3


GROUPS: dict[str, dict[str, Row]] = {
    "update": {
        FP32: Row("ours", "ours"),
        BF16: Row("ours_bf16", "ours"),
        PEER: Row("peer", "peer", quiet=False),
        f"{STRAIGHT}, quiet allocator": Row("peer", "peer"),
        f"{STRAIGHT}, quiet allocator, bf16, channels last": Row("peer_bf16", "peer"),
    },
    "laptop": {
        "key points, 1 thread": Row("keypoint", "ours", threads=1, turns=200),
        "42 x 42 gray, 2 threads": Row("small_image", "ours", turns=100),
    },
    "act": {
        "ours, one observation of 9 x 84 x 84": Row("act", "ours", turns=200),
        f"{STRAIGHT}, one observation of 9 x 84 x 84": Row("act_peer", "peer", quiet=False, turns=200),
        "ours, 16 observations of key points, 1 thread": Row("act_keypoint", "ours", threads=1, turns=500),
    },
    "augmentation": {
        SHIFT: Row("shift", "ours", turns=100),
        SAMPLED: Row("grid_sample", "peer", quiet=False, turns=20),
        "grid_sample on floats, quiet allocator": Row("grid_sample", "peer", turns=20),
    },
}


def measure(group: str, *, quick: bool = False, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Seconds per call and the yardstick's GFLOP/s by row, the best of three rounds."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(1 if quick else 3):
        for name, row in GROUPS[group].items():
            say(f"{group}, {name}")
            one = _in_a_process(row, quick=quick)
            so_far = best.get(name, one)
            best[name] = {
                "seconds": min(so_far["seconds"], one["seconds"]),
                "gflops": max(so_far["gflops"], one["gflops"]),
            }
    return best


def _in_a_process(row: Row, *, quick: bool) -> dict[str, float]:
    turns = 1 if quick else row.turns
    command = [sys.executable, __file__, row.contender, "--turns", str(turns)]
    command += [flag for flag, wanted in (("--quiet", row.quiet), ("--cold", quick)) if wanted]
    environment = {**os.environ, "OMP_NUM_THREADS": str(row.threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def compare_losses(count: int = BATCH, lr: float = 0.0) -> dict[str, dict[str, float]]:
    """The losses of one update from the same weights, on the same batch, with the same random numbers.

    The actor's is taken after the critic's step, whose Adam makes the least gradient as large as any other: without
    `lr` both losses are of the same weights everywhere.
    """
    import torch
    from straightforward import Straightforward

    agents = {FP32: _agent(lr=lr), BF16: _agent(lr=lr, precision="bf16")}
    peer = Straightforward(ACTIONS, FEATURES, HIDDEN, lr=lr)
    peer.copy_from(agents[FP32])
    batch = _batch(_published(), count, ACTIONS)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(agents[FP32].state_dict()["generators"]["learning"])
        losses = {STRAIGHT: peer.update(batch, NOISE)}
    for name, agent in agents.items():
        metrics = agent.update(batch, NOISE)
        losses[name] = {loss: float(metrics[loss]) for loss in losses[STRAIGHT]}
    return losses


# contenders


def _published() -> FrameSpec:
    from tempomat_rl.frames import FrameSpec

    return FrameSpec((3, 84, 84), 0)


def _observation(spec: FrameSpec, count: int, generator: Any) -> Observation:
    """Random frames, three stacked."""
    import torch

    from tempomat_rl.frames import Observation

    image = None
    if spec.image is not None:
        shape = count, 3 * spec.image[0], *spec.image[1:]
        image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Observation(image, torch.randn(count, 3, spec.state, generator=generator))


def _batch(spec: FrameSpec, count: int, actions: int) -> Batch:
    """Random transitions."""
    import torch

    from tempomat_rl.frames import Batch

    generator = torch.Generator().manual_seed(0)
    observation = _observation(spec, count, generator)
    action = 2 * torch.rand(count, actions, generator=generator) - 1
    reward = torch.randn(count, generator=generator)
    return Batch(observation, action, reward, torch.full((count,), 0.97), _observation(spec, count, generator))


def _agent(**settings: Any) -> Any:
    """The published sizes: no state, LayerNorm, shifts alone."""
    from tempomat_rl.drqv2 import AgentConfig, DrQV2, Original

    sizes = {"feature_dim": FEATURES, "hidden_dim": HIDDEN, "tau": 0.01, "noise_clip": 0.3, "brightness": None}
    config = AgentConfig(encoder=Original(offset=0.5), **sizes, **settings)
    return DrQV2(_published(), 3, ACTIONS, config, seed=0)


def _laptop_agent(encoder: Any, spec: FrameSpec) -> Any:
    from tempomat_rl.drqv2 import AgentConfig, DrQV2

    return DrQV2(spec, 3, 5, AgentConfig(encoder=encoder, **LAPTOP), seed=0)


def _keypoint_agent() -> Any:
    from tempomat_rl.drqv2 import Keypoint
    from tempomat_rl.frames import FrameSpec

    return _laptop_agent(Keypoint(widths=(128,)), FrameSpec(None, 15))


def _updating(agent: Any, spec: FrameSpec, count: int, actions: int) -> Work:
    batch = _batch(spec, count, actions)
    return lambda: agent.update(batch, NOISE)


def _ours(**settings: Any) -> Work:
    return _updating(_agent(**settings), _published(), BATCH, ACTIONS)


def _peer(*, bf16: bool = False) -> Work:
    from straightforward import Straightforward

    return _updating(Straightforward(ACTIONS, FEATURES, HIDDEN, bf16=bf16), _published(), BATCH, ACTIONS)


def _keypoint() -> Work:
    agent = _keypoint_agent()
    return _updating(agent, agent.spec, LAPTOP_BATCH, 5)


def _small_image() -> Work:
    from tempomat_rl.drqv2 import Original
    from tempomat_rl.frames import FrameSpec

    encoder = Original(channels=(16, 32, 32), kernels=(3, 3, 3), strides=(2, 2, 2))
    agent = _laptop_agent(encoder, FrameSpec((1, 42, 42), 11))
    return _updating(agent, agent.spec, LAPTOP_BATCH, 5)


def _acting(agent: Any, count: int) -> Work:
    import torch

    observation = _observation(agent.spec, count, torch.Generator().manual_seed(0))
    return lambda: agent.act(observation, NOISE)


def _act_peer() -> Work:
    from straightforward import Straightforward

    agent, image = Straightforward(ACTIONS, FEATURES, HIDDEN), _images(1)
    return lambda: agent.act(image).numpy()


def _images(count: int) -> Any:
    import torch

    return _observation(_published(), count, torch.Generator().manual_seed(0)).image_BFCHW


def _shift() -> Work:
    import torch

    from tempomat_rl.drqv2.augment import shift

    image, generator = _images(BATCH), torch.Generator().manual_seed(0)
    return lambda: shift(image, torch.randint(2 * PAD + 1, (BATCH, 2), generator=generator), PAD)


def _grid_sample() -> Work:
    from straightforward import shift_by_sampling

    image = _images(BATCH)
    return lambda: shift_by_sampling(image.float())


CONTENDERS: dict[str, Callable[[], Work]] = {
    "ours": _ours,
    "ours_bf16": partial(_ours, precision="bf16"),
    "peer": _peer,
    "peer_bf16": partial(_peer, bf16=True),
    "keypoint": _keypoint,
    "small_image": _small_image,
    "act": lambda: _acting(_agent(), 1),
    "act_peer": _act_peer,
    "act_keypoint": lambda: _acting(_keypoint_agent(), DRONES),
    "shift": _shift,
    "grid_sample": _grid_sample,
}


def main() -> int:
    """What one process measures, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=(*CONTENDERS, "losses"))
    parser.add_argument("--turns", type=int, default=3, help="calls; the fastest counts")
    parser.add_argument("--quiet", action="store_true", help="tell the allocator to keep what it has")
    parser.add_argument("--cold", action="store_true", help="without a first call that does not count")
    options = parser.parse_args()
    from tempomat_rl.drqv2 import quiet_allocator

    if options.quiet:
        quiet_allocator()
    if options.contender == "losses":
        print(json.dumps({f"{lr:g}": compare_losses(lr=lr) for lr in LRS}))
        return 0
    work = {"": CONTENDERS[options.contender]()}
    seconds = take_turns(work, options.turns, warm_up=not options.cold)[""]["fastest"]
    print(json.dumps({"seconds": seconds, "gflops": yardstick()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
