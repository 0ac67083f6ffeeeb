"""optax's schedules: a builder's name and arguments, or what a builder made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from tempomat.convert.arguments import Arguments, product, quotient
from tempomat.convert.pieces import warmed
from tempomat.core import (
    Constant,
    ConversionError,
    Cosine,
    Exponential,
    Linear,
    PiecewiseConstant,
    PiecewiseLinear,
    Polynomial,
    Schedule,
    Sequence,
)
from tempomat.core.errors import did_you_mean, shown
from tempomat.core.fields import CountKind, NumberKind

Read = Callable[[Arguments], Any]


def from_optax(source: Any, **arguments: Any) -> Any:
    """The schedule of one of optax's builders, by name and arguments, or of the function that a builder made.

    Values are optax's at every count, in float64 (optax computes in float32 unless JAX has 64-bit numbers). Arguments
    that optax only logs and then ignores are errors here: `transition_steps` or `decay_rate` of 0, a negative
    `transition_begin`, a schedule too many in `join_schedules`. A `warmup_steps` of 0 means no warmup.

    Args:
        source: a name such as `cosine_decay_schedule` (`cosine_decay` will do), or a live schedule that optax built,
            which is read from what it holds. Nested schedules of `join_schedules` are mappings with a `name`, live
            schedules, or schedules of ours.
        arguments: the builder's own, by name.

    Raises:
        ConversionError: there is no such builder, an argument is missing, unknown or impossible, or the function is
            not one that optax made; all faults at once.

    Example:
        >>> from_optax("warmup_cosine_decay", init_value=0.0, peak_value=1.0, warmup_steps=10, decay_steps=100)
        warmup_cosine(peak_value=1.0, end_value=0.0, warmup=10, total=100, init_value=0.0, warmup_shape='linear')
    """
    if not isinstance(source, str):
        if arguments:
            raise ConversionError("from_optax: a live schedule holds its arguments. Give a name, or no arguments")
        return source if isinstance(source, Schedule) else _live(source)
    name = source.removeprefix("optax.").removeprefix("schedules.")
    name = name if name in BUILDERS else f"{name}_schedule"
    if name not in BUILDERS:
        raise ConversionError(
            f"from_optax: optax has no schedule {shown(source)}.{did_you_mean(source, BUILDERS)} "
            f"Schedules: {', '.join(BUILDERS)}"
        )
    read, known = BUILDERS[name]
    return _read(f"from_optax: {name}", read, arguments, known)


def _read(host: str, read: Read, arguments: Mapping[str, Any], known: tuple[str, ...]) -> Any:
    given = Arguments(host, arguments, known)
    found = read(given)
    given.done()
    return found


def _constant(given: Arguments) -> Any:
    return Constant(value=given.number("value"))


def _begun(given: Arguments, curve: Callable[[], Any]) -> Any:
    """A curve that begins at `transition_begin`."""
    begin = given.count("transition_begin", 0)
    with given.building():
        return curve().shift(begin) if begin else curve()


def _polynomial(given: Arguments) -> Any:
    first, last = given.number("init_value"), given.number("end_value")
    power, steps = given.number("power", above=0), given.count("transition_steps", at_least=1)
    return _begun(given, lambda: Polynomial(init_value=first, end_value=last, duration=steps, power=power))


def _linear(given: Arguments) -> Any:
    first, last = given.number("init_value"), given.number("end_value")
    steps = given.count("transition_steps", at_least=1)
    return _begun(given, lambda: Linear(init_value=first, end_value=last, duration=steps))


def _piecewise_constant(given: Arguments) -> Any:
    values, places = _scaled(given, given.number("init_value"))
    with given.building():
        return PiecewiseConstant(values=values, boundaries=places) if places else Constant(value=values[0])


def _scaled(given: Arguments, first: float) -> tuple[list[float], list[int]]:
    """The values from count 0 on, each the one before times its scale, and the counts above 0 at which they begin."""
    scales = given.given.get("boundaries_and_scales") or {}
    if not isinstance(scales, Mapping):
        given.fault("boundaries_and_scales", f"must be a mapping from counts to scales, got {shown(scales)}")
        scales = {}
    found: list[tuple[int, float]] = []
    for place, scale in cast("Mapping[Any, Any]", scales).items():
        kinds = ((CountKind(0), place), (NumberKind(at_least=0), scale))
        faults = [fault.under(f"boundaries_and_scales.{place}") for kind, one in kinds for fault in kind.faults(one)]
        given.faults += faults
        if not faults:
            found.append((cast(int, CountKind(0).read(place)), cast(float, NumberKind().read(scale))))
    values, places = [first], list[int]()
    for place, scale in sorted(found):
        if place == 0:
            values[-1] = product(values[-1], scale)
        else:
            values.append(product(values[-1], scale))
            places.append(place)
    return values, places


def _piecewise_interpolate(given: Arguments) -> Any:
    shape = given.choice("interpolate_type", ("linear", "cosine"))
    values, places = _scaled(given, given.number("init_value"))
    with given.building():
        return _through(shape, values, [0, *places])


def _through(shape: str, values: list[float], places: list[int]) -> Any:
    """A curve through points, the first at 0."""
    if len(places) == 1:
        return Constant(value=values[0])
    if shape == "linear":
        return PiecewiseLinear(values=values, boundaries=places)
    pieces = [
        Cosine(init_value=first, end_value=last, duration=end - begin)
        for first, last, begin, end in zip(values, values[1:], places, places[1:], strict=False)
    ]
    return pieces[0] if len(pieces) == 1 else Sequence(parts=tuple(pieces), boundaries=places[1:-1])


def _cosine_onecycle(given: Arguments) -> Any:
    return _onecycle(given, "cosine")


def _linear_onecycle(given: Arguments) -> Any:
    return _onecycle(given, "linear")


def _onecycle(given: Arguments, shape: str) -> Any:
    """optax's linear one has a third phase, back to the beginning before it falls further."""
    peak, steps = given.number("peak_value"), given.count("transition_steps", at_least=1)
    rise = int(given.number("pct_start", 0.3, at_least=0, at_most=1) * steps)
    div, final = given.number("div_factor", 25.0, above=0), given.number("final_div_factor", 1e4, above=0)
    first = quotient(peak, div)
    last = quotient(first, final)
    places, values = [0, rise, steps], [first, peak, last]
    if shape == "linear":
        back = int(given.number("pct_final", 0.85, at_least=0, at_most=1) * steps)
        places, values = [0, rise, back, steps], [first, peak, first, last]
    if rise == 0:
        places, values = places[1:], values[1:]
    with given.building():
        return _through(shape, values, places)


def _cosine_decay(given: Arguments) -> Any:
    first, steps = given.number("init_value"), given.count("decay_steps", at_least=1)
    alpha, power = given.number("alpha", 0.0), given.number("exponent", 1.0, above=0)
    with given.building():
        return Cosine(init_value=first, end_value=product(first, alpha), duration=steps, power=power)


def _exponential(given: Arguments) -> Any:
    return _decaying(given, given.number("init_value"))


def _decaying(given: Arguments, first: float) -> Any:
    steps, rate = given.count("transition_steps", at_least=1), given.number("decay_rate", above=0)
    staircase, end = given.flag("staircase"), given.number("end_value", None)

    def curve() -> Any:
        free = Exponential(init_value=first, decay_rate=rate, every=steps, staircase=staircase)
        if end is None:
            return free
        if first > 0 and (end <= first if rate < 1 else end >= first):
            return Exponential(init_value=first, decay_rate=rate, every=steps, staircase=staircase, end_value=end)
        return free.clip(min=end) if rate < 1 else free.clip(max=end)

    return _begun(given, curve)


def _warmup_constant(given: Arguments) -> Any:
    first, peak, steps = given.number("init_value"), given.number("peak_value"), given.count("warmup_steps", at_least=1)
    with given.building():
        return Linear(init_value=first, end_value=peak, duration=steps)


def _warmup_cosine(given: Arguments) -> Any:
    from tempomat.core import warmup_cosine

    first, peak, end = given.number("init_value"), given.number("peak_value"), given.number("end_value", 0.0)
    warmup, total = given.count("warmup_steps"), given.count("decay_steps", at_least=1)
    power = given.number("exponent", 1.0, above=0)
    if warmup >= total:
        given.fault("warmup_steps", f"must be shorter than decay_steps ({total}), which includes it, got {warmup}")
    with given.building():
        if power == 1.0:
            return warmup_cosine(peak_value=peak, end_value=end, warmup=warmup, total=total, init_value=first)
        curve = Cosine(init_value=peak, end_value=end, duration=total - warmup, power=power)
        return warmed(first, peak, warmup, curve)


def _warmup_exponential(given: Arguments) -> Any:
    first, peak, warmup = given.number("init_value"), given.number("peak_value"), given.count("warmup_steps")
    after = _decaying(given, peak)
    with given.building():
        return warmed(first, peak, warmup, after)


def _sgdr(given: Arguments) -> Any:
    cycles = [dict(cast("Mapping[str, Any]", one)) if isinstance(one, Mapping) else one for one in _cycles(given)]
    for place, one in enumerate(cycles):
        if not isinstance(one, dict):
            given.fault(f"cosine_kwargs[{place}]", f"must be a mapping, got {shown(one)}")
    given.done()
    parts = [_inner(given, f"cosine_kwargs[{place}]", "warmup_cosine_decay_schedule", cast("dict[str, Any]", one))
             for place, one in enumerate(cycles)]  # fmt: skip
    given.done()
    starts, end = list[int](), 0
    for one in cycles[:-1]:
        end += cast(int, CountKind(1).read(one["decay_steps"]))
        starts.append(end)
    with given.building():
        return parts[0] if len(parts) == 1 else Sequence(parts=tuple(parts), boundaries=starts)


def _cycles(given: Arguments) -> list[Any]:
    found = given.items("cosine_kwargs")
    if not found and not given.faults:
        given.fault("cosine_kwargs", "must have at least one cycle")
    return found


def _join(given: Arguments) -> Any:
    schedules, boundaries = given.items("schedules"), given.items("boundaries")
    if len(boundaries) != len(schedules) - 1 and not given.faults:
        given.fault("boundaries", f"must be one less than the schedules ({len(schedules)}), got {len(boundaries)}. "
                    "optax would drop the last schedules")  # fmt: skip
    parts = [_part(given, f"schedules[{place}]", one) for place, one in enumerate(schedules)]
    given.done()
    while boundaries and boundaries[0] == 0:  # as after a warmup of 0
        parts, boundaries = parts[1:], boundaries[1:]
    with given.building():
        return parts[0] if len(parts) == 1 else Sequence(parts=tuple(parts), boundaries=boundaries)


def _part(given: Arguments, path: str, one: Any) -> Any:
    if isinstance(one, Mapping):
        arguments = dict(cast("Mapping[str, Any]", one))
        return _inner(given, path, arguments.pop("name", None), arguments)
    return _inner(given, path, one, {})


def _inner(given: Arguments, path: str, source: Any, arguments: dict[str, Any]) -> Any:
    """A schedule inside another; its faults are the outer one's, under its path."""
    try:
        return from_optax(source, **arguments)
    except ConversionError as error:
        given.faults += [fault.under(path) for fault in error.faults]
        return Constant(value=0.0)


_BEGIN = ("transition_steps", "transition_begin")
_DECAY = (*_BEGIN, "decay_rate", "staircase", "end_value")
_CYCLE = ("transition_steps", "peak_value", "pct_start", "div_factor", "final_div_factor")
BUILDERS: dict[str, tuple[Read, tuple[str, ...]]] = {
    "constant_schedule": (_constant, ("value",)),
    "linear_schedule": (_linear, ("init_value", "end_value", *_BEGIN)),
    "polynomial_schedule": (_polynomial, ("init_value", "end_value", "power", *_BEGIN)),
    "cosine_decay_schedule": (_cosine_decay, ("init_value", "decay_steps", "alpha", "exponent")),
    "exponential_decay": (_exponential, ("init_value", *_DECAY)),
    "piecewise_constant_schedule": (_piecewise_constant, ("init_value", "boundaries_and_scales")),
    "piecewise_interpolate_schedule": (
        _piecewise_interpolate,
        ("interpolate_type", "init_value", "boundaries_and_scales"),
    ),
    "warmup_constant_schedule": (_warmup_constant, ("init_value", "peak_value", "warmup_steps")),
    "warmup_cosine_decay_schedule": (
        _warmup_cosine,
        ("init_value", "peak_value", "warmup_steps", "decay_steps", "end_value", "exponent"),
    ),
    "warmup_exponential_decay_schedule": (
        _warmup_exponential,
        ("init_value", "peak_value", "warmup_steps", *_DECAY),
    ),
    "cosine_onecycle_schedule": (_cosine_onecycle, _CYCLE),
    "linear_onecycle_schedule": (_linear_onecycle, (*_CYCLE, "pct_final")),
    "sgdr_schedule": (_sgdr, ("cosine_kwargs",)),
    "join_schedules": (_join, ("schedules", "boundaries")),
}
"""optax's builders, each with its arguments."""

_LIVE: dict[str, frozenset[str]] = {
    **{
        name: frozenset(BUILDERS[name][1])
        for name in ("polynomial_schedule", "cosine_decay_schedule", "exponential_decay", "piecewise_constant_schedule")
    },
    "piecewise_interpolate_schedule": frozenset({"init_value", "boundaries", "scales", "interpolate_fn"}),
    "join_schedules": frozenset({"schedules", "boundaries"}),
}
"""What the functions that optax makes hold, by the builder that encloses them; the others are made of these."""


def _live(function: Any) -> Any:
    """The schedule of a function that optax made: it is exact only if the function holds what this version's do."""
    host = "from_optax"
    code = getattr(function, "__code__", None)
    builder = str(getattr(function, "__qualname__", "")).partition(".<locals>.")[0]
    if code is None or not str(getattr(function, "__module__", "")).startswith("optax."):
        raise ConversionError(
            f"{host}: {shown(function)} is not a function that optax made, and can be called but not read. Give the "
            "builder's name and arguments: from_optax('cosine_decay_schedule', init_value=..., decay_steps=...)"
        )
    cells = getattr(function, "__closure__", None) or ()
    held = {name: _contents(cell) for name, cell in zip(code.co_freevars, cells, strict=True)}
    held = {name: _plain(value) for name, value in held.items() if name != "clip_fn" and value is not _EMPTY}
    if set(held) in ({"value"}, {"init_value"}):  # optax makes a constant of what it only logs, too
        return Constant(value=next(iter(held.values())))
    if set(held) != _LIVE.get(builder):
        raise ConversionError(
            f"{host}: the function that {builder or 'optax'} made holds {', '.join(held) or 'nothing'}, which this "
            "version of Tempomat does not know. Give the builder's name and arguments"
        )
    if held.get("power") == 1:  # as optax's own linear_schedule makes it
        builder = "linear_schedule"
        del held["power"]
    return from_optax(builder, **_as_arguments(held))


_EMPTY = object()


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _plain(value: Any) -> Any:
    """A number out of a 0-dimensional array of any library; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _as_arguments(held: dict[str, Any]) -> dict[str, Any]:
    """What the builder was given, from what its function holds."""
    if "interpolate_fn" in held:
        word = "linear" if "linear" in held.pop("interpolate_fn").__name__ else "cosine"
        pairs = dict(zip(held.pop("boundaries"), held.pop("scales"), strict=True))
        held = {**held, "interpolate_type": word, "boundaries_and_scales": pairs}
    return held
