"""The peer of the landing task on MuJoCo: its physics, and as many of its rays as a picture has pixels.

MuJoCo's own renderer needs GL. Rays give distances and what was hit; shades, texture, clutter, controller, gimbal and
reward are left out, so a task that was built this way would be slower.
"""

# pyright: reportAttributeAccessIssue=false
# MuJoCo's names come from its extension module, which has no types.

from __future__ import annotations

import math

import mujoco
import numpy as np

from tempomat_rl.envs import dynamics
from tempomat_rl.envs.camera import FIELD_OF_VIEW, PAD_HALF

_NORMAL = {"normal": None} if "normal:" in (mujoco.mj_multiRay.__doc__ or "") else {}
"""An argument that newer versions insist on."""


class Drones:
    """N quadrotors, each hovering 2 m above a pad of its own, with a camera that looks straight down."""

    def __init__(self, count: int, size: int) -> None:
        self.model = mujoco.MjModel.from_xml_string(_quadrotor())
        self.all = [mujoco.MjData(self.model) for _ in range(count)]
        for data in self.all:
            data.qpos[2] = 2.0
            data.ctrl[:] = dynamics.MASS * dynamics.GRAVITY / 4
        slope = math.tan(math.radians(FIELD_OF_VIEW) / 2)
        across = slope * ((np.arange(size) + 0.5) / size * 2 - 1)
        ahead, left = np.meshgrid(-across, -across, indexing="ij")
        rays = np.stack([ahead, left, -np.ones_like(ahead)], axis=-1).reshape(-1, 3)
        self.rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        self.distances, self.hits = np.empty((count, size**2)), np.empty((count, size**2), np.int32)

    def step(self) -> None:
        """One decision of each: 40 steps of physics and a ray per pixel."""
        body = self.model.body("drone").id
        for data, distances, hits in zip(self.all, self.distances, self.hits, strict=True):
            mujoco.mj_step(self.model, data, nstep=dynamics.SUBSTEPS)
            mujoco.mj_multiRay(
                m=self.model, d=data, pnt=data.xpos[body], vec=(self.rays @ data.xmat[body].reshape(3, 3).T).ravel(),
                geomgroup=None, flg_static=True, bodyexclude=body, geomid=hits, dist=distances,
                nray=len(self.rays), cutoff=mujoco.mjMAXVAL, **_NORMAL,
            )  # fmt: skip


def _quadrotor() -> str:
    lever, high = dynamics.ARM / math.sqrt(2), dynamics.PAD_HEIGHT / 2
    rotors = [(1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1)]
    places = "".join(f'<site name="r{i}" pos="{x * lever} {y * lever} 0"/>' for i, (x, y, _) in enumerate(rotors))
    motors = "".join(
        f'<general site="r{i}" gear="0 0 1 0 0 {turn * dynamics.DRAG}"/>' for i, (_, _, turn) in enumerate(rotors)
    )
    inertia = " ".join(map(str, dynamics.INERTIA))
    return f"""
        <mujoco>
          <option timestep="{dynamics.TIME_STEP}" gravity="0 0 {-dynamics.GRAVITY}" integrator="Euler"/>
          <worldbody>
            <geom type="plane" size="0 0 1"/>
            <geom type="box" size="{PAD_HALF} {PAD_HALF} {high}" pos="0 0 {high}"/>
            <body name="drone"><freejoint/>
              <inertial pos="0 0 0" mass="{dynamics.MASS}" diaginertia="{inertia}"/>
              <geom type="cylinder" size="{dynamics.RADIUS} {dynamics.HALF_HEIGHT}"/>{places}
            </body>
          </worldbody>
          <actuator>{motors}</actuator>
        </mujoco>"""
