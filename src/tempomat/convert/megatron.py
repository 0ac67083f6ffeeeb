"""Megatron-LM's arguments: the command line, or the namespace that it becomes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from tempomat.convert.arguments import Arguments, command_line, exact, names_of
from tempomat.convert.pieces import warmed
from tempomat.core import (
    Clip,
    Constant,
    ConversionError,
    Cosine,
    InverseSqrt,
    Linear,
    Unit,
    batch_ramp,
    warmup_constant,
    warmup_cosine,
    warmup_linear,
    warmup_stable_decay,
)
from tempomat.core.errors import did_you_mean, shown
from tempomat.plan import Plan

_SHAPES: dict[str, Any] = {
    "exponential": "exponential",
    "linear": "linear",
    "cosine": "cosine",
    "minus_sqrt": "one_minus_sqrt",
}
_STYLES = ("constant", "linear", "cosine", "inverse-square-root", "WSD")
_READ = (
    "lr", "min_lr", "lr_decay_style", "lr_warmup_init", "lr_warmup_fraction", "lr_wsd_decay_style",
    "train_iters", "lr_decay_iters", "lr_warmup_iters", "lr_wsd_decay_iters",
    "train_samples", "lr_decay_samples", "lr_warmup_samples", "lr_wsd_decay_samples",
    "weight_decay", "start_weight_decay", "end_weight_decay", "weight_decay_incr_style",
    "global_batch_size", "rampup_batch_size",
)  # fmt: skip
_REFUSED = {
    "decoupled_lr": "gives the embedding and output layers a learning rate of their own. Convert it alone with lr= set "
    "to it, as the entry of that param group",
    "decoupled_min_lr": "belongs to decoupled_lr, which is converted alone",
}
_LISTS = ("rampup_batch_size",)
_PREFIXES = ("lr_", "weight_decay_", "start_weight", "end_weight", "rampup_")


def from_megatron(args: Any) -> Plan:
    """The plan of a Megatron-LM run: `lr`, `weight_decay`, and `batch_size` where it ramps up.

    With `--train-iters` the clock is optimizer steps, Megatron's iterations. With `--train-samples` it is samples, as
    in Megatron, which with a batch size that ramps up is another curve over the iterations.

    Args:
        args: the command line, as text or as a list of words; or the namespace or a mapping of it. Of hundreds of
            arguments only those of the schedules are read; what is left out has Megatron's default.

    Raises:
        ConversionError: every fault at once: iterations and samples mixed, a warmup of no whole number of counts, a
            learning rate for layers of their own.

    Source:
        Megatron-LM, `megatron/core/optimizer_param_scheduler.py`, `megatron/training/training.py` and
        `megatron/core/num_microbatches_calculator.py`.

    Example:
        >>> plan = from_megatron("--lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --train-iters 1000 "
        ...                      "--lr-warmup-iters 100")
        >>> plan["lr"](50), plan["lr"](100), plan["lr"](1_000), plan["weight_decay"](0)
        (0.00015, 0.0003, 3e-05, 0.01)
    """
    given = command_line(shlex.split(args), _LISTS) if isinstance(args, str) else None
    if given is None:
        given = names_of(args) if not isinstance(args, Sequence) else command_line([str(word) for word in args], _LISTS)
    if given is None:
        raise ConversionError(f"megatron: needs the command line or the namespace, got {shown(args)}")
    a = Arguments("megatron", given)
    for key, value in given.items():
        if key in _REFUSED and value is not None:
            a.fault(_flag(key), _REFUSED[key])
        elif key.startswith(_PREFIXES) and key not in _READ:
            a.fault(_flag(key), f"no argument of Megatron's schedules.{did_you_mean(key, _READ).replace('_', '-')}")
    whole = _Megatron(a)
    return whole.plan()


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


class _Megatron:
    """The arguments read, in counts of the run's clock."""

    def __init__(self, a: Arguments) -> None:
        self.a = a
        self.peak, self.floor = a.number("lr"), a.number("min_lr", 0.0, at_least=0)
        self.first = a.number("lr_warmup_init", 0.0)
        samples = a.given.get("train_samples") is not None
        self.clock, self.word = (Unit.SAMPLES, "samples") if samples else (Unit.OPTIMIZER_STEPS, "iters")
        self._one_clock("iters" if samples else "samples")
        self.total = a.count(f"train_{self.word}", at_least=1)
        self.end = a.count(f"lr_decay_{self.word}", self.total, at_least=1)
        self.warmup = self._warmup()
        if self.warmup >= self.end and not a.faults:
            a.fault(f"lr_warmup_{self.word}", f"must be less than the decay ({self.end}), got {self.warmup}")

    def _one_clock(self, other: str) -> None:
        """Megatron refuses to count both."""
        for key in (f"train_{other}", f"lr_decay_{other}", f"lr_warmup_{other}", f"lr_wsd_decay_{other}"):
            if self.a.given.get(key) not in (None, 0, "0"):
                self.a.fault(_flag(key), f"does not go with --train-{self.word}: give everything in {self.word}")

    def _warmup(self) -> int:
        fraction, counts = self.a.number("lr_warmup_fraction", None), self.a.count(f"lr_warmup_{self.word}", 0)
        if fraction is None:
            return counts
        if counts:
            self.a.fault("--lr-warmup-fraction", f"does not go with --lr-warmup-{self.word}")
        fix = f"Give --lr-warmup-{self.word} instead"
        return self.a.whole("--lr-warmup-fraction", exact(fraction) * self.end, self.word, fix)

    def plan(self) -> Plan:
        lr, weight_decay, batch_size = self._lr(), self._weight_decay(), self._batch_size()
        self.a.done()
        with self.a.building():
            entries = {"lr": lr(), "weight_decay": weight_decay()}
            return Plan(
                entries | ({"batch_size": batch_size()} if batch_size else {}), total=self.total, clock=self.clock
            )

    def _lr(self) -> Any:
        a = self.a
        style = a.choice("lr_decay_style", _STYLES, "linear")
        ends = {"peak_value": self.peak, "init_value": self.first, "warmup": self.warmup}
        if style == "constant":
            return lambda: warmup_constant(**ends)
        if self.floor > self.peak:
            a.fault("min_lr", f"must not be above lr ({self.peak:g}), got {self.floor:g}")
        ends |= {"end_value": self.floor, "total": self.end}
        if style == "inverse-square-root":
            return self._inverse_sqrt()
        if style == "WSD":
            shape = a.choice("lr_wsd_decay_style", tuple(_SHAPES), "exponential")
            decay = a.count(f"lr_wsd_decay_{self.word}", at_least=1)
            return lambda: warmup_stable_decay(**ends, decay=decay, shape=_SHAPES[shape])
        recipe: Any = warmup_linear if style == "linear" else warmup_cosine
        return lambda: recipe(**ends)

    def _inverse_sqrt(self) -> Any:
        """It falls from the warmup on, not below the floor, and drops to the floor behind the end of the decay."""
        first, warmup = self.peak, self.warmup
        if warmup == 0 and self.clock == Unit.OPTIMIZER_STEPS:
            # Megatron counts samples inside: without a warmup the second iteration is that many samples in
            first = self.peak / self.a.number("global_batch_size", above=0) ** 0.5

        def build() -> Any:
            curve: Any = InverseSqrt(init_value=first, timescale=max(warmup, 1))
            curve = Clip(schedule=curve, min=self.floor) if self.floor > 0.0 else curve
            # nothing is divided by the count 0, which has the peak
            curve = curve if warmup else Constant(value=self.peak).then(curve, at=1)
            whole = curve.then(Constant(value=self.floor), at=self.end - warmup + 1)
            return warmed(self.first, self.peak, warmup, whole)

        return build

    def _weight_decay(self) -> Any:
        a = self.a
        style = a.choice("weight_decay_incr_style", ("constant", "linear", "cosine"), "constant")
        both = a.number("weight_decay", 0.01)
        if style == "constant":
            for key in ("start_weight_decay", "end_weight_decay"):
                if a.given.get(key) is not None and a.number(key) != both:
                    a.fault(_flag(key), "goes with --weight-decay-incr-style linear or cosine")
            return lambda: Constant(value=both)
        first, last = a.number("start_weight_decay", at_least=0), a.number("end_weight_decay", at_least=0)
        if last < first:
            a.fault("--end-weight-decay", f"must not be below --start-weight-decay ({first:g}), got {last:g}")
        shape: Any = Linear if style == "linear" else Cosine
        return lambda: shape(init_value=first, end_value=last, duration=self.total)

    def _batch_size(self) -> Any:
        a = self.a
        if a.given.get("rampup_batch_size") is None:
            return None
        ramp, last = a.numbers("rampup_batch_size"), a.count("global_batch_size", at_least=1)
        if self.clock != Unit.SAMPLES:
            a.fault("--rampup-batch-size", "goes with --train-samples, as in Megatron")
        if len(ramp) != 3:
            a.fault(
                "--rampup-batch-size", f"takes the first size, the increment and the samples, got {len(ramp)} numbers"
            )
            return None
        return lambda: batch_ramp(init_value=ramp[0], end_value=last, increment=ramp[1], duration=int(ramp[2]))
