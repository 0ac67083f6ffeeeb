"""An exponential mean of a model's weights, whose decay is an entry of the plan."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tempomat.core import BindingError
from tempomat.torch.reading import entry_value
from tempomat.torch.scheduler import Scheduler


class ScheduledAverage(AveragedModel):
    r"""The exponential mean of a model's weights, with a decay that the plan gives: evaluate with it, train the model.

    .. math::
        \bar w_1 = w_1, \qquad \bar w_n = d\,\bar w_{n-1} + (1 - d)\, w_n

    with :math:`d` the entry's value at the update. Call `average.update_parameters(model)` after `optimizer.step()`
    and before `scheduler.step()`: the decay and the learning rate are then those of the same count.

    Floating-point buffers, such as BatchNorm's statistics, are averaged like weights; elements that are equal stay as
    they are, infinite ones too. Buffers of whole numbers are copied.

    It is a `torch.optim.swa_utils.AveragedModel`: calling it calls the averaged model, `module` is that model, and
    `state_dict()` holds all there is to save, in PyTorch's layout. The decay is in the scheduler's state.

    Args:
        model: what is averaged; copied.
        scheduler: whose plan has the entry. It is not saved with this.
        entry: the decay's name, a value from 0, the weights as they are, to 1, which keeps the mean as it is.
        dtype: floating-point type of the mean; None for the model's. In bfloat16 a mean at a decay above 0.998 or so
            hardly moves, since what is added is less than half a unit in the last place: give `torch.float32`.
        device: where the mean is kept; None for the model's.
        use_buffers: False to copy every buffer instead.

    Raises:
        BindingError: the plan has no such entry, or `dtype` is no floating-point type.

    Agrees with:
        `AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))` at a constant decay, bit for bit. With
        `1 - InverseTime(init_value=0.9, decay_rate=0.1)`, clipped at 0.9999, it warms up as
        :math:`\min(d, (1 + t) / (10 + t))`, TensorFlow's `num_updates` rule.

    Example:
        >>> import tempomat as tm
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        >>> scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.0, "ema_decay": 0.75}))
        >>> average = ScheduledAverage(model, scheduler)
        >>> for weight in (0.0, 4.0, 4.0):
        ...     _ = torch.nn.init.constant_(model.weight, weight)
        ...     average.update_parameters(model)
        >>> average.module.weight.item()
        1.75
    """

    def __init__(
        self,
        model: Module,
        scheduler: Scheduler,
        *,
        entry: str = "ema_decay",
        dtype: torch.dtype | None = None,
        device: int | torch.device | None = None,
        use_buffers: bool = True,
    ) -> None:
        entry_value(scheduler, entry)
        if dtype is not None and not dtype.is_floating_point:
            raise BindingError(f"ScheduledAverage: `dtype` must be a floating-point type, got {dtype}")
        super().__init__(model, device, use_buffers=use_buffers)
        self.module = self.module if dtype is None else self.module.to(dtype)
        self._scheduler, self._entry = scheduler, entry

    @torch.no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's present weights into the mean; the first time they are the mean.

        Raises:
            BindingError: the model has other weights or buffers than the one it was made from.
        """
        _check_alike(self.module, model)
        decay = entry_value(self._scheduler, self._entry) if bool(self.n_averaged > 0) else 0.0
        mine = [one.detach() for one in self.module.parameters()]
        _blend(mine, _like(mine, model.parameters()), decay)
        buffers = list(self.module.buffers())
        for mean, now in zip(buffers, _like(buffers, model.buffers()), strict=True):
            averaged = self.use_buffers and mean.is_floating_point()
            mean.copy_(torch.where(mean == now, now, mean.lerp(now, 1.0 - decay)) if averaged else now)
        self.n_averaged += 1


def _check_alike(mean: Module, model: Module) -> None:
    for kind in ("parameters", "buffers"):
        kept, given = (dict(getattr(one, f"named_{kind}")()) for one in (mean, model))
        shapes = {name: tensor.shape for name, tensor in kept.items()}
        for name in {**kept, **given}:
            if name not in shapes or name not in given or shapes[name] != given[name].shape:
                raise BindingError(
                    f"ScheduledAverage: {kind} differ from the averaged model's at {name}. "
                    "Average the model that it was made from"
                )


def _like(mine: list[Tensor], theirs: Iterable[Tensor]) -> list[Tensor]:
    """Another model's tensors with the type and on the device of these."""
    return [one.detach().to(own) for own, one in zip(mine, theirs, strict=True)]


def _blend(mine: list[Tensor], theirs: list[Tensor], decay: float) -> None:
    # at the ends nothing is computed, where 0 times an infinite difference would be a NaN
    if decay == 0.0:
        for mean, now in zip(mine, theirs, strict=True):
            mean.copy_(now)
    elif decay < 1.0:
        get_ema_multi_avg_fn(decay)(mine, theirs, 0)
