"""Several losses in one, weighted by the plan."""

import math

import pytest
import torch
from torch.nn import Parameter
from torch.optim import SGD

import tempomat as tm
from tempomat.core import BindingError
from tempomat.torch import Scheduler, weighted_loss

RISE = tm.Linear(init_value=0.0, end_value=1.0, duration=4)


def scheduled(**weights):
    entries = {f"{name}.loss_weight": weight for name, weight in weights.items()}
    optimizer = SGD([Parameter(torch.zeros(1))], lr=0.1)
    return Scheduler(optimizer, tm.Plan({"lr": 0.1, **entries}), targets=dict.fromkeys(entries))


def test_each_loss_counts_with_its_weight_of_the_count_and_one_without_a_weight_as_it_is():
    scheduler, seen = scheduled(kl=RISE, prior=2.0), []
    losses = {"data": torch.tensor(1.0), "kl": torch.tensor(8.0), "prior": torch.tensor(16.0)}
    for _ in range(5):
        seen.append(weighted_loss(losses, scheduler).item())
        scheduler.advance(optimizer_steps=1)
    assert seen == [33.0, 35.0, 37.0, 39.0, 41.0]


def test_gradients_are_weighted_too():
    data, kl = (Parameter(torch.tensor(3.0)) for _ in range(2))
    scheduler = scheduled(kl=0.25)
    weighted_loss({"data": data * 2, "kl": kl * 2}, scheduler).backward()
    assert [one.grad.item() for one in (data, kl) if one.grad is not None] == [2.0, 0.5]


def test_a_loss_of_weight_zero_does_no_harm_even_if_it_is_infinite():
    losses = {"data": torch.tensor(3.0), "kl": torch.tensor(math.inf)}
    assert weighted_loss(losses, scheduled(kl=RISE)).item() == 3.0


def test_with_all_weights_at_zero_there_is_still_a_loss_to_call_backward_on():
    weight = Parameter(torch.tensor(3.0))
    weighted_loss({"data": weight * 2}, scheduled(data=0.0)).backward()
    assert weight.grad == 0.0


def test_weights_for_losses_that_are_not_given_are_refused_all_at_once():
    with pytest.raises(
        BindingError, match=r"kl.loss_weight: there is no loss of that name. Did you mean kll"
    ) as caught:
        weighted_loss({"kll": torch.tensor(1.0)}, scheduled(kl=1.0, prior=1.0))
    assert [fault.path for fault in caught.value.faults] == ["kl.loss_weight", "prior.loss_weight"]


def test_no_loss_at_all_is_refused():
    with pytest.raises(BindingError, match="needs at least one loss, got none"):
        weighted_loss({}, scheduled())
