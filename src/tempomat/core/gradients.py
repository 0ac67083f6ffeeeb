"""Controllers that listen to gradients: a batch size by their noise, a clipping threshold by their norms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, final

import numpy as np

from tempomat.core.controllers import Leveled, State, Windowed, numbers, whole
from tempomat.core.errors import Fault, MeasurementError, ScheduleError, list_faults
from tempomat.core.fields import CountKind, Kind, NonNegative, NumberKind, Positive

_Size = Annotated[int, CountKind(1)]


def noise_scale(small_norm_sq: float, big_norm_sq: float, small_batch: int, big_batch: int) -> float:
    r"""The simple gradient noise scale, from the gradient's squared norm at two batch sizes.

    .. math::
        B_{\text{simple}} = \frac{\operatorname{tr}(\Sigma)}{|G|^2}, \qquad
        |G|^2 \approx \frac{B_2 |G_2|^2 - B_1 |G_1|^2}{B_2 - B_1}, \qquad
        \operatorname{tr}(\Sigma) \approx \frac{|G_1|^2 - |G_2|^2}{1 / B_1 - 1 / B_2}

    Both estimates are unbiased, their ratio is not: give means of the squared norms over several updates. In
    data-parallel training the gradient of one process before the reduction and the reduced one are the two.

    Args:
        small_norm_sq: :math:`|G_1|^2`, the squared norm of the mean gradient over `small_batch` samples.
        big_norm_sq: :math:`|G_2|^2`, over `big_batch` samples.
        small_batch: :math:`B_1`, at least 1.
        big_batch: :math:`B_2`, above `small_batch`.

    Returns:
        The noise scale, in samples. Infinite where the estimate of :math:`|G|^2` is not above 0, so that noise drowns
        the gradient; below 0 where the larger batch happened to have the larger norm.

    Raises:
        ScheduleError: a norm is negative or no finite number, or a batch size is not possible; all of them at once.

    Source:
        McCandlish et al. 2018, An Empirical Model of Large-Batch Training (arXiv:1812.06162), appendix A.1.

    Example:
        >>> noise_scale(small_norm_sq=1.0 + 100 / 10, big_norm_sq=1.0 + 100 / 1000, small_batch=10, big_batch=1000)
        100.0
    """
    given = {
        "small_norm_sq": small_norm_sq, "big_norm_sq": big_norm_sq, "small_batch": small_batch, "big_batch": big_batch
    }  # fmt: skip
    norm, size = NumberKind(at_least=0), CountKind(1)
    kinds: dict[str, Kind] = {"small_norm_sq": norm, "big_norm_sq": norm, "small_batch": size, "big_batch": size}
    faults = [fault.under(name) for name, kind in kinds.items() for fault in kind.faults(given[name])]
    if not faults and big_batch <= small_batch:
        faults = [Fault("big_batch", f"must be above small_batch ({small_batch}), got {big_batch}")]
    if faults:
        raise ScheduleError(list_faults("noise_scale", faults), faults)
    small, big = float(small_norm_sq), float(big_norm_sq)
    signal = (big_batch * big - small_batch * small) / (big_batch - small_batch)
    noise = (small - big) / (1.0 / small_batch - 1.0 / big_batch)
    return noise / signal if signal > 0.0 else math.inf


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NoiseScale(Leveled):
    r"""A batch size that follows the measured gradient noise scale.

    .. math::
        v = \operatorname{clip}\bigl(m \cdot \operatorname{round}(\bar B / m),\, v_{\min},\, v_{\max}\bigr), \qquad
        \bar B \leftarrow \bar B + \frac{1 - \gamma}{1 - \gamma^n} (B - \bar B)

    where :math:`B` is the :math:`n`-th measurement, in samples: below the noise scale a larger batch is worth its
    cost, far above it is not. `tempomat.noise_scale` computes it from the gradient's squared norms at two batch sizes.

    The value is `init_value` until `min_measurements` have been heard. It moves only where the size that is asked for
    differs from it by more than the share `tolerance`, and each move is a decision in the record.

    Args:
        metric: the measurement it listens to, as in `observe(noise_scale=...)`.
        min_value: :math:`v_{\min}`, a multiple of `multiple`.
        max_value: :math:`v_{\max}`, a multiple of `multiple`.
        multiple: :math:`m`: sizes are multiples of it, such as what one device takes at once.
        decay: :math:`\gamma` of the exponential mean, at least 0 and below 1; 0 follows each measurement.
        min_measurements: how many it must have heard before it moves.
        tolerance: the share of the present size by which the size that is asked for must differ; at least 0.
        init_value: the first size, a multiple of `multiple`; None for `min_value`.
        on_nan: what a measurement that is no finite number does: `error`; `skip` it and count it; `bad` hears it as
            `max_value`, which an infinite noise scale asks for.

    Raises:
        ScheduleError: a parameter is out of its range, or a size is no multiple; all of them at once.
        MeasurementError: a measurement is no number, or no finite one under `on_nan="error"`.

    Source:
        McCandlish et al. 2018, An Empirical Model of Large-Batch Training (arXiv:1812.06162).

    Agrees with:
        No library ships it; DeepSpeed and GPT-NeoX measure the noise scale and leave the batch size alone.

    Example:
        >>> size = NoiseScale(min_value=32, max_value=1024, multiple=32, decay=0.5)
        >>> state = size.initial()
        >>> [size.level(state := size.update(state, noise, 0)) for noise in (100.0, 400.0, 4000.0)]
        [96.0, 288.0, 1024.0]
    """

    metric: str = "noise_scale"
    min_value: _Size
    max_value: _Size
    multiple: _Size = 1
    decay: Annotated[float, NumberKind(at_least=0, below=1)] = 0.99
    min_measurements: _Size = 1
    tolerance: NonNegative = 0.0
    init_value: Annotated[int | None, CountKind(1, optional=True)] = None
    on_nan: Literal["error", "skip", "bad"] = "error"

    @property
    def relative(self) -> bool:
        return False

    @property
    def first(self) -> float:
        return float(self.min_value if self.init_value is None else self.init_value)

    def _check(self) -> Iterator[Fault]:
        spans = list(self._spans())
        yield from (Fault(fault.path, fault.message.replace("measurements", "samples")) for fault in spans)
        if spans:
            return
        sizes = {"min_value": self.min_value, "max_value": self.max_value, "init_value": self.init_value or 0}
        for name, size in sizes.items():
            if size % self.multiple:
                yield Fault(name, f"must be a multiple of `multiple` ({self.multiple}), got {size}")
        if self.min_value > self.max_value:
            yield Fault("min_value", f"must not be above `max_value` ({self.max_value}), got {self.min_value}")
        elif not self.min_value <= self.first <= self.max_value:
            yield Fault("init_value", f"must lie between `min_value` and `max_value`, got {self.init_value}")

    def accepts(self, state: State) -> bool:
        level = self.level(state)
        return self.min_value <= level <= self.max_value and level % self.multiple == 0

    def initial(self) -> State:
        return {"level": self.first, "mean": 0.0, "weight": 0.0, "heard": 0, "skipped": 0}

    def update(self, state: State, observation: float, count: int) -> State:
        seen = self._heard(observation, count)
        if seen is None and self.on_nan == "skip":
            return self._skipped(state)
        seen = float(self.max_value) if seen is None else seen
        weight = self.decay * float(cast(Any, state["weight"])) + (1.0 - self.decay)
        mean = float(cast(Any, state["mean"]))
        mean += (1.0 - self.decay) / weight * (seen - mean)
        heard, level = whole(state, "heard") + 1, self.level(state)
        if heard >= self.min_measurements:
            asked = self._size(mean)
            level = asked if abs(asked - level) > self.tolerance * level else level
        return {**state, "level": level, "mean": mean, "weight": weight, "heard": heard}

    def _size(self, noise: float) -> float:
        """The nearest size that may be, the larger of two as near."""
        within = min(max(noise, float(self.min_value)), float(self.max_value))
        return float(min(math.floor(within / self.multiple + 0.5) * self.multiple, self.max_value))


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AutoClip(Windowed):
    r"""A clipping threshold: a percentile of the gradient norms heard so far, over a window of the last ones.

    .. math::
        v = \max\bigl(P_q(g_{n-w+1}, \dots, g_n),\, v_{\min}\bigr)

    with :math:`P_q` the :math:`q`-th percentile, linear between neighbours. Show it the norm before clipping, and clip
    by the value that it then has: the present norm is one of those it is a percentile of. The value is `init_value`
    until `min_measurements` norms have been heard. It moves only where the percentile differs from it by more than the
    share `tolerance`, and each move is a decision in the record: at 0, nearly every update has one.

    Args:
        metric: the measurement it listens to, as in `observe(grad_norm=...)`; 0 or more.
        percentile: :math:`q`, from 0 to 100.
        window: :math:`w`, how many norms it remembers, at most 10 000; all of them are in each checkpoint.
        min_measurements: how many it must have heard before the percentile counts; at most `window`.
        min_value: the value never falls below it.
        init_value: the value until then, above 0.
        tolerance: the share of the present value by which the percentile must differ for the value to move; at least 0.
        on_nan: what a measurement that is no finite number does: `error`; `skip` it and count it, as mixed precision
            needs it, whose norms overflow now and then.

    Raises:
        ScheduleError: a parameter is out of its range, all of them at once.
        MeasurementError: a measurement is negative or no number, or no finite one under `on_nan="error"`.

    Source:
        Seetharaman et al. 2020, AutoClip (arXiv:2007.14469), with `percentile=10` over the whole run.

    Agrees with:
        `numpy.percentile` over the window, bit for bit. The `autoclip` package's `QuantileClip` is the same rule with
        `percentile=90, window=1000`, in float32.

    Example:
        >>> clip = AutoClip(percentile=50, window=3, init_value=1.0)
        >>> state = clip.initial()
        >>> [clip.level(state := clip.update(state, norm, 0)) for norm in (4.0, 2.0, 3.0, 8.0)]
        [4.0, 3.0, 3.0, 3.0]
    """

    metric: str = "grad_norm"
    percentile: Annotated[float, NumberKind(at_least=0, at_most=100)] = 10.0
    window: _Size = 1_000
    min_measurements: _Size = 1
    min_value: NonNegative = 0.0
    init_value: Positive = 1.0
    tolerance: NonNegative = 0.0
    on_nan: Literal["error", "skip"] = "error"

    def accepts(self, state: State) -> bool:
        return self.level(state) >= self.min_value

    def initial(self) -> State:
        return {"level": self.first, "window": (), "skipped": 0}

    def update(self, state: State, observation: float, count: int) -> State:
        norm = self._heard(observation, count)
        if norm is None:
            return self._skipped(state)
        if norm < 0.0:
            raise MeasurementError(f"AutoClip: {self.metric} must be at least 0, got {norm:g} at count {count}")
        window = (*numbers(state, "window"), norm)[-self.window :]
        level = self.level(state)
        if len(window) >= self.min_measurements:
            asked = max(float(np.percentile(window, self.percentile)), self.min_value)
            level = asked if abs(asked - level) > self.tolerance * level else level
        return {**state, "level": level, "window": window}
