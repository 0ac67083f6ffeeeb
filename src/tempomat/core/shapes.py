"""Closed forms: one value per count, computed from the count alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from tempomat.core.errors import Fault
from tempomat.core.fields import Length, OptionalValue, Positive, Span, Value
from tempomat.core.ops import Ops
from tempomat.core.schedule import Clocks, Schedule


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Constant(Schedule):
    r"""Always `value`.

    .. math::
        v(t) = v_0

    Exactly `value` at 0 and at every count after it; it follows no clock.

    Args:
        value: :math:`v_0`. Any finite number, in the target's unit.

    Raises:
        ScheduleError: the value is not finite.

    Source:
        What every optimizer does with a bare number.

    Agrees with:
        `optax.constant_schedule`; `transformers.get_constant_schedule`; a bare number in PyTorch, Keras, Composer and
        wherever else one may stand for a schedule. PyTorch's `ConstantLR` is none: it steps up from `base_lr * factor`
        to `base_lr`, which is `PiecewiseConstant`.

    Example:
        >>> lr = Constant(value=1e-3)
        >>> lr(0), lr(10**15)
        (0.001, 0.001)
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

    Source:
        The interpolation between two points.

    Agrees with:
        `optax.linear_schedule`; PyTorch's `LinearLR`, whose factors multiply `base_lr`; the parts before and after the
        peak of `transformers.get_linear_schedule_with_warmup`; Keras' `PolynomialDecay` with a `power` of 1; Ignite's
        `PiecewiseLinear` through two points; fastai's `SchedLin`; fvcore's `LinearParamScheduler` and Composer's
        `LinearScheduler` on a share of the run; SB3's `LinearSchedule` and its zoo's `lin_`, which fall to 0 over all
        time steps; RLlib's `[[0, v0], [T, v1]]`; DrQ-v2's `linear(init, final, duration)`; Megatron's and DeepSpeed's
        linear warmup and decay.

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
        v(t) = v_1 + (v_0 - v_1)\,(1 - x^k)^p, \qquad x = \min(t, T) / T

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. With `power` and `k_decay` 1 it is a straight
    line; a `k_decay` above 1 stays longer near `init_value`.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        end_value: :math:`v_1`. Any finite number.
        duration: :math:`T`, in counts of the clock that drives it, or a duration; at least 1.
        power: :math:`p`, above 0.
        k_decay: :math:`k`, above 0.

    Raises:
        ScheduleError: `duration` is below 1, `power` or `k_decay` is not above 0, or a value is not finite.

    Source:
        `k_decay`: Zhang and Li 2020, k-decay (arXiv:2004.05909).

    Agrees with:
        `optax.polynomial_schedule`; PyTorch's `PolynomialLR`, which ends at 0; Keras' `PolynomialDecay` without
        `cycle`; `transformers.get_polynomial_decay_schedule_with_warmup` after its warmup, but for param groups of
        another learning rate than the default; fastai's `SchedPoly` with the power on the other side; Composer's
        `PolynomialScheduler`; fvcore's `PolynomialDecayParamScheduler`; timm's `PolyLRScheduler` of one cycle, with its
        `k_decay`.

    Example:
        >>> lr = Polynomial(init_value=1.0, end_value=0.0, duration=10, power=2.0)
        >>> lr(0), lr(5), lr(10)
        (1.0, 0.25, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span
    power: Positive
    k_decay: Positive = 1.0

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        share = ops.real(ops.clip(t, 0, length)) / length
        left = 1.0 - (share if self.k_decay == 1.0 else ops.power(share, self.k_decay))
        curve = last + (first - last) * ops.power(left, self.power)
        return ops.where(t <= 0, first, ops.where(t < length, curve, last))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cosine(Schedule):
    r"""Half a cosine wave from `init_value` to `end_value`, then `end_value`.

    .. math::
        v(t) = v_1 + (v_0 - v_1) \left(\frac{1 + \cos(\pi x^k)}{2}\right)^p, \qquad x = \min(t, T) / T

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. With `power` and `k_decay` 1 the angle is
    evaluated from left to right, :math:`(\pi t) / T`, as PyTorch does.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        end_value: :math:`v_1`. Any finite number.
        duration: :math:`T`, in counts of the clock that drives it, or a duration; at least 1.
        power: :math:`p`, above 0; above 1 it falls earlier.
        k_decay: :math:`k`, above 0; above 1 it falls later.

    Raises:
        ScheduleError: `duration` is below 1, `power` or `k_decay` is not above 0, or a value is not finite.

    Source:
        Loshchilov and Hutter 2017, SGDR (arXiv:1608.03983). `k_decay`: Zhang and Li 2020, k-decay (arXiv:2004.05909).

    Agrees with:
        PyTorch's `CosineAnnealingLR` up to `duration`; it climbs again after it. `optax.cosine_decay_schedule`, whose
        `exponent` is `power` and whose `alpha` is `end_value / init_value`. Keras' `CosineDecay`.
        `transformers.get_cosine_schedule_with_warmup` and `get_cosine_with_min_lr_schedule_with_warmup` after their
        warmup, up to the end; both climb again after it, and the floor of the latter is right only in param groups of
        the default learning rate. timm's `CosineLRScheduler` of one cycle, with its `k_decay`. fastai's `SchedCos`;
        fvcore's `CosineParamScheduler`; Composer's `CosineAnnealingScheduler`; Ignite's `CosineAnnealingScheduler` over
        its first `cycle_size`; Megatron's and OLMo-core's cosine decay after their warmup; DeepSpeed's
        `WarmupCosineLR` after its warmup, where it is one count ahead.

    Example:
        >>> lr = Cosine(init_value=1e-3, end_value=1e-5, duration=100)
        >>> lr(0), lr(100), lr(10_000)
        (0.001, 1e-05, 1e-05)
    """

    init_value: Value
    end_value: Value
    duration: Span
    power: Positive = 1.0
    k_decay: Positive = 1.0

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        place = ops.real(ops.clip(t, 0, length))
        angle = math.pi * place / length if self.k_decay == 1.0 else math.pi * ops.power(place / length, self.k_decay)
        if self.power == 1.0:
            curve = last + 0.5 * (first - last) * (1.0 + ops.cos(angle))
        else:  # the bracket as a square: near the end 1 + cos is mostly rounding, which a small power magnifies
            curve = last + (first - last) * ops.power(ops.maximum(ops.cos(0.5 * angle), 0.0), 2.0 * self.power)
        return ops.where(t <= 0, first, ops.where(t < length, curve, last))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Exponential(Schedule):
    r"""`init_value` times `decay_rate` every `every` counts, smoothly or, with `staircase`, at once.

    .. math::
        v(t) = v_0\, r^{t / s} \qquad\text{or}\qquad v_0\, r^{\lfloor t / s \rfloor}

    Exactly `init_value` at 0. It has no end: it goes on towards 0 (or grows, with a rate above 1) and stops at
    `end_value` where one is given.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        decay_rate: :math:`r`, above 0.
        every: :math:`s`, the counts after which the value has been multiplied by `decay_rate` once; at least 1.
        staircase: whether it moves only at multiples of `every`.
        end_value: a floor for a falling curve, a ceiling for a rising one; None for neither.

    Raises:
        ScheduleError: `every` is below 1, `decay_rate` is not above 0, `end_value` is on the wrong side of
        `init_value`.

    Source:
        Geometric decay: the same share is lost in the same time.

    Agrees with:
        PyTorch's `ExponentialLR` (its `gamma`, every count); `optax.exponential_decay`, with its `transition_steps`,
        `staircase` and `end_value`; Keras' `ExponentialDecay`, with its `decay_steps` and `staircase`; Composer's
        `ExponentialScheduler`; fvcore's `ExponentialParamScheduler` and fastai's `SchedExp`, which give the value at
        the end instead of a rate: see `Geometric`.

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

    Exactly `init_value` at 0; half of it after :math:`3 \tau`. It has no end and goes on towards 0.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        timescale: :math:`\tau`, at least 1. After a warmup of :math:`W`, the usual choice is :math:`W`.

    Raises:
        ScheduleError: `timescale` is below 1, or the value is not finite.

    Source:
        Vaswani et al. 2017 (arXiv:1706.03762), section 5.3.

    Agrees with:
        `transformers.get_inverse_sqrt_schedule` after its warmup, with its `timescale`; Megatron's
        `inverse-square-root` and OLMo-core's `InvSqrtWithWarmup` after their warmup, with a timescale of that warmup.

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
