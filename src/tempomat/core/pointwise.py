"""Compositions of values: what is done to them at each count by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, final

from tempomat.core.composite import Composite, Tree, Trees
from tempomat.core.errors import Fault
from tempomat.core.fields import OptionalValue, Positive
from tempomat.core.ops import Ops
from tempomat.core.shapes import Constant as Constant  # the examples below are made of these
from tempomat.core.shapes import Cosine as Cosine
from tempomat.core.shapes import Exponential as Exponential
from tempomat.core.shapes import Linear as Linear


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sum(Composite):
    r"""The sum of its parts, added from left to right. Written `one + two`; `one - two` adds the negative.

    .. math::
        v(t) = s_1(t) + s_2(t) + \dots

    Its ends are the sums of the parts' ends.

    Args:
        parts: at least two schedules or numbers.

    Raises:
        ScheduleError: there are fewer than two parts.

    Agrees with:
        no library's class: elsewhere it is a function of one's own, in a `LambdaLR` or as an optax schedule.

    Example:
        >>> lr = Sum(parts=(Linear(init_value=1.0, end_value=0.0, duration=100), 0.5))
        >>> lr(0), lr(50), lr(100)
        (1.5, 1.0, 0.5)
    """

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(lambda total, part: total + part._at(t, ops), self.parts[1:], self.parts[0]._at(t, ops))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Product(Composite):
    r"""The product of its parts, multiplied from left to right. Written `one * two`, with a number for a plain scale.

    .. math::
        v(t) = s_1(t)\, s_2(t) \cdots

    Its ends are the products of the parts' ends.

    Args:
        parts: at least two schedules, controllers or numbers.

    Raises:
        ScheduleError: there are fewer than two parts.

    Agrees with:
        `torch.optim.lr_scheduler.ChainedScheduler` of factors, where none of them starts from the base value again (a
        `LambdaLR` there erases the others).

    Example:
        >>> lr = Cosine(init_value=1.0, end_value=0.0, duration=60) * Linear(init_value=0.0, end_value=1.0, duration=10)
        >>> lr(0), round(lr(20), 12), lr(60)
        (0.0, 0.75, 0.0)
    """

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(lambda total, part: total * part._at(t, ops), self.parts[1:], self.parts[0]._at(t, ops))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Minimum(Composite):
    r"""The smallest of its parts at every count. Written `one.minimum(two)`.

    .. math::
        v(t) = \min(s_1(t), s_2(t), \dots)

    Args:
        parts: at least two schedules or numbers.

    Raises:
        ScheduleError: there are fewer than two parts.

    Agrees with:
        the inner minimum of the Transformer paper's rate, :math:`\min(t^{-1/2}, t\, W^{-3/2})`.

    Example:
        >>> lr = Linear(init_value=0.0, end_value=2.0, duration=100).minimum(1.5)
        >>> lr(0), lr(50), lr(100)
        (0.0, 1.0, 1.5)
    """

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(
            lambda least, part: ops.minimum(least, part._at(t, ops)),
            self.parts[1:],
            self.parts[0]._at(t, ops),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Maximum(Composite):
    r"""The largest of its parts at every count. Written `one.maximum(two)`.

    .. math::
        v(t) = \max(s_1(t), s_2(t), \dots)

    Args:
        parts: at least two schedules or numbers.

    Raises:
        ScheduleError: there are fewer than two parts.

    Agrees with:
        the floor of Megatron's `inverse-square-root` (its `min_lr`), and of optax's `exponential_decay` (`end_value`).

    Example:
        >>> lr = Exponential(init_value=1.0, decay_rate=0.5, every=10).maximum(0.125)
        >>> lr(0), lr(20), lr(100)
        (1.0, 0.25, 0.125)
    """

    parts: Trees

    def _at(self, t: Any, ops: Ops) -> Any:
        return reduce(lambda most, part: ops.maximum(most, part._at(t, ops)), self.parts[1:], self.parts[0]._at(t, ops))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Clip(Composite):
    r"""`schedule` kept between `min` and `max`; either may be left out. Written `schedule.clip(min=..., max=...)`.

    .. math::
        v(t) = \min(\max(s(t), a), b)

    Args:
        schedule: a schedule or a tree with controllers.
        min: :math:`a`, or None for no lower bound.
        max: :math:`b`, or None for no upper bound.

    Raises:
        ScheduleError: both are left out, or `min` is above `max`.

    Agrees with:
        `min_lr` of `torch.optim.lr_scheduler.ReduceLROnPlateau` around a plateau; the clamp of Composer's
        `SeqLengthWarmup`.

    Example:
        >>> lr = Linear(init_value=0.0, end_value=1.0, duration=100).clip(min=0.25, max=0.75)
        >>> lr(0), lr(50), lr(100)
        (0.25, 0.5, 0.75)
    """

    schedule: Tree
    min: OptionalValue = None
    max: OptionalValue = None

    def _check(self) -> Iterator[Fault]:
        if self.min is None and self.max is None:
            yield Fault("min", "and `max` are both left out, so nothing is clipped. Give one of them")
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Fault("min", f"must not be above `max` ({self.max:g}), got {self.min:g}")

    def _at(self, t: Any, ops: Ops) -> Any:
        value = self.schedule._at(t, ops)
        value = value if self.min is None else ops.maximum(value, self.min)
        return value if self.max is None else ops.minimum(value, self.max)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FloorTo(Composite):
    r"""`schedule` rounded down to a multiple of `step`. Written `schedule.floor_to(step)`.

    .. math::
        v(t) = k\, m \quad\text{with the largest whole } k \text{ for which } k\, m \le s(t)

    Multiples of 0, not of the first value. The products are float64's, so with steps that float64 does not hold exactly
    (0.1) a value that looks like a multiple may lie just below it; whole steps and halves of whole steps are exact.

    Args:
        schedule: a schedule or a tree with controllers.
        step: :math:`m`, above 0.

    Raises:
        ScheduleError: `step` is not above 0.

    Agrees with:
        the `difficulty_step` of DeepSpeed's curricula.

    Example:
        >>> batch = Linear(init_value=8, end_value=64, duration=100).floor_to(8)
        >>> batch(0), batch(50), batch(99), batch(100)
        (8.0, 32.0, 56.0, 64.0)
    """

    schedule: Tree
    step: Positive

    def _at(self, t: Any, ops: Ops) -> Any:
        value, step = self.schedule._at(t, ops), self.step
        whole = ops.floor(value / step)
        # the quotient is rounded, so it may stand one beside
        whole = ops.where((whole + 1.0) * step <= value, whole + 1.0, whole)
        whole = ops.where(whole * step > value, whole - 1.0, whole)
        return whole * step + 0.0  # one zero
