"""Recipes: functions of a few lines that only compose schedules, under the names that papers and configs use.

A recipe remembers how it was called: `repr`, plans and equality speak of `warmup_cosine(...)`, not of what it expands
to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, TypeVar, cast, final

from tempomat.core.clock import Duration
from tempomat.core.decays import Geometric
from tempomat.core.errors import Fault, ScheduleError, list_faults
from tempomat.core.fields import (
    Boundaries,
    Count,
    Length,
    NonNegative,
    NumberKind,
    Positive,
    Value,
    check_arguments,
    kinds_of,
    read_all,
)
from tempomat.core.ops import Ops
from tempomat.core.rises import Logarithmic, PowerRamp
from tempomat.core.schedule import Clocks, Node, Schedule
from tempomat.core.shapes import Constant, Cosine, Linear, Polynomial
from tempomat.core.steps import MultiStep

WHOLE_RUN = Duration("100%")
WarmupShape = Literal["linear", "cosine", "exponential", "logarithmic", "one_minus_sqrt"]
"""How a warmup rises."""
FallShape = Literal["linear", "cosine", "one_minus_sqrt", "one_minus_square", "exponential"]
"""How the last phase of a run falls."""
Share = Annotated[float, NumberKind(above=0, below=1)]
"""A number between 0 and 1."""
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
                made = function(**values)
                # with a controller in it, it is what it is composed of
                return FromRecipe(called, tuple(values.items()), made) if isinstance(made, Schedule) else made
            except ScheduleError as error:
                faults = list(error.faults)
        raise ScheduleError(list_faults(function.__name__, faults), faults)

    return cast(Recipe, called)


def minus(whole: Any, part: Any) -> int | Duration:
    """`whole - part`, of counts or of durations not known yet."""
    if isinstance(whole, int) and isinstance(part, int):
        return whole - part
    return _duration(whole) - _duration(part)


def plus(one: Any, other: Any) -> int | Duration:
    """`one + other`, of counts or of durations not known yet."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _duration(one) + _duration(other)


def refuse(name: str, rule: str) -> ScheduleError:
    """What a recipe raises over one of its arguments."""
    return ScheduleError(f"{name} {rule}", [Fault(name, rule)])


def until_known(*lengths: Any) -> Schedule | None:
    """What stands in for an expansion that is built from the numbers of lengths, while one of them is a duration that
    the run has yet to resolve; None where all are known. A resolved recipe expands anew.
    """
    unknown = next((one for one in lengths if isinstance(one, Duration)), None)
    return None if unknown is None else Linear(init_value=0.0, end_value=1.0, duration=unknown)


def _duration(value: Any) -> Duration:
    return value if isinstance(value, Duration) else Duration(str(value))


def refuse_long_warmup(warmup: Any, total: Any) -> None:
    """Refuse a warmup after which nothing of `total` is left."""
    left = minus(total, warmup)
    if isinstance(left, int) and left < 1:
        raise refuse("warmup", f"must be shorter than `total` ({total}), got {warmup}")


def warmed_up(warmup: Any, init_value: float, peak_value: float, after: Schedule, shape: str) -> Schedule:
    """A rise from `init_value` to `peak_value`, then `after`; a warmup of 0 is none."""
    return after if warmup == 0 else _rise(shape, init_value, peak_value, warmup).then(after, at=warmup)


def _rise(shape: str, first: float, last: float, length: Any) -> Schedule:
    ends: dict[str, Any] = {"init_value": first, "end_value": last, "duration": length}
    if shape == "exponential":
        if first * last <= 0.0:
            rule = (
                f"must not be 0 and have the sign of `peak_value` ({last:g}) for an exponential warmup, got {first:g}"
            )
            raise refuse("init_value", f"{rule}. Give a small one, such as {last / 1000:g}")
        return Geometric(**ends)
    if shape == "one_minus_sqrt":
        return Polynomial(**ends, power=0.5)
    return {"linear": Linear, "cosine": Cosine, "logarithmic": Logarithmic}[shape](**ends)


def fall(shape: str, first: float, last: float, length: Any, ratio: float = 0.5) -> Schedule:
    """A fall over progress from 0 to 1, stretched to its length."""
    if shape == "exponential":
        gone = 1.0 - Geometric(init_value=1.0, end_value=ratio, duration=1)
        curve = (first + (last - first) / (1.0 - ratio) * gone).then(last, at=1)
    elif shape in ("one_minus_sqrt", "one_minus_square"):
        power = 0.5 if shape == "one_minus_sqrt" else 2.0
        curve = PowerRamp(init_value=first, end_value=last, duration=1, power=power)
    else:
        curve = (Cosine if shape == "cosine" else Linear)(init_value=first, end_value=last, duration=1)
    return curve.stretch(length)


@recipe
def warmup_constant(
    *, peak_value: Value, warmup: Count, init_value: Value = 0.0, warmup_shape: WarmupShape = "linear"
) -> Schedule:
    r"""A warmup from `init_value` to `peak_value`, then constant.

    .. math::
        v(t) = v_{init} + (v_{peak} - v_{init})\, w(t / W) \;(t < W), \qquad v_{peak} \;(t \ge W)

    Exactly `init_value` at 0 and exactly `peak_value` from `warmup` on.

    Args:
        peak_value: :math:`v_{peak}`.
        warmup: :math:`W`, a count or a duration such as `"5%"`; 0 for none.
        init_value: :math:`v_{init}`. With 0 the first optimizer step changes nothing; the linter says so.
        warmup_shape: of :math:`w`: `linear` :math:`x`; `cosine` :math:`(1 - \cos \pi x) / 2`; `one_minus_sqrt`
            :math:`1 - \sqrt{1 - x}`; `logarithmic` :math:`\ln(t + 1) / \ln W`, which is there one count early;
            `exponential`, the same ratio at every count, for which `init_value` must not be 0.

    Raises:
        ScheduleError: `init_value` is 0 or of the other sign and the warmup exponential, or a value is not finite.

    Agrees with:
        `transformers.get_constant_schedule_with_warmup`; `optax.warmup_constant_schedule`; DeepSpeed's `WarmupLR`
        (`warmup_shape="logarithmic"` unless its `warmup_type` is `linear`); Composer's `ConstantWithWarmupScheduler`;
        OLMo-core's `ConstantWithWarmup`; Megatron's `constant`.

    Example:
        >>> lr = warmup_constant(peak_value=1e-3, warmup=100)
        >>> lr(0), lr(50), lr(100), lr(10**6)
        (0.0, 0.0005, 0.001, 0.001)
    """
    return warmed_up(warmup, init_value, peak_value, Constant(value=peak_value), warmup_shape)


@recipe
def warmup_cosine(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""A warmup from `init_value` to `peak_value`, then half a cosine down to `end_value`.

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
        warmup_shape: how the warmup rises: `linear`, `cosine`, `exponential`, `logarithmic` or `one_minus_sqrt`, as in
            `warmup_constant`.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`, or a value is not finite.

    Agrees with:
        `optax.warmup_cosine_decay_schedule`; `transformers.get_cosine_schedule_with_warmup` for `end_value` 0 and
        `get_cosine_with_min_lr_schedule_with_warmup` (`cosine_with_min_lr`);
        Keras' `CosineDecay` with `warmup_target` (its `decay_steps` is
        without the warmup); timm's `CosineLRScheduler` with `warmup_prefix=True`; Composer's
        `CosineAnnealingWithWarmupScheduler`; Megatron's `cosine`; OLMo-core's `CosWithWarmup`; DeepSpeed's
        `WarmupCosineLR`, whose first update has 0 and whose warmup is logarithmic unless told otherwise.

    Example:
        >>> lr = warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=10_000, total=1_000_000)
        >>> lr(5_000), lr(10_000), lr(1_000_000)
        (0.00015, 0.0003, 3e-06)
    """
    refuse_long_warmup(warmup, total)
    after = fall("cosine", peak_value, end_value, minus(total, warmup))
    return warmed_up(warmup, init_value, peak_value, after, warmup_shape)


@recipe
def warmup_linear(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    total: Length = WHOLE_RUN,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""A warmup from `init_value` to `peak_value`, then a straight line down to `end_value`.

    .. math::
        v(t) = v_{init} + (v_{peak} - v_{init})\, t / W \;(t < W), \qquad
        v_{peak} + (v_{end} - v_{peak})\, \frac{t - W}{T - W}

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Args:
        peak_value: :math:`v_{peak}`.
        end_value: :math:`v_{end}`.
        warmup: :math:`W`, a count or a duration; 0 for none.
        total: :math:`T`, the warmup included; the whole run by default.
        init_value: :math:`v_{init}`.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`, or a value is not finite.

    Agrees with:
        `transformers.get_linear_schedule_with_warmup` for `end_value` 0; DeepSpeed's `WarmupDecayLR`; Composer's
        `LinearWithWarmupScheduler`; Megatron's `linear`; OLMo-core's `LinearWithWarmup`.

    Example:
        >>> lr = warmup_linear(peak_value=1.0, warmup=10, total=110)
        >>> lr(5), lr(10), lr(60), lr(110)
        (0.5, 1.0, 0.5, 0.0)
    """
    refuse_long_warmup(warmup, total)
    after = fall("linear", peak_value, end_value, minus(total, warmup))
    return warmed_up(warmup, init_value, peak_value, after, warmup_shape)


@recipe
def warmup_polynomial(
    *,
    peak_value: Value,
    end_value: Value = 0.0,
    warmup: Count,
    total: Length = WHOLE_RUN,
    power: Positive = 1.0,
    init_value: Value = 0.0,
    warmup_shape: WarmupShape = "linear",
) -> Schedule:
    r"""A warmup from `init_value` to `peak_value`, then a power of the share that is left, down to `end_value`.

    .. math::
        v(t) = v_{init} + (v_{peak} - v_{init})\, t / W \;(t < W), \qquad
        v_{end} + (v_{peak} - v_{end}) \left(1 - \frac{t - W}{T - W}\right)^p

    Exactly `init_value` at 0, `peak_value` at `warmup`, `end_value` from `total` on.

    Args:
        peak_value: :math:`v_{peak}`.
        end_value: :math:`v_{end}`.
        warmup: :math:`W`, a count or a duration; 0 for none.
        total: :math:`T`, the warmup included; the whole run by default.
        power: :math:`p`, above 0; 1 is a straight line.
        init_value: :math:`v_{init}`.
        warmup_shape: how the warmup rises, as in `warmup_constant`.

    Raises:
        ScheduleError: `warmup` is not shorter than `total`, `power` is not above 0, or a value is not finite.

    Agrees with:
        `transformers.get_polynomial_decay_schedule_with_warmup` (its `lr_end` is 1e-7 by default); Composer's
        `PolynomialWithWarmupScheduler`; timm's `PolyLRScheduler` with `warmup_prefix=True`.

    Example:
        >>> lr = warmup_polynomial(peak_value=1.0, warmup=10, total=110, power=2.0)
        >>> lr(5), lr(10), lr(60), lr(110)
        (0.5, 1.0, 0.25, 0.0)
    """
    refuse_long_warmup(warmup, total)
    line = Polynomial(init_value=peak_value, end_value=end_value, duration=1, power=power)
    return warmed_up(warmup, init_value, peak_value, line.stretch(minus(total, warmup)), warmup_shape)


@recipe
def step_decay(*, init_value: Value, milestones: Boundaries, factor: NonNegative = 0.1) -> Schedule:
    r"""`init_value`, multiplied by `factor` at each milestone: 1e-3, 1e-4, 1e-5. For equal distances use `StepDecay`.

    .. math::
        v(t) = v_0\, g^{k}, \quad k = |\{m : m \le t\}|

    Exactly `init_value` before the first milestone; after the last one it holds.

    Args:
        init_value: :math:`v_0`, the value before the first milestone.
        milestones: counts above 0, strictly increasing.
        factor: :math:`g`, what each milestone multiplies by; a tenth by default.

    Raises:
        ScheduleError: milestones are unsorted, repeated or below 1, or `factor` is negative.

    Agrees with:
        `torch.optim.lr_scheduler.MultiStepLR`; Composer's `MultiStepScheduler`; timm's `MultiStepLRScheduler`;
        fvcore's `MultiStepParamScheduler`.

    Example:
        >>> lr = step_decay(init_value=1.0, factor=0.5, milestones=[30, 80])
        >>> lr(29), lr(30), lr(80)
        (1.0, 0.5, 0.25)
    """
    return MultiStep(init_value=init_value, factor=factor, milestones=milestones)
