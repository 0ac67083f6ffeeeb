"""Two real processes in a gloo group train on the batches that one process would have had."""

import pytest
import torch
from processes import on_two_ranks
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import tempomat as tm
from tempomat.torch import Batches, BatchSampler, Scheduler

SIZE = 61
SAMPLES = torch.linspace(-1.0, 1.0, SIZE * 3, dtype=torch.float64).view(SIZE, 3)
SIZES = tm.NoiseScale(min_value=4, max_value=16, decay=0.0)


def train(micro, *, parallel=False):
    """Weights after two epochs in which the batch size follows a measurement, and the sizes there were."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1, bias=False).double()
    wrapped = DistributedDataParallel(model) if parallel else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.1, "batch_size": SIZES}))
    sampler = BatchSampler(SIZE, scheduler, seed=1, micro=micro)
    batches, sizes = Batches(DataLoader(SAMPLES, batch_sampler=sampler)), []  # pyright: ignore[reportArgumentType]
    for _ in range(2):
        for info, rows in batches:
            loss = info.weight * (wrapped(rows) - rows.prod(1, keepdim=True)).square().mean()
            loss.backward()
            if info.last:
                sizes.append((info.samples, info.batch_size))
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
                scheduler.observe(noise_scale=float(4 + info.update * 5 % 13))
    return {"weights": model.weight.detach(), "sizes": sizes}


def on_one_rank(rank):
    return [train(micro, parallel=True) for micro in (None, 3)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(on_one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("micro", [None, 3])
def test_two_ranks_take_the_steps_of_one(ranks, micro):
    one = train(None)
    for rank in ranks:
        found = rank[0 if micro is None else 1]
        assert [tuple(sizes) for sizes in found["sizes"]] == one["sizes"]
        torch.testing.assert_close(found["weights"], one["weights"], rtol=1e-10, atol=0)
