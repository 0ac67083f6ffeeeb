"""Transformers' schedulers: the names and arguments of `get_scheduler`, or a `TrainingArguments`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, final

from tempomat.convert.arguments import Arguments, names_of, product, quotient
from tempomat.convert.pieces import warmed
from tempomat.core import (
    Advance,
    Constant,
    ConversionError,
    Cosine,
    CosineCycles,
    CosineRestarts,
    Fault,
    Greedy,
    InverseSqrt,
    Linear,
    Node,
    Plateau,
    Polynomial,
    PowerRamp,
    Schedule,
    warmup_constant,
    warmup_cosine,
    warmup_linear,
)
from tempomat.core.errors import did_you_mean, list_faults, shown

_SAME = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")
_PLATEAU = {**{key: key for key in _SAME}, "min_lr": "min_value"}
_GREEDY = {**_PLATEAU, "warmup": "warmup", "max_lr": "max_value", "smooth": "smooth", "window_size": "window",
           "reset_start": "reset_after", "verbose": ""}  # fmt: skip


def from_transformers(
    name: Any,
    *,
    learning_rate: float | None = None,
    num_training_steps: int | None = None,
    num_warmup_steps: int | None = None,
    warmup_steps: float | None = None,
    warmup_ratio: float | None = None,
    scheduler_specific_kwargs: Mapping[str, Any] | None = None,
    metric: str | None = None,
) -> Any:
    """The learning rate of one of Transformers' schedulers: a `Schedule`, or for `reduce_lr_on_plateau` a `Plateau` and
    for `greedy` a `Greedy`.

    Values are those of `get_scheduler` at every count up to `num_training_steps`. After it ours hold; Transformers'
    `cosine` and `cosine_with_min_lr` climb again, and `cosine_warmup_with_min_lr`, which is one step ahead of the
    others, already does at `num_training_steps` itself. A `min_lr` is the floor itself: Transformers divides it by the
    optimizer's default, so that a param group with another learning rate gets another floor. A warmup begins at 0, so
    the first optimizer step moves nothing; ours is the same and says so in its `init_value`.

    Args:
        name: one of `SchedulerType`'s names, such as `cosine`; or a `TrainingArguments` (or a mapping with its fields),
            from which everything else is taken but `num_training_steps`, unless it has `max_steps`.
        learning_rate: the optimizer's, and so the peak.
        num_training_steps: the optimizer steps of the whole run.
        num_warmup_steps: the warmup in optimizer steps, as `get_scheduler` takes it; none by default.
        warmup_steps: the same as `TrainingArguments` takes it: a whole number, or a share of the run below 1.
        warmup_ratio: the warmup as a share of the run.
        scheduler_specific_kwargs: what else the scheduler takes (`lr_scheduler_kwargs`), such as `num_cycles`.
        metric: what a plateau listens to; `eval_loss` by default.

    Raises:
        ConversionError: there is no such scheduler, an argument is missing, unknown or impossible; all at once.

    Example:
        >>> from_transformers("cosine", learning_rate=1e-3, num_training_steps=1_000, warmup_ratio=0.1)
        warmup_cosine(peak_value=0.001, end_value=0.0, warmup=100, total=1000, init_value=0.0, warmup_shape='linear')
    """
    options = scheduler_specific_kwargs
    given: dict[str, Any] = {"learning_rate": learning_rate, "num_training_steps": num_training_steps,
                             "num_warmup_steps": num_warmup_steps, "warmup_steps": warmup_steps,
                             "warmup_ratio": warmup_ratio, "metric": metric}  # fmt: skip
    fields = None if isinstance(name, str) else names_of(name)
    if fields is not None:
        name, options, given = _of_training_arguments(fields, given, options)
    word = getattr(name, "value", name)
    if not isinstance(word, str) or word not in SCHEDULERS:
        raise ConversionError(
            f"from_transformers: no scheduler of the name {shown(word)}.{did_you_mean(str(word), SCHEDULERS)} "
            f"Schedulers: {', '.join(SCHEDULERS)}"
        )
    return _Source.read(word, given, options).schedule()


def _of_training_arguments(
    fields: dict[str, Any], given: dict[str, Any], options: Mapping[str, Any] | None
) -> tuple[Any, Mapping[str, Any], dict[str, Any]]:
    """A scheduler's name and arguments out of a `TrainingArguments`."""
    if "lr_scheduler_type" not in fields:
        raise ConversionError("from_transformers: needs a scheduler's name or a TrainingArguments (lr_scheduler_type)")
    own = {key: value for key, value in given.items() if key not in ("num_training_steps", "metric")}
    twice = [key for key, value in {**own, "scheduler_specific_kwargs": options}.items() if value is not None]
    if twice:
        faults = [Fault(key, "is said by the TrainingArguments. Change it there") for key in twice]
        raise ConversionError(list_faults("from_transformers", faults), faults)
    steps = fields.get("max_steps") or -1
    taken = {
        "learning_rate": fields.get("learning_rate", 5e-5),
        "num_training_steps": given["num_training_steps"] or (steps if steps > 0 else None),
        "warmup_steps": fields.get("warmup_steps") or None,
        "warmup_ratio": fields.get("warmup_ratio") or None,
        "metric": given["metric"] or fields.get("metric_for_best_model"),
    }
    return fields["lr_scheduler_type"], fields.get("lr_scheduler_kwargs") or {}, taken


@final
@dataclass(frozen=True)
class _Source:
    """A scheduler's arguments, read: peak, warmup, total, and the options of its own."""

    name: str
    lr: float
    warmup: int
    total: int | None
    options: Arguments
    metric: str

    @classmethod
    def read(cls, name: str, given: Mapping[str, Any], options: Mapping[str, Any] | None) -> _Source:
        known = SCHEDULERS[name][1]
        host = f"from_transformers: {name}"
        arguments = Arguments(host, {key: value for key, value in given.items() if value is not None})
        lr = arguments.number("learning_rate")
        total = arguments.count("num_training_steps", None, at_least=1)
        if total is None and name in _TIMED:
            arguments.fault("num_training_steps", "is missing; with a Trainer it is the optimizer steps of all epochs")
        warmup = _warmup(arguments, total)
        if warmup and name in _WITHOUT_WARMUP:
            arguments.fault("num_warmup_steps", f"{name} has none, and Transformers would ignore it. Leave it out, or "
                            "use constant_with_warmup")  # fmt: skip
        if options is not None and not isinstance(cast(object, options), Mapping):
            arguments.fault("scheduler_specific_kwargs", f"must be a mapping, got {shown(options)}")
            options = None
        names = [key for key in given if key != "metric"]
        own = Arguments(host, options or {}, (*known, *names))
        for key in [key for key in own.given if key in names and key not in known]:
            own.fault(key, "belongs beside the scheduler's own arguments, not among them")
        own.faults[:0] = arguments.faults
        return cls(name, lr, warmup, total, own, str(arguments.given.get("metric", "eval_loss")))

    def schedule(self) -> Node:
        build, _ = SCHEDULERS[self.name]
        found = build(self)
        self.options.done()
        return found

    def building(self) -> Any:
        """Where schedules are built: after every argument was read."""
        return self.options.building()

    @property
    def left(self) -> int:
        """The counts after the warmup, at least 1 as Transformers has it."""
        return max(1, (self.total or 0) - self.warmup)

    def after_warmup(self, curve: Any) -> Any:
        return warmed(0.0, self.lr, self.warmup, curve)

    def floor(self) -> float:
        """What `min_lr` or `min_lr_rate` says."""
        one, rate = self.options.number("min_lr", None), self.options.number("min_lr_rate", None)
        if (one is None) == (rate is None):
            self.options.fault("min_lr", f"and min_lr_rate are {'both' if one is not None else 'not'} given. Give one")
            return 0.0
        return one if one is not None else product(self.lr, rate)


def _warmup(arguments: Arguments, total: int | None) -> int:
    ways = [key for key in ("num_warmup_steps", "warmup_steps", "warmup_ratio") if key in arguments.given]
    if len(ways) > 1:
        arguments.fault(ways[0], f"and {' and '.join(ways[1:])} say the same thing. Give one of them")
        return 0
    if not ways or ways == ["num_warmup_steps"]:
        return arguments.count("num_warmup_steps", 0)
    (way,) = ways
    size = arguments.number(way, at_least=0)
    if size >= 1 and way == "warmup_steps":
        return int(size)  # as get_warmup_steps does
    if size > 1:
        arguments.fault(way, f"must be a share from 0 to 1, got {size:g}")
        return 0
    if size and total is None:
        arguments.fault(way, "is a share of the run. Give num_training_steps")
        return 0
    return math.ceil((total or 0) * size)


def _constant(source: _Source) -> Node:
    with source.building():
        return Constant(value=source.lr)


def _constant_with_warmup(source: _Source) -> Node:
    with source.building():
        return warmup_constant(peak_value=source.lr, warmup=source.warmup)


def _linear(source: _Source) -> Node:
    with source.building():
        if source.total is not None and source.warmup >= source.total:
            return source.after_warmup(Constant(value=0.0))
        return warmup_linear(peak_value=source.lr, warmup=source.warmup, total=cast(int, source.total))


def _cosine(source: _Source) -> Node:
    return _waves(source, 0.0)


def _cosine_with_min_lr(source: _Source) -> Node:
    return _waves(source, source.floor())


def _waves(source: _Source, end: float) -> Node:
    cycles = source.options.number("num_cycles", 0.5, above=0)
    with source.building():
        if cycles != 0.5:
            curve: Schedule = CosineCycles(init_value=source.lr, end_value=end, duration=source.left, cycles=cycles)
            return source.after_warmup(curve)
        total = cast(int, source.total)
        if source.warmup < total:
            return warmup_cosine(peak_value=source.lr, end_value=end, warmup=source.warmup, total=total)
        return source.after_warmup(Cosine(init_value=source.lr, end_value=end, duration=source.left))


def _cosine_with_restarts(source: _Source) -> Node:
    cycles = source.options.number("num_cycles", 1.0, above=0)
    with source.building():
        curve = CosineRestarts(init_value=source.lr, end_value=0.0, duration=source.left, cycles=cycles)
        return source.after_warmup(curve)


def _polynomial(source: _Source) -> Node:
    end, power = source.options.number("lr_end", 1e-7), source.options.number("power", 1.0, above=0)
    if end >= source.lr:
        source.options.fault("lr_end", f"must be below the learning rate ({source.lr:g}), got {end:g}")
    if source.warmup == source.total:
        source.options.fault("num_warmup_steps", "leaves nothing to decay: Transformers divides by 0 there")
    with source.building():
        if source.total is not None and source.warmup > source.total:
            return source.after_warmup(Constant(value=end))
        return source.after_warmup(Polynomial(init_value=source.lr, end_value=end, duration=source.left, power=power))


def _inverse_sqrt(source: _Source) -> Node:
    timescale = source.options.count("timescale", source.warmup or 10_000, at_least=1)
    with source.building():
        return source.after_warmup(InverseSqrt(init_value=source.lr, timescale=timescale))


def _cosine_warmup_with_min_lr(source: _Source) -> Node:
    """One step ahead of the others: at the peak one count before the end of its warmup."""
    end, cycles = source.floor(), source.options.number("num_cycles", 0.5, above=0)
    rate = source.options.number("warmup_lr_rate", None)
    with source.building():
        curve: Any = (
            Cosine(init_value=source.lr, end_value=end, duration=source.left)
            if cycles == 0.5
            else CosineCycles(init_value=source.lr, end_value=end, duration=source.left, cycles=cycles)
        )
        if source.warmup == 0:
            return Advance(schedule=curve, by=1)
        if source.warmup == 1:
            first = None if rate is None else Constant(value=product(source.lr, rate))
            return curve if first is None else first.then(Advance(schedule=curve, by=1), at=1)
        first = quotient(source.lr, source.warmup) if rate is None else product(source.lr, rate)
        return warmed(first, source.lr, source.warmup - 1, curve)


_RISES: dict[str, Callable[..., Schedule]] = {
    "linear": Linear,
    "cosine": Cosine,
    "1-sqrt": partial(Polynomial, power=0.5),
}
_FALLS: dict[str, Callable[..., Schedule]] = {
    "linear": Linear,
    "cosine": Cosine,
    "1-sqrt": partial(PowerRamp, power=0.5),
}


def _warmup_stable_decay(source: _Source) -> Node:
    options, lr = source.options, source.lr
    decay, stable = options.count("num_decay_steps"), options.count("num_stable_steps", None)
    rise = options.choice("warmup_type", tuple(_RISES), "linear")
    fall = options.choice("decay_type", tuple(_FALLS), "cosine")
    low, cycles = product(lr, options.number("min_lr_ratio", 0.0)), options.number("num_cycles", 0.5, above=0)
    if stable is None and source.total is None:
        options.fault("num_stable_steps", "and num_training_steps are both missing. Give one")
    stable = stable if stable is not None else (source.total or source.warmup + decay) - source.warmup - decay
    if stable < 0:
        options.fault("num_decay_steps", f"and the warmup are longer than the run ({source.total}), got {decay}")
    with source.building():
        make = _FALLS[fall]
        if fall == "cosine" and cycles != 0.5:
            make = partial(CosineCycles, cycles=cycles)
        curve: Any = Constant(value=low)
        if decay:
            curve = make(init_value=lr, end_value=low, duration=decay)
            if make is not _FALLS[fall]:
                curve = curve.then(low, at=decay)  # whatever the waves have come to
        if stable:
            curve = Constant(value=lr).then(curve, at=stable)
        if not source.warmup:
            return curve
        return _RISES[rise](init_value=low, end_value=lr, duration=source.warmup).then(curve, at=source.warmup)


def _reduce_lr_on_plateau(source: _Source) -> Node:
    return _controller(source, Plateau, _PLATEAU, {})


def _greedy(source: _Source) -> Node:
    return _controller(source, Greedy, _GREEDY, {"max_value": 1.0})


def _controller(source: _Source, make: Callable[..., Node], names: Mapping[str, str], defaults: dict[str, Any]) -> Node:
    given = {names[key]: value for key, value in source.options.given.items() if names.get(key)}
    for key in ("min_lr", "max_lr"):
        if isinstance(given.get(names.get(key, "")), (list, tuple)):
            source.options.fault(key, "is one for each param group. Convert each group by itself, with its own")
    with source.building():
        return make(metric=source.metric, init_value=source.lr, on_nan="bad", **{**defaults, **given})


SCHEDULERS: dict[str, tuple[Callable[[_Source], Node], tuple[str, ...]]] = {
    "linear": (_linear, ()),
    "cosine": (_cosine, ("num_cycles",)),
    "cosine_with_restarts": (_cosine_with_restarts, ("num_cycles",)),
    "polynomial": (_polynomial, ("lr_end", "power")),
    "constant": (_constant, ()),
    "constant_with_warmup": (_constant_with_warmup, ()),
    "inverse_sqrt": (_inverse_sqrt, ("timescale",)),
    "reduce_lr_on_plateau": (_reduce_lr_on_plateau, tuple(_PLATEAU)),
    "cosine_with_min_lr": (_cosine_with_min_lr, ("num_cycles", "min_lr", "min_lr_rate")),
    "cosine_warmup_with_min_lr": (
        _cosine_warmup_with_min_lr,
        ("num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"),
    ),
    "warmup_stable_decay": (
        _warmup_stable_decay,
        ("num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"),
    ),
    "greedy": (_greedy, tuple(_GREEDY)),
}
"""Every name of Transformers' `SchedulerType`, with the options of its own."""

_TIMED = frozenset({"linear", "cosine", "cosine_with_restarts", "polynomial", "cosine_with_min_lr"})
_TIMED |= {"cosine_warmup_with_min_lr"}
_WITHOUT_WARMUP = frozenset({"constant", "reduce_lr_on_plateau", "greedy"})

_LAMBDAS = {
    "_get_constant_schedule_with_warmup_lr_lambda": "constant_with_warmup",
    "_get_linear_schedule_with_warmup_lr_lambda": "linear",
    "_get_cosine_schedule_with_warmup_lr_lambda": "cosine",
    "_get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda": "cosine_with_restarts",
    "_get_polynomial_decay_schedule_with_warmup_lr_lambda": "polynomial",
    "_get_inverse_sqrt_schedule_lr_lambda": "inverse_sqrt",
    "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda": "cosine_warmup_with_min_lr",
    "_get_wsd_scheduler_lambda": "warmup_stable_decay",
}
"""The functions that Transformers gives to `LambdaLR`, each a `partial` that holds its arguments."""


def read_lambda(function: Any, base: float) -> Any:
    """`base` times one of Transformers' own functions, as a schedule; None if it is not one of them."""
    inner = function.func if isinstance(function, partial) else function
    name = getattr(cast(Any, inner), "__name__", "")
    if getattr(cast(Any, inner), "__module__", "") != "transformers.optimization":
        return None
    if name == "_get_constant_lambda":
        return Constant(value=base)
    if name not in _LAMBDAS or not isinstance(function, partial) or function.args:
        return None
    given = dict(cast("partial[Any]", function).keywords)
    warmup, total = given.pop("num_warmup_steps", None), given.pop("num_training_steps", None)
    kind = _LAMBDAS[name]
    if "min_lr_rate" in given and kind == "cosine":
        kind = "cosine_with_min_lr"
    if kind == "polynomial":
        given["lr_end"] = product(given["lr_end"], quotient(base, given.pop("lr_init")))
    return from_transformers(
        kind, learning_rate=base, num_training_steps=total, num_warmup_steps=warmup, scheduler_specific_kwargs=given
    )
