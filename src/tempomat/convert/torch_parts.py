"""What each class of PyTorch's schedulers says, as schedules: from attributes alone, live or saved, without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, final

from tempomat import core
from tempomat.convert.arguments import product
from tempomat.convert.faults import STAND_IN, Faults
from tempomat.core import (
    Constant,
    ConversionError,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    PiecewiseConstant,
    Polynomial,
    Schedule,
)
from tempomat.core import Sequence as InSequence
from tempomat.core.errors import did_you_mean, shown

FINEST = 10**6
"""The finest share of a count that a phase's end is given: OneCycleLR ends phases between two counts."""

_OURS = "tempomat.convert.lambdas"
"""Where the functions of `to_torch` are; by name, since that module needs PyTorch."""

_ONE_PLACE = {"init_value": "base_lr", "end_value": "end_lr", "duration": "total_iters", "every": "step_size",
              "factor": "gamma", "decay_rate": "gamma", "milestones": "milestones"}  # fmt: skip
_CYCLIC = {"init_value": "base_lr", "peak_value": "max_lr", "up": "step_size_up", "down": "step_size_down"}


@final
@dataclass(frozen=True)
class Part:
    """One of PyTorch's schedulers as data: its class, its attributes, and the schedulers inside it."""

    kind: str
    state: Mapping[str, Any]
    parts: tuple[Part, ...] = ()

    @property
    def count(self) -> int:
        """How often it was stepped. A ChainedScheduler does not count by itself."""
        return self.parts[0].count if self.kind == "ChainedScheduler" else int(self.state["last_epoch"])

    def walk(self) -> list[Part]:
        """This scheduler and all inside it."""
        return [self, *(one for part in self.parts for one in part.walk())]


@final
@dataclass(frozen=True)
class Reader:
    """Reads one param group's schedule.

    Args:
        place: the group's place in the optimizer.
        group: the group's options.
        climbs: whether a CosineAnnealingLR goes up again after its end, as PyTorch's does.
        faults: where what cannot be represented goes.
    """

    place: int
    group: Mapping[str, Any]
    climbs: bool
    faults: Faults

    def base(self, part: Part) -> float:
        return float(part.state["base_lrs"][self.place])

    def value(self, part: Part, path: str = "", *, depth: int = 0, reached: float | None = None) -> Schedule:
        """The learning rate of a scheduler.

        `depth` says in how many SequentialLRs it comes first; `reached` is the value that it goes on from.
        """
        if part.kind == "SequentialLR":
            return self._sequence(part, path, depth)
        if part.kind == "ChainedScheduler":
            return self._chain(part, path, depth)
        if part.kind == "SWALR":
            return self._swa(part, path, reached)
        if part.kind == "MultiplicativeLR" and reached is not None:
            rate = self.constant_factor(part, path)
            return self._leaf(part, path, product(reached, rate))
        return self._leaf(part, path, self.base(part))

    def _leaf(self, part: Part, path: str, base: float) -> Schedule:
        try:
            return _LEAVES[part.kind](self, part, path, base)
        except KeyError as error:
            return self.faults.add(path, f"{part.kind}: the state lacks {error.args[0]}")

    def build(self, path: str, make: Callable[..., Any], names: Mapping[str, str] = _ONE_PLACE, **given: Any) -> Any:
        return self.faults.build(path, make, names, **given)

    def _sequence(self, part: Part, path: str, depth: int) -> Schedule:
        # each SequentialLR around this one has stepped it once more before the run began
        starts = [0, *(milestone - depth for milestone in part.state["_milestones"])]
        if depth and any(start < 1 for start in starts[1:]):
            return self.faults.add(f"{_dot(path)}milestones", "inside another SequentialLR must be above its depth")
        schedules: list[Schedule] = []
        for place, child in enumerate(part.parts):
            reached = None
            if place and starts[place] > starts[place - 1]:
                reached = schedules[-1](starts[place] - 1 - starts[place - 1])
            where, inner = f"{_dot(path)}schedulers[{place}]", 0 if place else depth + 1
            schedules.append(self.value(child, where, depth=inner, reached=reached))
        if len(schedules) == 1:
            return schedules[0]
        names = {"boundaries": "milestones"}
        return self.build(path, InSequence, names, parts=tuple(schedules), boundaries=tuple(starts[1:]))

    def _chain(self, part: Part, path: str, depth: int) -> Schedule:
        members = _members(part, path)
        if len(members) == 1:
            ((where, only),) = members
            if only.kind not in _FACTORS:
                return self.value(only, where, depth=depth)
            return self._leaf(only, where, self._led(only, where, self.base(only), depth))
        schedules: list[Schedule] = []
        for place, (where, member) in enumerate(members):
            refusal = _not_chained(member, self.climbs)
            if refusal:
                self.faults.add(where, refusal)
                continue
            base = self.base(member) if place == 0 else 1.0
            schedules.append(self._leaf(member, where, self._led(member, where, base, depth)))
        if len(schedules) < len(members):
            return STAND_IN
        return self.build(path, core.Product, {}, parts=tuple(schedules))

    def _led(self, part: Part, path: str, base: float, depth: int) -> float:
        """The base of a chain's member that a SequentialLR around the chain has stepped once too often: PyTorch applies
        one factor before the first step.
        """
        if not depth:
            return base
        state = part.state
        if part.kind == "ExponentialLR":
            return product(base, state["gamma"])
        if part.kind == "MultiplicativeLR":
            return product(base, self.constant_factor(part, path))
        if part.kind == "PolynomialLR":
            return base * (1.0 + 1.0 / state["total_iters"]) ** -float(state["power"])
        if part.kind == "CosineAnnealingLR":
            if self.climbs or state["T_max"] < 2:
                self.faults.add(path, "CosineAnnealingLR in a chain that comes first in a SequentialLR ends at T_max")
                return base
            lowest = float(state["eta_min"])
            return lowest + (base - lowest) * 2.0 / (1.0 + math.cos(math.pi / state["T_max"]))
        return base

    def _swa(self, part: Part, path: str, reached: float | None) -> Schedule:
        if "swa_lr" not in self.group:
            return self.faults.add(path, "SWALR keeps its swa_lr in the param groups. Give those, param_groups=")
        end, length, shape = float(self.group["swa_lr"]), part.state["anneal_epochs"], part.state["_anneal_strategy"]
        if length == 0:
            return Constant(value=end)
        start = self._swa_start(part, end, length, shape) if reached is None else reached
        names = {"init_value": "lr", "end_value": "swa_lr", "duration": "anneal_epochs"}
        return self.build(path, Cosine if shape == "cos" else Linear, names, init_value=start, end_value=end,
                          duration=length)  # fmt: skip

    def _swa_start(self, part: Part, end: float, length: int, shape: str) -> float:
        """Where it began: not at the group's first value where another scheduler came before it."""
        base, step = self.base(part), int(part.state["_step_count"]) - 1
        share = min(1.0, max(0, step) / length)
        alpha = share if shape == "linear" else (1.0 - math.cos(math.pi * share)) / 2.0
        if alpha >= 1.0 or "lr" not in self.group:
            return base
        start = (float(self.group["lr"]) - alpha * end) / (1.0 - alpha)
        return base if math.isclose(start, base, rel_tol=1e-9) else start

    def lambdas(self, part: Part) -> Any:
        return part.state["lr_lambdas"][self.place]

    def constant_factor(self, part: Part, path: str) -> float:
        """The one factor of a MultiplicativeLR whose function is a constant; anything else has no closed form."""
        factor = self.lambdas(part)
        if isinstance(factor, Constant):
            return factor.value
        where = f"{_dot(path)}lr_lambda[{self.place}]"
        if isinstance(factor, Schedule):
            self.faults.add(where, "is multiplied up from step to step, and a running product of values that change "
                                   "has no closed form. Write the product itself as a schedule")  # fmt: skip
        else:
            self.faults.add(where, opaque(factor, "or give a tempomat.Constant"))
        return 1.0

    # momentum

    def momentum(self, part: Part, path: str = "") -> Schedule | None:
        """The momentum (or first beta) that a scheduler moves beside the learning rate; None where it moves none."""
        if part.kind == "ChainedScheduler":
            members = _members(part, path)
            return self.momentum(members[0][1], members[0][0]) if len(members) == 1 else None
        if part.kind == "SequentialLR":
            return self._momenta_in_sequence(part, path)
        if not part.state.get("cycle_momentum"):
            return None
        if part.kind == "CyclicLR":
            base, most = (float(part.state[name][self.place]) for name in ("base_momentums", "max_momentums"))
            return _cyclic(self, part, path, most, base)
        if not {"base_momentum", "max_momentum"} <= set(self.group):
            return None  # the learning rate's fault says what is missing
        low, high = float(self.group["base_momentum"]), float(self.group["max_momentum"])
        return _phases(self, part, path, first=high, peak=low, last=high)

    def _momenta_in_sequence(self, part: Part, path: str) -> Schedule | None:
        """A momentum moves while its part is in force, and stays where it is before and after."""
        curves = [self.momentum(child, f"{_dot(path)}schedulers[{place}]") for place, child in enumerate(part.parts)]
        moving = [curve for curve in curves if curve is not None]
        if not moving:
            return None
        if curves[0] is None and len(moving) > 1:
            return self.faults.add(path, "SequentialLR: several parts move the momentum and the first does not, so "
                                         "where it begins depends on which was built last")  # fmt: skip
        starts, schedules = [0, *part.state["_milestones"]], list[Schedule]()
        for place, curve in enumerate(curves):
            if curve is None:
                held = schedules[-1](starts[place] - 1 - starts[place - 1]) if schedules else moving[0](0)
                curve = Constant(value=held)
            schedules.append(curve)
        if len(schedules) == 1:
            return schedules[0]
        return self.build(path, InSequence, {"boundaries": "milestones"}, parts=tuple(schedules),
                          boundaries=tuple(starts[1:]))  # fmt: skip


def opaque(function: object, fix: str = "or wrap the function: tempomat.schedule(...)") -> str:
    """Why a function cannot be read, and what to do."""
    if function is None or isinstance(function, Mapping):
        return "is a function, and PyTorch saves none. Convert the live scheduler, or write the function as a schedule"
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename.rpartition('/')[2]}, line {code.co_firstlineno})" if code else ""
    name = getattr(function, "__qualname__", type(function).__name__)
    return (
        f"is the function {name}{where}, which can be called but not read. Write it as a schedule such as "
        f"tempomat.Cosine(...) and give that as the lambda, {fix}"
    )


def no_class(name: object) -> str:
    """What to say of a name that is none of PyTorch's classes."""
    return f"PyTorch has no scheduler {shown(name)}.{did_you_mean(str(name), CLASSES)} Classes: {', '.join(CLASSES)}"


def _members(part: Part, path: str) -> list[tuple[str, Part]]:
    """The members of a chain, with those of chains inside it."""
    found: list[tuple[str, Part]] = []
    for place, child in enumerate(part.parts):
        where = f"{_dot(path)}schedulers[{place}]"
        found += _members(child, where) if child.kind == "ChainedScheduler" else [(where, child)]
    return found


def _not_chained(part: Part, climbs: bool) -> str:
    """Why a scheduler is no plain factor on what the others in a chain do; empty where it is one."""
    if part.kind == "CosineAnnealingLR":
        if part.state["eta_min"]:
            return (
                "CosineAnnealingLR with an eta_min above 0 is no factor: what PyTorch makes of it in a chain depends "
                "on every step before. Use eta_min=0, or write the product as lr = Cosine(...) * ..."
            )
        return "CosineAnnealingLR in a chain only goes up to its T_max. Use after_end='hold'" if climbs else ""
    if part.kind in _FACTORS:
        return ""
    return (
        f"{part.kind} sets the learning rate from its base, so in PyTorch's chain it erases what the others did. "
        "Convert them one by one and multiply: lr = one * other"
    )


def _dot(path: str) -> str:
    return f"{path}." if path else ""


def _step(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    factor, every = part.state["gamma"], part.state["step_size"]
    return reader.build(path, core.StepDecay, init_value=base, factor=factor, every=every)


def _multi_step(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    gamma, times = part.state["gamma"], sorted(part.state["milestones"].items())
    places = tuple(milestone for milestone, _ in times)
    if all(many == 1 for _, many in times):
        if not places:
            return Constant(value=base)
        return reader.build(path, MultiStep, init_value=base, factor=gamma, milestones=places)
    values = [base]
    for _, many in times:
        values.append(product(values[-1], *[gamma] * many))
    return reader.build(path, PiecewiseConstant, {"boundaries": "milestones"}, values=values, boundaries=places)


def _constant(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    names, values = {"boundaries[0]": "total_iters"}, (product(base, part.state["factor"]), base)
    return reader.build(path, PiecewiseConstant, names, values=values, boundaries=(part.state["total_iters"],))


def _linear(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    first, last = (product(base, part.state[name]) for name in ("start_factor", "end_factor"))
    return reader.build(path, Linear, init_value=first, end_value=last, duration=part.state["total_iters"])


def _exponential(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    return reader.build(path, Exponential, init_value=base, decay_rate=part.state["gamma"])


def _polynomial(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    return reader.build(path, Polynomial, init_value=base, end_value=0.0, duration=part.state["total_iters"],
                        power=part.state["power"])  # fmt: skip


def _cosine(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    names = {**_ONE_PLACE, "duration": "T_max", "end_value": "eta_min"}
    half = partial(reader.build, path, Cosine, names, duration=part.state["T_max"])
    down = half(init_value=base, end_value=part.state["eta_min"])
    if not reader.climbs or down is STAND_IN:
        return down
    up, length = half(init_value=part.state["eta_min"], end_value=base), part.state["T_max"]
    return down.then(up, at=length).repeat(2 * length)


def _multiplicative(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    return reader.build(path, Exponential, init_value=base, decay_rate=reader.constant_factor(part, path))


def _restarts(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    names = {"end_value": "eta_min", "cycle": "T_0", "cycle_factor": "T_mult"}
    return reader.build(path, core.WarmRestarts, names, init_value=base, end_value=part.state["eta_min"],
                        cycle=part.state["T_0"], cycle_factor=part.state["T_mult"])  # fmt: skip


def _cyclic_lr(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    return _cyclic(reader, part, path, base, float(part.state["max_lrs"][reader.place]))


def _cyclic(reader: Reader, part: Part, path: str, first: float, peak: float) -> Schedule:
    state = part.state
    if state.get("_scale_fn_custom") is not None:
        return reader.faults.add(f"{_dot(path)}scale_fn", opaque(state["_scale_fn_custom"]))
    up = state["total_size"] * state["step_ratio"]
    down = state["total_size"] - up
    if not all(math.isclose(one, round(one), rel_tol=1e-9) for one in (up, down)):
        return reader.faults.add(path, f"CyclicLR: step_size_up and step_size_down must be whole, got {up:g}, {down:g}")
    return reader.build(path, core.Cyclic, _CYCLIC, init_value=first, peak_value=peak, up=round(up), down=round(down),
                        mode=state["mode"], gamma=state["gamma"])  # fmt: skip


def _one_cycle_lr(reader: Reader, part: Part, path: str, _: float) -> Schedule:
    missing = [name for name in ("initial_lr", "max_lr", "min_lr") if name not in reader.group]
    if missing:
        return reader.faults.add(path, f"OneCycleLR keeps {', '.join(missing)} in the param groups, not in its own "
                                       "state. Give the optimizer's saved ones, param_groups=")  # fmt: skip
    first, peak, last = (float(reader.group[name]) for name in ("initial_lr", "max_lr", "min_lr"))
    return _phases(reader, part, path, first=first, peak=peak, last=last)


def _phases(reader: Reader, part: Part, path: str, *, first: float, peak: float, last: float) -> Schedule:
    """The phases of a OneCycleLR in shares of a count: PyTorch's first one ends at `pct_start * total_steps - 1`."""
    ends = [Fraction(phase["end_step"]).limit_denominator(FINEST) for phase in part.state["_schedule_phases"]]
    shape = "linear" if part.state["_anneal_func_type"] == "linear" else "cosine"
    three = len(ends) == 3
    if three and not 0 < ends[0] < ends[1] < ends[2]:
        return reader.faults.add(f"{_dot(path)}pct_start", "leaves no count to one of the three phases")
    parts = ends[0].denominator
    rise, whole = int(ends[0] * parts), int(ends[-1] * parts)
    names = {"warmup": "pct_start", "total": "total_steps"}
    fall = Cosine if shape == "cosine" else Linear
    if rise >= whole:  # and never comes down
        curve = reader.build(path, fall, {"duration": "total_steps"}, init_value=first, end_value=peak, duration=whole)
    elif rise > 0:
        more = {"three_phase": True} if three else {}
        curve = reader.build(path, core.one_cycle, names, peak_value=peak, init_value=first, end_value=last,
                             warmup=rise, total=whole, shape=shape, **more)  # fmt: skip
    else:  # the peak lies before the first step
        curve = reader.build(path, fall, {"duration": "total_steps"}, init_value=peak, end_value=last,
                             duration=whole - rise)  # fmt: skip
        curve = curve if rise == 0 else reader.build(path, core.Advance, {}, schedule=curve, by=-rise)
    return curve if parts == 1 else curve.stretch(1.0 / parts)


def _lambda(reader: Reader, part: Part, path: str, base: float) -> Schedule:
    function, where = reader.lambdas(part), f"{_dot(path)}lr_lambda[{reader.place}]"
    try:
        found = _known_factor(function, base)
    except ConversionError as error:
        return reader.faults.add(where, str(error))
    return reader.faults.add(where, opaque(function)) if found is None else found


def _known_factor(function: Any, base: float) -> Schedule | None:
    """`base` times what a function gives, where the function can be read; else None."""
    if isinstance(function, Schedule):
        return function if base == 1.0 else function * base
    if type(function).__module__ == _OURS and type(function).__name__ == "Factor":
        own, first = function._schedule, function.initial_lr
        return own if first == base else own * (base / first)
    if getattr(function, "__module__", "") == _OURS and getattr(function, "__name__", "") == "unchanged":
        return Constant(value=base)
    from tempomat.convert.transformers import read_lambda

    return read_lambda(function, base)


_LEAVES: dict[str, Callable[[Reader, Part, str, float], Schedule]] = {
    "StepLR": _step,
    "MultiStepLR": _multi_step,
    "ConstantLR": _constant,
    "LinearLR": _linear,
    "ExponentialLR": _exponential,
    "PolynomialLR": _polynomial,
    "CosineAnnealingLR": _cosine,
    "MultiplicativeLR": _multiplicative,
    "CosineAnnealingWarmRestarts": _restarts,
    "CyclicLR": _cyclic_lr,
    "OneCycleLR": _one_cycle_lr,
    "LambdaLR": _lambda,
}
_FACTORS = frozenset(
    {"StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "MultiplicativeLR"}
    | {"CosineAnnealingLR"}
)
"""Those that multiply the value before by a factor, and so can be chained."""

CLASSES: Sequence[str] = (*_LEAVES, "SWALR", "SequentialLR", "ChainedScheduler", "ReduceLROnPlateau")
"""Every class that is read."""
