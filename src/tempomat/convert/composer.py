"""Composer's schedulers, with its time strings: `10ep`, `500ba`, `1000sp`, `2000tok`, `0.3dur`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tempomat.convert.arguments import Arguments, product, tied
from tempomat.convert.pieces import drops, warmed
from tempomat.core import (
    Constant,
    ConversionError,
    Cosine,
    Exponential,
    Linear,
    PiecewiseConstant,
    Polynomial,
    StepDecay,
    Unit,
    WarmRestarts,
    warmup_cosine,
    warmup_linear,
)
from tempomat.core.errors import did_you_mean, shown

_TIME = re.compile(r"\s*(?P<number>[0-9][0-9_]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*(?P<unit>[a-z]+)\s*", re.ASCII)
_UNITS = {"ba": Unit.OPTIMIZER_STEPS, "sp": Unit.SAMPLES, "tok": Unit.TOKENS, "sec": Unit.SECONDS}
_RUN = ("lr", "max_duration", "steps_per_epoch", "scale_schedule_ratio")


class _Time(NamedTuple):
    """A length in counts of a unit."""

    unit: Unit
    count: int


def from_composer(
    name: str,
    *,
    lr: float,
    max_duration: str | None = None,
    steps_per_epoch: int | None = None,
    scale_schedule_ratio: float = 1.0,
    **kwargs: Any,
) -> Any:
    """The schedule of a Composer scheduler: its multiplier times `lr`.

    Each time string chooses its clock: `ep` and `ba` count optimizer steps (Composer's batches; it turns epochs into
    batches too), `sp` samples, `tok` tokens, `sec` seconds; `dur` is a share of `max_duration`, in the unit of that.
    Lengths are cut to whole counts as Composer does.

    Args:
        name: the class, such as `CosineAnnealingWithWarmupScheduler`; `Scheduler` may be left out.
        lr: the learning rate of the optimizer.
        max_duration: the run's length, for `dur`, which is the default of most.
        steps_per_epoch: the batches in an epoch, for `ep`.
        scale_schedule_ratio: the trainer's argument of that name; it stretches everything but `dur` and warmups.
        kwargs: the scheduler's own arguments: `t_max`, `t_warmup`, `alpha_f`, `milestones`, ...

    Raises:
        ConversionError: every fault at once: an unknown class or argument, no `max_duration` for a `dur`, no
            `steps_per_epoch` for an `ep`, `iter`, warmup and decay in different units.

    Source:
        Composer 0.32, `composer/optim/scheduler.py`.

    Example:
        >>> lr = from_composer("CosineAnnealingWithWarmupScheduler", lr=1e-3, t_warmup="100ba", max_duration="1000ba")
        >>> lr(50), lr(100), lr(1_000)
        (0.0005, 0.001, 0.0)
    """
    full = name if name.endswith("Scheduler") else f"{name}Scheduler"
    if full not in _READERS:
        raise ConversionError(
            f"composer: {shown(name)} is no scheduler of Composer.{did_you_mean(full, _READERS)} A function of your "
            f"own cannot be read; there are {', '.join(_READERS)}"
        )
    known, reader = _READERS[full]
    run = {"lr": lr, "max_duration": max_duration, "steps_per_epoch": steps_per_epoch,
           "scale_schedule_ratio": scale_schedule_ratio}  # fmt: skip
    return reader(_Composer(Arguments(f"composer {full}", {**kwargs, **run}, (*known, *_RUN))))


def run_length(max_duration: str, steps_per_epoch: int | None = None) -> tuple[Unit, int] | None:
    """A run's length in the unit that schedules of it count; None for epochs of an unknown number of steps."""
    read = _Composer(Arguments("composer", {"lr": 1.0, "steps_per_epoch": steps_per_epoch}))
    length = read.time("max_duration", text=max_duration)
    return None if read.a.faults else (length.unit, length.count)


class _Composer:
    """The arguments, and what the run knows."""

    def __init__(self, a: Arguments) -> None:
        self.a, self.lr = a, a.number("lr")
        self.epoch = a.count("steps_per_epoch", None, at_least=1)
        self.ratio = Fraction(str(a.number("scale_schedule_ratio", 1.0, above=0)))
        self.end: Any = product(self.lr, a.number("alpha_f", 0.0))

    def time(self, key: str, default: str | None = None, *, text: Any = None, scaled: bool = True) -> _Time:
        """A time string as a count."""
        text = self.a.given.get(key, default) if text is None else text
        if text is None:
            self.a.fault(key, "is missing")
            return _Time(Unit.OPTIMIZER_STEPS, 1)
        number, unit = self._parsed(key, text)
        if unit == "dur":
            return self._share(key, number)
        count, unit = self._counted(key, number, unit)
        return _Time(unit, int(count * self.ratio) if scaled else int(count))

    def _parsed(self, key: str, text: Any) -> tuple[Fraction, str]:
        match = _TIME.fullmatch(str(text))
        if match is None or match["unit"] not in (*_UNITS, "ep", "dur"):
            why = "iterations are groups of batches that only Composer knows" if str(text).endswith("iter") else (
                "must be a time string such as 10ep, 500ba, 1000sp, 2000tok, 60sec or 0.3dur")  # fmt: skip
            self.a.fault(key, f"{why}, got {shown(text)}")
            return Fraction(1), "ba"
        return Fraction(match["number"].replace("_", "")), match["unit"]

    def _counted(self, key: str, number: Fraction, unit: str) -> tuple[Fraction, Unit]:
        if unit != "ep":
            return number, _UNITS[unit]
        if self.epoch is None:
            self.a.fault(key, "is in epochs, which Composer counts in batches. Give steps_per_epoch=")
        return number * (self.epoch or 1), Unit.OPTIMIZER_STEPS

    def _share(self, key: str, share: Fraction) -> _Time:
        whole = self.a.given.get("max_duration")
        if whole is None:
            self.a.fault(key, "is a share of the run, whose length is missing. Give max_duration=")
            return _Time(Unit.OPTIMIZER_STEPS, 1)
        number, unit = self._parsed("max_duration", whole)
        if unit == "dur":
            self.a.fault("max_duration", f"cannot be a share of itself, got {shown(whole)}")
            return _Time(Unit.OPTIMIZER_STEPS, 1)
        count, counted = self._counted("max_duration", number, unit)
        return _Time(counted, int(share * count))

    def warmup_and_end(self) -> tuple[_Time, _Time]:
        """The two lengths of a scheduler with warmup, in one unit, the second behind the first."""
        warmup = self.time("t_warmup", scaled=self.a.flag("scale_warmup"))
        end = self.time("t_max", "1dur")
        if warmup.unit != end.unit and not self.a.faults:
            self.a.fault("t_warmup", f"counts {warmup.unit} and t_max {end.unit}; Composer needs one unit for both")
        elif end.count <= warmup.count and not self.a.faults:
            self.a.fault("t_max", f"must be longer than the warmup ({warmup.count}), got {end.count}")
        return warmup, end


def _step(c: _Composer) -> Any:
    every, factor = c.time("step_size"), c.a.number("gamma", 0.1)
    with c.a.building(every="step_size", factor="gamma"):
        return tied(every.unit, StepDecay(init_value=c.lr, factor=factor, every=every.count))


def _milestones(c: _Composer) -> list[_Time]:
    return [c.time(f"milestones[{place}]", text=one) for place, one in enumerate(c.a.items("milestones"))]


def _multistep(c: _Composer) -> Any:
    times, factor = _milestones(c), c.a.number("gamma", 0.1)
    with c.a.building():
        units = list(dict.fromkeys(one.unit for one in times)) or [Unit.OPTIMIZER_STEPS]
        whole: Any = None
        for unit in units:
            first = c.lr if whole is None else 1.0
            part = tied(unit, drops(first, factor, [one.count for one in times if one.unit == unit]))
            whole = part if whole is None else whole * part
        return whole


def _multistep_with_warmup(c: _Composer) -> Any:
    warmup, times = c.time("t_warmup", scaled=c.a.flag("scale_warmup")), _milestones(c)
    factor = c.a.number("gamma", 0.1)
    if any(one.unit != warmup.unit for one in times) and not c.a.faults:
        c.a.fault("milestones", f"must be in the unit of the warmup ({warmup.unit})")
    with c.a.building():
        after = drops(c.lr, factor, [one.count - warmup.count for one in times])
        return tied(warmup.unit, warmed(0.0, c.lr, warmup.count, after))


def _constant(c: _Composer) -> Any:
    alpha, end = c.a.number("alpha", 1.0), c.time("t_max", "1dur") if c.a.given.get("alpha", 1.0) != 1.0 else None
    with c.a.building():
        if end is None:
            return Constant(value=c.lr)
        return tied(end.unit, PiecewiseConstant(values=(product(c.lr, alpha), c.lr), boundaries=(end.count,)))


def _linear(c: _Composer) -> Any:
    first, end = c.a.number("alpha_i", 1.0), c.time("t_max", "1dur")
    with c.a.building(duration="t_max"):
        return tied(end.unit, Linear(init_value=product(c.lr, first), end_value=c.end, duration=end.count))


def _exponential(c: _Composer) -> Any:
    factor, every = c.a.number("gamma"), c.time("decay_period", "1ep")
    with c.a.building(every="decay_period", decay_rate="gamma"):
        return tied(every.unit, Exponential(init_value=c.lr, decay_rate=factor, every=every.count))


def _cosine(c: _Composer) -> Any:
    end = c.time("t_max", "1dur")
    with c.a.building(duration="t_max"):
        return tied(end.unit, Cosine(init_value=c.lr, end_value=c.end, duration=end.count))


def _restarts(c: _Composer) -> Any:
    cycle, longer = c.time("t_0"), c.a.number("t_mult", 1.0)
    if not float(longer).is_integer():
        c.a.fault(
            "t_mult", f"must be a whole number: Composer cuts each cycle to whole counts after it, got {longer:g}"
        )
    with c.a.building():
        return tied(cycle.unit, WarmRestarts(
            init_value=c.lr, end_value=c.end, cycle=cycle.count, cycle_factor=longer
        ))  # fmt: skip


def _polynomial(c: _Composer) -> Any:
    power, end = c.a.number("power"), c.time("t_max", "1dur")
    with c.a.building(duration="t_max"):
        ends = {"init_value": c.lr, "end_value": c.end, "duration": end.count}
        return tied(end.unit, Polynomial(**ends, power=power))


def _constant_with_warmup(c: _Composer) -> Any:
    value = product(c.lr, c.a.number("alpha", 1.0))
    warmup = c.time("t_warmup", scaled=c.a.flag("scale_warmup"))
    with c.a.building():
        return tied(warmup.unit, warmed(0.0, value, warmup.count, Constant(value=value)))


def _linear_with_warmup(c: _Composer) -> Any:
    first = product(c.lr, c.a.number("alpha_i", 1.0))
    warmup, end = c.warmup_and_end()
    with c.a.building():
        ends = {"peak_value": first, "end_value": c.end}
        return tied(end.unit, warmup_linear(**ends, warmup=warmup.count, total=end.count))


def _cosine_with_warmup(c: _Composer) -> Any:
    warmup, end = c.warmup_and_end()
    with c.a.building():
        ends = {"peak_value": c.lr, "end_value": c.end}
        return tied(end.unit, warmup_cosine(**ends, warmup=warmup.count, total=end.count))


def _polynomial_with_warmup(c: _Composer) -> Any:
    power = c.a.number("power", 2.0)
    warmup, end = c.warmup_and_end()
    with c.a.building():
        length = end.count - warmup.count
        after = Polynomial(init_value=c.lr, end_value=c.end, duration=length, power=power)
        return tied(end.unit, warmed(0.0, c.lr, warmup.count, after))


_WARM = ("t_warmup", "t_max", "alpha_f", "scale_warmup")
_READERS: Mapping[str, tuple[tuple[str, ...], Callable[[_Composer], Any]]] = {
    "StepScheduler": (("step_size", "gamma"), _step),
    "MultiStepScheduler": (("milestones", "gamma"), _multistep),
    "ConstantScheduler": (("alpha", "t_max"), _constant),
    "LinearScheduler": (("alpha_i", "alpha_f", "t_max"), _linear),
    "ExponentialScheduler": (("gamma", "decay_period"), _exponential),
    "CosineAnnealingScheduler": (("t_max", "alpha_f"), _cosine),
    "CosineAnnealingWarmRestartsScheduler": (("t_0", "t_mult", "alpha_f"), _restarts),
    "PolynomialScheduler": (("power", "t_max", "alpha_f"), _polynomial),
    "MultiStepWithWarmupScheduler": (("t_warmup", "milestones", "gamma", "scale_warmup"), _multistep_with_warmup),
    "ConstantWithWarmupScheduler": (("t_warmup", "alpha", "t_max", "scale_warmup"), _constant_with_warmup),
    "LinearWithWarmupScheduler": ((*_WARM, "alpha_i"), _linear_with_warmup),
    "CosineAnnealingWithWarmupScheduler": (_WARM, _cosine_with_warmup),
    "PolynomialWithWarmupScheduler": ((*_WARM, "power"), _polynomial_with_warmup),
}
