"""Rules that turn measurements into a level: pure reducers, `(state, observation, count) -> state`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, final

from tempomat.core.clock import Duration
from tempomat.core.errors import Fault, MeasurementError, StateError, shown
from tempomat.core.fields import Count, CountKind, NonNegative, NumberKind, OptionalValue
from tempomat.core.ops import counted
from tempomat.core.reactive import Condition, Reactive, as_level, check_levels
from tempomat.core.schedule import Clocks, Node, Schedule

State = Mapping[str, float | int | bool | None]
"""A controller's state: plain values by name, never changed in place."""


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
        """Refuse what is no state of this controller.

        Raises:
            StateError: a key is missing or unknown, or a value is of another kind.
        """
        initial = self.initial()
        given: Mapping[str, Any] = cast(Mapping[str, Any], state) if isinstance(state, Mapping) else {}
        if set(given) != set(initial):
            got, needed = ", ".join(map(str, given)) or "nothing", ", ".join(initial)
            raise StateError(f"a state of {type(self).__name__} has {needed}, got {got}")
        for key, first in initial.items():
            value = given[key]
            counts = type(first) is int and type(value) is int and value >= 0
            numbers = type(first) is not int and isinstance(value, (int, float)) and math.isfinite(value)
            if not (counts or (numbers and not isinstance(value, bool)) or (value is None and first is None)):
                raise StateError(f"a state of {type(self).__name__} cannot have {key} = {value!r}")

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


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plateau(Controller):
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
        above 0; for a negative best, torch's relative threshold has the wrong sign.

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
        if self.init_value is None and self.min_value > 1.0:
            yield Fault("min_value", f"must not be above 1, where a factor starts, got {self.min_value:g}")
        if self.init_value is not None and self.init_value < self.min_value:
            yield Fault("init_value", f"must not be below `min_value` ({self.min_value:g}), got {self.init_value:g}")

    @property
    def relative(self) -> bool:
        return self.init_value is None

    def accepts(self, state: State) -> bool:
        return self.level(state) >= self.min_value

    def initial(self) -> State:
        first = 1.0 if self.init_value is None else self.init_value
        return {"level": first, "best": None, "bad": 0, "cooldown": 0, "skipped": 0}

    def level(self, state: State) -> float:
        return float(state["level"] or 0.0)

    def update(self, state: State, observation: float, count: int) -> State:
        observation = self._number(observation)
        finite = math.isfinite(observation)
        if not finite and self.on_nan == "error":
            raise MeasurementError(
                f"Plateau: {self.metric} must be a finite number, got {observation} at count {count}. "
                "To go on past it set on_nan"
            )
        if not finite and self.on_nan == "skip":
            return {**state, "skipped": int(state["skipped"] or 0) + 1}
        better = finite and self._better(observation, state["best"])
        best = observation if better else state["best"]
        cooldown, bad = int(state["cooldown"] or 0), 0 if better else int(state["bad"] or 0) + 1
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        level = self.level(state)
        if bad > self.patience:
            lower = max(level * self.factor, self.min_value)
            level, cooldown, bad = lower if level - lower > self.eps else level, self.cooldown, 0
        return {**state, "level": level, "best": best, "bad": bad, "cooldown": cooldown}

    def _better(self, observation: float, best: float | None) -> bool:
        if best is None:
            return True
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "abs":
            bar = best + sign * self.threshold
        else:
            bar = best * (1.0 + sign * self.threshold * (1.0 if best >= 0 else -1.0))
        return observation > bar if self.mode == "max" else observation < bar


MAX_WINDOW = 1_000
"""The widest window of `SuccessGates`: its episodes are the bits of one int, and `torch.load` with `weights_only`
reads ints of up to 2 039 bits.
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SuccessGates(Controller):
    r"""The stage of a curriculum: one more each time that success over a rolling window stays above a gate.

    A measurement is an episode's end: 1 for success, 0 for failure. It joins the window of the last `window` episodes;
    once that holds at least `min_episodes`, a success rate of `success_rate` or more is one more pass in a row, and
    any other rate ends the row. The stage goes up by one when the row is `require_consecutive_windows` long, the stage
    has had `min_stage_episodes`, the cooldown is over, the count is at least `after`, and the stage is below
    `max_stage`; window, row and episodes then start anew. It never goes down.

    The value is the stage itself, `initial_stage` at first and `max_stage` at most.

    Args:
        metric: the measurement it listens to, as in `observe(success=...)`.
        window: how many episodes the rolling rate is over, at most 1 000.
        min_episodes: how many the window must hold before a rate counts.
        success_rate: the gate, above 0 and at most 1.
        max_stage: the last stage.
        initial_stage: the first one.
        min_stage_episodes: the least number of episodes in a stage; None for `min_episodes`.
        require_consecutive_windows: how many windows in a row must pass; each episode makes a new one.
        cooldown_episodes: so many episodes after an advance the stage cannot advance again.
        bootstrap_failures: every window starts with so many failures, which count towards `min_episodes` and leave
            as episodes come: a stage cannot be passed on a few lucky ones.
        after: the count of the plan's clock before which no advance happens, such as the steps of random actions.

    Raises:
        ScheduleError: a parameter is out of its range, or a gate cannot be reached; all of them at once.

    Example:
        >>> gates = SuccessGates(window=4, min_episodes=2, success_rate=0.75, max_stage=1)
        >>> state = gates.initial()
        >>> for episode in range(5):
        ...     state = gates.update(state, 1, episode)
        >>> gates.level(state), gates.rate(state)
        (1.0, None)
    """

    metric: str = "success"
    window: Annotated[int, CountKind(1)] = 100
    min_episodes: Annotated[int, CountKind(1)] = 80
    success_rate: Annotated[float, NumberKind(above=0, at_most=1)] = 0.85
    max_stage: Annotated[int, CountKind(0)]
    initial_stage: Annotated[int, CountKind(0)] = 0
    min_stage_episodes: Annotated[int | None, CountKind(0, optional=True)] = None
    require_consecutive_windows: Annotated[int, CountKind(1)] = 4
    cooldown_episodes: Annotated[int, CountKind(0)] = 0
    bootstrap_failures: Annotated[int, CountKind(0)] = 0
    after: Count = 0

    def _check(self) -> Iterator[Fault]:
        for name, value in self.parameters().items():
            if isinstance(value, Duration) and name != "after":
                yield Fault(name, f"must be a count of episodes or stages, got {value}")
                return
        if self.window > MAX_WINDOW:
            yield Fault("window", f"must be at most {MAX_WINDOW:_} episodes, got {self.window:_}")
        if self.window < self.min_episodes:
            yield Fault(
                "window",
                f"holds at most {self.window} episodes, and `min_episodes` asks for {self.min_episodes}: no stage "
                "could ever be passed. Widen it, or lower min_episodes",
            )
        if self.bootstrap_failures > self.window:
            yield Fault(
                "bootstrap_failures", f"must fit into the window of {self.window}, got {self.bootstrap_failures}"
            )
        if self.initial_stage > self.max_stage:
            yield Fault("initial_stage", f"must not be above `max_stage` ({self.max_stage}), got {self.initial_stage}")

    def accepts(self, state: State) -> bool:
        return _whole(state, "stage") >= self.initial_stage

    def initial(self) -> State:
        return self._stage(self.initial_stage, cooldown=0)

    def _stage(self, stage: int, cooldown: int) -> State:
        """The state at the start of a stage; `window` holds the last `held` episodes as bits, the newest lowest."""
        return {
            "stage": stage,
            "window": 0,
            "held": self.bootstrap_failures,
            "episodes": 0,
            "passes": 0,
            "cooldown": cooldown,
        }

    def level(self, state: State) -> float:
        return float(min(_whole(state, "stage"), self.max_stage))

    def rate(self, state: State) -> float | None:
        """The success rate over the window; None while it is empty."""
        held = _whole(state, "held")
        return _whole(state, "window").bit_count() / held if held else None

    def update(self, state: State, observation: float, count: int) -> State:
        success = self._number(observation)
        if success not in (0.0, 1.0):
            raise MeasurementError(
                f"SuccessGates: {self.metric} must be 1 (success) or 0 (failure), got {success:g} at count {count}. "
                "Show it one episode at a time"
            )
        held = min(_whole(state, "held") + 1, self.window)
        window = (_whole(state, "window") << 1 | int(success)) & ((1 << held) - 1)
        stage, episodes, cooldown = (_whole(state, key) for key in ("stage", "episodes", "cooldown"))
        passed = held >= self.min_episodes and window.bit_count() / held >= self.success_rate
        passes = _whole(state, "passes") + 1 if passed else 0
        least = self.min_episodes if self.min_stage_episodes is None else self.min_stage_episodes
        if (
            passes >= self.require_consecutive_windows
            and episodes + 1 >= least
            and cooldown == 0
            and count >= counted(self.after)
            and stage < self.max_stage
        ):
            return self._stage(stage + 1, self.cooldown_episodes)
        return {
            "stage": stage,
            "window": window,
            "held": held,
            "episodes": episodes + 1,
            "passes": passes,
            "cooldown": max(cooldown - 1, 0),
        }


def _whole(state: State, key: str) -> int:
    return int(state[key] or 0)
