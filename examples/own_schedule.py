"""A schedule of your own: a class with one formula, at home in plans, pictures, checkpoints and plan files.

Usage: python examples/own_schedule.py
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tempomat as tm
from tempomat.core.fields import Length, Value
from tempomat.core.ops import Ops


@dataclass(frozen=True, kw_only=True)
class HalfLife(tm.Schedule):
    """`init_value` times 1/2 every `half_life` counts, without steps."""

    init_value: Value  # any finite number; text such as "3e-4" is read as one
    half_life: Length  # a count from 1; "5%" and "2 epochs" become one when the plan meets the run

    def _at(self, t: Any, ops: Ops) -> Any:  # one formula for Python numbers, NumPy, PyTorch and JAX
        return self.init_value * ops.power(0.5, ops.real(t) / ops.count(self.half_life))


PLAN = f"""
total: 1000
schedules:
  lr: {{type: {HalfLife.__module__}.HalfLife, init_value: 3e-4, half_life: 10%}}
"""


def main() -> tm.Plan:
    """A plan from text that names the class, which the caller allows; the text alone could not."""
    plan = tm.loads_plan(PLAN, own=[HalfLife]).resolve()
    print(plan["lr"](100), plan["lr"](np.array([0, 100, 200])))
    quick = tm.schedule(lambda count: 3e-4 / (1 + count / 100))  # for a try: a function, which no file can hold
    print((0.5 * quick)(100))
    return plan


if __name__ == "__main__":
    main()
