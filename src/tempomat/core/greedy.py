"""A learning rate that climbs while a metric improves and falls while it does not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, final

from tempomat.core.controllers import MAX_HISTORY, Leveled, State, better, numbers, whole
from tempomat.core.errors import Fault
from tempomat.core.fields import CountKind, NonNegative, NumberKind, OptionalValue, Positive

_Count = Annotated[int, CountKind(0)]


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Greedy(Leveled):
    r"""Multiplies its level by `factor` after a row of bad measurements, and divides by it after a row of good ones.

    .. math::
        v \leftarrow \max(f v,\, v_{\min}) \text{ after more than } p \text{ bad in a row}, \qquad
        v \leftarrow \min(v / f,\, v_{\max}) \text{ after more than } p \text{ good in a row}

    A measurement is good if it is below :math:`b - \theta` (`mode="min"`, `threshold_mode="abs"`), below
    :math:`b - \theta |b|` (`"rel"`), or the same upwards (`"max"`), where :math:`b` is the best so far. After a fall
    `cooldown` measurements are not heard, after a climb `warmup`. After `reset_after` falls that end at `min_value`,
    with no climb between them, everything starts anew from the first level.

    Alone, or with an `init_value`, it is the value itself; without one it is a factor that starts at 1 and scales
    what it stands in.

    Args:
        metric: the measurement it listens to, as in `observe(val_loss=...)`.
        factor: :math:`f`, what a fall multiplies and a climb divides by; above 0, below 1.
        patience: :math:`p`, how many measurements of one kind in a row it lets pass.
        threshold: :math:`\theta`, at least 0.
        threshold_mode: `rel` or `abs`.
        mode: `min` if less is better, `max` if more is.
        cooldown: measurements after a fall that change nothing.
        warmup: measurements after a climb that change nothing.
        min_value: the level never falls below it.
        max_value: the level never climbs above it.
        eps: a change by no more than this is not made.
        smooth: whether it is the mean of the last `window` measurements that is good or bad.
        window: how many; at most 10 000.
        reset_after: falls to the floor after which it starts anew.
        init_value: the first level; None for a factor that starts at 1.
        on_nan: what a measurement that is no finite number does: `error`; `skip` it and count it; `bad` counts it as
            a bad one, and keeps it out of the mean.

    Raises:
        ScheduleError: a parameter is out of its range, all of them at once.
        MeasurementError: a measurement is no number, or no finite one under `on_nan="error"`.

    Source:
        Subramanian et al. 2025, GreedyLR (arXiv:2512.14527).

    Agrees with:
        Transformers' `GreedyLR` (`lr_scheduler_type="greedy"`) bit for bit, with an `init_value`; its `min_lr` and
        `max_lr` are `min_value` and `max_value`, `window_size` is `window`, `reset_start` is `reset_after`. It differs
        where Transformers multiplies a negative best by :math:`1 - \theta` under `rel`, which asks for a worse one;
        and Transformers starts below `min_lr` where the learning rate is below it, which is refused here.

    Example:
        >>> rule = Greedy(factor=0.5, patience=1, min_value=0.1, max_value=4.0, init_value=1.0)
        >>> state = rule.initial()
        >>> [rule.level(state := rule.update(state, loss, 0)) for loss in (0.9, 0.8, 0.8, 0.8, 0.8, 0.8)]
        [1.0, 2.0, 2.0, 1.0, 1.0, 0.5]
    """

    metric: str = "val_loss"
    factor: Annotated[float, NumberKind(above=0, below=1)] = 0.95
    patience: _Count = 10
    threshold: NonNegative = 1e-6
    threshold_mode: Literal["rel", "abs"] = "abs"
    mode: Literal["min", "max"] = "min"
    cooldown: _Count = 0
    warmup: _Count = 0
    min_value: NonNegative = 1e-3
    max_value: Positive = 1.0
    eps: NonNegative = 1e-8
    smooth: bool = False
    window: Annotated[int, CountKind(1)] = 50
    reset_after: Annotated[int, CountKind(1)] = 500
    init_value: OptionalValue = None
    on_nan: Literal["error", "skip", "bad"] = "error"

    def _check(self) -> Iterator[Fault]:
        yield from self._spans()
        yield from self._bounded(self.min_value, self.max_value)
        if type(self.window) is int and self.window > MAX_HISTORY:
            yield Fault("window", f"must be at most {MAX_HISTORY:_} measurements, got {self.window:_}")

    def accepts(self, state: State) -> bool:
        return self.min_value <= self.level(state) <= self.max_value

    def initial(self) -> State:
        counts = dict.fromkeys(("bad", "good", "cooldown", "warmup", "floored", "skipped"), 0)
        return {"level": self.first, "best": None, **counts, "window": (), "sum": 0.0}

    def update(self, state: State, observation: float, count: int) -> State:
        seen = self._heard(observation, count)
        if seen is not None and self.smooth:
            state, seen = self._averaged(state, seen, count)
        if seen is None and self.on_nan == "skip":
            return self._skipped(state)
        for pause in ("cooldown", "warmup"):
            if whole(state, pause) > 0:
                return {**state, pause: whole(state, pause) - 1, "bad": 0, "good": 0}
        least = self.mode == "min"
        improved = seen is not None and better(
            seen, cast(Any, state["best"]), self.threshold, relative=self.threshold_mode == "rel", least=least
        )
        if not improved:
            bad = whole(state, "bad") + 1
            return self._fallen(state) if bad > self.patience else {**state, "bad": bad, "good": 0}
        state, good = {**state, "best": seen, "bad": 0}, whole(state, "good") + 1
        return self._climbed(state) if good > self.patience else {**state, "good": good}

    def _averaged(self, state: State, seen: float, count: int) -> tuple[State, float | None]:
        """The mean of the last measurements, from a running sum: its roundings are Transformers'."""
        window, total = (*numbers(state, "window"), seen), float(cast(Any, state["sum"])) + seen
        while len(window) > self.window:
            window, total = window[1:], total - window[0]
        if not math.isfinite(total):  # which no later measurement could mend
            return state, self._heard(total, count)
        return {**state, "window": window, "sum": total}, total / len(window)

    def _climbed(self, state: State) -> State:
        level = self.level(state)
        higher = min(level / self.factor, self.max_value)
        level = higher if higher - level > self.eps else level
        return {**state, "level": level, "good": 0, "warmup": self.warmup, "floored": 0}

    def _fallen(self, state: State) -> State:
        level = self.level(state)
        lower = max(level * self.factor, self.min_value)
        level = lower if level - lower > self.eps else level
        floored = whole(state, "floored") + (level <= self.min_value)
        if level <= self.min_value and floored >= self.reset_after:
            return {**self.initial(), "cooldown": self.cooldown, "skipped": whole(state, "skipped")}
        return {**state, "level": level, "bad": 0, "good": 0, "cooldown": self.cooldown, "floored": floored}
