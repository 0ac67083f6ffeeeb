"""The exponential mean of a model: PyTorch's arithmetic with the plan's decay of each count, buffers and all."""

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import tempomat as tm
from tempomat.core import BindingError
from tempomat.torch import ScheduledAverage, Scheduler

RISE = tm.Linear(init_value=0.0, end_value=1.0, duration=10)


class Net(nn.Module):
    """Weights, BatchNorm's buffers, a mask of infinities and a counter."""

    mask: torch.Tensor
    layers: Any

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def forward(self, inputs):
        return self.layers(inputs)


def made(decay: Any = RISE, model: Any = None, **options: Any) -> Any:
    model = Net() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.1, "ema_decay": decay}))
    return model, scheduler, ScheduledAverage(model, scheduler, **options)


def update(model, scheduler, *averages, seed):
    generator = torch.Generator().manual_seed(seed)
    scheduler.optimizer.zero_grad()
    model(torch.randn(8, 3, generator=generator)).square().mean().backward()
    scheduler.optimizer.step()
    for average in averages:
        average.update_parameters(model)
    scheduler.step()


def numbers(module):
    return {name: tensor.tolist() for name, tensor in module.state_dict().items()}


def test_at_a_constant_decay_it_is_pytorchs_bit_for_bit():
    model, scheduler, average = made(decay=0.9, model=Net().layers)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for seed in range(5):
        update(model, scheduler, average, theirs, seed=seed)
    ours, expected = numbers(average), numbers(theirs)
    # PyTorch rounds the mean of a whole number down; here it is the model's
    del expected["module.1.num_batches_tracked"]
    assert ours.pop("module.1.num_batches_tracked") == 5
    assert ours == expected


def test_each_update_uses_the_decay_of_its_count():
    weight = nn.Linear(1, 1, bias=False)
    _, scheduler, average = made(model=weight)
    mean = None
    for now in (5.0, 3.0, -2.0, 8.0):
        decay = RISE(scheduler.counts["optimizer_steps"])
        nn.init.constant_(weight.weight, now)
        average.update_parameters(weight)
        mean = now if mean is None else decay * mean + (1 - decay) * now
        assert average.module.weight.item() == pytest.approx(mean, rel=1e-6, abs=0)  # float32
        scheduler.advance(optimizer_steps=1)


@pytest.mark.parametrize(("decay", "kept"), [(0.0, 7.0), (1.0, 5.0)])
def test_at_its_ends_the_mean_is_the_weights_or_stays_infinite_ones_included(decay, kept):
    weight = nn.Linear(1, 2, bias=False)
    _, _, average = made(decay=decay, model=weight)
    for first, second in ((5.0, -math.inf), (7.0, math.inf)):
        weight.weight.data = torch.tensor([[first], [second]])
        average.update_parameters(weight)
    assert average.module.weight.tolist() == [[kept], [math.inf if kept == 7.0 else -math.inf]]


def test_statistics_are_averaged_whole_numbers_copied_and_a_mask_of_infinities_stays_one():
    model, scheduler, average = made(decay=0.5)
    seen = []
    for seed in range(2):
        update(model, scheduler, average, seed=seed)
        seen.append(model.layers[1].running_mean.clone())
    assert torch.equal(average.module.layers[1].running_mean, seen[0].lerp(seen[1], 0.5))
    assert average.module.layers[1].num_batches_tracked == 2
    assert average.module.mask.tolist() == [0.0, -math.inf]


def test_buffers_can_be_copied_instead():
    model, scheduler, average = made(decay=0.5, use_buffers=False)
    for seed in range(2):
        update(model, scheduler, average, seed=seed)
    assert torch.equal(average.module.layers[1].running_mean, model.layers[1].running_mean)
    assert not torch.equal(average.module.layers[0].weight, model.layers[0].weight)


def test_a_run_that_was_broken_off_has_the_mean_of_one_that_was_not():
    model, scheduler, average = made()
    start = copy.deepcopy(model.state_dict())
    for seed in range(6):
        update(model, scheduler, average, seed=seed)
    unbroken = numbers(average)

    def begin():
        fresh = Net()
        fresh.load_state_dict(start)
        return made(model=fresh)

    first = begin()
    for seed in range(4):
        update(*first, seed=seed)
    file = io.BytesIO()
    torch.save([one.state_dict() for one in (*first, first[1].optimizer)], file)
    file.seek(0)
    second = begin()
    for one, state in zip((*second, second[1].optimizer), torch.load(file, weights_only=True), strict=True):
        one.load_state_dict(state)
    for seed in range(4, 6):
        update(*second, seed=seed)
    assert numbers(second[2]) == unbroken


def test_the_mean_of_a_bfloat16_model_moves_where_it_is_kept_in_float32():
    weight = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    _, _, same = made(decay=0.999, model=weight)
    _, _, wider = made(decay=0.999, model=weight, dtype=torch.float32)
    for value in (1.0, *[1.5] * 100):
        nn.init.constant_(weight.weight, value)
        for average in (same, wider):
            average.update_parameters(weight)
    assert same.module.weight.item() == 1.0
    assert wider.module.weight.item() == pytest.approx(1.5 - 0.5 * 0.999**100, rel=1e-5, abs=0)
    assert wider(torch.ones(1)).dtype == torch.float32


def test_tensorflows_warmup_of_the_decay_is_a_schedule():
    decay = (1 - tm.InverseTime(init_value=0.9, decay_rate=0.1)).minimum(0.99)
    expected = [min(0.99, (1 + t) / (10 + t)) for t in range(2_000)]
    assert [decay(t) for t in range(2_000)] == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"entry": "ema"}, "ema: the plan has no entry of that name. .*Entries: lr, ema_decay"),
        ({"dtype": torch.int64}, "`dtype` must be a floating-point type, got torch.int64"),
    ],
)
def test_what_cannot_be_averaged_so_is_refused(options, words):
    with pytest.raises(BindingError, match=words):
        made(**options)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (nn.Linear(4, 1), "parameters differ from the averaged model's at weight"),
        (nn.Linear(3, 1, bias=False), "parameters differ from the averaged model's at bias"),
    ],
)
def test_another_model_than_the_one_it_was_made_from_is_refused(other, words):
    _, _, average = made(model=nn.Linear(3, 1))
    with pytest.raises(BindingError, match=words):
        average.update_parameters(other)
    assert average.n_averaged == 0
