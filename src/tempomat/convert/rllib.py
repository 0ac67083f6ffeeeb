"""RLlib's schedules: `[[0, 1e-3], [1_000_000, 1e-5]]`, a number, or their JSON."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tempomat.convert.arguments import Arguments, tied
from tempomat.convert.pieces import points
from tempomat.core import Constant, ConversionError, PlanError, Unit
from tempomat.core.errors import shown
from tempomat.core.fields import CountKind, NumberKind
from tempomat.plan.text import parse_yaml


def from_rllib(value: Any, *, unit: Unit | str = Unit.ENV_STEPS) -> Any:
    """The schedule of an RLlib setting such as `lr`, `entropy_coeff` or `clip_param`.

    Straight lines between the points, the last value held: as RLlib's `Scheduler` reads them. Two points at the same
    timestep are a jump.

    Args:
        value: a number, `[[timestep, value], ...]` from timestep 0 on, or either as text, as JSON or Python has it.
        unit: what the timesteps count: RLlib counts environment steps sampled in the whole life of the run.

    Raises:
        ConversionError: every fault at once: no point at timestep 0, timesteps out of order, no number.

    Source:
        Ray 2.60, `rllib/utils/schedules/scheduler.py`.

    Example:
        >>> lr = from_rllib([[0, 1e-3], [1_000_000, 1e-5]])
        >>> lr(0), lr(500_000), lr(2_000_000)
        (0.001, 0.000505, 1e-05)
    """
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, (list, tuple)):
        alone = Arguments("rllib", {"value": value})
        number = alone.number("value")
        alone.done()
        return Constant(value=number)
    whole = Arguments("rllib", {"points": value})
    pairs = [_pair(whole, place, one) for place, one in enumerate(whole.items("points"))]
    if not pairs:
        whole.fault("points", "must have at least one [timestep, value]")
    for place, (earlier, later) in enumerate(pairwise(pairs), start=1):
        if later[0] < earlier[0]:
            whole.fault(f"points[{place}]", f"must not come before the one before it ({earlier[0]}), got {later[0]}")
    if pairs and pairs[0][0] != 0:
        whole.fault("points[0]", f"must be at timestep 0, got {pairs[0][0]}. Say what holds before it")
    if not whole.faults:
        unit = _unit(whole, unit)
    with whole.building():
        return tied(Unit(unit), points([place for place, _ in pairs], [height for _, height in pairs]))


def _parsed(text: str) -> Any:
    """A list, written as JSON or Python has it; what else it is must be a number, which the caller reads."""
    if not text.lstrip().startswith("["):
        return text
    try:
        return parse_yaml(text.replace("(", "[").replace(")", "]"), "points")[0]
    except PlanError:
        raise ConversionError(
            f"rllib: points: must be such as [[0, 1e-3], [1000000, 1e-5]], got {shown(text)}"
        ) from None


def _pair(whole: Arguments, place: int, pair: Any) -> tuple[int, float]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        whole.fault(f"points[{place}]", f"must be [timestep, value], got {pair!r}")
        return (0, 0.0)
    found: list[Any] = []
    for part, (one, kind) in enumerate(zip(pair, (CountKind(0), NumberKind()), strict=True)):
        faults = list(kind.faults(one))
        whole.faults += [fault.under(f"points[{place}][{part}]") for fault in faults]
        found.append(0 if faults else kind.read(one))
    return found[0], found[1]


def _unit(whole: Arguments, unit: Any) -> Any:
    if unit not in tuple(Unit):
        whole.fault("unit", f"must be one of {', '.join(Unit)}, got {unit!r}")
    return unit
