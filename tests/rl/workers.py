"""Rollout workers in the test's own process, environments that make trouble, and what tests of both share."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import register, registry

from tempomat_rl.ppo.rollout.transport import WorkerLost
from tempomat_rl.ppo.rollout.worker import Worker, answer, opened


class Here:
    """A transport to workers in this process. `lose` has (place, number of the answer) of those that get lost."""

    def __init__(self, spec_of, num_workers, *, lose=(), **_):
        self.spec_of, self.num_workers, self.lose = spec_of, num_workers, set(lose)
        self.workers: dict[int, Worker] = {}
        self.answers: dict[int, bytes] = {}
        self.received: dict[int, int] = {}
        self.messages: list[tuple[int, str, Any]] = []
        self.closed = False

    def start(self, place):
        self.workers[place] = Worker(self.spec_of(place))
        self.answers.pop(place, None)

    def send(self, place, message):
        self.messages.append((place, *message))
        carried = pickle.loads(pickle.dumps(message))
        self.answers[place] = pickle.dumps(answer(self.workers[place], carried))

    def receive(self, place):
        count = self.received[place] = self.received.get(place, 0) + 1
        if (place, count) in self.lose:
            raise WorkerLost(place, "lost by the test")
        return opened(place, pickle.loads(self.answers.pop(place)))

    def describe(self):
        return f"{self.num_workers} places"

    def close(self):
        self.closed = True


def wait_shortly(transport, long):
    """For the worker there is; for one that takes its place, long: a slow machine is no silence."""
    start = transport.start

    def starting(place):
        transport._timeout_s = long
        start(place)

    transport.start, transport._timeout_s = starting, 0.2


class Troubled(gymnasium.Env):
    """Counts its steps, and at one of them does what it is told: sleeps, raises or exits.

    Args:
        at: the step of an episode.
        trouble: what is done.
        once: a file; if it is there the trouble is over. None for trouble without end.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, at: int, trouble: str, once: str | None = None) -> None:
        self.at, self.trouble, self.once = at, trouble, once

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.np_random.standard_normal(2), {}

    def step(self, action):
        self.count += 1
        if self.count == self.at and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            if self.trouble == "sleeps":
                time.sleep(600)
            if self.trouble == "exits":
                os._exit(3)
            if self.trouble == "raises":
                raise ZeroDivisionError("no such place")
        return self.np_random.standard_normal(2) + action, 1.0, self.count == 11, False, {}


class Wandering(Troubled):
    """Its episodes do not follow from their seeds."""

    def __init__(self) -> None:
        super().__init__(0, "none")

    def step(self, action):
        self.np_random = np.random.default_rng()
        return super().step(action)


for kind in (Troubled, Wandering):
    if f"{kind.__name__}-v0" not in registry:  # whoever looks for doctests imports this under another name
        register(f"{kind.__name__}-v0", f"{__name__}:{kind.__name__}")
