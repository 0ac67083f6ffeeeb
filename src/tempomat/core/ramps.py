"""Recipes for what grows in steps (batch sizes, sequence lengths, difficulties) and for what follows another value."""

from __future__ import annotations

import math

from tempomat.core.composite import Tree
from tempomat.core.fields import MAX_PARTS, Length, Positive, Span, Value
from tempomat.core.ops import counted
from tempomat.core.recipes import recipe, refuse, until_known
from tempomat.core.rises import PowerRamp, Staircase
from tempomat.core.schedule import Schedule
from tempomat.core.shapes import Constant
from tempomat.core.steps import PiecewiseConstant


@recipe
def batch_ramp(*, init_value: Value, end_value: Value, increment: Positive, duration: Span) -> Schedule:
    r"""A batch size that grows by `increment` at equal distances over `duration`, which is counted in samples.

    .. math::
        v(t) = B_0 + \Delta \left\lfloor \frac{\min(t, S)\, n}{S} \right\rfloor, \qquad n = \frac{B_1 - B_0}{\Delta}

    Exactly `init_value` at 0 and exactly `end_value` from `duration` on. The steps are found in integers: each is at
    the first count that is not before its place, also where `duration` is no multiple of their number.

    Args:
        init_value: :math:`B_0`.
        end_value: :math:`B_1`, a whole number of increments above it.
        increment: :math:`\Delta`, above 0.
        duration: :math:`S`, a count or a duration. For samples on a plan with another clock, tie it:
            `on("samples", batch_ramp(...))`.

    Raises:
        ScheduleError: `increment` does not lead from `init_value` to `end_value` in whole steps, or in more than 4095.

    Agrees with:
        Megatron's `--rampup-batch-size` (start, increment, samples).

    Example:
        >>> batch = batch_ramp(init_value=16, end_value=64, increment=16, duration=100)
        >>> batch(33), batch(34), batch(67), batch(100)
        (16.0, 32.0, 48.0, 64.0)
    """
    steps = round((end_value - init_value) / increment)
    if steps < 0 or not math.isclose(init_value + steps * increment, end_value, rel_tol=1e-9, abs_tol=1e-300):
        way = f"{init_value:g} to {end_value:g}"
        raise refuse(
            "increment", f"must lead from `init_value` to `end_value` ({way}) in whole steps, got {increment:g}"
        )
    if steps >= MAX_PARTS:
        raise refuse("increment", f"must make at most {MAX_PARTS - 1} steps of the way, got {steps}")
    if steps == 0:
        return Constant(value=end_value)
    later = until_known(duration)
    if later is not None:
        return later
    length = counted(duration)
    if length < steps:
        raise refuse("duration", f"must be at least the number of steps ({steps}), got {length}")
    values = [init_value + place * increment for place in range(steps)]
    return PiecewiseConstant(
        values=(*values, end_value), boundaries=tuple(-(-place * length // steps) for place in range(1, steps + 1))
    )


@recipe
def length_warmup(*, init_value: Value, end_value: Value, increment: Positive, every: Length) -> Schedule:
    r"""A sequence length that grows by `increment` every `every` counts, up to `end_value`.

    .. math::
        v(t) = \min(\ell_0 + \Delta \lfloor t / u \rfloor,\; \ell_1)

    Exactly `init_value` before `every`, exactly `end_value` from the step on that reaches or would pass it.

    Args:
        init_value: :math:`\ell_0`.
        end_value: :math:`\ell_1`, not below it.
        increment: :math:`\Delta`, above 0.
        every: :math:`u`, at least 1.

    Raises:
        ScheduleError: `end_value` is below `init_value`, or `every` is below 1.

    Source:
        Li et al. 2021, curriculum learning by sequence length (arXiv:2108.06084).

    Agrees with:
        Composer's `SeqLengthWarmup` (`min_seq_length`, `max_seq_length`, `step_size`), which takes
        `int(steps * duration) // ((max - min) // step_size)` for `every`.

    Example:
        >>> length = length_warmup(init_value=8, end_value=1024, increment=8, every=100)
        >>> length(99), length(100), length(10**6)
        (8.0, 16.0, 1024.0)
    """
    return Staircase(init_value=init_value, end_value=end_value, increment=increment, every=every)


@recipe
def difficulty(
    *, init_value: Value, end_value: Value, duration: Span, root: Positive = 1.0, step: Positive = 8.0
) -> Schedule:
    r"""A curriculum's difficulty: a root of the time that has passed, rounded down to a multiple of `step`.

    .. math::
        v(t) = \Bigl\lfloor \frac{d_0 + (d_1 - d_0)\,(t / T)^{1 / k}}{m} \Bigr\rfloor m, \quad
        \text{at least } \Bigl\lceil \frac{d_0}{m} \Bigr\rceil m \text{ and at most } d_1

    At 0 the first multiple of `step` that is not below `init_value`; exactly `end_value` from `duration` on.

    Args:
        init_value: :math:`d_0`.
        end_value: :math:`d_1`, not below it.
        duration: :math:`T`, a count or a duration; at least 1.
        root: :math:`k`: 1 for a line, 2 for a square root.
        step: :math:`m`, above 0; 8 for the tensor cores of sequence lengths.

    Raises:
        ScheduleError: `end_value` is below `init_value`, `duration` is below 1, or `root` or `step` is not above 0.

    Source:
        Li et al. 2021 (arXiv:2108.06084).

    Agrees with:
        DeepSpeed's curricula: `fixed_linear`, `fixed_root` (`min_difficulty`, `max_difficulty`,
        `total_curriculum_step`, `root_degree`, `difficulty_step`). Where `max_difficulty` is no multiple of the step
        DeepSpeed stays below it for some counts after `total_curriculum_step`; its older releases also begin below a
        `min_difficulty` that is none.

    Example:
        >>> length = difficulty(init_value=8, end_value=64, duration=100, root=2.0)
        >>> length(0), length(25), length(99), length(100)
        (8.0, 32.0, 56.0, 64.0)
    """
    if end_value < init_value:
        raise refuse("end_value", f"must not be below `init_value` ({init_value:g}), got {end_value:g}")
    lowest = min(math.ceil(init_value / step) * step, end_value)
    ramp = PowerRamp(init_value=init_value, end_value=end_value, duration=duration, power=1.0 / root)
    return ramp.floor_to(step).clip(min=lowest, max=end_value).then(end_value, at=duration)


@recipe
def proportional(*, schedule: Tree, from_low: Value, from_high: Value, to_low: Value, to_high: Value) -> Schedule:
    r"""A value that follows another: the range of `schedule` mapped onto a range of its own.

    .. math::
        v(t) = b_0 + (b_1 - b_0)\,\frac{s(t) - a_0}{a_1 - a_0}

    Exactly `to_low` where `schedule` is at `from_low`, and `to_high`, to the last place, where it is at `from_high`.
    Outside of the one range it goes on outside of the other.

    Args:
        schedule: :math:`s`, the value that is followed; may hold controllers.
        from_low: :math:`a_0`, usually the lowest value of `schedule`.
        from_high: :math:`a_1`, usually its highest; not equal to `from_low`.
        to_low: :math:`b_0`.
        to_high: :math:`b_1`.

    Raises:
        ScheduleError: `from_low` and `from_high` are equal, or their distance is so small that the ratio overflows.

    Source:
        Zhuang et al. 2022, GSAM (arXiv:2203.08065), whose perturbation radius follows the learning rate.

    Agrees with:
        pytorch_optimizer's `ProportionScheduler`; GSAM's `ProportionScheduler`.

    Example:
        >>> rho = proportional(
        ...     schedule=PowerRamp(init_value=1.0, end_value=0.0, duration=100, power=2.0),
        ...     from_low=0.0, from_high=1.0, to_low=0.25, to_high=0.75,
        ... )
        >>> rho(0), rho(50), rho(100)
        (0.75, 0.625, 0.25)
    """
    if from_low == from_high:
        raise refuse("from_high", f"must differ from `from_low`, got {from_high:g} for both")
    slope = (to_high - to_low) / (from_high - from_low)
    if not math.isfinite(slope):
        raise refuse("from_high", f"is too close to `from_low` ({from_low:g}): the ratio of the two ranges overflows")
    return (schedule - from_low) * slope + to_low
