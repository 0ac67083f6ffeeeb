"""A scheduler without a framework: a plan, counts that go on, values held in float32, events, a state."""

from typing import Any

import numpy as np

from tempomat.plan import Plan

PLAN = Plan({"lr": {"type": "cosine", "init_value": 0.1, "end_value": 0.001, "duration": 30}, "wd": 0.01}, total=30)


class FakeScheduler:
    """Decides something at every fifth count, so that the record has events too."""

    def __init__(self, plan: Plan = PLAN, count: int = 0) -> None:
        self.plan = plan
        self.count = count
        self.events: list[dict[str, Any]] = []

    @property
    def counts(self) -> dict[str, int]:
        return {"optimizer_steps": self.count, "samples": 32 * self.count}

    @property
    def asked(self) -> dict[str, float]:
        return {name: self.plan[name](self.count) for name in self.plan.schedules}

    @property
    def values(self) -> dict[str, float]:
        return {name: float(np.float32(value)) for name, value in self.asked.items()}

    def step(self) -> None:
        self.count += 1
        if self.count % 5 == 0:
            self.events.append({"event": "decision", "entry": "lr", "level": 1 / self.count, "counts": self.counts})

    def rewind(self, count: int) -> None:
        self.count = count
        self.events.append({"event": "rewind", "counts": self.counts})


def loss(count: int) -> float:
    """A measurement that differs at every count."""
    return 1.0 / (1 + count)
