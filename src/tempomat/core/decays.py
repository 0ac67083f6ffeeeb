"""Closed forms that are named after how they fall: with a ratio, a power, a tangent, a hyperbola, a sine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from tempomat.core.errors import Fault
from tempomat.core.fields import Length, Positive, Span, Value
from tempomat.core.ops import Ops
from tempomat.core.schedule import Schedule


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Geometric(Schedule):
    r"""The same ratio at every count, from `init_value` to `end_value`, then `end_value`: a line on a logarithmic axis.

    .. math::
        v(t) = v_0 \left(\frac{v_1}{v_0}\right)^{\min(t, T) / T}

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on.

    Args:
        init_value: :math:`v_0`, not 0.
        end_value: :math:`v_1`, not 0 and of the same sign.
        duration: :math:`T`, in counts of the clock that drives it, or a duration; at least 1.

    Raises:
        ScheduleError: `duration` is below 1; a value is 0, or the two have different signs, so that no ratio leads from
        one to the other; or the ratio is beyond float64.

    Agrees with:
        fastai's `SchedExp`; `torch.optim.lr_scheduler.ExponentialLR`, Keras' `ExponentialDecay` and
        `optax.exponential_decay` up to `duration`, with :math:`(v_1 / v_0)` as the rate over `duration` counts;
        OLMo-core's `ExponentialScheduler`.

    Example:
        >>> lr = Geometric(init_value=1.0, end_value=0.0001, duration=100)
        >>> lr(0), lr(50), lr(100), lr(10_000)
        (1.0, 0.01, 0.0001, 0.0001)
    """

    init_value: Value
    end_value: Value
    duration: Span

    def _check(self) -> Iterator[Fault]:
        if not self.init_value:
            yield Fault("init_value", f"must not be 0: no ratio leads from 0 to {self.end_value:g}. Use Linear")
        elif self.end_value * math.copysign(1.0, self.init_value) <= 0.0:
            rule = f"must not be 0 and have the sign of `init_value` ({self.init_value:g}), got {self.end_value:g}"
            yield Fault("end_value", f"{rule}. Stop a little before 0, or use Linear")
        elif not 0.0 < self.end_value / self.init_value < math.inf:
            yield Fault("end_value", f"is too far from `init_value` ({self.init_value:g}): their ratio overflows")

    def _at(self, t: Any, ops: Ops) -> Any:
        length = ops.count(self.duration)
        share = ops.real(ops.clip(t, 0, length)) / length
        curve = self.init_value * ops.power(self.end_value / self.init_value, share)
        return ops.where(t < length, curve, self.end_value)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InverseTime(Schedule):
    r"""Falls with the inverse of the count, smoothly or, with `staircase`, in steps; it has no end.

    .. math::
        v(t) = \frac{v_0}{1 + r\, t / s} \qquad\text{or}\qquad \frac{v_0}{1 + r \lfloor t / s \rfloor}

    Exactly `init_value` at 0, half of it at :math:`s / r`.

    Args:
        init_value: :math:`v_0`.
        decay_rate: :math:`r`, above 0.
        every: :math:`s`, the counts that make one unit of decay; at least 1.
        staircase: whether it moves only at multiples of `every`.

    Raises:
        ScheduleError: `every` is below 1, or `decay_rate` is not above 0.

    Agrees with:
        Keras' `InverseTimeDecay` (its `decay_steps` is `every`).

    Example:
        >>> lr = InverseTime(init_value=0.1, decay_rate=0.5, every=10)
        >>> lr(0), lr(20), lr(180)
        (0.1, 0.05, 0.01)
    """

    init_value: Value
    decay_rate: Positive
    every: Length = 1
    staircase: bool = False

    def _at(self, t: Any, ops: Ops) -> Any:
        step = ops.count(self.every)
        passed = ops.real(t // step) if self.staircase else ops.real(t) / step
        return self.init_value / (1.0 + self.decay_rate * passed)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PowerLaw(Schedule):
    r"""A power of the count, without an end.

    .. math::
        v(t) = v_0 \left(\frac{t + \tau}{\tau}\right)^b

    Exactly `init_value` at 0. With an exponent of -0.5 it is `InverseSqrt`; with one above 0 it rises.

    Args:
        init_value: :math:`v_0`.
        timescale: :math:`\tau`, at least 1. After a warmup of :math:`W`, the usual choice is :math:`W`: then the value
            is :math:`v_0 (t / W)^b` in counts from the beginning.
        exponent: :math:`b`.

    Raises:
        ScheduleError: `timescale` is below 1, or a value is not finite.

    Source:
        Shen et al. 2024, Power Scheduler (arXiv:2408.13359), where :math:`b` is -0.51.

    Agrees with:
        OLMo-core's `PowerLR` after its warmup; timm's `WSDLRScheduler` with `stable_fn="power"` before its decay.
        DeepSpeed's `LRRangeTest`, with an exponent of 1: a line without an end.

    Example:
        >>> lr = PowerLaw(init_value=0.01, timescale=100, exponent=-0.51)
        >>> lr(0), round(lr(900), 6)
        (0.01, 0.00309)
    """

    init_value: Value
    timescale: Length
    exponent: Value

    def _at(self, t: Any, ops: Ops) -> Any:
        if self.init_value == 0.0:
            return ops.full(t, 0.0)  # 0 times an infinite power is no number
        scale = ops.count(self.timescale)
        return self.init_value * ops.power((ops.real(t) + scale) / scale, self.exponent)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Tanh(Schedule):
    r"""A stretch of the hyperbolic tangent from near `init_value` to near `end_value`, then exactly `end_value`.

    .. math::
        v(t) = v_1 + \tfrac12 (v_0 - v_1)\,(1 - \tanh(l\,(1 - x) + u\,x)), \qquad x = t / T < 1

    The tangent never reaches its bounds: at 0 the value misses `init_value` by :math:`(1 + \tanh l) / 2` of the way
    (8e-7 of it with the default), and before `duration` it comes down to :math:`(1 - \tanh u) / 2` of the way (0.25 %).
    Exactly `end_value` from `duration` on.

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        duration: :math:`T`, at least 1.
        lower: :math:`l`, where on the tangent the curve begins.
        upper: :math:`u`, where it ends; above `lower`.

    Raises:
        ScheduleError: `duration` is below 1, or `lower` is not below `upper`.

    Source:
        Hsueh et al. 2018, stochastic gradient descent with hyperbolic-tangent decay (arXiv:1806.01593).

    Agrees with:
        timm's `TanhLRScheduler` (its `lb` and `ub`) with one cycle.

    Example:
        >>> lr = Tanh(init_value=1.0, end_value=0.0, duration=100)
        >>> round(lr(0), 6), round(lr(70), 12), lr(100)
        (0.999999, 0.5, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span
    lower: Value = -7.0
    upper: Value = 3.0

    def _check(self) -> Iterator[Fault]:
        if self.lower >= self.upper:
            yield Fault("lower", f"must be below `upper` ({self.upper:g}), got {self.lower:g}")

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        share = ops.real(ops.clip(t, 0, length)) / length
        curve = last + 0.5 * (first - last) * (1.0 - ops.tanh(self.lower * (1.0 - share) + self.upper * share))
        return ops.where(t < length, curve, last)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rex(Schedule):
    r"""A ratio of two lines: slow at first, fast towards the end, from `init_value` to `end_value`, then `end_value`.

    .. math::
        v(t) = v_1 + (v_0 - v_1)\,\frac{1 - x}{1 - x / 2}, \qquad x = \min(t, T) / T

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on; two thirds of the way are left at the middle.

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        duration: :math:`T`, at least 1.

    Raises:
        ScheduleError: `duration` is below 1, or a value is not finite.

    Source:
        Chen et al. 2021, REX (arXiv:2107.04197).

    Agrees with:
        pytorch_optimizer's `REXScheduler`.

    Example:
        >>> lr = Rex(init_value=0.75, end_value=0.0, duration=100)
        >>> lr(0), lr(50), lr(100)
        (0.75, 0.5, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        share = ops.real(ops.clip(t, 0, length)) / length
        curve = last + (first - last) * ((1.0 - share) / (1.0 - share / 2.0))
        return ops.where(t <= 0, first, ops.where(t < length, curve, last))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Hyperbolic(Schedule):
    r"""A stretch of a hyperbola whose beginning hardly depends on how long the run is.

    .. math::
        v(t) = v_0 + (v_0 - v_\infty) \left( \sqrt{\frac{N - n}{U} \Bigl(2 - \frac{N + n}{U}\Bigr)}
        - \sqrt{\frac{N}{U} \Bigl(2 - \frac{N}{U}\Bigr)} \right), \qquad n = \min(t, N)

    Exactly `init_value` at 0. At `duration` and from there on
    :math:`v_0 - (v_0 - v_\infty) \sqrt{N / U\,(2 - N / U)}`, which is above the infimum unless `upper_bound` equals
    `duration`.

    Args:
        init_value: :math:`v_0`.
        infimum: :math:`v_\infty`, where a run of `upper_bound` counts would end.
        duration: :math:`N`, at least 1.
        upper_bound: :math:`U`, the longest run for which the curve is meant; at least `duration`. The same one for runs
            of different lengths makes their beginnings alike.

    Raises:
        ScheduleError: `duration` is below 1, or longer than `upper_bound`.

    Source:
        Kim 2024, HyperbolicLR (arXiv:2407.15200).

    Agrees with:
        its authors' `HyperbolicLR` (`max_iter`, `upper_bound`, `infimum_lr`).

    Example:
        >>> lr = Hyperbolic(init_value=1.0, infimum=0.0, duration=100, upper_bound=250)
        >>> lr(0), round(lr(50), 4), round(lr(100), 12)
        (1.0, 0.7292, 0.2)
    """

    init_value: Value
    infimum: Value
    duration: Span
    upper_bound: Length

    def _check(self) -> Iterator[Fault]:
        length, bound = self.duration, self.upper_bound
        if isinstance(length, int) and isinstance(bound, int) and bound < length:
            yield Fault("upper_bound", f"must be at least `duration` ({length}), got {bound}")

    def _at(self, t: Any, ops: Ops) -> Any:
        length, bound = ops.count(self.duration), ops.count(self.upper_bound)
        passed, whole = ops.real(ops.clip(t, 0, length)), length / bound
        bow = ops.sqrt((length - passed) / bound * (2.0 - (length + passed) / bound))
        return self.init_value + (self.init_value - self.infimum) * (bow - math.sqrt(whole * (2.0 - whole)))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CosineTail(Schedule):
    r"""The second half of a half cosine wave, from `init_value` to `end_value`, then `end_value`: steep, then flat.

    .. math::
        v(t) = v_1 + (v_0 - v_1)\,\Bigl(1 + \cos \frac{\pi (1 + x)}{2}\Bigr), \qquad x = \min(t, T) / T

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. It is `Cosine` from its middle on.

    Args:
        init_value: :math:`v_0`, halfway down the whole wave.
        end_value: :math:`v_1`.
        duration: :math:`T`, at least 1.

    Raises:
        ScheduleError: `duration` is below 1, or a value is not finite.

    Agrees with:
        OLMo-core's `HalfCosWithWarmup` after its warmup, whose `lr` is the peak of the whole wave.

    Example:
        >>> lr = CosineTail(init_value=1.0, end_value=0.0, duration=90)
        >>> lr(0), round(lr(30), 12), lr(90)
        (1.0, 0.5, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        angle = math.pi * (length + ops.real(ops.clip(t, 0, length))) / (2 * length)
        wave = last + (first - last) * (1.0 + ops.cos(angle))
        return ops.where(t <= 0, first, ops.where(t < length, wave, last))
