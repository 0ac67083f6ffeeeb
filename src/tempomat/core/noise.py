"""Noise that knows no history: a hash of the seed and the count instead of a generator that is drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, final

from tempomat.core.errors import Fault
from tempomat.core.fields import NumberKind, Positive
from tempomat.core.ops import Ops
from tempomat.core.schedule import Schedule
from tempomat.core.whole import Whole

Seed = Annotated[int, Whole(0, 2**31 - 1)]
OptionalPositive = Annotated[float | None, NumberKind(above=0, optional=True)]

# Rational functions for the quantiles of the normal distribution, highest powers first (Wichura 1988, AS 241, PPND16):
# of 0.425^2 - q^2 near the middle, of sqrt(-ln r) - 1.6 in the tails. The third pair, for r < 1.4e-11, is never met:
# the smallest r here is 2^-33.
_MIDDLE = (
    (
        2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
        13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080,
    ),
    (
        5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
        5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0,
    ),
)  # fmt: skip
_TAIL = (
    (
        7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
        3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
        6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0,
    ),
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Noise(Schedule):
    r"""A factor around 1 that is new at every count, for multiplying with a schedule: `Cosine(...) * Noise(...)`.

    .. math::
        v(t) = 1 + e(t), \qquad e(t) \sim N(0, \sigma^2) \text{ within } [-l, l]
        \qquad\text{or}\qquad e(t) \sim U(-\sigma, \sigma)

    :math:`e(t)` is a hash of `seed` and the count alone: the same at every call and in every order, without a
    generator's state. It has no end. Of a count between two, as under a stretch, it is that of the lower one.

    With `limit` the distribution is that of a normal number drawn again and again until it lies within, to which a
    quantile leads without drawing again. A factor below 0 is possible where `limit` or a uniform `scale` is above 1.

    Args:
        seed: a whole number from 0 to 2^31 - 1.
        kind: the distribution.
        scale: :math:`\sigma`, above 0: the standard deviation before the limit, or half the width of `uniform`.
        limit: :math:`l`, above 0: how far it may be from 1; None for any distance, at most 6.4 scales. For `normal`.

    Raises:
        ScheduleError: `seed` is no such number, `scale` or `limit` is not above 0, or a limit is given for `uniform`.

    Source:
        Wichura 1988, AS 241 (doi:10.2307/2347330), for the quantiles.

    Agrees with:
        timm's `noise_range_t` in its distributions, but not in its numbers, which a torch generator draws: its
        `noise_std` is `scale`, its `noise_pct` is `limit`, or with `noise_type="uniform"` it is `scale`.

    Example:
        >>> lr = Noise(seed=42, scale=0.2, limit=0.5)
        >>> lr(3) == lr(3) != lr(4), 0.5 <= lr(3) <= 1.5
        (True, True)
    """

    seed: Seed
    kind: Literal["normal", "uniform"] = "normal"
    scale: Positive
    limit: OptionalPositive = None
    _outside: float = field(init=False, repr=False, compare=False)

    def _check(self) -> Iterator[Fault]:
        if self.kind == "uniform" and self.limit is not None:
            yield Fault(
                "limit", f"is for normal noise, got {self.limit:g} for uniform, which `scale` limits. Leave it out"
            )

    def _prepare(self) -> None:
        outside = 0.0 if self.limit is None else 0.5 * math.erfc(self.limit / self.scale / math.sqrt(2.0))
        object.__setattr__(self, "_outside", outside)

    def _at(self, t: Any, ops: Ops) -> Any:
        word = _hash(t, self.seed, ops)
        # the highest bit is the sign, the others the probability beyond: precise in the tails, in single precision too
        beyond = (ops.real(word & 0x7FFFFFFF) + 0.5) * 2.0**-32
        size = self.scale * ((1.0 - 2.0 * beyond) if self.kind == "uniform" else self._quantile(beyond, ops))
        if self.limit is not None:
            size = ops.minimum(size, self.limit)
        return ops.where(word >> 31 > 0, 1.0 + size, 1.0 - size)

    def _quantile(self, beyond: Any, ops: Ops) -> Any:
        """The normal number, 0 or above, that is exceeded with the probability `beyond` within the limit."""
        beyond = self._outside + (1.0 - 2.0 * self._outside) * beyond
        q = 0.5 - beyond
        middle = q * _ratio(_MIDDLE, 0.180625 - q * q)
        tail = _ratio(_TAIL, ops.sqrt(-ops.log(beyond)) - 1.6)
        return ops.where(q <= 0.425, middle, tail)


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], x: Any) -> Any:
    above, below = (_polynomial(one, x) for one in coefficients)
    return above / below


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    value = coefficients[0] * x + coefficients[1]
    for one in coefficients[2:]:
        value = value * x + one
    return value


def _hash(t: Any, seed: int, ops: Ops) -> Any:
    """32 bits of a count and a seed."""
    lower, upper = ops.words(t)
    word = _mixed(_mixed(lower, ops) ^ seed, ops)
    return _mixed(ops.wrapped(word + upper), ops)


def _mixed(word: Any, ops: Ops) -> Any:
    """A bijection of 32 bits in which each of them depends on all; its factors are below 2^31, so that no product of
    words overflows 64 bits.
    """
    word = ops.wrapped((word ^ (word >> 15)) * 0x2C1B3C6D)
    word = ops.wrapped((word ^ (word >> 12)) * 0x297A2D39)
    return word ^ (word >> 15)
