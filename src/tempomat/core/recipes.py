"""Recipes: functions of a few lines that only compose schedules, under the names that papers and configs use.

A recipe remembers how it was called: `repr`, plans and equality speak of `warmup_cosine(...)`, not of what it expands
to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Literal, TypeVar, cast, final

from tempomat.core.clock import Duration
from tempomat.core.errors import Fault, ScheduleError, list_faults
from tempomat.core.fields import (
    Boundaries,
    Count,
    Length,
    NonNegative,
    OptionalValue,
    Value,
    check_arguments,
    kinds_of,
    read_all,
)
from tempomat.core.ops import Ops
from tempomat.core.schedule import Clocks, Node, Schedule
from tempomat.core.shapes import Constant, Cosine, Linear, MultiStep

WHOLE_RUN = Duration("100%")
THIRTY_PERCENT = Duration("30%")
Recipe = TypeVar("Recipe", bound=Callable[..., Any])
"""A function that composes schedules."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class FromRecipe(Schedule):
    """What a recipe gives: the composition, under the recipe's name and arguments."""

    recipe: Callable[..., Schedule]
    arguments: tuple[tuple[str, Any], ...]
    expanded: Schedule = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Nothing to check: the recipe has checked its arguments."""

    def parameters(self) -> dict[str, Any]:
        return dict(self.arguments)

    def builder(self) -> Callable[..., Node]:
        return self.recipe

    def _at(self, t: Any, ops: Ops) -> Any:
        return self.expanded._at(t, ops)

    @property
    def clocks(self) -> Clocks:
        return self.expanded.clocks


def recipe(function: Recipe) -> Recipe:
    """Make a recipe of a keyword-only function whose annotations say the kinds of its arguments."""
    defaults = {
        name: spec.default
        for name, spec in signature(function).parameters.items()
        if spec.default is not Parameter.empty
    }

    @wraps(function)
    def called(**given: Any) -> Schedule:
        kinds = kinds_of(function)
        check_arguments(function.__name__, given, kinds, [name for name in kinds if name not in defaults])
        values, faults = read_all(kinds, {name: given.get(name, defaults.get(name)) for name in kinds})
        if not faults:
            try:
                return FromRecipe(called, tuple(values.items()), function(**values))
            except ScheduleError as error:
                faults = list(error.faults)
        raise ScheduleError(list_faults(function.__name__, faults), faults)

    return cast(Recipe, called)


def minus(whole: Any, part: Any) -> int | Duration:
    """`whole - part`, of counts or of durations not known yet."""
    if isinstance(whole, int) and isinstance(part, int):
        return whole - part
    return _duration(whole) - _duration(part)


def _duration(value: Any) -> Duration:
    return value if isinstance(value, Duration) else Duration(str(value))


def _refuse_long_warmup(warmup: Any, total: Any) -> None:
    left = minus(total, warmup)
    if isinstance(left, int) and left < 1:
        message = f"must be shorter than `total` ({total}), got {warmup}"
        raise ScheduleError(message, [Fault("warmup", message)])


def _warmup(warmup: Any, init_value: float, peak_value: float, after: Schedule) -> Schedule:
    """A line from `init_value` to `peak_value`, then `after`; a warmup of 0 is none."""
    if warmup == 0:
        return after
    return Linear(init_value=init_value, end_value=peak_value, duration=warmup).then(after, at=warmup)


def _fall(shape: str, first: float, last: float, length: Any) -> Schedule:
    """A fall over progress from 0 to 1, stretched to its length."""
    curve = Cosine if shape == "cosine" else Linear
    return curve(init_value=first, end_value=last, duration=1).stretch(length)


@recipe
def warmup_constant(*, peak_value: Value, warmup: Count, init_value: Value = 0.0) -> Schedule:
    r"""A linear warmup from `init_value` to `peak_value`, then constant.

    Exactly `init_value` at 0 and exactly `peak_value` from `warmup` on.

    Agrees with:
        `transformers.get_constant_schedule_with_warmup`.

    Example:
        >>> lr = warmup_constant(peak_value=1e-3, warmup=100)
        >>> lr(0), lr(50), lr(100), lr(10**6)
        (0.0, 0.0005, 0.001, 0.001)
    """
    return _warmup(warmup, init_value, peak_value, Constant(value=peak_value))


@recipe
def warmup_cosine(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
) -> Schedule:
    r"""A linear warmup from `init_value` to `peak_value`, then half a cosine down to `end_value`.

    .. math::
        v(t) = v_{init} + (v_{peak} - v_{init})\, t / W \;(t < W), \qquad
        v_{end} + \tfrac12 (v_{peak} - v_{end})(1 + \cos \pi p), \quad p = \frac{t - W}{T - W}

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Args:
        peak_value: :math:`v_{peak}`.
        end_value: :math:`v_{end}`.
        warmup: :math:`W`, a count or a duration such as `"5%"`; 0 for none.
        total: :math:`T`, from 0 to the end of the cosine, the warmup included; the whole run by default.
        init_value: :math:`v_{init}`. With 0 the first optimizer step changes nothing; the linter says so.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`, or a value is not finite.

    Agrees with:
        `optax.warmup_cosine_decay_schedule`; `transformers.get_cosine_schedule_with_warmup` for `end_value` 0.

    Example:
        >>> lr = warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=10_000, total=1_000_000)
        >>> lr(5_000), lr(10_000), lr(1_000_000)
        (0.00015, 0.0003, 3e-06)
    """
    _refuse_long_warmup(warmup, total)
    return _warmup(warmup, init_value, peak_value, _fall("cosine", peak_value, end_value, minus(total, warmup)))


@recipe
def warmup_linear(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
) -> Schedule:
    r"""A linear warmup from `init_value` to `peak_value`, then a straight line down to `end_value`.

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`, or a value is not finite.

    Agrees with:
        `transformers.get_linear_schedule_with_warmup` for `end_value` 0.

    Example:
        >>> lr = warmup_linear(peak_value=1.0, warmup=10, total=110)
        >>> lr(5), lr(10), lr(60), lr(110)
        (0.5, 1.0, 0.5, 0.0)
    """
    _refuse_long_warmup(warmup, total)
    return _warmup(warmup, init_value, peak_value, _fall("linear", peak_value, end_value, minus(total, warmup)))


@recipe
def step_decay(*, init_value: Value, milestones: Boundaries, factor: NonNegative = 0.1) -> Schedule:
    r"""`init_value`, multiplied by `factor` at each milestone: 1e-3, 1e-4, 1e-5. For equal distances use `StepDecay`.

    Args:
        init_value: the value before the first milestone.
        milestones: counts above 0, strictly increasing.
        factor: what each milestone multiplies by; a tenth by default.

    Raises:
        ScheduleError: milestones are unsorted, repeated or below 1, or `factor` is negative.

    Agrees with:
        `torch.optim.lr_scheduler.MultiStepLR`.

    Example:
        >>> lr = step_decay(init_value=1.0, factor=0.5, milestones=[30, 80])
        >>> lr(29), lr(30), lr(80)
        (1.0, 0.5, 0.25)
    """
    return MultiStep(init_value=init_value, factor=factor, milestones=milestones)


@recipe
def warmup_stable_decay(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    decay: Length,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
    shape: Literal["linear", "cosine"] = "linear",
) -> Schedule:
    r"""Warmup, then constant, then over the last `decay` counts a fall to `end_value` (WSD, trapezoidal).

    Exactly `init_value` at 0, `peak_value` from `warmup` to `total - decay`, `end_value` from `total` on.

    Args:
        peak_value: the constant in the middle.
        end_value: the value at the end.
        warmup: the length of the rise; 0 for none.
        decay: the length of the fall, at least 1.
        total: the length of all three; the whole run by default.
        init_value: the value at 0.
        shape: the fall's shape, `linear` or `cosine`.

    Raises:
        ScheduleError: `warmup` and `decay` together are longer than `total`.

    Source:
        Hu et al. 2024, MiniCPM (arXiv:2404.06395); Haegele et al. 2024 (arXiv:2405.18392).

    Example:
        >>> lr = warmup_stable_decay(peak_value=1.0, warmup=10, decay=20, total=100)
        >>> lr(5), lr(10), lr(80), lr(90), lr(100)
        (0.5, 1.0, 1.0, 0.5, 0.0)
    """
    start = minus(total, decay)
    if isinstance(start, int) and isinstance(warmup, int) and start < max(warmup, 0):
        message = f"and `warmup` ({warmup}) together are longer than `total` ({total}), got {decay}"
        raise ScheduleError(message, [Fault("decay", message)])
    fall = _fall(shape, peak_value, end_value, decay)
    if start == 0:
        return fall
    if start == warmup:
        return _warmup(warmup, init_value, peak_value, fall)
    return _warmup(warmup, init_value, peak_value, Constant(value=peak_value)).then(fall, at=start)


wsd = warmup_stable_decay
"""The short name of `warmup_stable_decay`."""


@recipe
def one_cycle(
    *,
    peak_value: Value,
    init_value: OptionalValue = None,
    end_value: OptionalValue = None,
    warmup: Count = THIRTY_PERCENT,
    total: Length = WHOLE_RUN,
    shape: Literal["linear", "cosine"] = "cosine",
) -> Schedule:
    r"""Up from `init_value` to `peak_value`, then down to `end_value`, far below where it began.

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Args:
        peak_value: the top.
        init_value: the start; a 25th of the peak by default.
        end_value: the end; a 10 000th of the start by default.
        warmup: the length of the rise; 30 % of the run by default.
        total: the length of both; the whole run by default.
        shape: of both sides, `cosine` or `linear`.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`.

    Source:
        Smith and Topin 2018, super-convergence (arXiv:1708.07120).

    Agrees with:
        `torch.optim.lr_scheduler.OneCycleLR`, whose rise ends at `pct_start * total_steps - 1` and whose fall at
        `total_steps - 1`.

    Example:
        >>> lr = one_cycle(peak_value=1.0, warmup=30, total=100)
        >>> lr(0), lr(30), lr(100)
        (0.04, 1.0, 4e-06)
    """
    _refuse_long_warmup(warmup, total)
    first = peak_value / 25.0 if init_value is None else init_value
    last = first / 10_000.0 if end_value is None else end_value
    fall = _fall(shape, peak_value, last, minus(total, warmup))
    return fall if warmup == 0 else _fall(shape, first, peak_value, warmup).then(fall, at=warmup)
