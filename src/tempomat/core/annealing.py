"""Recipes whose point is how a run ends: a long plateau and an anneal, one cycle, a cosine with a tail."""

from __future__ import annotations

from typing import Any, Literal

from tempomat.core.clock import Duration
from tempomat.core.compose import Sequence
from tempomat.core.decays import CosineTail
from tempomat.core.fields import Boundaries, Count, Length, OptionalValue, Value
from tempomat.core.ops import counted
from tempomat.core.recipes import (
    WHOLE_RUN,
    FallShape,
    Share,
    WarmupShape,
    fall,
    minus,
    plus,
    recipe,
    refuse,
    refuse_long_warmup,
    until_known,
    warmed_up,
)
from tempomat.core.schedule import Schedule
from tempomat.core.shapes import Constant, Linear

THIRTY_PERCENT = Duration("30%")
THREE_QUARTERS = Duration("75%")


@recipe
def warmup_stable_decay(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    decay: Length,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
    shape: FallShape = "linear",
    warmup_shape: WarmupShape = "linear",
    decay_ratio: Share = 0.5,
) -> Schedule:
    r"""Warmup, then constant, then over the last `decay` counts a fall to `end_value` (WSD, trapezoidal).

    .. math::
        v(t) = v_{end} + (v_{peak} - v_{end})\, d(p), \qquad p = \frac{t - (T - D)}{D} \quad\text{in the fall}

    Exactly `init_value` at 0, `peak_value` from `warmup` to `total - decay`, `end_value` from `total` on.

    Args:
        peak_value: :math:`v_{peak}`, the constant in the middle.
        end_value: :math:`v_{end}`, the value at the end.
        warmup: the length of the rise; 0 for none.
        decay: :math:`D`, the length of the fall, at least 1.
        total: :math:`T`, the length of all three; the whole run by default.
        init_value: the value at 0.
        shape: of :math:`d`: `linear` :math:`1 - p`; `cosine` :math:`(1 + \cos \pi p) / 2`; `one_minus_sqrt`
            :math:`1 - \sqrt p`; `one_minus_square` :math:`1 - p^2`; `exponential` :math:`(r^p - r) / (1 - r)`.
        warmup_shape: how the warmup rises, as in `warmup_constant`.
        decay_ratio: :math:`r` of the exponential fall, between 0 and 1: with 1/2 it is :math:`2 \cdot 2^{-p} - 1`.
            The other shapes do not read it.

    Raises:
        ScheduleError: `warmup` and `decay` together are longer than `total`.

    Source:
        Hu et al. 2024, MiniCPM (arXiv:2404.06395); Haegele et al. 2024 (arXiv:2405.18392).

    Agrees with:
        `transformers.get_wsd_schedule` (`1-sqrt` is `one_minus_sqrt`; its `init_value` and `end_value` are both
        `min_lr_ratio` of the peak); Megatron's `WSD` (`minus_sqrt` is `one_minus_sqrt`); timm's `WSDLRScheduler` with
        `stable_fn="constant"` (`exp` is `exponential` with its `decay_ratio`; its `t_initial` is without the warmup);
        OLMo-core's `WSD`.

    Example:
        >>> lr = warmup_stable_decay(peak_value=1.0, warmup=10, decay=20, total=100)
        >>> lr(5), lr(10), lr(80), lr(90), lr(100)
        (0.5, 1.0, 1.0, 0.5, 0.0)
    """
    start = minus(total, decay)
    if isinstance(start, int) and isinstance(warmup, int) and start < max(warmup, 0):
        raise refuse("decay", f"and `warmup` ({warmup}) together are longer than `total` ({total}), got {decay}")
    end = fall(shape, peak_value, end_value, decay, decay_ratio)
    if start == 0:
        return end
    if start == warmup:
        return warmed_up(warmup, init_value, peak_value, end, warmup_shape)
    stable = Constant(value=peak_value)
    return warmed_up(warmup, init_value, peak_value, stable, warmup_shape).then(end, at=start)


wsd = warmup_stable_decay
"""The short name of `warmup_stable_decay`."""


@recipe
def wsd_s(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    decay: Length,
    anneals: Boundaries,
    init_value: Value = 0.0,
    shape: FallShape = "linear",
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""Several anneals in one run: each falls to `end_value` for a checkpoint, and the next count is at the peak again.

    .. math::
        v(t) = v_{end} + (v_{peak} - v_{end})\, d\Bigl(\frac{t - (E_i - D)}{D}\Bigr), \quad E_i - D \le t \le E_i,
        \qquad v_{peak} \text{ between}

    Exactly `init_value` at 0, `peak_value` from `warmup` on, `end_value` at every end of an anneal :math:`E_i`,
    `peak_value` again at :math:`E_i + 1`, and `end_value` for ever from the last end on.

    Args:
        peak_value: :math:`v_{peak}`.
        end_value: :math:`v_{end}`.
        warmup: the length of the rise; 0 for none.
        decay: :math:`D`, the length of each fall, at least 1.
        anneals: :math:`E_i`, the counts at which the anneals end, strictly increasing; more than `decay` apart.
        init_value: the value at 0.
        shape: of the falls, as in `warmup_stable_decay`.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: an anneal would begin within the warmup or before the one before it has ended.

    Source:
        Wen et al. 2024, understanding warmup-stable-decay (arXiv:2410.05192).

    Agrees with:
        OLMo-core's `WSDS`, whose `period_lengths` are the distances between the ends, the first one from 0.

    Example:
        >>> lr = wsd_s(peak_value=1.0, warmup=10, decay=20, anneals=[50, 100])
        >>> lr(10), lr(40), lr(50), lr(51), lr(90), lr(100)
        (1.0, 0.5, 0.0, 1.0, 0.5, 0.0)
    """
    resume = [warmup, *(plus(end, 1) for end in anneals)]
    starts = [minus(end, decay) for end in anneals]
    for place, (begin, start) in enumerate(zip(resume, starts, strict=False)):
        if isinstance(begin, int) and isinstance(start, int) and start < begin:
            before = f"the anneal before it ends at {anneals[place - 1]}" if place else f"the warmup lasts to {warmup}"
            raise refuse(f"anneals[{place}]", f"would begin at {start}, but {before}. Shorten `decay`, or end it later")
    parts: list[Schedule] = []
    places: list[Any] = []
    for begin, start in zip(resume, starts, strict=False):
        if begin != start:
            parts.append(Constant(value=peak_value))
            places.append(begin)
        parts.append(fall(shape, peak_value, end_value, decay))
        places.append(start)
    parts[0] = warmed_up(warmup, init_value, peak_value, parts[0], warmup_shape)
    return parts[0] if len(parts) == 1 else Sequence(parts=tuple(parts), boundaries=tuple(places[1:]))


@recipe
def one_cycle(
    *,
    peak_value: Value,
    init_value: OptionalValue = None,
    end_value: OptionalValue = None,
    warmup: Count = THIRTY_PERCENT,
    total: Length = WHOLE_RUN,
    shape: Literal["linear", "cosine"] = "cosine",
    three_phase: bool = False,
) -> Schedule:
    r"""Up from `init_value` to `peak_value`, then down to `end_value`, far below where it began.

    .. math::
        v(t) = a + (b - a)\,\tfrac12 (1 - \cos \pi p), \qquad (a, b) = (v_0, v_{peak}) \;(t < W), \quad
        (v_{peak}, v_1) \;(t \ge W)

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on. With `three_phase` the way down
    takes as long as the way up, to exactly `init_value` at twice `warmup`, and what is left goes on down to
    `end_value`.

    Args:
        peak_value: :math:`v_{peak}`, the top.
        init_value: :math:`v_0`, the start; a 25th of the peak by default.
        end_value: :math:`v_1`, the end; a 10 000th of the start by default.
        warmup: :math:`W`, the length of the rise; 30 % of the run by default.
        total: :math:`T`, the length of all; the whole run by default.
        shape: of every side, `cosine` or `linear`.
        three_phase: whether it comes back to the start before it goes below.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`; or, with three phases, is 0 or not shorter than half of it.

    Source:
        Smith and Topin 2018, super-convergence (arXiv:1708.07120).

    Agrees with:
        `torch.optim.lr_scheduler.OneCycleLR`, whose rise ends at `pct_start * total_steps - 1` and whose fall at
        `total_steps - 1`; `optax.cosine_onecycle_schedule`, and with lines and three phases
        `optax.linear_onecycle_schedule` where its `pct_final` is twice its `pct_start`; fastai's `fit_one_cycle` and
        `combined_cos`; mmengine's `OneCycleLR`; DeepSpeed's `OneCycle` with lines, where it has no stairs and does
        not decay behind the cycle.

    Example:
        >>> lr = one_cycle(peak_value=1.0, warmup=30, total=100)
        >>> lr(0), lr(30), lr(100)
        (0.04, 1.0, 4e-06)
    """
    refuse_long_warmup(warmup, total)
    first = peak_value / 25.0 if init_value is None else init_value
    last = first / 10_000.0 if end_value is None else end_value
    if not three_phase:
        down = fall(shape, peak_value, last, minus(total, warmup))
        return down if warmup == 0 else fall(shape, first, peak_value, warmup).then(down, at=warmup)
    back = plus(warmup, warmup)
    left = minus(total, back)
    if warmup == 0 or (isinstance(left, int) and left < 1):
        raise refuse("warmup", f"must be at least 1 and less than half of `total` ({total}) in three phases")
    down = fall(shape, peak_value, first, warmup).then(fall(shape, first, last, left), at=warmup)
    return fall(shape, first, peak_value, warmup).then(down, at=warmup)


@recipe
def flat_cosine(
    *, init_value: Value, end_value: Value = 0.0, flat: Count = THREE_QUARTERS, total: Length = WHOLE_RUN
) -> Schedule:
    r"""Constant at first, then half a cosine down to `end_value`.

    .. math::
        v(t) = v_0 \;(t < F), \qquad v_1 + \tfrac12 (v_0 - v_1)\Bigl(1 + \cos \pi \frac{t - F}{T - F}\Bigr)

    Exactly `init_value` up to `flat`, exactly `end_value` from `total` on.

    Args:
        init_value: :math:`v_0`.
        end_value: :math:`v_1`.
        flat: :math:`F`, the length of the constant part; three quarters of the run by default, 0 for none.
        total: :math:`T`, the length of both; the whole run by default.

    Raises:
        ScheduleError: `flat` is not shorter than `total`, or a value is not finite.

    Agrees with:
        fastai's `fit_flat_cos` (its `pct_start` is the share `flat`, its `end_value` a 100 000th by default).

    Example:
        >>> lr = flat_cosine(init_value=1.0, flat=75, total=100)
        >>> lr(0), lr(75), round(lr(87) + lr(88), 12), lr(100)
        (1.0, 1.0, 1.0, 0.0)
    """
    left = minus(total, flat)
    if isinstance(left, int) and left < 1:
        raise refuse("flat", f"must be shorter than `total` ({total}), got {flat}")
    wave = fall("cosine", init_value, end_value, left)
    return wave if flat == 0 else Constant(value=init_value).then(wave, at=flat)


@recipe
def cosine_linear_tail(
    *,
    peak_value: Value,
    cosine_end_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    decay: Length,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""`warmup_cosine` cut short: over the last `decay` counts a straight line from where the cosine is to `end_value`.

    .. math::
        v(t) = v_{tail} + (v_{end} - v_{tail})\,\frac{t - (T - D)}{D} \;(t \ge T - D), \qquad
        v_{tail} = v_c + \tfrac12 (v_{peak} - v_c)\Bigl(1 + \cos \pi \frac{T - D - W}{T - W}\Bigr)

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Args:
        peak_value: :math:`v_{peak}`.
        cosine_end_value: :math:`v_c`, where the cosine would end at `total` if it were not cut.
        end_value: :math:`v_{end}`, where the line ends.
        warmup: :math:`W`, the length of the rise; 0 for none.
        decay: :math:`D`, the length of the tail, at least 1.
        total: :math:`T`, the length of all; the whole run by default.
        init_value: the value at 0.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: `warmup` and `decay` together are longer than `total`.

    Agrees with:
        OLMo-core's `CosWithWarmupAndLinearDecay` (its `alpha_f` is `cosine_end_value` over the peak, `decay_min_lr` is
        `end_value`).

    Example:
        >>> lr = cosine_linear_tail(peak_value=1.0, cosine_end_value=0.0, warmup=10, decay=50, total=110)
        >>> lr(10), round(lr(60), 12), round(lr(85), 12), lr(110)
        (1.0, 0.5, 0.25, 0.0)
    """
    later = until_known(total, warmup, decay)
    if later is not None:
        return later
    begin, start, length = counted(warmup), counted(minus(total, decay)), minus(total, warmup)
    if start < begin:
        raise refuse("decay", f"and `warmup` ({warmup}) together are longer than `total` ({total}), got {decay}")
    wave = fall("cosine", peak_value, cosine_end_value, length)
    tail = Linear(init_value=wave(start - begin), end_value=end_value, duration=decay)
    if start == 0:
        return tail
    if start == begin:
        return warmed_up(warmup, init_value, peak_value, tail, warmup_shape)
    return warmed_up(warmup, init_value, peak_value, wave, warmup_shape).then(tail, at=start)


@recipe
def half_cosine(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""A warmup to `peak_value`, then the second half of a half cosine wave down to `end_value`: at once steep.

    .. math::
        v(t) = v_{end} + (v_{peak} - v_{end}) \Bigl(1 + \cos \frac{\pi (1 + p)}{2}\Bigr), \qquad
        p = \frac{t - W}{T - W} \quad (t \ge W)

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Args:
        peak_value: :math:`v_{peak}`, which is reached: halfway down the whole wave.
        end_value: :math:`v_{end}`.
        warmup: :math:`W`, the length of the rise; 0 for none.
        total: :math:`T`, the warmup included; the whole run by default.
        init_value: the value at 0.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`, or a value is not finite.

    Agrees with:
        OLMo-core's `HalfCosWithWarmup`, whose `lr` is the peak of the whole wave: the `peak_value` here is halfway
        between it and the end.

    Example:
        >>> lr = half_cosine(peak_value=1.0, warmup=10, total=100)
        >>> lr(5), lr(10), round(lr(40), 12), lr(100)
        (0.5, 1.0, 0.5, 0.0)
    """
    refuse_long_warmup(warmup, total)
    wave = CosineTail(init_value=peak_value, end_value=end_value, duration=1).stretch(minus(total, warmup))
    return warmed_up(warmup, init_value, peak_value, wave, warmup_shape)
