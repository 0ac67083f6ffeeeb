"""Several losses in one, weighted by entries of the plan."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tempomat.core import BindingError, Fault
from tempomat.core.errors import did_you_mean, list_faults
from tempomat.torch.scheduler import Scheduler


def weighted_loss(losses: Mapping[str, Tensor], scheduler: Scheduler, *, key: str = "loss_weight") -> Tensor:
    r"""The sum of several losses, each times its weight of now.

    .. math::
        L = \sum_i w_i L_i

    where the weight of the loss `kl` is the entry `kl.loss_weight`, and 1 where the plan has none. Such an entry
    belongs to no param group; say so with `targets={"kl.loss_weight": None}`. A loss of weight 0 is left out, so that
    one that is infinite does no harm then.

    Args:
        losses: by name; tensors of one shape, as a rule of none.
        scheduler: whose plan has the weights.
        key: the last part of the weights' names.

    Raises:
        BindingError: there is no loss, or the plan has a weight for a loss that is not given.

    Example:
        >>> import tempomat as tm, torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
        >>> plan = tm.Plan({"lr": 0.1, "kl.loss_weight": tm.Linear(init_value=0.0, end_value=1.0, duration=4)})
        >>> scheduler = Scheduler(optimizer, plan, targets={"kl.loss_weight": None})
        >>> scheduler.advance(optimizer_steps=2)
        >>> weighted_loss({"reconstruction": torch.tensor(3.0), "kl": torch.tensor(8.0)}, scheduler)
        tensor(7.)
    """
    ending = f".{key}"
    weights = {name.removesuffix(ending): value for name, value in scheduler.asked.items() if name.endswith(ending)}
    faults = [
        Fault(f"{name}{ending}", f"there is no loss of that name.{did_you_mean(name, losses)}")
        for name in weights
        if name not in losses
    ]
    if faults:
        raise BindingError(list_faults("weighted_loss", faults), faults)
    if not losses:
        raise BindingError("weighted_loss: needs at least one loss, got none")
    terms = [loss * weight for name, loss in losses.items() if (weight := weights.get(name, 1.0)) != 0.0]
    if not terms:  # a sum that backward() can be called on, with gradients of 0
        terms = [loss * 0.0 for loss in losses.values()]
    return sum(terms[1:], terms[0])
