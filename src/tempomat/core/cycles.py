"""Waves and cycles: curves that come back, with every restart at its exact count.

Where in its cycle a count is, is integer arithmetic: a rounded logarithm or quotient would put some restarts one cycle
too early and so give the floor where the peak belongs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal, final

from tempomat.core.errors import Fault
from tempomat.core.fields import (
    MAX_PARTS,
    Count,
    CountKind,
    Length,
    NonNegative,
    NumberKind,
    OptionalValue,
    Positive,
    Span,
    Value,
)
from tempomat.core.numbers import MAX_COUNT
from tempomat.core.ops import SCALAR, Ops, counted
from tempomat.core.schedule import Schedule
from tempomat.core.whole import Whole

CycleFactor = Annotated[float, NumberKind(at_least=1)]
CycleLimit = Annotated[int | None, Whole(1, MAX_PARTS, optional=True)]
OptionalLength = Annotated[Length | None, CountKind(1, optional=True)]
Share = Annotated[float, NumberKind(above=0, at_most=1)]
SMALLEST_GROWTH = 1.01
"""Cycles that grow by less would be more than `MAX_PARTS` before the last count."""


def as_written(number: float) -> Fraction:
    """The decimal number that a float was written as: 1.1 is 11/10, and 10 + 11 counts are 21."""
    return Fraction(repr(number))


def _share(t: Any, length: Any, cycles: float, ratio: tuple[int, int], ops: Ops) -> Any:
    """The share of its cycle that a count has behind it, of so many cycles in a length; in integers where they fit."""
    above, below = ratio
    if max(above, below) * length <= ops.reach:
        return ops.real(t * above % (below * length)) / (below * length)
    ahead = ops.real(t) * cycles / length
    return ahead - ops.floor(ahead)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CosineCycles(Schedule):
    r"""A cosine wave of `cycles` periods over `duration`, then held where it is.

    .. math::
        v(t) = v_1 + \tfrac12 (v_0 - v_1)\,(1 + \cos(2 \pi c x)), \qquad x = \min(t, T) / T

    Exactly `init_value` at 0. From `duration` on it holds its value there: exactly `end_value` after an odd number of
    half cycles, exactly `init_value` after whole cycles.

    Args:
        init_value: :math:`v_0`, the crest. Any finite number, in the target's unit.
        end_value: :math:`v_1`, the trough. Any finite number.
        duration: :math:`T`, in counts of the clock that drives it, or a duration; at least 1.
        cycles: :math:`c`, above 0. A half is the usual fall, one comes back to `init_value`.

    Raises:
        ScheduleError: `duration` is below 1, `cycles` is not above 0, or a value is not finite.

    Source:
        Wolf et al. 2020, Transformers (arXiv:1910.03771), `num_cycles` of its cosine schedule.

    Agrees with:
        `transformers.get_cosine_schedule_with_warmup` and `get_cosine_with_min_lr_schedule_with_warmup` after their
        warmup, with their `num_cycles`, up to the end; theirs goes on along the wave.

    Example:
        >>> lr = CosineCycles(init_value=1.0, end_value=0.0, duration=100, cycles=1.5)
        >>> lr(0), lr(100), lr(10_000)
        (1.0, 0.0, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span
    cycles: Positive = 0.5
    _last: float = field(init=False, repr=False, compare=False)
    _ratio: tuple[int, int] = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_ratio", as_written(self.cycles).as_integer_ratio())
        places = {0.0: self.init_value, 0.5: self.end_value}
        ahead = self.cycles % 1.0
        wave = self.end_value + 0.5 * (self.init_value - self.end_value) * (1.0 + math.cos(2.0 * math.pi * ahead))
        object.__setattr__(self, "_last", places.get(ahead, wave))

    def _at(self, t: Any, ops: Ops) -> Any:
        first, trough, length = self.init_value, self.end_value, ops.count(self.duration)
        share = _share(ops.clip(t, 0, length), length, self.cycles, self._ratio, ops)
        wave = trough + 0.5 * (first - trough) * (1.0 + ops.cos(2.0 * math.pi * share))
        return ops.where(t <= 0, first, ops.where(t < length, wave, self._last))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CosineRestarts(Schedule):
    r"""`cycles` falls along half a cosine, one after the other, within `duration`; then `end_value`.

    .. math::
        v(t) = v_1 + \tfrac12 (v_0 - v_1)\,(1 + \cos(\pi\,((c\,t / T) \bmod 1)))

    Exactly `init_value` at 0 and at every restart that falls on a count, exactly `end_value` from `duration` on.

    Args:
        init_value: :math:`v_0`, the peak of each cycle. Any finite number, in the target's unit.
        end_value: :math:`v_1`. Any finite number.
        duration: :math:`T`, of all cycles together, in counts of the clock that drives it, or a duration; at least 1.
        cycles: :math:`c`, above 0. The last one is cut short where it is no whole number.

    Raises:
        ScheduleError: `duration` is below 1, `cycles` is not above 0, or a value is not finite.

    Source:
        Loshchilov and Hutter 2017, SGDR (arXiv:1608.03983), with cycles of one length.

    Agrees with:
        `transformers.get_cosine_with_hard_restarts_schedule_with_warmup` (`cosine_with_restarts`) after its warmup,
        with its `num_cycles`, but for restarts that its rounded progress misses: at count 1 of 49 with 49 cycles it
        gives the floor.

    Example:
        >>> lr = CosineRestarts(init_value=1.0, end_value=0.0, duration=90, cycles=3)
        >>> lr(0), lr(30), lr(60), lr(90)
        (1.0, 1.0, 1.0, 0.0)
    """

    init_value: Value
    end_value: Value
    duration: Span
    cycles: Positive = 1.0
    _ratio: tuple[int, int] = field(init=False, repr=False, compare=False)

    def _prepare(self) -> None:
        object.__setattr__(self, "_ratio", as_written(self.cycles).as_integer_ratio())

    def _at(self, t: Any, ops: Ops) -> Any:
        first, last, length = self.init_value, self.end_value, ops.count(self.duration)
        share = _share(ops.clip(t, 0, length), length, self.cycles, self._ratio, ops)
        wave = ops.where(share <= 0.0, first, last + 0.5 * (first - last) * (1.0 + ops.cos(math.pi * share)))
        return ops.where(t < length, wave, last)


@final
@dataclass(frozen=True, slots=True)
class _Cycles:
    """Where the cycles of a growing length begin, how long they are and how high, as far as counts go."""

    starts: tuple[float, ...]
    end: float | None
    lengths: tuple[float, ...]
    peaks: tuple[float, ...]

    @classmethod
    def of(cls, first: int, growth: Fraction, peak: float, shrink: float, limit: int | None) -> _Cycles:
        """Cycle k begins at `first * (growth**k - 1) / (growth - 1)`, taken exactly and rounded once."""
        starts: list[float] = []
        lengths: list[float] = []
        peaks: list[float] = []
        above, below = growth.as_integer_ratio()
        start, length, unit = 0, first, 1
        while start <= MAX_COUNT * unit and len(starts) != limit:
            starts.append(_rounded(start, unit))
            lengths.append(length / unit)
            peaks.append(peak * SCALAR.power(shrink, len(peaks)) if peak else 0.0)
            start, length, unit = (start + length) * below, length * above, unit * below
        end = _rounded(start, unit) if len(starts) == limit else None
        whole = all(isinstance(one, int) for one in starts)
        # one type for all, so that comparing with a count rounds alike wherever it is done
        return cls(tuple(starts if whole else map(float, starts)), end, tuple(lengths), tuple(peaks))


def _rounded(above: int, below: int) -> float:
    """A quotient, as an integer where it is one."""
    return above // below if above % below == 0 else above / below


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WarmRestarts(Schedule):
    r"""SGDR: half a cosine wave again and again, each cycle longer by `cycle_factor` and its peak times `peak_factor`.

    .. math::
        v(t) = v_1 + \tfrac12 (v_0 d^i - v_1)\,\Bigl(1 + \cos \frac{\pi (t - s_i)}{T_0 m^i}\Bigr),
        \quad s_i = T_0 \frac{m^i - 1}{m - 1} \le t < s_{i + 1}

    Exactly the peak :math:`v_0 d^i` at every restart that falls on a count, found without a logarithm. It has no end
    and restarts for ever, or with `cycles` is exactly `end_value` from the end of the last one on. With `warmup` each
    cycle begins with a line from `warmup_init_value` to its peak, which it reaches exactly after `warmup` counts, and
    the wave takes what is left of the cycle.

    Args:
        init_value: :math:`v_0`, the peak of the first cycle. Any finite number, in the target's unit.
        end_value: :math:`v_1`, what each cycle falls to. Any finite number.
        cycle: :math:`T_0`, the length of the first cycle, warmup included; at least 1.
        cycle_factor: :math:`m`, 1 or at least 1.01, taken as the decimal number that is written.
        peak_factor: :math:`d`, at least 0.
        warmup: the counts of each cycle's warmup; shorter than `cycle`.
        warmup_init_value: where each warmup begins; None for `end_value`.
        cycles: how many cycles there are; None for ever more.

    Raises:
        ScheduleError: a length is below 1, the warmup fills the first cycle, `cycle_factor` is below 1 or between 1 and
        1.01, or a value is not finite.

    Source:
        Loshchilov and Hutter 2017, SGDR (arXiv:1608.03983).

    Agrees with:
        PyTorch's `CosineAnnealingWarmRestarts` (`T_0`, `T_mult`, `eta_min`), timm's `CosineLRScheduler` (`t_initial`,
        `cycle_mul`, `cycle_decay`, `cycle_limit`) and Keras' `CosineDecayRestarts` (`first_decay_steps`, `t_mul`,
        `m_mul`), but for restarts that their rounded logarithms miss and where they give the floor, such as count 111
        of `T_0=1, T_mult=10`. With both `alpha` and `m_mul`, Keras shrinks the height above the floor.
        `optax.sgdr_schedule` of such cycles, with its warmups. Ignite's `CosineAnnealingScheduler` (`cycle_size`,
        `cycle_mult`, `start_value_mult`) and Composer's `CosineAnnealingWarmRestartsScheduler` (`t_0`, `t_mult`), which
        round each cycle down to whole counts.

    Example:
        >>> lr = WarmRestarts(init_value=1.0, end_value=0.0, cycle=10, cycle_factor=2.0, peak_factor=0.5)
        >>> lr(0), lr(10), lr(30), lr(70)
        (1.0, 0.5, 0.25, 0.125)
    """

    init_value: Value
    end_value: Value
    cycle: Length
    cycle_factor: CycleFactor = 1.0
    peak_factor: NonNegative = 1.0
    warmup: Count = 0
    warmup_init_value: OptionalValue = None
    cycles: CycleLimit = None
    _table: _Cycles | None = field(init=False, repr=False, compare=False)

    def _check(self) -> Iterator[Fault]:
        if 1.0 < self.cycle_factor < SMALLEST_GROWTH:
            yield Fault("cycle_factor", f"must be 1 or at least {SMALLEST_GROWTH}, got {self.cycle_factor:g}")
        if isinstance(self.warmup, int) and isinstance(self.cycle, int) and self.warmup >= self.cycle:
            yield Fault("warmup", f"must be shorter than `cycle` ({self.cycle}), got {self.warmup}")

    def _prepare(self) -> None:
        table = None
        if self.cycle_factor > 1.0 and isinstance(self.cycle, int):
            growth = as_written(self.cycle_factor)
            table = _Cycles.of(self.cycle, growth, self.init_value, self.peak_factor, self.cycles)
        object.__setattr__(self, "_table", table)

    def _at(self, t: Any, ops: Ops) -> Any:
        if self._table is not None:
            return self._growing(t, self._table, ops)
        length = ops.count(self.cycle)
        value = self._within(ops.real(t % length), length, self._peak(t // length, ops), ops)
        if self.cycles is None:
            return value
        return ops.where(t < ops.count(counted(self.cycle) * self.cycles), value, self.end_value)

    def _growing(self, t: Any, table: _Cycles, ops: Ops) -> Any:
        """The value where each cycle is longer than the one before."""
        bounds = ops.reached(table.starts[1:])
        t = t if isinstance(table.starts[-1], int) else ops.real(t)
        begins = (0, *bounds)
        behind = ops.select(t, bounds, lambda place, t, ops: ops.real(t - begins[place]))
        lengths, peaks = table.lengths[: len(begins)], table.peaks[: len(begins)]
        value = self._within(behind, ops.lookup(t, bounds, lengths), ops.lookup(t, bounds, peaks), ops)
        ends = () if table.end is None else ops.reached((table.end,))
        return ops.where(t < ends[0], value, self.end_value) if ends else value

    def _peak(self, index: Any, ops: Ops) -> Any:
        """The peak of a cycle, where all cycles have one length."""
        if self.peak_factor == 1.0 or self.init_value == 0.0:
            return self.init_value
        return self.init_value * ops.power(self.peak_factor, ops.real(index))

    def _within(self, behind: Any, length: Any, peak: Any, ops: Ops) -> Any:
        """The value with so many counts of a cycle of this length behind it."""
        warmup, floor = ops.count(self.warmup), self.end_value
        share = ops.minimum((behind - warmup) / (length - warmup), 1.0)
        wave = floor + 0.5 * (peak - floor) * (1.0 + ops.cos(math.pi * share))
        wave = ops.where(behind <= warmup, peak, wave)
        if self.warmup == 0:
            return wave
        begin = floor if self.warmup_init_value is None else self.warmup_init_value
        return ops.where(behind < warmup, begin + (peak - begin) * (behind / warmup), wave)


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cyclic(Schedule):
    r"""Up from `init_value` to `peak_value` along a line and down again, for ever.

    .. math::
        v(t) = v_0 + (v_p - v_0)\, h\, s, \qquad
        s = \begin{cases} n / u & n \le u \\ (u + d - n) / d & n > u \end{cases}, \quad n = t \bmod (u + d)

    with the height :math:`h = 1` (`triangular`), :math:`2^{-\lfloor t / (u + d) \rfloor}` (`triangular2`, half as high
    each cycle) or :math:`\gamma^t` (`exp_range`).

    Exactly `init_value` at 0 and at the start of every cycle; exactly `peak_value` after `up` counts, in every cycle
    of `triangular`. It has no end.

    Args:
        init_value: :math:`v_0`. Any finite number, in the target's unit.
        peak_value: :math:`v_p`. Any finite number.
        up: :math:`u`, the counts of the rise; at least 1.
        down: :math:`d`, the counts of the fall; None for as many.
        mode: how the height changes.
        gamma: :math:`\gamma`, above 0 and at most 1; for `exp_range` only.

    Raises:
        ScheduleError: a length is below 1, there is no such mode, `gamma` is out of its bounds or given for another
        mode, or a value is not finite.

    Source:
        Smith 2017, Cyclical learning rates (arXiv:1506.01186).

    Agrees with:
        PyTorch's `CyclicLR` (`base_lr`, `max_lr`, `step_size_up`, `step_size_down`); Ignite's `LinearCyclicalScheduler`
        of an even `cycle_size` without multipliers.

    Example:
        >>> lr = Cyclic(init_value=0.0, peak_value=1.0, up=10, down=30, mode="triangular2")
        >>> lr(0), lr(10), lr(25), lr(40), lr(50)
        (0.0, 1.0, 0.5, 0.0, 0.5)
    """

    init_value: Value
    peak_value: Value
    up: Length
    down: OptionalLength = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: Share = 1.0

    def _check(self) -> Iterator[Fault]:
        if self.mode != "exp_range" and self.gamma != 1.0:
            yield Fault(
                "gamma", f"is for the mode exp_range, got {self.gamma:g} for {self.mode}. Leave one of them out"
            )

    def _at(self, t: Any, ops: Ops) -> Any:
        base, rise = self.init_value, ops.count(self.up)
        fall = rise if self.down is None else ops.count(self.down)
        whole = ops.count(counted(self.up) + counted(self.up if self.down is None else self.down))
        place = ops.real(t % whole)
        share = ops.where(place <= rise, place / rise, 1.0 - (place - rise) / fall)
        height = self._height(t, whole, ops)
        peak = ops.where(height == 1.0, self.peak_value, base + (self.peak_value - base) * height)
        return ops.where(place == rise, peak, base + (peak - base) * share)

    def _height(self, t: Any, whole: Any, ops: Ops) -> Any:
        """The height of the triangle that a count is in."""
        if self.mode == "triangular2":
            return ops.power(0.5, ops.real(t // whole))
        return ops.power(self.gamma, ops.real(t)) if self.mode == "exp_range" else ops.full(t, 1.0)
