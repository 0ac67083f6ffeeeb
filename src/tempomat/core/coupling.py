"""One hyperparameter that follows another: powers of a tree, and the learning rate that goes with a batch size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

from tempomat.core.composite import Composite, Tree
from tempomat.core.errors import ScheduleError
from tempomat.core.fields import Positive, Value
from tempomat.core.ops import Ops
from tempomat.core.recipes import recipe
from tempomat.core.schedule import Node, Schedule
from tempomat.core.shapes import Linear as Linear  # the examples below are made of these
from tempomat.core.steps import PiecewiseConstant as PiecewiseConstant


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Power(Composite):
    r"""`schedule`, as a share of `reference`, to a power. Written `schedule ** exponent`.

    .. math::
        v(t) = \left(\frac{s(t)}{r}\right)^p

    Its ends are the powers of the schedule's ends; exactly 1 where the schedule is at `reference`.

    Args:
        schedule: :math:`s`, a schedule or a tree with controllers. At least 0, and above 0 for a negative exponent;
            where the exponent is whole it may be negative.
        exponent: :math:`p`, any number.
        reference: :math:`r`, above 0.

    Raises:
        ScheduleError: `reference` is not above 0; when evaluated, the base has no such power, as -1 has no root. Inside
            a traced function of torch or JAX it is a NaN, which the range guard refuses.

    Agrees with:
        no library's class: elsewhere it is a function of one's own.

    Example:
        >>> root = Linear(init_value=0.0, end_value=100.0, duration=100) ** 0.5
        >>> root(0), root(25), root(100)
        (0.0, 5.0, 10.0)
    """

    schedule: Tree
    exponent: Value
    reference: Positive = 1.0

    def _at(self, t: Any, ops: Ops) -> Any:
        base = self.schedule._at(t, ops) / self.reference
        try:
            return ops.power(base, self.exponent)
        except ValueError:
            raise ScheduleError(
                f"Power: the schedule comes to {base!r:.60} times `reference`, which has no real power "
                f"{self.exponent:g}. Clip it from below"
            ) from None


_power: Callable[..., Any] = Power  # it may come out as a reactive tree


def power(schedule: Node, exponent: float) -> Any:
    """A tree to a power."""
    return _power(schedule=schedule, exponent=exponent)


@recipe
def coupled(
    *, schedule: Tree, to: Tree, reference: Positive = 32.0, rule: Literal["linear", "sqrt"] = "linear"
) -> Schedule:
    r"""A value that was tuned at one batch size, and follows another: a learning rate.

    .. math::
        v(t) = s(t)\, \frac{B(t)}{B_r} \;\text{(linear)}, \qquad s(t) \sqrt{\frac{B(t)}{B_r}} \;\text{(sqrt)}

    Exactly `schedule` where the batch size is `reference`. Its ends are those of the two trees.

    For SGD the linear rule keeps the size of the noise in each pass over the data; for Adam the square root does. Both
    break down where the batch is larger than the gradient noise scale. To leave the rate alone, do not couple it.

    Args:
        schedule: :math:`s`, the value for `reference`; may hold controllers.
        to: :math:`B`, the batch size: the same tree as the plan's `batch_size`; may hold controllers, which then decide
            the same in both places.
        reference: :math:`B_r`, the batch size that `schedule` was tuned at; above 0.
        rule: `linear` or `sqrt`.

    Raises:
        ScheduleError: `reference` is not above 0, or there is no such rule; when evaluated, a negative batch size has
            no root.

    Source:
        Goyal et al. 2017, Accurate, Large Minibatch SGD (arXiv:1706.02677), for the linear rule; Malladi et al. 2022,
        On the SDEs and Scaling Rules for Adaptive Gradient Algorithms (arXiv:2205.10782), for the square root.

    Agrees with:
        timm's training script at a constant batch size: its `--lr-base` is `schedule`, `--lr-base-size` is `reference`,
        `--lr-base-scale` is `rule`.

    Example:
        >>> lr = coupled(
        ...     schedule=0.1, to=PiecewiseConstant(values=(32, 128), boundaries=(100,)), reference=32, rule="sqrt"
        ... )
        >>> lr(0), lr(100)
        (0.1, 0.2)
    """
    exponent = 1.0 if rule == "linear" else 0.5
    return schedule * _power(schedule=to, exponent=exponent, reference=reference)
