"""Gradient clipping under a plan: a threshold by schedule or by the norms so far, and what it did, to be recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast, final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from tempomat.core import BindingError, MeasurementError, StateError
from tempomat.torch.reading import entry_value
from tempomat.torch.scheduler import Scheduler

OnNan = Literal["error", "skip"]
_SUMS = ("updates", "clipped", "finite", "sum", "max")


def clip_gradients(
    parameters: Tensor | Iterable[Tensor],
    scheduler: Scheduler,
    *,
    entry: str = "grad_clip",
    metric: str = "grad_norm",
    meter: ClipMeter | None = None,
    norm_type: float = 2.0,
    on_nan: OnNan = "error",
) -> Tensor:
    r"""Scale the gradients down to the norm that the plan's entry allows; returns their norm from before.

    .. math::
        g \leftarrow g \cdot \min\Bigl(1, \frac{c}{|g| + 10^{-6}}\Bigr)

    where :math:`|g|` is the norm of all gradients as one vector. Where a controller of the plan listens to `metric`,
    such as `AutoClip`, it hears the norm first, and :math:`c` is what the entry is then.

    Call it once an update: after `backward()`, and in mixed precision after `scaler.unscale_(optimizer)`, before
    `optimizer.step()`. Without a listening controller, and with `on_nan="skip"`, it never waits for the device.

    Args:
        parameters: whose gradients; those without one are passed over.
        scheduler: whose plan has the entry.
        entry: the threshold's name. For several thresholds call it once for each, each with a `metric` of its own.
        metric: the name under which controllers hear the norm.
        meter: counts what was clipped.
        norm_type: :math:`p` of the norm; infinity for the largest element.
        on_nan: what a norm that is no finite number does: `error`, with nothing changed; `skip` leaves the gradients
            as they are and counts it, for a gradient scaler that skips the update by itself, or a guard that listens.

    Returns:
        The norm before clipping: a tensor of no dimensions, on the gradients' device.

    Raises:
        BindingError: the plan has no such entry, `on_nan` is another word, or there are no parameters.
        MeasurementError: the norm is not finite under `on_nan="error"`, or a controller refuses it.

    Source:
        Pascanu et al. 2013, On the difficulty of training recurrent neural networks (arXiv:1211.5063).

    Agrees with:
        `torch.nn.utils.clip_grad_norm_` at the same threshold, bit for bit.

    Example:
        >>> import tempomat as tm
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.1, "grad_clip": 1.0}))
        >>> (weight**2).sum().backward()
        >>> clip_gradients([weight], scheduler), weight.grad
        (tensor(10.), tensor([0.6000, 0.8000]))
    """
    if on_nan not in ("error", "skip"):
        raise BindingError(f"clip_gradients: `on_nan` must be error or skip, got {on_nan!r}")
    weights = _weights(parameters)
    norm = get_total_norm([one.grad for one in weights if one.grad is not None], norm_type)
    entry_value(scheduler, entry)
    if on_nan == "error" and not math.isfinite(float(norm)):
        raise MeasurementError(
            f"clip_gradients: the norm of the gradients must be finite, got {float(norm)} at "
            f"{scheduler.plan.clock} {scheduler.counts[scheduler.plan.clock]:_}. To go on past it set on_nan='skip'"
        )
    if _listened_to(scheduler, metric):
        scheduler.observe(**{metric: norm})
    threshold = entry_value(scheduler, entry)
    # a norm of 0 is never clipped: an infinite one would make zeros of the finite gradients and NaNs of the others
    usable = norm if on_nan == "error" else torch.where(norm.isfinite(), norm, 0.0)
    clip_grads_with_norm_(weights, threshold, usable)
    if meter is not None:
        meter.count(norm, threshold)
    return norm


def _weights(parameters: Any) -> list[Tensor]:
    one = isinstance(parameters, (Tensor, Module)) or not isinstance(parameters, Iterable)
    weights: list[Any] = [parameters] if one else list(cast(Iterable[Any], parameters))
    strange = next((one for one in weights if not isinstance(one, Tensor)), None)
    if strange is not None:
        raise BindingError(
            f"clip_gradients: takes parameters, got {type(strange).__name__}. Write "
            "clip_gradients(model.parameters(), scheduler)"
        )
    if not weights:
        raise BindingError(
            "clip_gradients: there are no parameters. model.parameters() can be gone through only once: call it anew "
            "for each update"
        )
    return weights


def _listened_to(scheduler: Scheduler, metric: str) -> bool:
    trees = scheduler.plan.schedules.values()
    return any(rule.metric == metric for tree in trees for rule in tree.controllers)


@final
class ClipMeter:
    """What clipping did since it was last read: `grad_norm`, the mean norm; `grad_norm_max`; `clip_fraction`, the
    share of updates whose norm was above the threshold.

    It counts on the gradients' device, which only reading waits for.

    Args:
        prefix: before each name, as in `critic_` for `critic_grad_norm`.

    Example:
        >>> meter = ClipMeter()
        >>> for norm in (0.5, 4.0, 2.5, 1.0):
        ...     meter.count(torch.tensor(norm), threshold=2.0)
        >>> meter.read()
        {'grad_norm': 2.0, 'grad_norm_max': 4.0, 'clip_fraction': 0.5, 'grad_norm_not_finite': 0.0}
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._updates = 0
        self._sums: Tensor | None = None

    def count(self, norm: Tensor, threshold: float) -> None:
        """One more update, with the norm from before clipping."""
        norm = norm.detach().to(torch.float64)
        finite = norm.isfinite()
        seen = torch.where(finite, norm, 0.0)
        clipped = (seen > threshold).to(seen.dtype)
        sums = self._sums if self._sums is not None else seen.new_zeros(4)
        largest = torch.maximum(sums[3], seen)
        self._sums = torch.stack([sums[0] + clipped, sums[1] + finite, sums[2] + seen, largest])
        self._updates += 1

    def read(self) -> dict[str, float]:
        """The measurements by name since the last reading, for `recorder.write(scheduler, **meter.read())`; none
        without an update in between. A mean over no finite norm is a NaN.
        """
        if not self._updates:
            return {}
        clipped, finite, total, largest = self._numbers()
        updates, self._updates, self._sums = self._updates, 0, None
        measured = {
            "grad_norm": total / finite if finite else math.nan,
            "grad_norm_max": largest if finite else math.nan,
            "clip_fraction": clipped / updates,
            "grad_norm_not_finite": updates - finite,
        }
        return {self.prefix + name: value for name, value in measured.items()}

    def _numbers(self) -> list[float]:
        return [0.0] * 4 if self._sums is None else self._sums.tolist()

    def state_dict(self) -> dict[str, Any]:
        """What was counted since the last reading, as plain data."""
        return dict(zip(_SUMS, (self._updates, *self._numbers()), strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting where `state_dict()` was taken.

        Raises:
            StateError: it is no state of a meter.
        """
        if set(state) != set(_SUMS) or not all(_is_sum(one) for one in state.values()):
            raise StateError(f"ClipMeter: a state has {', '.join(_SUMS)}, each at least 0, got {dict(state)!r:.120}")
        updates, *sums = (state[name] for name in _SUMS)
        self._updates, self._sums = int(updates), torch.tensor(sums, dtype=torch.float64) if updates else None


def _is_sum(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
