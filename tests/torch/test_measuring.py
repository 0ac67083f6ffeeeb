"""What controllers hear is measured right: gradient noise, the size of an update, the divergence of policies."""

# Gradients are there where a backward pass was made, and arguments of wrong types are given on purpose.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

import tempomat as tm
from tempomat.torch import GradientNoise, UpdateRatio, categorical_kl, gaussian_kl, sampled_kl


def close(value, expected, tolerance=1e-12):
    assert value == pytest.approx(expected, rel=tolerance, abs=0)


def update(weight, noise, targets_by_batch):
    """One update of a mean squared error in micro-batches; returns each batch's mean gradient, and the whole one's."""
    total = sum(map(len, targets_by_batch))
    weight.grad = None
    for targets in targets_by_batch:
        share = len(targets) / total
        ((weight - targets).square().mean() * share).backward()
        noise.add(len(targets), weight=share)
    each = [float(2 * (weight.detach() - targets).mean()) for targets in targets_by_batch]
    return each, float(weight.grad)


def parameter(value=0.0):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def test_equal_micro_batches_give_the_simple_noise_scale():
    weight, draws = parameter(), torch.randn(12, dtype=torch.float64) + 3
    noise = GradientNoise([weight], decay=0.0)
    each, whole = update(weight, noise, draws.split(4))
    close(noise.measure(), tm.noise_scale(sum(one**2 for one in each) / 3, whole**2, 4, 12))


def test_the_estimates_are_unbiased_for_micro_batches_of_unequal_size():
    # as many independent coordinates as draws of one would need
    weight = torch.nn.Parameter(torch.zeros(200_000, dtype=torch.float64))
    noise = GradientNoise([weight], decay=0.0)
    targets = 0.5 + torch.randn(7, 200_000, dtype=torch.float64)
    for micro in targets.split([4, 2, 1]):
        ((weight - micro).square().sum(-1).mean() * len(micro) / 7).backward()
        noise.add(len(micro), weight=len(micro) / 7)
    # a sample's gradients are 2 (w - x): variance 4, mean -1, and the estimate of the first has a spread of 5
    assert noise.measure() == pytest.approx(4.0, rel=0.04, abs=0)
    assert noise.trace / 200_000 == pytest.approx(4.0, rel=0.03, abs=0)
    assert noise.signal_sq / 200_000 == pytest.approx(1.0, rel=0.03, abs=0)


def test_means_are_taken_before_the_ratio_and_go_on_from_a_state():
    weight, draws = parameter(), torch.randn(6, 4, dtype=torch.float64) + 1
    noise, fresh = GradientNoise([weight], decay=0.5), GradientNoise([weight], decay=0.0)
    traces, signals, measured = [], [], []
    for row in draws:
        weight.grad = None
        for half in row.split(2):
            ((weight - half).square().mean() / 2).backward()
            noise.add(2, weight=0.5)
            fresh.add(2, weight=0.5)
        measured.append(noise.measure())
        fresh.measure()
        traces.append(fresh.trace)
        signals.append(fresh.signal_sq)
    powers = 0.5 ** np.arange(6)[::-1]
    close(measured[-1], np.dot(powers, traces) / np.dot(powers, signals))
    again = GradientNoise([weight], decay=0.5)
    again.load_state_dict(noise.state_dict())
    weight.grad = None
    for half in draws[0].split(2):
        ((weight - half).square().mean() / 2).backward()
        for one in (noise, again, fresh):
            one.add(2, weight=0.5)
    assert again.measure() == noise.measure() != fresh.measure()


def test_a_scaled_loss_measures_the_same():
    weight, draws = parameter(), torch.randn(6, dtype=torch.float64) + 1
    plain, scaled = GradientNoise([weight], decay=0.0), None
    update(weight, plain, draws.split(3))
    expected = plain.measure()
    plain.close()
    scaled = GradientNoise([weight], decay=0.0)
    weight.grad = None
    for half in draws.split(3):
        ((weight - half).square().mean() * 0.5 * 1024).backward()
        scaled.add(3, weight=0.5 * 1024)
    weight.grad /= 1024  # what unscale_ does
    close(scaled.measure(), expected)


def test_a_batch_in_one_piece_has_no_noise_scale():
    weight = parameter()
    noise = GradientNoise([weight])
    update(weight, noise, [torch.ones(4, dtype=torch.float64)])
    assert noise.measure() is None
    assert noise.state_dict()["weight"] == 0.0


def test_noise_that_drowns_the_gradient_is_infinite_and_a_nan_joins_no_mean():
    weight = parameter()
    noise = GradientNoise([weight], decay=0.0)
    update(weight, noise, torch.tensor([1.0, -1.0], dtype=torch.float64).split(1))
    assert noise.measure() == math.inf
    before = noise.state_dict()
    update(weight, noise, torch.tensor([math.nan, -1.0], dtype=torch.float64).split(1))
    assert math.isnan(noise.measure())
    assert noise.state_dict() == before


def test_a_parameter_used_twice_in_a_pass_is_seen_once():
    weight = parameter(1.0)
    noise = GradientNoise([weight], decay=0.0)
    for target in (1.0, 2.0):
        ((weight + weight * target) * 0.5).backward()
        noise.add(1, weight=0.5)
    close(noise.measure(), tm.noise_scale((4 + 9) / 2, 2.5**2, 1, 2))


def test_frozen_and_unused_parameters_are_left_out():
    weight, frozen, unused = parameter(1.0), parameter(), parameter()
    frozen.requires_grad_(False)
    unused.grad = torch.tensor(100.0, dtype=torch.float64)
    noise = GradientNoise([weight, frozen, unused], decay=0.0)
    for target in (1.0, 2.0):
        (weight * target * 0.5).backward()
        noise.add(1, weight=0.5)
    close(noise.measure(), tm.noise_scale((1 + 4) / 2, 1.5**2, 1, 2))


def test_what_cannot_be_measured_is_refused():
    weight = parameter()
    noise = GradientNoise([weight])
    with pytest.raises(tm.TempomatError, match="nothing was added since the last measure"):
        noise.measure()
    with pytest.raises(tm.TempomatError, match="no backward pass since the last add"):
        noise.add(1)
    weight.square().backward()
    weight.square().backward()
    with pytest.raises(tm.TempomatError, match="more than one backward pass since the last add"):
        noise.add(1)
    for arguments, name in (((0,), "samples"), ((1, 0.0), "weight")):
        weight.square().backward()
        with pytest.raises(tm.TempomatError, match=f"{name} must be above 0, got 0"):
            noise.add(*arguments)
    weight.square().backward()
    noise.add(1)
    weight.grad = None
    with pytest.raises(tm.TempomatError, match="no gradient any more"):
        noise.measure()
    with pytest.raises(tm.TempomatError, match="no parameter takes a gradient"):
        GradientNoise([torch.nn.Parameter(torch.ones(1), requires_grad=False)])
    with pytest.raises(tm.TempomatError, match=r"decay must be at least 0 and below 1, got 1\.0"):
        GradientNoise([weight], decay=1.0)
    for state in ({}, {"trace": 1.0, "signal_sq": math.nan, "weight": 1.0}, {"trace": 1, "signal_sq": 1, "weight": 1}):
        with pytest.raises(tm.StateError, match="has finite trace, signal_sq, weight"):
            noise.load_state_dict(state)


def test_a_closed_measurement_no_longer_listens():
    weight = parameter()
    noise = GradientNoise([weight])
    noise.close()
    weight.square().backward()
    with pytest.raises(tm.TempomatError, match="no backward pass"):
        noise.add(1)


def test_an_update_is_measured_against_the_weights_before_it():
    weights = [parameter(3.0), parameter(4.0)]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    weights[0].grad, weights[1].grad = (torch.tensor(value, dtype=torch.float64) for value in (0.3, 0.4))
    with UpdateRatio(weights) as update:
        optimizer.step()
    close(update.ratio, 0.1)
    with update:
        pass
    assert update.ratio == 0.0
    with pytest.raises(RuntimeError, match="out of memory"), update:
        raise RuntimeError("out of memory")
    with pytest.raises(tm.TempomatError, match="no update was measured"):
        _ = update.ratio
    zero = UpdateRatio([weight := parameter()])
    with zero:
        weight.data.fill_(1.0)
    assert zero.ratio == math.inf
    with pytest.raises(tm.TempomatError, match="there is no parameter"):
        UpdateRatio([])


def test_divergences_are_those_of_torch_distributions():
    old, new = torch.randn(5, 3, 4, dtype=torch.float64), torch.randn(5, 3, 4, dtype=torch.float64)
    expected = kl_divergence(Categorical(logits=old), Categorical(logits=new)).mean()
    close(categorical_kl(old, new).item(), expected.item())
    policies = [
        Independent(Normal(mean, scale.exp()), 1) for mean, scale in ((old, new), (new, torch.full_like(new, 0.3)))
    ]
    close(
        gaussian_kl(old, new.exp(), new, torch.tensor(0.3, dtype=torch.float64).exp()).item(),
        kl_divergence(*policies).mean().item(),
    )
    assert categorical_kl(old, old).item() == gaussian_kl(old, new.exp(), old, new.exp()).item() == 0.0


def test_an_action_that_was_never_taken_adds_nothing():
    old, new = torch.tensor([0.0, 0.0, -math.inf]), torch.tensor([0.0, 0.0, 0.0])
    close(categorical_kl(old, new).item(), math.log(1.5))
    assert categorical_kl(new, old).item() == math.inf


def test_the_sampled_divergence_nears_the_true_one_and_is_never_negative():
    old, new = Normal(0.0, 1.0), Normal(0.1, 1.0)
    actions = old.sample((200_000,))
    assert sampled_kl(old.log_prob(actions), new.log_prob(actions)).item() == pytest.approx(0.005, rel=0.02, abs=0)
    assert (sampled_kl(torch.zeros(1), torch.tensor([-5.0])) > 0).all()


@pytest.mark.parametrize("measure", [categorical_kl, sampled_kl])
def test_divergences_of_other_shapes_are_refused(measure):
    with pytest.raises(tm.TempomatError, match=r"one shape, got \(2, 3\) and \(3,\)"):
        measure(torch.zeros(2, 3), torch.zeros(3))
