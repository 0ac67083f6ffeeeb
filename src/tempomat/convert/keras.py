"""Keras' learning rate schedules: the objects, their `get_config`, or what `keras.saving` writes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from tempomat.convert.arguments import Arguments, exact, product
from tempomat.core import (
    Constant,
    ConversionError,
    Cosine,
    Exponential,
    InverseTime,
    PiecewiseConstant,
    Polynomial,
    WarmRestarts,
    warmup_cosine,
)
from tempomat.core.errors import did_you_mean, shown

_COMMON = ("initial_learning_rate", "name")
_NAMES = {"ExponentialDecay": "ExponentialDecay", "PiecewiseConstant": "PiecewiseConstantDecay",
          "PolynomialDecay": "PolynomialDecay", "InverseTimeDecay": "InverseTimeDecay", "CosineDecay": "CosineDecay",
          "SGDRDecay": "CosineDecayRestarts"}  # fmt: skip


def from_keras(source: Any, *, kind: str | None = None) -> Any:
    """The schedule of a Keras learning rate, in float64; the count is the optimizer's step, `optimizer.iterations`.

    Args:
        source: a `keras.optimizers.schedules` object; `{"class_name": ..., "config": {...}}` as Keras saves it; what
            its `get_config()` gives; or a number.
        kind: the class of a bare config, such as `CosineDecay`, where its `name` is no longer the one Keras gives.

    Raises:
        ConversionError: every fault at once: a class of the user's own, `PolynomialDecay` with `cycle`, a `t_mul`
            below 1.

    Source:
        Keras 3.15, `keras/src/optimizers/schedules/learning_rate_schedule.py`.

    Example:
        >>> config = {"initial_learning_rate": 1e-3, "decay_steps": 1_000, "alpha": 0.1}
        >>> lr = from_keras({"class_name": "CosineDecay", "config": config})
        >>> lr(0), lr(1_000)
        (0.001, 0.0001)
    """
    if isinstance(source, (int, float)) and not isinstance(source, bool):
        alone = Arguments("keras", {"value": source})
        number = alone.number("value")
        alone.done()
        return Constant(value=number)
    name, config = _class_and_config(source, kind)
    if name not in _READERS:
        raise ConversionError(
            f"keras: {shown(name)} is no schedule of Keras.{did_you_mean(str(name), _READERS)} A schedule of your own "
            f"cannot be read; there are {', '.join(_READERS)}"
        )
    known, reader = _READERS[name]
    return reader(Arguments(f"keras {name}", config, known))


def _class_and_config(source: Any, kind: str | None) -> tuple[Any, Mapping[str, Any]]:
    if callable(getattr(source, "get_config", None)):
        module = type(source).__module__
        if not module.startswith(("keras.", "tensorflow.", "tf_keras.")):
            return f"{module}.{type(source).__name__}", {}
        return type(source).__name__, source.get_config()
    if not isinstance(source, Mapping):
        raise ConversionError(f"keras: needs a LearningRateSchedule, its config or a number, got {shown(source)}")
    given = cast("Mapping[str, Any]", source)
    if isinstance(given.get("config"), Mapping):
        return given.get("class_name"), given["config"]
    if kind is None and given.get("name") not in _NAMES:
        raise ConversionError("keras: the config does not say its class. Give kind=, or the mapping with class_name "
                              "and config that keras.optimizers.schedules.serialize writes")  # fmt: skip
    return kind or _NAMES[given["name"]], given


def _exponential(a: Arguments) -> Any:
    first, every, rate = a.number("initial_learning_rate"), a.count("decay_steps", at_least=1), a.number("decay_rate")
    staircase = a.flag("staircase")
    with a.building():
        return Exponential(init_value=first, decay_rate=rate, every=every, staircase=staircase)


def _inverse_time(a: Arguments) -> Any:
    first, every, rate = a.number("initial_learning_rate"), a.count("decay_steps", at_least=1), a.number("decay_rate")
    staircase = a.flag("staircase")
    with a.building():
        if rate == 0.0:
            return Constant(value=first)
        return InverseTime(init_value=first, decay_rate=rate, every=every, staircase=staircase)


def _piecewise(a: Arguments) -> Any:
    boundaries, values = a.numbers("boundaries"), a.numbers("values")
    with a.building():
        if not boundaries and len(values) == 1:
            return Constant(value=values[0])
        # a boundary belongs to the value before it there, to the one after it here
        return PiecewiseConstant(values=values, boundaries=[math.floor(one) + 1 for one in boundaries])


def _polynomial(a: Arguments) -> Any:
    first, length = a.number("initial_learning_rate"), a.count("decay_steps", at_least=1)
    last, power = a.number("end_learning_rate", 1e-4), a.number("power", 1.0)
    if a.flag("cycle"):
        a.fault("cycle", "begins ever longer cycles for ever, each stretched to end at a multiple of decay_steps, "
                "which no schedule here does. Set it to False, or use tm.WarmRestarts(...)")  # fmt: skip
    with a.building():
        return Polynomial(init_value=first, end_value=last, duration=length, power=power)


def _cosine(a: Arguments) -> Any:
    first, length, alpha = a.number("initial_learning_rate"), a.count("decay_steps", at_least=1), a.number("alpha", 0.0)
    peak, warmup = a.number("warmup_target", None), a.count("warmup_steps", 0)
    with a.building():
        if peak is None:
            return Cosine(init_value=first, end_value=product(alpha, first), duration=length)
        ends = {"peak_value": peak, "init_value": first, "end_value": product(alpha, peak)}
        return warmup_cosine(**ends, warmup=warmup, total=warmup + length)


def _restarts(a: Arguments) -> Any:
    first, length = a.number("initial_learning_rate"), a.count("first_decay_steps", at_least=1)
    longer, lower, alpha = a.number("t_mul", 2.0), a.number("m_mul", 1.0), a.number("alpha", 0.0)
    with a.building(cycle_factor="t_mul", peak_factor="m_mul"):
        if lower == 1.0 or alpha == 0.0:
            return WarmRestarts(
                init_value=first, end_value=product(alpha, first), cycle=length, cycle_factor=longer, peak_factor=lower
            )
        # m_mul acts on the height above the floor there, on the peak here
        floor = product(alpha, first)
        waves: Any = WarmRestarts(
            init_value=float(exact(first) - exact(floor)), end_value=0.0, cycle=length, cycle_factor=longer,
            peak_factor=lower,
        )  # fmt: skip
        return waves + floor


_READERS: dict[str, tuple[tuple[str, ...], Callable[[Arguments], Any]]] = {
    "ExponentialDecay": ((*_COMMON, "decay_steps", "decay_rate", "staircase"), _exponential),
    "PiecewiseConstantDecay": (("boundaries", "values", "name"), _piecewise),
    "PolynomialDecay": ((*_COMMON, "decay_steps", "end_learning_rate", "power", "cycle"), _polynomial),
    "InverseTimeDecay": ((*_COMMON, "decay_steps", "decay_rate", "staircase"), _inverse_time),
    "CosineDecay": ((*_COMMON, "decay_steps", "alpha", "warmup_target", "warmup_steps"), _cosine),
    "CosineDecayRestarts": ((*_COMMON, "first_decay_steps", "t_mul", "m_mul", "alpha"), _restarts),
}
