"""Two real processes in a gloo group: a decision is taken once, on the reduced measurement, or on no rank at all."""

import math
from typing import Any

import pytest
import torch
from processes import on_two_ranks

import tempomat as tm
from tempomat.torch import Scheduler

LOSSES = [[1.0, 1.0, 0.75, 0.9, 0.9, 0.9], [1.0, 0.5, 0.75, 0.6, 0.61, 0.62]]
"""What two ranks measure; alone they would decide at other counts."""


def scheduler(lr=None, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rule = tm.Plateau(factor=0.5, patience=1, threshold=0.0)
    return optimizer, Scheduler(optimizer, tm.Plan({"lr": lr or tm.Constant(value=1.0) * rule}), **options)


def train(losses, **options):
    optimizer, one = scheduler(**options)
    values = []
    for loss in losses:
        optimizer.step()
        one.step(loss)
        values.append(one.values["lr"])
    return values


def refused(action):
    try:
        action()
    except tm.TempomatError as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def steps_of(one, optimizer, loss):
    optimizer.step()
    return refused(lambda: one.step(loss)), one.counts["optimizer_steps"]


def on_one_rank(rank):
    found: dict[str, Any] = {"together": train(LOSSES[rank]), "alone": train(LOSSES[rank], ranks="alone")}
    optimizer, one = scheduler()
    if rank:
        one.advance(optimizer_steps=3)
    found["counts"] = steps_of(one, optimizer, 1.0)
    optimizer, one = scheduler(lr=tm.Constant(value=0.1 * (rank + 1)) * tm.Plateau())
    found["plan"] = steps_of(one, optimizer, 1.0)
    optimizer, one = scheduler()
    found["refused"] = steps_of(one, optimizer, "x" if rank else 1.0)
    optimizer, one = scheduler()
    found["nan"] = steps_of(one, optimizer, math.nan if rank else 1.0)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(on_one_rank, tmp_path_factory.mktemp("ranks"))


def test_every_rank_takes_the_decision_of_the_mean(ranks):
    mean = [sum(both) / 2 for both in zip(*LOSSES, strict=True)]
    assert ranks[0]["together"] == ranks[1]["together"] == train(mean)


def test_alone_each_rank_decides_on_its_own(ranks):
    assert [one["alone"] for one in ranks] == [train(losses) for losses in LOSSES]
    assert ranks[0]["alone"] != ranks[1]["alone"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("counts", "StateError: rank 1 is at optimizer_steps 3, rank 0 at 0"),
        ("plan", "StateError: rank 1 has another plan than rank 0"),
        ("nan", "MeasurementError: Plateau: val_loss must be a finite number, got nan"),
    ],
)
def test_what_ranks_disagree_in_is_refused_on_all_of_them_and_nothing_moves(ranks, what, message):
    for rank, (text, count) in enumerate(one[what] for one in ranks):
        assert text.startswith(message)
        assert count == (3 if what == "counts" and rank else 0)


def test_a_measurement_that_one_rank_refuses_is_taken_by_none(ranks):
    assert ranks[0]["refused"][0].startswith("MeasurementError: rank 1 has refused its measurement")
    assert ranks[1]["refused"][0].startswith("MeasurementError: val_loss must be a number, got 'x'")
    assert [one["refused"][1] for one in ranks] == [0, 0]
