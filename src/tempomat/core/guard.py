"""A guard against divergence: a loss that is no number, or far above what it was, cuts the level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Literal, final

from tempomat.core.controllers import State, Windowed, numbers, whole
from tempomat.core.fields import CountKind, NonNegative, NumberKind, OptionalValue

_Size = Annotated[int, CountKind(1)]


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DivergenceGuard(Windowed):
    r"""Multiplies its level by `factor` where the loss is no finite number or spikes, and takes cuts back later.

    .. math::
        v = \max(v_0 f^k,\, v_{\min}), \qquad
        k \leftarrow k + 1 \text{ where } L > \tilde L + (s - 1)\,|\tilde L| \text{ or } L \text{ is not finite}

    where :math:`\tilde L` is the median of the last `window` finite losses before this one: a loss above 0 is held
    against `spike` times the median. Every finite loss joins the window, a spike too, so that a level that lasts stops
    being one once it fills half of the window. After a cut, `cooldown` measurements cut nothing.

    A NaN is no error here but what the guard is for: by default it cuts. What was learnt from it is the loop's to
    undo, by skipping the update or loading a checkpoint.

    Alone, or with an `init_value`, it is the value itself; without one it is a factor that starts at 1:
    `Cosine(...) * DivergenceGuard()`.

    Args:
        metric: the measurement it listens to, as in `observe(loss=...)`; less is better.
        factor: :math:`f`, what a cut multiplies by; above 0, below 1.
        spike: :math:`s`, above 1.
        window: how many losses the median is over; at most 10 000.
        min_measurements: how many it must have heard before a loss can be a spike; at most `window`.
        cooldown: measurements after a cut that cut nothing.
        recovery: after so many measurements in a row without a cut or a fault the last cut is taken back; None never
            does.
        min_value: the level never falls below it.
        init_value: the first level; None for a factor that starts at 1.
        on_nan: what a measurement that is no finite number does: `cut`; `skip` it and count it; `error`.

    Raises:
        ScheduleError: a parameter is out of its range, all of them at once.
        MeasurementError: a measurement is no number, or no finite one under `on_nan="error"`.

    Source:
        PaLM (Chowdhery et al. 2022, arXiv:2204.02311, section 5.1) rewinds at spikes of the loss; this cuts instead.

    Agrees with:
        No library's rule: fastai's `TerminateOnNaNCallback` and Keras' `TerminateOnNaN` stop at a NaN, and Lightning's
        `EarlyStopping` at a `divergence_threshold`.

    Example:
        >>> guard = DivergenceGuard(factor=0.5, spike=2.0, min_measurements=2, recovery=3)
        >>> state = guard.initial()
        >>> [guard.level(state := guard.update(state, loss, 0)) for loss in (1.0, 1.1, 5.0, float("nan"), 1, 1, 1)]
        [1.0, 1.0, 0.5, 0.25, 0.25, 0.25, 0.5]
    """

    metric: str = "loss"
    factor: Annotated[float, NumberKind(above=0, below=1)] = 0.5
    spike: Annotated[float, NumberKind(above=1)] = 3.0
    window: _Size = 50
    min_measurements: _Size = 10
    cooldown: Annotated[int, CountKind(0)] = 0
    recovery: Annotated[int | None, CountKind(1, optional=True)] = None
    min_value: NonNegative = 0.0
    init_value: OptionalValue = None
    on_nan: Literal["cut", "skip", "error"] = "cut"

    def initial(self) -> State:
        return {"cuts": 0, "calm": 0, "cooldown": 0, "window": (), "skipped": 0}

    def level(self, state: State) -> float:
        return self._after(whole(state, "cuts"))

    def _after(self, cuts: int) -> float:
        return max(self.first * math.pow(self.factor, cuts), self.min_value)

    def update(self, state: State, observation: float, count: int) -> State:
        loss = self._heard(observation, count)
        if loss is None and self.on_nan == "skip":
            return self._skipped(state)
        before, cuts = numbers(state, "window"), whole(state, "cuts")
        fault = loss is None or self._is_spike(loss, before)
        window = before if loss is None else (*before, loss)[-self.window :]
        calm, cooldown = 0 if fault else whole(state, "calm") + 1, whole(state, "cooldown")
        if cooldown > 0:
            cooldown -= 1
        elif fault and self._after(cuts + 1) < self._after(cuts):
            cuts, cooldown = cuts + 1, self.cooldown
        if self.recovery is not None and calm >= self.recovery:
            cuts, calm = max(cuts - 1, 0), 0
        return {**state, "cuts": cuts, "calm": calm, "cooldown": cooldown, "window": window}

    def _is_spike(self, loss: float, before: tuple[float, ...]) -> bool:
        before = before[-self.window :]
        if len(before) < self.min_measurements:
            return False
        middle = median(before)
        return loss > middle + (self.spike - 1.0) * abs(middle)
