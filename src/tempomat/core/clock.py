"""Units, durations, and how one converts into another.

A count is a Python int and names its unit. A duration is a length that may still be unresolved: `5%` of the run, `20
epochs`, `3M frames`. It becomes a count once, when the plan meets the run (a `Horizon`), in exact rational arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import cast, final

from tempomat.core.errors import ScheduleError, did_you_mean, shown
from tempomat.core.numbers import MAX_LENGTH, as_count, parse_number


class Unit(StrEnum):
    """What a count counts."""

    OPTIMIZER_STEPS = "optimizer_steps"
    EPOCHS = "epochs"
    SAMPLES = "samples"
    TOKENS = "tokens"
    ENV_STEPS = "env_steps"
    FRAMES = "frames"
    EPISODES = "episodes"
    STAGE = "stage"
    SECONDS = "seconds"


SHARE = "%"
"""The pseudo-unit of a share of the run's total."""
PLAIN = ""
"""The pseudo-unit of a bare count: whatever drives the schedule."""

Terms = tuple[tuple[str, Fraction], ...]

_SPELLINGS: dict[str, tuple[str, int]] = {
    **{unit.value: (unit.value, 1) for unit in Unit},
    **{unit.value.removesuffix("s"): (unit.value, 1) for unit in Unit},
    "stages": ("stage", 1),
    **dict.fromkeys(("s", "sec", "secs"), ("seconds", 1)),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), ("seconds", 60)),
    **dict.fromkeys(("h", "hour", "hours"), ("seconds", 3600)),
    **dict.fromkeys(("day", "days"), ("seconds", 86400)),
    SHARE: (SHARE, 1),
    PLAIN: (PLAIN, 1),
}
_LONGEST_TEXT = 200
_TERM = re.compile(
    r"(?P<number>[\d._]+(?:[eE][+-]?\d+)?[kKMGBT]?)(?P<unit>\s*%|(?:[\s_]*[A-Za-z][A-Za-z_ ]*)?)", re.ASCII
)


@final
@dataclass(frozen=True, slots=True, repr=False)
class Duration:
    """A length in a unit, or a share of the run, or a sum of such: `20 epochs`, `5%`, `100% - 10_000`.

    >>> Duration("90 min"), Duration("3M frames"), Duration("100%") - Duration("10k")
    (Duration('5400 seconds'), Duration('3000000 frames'), Duration('100% - 10000'))

    Raises:
        ScheduleError: the text is no length, or its unit is unknown or could mean several things (`steps`).
    """

    text: str
    terms: Terms = field(init=False, repr=False)

    def __post_init__(self) -> None:
        terms = _parse(self.text)
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "text", _spell(terms))

    def __add__(self, other: Duration) -> Duration:
        return Duration(_spell(_sum(self.terms, other.terms, 1)))

    def __sub__(self, other: Duration) -> Duration:
        return Duration(_spell(_sum(self.terms, other.terms, -1)))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    @property
    def plain(self) -> int | None:
        """The count, where nothing but a bare integer is written; else None."""
        if not self.terms:
            return 0
        (unit, amount), *more = self.terms
        return int(amount) if unit == PLAIN and not more and amount.denominator == 1 else None


def _parse(text: str) -> Terms:
    if len(text) > _LONGEST_TEXT:
        raise ScheduleError(f"{shown(text)} is too long for a length")
    terms: Terms = ()
    for sign, part in re.findall(r"(^-?|\s[+-]\s)\s*(.*?)(?=\s[+-]\s|$)", text.strip()):
        match = _TERM.fullmatch(part.strip())
        if match is None:
            raise ScheduleError(
                f"{text!r} is not a length. Write a count (10_000, 3M), a count with its unit (20 epochs), or "
                "a share (5%)"
            )
        try:
            number = parse_number(match["number"])
        except ValueError as error:
            raise ScheduleError(f"{error}, in the length {text!r}") from None
        unit, scale = _unit(match["unit"], text)
        number = number / 100 if unit == SHARE else number * scale
        terms = _sum(terms, ((unit, number),), -1 if "-" in sign else 1)
    return terms


def _unit(written: str, text: str) -> tuple[str, int]:
    word = re.sub(r"[\s_]+", "_", written.strip().strip("_")).lower()
    if word in ("step", "steps"):
        raise ScheduleError(f"{text!r}: `steps` means several things. Write optimizer_steps or env_steps")
    if word not in _SPELLINGS:
        raise ScheduleError(
            f"{text!r}: no unit of the name {word!r}.{did_you_mean(word, _SPELLINGS)} Units: "
            f"{', '.join(Unit)}, min, h, %"
        )
    return _SPELLINGS[word]


def _sum(left: Terms, right: Terms, sign: int) -> Terms:
    """The terms of a sum in their one order: what is added before what is taken away, then by unit."""
    total = dict(left)
    for unit, amount in right:
        total[unit] = total.get(unit, Fraction(0)) + sign * amount
    return tuple(
        sorted(((unit, amount) for unit, amount in total.items() if amount), key=lambda term: (term[1] < 0, term[0]))
    )


def _spell(terms: Terms) -> str:
    words: list[str] = []
    for unit, amount in terms:
        size = abs(amount) * (100 if unit == SHARE else 1)
        sign = "- " if amount < 0 else "+ " if words else ""
        words.append(sign + _decimal(size) + (unit if unit == SHARE else f" {unit}" if unit else ""))
    return " ".join(words) or "0"


def _decimal(size: Fraction) -> str:
    """The exact decimal; there is one, since every term was written as one."""
    from decimal import Decimal, localcontext

    with localcontext(prec=400):
        return format(Decimal(size.numerator) / size.denominator, "f")


RATES: dict[str, tuple[Unit, Unit]] = {
    "steps_per_epoch": (Unit.EPOCHS, Unit.OPTIMIZER_STEPS),
    "batch_size": (Unit.OPTIMIZER_STEPS, Unit.SAMPLES),
    "samples_per_epoch": (Unit.EPOCHS, Unit.SAMPLES),
    "tokens_per_sample": (Unit.SAMPLES, Unit.TOKENS),
    "action_repeat": (Unit.ENV_STEPS, Unit.FRAMES),
    "env_steps_per_optimizer_step": (Unit.OPTIMIZER_STEPS, Unit.ENV_STEPS),
    "env_steps_per_episode": (Unit.EPISODES, Unit.ENV_STEPS),
}
"""What converts: `steps_per_epoch` optimizer steps are one epoch, `batch_size` samples one optimizer step, and so on.
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """What a run is to its plan: the clock that drives it, its length, and what converts between units.

    Args:
        clock: the unit of a bare count.
        total: the run's length in any unit, or None where nothing asks for it.
        rates: exact ratios by the names of `RATES`, such as `{"steps_per_epoch": 100}`.
    """

    clock: Unit = Unit.OPTIMIZER_STEPS
    total: Duration | None = None
    rates: Mapping[str, int] = field(default_factory=dict[str, int])

    def count(self, length: Duration | int, unit: Unit | None = None) -> int:
        """`length` as a count of `unit` (the plan's clock by default), rounded to the nearest integer.

        Raises:
            ScheduleError: a conversion or the total is missing; the message names it.
        """
        if isinstance(length, int):
            return length
        target = unit or self.clock
        exact = sum((self._exact(term, amount, target) for term, amount in length.terms), Fraction(0))
        count = round(exact)
        if not 0 <= count <= MAX_LENGTH:
            raise ScheduleError(f"{length} comes to {count} {target}; a length must be between 0 and 2^53")
        return count

    def _exact(self, term: str, amount: Fraction, target: Unit) -> Fraction:
        if term == PLAIN:
            return amount
        if term == SHARE:
            if self.total is None:
                raise ScheduleError(
                    f"{float(amount * 100):g}% of the run needs the run's length. Give the plan a `total`"
                )
            whole = sum(
                (self._exact(u if u != PLAIN else self.clock, a, target) for u, a in self.total.terms),
                Fraction(0),
            )
            return amount * whole
        return amount * self.ratio(Unit(term), target)

    def ratio(self, source: Unit, target: Unit) -> Fraction:
        """How many of `target` one of `source` is.

        Raises:
            ScheduleError: nothing given converts one into the other.
        """
        found = _path(source, target, {name: RATES[name] for name in self.rates if name in RATES})
        if found is None:
            missing = [name for name, _ in _path(source, target, RATES) or () if name not in self.rates]
            fix = (
                f"Give {' and '.join(f'{name}=' for name in missing)}"
                if missing
                else "Nothing converts one into the other; use one unit"
            )
            raise ScheduleError(f"{source} cannot be turned into {target}. {fix}")
        ratio = Fraction(1)
        for name, forward in found:
            ratio *= Fraction(self.rates[name]) if forward else 1 / Fraction(self.rates[name])
        return ratio


def check_rates(rates: Mapping[str, object] | object) -> dict[str, int]:
    """The rates with every value a positive int; unknown names and wrong values are refused together."""
    if not isinstance(rates, Mapping):
        raise ScheduleError(f"must be a mapping such as {{steps_per_epoch: 100}}, got {rates!r}")
    given = cast(Mapping[str, object], rates)
    wrong = [
        f"no conversion of the name {name!r}.{did_you_mean(str(name), RATES)}" for name in given if name not in RATES
    ]
    good: dict[str, int] = {}
    for name, value in given.items():
        try:
            good[name] = as_count(value)
        except ValueError as error:
            wrong.append(f"{name} {error}")
        if good.get(name) == 0:
            wrong.append(f"{name} must be at least 1, got 0")
    if wrong:
        raise ScheduleError("; ".join(wrong) + f". Conversions: {', '.join(RATES)}")
    return good


def _path(source: Unit, target: Unit, rates: Mapping[str, tuple[Unit, Unit]]) -> tuple[tuple[str, bool], ...] | None:
    """The shortest chain of rates from one unit to another; True where a rate multiplies."""
    reached: dict[Unit, tuple[tuple[str, bool], ...]] = {source: ()}
    queue = [source]
    for unit in queue:
        for name, (one, many) in rates.items():
            for here, there, forward in ((one, many, True), (many, one, False)):
                if here == unit and there not in reached:
                    reached[there] = (*reached[unit], (name, forward))
                    queue.append(there)
    return reached.get(target)
