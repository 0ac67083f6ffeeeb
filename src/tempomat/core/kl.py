"""Controllers that keep a policy's step near a target: by its learning rate, or by a penalty on the divergence."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

from tempomat.core.controllers import Leveled, State
from tempomat.core.errors import Fault
from tempomat.core.fields import NonNegative, NumberKind, OptionalValue, Positive

_AboveOne = Annotated[float, NumberKind(above=1)]
_OneOrMore = Annotated[float, NumberKind(at_least=1)]


class _Banded(Leveled):
    """A level that stays while the divergence is in a band around its target."""

    __slots__ = ()

    target: Any  # a number above 0
    band: Any  # a number from 1
    min_value: Any  # a number

    @property
    @abstractmethod
    def _most(self) -> float:
        """The largest level."""

    @abstractmethod
    def _too_far(self, level: float) -> float:
        """The level after the policy moved too far."""

    @abstractmethod
    def _too_little(self, level: float, kl: float) -> float:
        """The level after it hardly moved."""

    def _check(self) -> Iterator[Fault]:
        yield from self._bounded(self.min_value, self._most)

    def accepts(self, state: State) -> bool:
        return self.min_value <= self.level(state) <= self._most

    def initial(self) -> State:
        return {"level": self.first, "skipped": 0}

    def update(self, state: State, observation: float, count: int) -> State:
        kl, level = self._heard(observation, count), self.level(state)
        if kl is None and self.on_nan == "skip":
            return self._skipped(state)
        if kl is None or kl > self.target * self.band:
            return {**state, "level": self._too_far(level)}
        return {**state, "level": self._too_little(level, kl)} if kl < self.target / self.band else state


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KLAdaptive(_Banded):
    r"""A learning rate that falls where the policy moved too far in an update, and climbs where it hardly moved.

    .. math::
        v \leftarrow \begin{cases}
            \max(v / f,\, v_{\min}) & d > b\,d^* \\
            \min(f v,\, v_{\max}) & d < d^* / b \\
            v & \text{otherwise}
        \end{cases}

    where :math:`d` is the measured divergence from the old policy to the new one. At both edges of the band it stays.

    With an `init_value` it is the learning rate itself; without one it is a factor that starts at 1, for
    `Cosine(...) * KLAdaptive(...)`, and its bounds are those of the factor.

    Args:
        metric: the measurement it listens to, as in `observe(kl=...)`.
        target: :math:`d^*`, above 0.
        factor: :math:`f`, at least 1.
        band: :math:`b`, at least 1.
        min_value: :math:`v_{\min}`, at least 0.
        max_value: :math:`v_{\max}`.
        climb_at_zero: whether a divergence of 0 or less makes it climb; the first minibatch of an update has one.
        init_value: the first level; None for a factor that starts at 1.
        on_nan: what a measurement that is no finite number does: `error`; `skip` it and count it; `bad` makes the
            level fall.

    Raises:
        ScheduleError: a parameter is out of its range, all of them at once.
        MeasurementError: a measurement is no number, or no finite one under `on_nan="error"`.

    Source:
        Heess et al. 2017 (arXiv:1707.02286) steer a penalty so; rl_games steers the learning rate.

    Agrees with:
        rl_games' `AdaptiveScheduler` (`lr_schedule: adaptive`): `target=0.008`.
        skrl's `KLAdaptiveLR` (`KLAdaptiveRL`): `target=0.008`; its `kl_threshold`, `kl_factor` and `lr_factor` are
        `target`, `band` and `factor`.
        rsl_rl's PPO (`schedule="adaptive"`): `target=0.01, min_value=1e-5, climb_at_zero=False`; its `desired_kl` is
        `target`.

    Example:
        >>> lr = KLAdaptive(target=0.008, init_value=3e-4)
        >>> state = lr.initial()
        >>> [round(lr.level(state := lr.update(state, kl, 0)), 6) for kl in (0.003, 0.01, 0.03)]
        [0.00045, 0.00045, 0.0003]
    """

    metric: str = "kl"
    target: Positive
    factor: _OneOrMore = 1.5
    band: _OneOrMore = 2.0
    min_value: NonNegative = 1e-6
    max_value: Positive = 1e-2
    climb_at_zero: bool = True
    init_value: OptionalValue = None
    on_nan: Literal["error", "skip", "bad"] = "error"

    @property
    def _most(self) -> float:
        return self.max_value

    def _too_far(self, level: float) -> float:
        return max(level / self.factor, self.min_value)

    def _too_little(self, level: float, kl: float) -> float:
        return min(level * self.factor, self.max_value) if kl > 0.0 or self.climb_at_zero else level


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KLPenalty(_Banded):
    r"""The coefficient of a penalty on the divergence: up where the policy moved too far, down where it hardly moved.

    .. math::
        \beta \leftarrow \begin{cases}
            \min(u\,\beta,\, \beta_{\max}) & d > b\,d^* \\
            \max(w\,\beta,\, \beta_{\min}) & d < d^* / b \\
            \beta & \text{otherwise}
        \end{cases}

    where :math:`d` is the measured divergence from the old policy to the new one. At both edges of the band it stays.

    Args:
        metric: the measurement it listens to, as in `observe(kl=...)`.
        target: :math:`d^*`, above 0.
        band: :math:`b`, at least 1.
        increase: :math:`u`, above 1.
        decrease: :math:`w`, above 0 and below 1.
        min_value: :math:`\beta_{\min}`. At 0, as in the libraries, a coefficient that has fallen below what float64
            holds never comes back.
        max_value: :math:`\beta_{\max}`; None for the largest float64.
        init_value: the first coefficient; None for a factor that starts at 1.
        on_nan: what a measurement that is no finite number does: `error`; `skip` it and count it; `bad` makes the
            coefficient rise.

    Raises:
        ScheduleError: a parameter is out of its range, all of them at once.
        MeasurementError: a measurement is no number, or no finite one under `on_nan="error"`.

    Source:
        Schulman et al. 2017, PPO (arXiv:1707.06347), section 4, with `band=1.5, increase=2.0`.

    Agrees with:
        RLlib's PPO (`KLCoeffMixin`; `kl_coeff`, `kl_target`): the defaults.
        TorchRL's `KLPENPPOLoss` (`beta`, `dtarg`): `band=1.5, increase=2.0, init_value=1.0`; its `increment` and
        `decrement` are `increase` and `decrease`. It holds the coefficient in float32.
        Another rule for the same purpose: `AdaptiveKLController` of TRL, OpenRLHF and verl (Ziegler et al. 2019,
        arXiv:1909.08593) has no band; after n samples it multiplies by :math:`1 + \operatorname{clip}(d / d^* - 1,
        -0.2, 0.2)\, n / h`, with a horizon :math:`h`.

    Example:
        >>> beta = KLPenalty(target=0.01, init_value=0.2)
        >>> state = beta.initial()
        >>> [round(beta.level(state := beta.update(state, kl, 0)), 6) for kl in (0.03, 0.01, 0.001)]
        [0.3, 0.3, 0.15]
    """

    metric: str = "kl"
    target: Positive = 0.01
    band: _OneOrMore = 2.0
    increase: _AboveOne = 1.5
    decrease: Annotated[float, NumberKind(above=0, below=1)] = 0.5
    min_value: NonNegative = 0.0
    max_value: OptionalValue = None
    init_value: OptionalValue = 0.2
    on_nan: Literal["error", "skip", "bad"] = "error"

    @property
    def _most(self) -> float:
        return sys.float_info.max if self.max_value is None else self.max_value

    def _too_far(self, level: float) -> float:
        return min(level * self.increase, self._most)

    def _too_little(self, level: float, kl: float) -> float:
        return max(level * self.decrease, self.min_value)
