"""How many steps of the landing task fit into a second on one core; some ten seconds.

python benchmarks/landing.py               16 drones, 84x84 pixels
python benchmarks/landing.py --size 42
python benchmarks/landing.py --quick       each once: does it work here?

Contenders take turns, pinned to one core, under random actions with half of the episodes cluttered; the fastest turn
counts, and the median says how disturbed the others were. An environment step is one decision of one drone: 40 steps of
physics, and one picture; beginning a new episode takes as long and counts as none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from measuring import pin, take_turns, yardstick
from numpy.typing import NDArray

from tempomat_rl.envs.camera import Camera, Scene, keypoints
from tempomat_rl.envs.geometry import turn_camera
from tempomat_rl.envs.landing import LandingTask

DRONES, SIZE, CALLS = 16, 84, 20
OURS, MUJOCO = "physics and camera", "MuJoCo, physics and a ray per pixel"
LIMIT = 6000.0
"""Environment steps a second that physics and camera together must reach."""


def measure(size: int = SIZE, turns: int = 60) -> dict[str, Any]:
    """Environment steps a second of physics alone, of the camera alone, and of both, and what they are held to."""
    flying, seeing = (LandingTask(DRONES, 0, observation=kind, image_size=size) for kind in ("keypoint", "image"))
    for task in (flying, seeing):
        task.reset()
    physics, both = _Flights(flying), _Flights(seeing)
    camera, scene = Camera(size), _some_scene()
    contenders = {
        "physics, key points and reward": physics,
        "camera": lambda: camera.render(scene),
        "key points": lambda: keypoints(scene),
        OURS: both,
        "camera, the ground alone, in NumPy": _Plain(scene, size).render,
        **_mujoco(size),
    }
    figures = _speeds(contenders, turns)
    for name, flights in (("physics, key points and reward", physics), (OURS, both)):
        figures[name] = {kind: round(flights.share * speed) for kind, speed in figures[name].items()}
    return {
        "what": f"environment steps a second, {DRONES} drones, {size}x{size} gray pixels, one core",
        "figures": figures,
        "gflops": yardstick(),
        "limits": {OURS: LIMIT},
        "passed": {OURS: figures[OURS]["fastest"] >= LIMIT},
    }


class _Flights:
    """Steps of a task under random actions."""

    def __init__(self, task: LandingTask) -> None:
        self.task, self.calls, self.begun = task, 0, 0
        self.actions = np.random.default_rng(0).uniform(-1, 1, (64, DRONES, 5)).astype(np.float32)

    def __call__(self) -> None:
        """One decision of every drone."""
        step = self.task.step(self.actions[self.calls % len(self.actions)])
        self.calls += 1
        self.begun += int(np.count_nonzero(step.first_N))

    @property
    def share(self) -> float:
        """Of environment steps among all that was done."""
        return 1 - self.begun / (self.calls * DRONES)


def _mujoco(size: int) -> dict[str, Callable[[], object]]:
    """The peer, where it is installed."""
    if find_spec("mujoco") is None:
        return {}
    from rays import Drones

    return {MUJOCO: Drones(DRONES, size).step}


def _some_scene() -> Scene:
    """What drones see in the middle of their episodes."""
    task = LandingTask(DRONES, 1, observation="keypoint")
    task.reset()
    for _ in range(20):
        task.step(np.full((DRONES, 5), 0.2, np.float32))
    return task.scene


class _Plain:
    """The ground alone, as one would first write it with arrays (H, W) per drone: what compiling is worth."""

    def __init__(self, scene: Scene, size: int) -> None:
        self.scene, self.size = scene, size
        self.texture = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
        middle = (np.arange(size) + 0.5) / size * 2 - 1
        self.u, self.v = np.meshgrid(middle * 0.93, -middle * 0.93)

    def render(self) -> NDArray[np.uint8]:
        """(N, H, W) bytes."""
        out = np.zeros((DRONES, self.size, self.size), np.uint8)
        for n in range(DRONES):
            pitch, yaw = float(self.scene.gimbal_pitch_N[n]), float(self.scene.gimbal_yaw_N[n])
            right, up, axis = turn_camera(self.scene.attitude_N4[n], pitch, yaw)
            ray = axis + self.u[..., None] * right + self.v[..., None] * up
            fall = np.maximum(-ray[..., 2], 1e-3)
            at = self.scene.position_N3[n] + ray * (self.scene.position_N3[n, 2] / fall)[..., None]
            cell = np.floor(at * 32).astype(np.int64) & 255
            out[n] = self.texture[cell[..., 1], cell[..., 0]]
        return out


def _speeds(contenders: dict[str, Callable[[], object]], turns: int) -> dict[str, dict[str, float]]:
    return {
        name: {kind: round(DRONES / max(seconds, 1e-9)) for kind, seconds in one.items()}
        for name, one in take_turns(contenders, turns, calls=CALLS if turns > 1 else 1).items()
    }


def main() -> int:
    """Measure and print; 1 if the limit is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=SIZE, help="pixels along a picture's side")
    parser.add_argument("--quick", action="store_true", help="one turn of each; the figures mean little")
    parser.add_argument("--core", type=int, help="the core to be pinned to; the last one otherwise")
    options = parser.parse_args()
    pin(options.core)
    result = measure(options.size, 1 if options.quick else 60)
    print(json.dumps(result, indent=2))
    return 0 if options.quick or all(result["passed"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
