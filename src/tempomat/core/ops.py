"""The arithmetic that formulas are written over, once for every backend.

A formula takes a count `t` and one of these, and says `ops.cos`, `ops.where`. `SCALAR` works on Python numbers with
`math`, `NUMPY` on arrays, `ArrayOps` on whatever follows the array API standard (torch, also inside `torch.compile`;
JAX, also under `jit`). `SCALAR` and `NUMPY` agree to the last bit on every machine: NumPy's vectorised `power`
differs from `math.pow` by an ulp in 1 of 25 values on CPUs with AVX-512, so powers, logarithms, exponentials and
hyperbolic tangents are taken one by one through `math`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from tempomat.core.clock import Duration
from tempomat.core.errors import ScheduleError
from tempomat.core.numbers import MAX_COUNT, as_count

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = 8192
"""Counts evaluated at a time: temporaries stay in cache, so a long curve costs its arithmetic and not its page
faults.
"""


Length = int | str | Duration
"""A count, or a duration that the run has yet to resolve."""
Branch = Callable[[int, Any, "Ops"], Any]
"""One of several formulas by its place, at a count."""


def counted(length: Length | None) -> int:
    """A length that is a count by now; an unresolved one is refused."""
    if isinstance(length, int):
        return length
    raise ScheduleError(
        f"the length '{length}' is no count yet: it depends on the run. Put the schedule into a Plan and resolve it, "
        "or call schedule.resolve(Horizon(total=..., rates=...))"
    )


def known_counts(lengths: Sequence[Length]) -> tuple[int, ...] | None:
    """Lengths that are all counts by now, else None; what evaluation would otherwise find out each time."""
    return cast("tuple[int, ...]", lengths) if all(isinstance(one, int) for one in lengths) else None


class Ops:
    """What a formula may use. `t` is an integer count, or a real one below a `stretch`."""

    cos: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    exp: Callable[[Any], Any]  # infinite where float64 overflows
    log: Callable[[Any], Any]  # natural; -inf at 0
    tanh: Callable[[Any], Any]
    floor: Callable[[Any], Any]  # still a real number
    where: Callable[[Any, Any, Any], Any]
    counts: Mapping[str, Any] | None = None
    reach: int = MAX_COUNT
    """The largest number that integer arithmetic on counts may meet."""

    def reached(self, positions: Sequence[float]) -> Sequence[float]:
        """The rising positions that a count of this backend can come to."""
        return positions

    def words(self, t: Any) -> tuple[Any, Any]:
        """The lower and the upper 32 bits of a count, rounded down where it is real, for arithmetic modulo 2^32."""
        raise NotImplementedError

    def wrapped(self, word: Any) -> Any:
        """A sum or product of a word and a number below 2^31, modulo 2^32."""
        return word & 0xFFFFFFFF

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
        """The smaller, element by element; the first of two that are equal, as Python's `min`."""
        return self.where(b < a, b, a)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger, element by element; the first of two that are equal, as Python's `max`."""
        return self.where(b > a, b, a)

    def power(self, base: Any, exponent: Any) -> Any:
        """`base ** exponent`; one of them is a number. Infinite where float64 overflows."""
        raise NotImplementedError

    def lookup(self, t: Any, boundaries: Sequence[float], values: Sequence[float]) -> Any:
        """`values[k]`, k the number of boundaries at or below `t`."""
        raise NotImplementedError

    def select(self, t: Any, boundaries: Sequence[float], branch: Branch) -> Any:
        """`branch(k, t)`, k the number of boundaries at or below `t`."""
        raise NotImplementedError

    def count(self, length: Length) -> Any:
        """A length as a number of counts; an unresolved one is refused."""
        return counted(length)

    def starts(self, known: tuple[int, ...] | None, lengths: Sequence[Length]) -> Any:
        """Several lengths as counts; `known` where they were prepared."""
        return tuple(counted(one) for one in lengths) if known is None else known

    def other(self, unit: str, t: Any) -> Any:
        """The count of the clock `unit`; `t` itself where a single clock was given."""
        return t if self.counts is None else self.counts[unit]


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf


def _log(number: float) -> float:
    return math.log(number) if number else -math.inf


class ScalarOps(Ops):
    """Python numbers."""

    cos = staticmethod(math.cos)
    sqrt = staticmethod(math.sqrt)
    exp = staticmethod(_exp)
    log = staticmethod(_log)
    tanh = staticmethod(math.tanh)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts = counts

    @staticmethod
    def where(condition: bool, yes: Any, no: Any) -> Any:
        return yes if condition else no

    def real(self, t: Any) -> float:
        return float(t)

    def floor(self, t: float) -> float:
        return float(math.floor(t)) if math.isfinite(t) else t

    def words(self, t: float) -> tuple[int, int]:
        whole = int(t)
        return whole & 0xFFFFFFFF, whole >> 32

    def minimum(self, a: Any, b: Any) -> Any:
        return min(a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return max(a, b)

    def power(self, base: Any, exponent: Any) -> float:
        return _power(base, exponent)

    def full(self, t: float, value: float) -> float:
        return value

    def lookup(self, t: float, boundaries: Sequence[float], values: Sequence[float]) -> float:
        return values[bisect_right(boundaries, t)]

    def select(self, t: float, boundaries: Sequence[float], branch: Branch) -> float:
        return branch(bisect_right(boundaries, t), t, self)


class NumpyOps(Ops):
    """NumPy arrays, at most `CHUNK` counts at a time."""

    cos = staticmethod(np.cos)
    sqrt = staticmethod(np.sqrt)
    floor = staticmethod(np.floor)
    where = staticmethod(np.where)

    def real(self, t: Any) -> Any:
        return t.astype(np.float64)

    def full(self, t: Any, value: float) -> Any:
        return np.full(t.shape, value)

    def words(self, t: Any) -> tuple[Any, Any]:
        whole = t.astype(np.int64)
        return whole & 0xFFFFFFFF, whole >> 32

    def power(self, base: Any, exponent: Any) -> Any:
        if isinstance(exponent, np.ndarray):
            return self._each(lambda one: _power(base, one), cast(Array, exponent))
        return self._each(lambda one: _power(one, exponent), base)

    def exp(self, exponent: Any) -> Any:
        return self._each(_exp, exponent)

    def log(self, number: Any) -> Any:
        return self._each(_log, number)

    def tanh(self, angle: Any) -> Any:
        return self._each(math.tanh, angle)

    def _each(self, function: Callable[[float], float], numbers: Array) -> Array:
        """A function of every element; of one where all are the same, as between two drops of a staircase."""
        if numbers.size and bool((numbers == numbers[0]).all()):
            return np.full(numbers.shape, function(float(numbers[0])))
        return np.fromiter(map(function, numbers.tolist()), np.float64, numbers.size)

    def lookup(self, t: Any, boundaries: Sequence[float], values: Sequence[float]) -> Any:
        return np.asarray(values)[np.searchsorted(np.asarray(boundaries), t, side="right")]

    def select(self, t: Any, boundaries: Sequence[float], branch: Branch) -> Any:
        first, last = bisect_right(boundaries, t.min()), bisect_right(boundaries, t.max())
        if first == last:
            return branch(first, t, self)
        index = cast(Any, np).searchsorted(np.asarray(boundaries), t, side="right")
        out: Array = np.empty(t.shape)
        for k in range(first, last + 1):
            chosen = index == k
            if chosen.any():
                out[chosen] = branch(k, t[chosen], self)
        return out


class ArrayOps(Ops):
    """Tensors and tracers, through the namespace `xp` of the array API standard. No Python branch on a value."""

    def __init__(self, xp: Any, dtype: Any, *, in_floats: bool = False) -> None:
        self.in_floats = in_floats  # whether lengths are too long for the backend's integers
        self.xp, self.dtype, self.where = xp, dtype, xp.where
        self.reach = MAX_COUNT if dtype == xp.float64 else 2**24 if in_floats else 2**31 - 1
        self.cos, self.sqrt, self.exp, self.log, self.tanh, self.floor = (
            xp.cos, xp.sqrt, xp.exp, xp.log, xp.tanh, xp.floor
        )  # fmt: skip

    def count(self, length: Length) -> int | float:
        count = counted(length)
        if self.in_floats:
            return float(count)
        return count if self.dtype == self.xp.float64 else min(count, 2**31 - 1)  # no count of 32 bits gets there

    def starts(self, known: tuple[int, ...] | None, lengths: Sequence[Length]) -> tuple[int | float, ...]:
        return tuple(self.count(one) for one in (lengths if known is None else known))

    def reached(self, positions: Sequence[float]) -> Sequence[float]:
        if self.in_floats:
            return [float(one) for one in positions]
        return positions if self.reach == MAX_COUNT else [one for one in positions if one <= self.reach]

    def words(self, t: Any) -> tuple[Any, Any]:
        if self.dtype == self.xp.float64:
            whole = self.xp.astype(t, self.xp.int64)
            return whole & 0xFFFFFFFF, whole >> 32
        if self.xp.isdtype(t.dtype, "integral"):
            return self.xp.astype(t, self.xp.uint32), self.xp.astype(t * 0, self.xp.uint32)
        whole = self.floor(t)
        upper = self.floor(whole / 2.0**32)
        return self.xp.astype(whole - upper * 2.0**32, self.xp.uint32), self.xp.astype(upper, self.xp.uint32)

    def wrapped(self, word: Any) -> Any:
        return word & 0xFFFFFFFF if self.dtype == self.xp.float64 else word

    def real(self, t: Any) -> Any:
        return self.xp.astype(t, self.dtype)

    def full(self, t: Any, value: float) -> Any:
        return self.real(t) * 0.0 + value

    def power(self, base: Any, exponent: Any) -> Any:
        return base**exponent

    def lookup(self, t: Any, boundaries: Sequence[float], values: Sequence[float]) -> Any:
        out = self.full(t, values[0])
        for boundary, value in zip(boundaries, values[1:], strict=True):
            out = self.where(t >= boundary, value, out)
        return out

    def select(self, t: Any, boundaries: Sequence[float], branch: Branch) -> Any:
        out = branch(0, t, self)
        for place, boundary in enumerate(boundaries, 1):
            # a branch is evaluated everywhere, so it sees no count below its own start
            out = self.where(t >= boundary, branch(place, self.maximum(t, boundary), self), out)
        return out


SCALAR = ScalarOps()
NUMPY = NumpyOps()


def evaluate(formula: Callable[[Any, Ops], Any], count: Any, name: str, longest: Callable[[], int]) -> Any:
    """`formula` at a count that is not a plain int: integers and integer arrays of any library, everything else
    refused.

    `longest` gives the largest length in the formula: a backend without 64-bit integers may be too narrow for it, and
    then counts in floats, which in single precision are exact up to 2^24.
    """
    if isinstance(count, np.ndarray):
        return _evaluate_numpy(formula, cast(Array, count), name)
    if hasattr(count, "dtype") and hasattr(count, "ndim") and not isinstance(count, np.generic):
        return _evaluate_array(formula, count, name, longest)
    try:
        whole = as_count(cast(object, count))
    except ValueError as error:
        raise ScheduleError(f"{name}: a count {error}") from None
    return formula(whole, SCALAR)


def _evaluate_numpy(formula: Callable[[Any, Ops], Any], counts: Array, name: str) -> Any:
    if counts.dtype.kind not in "iu":
        fix = "Use .astype(np.int64) if they are whole"
        raise ScheduleError(f"{name}: counts must be integers, got an array of {counts.dtype}. {fix}")
    if counts.size and (int(counts.min()) < 0 or int(counts.max()) > MAX_COUNT):
        raise ScheduleError(f"{name}: counts must be between 0 and 2^62, got {counts.min()} to {counts.max()}")
    flat: Array = counts.reshape(-1)
    out: Any = np.empty(counts.size)
    with np.errstate(all="ignore"):  # an overflow is an infinity, as for a single count
        for start in range(0, flat.size, CHUNK):
            out[start : start + CHUNK] = formula(flat[start : start + CHUNK].astype(np.int64, copy=False), NUMPY)
    return out.reshape(counts.shape)


def _evaluate_array(formula: Callable[[Any, Ops], Any], count: Any, name: str, longest: Callable[[], int]) -> Any:
    xp = _namespace(count)
    if xp is None:
        got = type(count).__name__
        raise ScheduleError(f"{name}: a count must be an integer or an array of integers, got {got}")
    if not xp.isdtype(count.dtype, "integral"):
        raise ScheduleError(f"{name}: counts must be integers, got an array of {count.dtype}")
    if _is_64_bit(xp):
        count, ops = xp.astype(count, xp.int64), ArrayOps(xp, xp.float64)
    else:
        in_floats = longest() >= 2**31
        count = xp.astype(count, xp.float32 if in_floats else xp.int32)
        ops = ArrayOps(xp, xp.float32, in_floats=in_floats)
    return formula(ops.maximum(count, 0), ops)


def _namespace(count: Any) -> Any:
    """The array API namespace of an array or tracer, or None where it has none."""
    if type(count).__module__.partition(".")[0] == "torch":
        from array_api_compat import torch  # asking in general warns while torch.compile traces

        return torch
    from array_api_compat import array_namespace

    try:
        return array_namespace(count)
    except TypeError:
        return None


def _is_64_bit(xp: Any) -> bool:
    """Whether a backend has 64-bit numbers; JAX has them only when told."""
    return "torch" in xp.__name__ or "float64" in xp.__array_namespace_info__().dtypes(kind="real floating")
