"""Closed forms that go by tables: milestones, values between boundaries, points on a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, final

from tempomat.core.errors import Fault
from tempomat.core.fields import Boundaries, Length, NonNegative, Positions, Value, Values
from tempomat.core.ops import Ops, known_counts
from tempomat.core.schedule import Schedule


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StepDecay(Schedule):
    r"""`init_value`, multiplied by `factor` every `every` counts, at once.

    .. math::
        v(t) = v_0\, g^{\lfloor t / s \rfloor}

    Exactly `init_value` before `every`; the first drop is at the count `every`. It has no end.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        factor: :math:`g`, at least 0.
        every: :math:`s`, in counts of the clock that drives it, or a duration; at least 1.

    Raises:
        ScheduleError: `every` is below 1, or `factor` is negative.

    Source:
        He et al. 2016 (arXiv:1512.03385) divided by 10 at plateaus; here the drops come at fixed distances.

    Agrees with:
        PyTorch's `StepLR` (its `gamma` and `step_size`); timm's `StepLRScheduler` (its `decay_rate` and `decay_t`);
        Composer's `StepScheduler`; fvcore's `StepWithFixedGammaParamScheduler`, which divides the run into equal steps;
        `optax.exponential_decay` and Keras' `ExponentialDecay` as a staircase.

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
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        factor: :math:`g`, at least 0.
        milestones: counts above 0 or durations, strictly increasing.

    Raises:
        ScheduleError: milestones are unsorted, repeated or below 1, or `factor` is negative.

    Source:
        He et al. 2016 (arXiv:1512.03385), section 3.4: divided by 10 at fixed counts.

    Agrees with:
        PyTorch's `MultiStepLR`, and with it Ignite's `LRScheduler` around it; `optax.piecewise_constant_schedule` of
        equal scales; Composer's `MultiStepScheduler`; timm's `MultiStepLRScheduler` with each milestone one count
        later here: its milestone m applies at m - 1. fvcore's `MultiStepParamScheduler` compares shares of the run as
        floats, and so may drop some counts early.

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

    .. math::
        v(t) = v_k, \quad b_k \le t < b_{k+1}

    Exactly `values[0]` before the first boundary, `values[k + 1]` from boundary k on, the last one for ever.

    Args:
        values: one more than boundaries; any finite numbers, in the target's unit.
        boundaries: counts above 0 or durations, strictly increasing.

    Raises:
        ScheduleError: there is not one value more than boundaries; boundaries are unsorted, repeated or below 1.

    Source:
        A table.

    Agrees with:
        `optax.piecewise_constant_schedule`, which is given the scales between the values; Keras'
        `PiecewiseConstantDecay` with each boundary one count later here: there it belongs to the value before it.
        PyTorch's `ConstantLR`, with one boundary. fvcore's `StepParamScheduler` and `MultiStepParamScheduler`, the
        latter but for boundaries that its shares of the run miss by a rounding. `IntervalTable` with
        `rule="step_decay"` says the same by intervals.

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
        values: as many as points; any finite numbers, in the target's unit.
        boundaries: the counts of the points, from 0, or durations; strictly increasing.

    Raises:
        ScheduleError: there are not as many values as boundaries; boundaries are unsorted or repeated.

    Source:
        Interpolation in a table.

    Agrees with:
        `numpy.interp`; Ignite's `PiecewiseLinear` (its `milestones_values`); RLlib's `[[t, v], ...]`, once its
        `lr_schedule`;
        `optax.piecewise_interpolate_schedule("linear", ...)`, which is given the scales between the values; DrQ-v2's
        `step_linear(init, final1, duration1, final2, duration2)`.

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
