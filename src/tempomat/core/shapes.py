"""Closed forms: one value per count, computed from the count alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, final

from tempomat.core.errors import Fault
from tempomat.core.fields import (
    Boundaries,
    Length,
    NonNegative,
    OptionalValue,
    Positions,
    Positive,
    Span,
    Value,
    Values,
)
from tempomat.core.ops import Ops, known_counts
from tempomat.core.schedule import Clocks, Schedule


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Constant(Schedule):
    """Always `value`.

    Example:
        >>> Constant(value=1e-3)(10**15)
        0.001
    """

    value: Value

    def _at(self, t: Any, ops: Ops) -> Any:
        return ops.full(t, self.value)

    @property
    def clocks(self) -> Clocks:
        """A constant follows no clock."""
        return frozenset()


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Linear(Schedule):
    r"""A straight line from `init_value` to `end_value`, then `end_value`.

    .. math::
        v(t) = v_0 + (v_1 - v_0)\,\frac{\min(t, T)}{T}

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        end_value: :math:`v_1`. Any finite number.
        duration: :math:`T`, in counts of the clock that drives it, or a duration; at least 1.

    Raises:
        ScheduleError: `duration` is below 1, or a value is not finite.

    Agrees with:
        `optax.linear_schedule`; `torch.optim.lr_scheduler.LinearLR` as `base_lr * factor`.

    Example:
        >>> warmup = Linear(init_value=0.0, end_value=3e-4, duration=10_000)
        >>> warmup(0), warmup(5_000), warmup(10_000), warmup(10**15)
        (0.0, 0.00015, 0.0003, 0.0003)
    """

    init_value: Value
    end_value: Value
    duration: Span

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        line = first + (last - first) * (ops.real(ops.clip(t, 0, length)) / length)
        return ops.where(t < length, line, last)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Polynomial(Schedule):
    r"""A power of the share that is left, from `init_value` to `end_value`, then `end_value`.

    .. math::
        v(t) = v_1 + (v_0 - v_1)\,(1 - \min(t, T) / T)^p

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. With `power` 1 it is a straight line.

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        duration: :math:`T`, at least 1.
        power: :math:`p`, above 0.

    Raises:
        ScheduleError: `duration` is below 1, `power` is not above 0, or a value is not finite.

    Agrees with:
        `optax.polynomial_schedule`, `torch.optim.lr_scheduler.PolynomialLR`.

    Example:
        >>> lr = Polynomial(init_value=1.0, end_value=0.0, duration=10, power=2.0)
        >>> lr(0), lr(5), lr(10)
        (1.0, 0.25, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span
    power: Positive

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        left = 1.0 - ops.real(ops.clip(t, 0, length)) / length
        curve = last + (first - last) * ops.power(left, self.power)
        return ops.where(t <= 0, first, ops.where(t < length, curve, last))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cosine(Schedule):
    r"""Half a cosine wave from `init_value` to `end_value`, then `end_value`.

    .. math::
        v(t) = v_1 + \tfrac12 (v_0 - v_1)\,(1 + \cos(\pi \min(t, T) / T))

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. The argument is evaluated from left to right,
    :math:`(\pi t) / T`, as PyTorch does.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        end_value: :math:`v_1`. Any finite number.
        duration: :math:`T`, in counts of the clock that drives it, or a duration; at least 1.

    Raises:
        ScheduleError: `duration` is below 1, or a value is not finite.

    Source:
        Loshchilov and Hutter 2017, SGDR (arXiv:1608.03983).

    Agrees with:
        `torch.optim.lr_scheduler.CosineAnnealingLR` up to `duration`; torch climbs again after it.

    Example:
        >>> lr = Cosine(init_value=1e-3, end_value=1e-5, duration=100)
        >>> lr(0), lr(100), lr(10_000)
        (0.001, 1e-05, 1e-05)
    """

    init_value: Value
    end_value: Value
    duration: Span

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        angle = math.pi * ops.real(ops.clip(t, 0, length)) / length
        wave = last + 0.5 * (first - last) * (1.0 + ops.cos(angle))
        return ops.where(t <= 0, first, ops.where(t < length, wave, last))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Exponential(Schedule):
    r"""`init_value` times `decay_rate` every `every` counts, smoothly or, with `staircase`, at once.

    .. math::
        v(t) = v_0\, r^{t / s} \qquad\text{or}\qquad v_0\, r^{\lfloor t / s \rfloor}

    Exactly `init_value` at 0. It has no end: it goes on towards 0 (or grows, with a rate above 1) and stops at
    `end_value` where one is given.

    Args:
        init_value: :math:`v_0`.
        decay_rate: :math:`r`, above 0.
        every: :math:`s`, the counts after which the value has been multiplied by `decay_rate` once; at least 1.
        staircase: whether it moves only at multiples of `every`.
        end_value: a floor for a falling curve, a ceiling for a rising one; None for neither.

    Raises:
        ScheduleError: `every` is below 1, `decay_rate` is not above 0, `end_value` is on the wrong side of
        `init_value`.

    Agrees with:
        `torch.optim.lr_scheduler.ExponentialLR`, `optax.exponential_decay`, Keras' `ExponentialDecay`.

    Example:
        >>> lr = Exponential(init_value=0.1, decay_rate=0.5)
        >>> lr(0), lr(1), lr(3)
        (0.1, 0.05, 0.0125)
    """

    init_value: Value
    decay_rate: Positive
    every: Length = 1
    staircase: bool = False
    end_value: OptionalValue = None

    def _check(self) -> Iterator[Fault]:
        falls = self.init_value * (self.decay_rate - 1.0) < 0.0
        if self.end_value is not None and (
            self.end_value > self.init_value if falls else self.end_value < self.init_value
        ):
            yield Fault(
                "end_value",
                f"the curve {'falls' if falls else 'rises'} from {self.init_value:g} and never meets "
                f"{self.end_value:g}",
            )

    def _at(self, t: Any, ops: Ops) -> Any:
        step = ops.count(self.every)
        if self.init_value == 0.0:
            return ops.full(t, 0.0)  # 0 times an infinite power is no number
        exponent = ops.real(t // step) if self.staircase else ops.real(t) / step
        curve = self.init_value * ops.power(self.decay_rate, exponent)
        if self.end_value is None:
            return curve
        falls = self.init_value * (self.decay_rate - 1.0) < 0.0
        return ops.maximum(curve, self.end_value) if falls else ops.minimum(curve, self.end_value)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InverseSqrt(Schedule):
    r"""Falls with the square root of the count, without an end.

    .. math::
        v(t) = v_0 \sqrt{\frac{\tau}{t + \tau}}

    Exactly `init_value` at 0; half of it after :math:`3 \tau`.

    Args:
        init_value: :math:`v_0`.
        timescale: :math:`\tau`, at least 1. After a warmup of :math:`W`, the usual choice is :math:`W`.

    Raises:
        ScheduleError: `timescale` is below 1, or the value is not finite.

    Source:
        Vaswani et al. 2017 (arXiv:1706.03762), section 5.3.

    Agrees with:
        `transformers.get_inverse_sqrt_schedule` after its warmup.

    Example:
        >>> lr = InverseSqrt(init_value=1e-3, timescale=1_000)
        >>> lr(0), lr(3_000)
        (0.001, 0.0005)
    """

    init_value: Value
    timescale: Length

    def _at(self, t: Any, ops: Ops) -> Any:
        scale = ops.count(self.timescale)
        return self.init_value * ops.sqrt(scale / (ops.real(t) + scale))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StepDecay(Schedule):
    r"""`init_value`, multiplied by `factor` every `every` counts, at once.

    .. math::
        v(t) = v_0\, g^{\lfloor t / s \rfloor}

    Exactly `init_value` before `every`; the first drop is at the count `every`. It has no end.

    Args:
        init_value: :math:`v_0`.
        factor: :math:`g`, at least 0.
        every: :math:`s`, at least 1.

    Raises:
        ScheduleError: `every` is below 1, or `factor` is negative.

    Agrees with:
        `torch.optim.lr_scheduler.StepLR` (its `gamma` and `step_size`).

    Example:
        >>> lr = StepDecay(init_value=1.0, factor=0.5, every=10)
        >>> lr(9), lr(10), lr(25)
        (1.0, 0.5, 0.25)
    """

    init_value: Value
    factor: NonNegative
    every: Length

    def _at(self, t: Any, ops: Ops) -> Any:
        drops = ops.real(t // ops.count(self.every))
        return self.init_value * ops.power(self.factor, drops) if self.init_value else ops.full(t, 0.0)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MultiStep(Schedule):
    r"""`init_value`, multiplied by `factor` at each milestone.

    .. math::
        v(t) = v_0\, g^{k}, \quad k = |\{m : m \le t\}|

    Exactly `init_value` before the first milestone; the product is taken one factor after the other, so each value is
    the one before it times `factor`. After the last milestone it holds.

    Args:
        init_value: :math:`v_0`.
        factor: :math:`g`, at least 0.
        milestones: counts above 0, strictly increasing.

    Raises:
        ScheduleError: milestones are unsorted, repeated or below 1, or `factor` is negative.

    Agrees with:
        `torch.optim.lr_scheduler.MultiStepLR`.

    Example:
        >>> lr = MultiStep(init_value=1.0, factor=0.5, milestones=(30, 80))
        >>> lr(29), lr(30), lr(80)
        (1.0, 0.5, 0.25)
    """

    init_value: Value
    factor: NonNegative
    milestones: Boundaries
    _values: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _starts: tuple[int, ...] | None = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_starts", known_counts(self.milestones))
        factors = [self.factor] * len(self.milestones)
        object.__setattr__(self, "_values", tuple(accumulate(factors, float.__mul__, initial=self.init_value)))

    def _at(self, t: Any, ops: Ops) -> Any:
        return ops.lookup(t, ops.starts(self._starts, self.milestones), self._values)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PiecewiseConstant(Schedule):
    r"""One value after another: `values[k]` on :math:`[b_k, b_{k+1})`.

    Exactly `values[0]` before the first boundary, `values[k + 1]` from boundary k on, the last one for ever.

    Args:
        values: one more than boundaries.
        boundaries: counts above 0, strictly increasing.

    Raises:
        ScheduleError: there is not one value more than boundaries; boundaries are unsorted, repeated or below 1.

    Agrees with:
        Keras' `PiecewiseConstantDecay` but for its boundaries, which belong to the value before them.

    Example:
        >>> size = PiecewiseConstant(values=(32, 64, 128), boundaries=(500, 1_000))
        >>> size(499), size(500), size(10_000)
        (32.0, 64.0, 128.0)
    """

    values: Values
    boundaries: Boundaries
    _starts: tuple[int, ...] | None = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_starts", known_counts(self.boundaries))

    def _check(self) -> Iterator[Fault]:
        if len(self.values) != len(self.boundaries) + 1:
            yield Fault(
                "values",
                f"must be one more than the boundaries ({len(self.boundaries)}), got {len(self.values)}",
            )

    def _at(self, t: Any, ops: Ops) -> Any:
        return ops.lookup(t, ops.starts(self._starts, self.boundaries), self.values)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PiecewiseLinear(Schedule):
    r"""Straight lines through the points :math:`(b_k, v_k)`.

    .. math::
        v(t) = v_k + (v_{k+1} - v_k)\,\frac{t - b_k}{b_{k+1} - b_k}, \quad b_k \le t < b_{k+1}

    Exactly `values[k]` at `boundaries[k]`; the first value before the first point, the last after the last.

    Args:
        values: as many as points.
        boundaries: the counts of the points, from 0, strictly increasing.

    Raises:
        ScheduleError: there are not as many values as boundaries; boundaries are unsorted or repeated.

    Agrees with:
        `numpy.interp`, Ignite's `PiecewiseLinear`, RLlib's `[[t, v], ...]`.

    Example:
        >>> beta = PiecewiseLinear(values=(1.0, 0.5, 1.0), boundaries=(0, 300, 1_000))
        >>> beta(0), beta(150), beta(300), beta(2_000)
        (1.0, 0.75, 0.5, 1.0)
    """

    values: Values
    boundaries: Positions
    _starts: tuple[int, ...] | None = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_starts", known_counts(self.boundaries))

    def _check(self) -> Iterator[Fault]:
        if len(self.values) != len(self.boundaries):
            yield Fault(
                "values",
                f"must be as many as the boundaries ({len(self.boundaries)}), got {len(self.values)}",
            )

    def _at(self, t: Any, ops: Ops) -> Any:
        points, values = ops.starts(self._starts, self.boundaries), self.values

        def line(place: int, t: Any, ops: Ops) -> Any:
            if place in (0, len(points)):
                return ops.full(t, values[0 if place == 0 else -1])
            begin, end, first, last = points[place - 1], points[place], values[place - 1], values[place]
            share = ops.real(ops.clip(t, begin, end) - begin) / (end - begin)
            return ops.where(t > begin, first + (last - first) * share, first)

        return ops.select(t, points, line)
