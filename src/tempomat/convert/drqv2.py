"""DrQ-v2's schedule strings: `0.2`, `linear(1.0,0.1,500000)`, `step_linear(1.0,0.5,1000,0.1,5000)`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from tempomat.convert.arguments import Arguments, tied
from tempomat.core import Constant, Linear, PiecewiseLinear, Unit
from tempomat.core.errors import shown
from tempomat.core.numbers import parse_number

_CALL = re.compile(r"\s*(?P<name>linear|step_linear)\s*\((?P<numbers>[^()]*)\)\s*", re.ASCII)
_FORMS = {"linear": ("init", "final", "duration"),
          "step_linear": ("init", "final1", "duration1", "final2", "duration2")}  # fmt: skip


def from_drqv2(text: str | float, *, unit: Unit | str = Unit.ENV_STEPS) -> Any:
    """The schedule of a DrQ-v2 string such as its `stddev_schedule`.

    A trap in the original: the string counts the agent's steps, while `num_train_frames` beside it counts frames, of
    which a step takes `action_repeat`. So `linear(1.0,0.1,500000)` with an action repeat of 2 ends at 1M frames.

    Args:
        text: a number, `linear(init,final,duration)` or
            `step_linear(init,final1,duration1,final2,duration2)`.
        unit: what its durations count: the agent's steps, `env_steps`, as DrQ-v2 has it; `frames` for configurations
            that mean frames.

    Raises:
        ConversionError: the text is none of the three, a duration is no whole number above 0, or there is no such unit.

    Source:
        Yarats et al. 2021, DrQ-v2 (arXiv:2107.09645), `utils.schedule` of its code.

    Example:
        >>> stddev = from_drqv2("linear(1.0,0.1,500000)")
        >>> stddev(0), stddev(250_000), stddev(10**6)
        (1.0, 0.55, 0.1)
    """
    whole = Arguments("drqv2", {})
    if unit not in (Unit.ENV_STEPS, Unit.FRAMES):
        whole.fault("unit", f"must be env_steps (the agent's steps) or frames, got {shown(unit)}")
    match = _CALL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        alone = Arguments("drqv2", {"text": text})
        number = alone.number("text")
        if alone.faults:
            forms = ", ".join(f"{name}({','.join(parts)})" for name, parts in _FORMS.items())
            whole.fault("text", f"must be a number, {forms}; got {shown(text)}")
        whole.done()
        return Constant(value=number)
    numbers = _numbers(whole, match["name"], match["numbers"].split(","))
    with whole.building():
        first, *rest = numbers
        if match["name"] == "linear":
            return tied(Unit(unit), Linear(init_value=first, end_value=rest[0], duration=rest[1]))
        middle, length, last, more = rest
        line = PiecewiseLinear(values=(first, middle, last), boundaries=(0, length, length + more))
        return tied(Unit(unit), line)


def _numbers(whole: Arguments, name: str, written: list[str]) -> list[Any]:
    """The numbers of a call, the durations among them as counts."""
    form = _FORMS[name]
    if len(written) != len(form):
        whole.fault(name, f"takes {len(form)} numbers ({', '.join(form)}), got {len(written)}")
        return []
    found: list[Any] = []
    for part, one in zip(form, written, strict=True):
        try:
            number = parse_number(one)
        except ValueError as error:
            whole.fault(f"{name}.{part}", str(error))
            continue
        if part.startswith("duration"):
            if number.denominator != 1 or number < 1:
                whole.fault(f"{name}.{part}", f"must be a whole number of at least 1, got {one.strip()}")
            found.append(round(number))
        else:
            found.append(float(number if isinstance(number, Fraction) else 0))
    return found
