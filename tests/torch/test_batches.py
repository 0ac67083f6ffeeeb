"""Batches of a size that changes: the same whatever fetches them, whole across ranks, exact across a resume."""

import itertools
import json
from typing import Any, cast

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import tempomat as tm
from tempomat.runs import Recorder, read_run
from tempomat.torch import Applied, Batches, BatchSampler, Scheduler
from tempomat.torch.stream import Shuffled, split, words

SIZE = 103
RAMP = tm.PiecewiseConstant(values=(5, 16, 7.9), boundaries=(6, 11))
PLAN = tm.Plan({"batch_size": RAMP, "sequence_length": tm.Linear(init_value=8, end_value=64, duration=20)})
FETCHING = [
    {},
    {"num_workers": 1},
    {"num_workers": 2, "prefetch_factor": 3},
    {"num_workers": 2, "persistent_workers": True},
]


class Seen(Dataset[Any]):
    """Samples that tell what their worker was told of the batch."""

    def __len__(self) -> int:
        return SIZE

    def __getitems__(self, indices: Any) -> list[Any]:
        return [(index, indices.info.values["sequence_length"]) for index in indices]


def batches(plan: Any = PLAN, *, size: Any = SIZE, data: Any = None, fetching=FETCHING[0], **options):
    sampler = BatchSampler(size, plan, **{"seed": 3, **options})
    data = torch.arange(SIZE) if data is None else data
    return Batches(DataLoader(data, batch_sampler=sampler, **fetching))


def epochs(loader, number=2):
    return [(info, batch.tolist()) for _ in range(number) for info, batch in loader]


def sgd(plan, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return optimizer, Scheduler(optimizer, plan, **options)


def joined(found):
    """The samples of batches in a row."""
    return [index for _, batch in found for index in batch]


def raising(loader, match):
    with pytest.raises(tm.BindingError, match=match):
        epochs(loader)


@pytest.mark.parametrize("fetching", FETCHING[1:], ids=["worker", "prefetching", "persistent"])
def test_batches_are_the_same_whatever_fetches_them(fetching):
    options = {"micro": 4, "also": ["sequence_length"]}
    expected = epochs(batches(**options))
    assert epochs(batches(fetching=fetching, **options)) == expected
    assert [info.update for info, _ in expected if info.last] == list(range(expected[-1][0].update + 1))


def test_the_size_of_each_update_is_that_of_the_plan_rounded_down():
    found = [info for info, _ in epochs(batches(), 2)]
    assert [info.batch_size for info in found[:13]] == [5] * 6 + [16] * 5 + [7] * 2
    assert all(info.samples == info.batch_size for info in found if info.update not in (10, 25))
    assert [info.samples for info in found if info.update in (10, 25)] == [103 - 6 * 5 - 4 * 16, 103 - 14 * 7]
    for info in found:
        assert info.counts["optimizer_steps"] == info.update
        assert info.counts["samples"] == sum(one.samples for one in found[: info.update])
        assert info.values["batch_size"] == info.batch_size


@pytest.mark.parametrize("drop_last", [False, True], ids=["keep", "drop"])
def test_an_epoch_has_every_sample_once_and_drops_less_than_a_batch(drop_last):
    loader = batches(drop_last=drop_last)
    for epoch in range(3):
        assert loader.epoch == epoch
        length, found = len(loader), list(loader)
        assert length == len(found)
        seen = [index for _, batch in found for index in batch.tolist()]
        assert len(set(seen)) == len(seen)
        after = found[-1][0]
        missing = SIZE - len(seen)
        assert missing < RAMP(after.update + 1) if drop_last else missing == 0
        assert not drop_last or all(info.samples == info.batch_size for info, _ in found)
    assert drop_last == (missing > 0)


def test_epochs_have_other_orders_and_seeds_too():
    found = joined(epochs(batches()))
    first, second = found[:SIZE], found[SIZE:]
    assert sorted(first) == sorted(second) == list(range(SIZE))
    assert first != second
    assert joined(epochs(batches(seed=4), 1)) != first
    assert epochs(batches(shuffle=False), 1)[0][1] == [0, 1, 2, 3, 4]


def test_the_order_is_that_of_philox_words_in_every_version():
    assert words(3, 1, 2).tolist() == [13652367922584412156, 15649216603714737163]
    assert words(3, 1, 8).tolist()[4:] == words(3, 1, 4, skip=1).tolist()
    assert Shuffled(8, seed=3).permutation(1).tolist() == [7, 3, 5, 6, 4, 0, 2, 1]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("micro", [None, 3])
@pytest.mark.parametrize("drop_last", [False, True], ids=["keep", "drop"])
def test_ranks_share_each_update_and_lose_and_double_nothing(world_size, micro, drop_last):
    plan = tm.Plan({"batch_size": tm.PiecewiseConstant(values=(10, 25), boundaries=(4,))})
    options = {"micro": micro, "drop_last": drop_last}
    ranks = [epochs(batches(plan, world_size=world_size, rank=rank, **options)) for rank in range(world_size)]
    whole = joined(epochs(batches(plan, drop_last=drop_last)))
    assert len({len(one) for one in ranks}) == 1
    together = []
    for update, parts in itertools.groupby(zip(*ranks, strict=True), lambda parts: parts[0][0].update):
        parts = list(parts)
        infos = [info for part in parts for info, _ in part]
        assert {info.update for info in infos} == {update}
        assert [part[0][0].last for part in parts] == [False] * (len(parts) - 1) + [True]
        total = sum(len(batch) for part in parts for _, batch in part)
        assert {info.samples for info in infos} == {total}
        assert sum(info.weight for info in infos) / world_size == pytest.approx(1.0, rel=1e-12, abs=0)
        assert micro is None or max(len(batch) for part in parts for _, batch in part) <= micro
        together += [index for rank in range(world_size) for part in parts for index in part[rank][1]]
    assert together == whole


def test_what_is_left_of_an_epoch_and_cannot_be_shared_joins_the_last_update():
    plan = tm.Plan({"batch_size": 25})
    found = [info for info, _ in epochs(batches(plan, world_size=4, rank=3), 1)]
    assert [info.samples for info in found] == [25, 25, 25, 28]
    assert {info.batch_size for info in found} == {25}
    assert [info.samples for info, _ in epochs(batches(plan, world_size=3, rank=2), 1)] == [25, 25, 25, 25, 3]


def test_micro_batches_add_up_to_the_gradient_of_the_whole_update():
    torch.manual_seed(0)
    inputs, labels = torch.randn(SIZE, 6, dtype=torch.float64), torch.randn(SIZE, 1, dtype=torch.float64)
    plan = tm.Plan({"batch_size": 25})

    def gradients(**options):
        model = torch.nn.Linear(6, 1).double()
        torch.nn.init.ones_(model.weight)
        torch.nn.init.zeros_(model.bias)
        found = []
        for info, batch in batches(plan, **options):
            (info.weight * functional.mse_loss(model(inputs[batch]), labels[batch])).backward()
            if info.last:
                found.append(torch.clone(cast("torch.Tensor", model.weight.grad)))
                model.zero_grad()
        return torch.stack(found)

    whole = gradients()
    torch.testing.assert_close(gradients(micro=4), whole, rtol=1e-12, atol=0)
    ranks = [gradients(micro=4, world_size=2, rank=rank) for rank in range(2)]
    torch.testing.assert_close(sum(ranks) / 2, whole, rtol=1e-12, atol=0)


def broken_off(make, after, *, loads=None, total=30):
    """Batches until `after` of them, and from the state then on in a new loader; with the states' JSON between."""
    loader, found = make(), []

    def go_on(loader, until):
        while len(found) < until:
            for info, batch in loader:
                found.append((info, batch.tolist()))
                if len(found) == until:
                    return

    go_on(loader, after)
    state = json.loads(json.dumps(loader.state_dict()))
    again = (loads or make)()
    again.load_state_dict(state)
    go_on(again, total)
    return found


@pytest.mark.parametrize("fetching", FETCHING[::2], ids=["alone", "prefetching"])
@pytest.mark.parametrize("drop_last", [False, True], ids=["keep", "drop"])
def test_a_resume_after_any_batch_goes_on_with_the_next(fetching, drop_last):
    def make():
        return batches(fetching=fetching, drop_last=drop_last)

    unbroken = epochs(batches(drop_last=drop_last), 4)[:30]
    for after in range(0, 30, 1 if not fetching else 6):
        assert broken_off(make, after) == unbroken


def test_the_epoch_of_the_last_batch_is_over_when_the_state_is_taken():
    loader = batches(tm.Plan({"batch_size": 50}), drop_last=True)
    seen = []
    for epoch in range(loader.epoch, 2):
        for info, _ in loader:
            seen.append((epoch, info.epoch, info.update, loader.epoch))
    assert seen == [(0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 2, 1), (1, 1, 3, 2)]


def test_an_epoch_that_was_said_to_be_over_is_over():
    plan = tm.Plan({"batch_size": tm.NoiseScale(min_value=5, max_value=60, init_value=60, decay=0.0)})
    _, scheduler = sgd(plan)
    loader = batches(scheduler, drop_last=True)
    for info, _ in loader:
        assert (info.update, loader.epoch) == (0, 1)
        scheduler.observe(noise_scale=20.0)  # two such batches would still fit
    assert [info.epoch for info, _ in loader] == [1] * 5


def test_a_scheduler_that_stays_behind_what_is_planned_changes_nothing():
    _, scheduler = sgd(PLAN)
    found = []
    for info, batch in batches(scheduler, fetching={"num_workers": 2, "prefetch_factor": 3}):
        found.append((info.batch_size, batch.tolist(), scheduler.values["batch_size"]))
        scheduler.advance(optimizer_steps=1)
    assert [batch for _, batch, _ in found] == [batch for _, batch in epochs(batches(), 1)]
    assert all(size == int(said) for size, _, said in found)


def test_a_state_between_micro_batches_does_the_update_anew():
    def make():
        return batches(micro=3)

    unbroken = epochs(make(), 1)
    (second,) = (place for place, (info, _) in enumerate(unbroken) if (info.update, info.micro) == (4, 0))
    found = broken_off(make, second + 1, total=second + 5)
    assert found[: second + 1] == unbroken[: second + 1]
    assert found[second + 1 :] == unbroken[second : second + 4]


def test_a_run_goes_on_with_another_number_of_ranks():
    plan = tm.Plan({"batch_size": 12})
    two = broken_off(lambda: batches(plan), 4, loads=lambda: batches(plan, world_size=2, rank=1, micro=4), total=8)
    unbroken = epochs(batches(plan), 1)
    assert joined(two[4:]) == unbroken[4][1][6:] + unbroken[5][1][6:]


NOISE = tm.Plan({"batch_size": tm.NoiseScale(min_value=2, max_value=32, decay=0.0), "lr": 0.1})


def noisy(fetching, after=None, total=24):
    """A run in which the size follows a measurement; resumed after an update where asked."""

    def make():
        _, scheduler = sgd(NOISE)
        return scheduler, batches(scheduler, fetching=fetching)

    (scheduler, loader), found = make(), []
    while len(found) < total:
        for info, batch in loader:
            found.append((info.batch_size, batch.tolist(), scheduler.values["batch_size"]))
            scheduler.observe(noise_scale=2.0 + (info.update * 7) % 11)
            if len(found) == after or len(found) == total:
                break
        if len(found) == after:
            states = json.loads(json.dumps([scheduler.state_dict(), loader.state_dict()]))
            scheduler, loader = make()
            scheduler.load_state_dict(states[0])
            loader.load_state_dict(states[1])
    return found


def test_a_controllers_decision_holds_from_the_next_batch_that_is_planned():
    alone, ahead = noisy({}), noisy({"num_workers": 1, "prefetch_factor": 3})
    assert all(size == said for size, _, said in alone)
    # one batch was with the loop and three with the worker when the first decision was taken
    assert [size for size, _, _ in ahead[:6]] == [2] * 4 + [size for size, _, _ in alone[1:3]] == [2] * 5 + [9]
    assert any(size != said for size, _, said in ahead)


@pytest.mark.parametrize("fetching", [{}, {"num_workers": 1, "prefetch_factor": 3}], ids=["alone", "prefetching"])
def test_a_resume_under_a_controller_keeps_what_was_planned(fetching):
    unbroken = noisy(fetching)
    for after in (1, 2, 9, 17):
        assert noisy(fetching, after) == unbroken


def test_the_record_says_what_each_batch_was_planned_for(tmp_path):
    _, scheduler = sgd(NOISE)
    loader = batches(scheduler, fetching={"num_workers": 1, "prefetch_factor": 3})
    applied, sizes = Applied(scheduler, loader), []
    with Recorder(tmp_path / "run", scheduler.plan) as recorder:
        for info, batch in loader:
            recorder.write(applied, loss=1.0)
            sizes.append(len(batch) if info.samples == info.batch_size else info.batch_size)
            scheduler.observe(noise_scale=2.0 + (info.update * 7) % 11)
            scheduler.advance(optimizer_steps=1)
    _, asked, held = read_run(tmp_path / "run").series("batch_size")
    assert held.tolist() == sizes
    assert asked.tolist() != sizes


def test_a_row_between_two_batches_says_what_holds_for_the_next(tmp_path):
    _, scheduler = sgd(NOISE)
    loader = batches(scheduler, fetching={"num_workers": 1, "prefetch_factor": 3})
    applied, sizes = Applied(scheduler, loader), []
    with Recorder(tmp_path / "run", scheduler.plan) as recorder:
        for info, _ in loader:
            sizes.append(info.batch_size)
            scheduler.observe(noise_scale=2.0 + (info.update * 7) % 11)
            scheduler.advance(optimizer_steps=1)
            recorder.write(applied, val_loss=1.0)
    held = read_run(tmp_path / "run").series("batch_size").applied.tolist()
    assert held[:-1] == sizes[1:]
    assert held[-1] == scheduler.values["batch_size"]


@pytest.mark.parametrize("fetching", FETCHING, ids=["alone", "one", "two", "persistent"])
def test_random_numbers_go_on_as_if_the_run_had_not_been_broken_off(fetching):
    def drawn(loader, most=None):
        return [torch.rand(1).item() for _ in itertools.islice(loader, most)]

    torch.manual_seed(5)
    unbroken = batches(fetching=fetching)
    expected = drawn(unbroken) + drawn(unbroken)
    torch.manual_seed(5)
    first = batches(fetching=fetching)
    found = drawn(first, 4)
    states = first.state_dict(), torch.get_rng_state()
    again = batches(fetching=fetching)
    again.load_state_dict(states[0])
    torch.set_rng_state(states[1])
    assert found + drawn(again) + drawn(again) == expected


class Noise(Dataset[Any]):
    """Samples that a worker draws."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> float:
        return torch.rand(1).item()


def test_what_workers_draw_follows_from_pytorchs_seed_and_is_another_in_each_epoch():
    def drawn(seed):
        torch.manual_seed(seed)
        loader = batches(data=Noise(), fetching={"num_workers": 1})
        return [[batch.tolist() for _, batch in loader] for _ in range(2)]

    first, other = drawn(1), drawn(2)
    assert drawn(1) == first
    assert first[0] != first[1]
    assert first[0] != other[0]


def test_a_generator_of_the_users_is_the_loaders():
    mine = torch.Generator().manual_seed(1)
    loader = batches(fetching={"generator": mine})
    before = mine.get_state()
    next(iter(loader))
    assert loader.loader.generator is mine
    assert not torch.equal(mine.get_state(), before)


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_a_sampler_of_more_or_fewer_samples_than_there_are_is_refused(size):
    with pytest.raises(tm.BindingError, match=f"orders {size} samples, and the loader's data set has {SIZE}"):
        batches(size=size, data=torch.arange(SIZE))


def test_workers_are_told_the_values_of_their_batch():
    sampler = BatchSampler(Seen(), PLAN, seed=0, also=["sequence_length"])
    loader = Batches(DataLoader(Seen(), batch_sampler=sampler, num_workers=2, prefetch_factor=4, collate_fn=list))
    for info, batch in loader:
        assert {length for _, length in batch} == {PLAN["sequence_length"](info.update)}


def test_the_size_follows_samples_and_epochs_as_the_sampler_counts_them():
    by_samples = tm.on("samples", tm.PiecewiseConstant(values=(10, 20), boundaries=(40,)))
    by_epochs = tm.on("epochs", tm.PiecewiseConstant(values=(1, 2), boundaries=(1,)))
    found = [info for info, _ in epochs(batches(tm.Plan({"batch_size": by_samples * by_epochs})))]
    assert [info.samples for info in found] == [10] * 4 + [20] * 3 + [3] + [40, 40, 23]
    assert [info.counts["epochs"] for info in found] == [0] * 8 + [1] * 3


def test_clocks_that_the_loop_counts_are_read_when_a_batch_is_planned():
    plan = tm.Plan({"batch_size": tm.on("env_steps", tm.PiecewiseConstant(values=(10, 20), boundaries=(3,)))})
    _, scheduler = sgd(plan)
    sizes = []
    for info, _ in batches(scheduler):
        sizes.append(info.batch_size)
        scheduler.advance(env_steps=1)
    assert sizes == [10, 10, 10, 20, 20, 20, 20]


def test_a_forgotten_clock_of_samples_is_an_error():
    plan = tm.Plan({"batch_size": 10, "lr": tm.on("samples", tm.Linear(init_value=1, end_value=0, duration=100))})
    optimizer, scheduler = sgd(plan)
    raising(batches(scheduler), r"is at 0 samples, and the batch was planned for 10\. After each update")
    optimizer, scheduler = sgd(plan)
    for info, _ in batches(scheduler):
        assert scheduler.values["lr"] == max(0.0, 1 - info.counts["samples"] / 100)
        optimizer.step()
        scheduler.step()
        scheduler.advance(samples=info.samples)
    assert scheduler.counts["samples"] == SIZE


def test_batches_that_begin_anew_under_a_scheduler_that_went_on_are_an_error():
    optimizer, scheduler = sgd(PLAN)
    first = batches(scheduler)
    for _ in itertools.islice(first, 7):
        optimizer.step()
        scheduler.step()
    fresh = batches(scheduler)
    raising(fresh, "the scheduler is at 7 optimizer steps, and the batches begin anew at 0. After loading")
    fresh.load_state_dict(fresh.state_dict(), counts=scheduler.counts)
    info, _ = next(iter(fresh))
    assert (info.update, info.batch_size, info.counts["optimizer_steps"]) == (0, 16, 7)
    resumed = batches(scheduler)
    resumed.load_state_dict(first.state_dict())
    assert next(iter(resumed))[0].update == 7


def test_a_step_between_two_micro_batches_of_an_update_is_an_error():
    optimizer, scheduler = sgd(PLAN)
    infos = iter(batches(scheduler, micro=3))
    for last in (False, True, False):
        assert next(infos)[0].last == last
        if last:
            optimizer.step()
            scheduler.step()
    optimizer.step()
    scheduler.step()
    with pytest.raises(tm.BindingError, match=r"between two micro-batches of update 1\. Step the optimizer and"):
        next(infos)


def test_counts_that_were_changed_on_purpose_are_taken_over():
    _, short = sgd(tm.Plan({"batch_size": RAMP}, total=20))
    loader = batches(short)
    for info, _ in loader:
        short.advance(optimizer_steps=1)
        if info.update == 3:
            break
    _, long = sgd(tm.Plan({"batch_size": RAMP}, total=40))
    long.load_state_dict(short.state_dict(), on_change="stretch")
    again = batches(long)
    again.load_state_dict(loader.state_dict(), counts=long.counts)
    infos = [info for info, _ in again]
    assert [(info.update, info.counts["optimizer_steps"]) for info in infos[:2]] == [(4, 8), (5, 9)]
    assert infos[0].batch_size == 16


def test_a_size_that_nothing_can_be_made_of_is_refused():
    plan = tm.Plan({"batch_size": tm.Linear(init_value=4, end_value=-4, duration=8)})
    raising(batches(plan), r"batch_size comes to 0\.0 at update 4, and must be at least 1")
    own = tm.Plan({"my_own": tm.Linear(init_value=2, end_value=0, duration=4)})
    raising(batches(own, entry="my_own"), r"my_own comes to 0\.5, and a batch has at least 1 sample")
    raising(batches(tm.Plan({"batch_size": 3}), world_size=4, rank=0), "comes to 3, which 4 ranks cannot share")
    large = batches(tm.Plan({"batch_size": 104}), drop_last=True)
    raising(large, "comes to 104, and an epoch has 103 samples: with drop_last no batch")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"entry": "batch_sise"}, r"no entry 'batch_sise'\. Did you mean batch_size"),
        ({"also": ["dropout"]}, "no entry 'dropout'"),
        ({"seed": None}, "needs a seed="),
        ({"size": 0}, "BatchSampler: the number of samples must be at least 1, got 0"),
        ({"size": ()}, "BatchSampler: the number of samples must be at least 1, got 0"),
        ({"size": iter(range(5))}, "needs a data set with samples by index, or their number, got range_iterator"),
        ({"seed": -1}, "seed must be between 0"),
        ({"seed": 2**64}, "seed must be between 0"),
        ({"micro": 0}, "micro must be at least 1, got 0"),
        ({"micro": 1, "world_size": 2, "rank": 0}, "micro must be at least 2, got 1"),
        ({"world_size": 2, "rank": 2}, "rank must be at most 1, got 2"),
        ({"world_size": 0}, "world_size must be at least 1, got 0"),
        ({"world_size": 104, "rank": 0}, "104 ranks cannot share 103 samples"),
        ({"plan": tm.Plan({"batch_size": "7"}).schedules}, "needs a Scheduler or a Plan, got mappingproxy"),
        ({"plan": NOISE}, "listens to measurements. Give the Scheduler"),
        ({"plan": tm.Plan({"batch_size": RAMP}, clock="frames")}, "follows frames. Give the Scheduler"),
        ({"plan": tm.Plan({"batch_size": RAMP.shift("5%")})}, r"no counts yet; resolve\(\) it first"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_built(options, match):
    with pytest.raises(tm.BindingError, match=match):
        batches(**options)


def test_a_loader_of_another_make_is_refused():
    with pytest.raises(tm.BindingError, match=r"needs a DataLoader with batch_sampler=BatchSampler\(\.\.\.\)"):
        Batches(DataLoader(cast(Any, torch.arange(4))))
    with pytest.raises(tm.BindingError, match=r"got DataLoader with torch\.utils\.data\.sampler\.BatchSampler"):
        Batches(DataLoader(cast(Any, torch.arange(4)), sampler=cast(Any, [0, 1])))
    with pytest.raises(tm.BindingError, match="got BatchSampler with none"):
        Batches(cast(Any, BatchSampler(4, PLAN, seed=0)))
    with pytest.raises(tm.BindingError, match="Leave out in_order=False"):
        batches(fetching={"num_workers": 1, "in_order": False})


@pytest.mark.parametrize("fetching", FETCHING[:2], ids=["alone", "prefetching"])
def test_only_the_latest_iterator_goes_on(fetching):
    loader = batches(fetching=fetching)
    old = iter(loader)
    assert next(old)[0].update == 0
    assert next(iter(loader))[0].update == 1
    with pytest.raises(tm.BindingError, match="only the latest goes on"):
        next(old)
    state, old = loader.state_dict(), iter(loader)
    assert next(old)[0].update == 2
    loader.load_state_dict(state)
    with pytest.raises(tm.BindingError, match="a state was loaded"):
        next(old)
    assert next(iter(loader))[0].update == 2


def test_what_was_planned_under_old_counts_is_planned_anew_and_not_lost():
    plan = tm.Plan({"batch_size": tm.PiecewiseConstant(values=(30, 10), boundaries=(3,))})
    loader = batches(plan, fetching={"num_workers": 2, "prefetch_factor": 2})
    infos = iter(loader)
    assert next(infos)[0].samples == 30
    state = loader.state_dict()
    assert (len(state["planned"]), state["ended"]) == (4, False)
    next(infos)
    state = loader.state_dict()
    assert state["ended"]
    again = batches(plan)
    again.load_state_dict(state, counts={"optimizer_steps": 3})
    assert [info.samples for info, _ in again] == [10] * 4 + [3]


def test_a_sampler_without_batches_around_its_loader_has_an_epoch_each_time():
    sampler = BatchSampler(SIZE, PLAN, seed=3)
    found = [batch for _ in range(2) for batch in sampler]
    assert found == [batch for _, batch in epochs(batches())]
    assert sampler.epoch == 2
    assert sampler.counts == {"optimizer_steps": len(found), "samples": 2 * SIZE, "epochs": 2}


def test_a_state_of_other_batches_or_a_damaged_one_is_refused():
    state = batches().state_dict()
    for options, match in (
        ({"seed": 4}, "seed: 3 -> 4"),
        ({"drop_last": True}, "drop_last: False -> True"),
        ({"shuffle": False}, "shuffle: True -> False"),
        ({"also": ["sequence_length"]}, "entries: "),
    ):
        with pytest.raises(tm.StateError, match=match):
            batches(**options).load_state_dict(state)
    for bad, match in (
        ({**state, "offset": 5}, "does not match its checksum"),
        ({**state, "format": 2}, "has format 2; this version reads 1"),
        ({"epoch": 1}, "has format, facts, epoch"),
        (None, "has format, facts, epoch"),
    ):
        with pytest.raises(tm.StateError, match=match):
            batches().load_state_dict(cast(Any, bad))


def test_parts_are_as_even_as_can_be():
    assert split(7, 3) == [3, 2, 2]
    assert split(6, 3) == [2, 2, 2]
