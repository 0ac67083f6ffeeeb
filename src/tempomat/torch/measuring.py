"""Measurements for controllers, taken in the loop: gradient noise, the size of an update, how far a policy moved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, final

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import log_softmax

from tempomat.core import BindingError, MeasurementError, StateError
from tempomat.core.errors import shown
from tempomat.torch.ranks import are_several, gathered

_KEYS = ("trace", "signal_sq", "weight")


@final
class GradientNoise:
    r"""The gradient noise scale of the updates that a loop makes, from the gradients of their micro-batches.

    .. math::
        B_{\text{simple}} = \frac{\overline S}{\overline{|G|^2}}, \qquad
        S = \frac{\frac1K \sum_i |g_i|^2 - |g|^2}{\frac1K \sum_i 1/n_i - 1/N}, \qquad
        |G|^2 = |g|^2 - S / N

    where :math:`g_i` is the mean gradient of micro-batch :math:`i` of :math:`K`, of :math:`n_i` samples, and
    :math:`g` that of the whole update, of :math:`N` samples. Both estimates are unbiased, also where micro-batches
    differ in size; their ratio is not, so each is averaged over updates before it is taken.

    Micro-batches are those of gradient accumulation and those of the ranks in data-parallel training: their gradients
    are seen by hooks before they are added up or reduced, so no copy of them is kept and no further pass is made.
    With one micro-batch on one rank there is nothing to compare.

    Args:
        parameters: of the model; those that take a gradient now.
        decay: :math:`\gamma` of the exponential means of :math:`S` and :math:`|G|^2`, at least 0 and below 1.

    Raises:
        BindingError: there is no parameter that takes a gradient, or `decay` is out of its range.

    Source:
        McCandlish et al. 2018, An Empirical Model of Large-Batch Training (arXiv:1812.06162), appendix A.1.

    Agrees with:
        `tempomat.noise_scale` where micro-batches have one size, `decay=0`.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> noise = GradientNoise([weight], decay=0)
        >>> for target in (1.0, 3.0):  # two micro-batches of one sample each
        ...     ((weight - target).square().mean() * 0.5).backward()
        ...     noise.add(1, weight=0.5)
        >>> noise.measure()
        0.6666666666666666
    """

    def __init__(self, parameters: Iterable[Parameter], *, decay: float = 0.95) -> None:
        self._parameters = [one for one in parameters if one.requires_grad]
        if not self._parameters:
            raise BindingError("GradientNoise: no parameter takes a gradient")
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
            raise BindingError(f"GradientNoise: decay must be at least 0 and below 1, got {shown(decay)}")
        self.decay = float(decay)
        self._mean: dict[str, float] = dict.fromkeys(_KEYS, 0.0)
        self._fresh: dict[int, Tensor] = {}
        self._doubled = False
        self._forget()
        self._hooks = [one.register_hook(self._hook(place)) for place, one in enumerate(self._parameters)]

    def add(self, samples: int, weight: float = 1.0) -> None:
        """A micro-batch is through its backward pass. Does not wait for the device.

        Args:
            samples: how many it has, on this rank.
            weight: what its mean loss was multiplied by, such as `info.weight` of `Batches`; with a gradient scaler,
                times its scale.

        Raises:
            MeasurementError: there was no backward pass since the last, or several; or an argument is not above 0.
        """
        fresh, doubled = self._fresh, self._doubled
        self._fresh, self._doubled = {}, False
        if not fresh or doubled:
            what = "more than one backward pass" if doubled else "no backward pass"
            raise MeasurementError(f"GradientNoise: {what} since the last add. Call it after each one")
        for name, value in (("samples", samples), ("weight", weight)):
            if not value > 0:
                raise MeasurementError(f"GradientNoise: {name} must be above 0, got {shown(value)}")
        self._squares.append(torch.stack(list(fresh.values())).sum() / weight**2)
        self._samples.append(int(samples))
        self._seen |= fresh.keys()

    def measure(self) -> float | None:
        """The noise scale with this update in its means: call it before clipping, with `.grad` the update's gradient.

        In a process group every rank has to call it; each gets the same number.

        Returns:
            In samples. Infinite where the mean of :math:`|G|^2` is not above 0, so that noise drowns the gradient;
            below 0 where it happened to be less than none; NaN where a gradient is no finite number, which joins no
            mean. None where the update was one micro-batch on one rank.

        Raises:
            MeasurementError: nothing was added since the last.
        """
        if not self._squares:
            raise MeasurementError("GradientNoise: nothing was added since the last measure. Call add first")
        mine = torch.stack([torch.stack(self._squares).sum(), self._whole()]).tolist()
        mine += [len(self._samples), sum(1 / size for size in self._samples), sum(self._samples)]
        self._forget()
        everyone = gathered(torch.tensor(mine, dtype=torch.float64)) if are_several() else [mine]
        small, _, pieces, inverse, samples = (math.fsum(column) for column in zip(*everyone, strict=True))
        whole = everyone[0][1]  # reduced, and so the same on every rank; taken from one of them all the same
        if pieces < 2:
            return None
        trace = (small / pieces - whole) / (inverse / pieces - 1 / samples)
        signal_sq = whole - trace / samples
        if not (math.isfinite(trace) and math.isfinite(signal_sq)):
            return math.nan
        return self._averaged(trace, signal_sq)

    @property
    def trace(self) -> float:
        r"""The mean of :math:`S`: the variance of one sample's gradient, over all parameters."""
        return self._mean["trace"]

    @property
    def signal_sq(self) -> float:
        r"""The mean of :math:`|G|^2`: the squared norm of the gradient without its noise."""
        return self._mean["signal_sq"]

    def close(self) -> None:
        """Take the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self) -> dict[str, float]:
        """The means, as plain data. Ask for it between updates."""
        return dict(self._mean)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from there.

        Raises:
            StateError: it is no such state.
        """
        good = isinstance(state, Mapping) and set(state) == set(_KEYS)
        if not good or not all(type(one) is float and math.isfinite(one) for one in state.values()):
            raise StateError(f"a state of GradientNoise has finite {', '.join(_KEYS)}, got {shown(state)}")
        self._mean = dict(state)
        self._forget()

    def _hook(self, place: int) -> Any:
        def hook(grad: Tensor) -> None:
            self._doubled |= place in self._fresh
            self._fresh[place] = _square(grad)

        return hook

    def _whole(self) -> Tensor:
        grads = [grad for place in sorted(self._seen) if (grad := self._parameters[place].grad) is not None]
        if not grads:
            raise MeasurementError("GradientNoise: there is no gradient any more. Measure before zero_grad")
        return torch.stack([_square(grad) for grad in grads]).sum()

    def _averaged(self, trace: float, signal_sq: float) -> float:
        mean, share = self._mean, 1.0 - self.decay
        mean["weight"] = self.decay * mean["weight"] + share
        mean["trace"] += share / mean["weight"] * (trace - mean["trace"])
        mean["signal_sq"] += share / mean["weight"] * (signal_sq - mean["signal_sq"])
        return mean["trace"] / mean["signal_sq"] if mean["signal_sq"] > 0.0 else math.inf

    def _forget(self) -> None:
        self._squares: list[Tensor] = []
        self._samples: list[int] = []
        self._seen: set[int] = set()


@final
class UpdateRatio:
    r"""How far an update moves the parameters, as a share of their size: :math:`|\Delta\theta| / |\theta|`.

    About 1e-3 is a common rule of thumb for a healthy lr; far above it training is shaken, far below it stands still.
    Holds a copy of the parameters while the update is made. An update that was skipped has 0.

    Args:
        parameters: of the model, or of one layer.

    Raises:
        BindingError: there are none.

    Source:
        The notes of Stanford's CS231n, section "Ratio of weights:updates".

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> weight.grad = torch.tensor([0.0, 1.0])
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> with UpdateRatio([weight]) as update:
        ...     optimizer.step()
        >>> update.ratio
        0.1
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self._parameters = list(parameters)
        if not self._parameters:
            raise BindingError("UpdateRatio: there is no parameter")
        self._before: list[Tensor] = []
        self._norms: Tensor | None = None

    def __enter__(self) -> Self:
        self._before = [one.detach().clone() for one in self._parameters]
        self._norms = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before, self._before = self._before, []
        if kind is None:
            pairs = zip(self._parameters, before, strict=True)
            moved = torch.stack([_square(now.detach() - old) for now, old in pairs]).sum()
            self._norms = torch.stack([moved, torch.stack([_square(old) for old in before]).sum()]).sqrt()

    @property
    def ratio(self) -> float:
        """That of the last update; infinite where all parameters were 0 and moved.

        Raises:
            MeasurementError: there was none yet.
        """
        if self._norms is None:
            raise MeasurementError("UpdateRatio: no update was measured. Make it inside `with`")
        moved, size = self._norms.tolist()
        return moved / size if size > 0.0 else (math.inf if moved else 0.0)


def _square(grad: Tensor) -> Tensor:
    """The squared norm; that of a gradient in float16 would overflow its own type."""
    return _wide((grad.coalesce().values() if grad.is_sparse else grad).detach()).square().sum()


def _wide(tensor: Tensor) -> Tensor:
    """In float64, or in the widest type that the device has."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


@torch.no_grad()
def categorical_kl(old_logits: Tensor, new_logits: Tensor) -> Tensor:
    r"""The mean divergence from old to new categorical policies, :math:`\sum_a p_0 (\log p_0 - \log p_1)`.

    Args:
        old_logits: shape (..., actions); unnormalised log-probabilities, or normalised ones.
        new_logits: the same shape.

    Returns:
        A scalar, at least 0 up to rounding, in nats. An action that the old policy never takes adds nothing.

    Raises:
        MeasurementError: the shapes differ.

    Example:
        >>> old, new = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> round(categorical_kl(old, new).item(), 4)
        0.1201
    """
    _same_shape("categorical_kl", old_logits, new_logits)
    old, new = log_softmax(_wide(old_logits), -1), log_softmax(_wide(new_logits), -1)
    each = torch.where(old == -math.inf, 0.0, old.exp() * (old - new))
    return each.sum(-1).mean()


@torch.no_grad()
def gaussian_kl(old_mean: Tensor, old_std: Tensor, new_mean: Tensor, new_std: Tensor) -> Tensor:
    r"""The mean divergence from old to new diagonal Gaussian policies, summed over the dimensions of an action.

    .. math::
        \sum_d \log\frac{\sigma_1}{\sigma_0} + \frac{\sigma_0^2 + (\mu_0 - \mu_1)^2}{2\sigma_1^2} - \frac12

    Args:
        old_mean: :math:`\mu_0`, shape (..., dimensions).
        old_std: :math:`\sigma_0`, above 0; the same shape, or one that broadcasts to it.
        new_mean: :math:`\mu_1`.
        new_std: :math:`\sigma_1`, above 0.

    Returns:
        A scalar, at least 0 up to rounding, in nats.

    Raises:
        MeasurementError: the shapes of the means differ.

    Agrees with:
        rsl_rl's PPO under `schedule="adaptive"`, which adds 1e-5 to the quotient inside the logarithm; for rl_games'
        `policy_kl`, which measures from new to old and adds 1e-5 as well, give the new policy first.

    Example:
        >>> one = torch.ones(1, 2)
        >>> round(gaussian_kl(0 * one, one, 0.1 * one, one).item(), 4)
        0.01
    """
    _same_shape("gaussian_kl", old_mean, new_mean)
    mean0, std0, mean1, std1 = (_wide(one) for one in (old_mean, old_std, new_mean, new_std))
    each = (std1 / std0).log() + (std0.square() + (mean0 - mean1).square()) / (2 * std1.square()) - 0.5
    return each.expand_as(mean0).sum(-1).mean()


@torch.no_grad()
def sampled_kl(old_log_prob: Tensor, new_log_prob: Tensor) -> Tensor:
    r"""An estimate of the divergence from the actions taken: the mean of :math:`e^x - 1 - x`, never below 0.

    With :math:`x = \log p_1(a) - \log p_0(a)` for actions from the old policy it is unbiased.

    Args:
        old_log_prob: :math:`\log p_0` of the actions taken; any shape.
        new_log_prob: :math:`\log p_1` of the same actions.

    Raises:
        MeasurementError: the shapes differ.

    Source:
        Schulman 2020, Approximating KL Divergence (joschu.net/blog/kl-approx.html), the estimator k3.

    Agrees with:
        What skrl's and Stable-Baselines3's PPO measure.

    Example:
        >>> round(sampled_kl(torch.zeros(2), torch.tensor([0.1, -0.1])).item(), 6)
        0.005004
    """
    _same_shape("sampled_kl", old_log_prob, new_log_prob)
    moved = _wide(new_log_prob) - _wide(old_log_prob)
    return (moved.expm1() - moved).mean()


def _same_shape(where: str, old: Tensor, new: Tensor) -> None:
    if old.shape != new.shape:
        raise MeasurementError(
            f"{where}: old and new must have one shape, got {tuple(old.shape)} and {tuple(new.shape)}"
        )
