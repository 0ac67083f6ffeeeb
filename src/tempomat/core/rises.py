"""Closed forms for what mostly rises: powers and logarithms of the time that has passed, and stairs."""

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
class PowerRamp(Schedule):
    r"""A power of the share that has passed, from `init_value` to `end_value`, then `end_value`.

    .. math::
        v(t) = v_0 + (v_1 - v_0)\,(\min(t, T) / T)^p

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. `Polynomial` is the power of the share that is
    left. With a power of 1/2 and falling it is the 1-sqrt decay, with 2 the square decay, with 1/k the root ramp of
    curricula.

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        duration: :math:`T`, at least 1.
        power: :math:`p`, above 0.

    Raises:
        ScheduleError: `duration` is below 1, `power` is not above 0, or a value is not finite.

    Source:
        Haegele et al. 2024 (arXiv:2405.18392) for the 1-sqrt decay.

    Agrees with:
        fastai's `SchedPoly`; DeepSpeed's `fixed_root` curriculum before it is rounded (a power of `1 / root_degree`);
        timm's `WSDLRScheduler` decay with `decay_fn="power"`; the decay of Transformers' `get_wsd_schedule` with
        `1-sqrt` and of Megatron's with `minus_sqrt` (a power of 1/2).

    Example:
        >>> lr = PowerRamp(init_value=1.0, end_value=0.0, duration=100, power=0.5)
        >>> lr(0), lr(25), lr(100)
        (1.0, 0.5, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span
    power: Positive

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        share = ops.real(ops.clip(t, 0, length)) / length
        return ops.where(t < length, first + (last - first) * ops.power(share, self.power), last)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Logarithmic(Schedule):
    r"""A logarithm of the count, from `init_value` to `end_value`, then `end_value`: fast at first, then ever slower.

    .. math::
        v(t) = v_0 + (v_1 - v_0)\,\min\left(1, \frac{\ln(t + 1)}{\ln \max(T, 2)}\right)

    Exactly `init_value` at 0. As published it arrives one count early: exactly `end_value` from `duration` - 1 on (and
    from 1 on with a duration of 1).

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        duration: :math:`T`, at least 1.

    Raises:
        ScheduleError: `duration` is below 1, or a value is not finite.

    Agrees with:
        the warmup of DeepSpeed's `WarmupLR`, `WarmupDecayLR` and `WarmupCosineLR` with `warmup_type="log"`.

    Example:
        >>> lr = Logarithmic(init_value=0.0, end_value=1.0, duration=1000)
        >>> lr(0), round(lr(99), 12), lr(999), lr(10_000)
        (0.0, 0.666666666667, 1.0, 1.0)
    """

    init_value: Value
    end_value: Value
    duration: Span

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, max(ops.count(self.duration), 2)
        share = ops.log(ops.real(ops.clip(t, 0, length)) + 1.0) / math.log(length)
        return ops.where(t < length - 1, first + (last - first) * share, last)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Staircase(Schedule):
    r"""`init_value` and `increment` more every `every` counts, stopped at `end_value`.

    .. math::
        v(t) = \min(v_0 + d \lfloor t / s \rfloor,\; v_1) \qquad\text{rising, the largest of the two falling}

    Exactly `init_value` before `every`; the first step is at the count `every`; exactly `end_value` from the step on
    that reaches or would pass it.

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        increment: :math:`d`, negative to fall.
        every: :math:`s`, at least 1.

    Raises:
        ScheduleError: `every` is below 1, or `increment` does not lead from `init_value` to `end_value`.

    Agrees with:
        the lengths of Composer's `SeqLengthWarmup`; DeepSpeed's `LRRangeTest` with `lr_range_test_staircase`, which has
        no end.

    Example:
        >>> length = Staircase(init_value=8, end_value=1024, increment=8, every=100)
        >>> length(99), length(100), length(250), length(10**9)
        (8.0, 16.0, 24.0, 1024.0)
    """

    init_value: Value
    end_value: Value
    increment: Value
    every: Length

    def _check(self) -> Iterator[Fault]:
        way = self.end_value - self.init_value
        if not self.increment or (way and (way > 0.0) != (self.increment > 0.0)):
            rule = f"must lead from `init_value` ({self.init_value:g}) to `end_value` ({self.end_value:g})"
            yield Fault("increment", f"{rule}, got {self.increment:g}")

    def _at(self, t: Any, ops: Ops) -> Any:
        stairs = self.init_value + self.increment * ops.real(t // ops.count(self.every))
        return ops.minimum(stairs, self.end_value) if self.increment > 0 else ops.maximum(stairs, self.end_value)
