"""Rules that turn measurements into a level: pure reducers, `(state, observation, count) -> state`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, final

from tempomat.core.clock import Duration
from tempomat.core.errors import Fault, MeasurementError, StateError, shown
from tempomat.core.fields import CountKind, NonNegative, NumberKind, OptionalValue
from tempomat.core.reactive import Condition, Reactive, as_level, check_levels
from tempomat.core.schedule import Clocks, Node, Schedule

Numbers = tuple[float, ...]
State = Mapping[str, float | int | bool | Numbers | None]
"""A controller's state: plain values by name, numbers or tuples of them, never changed in place."""

MAX_HISTORY = 10_000
"""The widest window of measurements that a controller may remember: all of it is in every checkpoint."""


class Controller(Reactive):
    """A rule on measurements. Its `level` is a factor on the tree around it, or the value itself where it has an
    `init_value`.

    To add one: a frozen dataclass with `metric`, `initial()`, `update()` and `level()`; everything it remembers is in
    the state.
    """

    __slots__ = ()

    metric: str

    @abstractmethod
    def initial(self) -> State:
        """The state before any measurement."""

    @abstractmethod
    def update(self, state: State, observation: float, count: int) -> State:
        """The state after a measurement at `count`. Pure: the same arguments give the same state."""

    @abstractmethod
    def level(self, state: State) -> float:
        """The factor or value that the state stands for."""

    def check(self, state: object) -> None:
        """Refuse what is no state of this controller. A list stands for a tuple, as in JSON.

        Raises:
            StateError: a key is missing or unknown, or a value is of another kind.
        """
        initial = self.initial()
        given: Mapping[str, Any] = cast(Mapping[str, Any], state) if isinstance(state, Mapping) else {}
        if set(given) != set(initial):
            got, needed = ", ".join(map(str, given)) or "nothing", ", ".join(initial)
            raise StateError(f"a state of {type(self).__name__} has {needed}, got {got}")
        for key, first in initial.items():
            if not _fits(given[key], first):
                raise StateError(f"a state of {type(self).__name__} cannot have {key} = {shown(given[key])}")

    def _spans(self, *but: str) -> Iterator[Fault]:
        """Faults of counts that were given as durations: a controller counts measurements."""
        for name, value in self.parameters().items():
            if isinstance(value, Duration) and name not in but:
                yield Fault(name, f"must be a count of measurements, got {value}")

    def _number(self, observation: object) -> float:
        """A measurement as a plain float, so that a state stays plain data; it may be a NaN, but not a word."""
        try:
            if isinstance(observation, (str, bool)):
                raise TypeError
            return float(cast(Any, observation))
        except (TypeError, ValueError, OverflowError):
            raise MeasurementError(
                f"{type(self).__name__}: {self.metric} must be a number, got {shown(observation)}"
            ) from None

    def accepts(self, state: State) -> bool:
        """Whether a state of another controller of this kind may go on here."""
        return True

    @property
    def relative(self) -> bool:
        """Whether the level is a factor rather than a value of its own."""
        return False

    @property
    def controllers(self) -> tuple[Controller, ...]:
        return (self,)

    @property
    def clocks(self) -> Clocks:
        """A controller follows no clock."""
        return frozenset()

    def given(self, levels: Sequence[Node | float]) -> Schedule:
        check_levels(levels, 1)
        return as_level(levels[0])

    def stand_in(self) -> Schedule:
        return as_level(1.0)

    def listening(self, clock: str = "", start: int = 0) -> Iterator[tuple[Condition, ...]]:
        yield ()


def _fits(value: Any, first: Any) -> bool:
    """Whether a value may stand in a state where this one stands at first."""
    if isinstance(first, tuple):
        one_by_one = isinstance(value, (tuple, list)) and len(cast(Numbers, value)) <= MAX_HISTORY
        return one_by_one and all(_fits(one, 0.0) for one in cast(Numbers, value))
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value is None and first is None
    return math.isfinite(value) and (type(first) is not int or (type(value) is int and value >= 0))


def whole(state: State, key: str) -> int:
    """A count in a state."""
    return int(cast(Any, state[key] or 0))


def numbers(state: State, key: str) -> Numbers:
    """A tuple in a state; what JSON has made a list of is one again."""
    return tuple(cast(Numbers, state[key]))


class Leveled(Controller):
    """A controller whose state holds its `level`: the value itself from `init_value` on, or, where that is None, a
    factor from 1 on. What a measurement that is no finite number does, `on_nan` says.
    """

    __slots__ = ()

    init_value: Any  # a float or None
    on_nan: Any  # one of a few words

    @property
    def relative(self) -> bool:
        return self.init_value is None

    @property
    def first(self) -> float:
        """The level before any measurement."""
        return 1.0 if self.init_value is None else self.init_value

    def level(self, state: State) -> float:
        return float(cast(Any, state["level"] or 0.0))

    def _bounded(self, low: float, high: float = math.inf) -> Iterator[Fault]:
        """Faults of `min_value` and `max_value`, which the first level must lie between."""
        if low > high:
            yield Fault("min_value", f"must not be above `max_value` ({high:g}), got {low:g}")
        elif self.init_value is None:
            hint = ", where a factor starts, got {:g}. For a value of its own give an init_value"
            if low > 1.0:
                yield Fault("min_value", "must not be above 1" + hint.format(low))
            if high < 1.0:
                yield Fault("max_value", "must not be below 1" + hint.format(high))
        elif self.init_value < low:
            yield Fault("init_value", f"must not be below `min_value` ({low:g}), got {self.init_value:g}")
        elif self.init_value > high:
            yield Fault("init_value", f"must not be above `max_value` ({high:g}), got {self.init_value:g}")

    def _heard(self, observation: float, count: int) -> float | None:
        """A finite measurement; None for any other where `on_nan` says how to go on."""
        number = self._number(observation)
        if math.isfinite(number):
            return number
        if self.on_nan == "error":
            raise MeasurementError(
                f"{type(self).__name__}: {self.metric} must be a finite number, got {number} at count {count}. "
                "To go on past it set on_nan"
            )
        return None

    def _skipped(self, state: State) -> State:
        """The state after a measurement that is counted and nothing else."""
        return {**state, "skipped": whole(state, "skipped") + 1}


class Windowed(Leveled):
    """One that judges by a window of its last measurements, once it has heard enough of them."""

    __slots__ = ()

    window: Any  # a count
    min_measurements: Any  # a count
    min_value: Any  # a number

    def _check(self) -> Iterator[Fault]:
        spans = list(self._spans())
        yield from spans
        if spans:
            return
        if self.window > MAX_HISTORY:
            yield Fault("window", f"must be at most {MAX_HISTORY:_} measurements, got {self.window:_}")
        if self.min_measurements > self.window:
            yield Fault("min_measurements", f"must fit into the window of {self.window}, got {self.min_measurements}")
        yield from self._bounded(self.min_value)


def better(seen: float, best: float | None, threshold: float, *, relative: bool, least: bool) -> bool:
    """Whether a measurement is beyond the best by a threshold; a relative one is of the best's size."""
    if best is None:
        return True
    sign = -1.0 if least else 1.0
    size = 1.0 + sign * threshold * (1.0 if best >= 0 else -1.0)
    bar = best * size if relative else best + sign * threshold
    return seen < bar if least else seen > bar


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plateau(Leveled):
    r"""Multiplies its level by `factor` after more than `patience` measurements in a row without improvement.

    An improvement is a measurement below :math:`b - \theta |b|` (`mode="min"`, `threshold_mode="rel"`), below
    :math:`b - \theta` (`"abs"`), or the same upwards (`"max"`), where :math:`b` is the best so far. After a drop,
    `cooldown` measurements are not counted against it.

    Alone, or with an `init_value`, it is the value itself. Without one it is a factor that starts at 1:
    `Cosine(...) * Plateau(...)` scales a schedule, `Linear(...).then(Plateau(...), at=1_000)` goes on from the value
    reached.

    Args:
        metric: the measurement it listens to, as in `observe(val_loss=...)`.
        factor: what a drop multiplies by; at least 0, below 1.
        patience: how many measurements without improvement it lets pass.
        threshold: :math:`\theta`, at least 0.
        threshold_mode: `rel` or `abs`.
        mode: `min` if less is better, `max` if more is.
        cooldown: measurements after a drop in which bad ones are not counted.
        min_value: the level never falls below it.
        eps: a drop by no more than this is not made.
        init_value: the first level; None for a factor that starts at 1.
        on_nan: what a measurement that is no finite number does: `error`; `skip` it and count it; `bad` counts it as
            no improvement.

    Raises:
        ScheduleError: a parameter is out of its range, all of them at once.

    Agrees with:
        `torch.optim.lr_scheduler.ReduceLROnPlateau` (its `min_lr` is `min_value`) with an `init_value`, for metrics
        above 0; for a negative best, torch's relative threshold has the wrong sign. timm's `PlateauLRScheduler`,
        Ignite's `ReduceLROnPlateauScheduler` and `transformers.get_reduce_on_plateau_schedule` wrap it. Keras'
        `ReduceLROnPlateau` and `optax.contrib.reduce_on_plateau` already decide at the last of `patience` bad
        measurements, so theirs is one more than ours.

    Example:
        >>> rule = Plateau(factor=0.5, patience=1, init_value=1.0)
        >>> state = rule.initial()
        >>> for loss in (0.9, 0.9, 0.9):
        ...     state = rule.update(state, loss, 0)
        >>> rule.level(state)
        0.5
    """

    metric: str = "val_loss"
    factor: Annotated[float, NumberKind(at_least=0, below=1)] = 0.1
    patience: Annotated[int, CountKind(0)] = 10
    threshold: NonNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    mode: Literal["min", "max"] = "min"
    cooldown: Annotated[int, CountKind(0)] = 0
    min_value: NonNegative = 0.0
    eps: NonNegative = 1e-8
    init_value: OptionalValue = None
    on_nan: Literal["error", "skip", "bad"] = "error"

    def _check(self) -> Iterator[Fault]:
        yield from self._spans()
        yield from self._bounded(self.min_value)

    def accepts(self, state: State) -> bool:
        return self.level(state) >= self.min_value

    def initial(self) -> State:
        return {"level": self.first, "best": None, "bad": 0, "cooldown": 0, "skipped": 0}

    def update(self, state: State, observation: float, count: int) -> State:
        seen = self._heard(observation, count)
        if seen is None and self.on_nan == "skip":
            return self._skipped(state)
        improved = seen is not None and self._better(seen, cast(Any, state["best"]))
        best = seen if improved else state["best"]
        cooldown, bad = whole(state, "cooldown"), 0 if improved else whole(state, "bad") + 1
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        level = self.level(state)
        if bad > self.patience:
            lower = max(level * self.factor, self.min_value)
            level, cooldown, bad = lower if level - lower > self.eps else level, self.cooldown, 0
        return {**state, "level": level, "best": best, "bad": bad, "cooldown": cooldown}

    def _better(self, seen: float, best: float | None) -> bool:
        return better(seen, best, self.threshold, relative=self.threshold_mode == "rel", least=self.mode == "min")
