"""Environments: the gimbal landing task, registered with Gymnasium as `GimbalLanding-v0`.

gymnasium.make("tempomat_rl.envs:GimbalLanding-v0")
gymnasium.make_vec("tempomat_rl.envs:GimbalLanding-v0", num_envs=16, vectorization_mode="vector_entry_point")
"""

from __future__ import annotations

import gymnasium

from tempomat_rl.envs.landing import LandingTask
from tempomat_rl.envs.spawn import Spawn
from tempomat_rl.envs.stages import Stage

__all__ = ["LandingTask", "Spawn", "Stage"]

if "GimbalLanding-v0" not in gymnasium.registry:  # a module that is loaded anew registers once
    gymnasium.register(
        "GimbalLanding-v0",
        entry_point="tempomat_rl.envs.gym:GimbalLanding",
        vector_entry_point="tempomat_rl.envs.gym:GimbalLandingVector",
    )
