"""timm's schedules: the arguments of `create_scheduler_v2`, or those of the training script."""

from __future__ import annotations

import math
import shlex
from fractions import Fraction
from typing import Any

from tempomat.convert.arguments import Arguments, command_line, exact, names_of, product, quotient, tied
from tempomat.convert.pieces import drops, warmed
from tempomat.core import (
    Advance,
    Clip,
    Constant,
    ConversionError,
    Cosine,
    Geometric,
    InverseSqrt,
    Linear,
    Plateau,
    Polynomial,
    PowerRamp,
    Schedule,
    StepDecay,
    Tanh,
    Unit,
    WarmRestarts,
    warmup_stable_decay,
)
from tempomat.core.errors import did_you_mean, shown
from tempomat.core.fields import MAX_PARTS

_SCHEDS = ("cosine", "tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant", "plateau", "none")
_DECAYS = ("linear", "1-sqrt", "cosine", "power", "exp")
_RECIPE: dict[str, Any] = {
    "linear": "linear",
    "cosine": "cosine",
    "1-sqrt": "one_minus_sqrt",
    "power": "one_minus_sqrt",
}
_EXP_END = 0.1  # the share of the stable value that timm's `exp` falls to before it is stretched to reach the minimum

_FACTORY: dict[str, Any] = {
    "num_epochs": 300, "decay_epochs": None, "decay_milestones": (90, 180, 270), "cooldown_epochs": 0,
    "patience_epochs": 10, "decay_rate": 0.1, "min_lr": 0.0, "warmup_lr": 1e-5, "warmup_epochs": 0,
    "warmup_prefix": False, "noise": None, "noise_pct": 0.67, "noise_std": 1.0, "noise_seed": 42, "cycle_mul": 1.0,
    "cycle_decay": 0.1, "cycle_limit": 1, "k_decay": 1.0, "decay_fn": None, "stable_timescale": None,
    "plateau_mode": "max", "step_on_epochs": True, "updates_per_epoch": 0,
}  # fmt: skip
_SCRIPT: dict[str, tuple[str, Any]] = {
    "epochs": ("num_epochs", 100), "decay_epochs": ("decay_epochs", 30),
    "decay_milestones": ("decay_milestones", (30, 60)),
    "warmup_epochs": ("warmup_epochs", 5), "cooldown_epochs": ("cooldown_epochs", 0),
    "patience_epochs": ("patience_epochs", 10), "decay_rate": ("decay_rate", 0.1), "min_lr": ("min_lr", 0.0),
    "warmup_lr": ("warmup_lr", 1e-5), "warmup_prefix": ("warmup_prefix", False), "lr_noise": ("noise", None),
    "lr_noise_pct": ("noise_pct", 0.67), "lr_noise_std": ("noise_std", 1.0), "seed": ("noise_seed", 42),
    "lr_cycle_mul": ("cycle_mul", 1.0), "lr_cycle_decay": ("cycle_decay", 0.1), "lr_cycle_limit": ("cycle_limit", 1),
    "lr_k_decay": ("k_decay", 1.0), "lr_decay_fn": ("decay_fn", None),
    "lr_stable_timescale": ("stable_timescale", None),
}  # fmt: skip
_COMMAND: dict[str, Any] = {
    "epochs": 300, "decay_epochs": 90, "decay_milestones": (90, 180, 270), "lr_cycle_decay": 0.5,
}  # fmt: skip
"""Where the training script's own defaults are not those of the library for a namespace without the attribute."""
_OTHER = ("lr", "lr_base", "lr_base_size", "lr_base_scale", "sched", "sched_on_updates")
_PREFIXES = ("lr_", "min_", "sched", "decay_", "warmup_", "cooldown_", "patience_")


def from_timm(args: Any, *, lr: float | None = None, updates_per_epoch: int | None = None) -> Any:
    """The schedule of a timm training run.

    It counts epochs, tied to their clock, unless timm stepped on updates: then it counts optimizer steps. The
    multipliers that timm's layer decay puts on param groups (`lr_scale`) stay with the optimizer.

    Args:
        args: the keyword arguments of `timm.scheduler.create_scheduler_v2`, or the training script's namespace or
            `args.yaml` (which says `epochs`, `lr_cycle_mul`, `sched_on_updates`), or its command line as text, of which
            only what concerns the learning rate is read. What is left out has timm's default for that way of calling
            it.
        lr: the peak, which timm reads from the optimizer; None for the `lr` in `args`.
        updates_per_epoch: the optimizer's steps in an epoch; needed where timm stepped on updates.

    Returns:
        A schedule; for `plateau` a tree with a controller, which hears the script's `eval_metric`.

    Raises:
        ConversionError: every fault at once: noise, which timm draws from torch's generator; a misspelt argument; no
            `lr`; a length that is no whole number of counts.

    Source:
        timm 1.0.31, `timm/scheduler`.

    Example:
        >>> lr = from_timm({"sched": "cosine", "num_epochs": 100, "warmup_epochs": 5}, lr=1e-3)
        >>> lr(0), lr(50), lr(100)
        (1e-05, 0.0005, 0.0)
    """
    return _read(args, lr, updates_per_epoch).schedule()


def run_length(args: Any, *, lr: float | None = None, updates_per_epoch: int | None = None) -> tuple[Unit, int]:
    """How long timm trains, in what its schedule counts: the epochs, with cycles, cooldown and a warmup before them.

    Raises:
        ConversionError: as `from_timm`.
    """
    read = _read(args, lr, updates_per_epoch)
    length = read.length()
    read.a.done()
    return read.clock, length


def _read(args: Any, lr: float | None, updates_per_epoch: int | None) -> _Timm:
    words = shlex.split(args) if isinstance(args, str) else None
    given = names_of(args) if words is None else _COMMAND | command_line(words, ("decay_milestones", "lr_noise"))
    if given is None or (words is not None and "--" not in args):
        raise ConversionError(
            f"timm: needs the arguments as a mapping, a namespace or a command line, got {shown(args)}"
        )
    a, metric = _arguments(given)
    if updates_per_epoch is not None:
        a.given["updates_per_epoch"] = updates_per_epoch
    if lr is not None:
        a.given["lr"] = lr
    if a.given.get("lr") is None:
        a.fault("lr", "is missing: timm reads the peak from the optimizer. Give lr=")
        a.given["lr"] = 1.0
    return _Timm(a, metric)


def _arguments(given: dict[str, Any]) -> tuple[Arguments, str]:
    """The factory's arguments, from either vocabulary, and the metric's name."""
    if "epochs" not in given:
        a = Arguments("timm", given, ("sched", "lr", *_FACTORY))
        a.given = {**_FACTORY, **{key: value for key, value in a.given.items() if value is not None}}
        return a, "eval_metric"
    a = Arguments("timm", dict(_SCRIPT.values()))
    for key in given:
        if key.startswith(_PREFIXES) and key not in _SCRIPT and key not in _OTHER:
            names = (*_OTHER, *_SCRIPT)
            a.fault(
                key, f"no argument of timm's training script.{did_you_mean(key, names)} Those are {', '.join(names)}"
            )
    a.given |= {name: given[key] for key, (name, _) in _SCRIPT.items() if given.get(key) is not None}
    metric = str(given.get("eval_metric", "top1"))
    a.given |= {key: given.get(key) for key in ("sched", "lr", "updates_per_epoch")}
    a.given |= {
        "step_on_epochs": not given.get("sched_on_updates", False),
        "plateau_mode": "min" if "loss" in metric else "max",
    }
    return a, metric


class _Timm:
    """The arguments read, in counts of what timm steps on."""

    def __init__(self, a: Arguments, metric: str) -> None:
        self.a, self.metric = a, metric
        self.sched = a.choice("sched", _SCHEDS, "cosine")
        self.peak, self.floor, self.first = a.number("lr"), a.number("min_lr", at_least=0), a.number("warmup_lr")
        self.on_epochs = a.flag("step_on_epochs", True)
        self.scale = 1 if self.on_epochs else a.count("updates_per_epoch", at_least=1)
        self.total, self.warmup = self._counts("num_epochs", 1), self._counts("warmup_epochs", 0)
        self.prefix = a.flag("warmup_prefix")
        if a.given.get("noise") is not None and self.sched != "none":
            a.fault("noise", "is drawn from torch's random generator at every count, which no formula gives. Leave it "
                    "out and multiply by tm.Noise(seed=..., scale=...), which has the same spread")  # fmt: skip

    @property
    def clock(self) -> Unit:
        return Unit.EPOCHS if self.on_epochs else Unit.OPTIMIZER_STEPS

    @property
    def unit(self) -> str:
        return "epochs" if self.on_epochs else "updates"

    def _counts(self, key: str, at_least: int) -> int:
        """A length in epochs as counts of what timm steps on."""
        number = self.a.number(key, at_least=at_least)
        return self.a.whole(key, exact(number) * self.scale, self.unit, "Round it")

    def schedule(self) -> Any:
        build = {"cosine": self._cosine, "poly": self._waves, "tanh": self._waves, "step": self._step,
                 "multistep": self._multistep, "wsd": self._wsd, "rsqrt": self._wsd,
                 "plateau": self._plateau}  # fmt: skip
        if self.sched == "none":
            self.a.done()
            return Constant(value=self.peak)
        whole = build.get(self.sched, self._constant)()
        if self.warmup == 0 and isinstance(whole, Schedule) and whole(0) != self.peak:
            # before its first step timm has set nothing but the peak, whatever its formula says of the count 0
            whole = Constant(value=self.peak).then(Advance(schedule=whole, by=1), at=1)
        return tied(self.clock, whole)

    def length(self) -> int:
        """The run in counts, of updates in whole epochs. timm cools down behind curves alone, not behind stairs."""
        length = self.total
        if self.sched in ("cosine", "tanh", "poly"):
            longer, _, limit = self._cycles()
            length = math.floor(length * sum(exact(longer) ** place for place in range(max(limit, 1))))
        if self.sched in ("cosine", "tanh", "poly", "wsd", "rsqrt"):
            length += self._counts("cooldown_epochs", 0)
        length += self.warmup if self.prefix else 0
        return length - length % self.scale

    def _after_warmup(self, curve: Any) -> Any:
        """A curve behind the warmup, or unless `warmup_prefix`, with the warmup in the place of its beginning."""
        if self.warmup == 0:
            return curve
        advanced = curve if self.prefix or isinstance(curve, Constant) else Advance(schedule=curve, by=self.warmup)
        # only tanh's warmup aims at where the curve is by then
        target = advanced(0) if self.sched == "tanh" and not self.prefix else self.peak
        return warmed(self.first, target, self.warmup, advanced)

    def _cycles(self) -> tuple[float, float, int]:
        a = self.a
        return a.number("cycle_mul", above=0), a.number("cycle_decay", at_least=0), a.count("cycle_limit")

    def _cosine(self) -> Any:
        longer, lower, limit = self._cycles()
        bend = self.a.number("k_decay", above=0)
        if limit <= 1 or bend != 1.0:
            return self._waves()
        if longer < 1.0:
            self.a.fault("cycle_mul", f"must be at least 1 (cycles that shrink end by themselves), got {longer:g}")
        with self.a.building():
            return self._after_warmup(WarmRestarts(
                init_value=self.peak, end_value=self.floor, cycle=self.total, cycle_factor=longer, peak_factor=lower,
                cycles=limit,
            ))  # fmt: skip

    def _waves(self) -> Any:
        """One cycle, or several written out one by one."""
        a = self.a
        longer, lower, limit = self._cycles()
        bend, power = a.number("k_decay", above=0), a.number("decay_rate")
        if limit > MAX_PARTS - 1:
            a.fault("cycle_limit", f"must be at most {MAX_PARTS - 1} here, got {limit}")
        lengths = [exact(longer) ** place * self.total for place in range(min(limit, MAX_PARTS))]
        if any(length.denominator != 1 for length in lengths):
            a.fault("cycle_mul", f"makes cycles of no whole number of {self.unit} ({float(lengths[1]):g}). Choose "
                    "one that does")  # fmt: skip
        with a.building():
            if limit == 0:
                return self._after_warmup(Constant(value=self.floor))
            whole: Any = self._wave(self.peak, int(lengths[0]), bend, power)
            peak = self.peak
            for place, length in enumerate(lengths[1:], start=1):
                peak = product(peak, lower)
                wave = self._wave(peak, int(length), bend, power)
                whole = whole.then(wave, at=int(sum(lengths[:place])))
            # tanh does not arrive at its end by itself; and the floor holds whatever the last peak was
            return self._after_warmup(whole)

    def _wave(self, peak: float, length: int, bend: float, power: float) -> Any:
        ends = {"init_value": peak, "end_value": self.floor, "duration": length}
        if self.sched == "tanh":
            return Tanh(**ends)
        return Cosine(**ends, k_decay=bend) if self.sched == "cosine" else Polynomial(**ends, power=power, k_decay=bend)

    def _step(self) -> Any:
        every, factor = exact(self.a.number("decay_epochs", 90.0, above=0)) * self.scale, self.a.number("decay_rate")
        if every.denominator > MAX_PARTS or every < 1:
            self.a.fault(
                "decay_epochs", f"comes to {float(every):g} {self.unit}; it must be at least 1, with a few digits"
            )
        with self.a.building():
            return self._after_warmup(_steps(self.peak, factor, every))

    def _constant(self) -> Any:
        with self.a.building():
            return self._after_warmup(Constant(value=self.peak))

    def _multistep(self) -> Any:
        listed, factor = self.a.numbers("decay_milestones"), self.a.number("decay_rate")
        if listed != sorted(listed):
            self.a.fault("decay_milestones", "must be sorted: timm searches them by halves")
        # timm compares milestones with the count after the present one, and a fraction is first passed by the next
        behind = 0 if self.prefix else self.warmup
        places = [math.ceil(exact(one) * self.scale) - 1 - behind for one in listed]
        with self.a.building():
            return warmed(self.first, self.peak, self.warmup, drops(self.peak, factor, places))

    def _plateau(self) -> Any:
        a = self.a
        factor, patience = a.number("decay_rate"), a.count("patience_epochs")
        mode: Any = a.choice("plateau_mode", ("min", "max"))
        if not self.on_epochs:
            a.fault("step_on_epochs", "must be true for plateau, as in timm")
        with a.building():
            # timm hands torch the learning rate; a factor here, which starts at 1
            rule = Plateau(metric=self.metric, mode=mode, factor=factor, patience=patience,
                           min_value=quotient(self.floor, self.peak), eps=quotient(1e-8, self.peak))  # fmt: skip
            if self.warmup == 0:
                return Constant(value=self.peak) * rule
            return Linear(init_value=self.first, end_value=self.peak, duration=self.warmup).then(
                Constant(value=self.peak) * rule, at=self.warmup
            )

    def _wsd(self) -> Any:
        a = self.a
        length = self.total if self.prefix else self.total - self.warmup
        decay_epochs = a.number("decay_epochs", 0.2, above=0)
        decay = round(exact(decay_epochs) * (length if decay_epochs < 1 else self.scale))
        shape = a.choice("decay_fn", _DECAYS, "linear" if self.sched == "rsqrt" else "1-sqrt")
        if not 0 < decay <= length:
            a.fault(
                "decay_epochs", f"comes to {decay} of the {length} {self.unit} after the warmup; it must lie within"
            )
        stable: Any = Constant(value=self.peak)
        if self.sched == "rsqrt":
            scale = a.number("stable_timescale", None, above=0)
            scale = (
                self.warmup if scale is None else a.whole("stable_timescale", exact(scale) * self.scale, self.unit, "")
            )
            if scale < 1:
                a.fault("stable_timescale", "is missing: without a warmup rsqrt has no timescale. Give one")
            stable = InverseSqrt(init_value=self.peak, timescale=max(scale, 1))
            stable = Clip(schedule=stable, min=self.floor) if self.floor > 0.0 else stable
        with a.building():
            if self.sched == "wsd" and shape in _RECIPE:
                return warmup_stable_decay(
                    peak_value=self.peak, end_value=self.floor, warmup=self.warmup, decay=decay,
                    total=self.warmup + length, init_value=self.first, shape=_RECIPE[shape],
                )  # fmt: skip
            share = _fall(shape, decay)
            share = share if decay == length else Constant(value=1.0).then(share, at=length - decay)
            whole = stable * share if self.floor == 0.0 else (stable - self.floor) * share + self.floor
            return warmed(self.first, self.peak, self.warmup, whole)


def _fall(shape: str, length: int) -> Any:
    """timm's decay functions, from 1 to 0."""
    ends = {"init_value": 1.0, "end_value": 0.0, "duration": length}
    if shape == "exp":
        return (Geometric(init_value=1.0, end_value=_EXP_END, duration=length) - _EXP_END) * (1.0 / (1.0 - _EXP_END))
    if shape == "linear":
        return Linear(**ends)
    # `power` is called with an exponent of a half by the factory, which is 1-sqrt
    return Cosine(**ends) if shape == "cosine" else PowerRamp(**ends, power=0.5)


def _steps(peak: float, factor: float, every: Fraction) -> Any:
    """A drop at each multiple of a length that may be a fraction: 2.4 counts are 5 drops in 12, again and again.

    timm divides in floating point and can come a count late, at 11 for 5 times 2.2.
    """
    if every.denominator == 1:
        return StepDecay(init_value=peak, factor=factor, every=int(every))
    period, several = every.numerator, every.denominator
    inside = drops(1.0, factor, [math.ceil(every * place) for place in range(1, several)])
    return StepDecay(init_value=peak, factor=product(*[factor] * several), every=period) * inside.repeat(period)
