"""The arithmetic that formulas are written over, once for every backend.

A formula takes a count `t` and one of these, and says `ops.cos`, `ops.where`. `SCALAR` works on Python numbers with
`math`, `NUMPY` on arrays, `ArrayOps` on whatever follows the array API standard (torch, also inside `torch.compile`; JAX,
also under `jit`). `SCALAR` and `NUMPY` agree to the last bit on every machine: NumPy's vectorised `power` differs from
`math.pow` by an ulp in 1 of 25 values on CPUs with AVX-512, so powers are taken one by one through `math`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from tempomat.core.errors import ScheduleError
from tempomat.core.numbers import MAX_COUNT, as_count

CHUNK = 8192
"""Counts evaluated at a time: temporaries stay in cache, so a long curve costs its arithmetic and not its page faults."""


class Ops:
    """What a formula may use. `t` is an integer count, or a real one below a `stretch`."""

    cos: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]
    counts: Mapping[str, Any] | None = None

    def real(self, t: Any) -> Any:
        """`t` in double precision (JAX without x64: single)."""
        raise NotImplementedError

    def full(self, t: Any, value: float) -> Any:
        """`value` in the shape of `t`."""
        raise NotImplementedError

    def clip(self, t: Any, low: float, high: float) -> Any:
        """`t` kept between two numbers."""
        return self.minimum(self.maximum(t, low), high)

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller, element by element."""
        return self.where(a < b, a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger, element by element."""
        return self.where(a > b, a, b)

    def power(self, base: Any, exponent: Any) -> Any:
        """`base ** exponent`; one of them is a number. Infinite where float64 overflows."""
        raise NotImplementedError

    def lookup(self, t: Any, boundaries: Sequence[int], values: Sequence[float]) -> Any:
        """`values[k]`, k the number of boundaries at or below `t`."""
        raise NotImplementedError

    def select(self, t: Any, boundaries: Sequence[int], branches: Sequence[Callable[[Any, Ops], Any]]) -> Any:
        """`branches[k](t)`, k the number of boundaries at or below `t`."""
        raise NotImplementedError

    def other(self, unit: str, t: Any) -> Any:
        """The count of the clock `unit`; `t` itself where a single clock was given."""
        return t if self.counts is None else self.counts[unit]


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


class ScalarOps(Ops):
    """Python numbers."""

    cos = staticmethod(math.cos)
    sqrt = staticmethod(math.sqrt)
    real = staticmethod(float)
    minimum = staticmethod(min)
    maximum = staticmethod(max)
    power = staticmethod(_power)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts = counts

    @staticmethod
    def where(condition: bool, yes: Any, no: Any) -> Any:
        return yes if condition else no

    def full(self, t: float, value: float) -> float:
        return value

    def lookup(self, t: float, boundaries: Sequence[int], values: Sequence[float]) -> float:
        return values[bisect_right(boundaries, t)]

    def select(self, t: float, boundaries: Sequence[int], branches: Sequence[Callable[[Any, Ops], Any]]) -> float:
        return branches[bisect_right(boundaries, t)](t, self)


class NumpyOps(Ops):
    """NumPy arrays, at most `CHUNK` counts at a time."""

    cos = staticmethod(np.cos)
    sqrt = staticmethod(np.sqrt)
    where = staticmethod(np.where)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)

    def __init__(self, counts: Mapping[str, Any] | None = None) -> None:
        self.counts = counts

    def real(self, t: Any) -> Any:
        return t.astype(np.float64)

    def full(self, t: Any, value: float) -> Any:
        return np.full(t.shape, value)

    def power(self, base: Any, exponent: Any) -> Any:
        varying = exponent if isinstance(exponent, np.ndarray) else base
        if varying.size and (varying == varying.flat[0]).all():
            one = _power(
                float(base if varying is exponent else base.flat[0]),
                float(exponent.flat[0] if varying is exponent else exponent),
            )
            return np.full(varying.shape, one)
        pairs = (repeat(base), exponent.tolist()) if varying is exponent else (base.tolist(), repeat(exponent))
        return np.fromiter(map(_power, *pairs), np.float64, varying.size)

    def lookup(self, t: Any, boundaries: Sequence[int], values: Sequence[float]) -> Any:
        return np.asarray(values)[np.searchsorted(np.asarray(boundaries), t, side="right")]

    def select(self, t: Any, boundaries: Sequence[int], branches: Sequence[Callable[[Any, Ops], Any]]) -> Any:
        first, last = bisect_right(boundaries, t.min()), bisect_right(boundaries, t.max())
        if first == last:
            return branches[first](t, self)
        index, out = np.searchsorted(np.asarray(boundaries), t, side="right"), np.empty(t.shape)
        for k in range(first, last + 1):
            chosen = index == k
            if chosen.any():
                out[chosen] = branches[k](t[chosen], self._take(chosen))
        return out

    def _take(self, chosen: Any) -> NumpyOps:
        return self if self.counts is None else NumpyOps({unit: count[chosen] for unit, count in self.counts.items()})


class ArrayOps(Ops):
    """Tensors and tracers, through the namespace `xp` of the array API standard. No Python branch on a value."""

    def __init__(self, xp: Any, t: Any) -> None:
        self.xp, self.cos, self.sqrt, self.where = xp, xp.cos, xp.sqrt, xp.where
        self.largest = int(xp.iinfo(t.dtype).max)

    def real(self, t: Any) -> Any:
        if self.xp.isdtype(t.dtype, "real floating"):
            return t
        double = getattr(self.xp, "float64", None)
        # JAX without x64 has no doubles: asking for one there warns and gives a single
        return self.xp.astype(t, double if self.largest > 2**31 and double is not None else self.xp.float32)

    def full(self, t: Any, value: float) -> Any:
        return self.real(t) * 0.0 + value

    def minimum(self, a: Any, b: Any) -> Any:
        return self.where(a < self._fit(a, b), a, self._fit(a, b))

    def maximum(self, a: Any, b: Any) -> Any:
        return self.where(a > self._fit(a, b), a, self._fit(a, b))

    def power(self, base: Any, exponent: Any) -> Any:
        real = self.real
        return base ** real(exponent) if isinstance(base, float) else real(base) ** exponent

    def lookup(self, t: Any, boundaries: Sequence[int], values: Sequence[float]) -> Any:
        out = self.full(t, values[0])
        for boundary, value in zip(boundaries, values[1:], strict=True):
            if boundary <= self.largest:
                out = self.where(t >= boundary, value, out)
        return out

    def select(self, t: Any, boundaries: Sequence[int], branches: Sequence[Callable[[Any, Ops], Any]]) -> Any:
        out = branches[0](t, self)
        for boundary, branch in zip(boundaries, branches[1:], strict=True):
            if boundary <= self.largest:
                # a branch is evaluated everywhere, so it sees no count below its own start
                out = self.where(t >= boundary, branch(self.maximum(t, boundary), self), out)
        return out

    def _fit(self, a: Any, b: Any) -> Any:
        """A Python integer beyond the count's own type is never reached by it: the type's largest stands for it."""
        return min(b, self.largest) if isinstance(b, int) and not self.xp.isdtype(a.dtype, "real floating") else b


SCALAR = ScalarOps()
NUMPY = NumpyOps()


def evaluate(formula: Callable[[Any, Ops], Any], count: Any, name: str = "schedule") -> Any:
    """`formula` at a count that is not a plain int: integers and integer arrays of any library, everything else refused."""
    if isinstance(count, np.ndarray):
        return _evaluate_numpy(formula, count, name)
    if hasattr(count, "dtype") and hasattr(count, "ndim") and not isinstance(count, np.generic):
        return _evaluate_array(formula, count, name)
    try:
        return formula(as_count(count), SCALAR)
    except ValueError as error:
        if isinstance(error, ScheduleError):
            raise
        raise ScheduleError(f"{name}: a count {error}") from None


def _evaluate_numpy(formula: Callable[[Any, Ops], Any], counts: np.ndarray[Any, Any], name: str) -> Any:
    if counts.dtype.kind not in "iu":
        raise ScheduleError(
            f"{name}: counts must be integers, got an array of {counts.dtype}. Use .astype(np.int64) if they are whole"
        )
    if counts.size and (int(counts.min()) < 0 or int(counts.max()) > MAX_COUNT):
        raise ScheduleError(f"{name}: counts must be between 0 and 2^62, got {counts.min()} to {counts.max()}")
    flat, out = counts.reshape(-1), np.empty(counts.size)
    for start in range(0, flat.size, CHUNK):
        out[start : start + CHUNK] = formula(flat[start : start + CHUNK].astype(np.int64, copy=False), NUMPY)
    return out.reshape(counts.shape)


def _evaluate_array(formula: Callable[[Any, Ops], Any], count: Any, name: str) -> Any:
    from array_api_compat import array_namespace

    try:
        xp = array_namespace(count)
    except TypeError:
        raise ScheduleError(
            f"{name}: a count must be an integer or an array of integers, got {type(count).__name__}"
        ) from None
    if not xp.isdtype(count.dtype, "integral"):
        raise ScheduleError(f"{name}: counts must be integers, got an array of {count.dtype}")
    ops = ArrayOps(xp, count)
    return formula(ops.maximum(count, 0), ops)
