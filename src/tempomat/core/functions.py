"""Any function of a count as a schedule, for quick work."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast, final

import numpy as np

from tempomat.core.errors import ScheduleError, shown
from tempomat.core.fields import Kind
from tempomat.core.ops import ArrayOps, Ops
from tempomat.core.schedule import Schedule

Function = Callable[[Any], Any]


@final
@dataclass(frozen=True)
class FunctionKind(Kind):
    """A function of one count."""

    def read(self, value: object) -> Function:
        if not callable(value) or isinstance(value, (type, Schedule)):
            raise ValueError(f"must be a function of one count, got {shown(value)}")
        try:
            hash(value)
        except TypeError:
            raise ValueError(f"must be hashable, got {shown(value)}. Wrap it in a function") from None
        return cast(Function, value)

    def schema(self) -> dict[str, Any]:
        return {"not": {}}  # no data is a function


@final
@dataclass(frozen=True, slots=True, repr=False)
class FromFunction(Schedule):
    """What `schedule` makes of a function."""

    function: Annotated[Function, FunctionKind()]

    def __repr__(self) -> str:
        return f"schedule({self._name})"

    @property
    def _name(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def _at(self, t: Any, ops: Ops) -> Any:
        if isinstance(ops, ArrayOps):
            return self._of_array(t, ops)
        if isinstance(t, np.ndarray):
            counts: list[Any] = cast(Any, t).tolist()
            return np.fromiter(map(self._value, counts), np.float64, len(counts))
        return self._value(t)

    def _value(self, t: float) -> float:
        value = self._called(t)
        try:
            if isinstance(value, (str, bytes, bool)) or getattr(value, "ndim", 0):
                raise TypeError
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ScheduleError(f"{self}: must give a number, gave {shown(value)} at count {t}") from None
        if not math.isfinite(number):
            raise ScheduleError(f"{self}: must give a finite number, gave {number} at count {t}")
        return number

    def _of_array(self, t: Any, ops: ArrayOps) -> Any:
        """What it makes of a tensor or a tracer: the values inside are not looked at, so that graphs stay whole."""
        found = self._called(ops.real(t))  # from integers a backend would compute in its narrow default type
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return ops.full(t, float(found))
        if getattr(found, "shape", None) != t.shape:
            raise ScheduleError(
                f"{self}: must give an array of the shape of its counts, {tuple(t.shape)}, got {shown(found)}"
            )
        return ops.real(found)

    def _called(self, t: Any) -> Any:
        try:
            return self.function(t)
        except Exception as error:
            where = f"at count {t}" if isinstance(t, (int, float)) else f"for counts in a {type(t).__name__}"
            hint = "" if isinstance(t, (int, float)) else ". Write it in operations that such arrays have"
            raise ScheduleError(f"{self}: fails {where}: {type(error).__name__}: {error}{hint}") from error


def schedule(function: Function) -> FromFunction:
    """Any function of one count as a schedule, for quick work: it composes, and drives an optimizer, as every other.

    Give it a function of nothing but the count. An integer reaches it as an `int` and a NumPy array element by
    element, so that both agree to the last bit; below `stretch` a count is a float. A tensor or a JAX array reaches
    it whole, its counts as floats, and has to come back as an array of the same shape, or as one number.

    A function has no plain data: a plan with one can be previewed, linted and followed by a `Scheduler`, but not saved,
    recorded or resumed. For that write a class; see `tempomat.Schedule`.

    Args:
        function: of one count, from 0; gives a finite number, in the target's unit.

    Raises:
        ScheduleError: `function` cannot be called; later, where it fails or gives no finite number, with the count.
            Values inside a tensor or a JAX array are not looked at.

    Agrees with:
        PyTorch's `LambdaLR`, whose function gives a factor: `0.1 * schedule(function)`. That of its `MultiplicativeLR`
        gives the factor from one step to the next: write the running product. optax takes a function as it is; Keras'
        `LearningRateScheduler` takes one of the epoch.

    Example:
        >>> lr = schedule(lambda t: 0.1 / (1 + t))
        >>> lr(0), (0.5 * lr)(1)
        (0.1, 0.025)
    """
    return FromFunction(function)
