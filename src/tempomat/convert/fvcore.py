"""fvcore's `ParamScheduler` objects, functions of the share of the run that is over."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tempomat.convert.arguments import Arguments, exact
from tempomat.core import (
    Advance,
    Constant,
    Cosine,
    Exponential,
    Linear,
    PiecewiseConstant,
    Polynomial,
    ScheduleError,
)


def from_fvcore(scheduler: Any, *, total: int) -> Any:
    """The schedule of an fvcore scheduler over a run of `total` counts.

    fvcore asks for the share `where`; here the count is the step and `where` is `count / total`. Its steps and
    milestones fire a millionth of the run too early, six of 6M counts; here they fall where they are written.

    Args:
        scheduler: any `fvcore.common.param_scheduler` object, nested as deep as it likes.
        total: the run's length, fvcore's `max_iter`.

    Raises:
        ConversionError: every fault at once: a class of the user's own, a part of a `CompositeParamScheduler` that
            comes to no whole number of counts.

    Source:
        fvcore 0.1.5, `fvcore/common/param_scheduler.py`.
    """
    whole = Arguments("fvcore", {"total": total})
    length = whole.count("total", at_least=1)
    whole.done()
    found = _read(whole, "", scheduler, Fraction(length))
    whole.done()
    return found


def _read(whole: Arguments, path: str, scheduler: Any, total: Fraction) -> Any:
    """One scheduler over a length of its own, which only inside a composite may be no whole number."""
    name = _class(scheduler)
    known = vars(scheduler) if name else {}
    length = int(total)
    if total.denominator != 1 and name not in (*_STEPPED, "ConstantParamScheduler"):
        whole.fault(path, f"lasts {float(total):g} counts, which is no whole number. Choose another total")
    try:
        return _build(whole, path, name, known, length, total)
    except ScheduleError as error:
        whole.faults += [fault.under(path) for fault in error.faults]
        return Constant(value=0.0)
    except KeyError:
        kind = f"{type(scheduler).__module__}.{type(scheduler).__name__}"
        whole.fault(path, f"{kind} is no scheduler of fvcore whose formula is known, so it cannot be read")
        return Constant(value=0.0)


def _class(scheduler: Any) -> str | None:
    """The fvcore class whose formula the object evaluates."""
    for one in type(scheduler).__mro__:
        if "__call__" in vars(one):
            return one.__name__ if one.__module__ == "fvcore.common.param_scheduler" else None
    return None


_STEPPED = ("MultiStepParamScheduler", "StepParamScheduler", "StepWithFixedGammaParamScheduler")


def _build(whole: Arguments, path: str, name: str | None, known: Any, length: int, total: Fraction) -> Any:
    if name == "ConstantParamScheduler":
        return Constant(value=known["_value"])
    if name in ("CosineParamScheduler", "LinearParamScheduler"):
        shape: Any = Cosine if name == "CosineParamScheduler" else Linear
        return shape(init_value=known["_start_value"], end_value=known["_end_value"], duration=length)
    if name == "ExponentialParamScheduler":
        return Exponential(init_value=known["_start_value"], decay_rate=known["_decay"], every=length)
    if name == "PolynomialDecayParamScheduler":
        return Polynomial(init_value=known["_base_value"], end_value=0.0, duration=length, power=known["_power"])
    if name in _STEPPED:
        return _steps(name, known, total)
    if name == "CompositeParamScheduler":
        return _composite(whole, path, known, total)
    raise KeyError(name)


def _steps(name: str, known: Any, total: Fraction) -> Any:
    """Values one after another, each from the first count that is not before its place."""
    if name == "StepWithFixedGammaParamScheduler":
        known = vars(known["_step_param_scheduler"])
    values = known["_param_schedule"]
    shares = [Fraction(place, len(values)) for place in range(1, len(values))]
    if name == "MultiStepParamScheduler":
        shares = [exact(one) / exact(known["_num_updates"]) for one in known["_milestones"]]
    if not shares:
        return Constant(value=values[0])
    return PiecewiseConstant(values=values, boundaries=[-int(-share * total // 1) for share in shares])


def _composite(whole: Arguments, path: str, known: Any, total: Fraction) -> Any:
    lengths = [exact(one) for one in known["_lengths"]]
    found: Any = None
    reached = Fraction(0)
    for place, (part, length) in enumerate(zip(known["_schedulers"], lengths, strict=True)):
        here = f"{path}.schedulers[{place}]".lstrip(".")
        start, reached = reached, reached + length
        rescaled = known["_interval_scaling"][place] == "rescaled"
        # lengths such as 1/3 are written with sixteen digits, and what they come to is meant to be whole
        span, begin = _near(length * total), _near(start * total)
        if begin.denominator != 1:
            where = f"{path}.lengths[{place - 1}]".lstrip(".")
            whole.fault(where, f"ends at {float(begin):g} counts, which is no whole number. Choose another total")
        piece = _read(whole, here, part, span if rescaled else total)
        if not rescaled and begin >= 1 and not isinstance(piece, Constant):
            piece = Advance(schedule=piece, by=round(begin))
        found = piece if found is None else found.then(piece, at=max(round(begin), 1))
    return found


def _near(count: Fraction) -> Fraction:
    whole = round(count)
    return Fraction(whole) if abs(count - whole) < Fraction(1, 10**6) else count
