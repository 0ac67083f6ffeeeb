"""Recipes with a warmup and a fall that needs no total: it can be stopped, or gone on with, at any count."""

from __future__ import annotations

from typing import Annotated

from tempomat.core.clock import Duration
from tempomat.core.decays import PowerLaw
from tempomat.core.fields import Count, CountKind, Length, Positive, Value
from tempomat.core.ops import counted
from tempomat.core.recipes import WarmupShape, recipe, refuse, until_known, warmed_up
from tempomat.core.schedule import Schedule
from tempomat.core.shapes import InverseSqrt, Linear

OptionalLength = Annotated[int | str | Duration | None, CountKind(1, optional=True)]
"""A count from 1, a duration, or None."""


@recipe
def warmup_inverse_sqrt(
    *,
    peak_value: Value,
    warmup: Count,
    timescale: OptionalLength = None,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""A warmup from `init_value` to `peak_value`, then a fall with the square root of the count, without an end.

    .. math::
        v(t) = v_{peak} \sqrt{\frac{\tau}{t - W + \tau}} \;(t \ge W), \qquad
        v_{peak} \sqrt{W / t} \text{ with } \tau = W

    Exactly `init_value` at 0 and exactly `peak_value` at `warmup`; half of it :math:`3 \tau` counts later.

    Args:
        peak_value: :math:`v_{peak}`.
        warmup: :math:`W`, a count or a duration; 0 for none.
        timescale: :math:`\tau`, as long as the warmup by default.
        init_value: the value at 0.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: there is neither a warmup nor a `timescale`.

    Source:
        Vaswani et al. 2017 (arXiv:1706.03762); Zhai et al. 2021 (arXiv:2106.04560) for the timescale.

    Agrees with:
        `transformers.get_inverse_sqrt_schedule` (without a warmup its timescale is 10 000); Megatron's
        `inverse-square-root` above its `min_lr`; timm's `WSDLRScheduler` with `stable_fn="rsqrt"` before its decay;
        OLMo-core's `InvSqrtWithWarmup` with an `alpha_f` of 0.

    Example:
        >>> lr = warmup_inverse_sqrt(peak_value=1e-3, warmup=100)
        >>> lr(50), lr(100), lr(400)
        (0.0005, 0.001, 0.0005)
    """
    if timescale is None and warmup == 0:
        raise refuse("timescale", "must be given where there is no warmup to take it from, such as 10_000")
    after = InverseSqrt(init_value=peak_value, timescale=warmup if timescale is None else timescale)
    return warmed_up(warmup, init_value, peak_value, after, warmup_shape)


@recipe
def warmup_power(
    *,
    peak_value: Value,
    warmup: Length,
    exponent: Value = -0.51,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""A warmup from `init_value` to `peak_value`, then a power of the count, without an end.

    .. math::
        v(t) = v_{peak} \left(\frac{t}{W}\right)^b \;(t \ge W)

    Exactly `init_value` at 0 and exactly `peak_value` at `warmup`.

    Args:
        peak_value: :math:`v_{peak}`.
        warmup: :math:`W`, a count or a duration, at least 1: the power is counted from it.
        exponent: :math:`b`; -0.51 as its authors found.
        init_value: the value at 0.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: `warmup` is below 1, or a value is not finite.

    Source:
        Shen et al. 2024, Power Scheduler (arXiv:2408.13359).

    Agrees with:
        OLMo-core's `PowerLR`; timm's `WSDLRScheduler` with `stable_fn="power"` before its decay (its `stable_power` has
        the other sign).

    Example:
        >>> lr = warmup_power(peak_value=0.01, warmup=100)
        >>> lr(50), lr(100), round(lr(1000), 6)
        (0.005, 0.01, 0.00309)
    """
    after = PowerLaw(init_value=peak_value, timescale=warmup, exponent=exponent)
    return warmed_up(warmup, init_value, peak_value, after, warmup_shape)


@recipe
def noam(*, model_size: Positive, warmup: Length, factor: Positive = 1.0) -> Schedule:
    r"""The Transformer paper's rate: a line up, then a fall with the square root of the count, without an end.

    .. math::
        v(t) = f\, d^{-1/2} \min\bigl(s^{-1/2},\; s\, W^{-3/2}\bigr), \qquad s = t + 1

    The paper counts its steps from 1, so the count 0 here is its step 1 and the first update is not made with 0. The
    top, :math:`f (d W)^{-1/2}`, is at the count `warmup` - 1.

    Args:
        model_size: :math:`d`, the width of the model.
        warmup: :math:`W`, a count or a duration, at least 1.
        factor: :math:`f`, a scale; 1 in the paper.

    Raises:
        ScheduleError: `warmup` is below 1, or `model_size` or `factor` is not above 0.

    Source:
        Vaswani et al. 2017 (arXiv:1706.03762), section 5.3.

    Agrees with:
        the annotated Transformer's `NoamOpt` and OpenNMT's `noam`, at their step `t + 1`.

    Example:
        >>> lr = noam(model_size=512, warmup=4000)
        >>> round(lr(0) * 1e7, 6), round(lr(3999) * 1e4, 6), round(lr(15_999) * 1e4, 6)
        (1.746928, 6.987712, 3.493856)
    """
    later = until_known(warmup)
    if later is not None:
        return later
    steps = counted(warmup)
    peak = factor / (model_size * steps) ** 0.5
    after = InverseSqrt(init_value=peak, timescale=steps)
    if steps == 1:
        return after
    return Linear(init_value=peak / steps, end_value=peak, duration=steps - 1).then(after, at=steps - 1)
