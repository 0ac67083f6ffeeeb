"""Measurements drive a plan in whole loops: adaptive rates as libraries have them, and decisions of several ranks."""

# A tensor of rows is a data set, though no annotation says so.
# pyright: reportArgumentType=false

import itertools
import math

import pytest
import torch
from processes import on_two_ranks
from torch.nn.parallel import DistributedDataParallel

import tempomat as tm
from tempomat.torch import (
    Batches,
    BatchSampler,
    GradientNoise,
    Rollback,
    Scheduler,
    categorical_kl,
    gaussian_kl,
    sampled_kl,
)

# Each library's rule as it stands in its source, on the param groups of an optimizer.


def rl_games(optimizer, kl):
    """rl_games 1.6, `common/schedulers.py`, `AdaptiveScheduler` with its default threshold."""
    for group in optimizer.param_groups:
        lr = group["lr"]
        if kl > 2.0 * 0.008:
            group["lr"] = max(lr / 1.5, 1e-6)
        if kl < 0.5 * 0.008:
            group["lr"] = min(lr * 1.5, 1e-2)


def rsl_rl(optimizer, kl):
    """rsl_rl 2.x and 3.x, `algorithms/ppo.py`, with `desired_kl=0.01`."""
    for group in optimizer.param_groups:
        if kl > 0.01 * 2.0:
            group["lr"] = max(1e-5, group["lr"] / 1.5)
        elif kl < 0.01 / 2.0 and kl > 0.0:
            group["lr"] = min(1e-2, group["lr"] * 1.5)


def skrl(optimizer, kl):
    """skrl 1.4, `resources/schedulers/torch/kl_adaptive.py`, with its defaults."""
    for group in optimizer.param_groups:
        if kl > 0.008 * 2:
            group["lr"] = max(group["lr"] / 1.5, 1e-6)
        elif kl < 0.008 / 2:
            group["lr"] = min(group["lr"] * 1.5, 1e-2)


def policy_loop(react, optimizer_of, measure):
    """A few iterations of a policy gradient; returns the rate before each update, and the policy's weights."""
    torch.manual_seed(0)
    policy = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)
    react = react(optimizer) if optimizer_of else react
    rates = []
    for _ in range(12):
        seen = torch.randn(64, 4)
        with torch.no_grad():
            old = policy(seen)
        for batch in range(4):
            new = policy(seen)
            kl = measure(old, new)
            loss = -(new.log_softmax(-1)[:, batch % 3] * seen[:, 0]).mean()
            optimizer.zero_grad()
            loss.backward()
            react(optimizer, kl) if not optimizer_of else react(kl)
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
    return rates, [one.detach().clone() for one in policy.parameters()]


def by_plan(rule):
    """The reaction of a Scheduler with this rule."""

    def react(optimizer):
        scheduler = Scheduler(optimizer, tm.Plan({"lr": rule}), counting="calls")
        scheduler.start()
        return lambda kl: scheduler.observe(kl=kl)

    return react


def of_gaussians(old, new):
    return gaussian_kl(old, torch.full_like(old, 0.2), new, torch.full_like(new, 0.2))


def of_samples(old, new):
    return sampled_kl(old.log_softmax(-1)[:, 0], new.detach().log_softmax(-1)[:, 0])


@pytest.mark.parametrize(
    ("library", "rule", "measure"),
    [
        (rl_games, tm.KLAdaptive(target=0.008, init_value=3e-4), of_gaussians),
        (
            rsl_rl,
            tm.KLAdaptive(target=0.01, min_value=1e-5, climb_at_zero=False, init_value=3e-4),
            lambda old, new: categorical_kl(4 * old, 4 * new),
        ),
        (skrl, tm.KLAdaptive(target=0.008, init_value=3e-4), of_samples),
    ],
)
def test_a_loop_under_a_plan_trains_bit_for_bit_as_under_the_librarys_own_rule(library, rule, measure):
    rates, weights = policy_loop(by_plan(rule), True, measure)
    expected, theirs = policy_loop(library, False, lambda old, new: float(measure(old, new)))
    assert rates == expected
    assert all(torch.equal(one, other) for one, other in zip(weights, theirs, strict=True))
    steps = {math.copysign(1, b - a) for a, b in itertools.pairwise(rates) if a != b}
    assert steps == {1, -1}  # it fell and it climbed


def test_the_measured_noise_scale_sets_the_size_of_later_batches():
    torch.manual_seed(0)
    data = torch.randn(512, 3)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters())
    size = tm.NoiseScale(min_value=8, max_value=64, multiple=8, decay=0.0, min_measurements=3, on_nan="bad")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.0, "batch_size": size}))
    sampler = BatchSampler(data, scheduler, seed=0, micro=4)
    batches = Batches(torch.utils.data.DataLoader(data, batch_sampler=sampler))
    noise, rule, sizes = GradientNoise(model.parameters(), decay=0.5), size.initial(), []
    for info, rows in batches:
        (info.weight * (model(rows) - rows.sum(-1, keepdim=True) - 1).square().mean()).backward()
        noise.add(len(rows), info.weight)
        if info.last:
            sizes.append((info.batch_size, size.level(rule)))
            scale = noise.measure()
            assert scale is not None
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            scheduler.observe(noise_scale=scale)
            rule = size.update(rule, scale, 0)
    assert all(planned == asked for planned, asked in sizes)
    assert len({planned for planned, _ in sizes}) > 1
    assert scheduler.values["batch_size"] == size.level(rule)


# Two real processes.

DRAWS = torch.arange(24, dtype=torch.float64).reshape(3, 8).sin() + 0.5
"""Three updates of eight samples."""


def noise_of(draws_by_update, ranks, pieces, rank=0):
    """What is measured over updates whose samples are shared by ranks, each in so many pieces."""
    model = torch.nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(0.0)
    wrapped = DistributedDataParallel(model) if ranks > 1 else model
    noise, found = GradientNoise(model.parameters(), decay=0.5), []
    for draws in draws_by_update:
        model.zero_grad()
        mine = draws.chunk(ranks)[rank].chunk(pieces)
        for place, piece in enumerate(mine):
            if ranks > 1:
                wrapped.require_backward_grad_sync = place == len(mine) - 1
            share = len(piece) * ranks / len(draws)
            (share * (wrapped(torch.ones(len(piece), 1).double()) - piece[:, None]).square().mean()).backward()
            noise.add(len(piece), share)
        found.append(noise.measure())
    return found


def guarded(rank):
    """A loop in which one rank alone sees a NaN in the cooldown, where no guard cuts."""
    optimizer = torch.optim.SGD(list((model := torch.nn.Linear(1, 1)).parameters()))
    lr = tm.Constant(value=0.1) * tm.DivergenceGuard(cooldown=5)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": lr}))
    rollback, went = Rollback(scheduler, model, every=1, margin=0), []
    for step in range(6):
        went.append(rollback.observe(loss=math.nan if step in (2, 4) and rank == 1 else 1.0))
        if not went[-1]:
            optimizer.step()
            scheduler.step()
            rollback.step()
    return {"went": went, "lr": scheduler.values["lr"], "counts": scheduler.counts}


def on_one_rank(rank):
    return {
        "whole": noise_of(DRAWS, 2, 1, rank),
        "pieces": noise_of(DRAWS, 2, 2, rank),
        "guarded": guarded(rank),
    }


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(on_one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("what", "pieces"), [("whole", 2), ("pieces", 4)])
def test_ranks_measure_the_noise_scale_of_one_process_with_as_many_pieces(ranks, what, pieces):
    assert ranks[0][what] == ranks[1][what]
    assert ranks[0][what] == pytest.approx(noise_of(DRAWS, 1, pieces), rel=1e-9, abs=0)


def test_all_ranks_go_back_where_one_has_to(ranks):
    assert ranks[0]["guarded"] == ranks[1]["guarded"]
    assert ranks[0]["guarded"]["went"] == [False, False, True, False, True, False]
    assert ranks[0]["guarded"]["lr"] == 0.05
