"""Grounds and the pad's pattern: pictures that repeat without a seam, each with smaller copies of itself."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GROUNDS = 32
SIDE = 256
"""Texels along a ground's side at level 0; each level has half as many."""
TEXEL = 1 / 32
"""Metres of ground in one texel of level 0: a ground repeats after 8 m."""
LEVELS = 5
PAD_SIDE = 64
PAD_LEVELS = 5


@lru_cache(maxsize=1)
def grounds() -> NDArray[np.uint8]:
    """All grounds: (GROUNDS, sum of the levels' sizes), level after level, row after row."""
    rng = np.random.default_rng(20_240)
    kinds = (_gravel, _soil, _tiles, _planks, _patches, _lawn, _concrete, _weave)
    return np.stack([levels(_ground(kinds[i % len(kinds)](rng), rng), LEVELS) for i in range(GROUNDS)])


@lru_cache(maxsize=1)
def pad() -> NDArray[np.uint8]:
    """The pad as its camera sees it, forward in the direction of growing rows: levels like a ground's."""
    return levels(pad_picture(PAD_SIDE), PAD_LEVELS)


def pad_picture(side: int) -> Floats:
    """The pad's pattern: white, a dark frame, a ring, and an arrow that points to where the vehicle drives."""
    fine = side * 4
    ahead, left = np.meshgrid(*[(np.arange(fine) + 0.5) / fine * 2 - 1] * 2, indexing="ij")
    radius, edge = np.hypot(ahead, left), np.maximum(abs(ahead), abs(left))
    arrow = (ahead < 0.4) & (abs(left) < (0.4 - ahead) * 0.55) & (ahead > -0.4 + (0.4 - abs(left)) * 0.6)
    dark = ((radius > 0.68) & (radius < 0.79)) | arrow | ((edge > 0.9) & (edge < 0.95))
    return np.where(dark, 25.0, 245.0).reshape(side, 4, side, 4).mean(axis=(1, 3))


def levels(picture_HW: Floats, count: int) -> NDArray[np.uint8]:
    """A picture and its copies at half, a quarter, ... of the size, flat and one after the other."""
    out = []
    for _ in range(count):
        out.append(np.clip(np.rint(picture_HW), 0, 255).astype(np.uint8).ravel())
        side = len(picture_HW) // 2
        picture_HW = picture_HW.reshape(side, 2, side, 2).mean(axis=(1, 3))
    return np.concatenate(out)


def noise(rng: np.random.Generator, size: float, side: int = SIDE) -> Floats:
    """Smooth random bumps of about `size` texels, without a seam: mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    waves = np.fft.rfft2(rng.standard_normal((side, side))) * np.exp(-((frequency * size) ** 2) * 2)
    waves[0, 0] = 0
    out = np.fft.irfft2(waves, s=(side, side))
    return out / out.std()


def _ground(look: Floats, rng: np.random.Generator) -> Floats:
    """Bring a look to a contrast and a brightness of its own, with dirt in large patches."""
    look = (look - look.mean()) / look.std()
    dirt = noise(rng, rng.uniform(40, 90))
    return rng.uniform(70, 150) + rng.uniform(14, 26) * look + rng.uniform(4, 16) * dirt


def _gravel(rng: np.random.Generator) -> Floats:
    return np.abs(noise(rng, 4)) + 0.4 * noise(rng, 1.5)


def _soil(rng: np.random.Generator) -> Floats:
    return sum((noise(rng, size) * size**0.4 for size in (2, 6, 18, 50)), np.zeros((SIDE, SIDE)))


def _tiles(rng: np.random.Generator) -> Floats:
    size = int(rng.choice([16, 32]))
    shade = np.kron(rng.standard_normal((SIDE // size, SIDE // size)), np.ones((size, size)))
    place = np.arange(SIDE) % size < 2
    return shade + 0.35 * noise(rng, 2) - 2.5 * (place[:, None] | place[None])


def _planks(rng: np.random.Generator) -> Floats:
    size = int(rng.choice([8, 16]))
    shade = np.repeat(rng.standard_normal(SIDE // size), size)[:, None]
    grain = np.repeat(noise(rng, 6)[:, ::8], 8, axis=1)
    return shade + 0.5 * grain - 2 * (np.arange(SIDE) % size < 1)[:, None]


def _patches(rng: np.random.Generator) -> Floats:
    return 1.5 * (noise(rng, 25) > 0.2) + (noise(rng, 12) > 0.8) + 0.3 * noise(rng, 2)


def _lawn(rng: np.random.Generator) -> Floats:
    stripes = np.sign(np.sin(np.arange(SIDE) * (2 * np.pi * 4 / SIDE)))[:, None]
    return noise(rng, 1.2) + 0.5 * noise(rng, 5) + 0.4 * stripes


def _concrete(rng: np.random.Generator) -> Floats:
    crack = np.abs(noise(rng, 30)) < 0.05
    return 0.5 * noise(rng, 1.5) + 0.6 * noise(rng, 40) - 2.5 * crack


def _weave(rng: np.random.Generator) -> Floats:
    size = int(rng.choice([8, 16, 32]))
    x = np.arange(SIDE) // size
    return ((x[:, None] + x[None]) % 2) * 1.2 + 0.4 * noise(rng, 3)
