"""What is drawn when: curriculum, weights with a power, mixtures; pure functions of plan, seed and count."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

import tempomat as tm
from tempomat.core import BindingError, StateError
from tempomat.runs import Recorder, read_run
from tempomat.torch import (
    Applied,
    Batches,
    BatchSampler,
    Curriculum,
    Mixture,
    Scheduler,
    Weighted,
    inverse_frequencies,
)

SCORES = np.random.default_rng(0).permutation(100) / 100.0
"""A hundred difficulties, all different: sample i is the `round(100 * score)`-th easiest."""


def ramp(start, end, duration=10):
    return tm.Linear(init_value=start, end_value=end, duration=duration)


def plan(batch=8, **entries):
    return tm.Plan({"batch_size": batch, **{name.replace("__", "."): one for name, one in entries.items()}})


def drawn(order, plan, epochs=1, **options):
    sampler = BatchSampler(order, plan, **options)
    return [list(batch) for _ in range(epochs) for batch in sampler]


def flat(batches):
    return [index for batch in batches for index in batch]


def orders():
    """One of each, with a plan that changes what it draws, over 100 samples."""
    mixing = plan(7, mixture__a=ramp(1, 0), mixture__b=ramp(0, 3), mixture__c=1)
    return {
        "curriculum": (lambda: Curriculum(SCORES, seed=1), plan(7, difficulty=ramp(0.2, 1.0))),
        "weighted": (lambda: Weighted(SCORES, seed=1), plan(7, sampling_power=ramp(2.0, 0.0))),
        "mixture": (lambda: Mixture({"a": 60, "b": 30, "c": 10}, seed=1), mixing),
    }


# curriculum


@pytest.mark.parametrize(
    ("by", "value", "easiest"), [("share", 0.25, 25), ("share", 0.001, 1), ("count", 30.9, 30), ("score", 0.1, 11)]
)
def test_only_the_easiest_are_in_play(by, value, easiest):
    batches = drawn(Curriculum(SCORES, by=by, seed=0), plan(difficulty=value))
    assert {round(100 * SCORES[index]) for index in flat(batches)} == set(range(easiest))


def test_more_come_into_play_as_the_plan_says():
    batches = drawn(Curriculum(SCORES, seed=0), plan(10, difficulty=ramp(0.1, 1.0)))
    hardest = [max(round(100 * SCORES[index]) for index in batch) for batch in batches]
    assert all(one < 10 + 9 * count for count, one in enumerate(hardest))
    assert hardest[-1] > 50


def test_samples_in_play_each_come_once_before_any_comes_again():
    stream = flat(drawn(Curriculum(SCORES, by="count", seed=0), plan(difficulty=20)))
    rounds = [stream[start : start + 20] for start in range(0, 100, 20)]
    assert all(len(set(one)) == 20 for one in rounds)
    assert rounds[0] != rounds[1]


def test_with_all_in_play_an_epoch_is_an_ordinary_one():
    first, second = np.array(flat(drawn(Curriculum(SCORES, seed=0), plan(difficulty=1), epochs=2))).reshape(2, 100)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first.tolist() != second.tolist()


def test_of_equally_difficult_samples_the_first_is_the_easier():
    assert set(flat(drawn(Curriculum([0.0] * 100, by="count", seed=0), plan(2, difficulty=3)))) == {0, 1, 2}


def test_the_sequence_of_a_competence_is_that_of_its_paper():
    competence = tm.Linear(init_value=0.1**2, end_value=1.0, duration=100) ** 0.5
    expected = [min(1.0, np.sqrt(t * (1 - 0.1**2) / 100 + 0.1**2)) for t in range(150)]
    np.testing.assert_allclose(competence(np.arange(150)), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("by", "value", "message"),
    [
        ("share", 0.0, "difficulty comes to 0.0, and as a share must be above 0 and at most 1"),
        ("share", 1.01, "comes to 1.01, .* at most 1. Clip the schedule"),
        ("count", 0.9, "as a count must be from 1 to 100"),
        ("count", 101, "must be from 1 to 100"),
    ],
)
def test_a_pace_that_leaves_nothing_or_too_much_in_play_is_refused(by, value, message):
    with pytest.raises(BindingError, match=message):
        drawn(Curriculum(SCORES, by=by, seed=0), plan(difficulty=value))


def test_a_score_below_all_is_refused():
    with pytest.raises(BindingError, match=r"must be at least 0\.5"):
        drawn(Curriculum([0.5, 0.7], by="score", seed=0), plan(1, difficulty=0.4))


# weights


@pytest.mark.parametrize("power", [1.0, 0.5, -1.0])
def test_samples_come_as_often_as_their_weights_say(power):
    weights = np.arange(1.0, 11.0)
    stream = flat(drawn(Weighted(weights, seed=0, size=1000), plan(50, sampling_power=power)))
    expected = 1000 * weights**power / (weights**power).sum()
    counts = np.bincount(stream, minlength=10)
    assert np.abs(counts - expected).max() <= 2  # strata: only those at both ends of a sample's stretch are shared


def test_at_a_power_of_zero_every_sample_comes_once_an_epoch():
    stream = flat(drawn(Weighted(SCORES + 1, seed=0), plan(sampling_power=0)))
    assert sorted(stream) == list(range(100))
    assert stream != list(range(100))


def test_epochs_shorter_than_the_data_do_not_draw_the_same_each_time():
    stream = flat(drawn(Weighted([1.0, 1.0], seed=0, size=1), plan(1, sampling_power=1), epochs=40))
    assert 10 < sum(stream) < 30


def test_the_power_follows_the_plan():
    batches = drawn(Weighted([1.0] * 90 + [9.0] * 10, seed=0, size=4000), plan(400, sampling_power=ramp(1, 0)))
    heavy = np.array([np.mean(np.array(batch) >= 90) for batch in batches])
    power = np.linspace(1, 0.1, 10)
    np.testing.assert_allclose(heavy, 9**power / (9 + 9**power), atol=0.08, rtol=0)  # 400 draws: 0.025 each


def test_a_weight_of_zero_is_never_drawn_whatever_the_power():
    for power in (-2.0, 0.0, 3.0):
        assert set(flat(drawn(Weighted([0, 2, 0, 1, 0], seed=0, size=64), plan(sampling_power=power)))) == {1, 3}


def test_weights_and_powers_of_any_size_give_probabilities():
    tiny = Weighted([1e-300, 1e300, 1.0], seed=0).probabilities(1e3)
    assert tiny.tolist() == [0.0, 1.0, 0.0]


def test_rare_classes_come_as_often_as_others_under_inverse_frequencies():
    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    stream = flat(drawn(Weighted(inverse_frequencies(labels), seed=0, size=300), plan(sampling_power=1)))
    assert np.abs(np.bincount(labels[stream]) - 100).max() <= 2


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1.0, -1.0], "sample 1 has .*-1.0.*, and 1 in all are not finite, or below 0"),
        ([1.0, float("nan")], "sample 1 has .*nan"),
        ([0.0, 0.0], "every weight is 0"),
        ([], r"got shape \(0,\)"),
        ([[1.0]], r"got shape \(1, 1\)"),
        ("words", "needs a number for each sample, got 'words'"),
    ],
)
def test_weights_that_are_none_are_refused(numbers, message):
    with pytest.raises(BindingError, match=f"Weighted: .*{message}"):
        Weighted(numbers, seed=0)


# mixtures


def test_sources_come_in_the_shares_of_the_plan():
    mixture = Mixture({"web": 1000, "books": 100}, seed=0)
    web, books = tm.Constant(value=3.0), tm.PiecewiseConstant(values=(1, 3), boundaries=(10,))
    batches = drawn(mixture, plan(32, mixture__web=web, mixture__books=books))
    counts = [sum(mixture.source(index)[0] == "books" for index in batch) for batch in batches]
    assert counts[:10] == [8] * 10
    assert counts[10:20] == [16] * 10


def test_a_share_that_is_no_whole_number_is_right_on_average():
    mixture = Mixture({"a": 100, "b": 100, "c": 100}, seed=0, size=4000)
    batches = drawn(mixture, plan(4, mixture__a=1, mixture__b=1, mixture__c=1))
    counts = np.array([np.bincount([index // 100 for index in batch], minlength=3) for batch in batches])
    assert set(np.unique(counts)) == {1, 2}
    np.testing.assert_allclose(counts.mean(axis=0), 4 / 3, rtol=0.05, atol=0)


def test_each_source_is_gone_through_before_any_of_it_comes_again_whatever_the_weights_do():
    mixture = Mixture({"a": 40, "b": 24}, seed=3, size=400)
    seen = np.zeros(64, dtype=int)
    for batch in drawn(mixture, plan(8, mixture__a=ramp(1, 0, 50), mixture__b=ramp(0, 1, 50))):
        np.add.at(seen, batch, 1)
        assert np.ptp(seen[:40]) <= 1
        assert np.ptp(seen[40:]) <= 1
    assert seen.sum() == 400
    assert seen.min() > 2


def test_a_source_is_gone_through_in_another_order_each_time():
    stream = flat(drawn(Mixture({"a": 30}, seed=0, size=60), plan(30, mixture__a=1)))
    assert sorted(stream[:30]) == sorted(stream[30:])
    assert stream[:30] != stream[30:]


def test_indices_are_those_of_the_concatenated_data_sets():
    sources = {"a": [f"a{place}" for place in range(5)], "b": [f"b{place}" for place in range(7)]}
    mixture, data = Mixture(sources, seed=0), ConcatDataset(list(sources.values()))  # pyright: ignore[reportArgumentType]
    assert [data[index] for index in range(12)] == ["{}{}".format(*mixture.source(index)) for index in range(12)]


def test_every_rank_gets_a_share_of_every_source():
    given = plan(64, mixture__a=1, mixture__b=1)
    ranks = [drawn(Mixture({"a": 500, "b": 500}, seed=0), given, world_size=2, rank=rank) for rank in (0, 1)]
    alone = drawn(Mixture({"a": 500, "b": 500}, seed=0), given)
    assert [first + second for first, second in zip(*ranks, strict=True)] == alone
    assert all(20 < 2 * sum(index < 500 for index in one) < 44 for rank in ranks for one in rank[:-1])


def test_the_scheduler_takes_the_entries_of_a_mixture_without_targets():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = Scheduler(optimizer, plan(4, mixture__web=0.25, lr=0.1))
    assert scheduler.values["mixture.web"] == 0.25


def test_a_mixture_of_nothing_is_refused():
    off = tm.PiecewiseConstant(values=(1, 0), boundaries=(2,))
    with pytest.raises(BindingError, match=r"every weight of the mixture is 0 at update 2: mixture.a, mixture.b"):
        drawn(Mixture({"a": 50, "b": 50}, seed=0), plan(mixture__a=off, mixture__b=0))


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, "needs data sets by name"),
        ([3, 4], "needs data sets by name"),
        ({"a": 0}, "the size of 'a' must be at least 1, got 0"),
        ({"a b": 3}, "'mixture.a b' can be no entry of a plan"),
        ({"a.b": 3}, "'mixture.a.b' can be no entry of a plan"),
        ({"a[0]": 3}, r"'mixture.a\[0\]' can be no entry of a plan"),
    ],
)
def test_sources_that_are_none_are_refused(sources, message):
    with pytest.raises(BindingError, match=f"Mixture: .*{message}"):
        Mixture(sources, seed=0)


def test_a_negative_weight_is_refused_where_it_would_hold():
    with pytest.raises(BindingError, match=r"mixture\.a comes to -1\.0 at update 0, and must be at least 0"):
        drawn(Mixture({"a": 5}, seed=0), plan(mixture__a=-1.0))


# all of them


@pytest.mark.parametrize("name", orders())
def test_other_seeds_draw_otherwise_and_the_same_seed_the_same(name):
    make, given = orders()[name]
    other = make()
    other.seed = 2
    assert drawn(make(), given, epochs=2) == drawn(make(), given, epochs=2) != drawn(other, given, epochs=2)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", orders())
def test_a_run_that_was_stopped_anywhere_goes_on_as_if_it_had_not(name, workers):
    make, given = orders()[name]
    data = torch.arange(100)

    def loader():
        sampler = BatchSampler(make(), given)
        return Batches(DataLoader(data, batch_sampler=sampler, num_workers=workers))  # pyright: ignore[reportArgumentType]

    whole, states, batches = [], [], loader()
    for _ in range(2):
        for info, batch in batches:
            whole.append((batch.tolist(), dict(info.values)))
            states.append(json.loads(json.dumps(batches.state_dict())))
    for stop in (0, 5, 14, 15, 20) if workers == 0 else (6,):
        again = loader()
        again.load_state_dict(states[stop])
        rest = [(batch.tolist(), dict(info.values)) for _ in range(again.epoch, 2) for info, batch in again]
        assert rest == whole[stop + 1 :]


@pytest.mark.parametrize("name", orders())
def test_a_state_is_small_and_of_this_order_alone(name):
    make, given = orders()[name]
    sampler = BatchSampler(make(), given)
    list(sampler)
    state = sampler.state_dict()
    assert len(json.dumps(state)) < 1000
    other = make()
    other.seed = 2
    with pytest.raises(StateError, match="seed: 1 -> 2"):
        BatchSampler(other, given).load_state_dict(state)


@pytest.mark.parametrize("make", [Curriculum, Weighted])
def test_a_state_of_other_scores_is_refused(make):
    given = plan(difficulty=1, sampling_power=1)
    state = BatchSampler(make(SCORES, seed=0), given).state_dict()
    with pytest.raises(StateError, match=r"numbers: '[0-9a-f]{16}' -> '[0-9a-f]{16}'"):
        BatchSampler(make(SCORES[::-1], seed=0), given).load_state_dict(state)


def test_samples_can_be_scored_anew_between_two_epochs():
    order = Weighted([1.0, 0.0, 0.0, 0.0], seed=0)
    sampler = BatchSampler(order, plan(4, sampling_power=1))
    assert flat(sampler) == [0, 0, 0, 0]
    order.rescore(torch.tensor([0.0, 0.0, 1.0, 0.0], requires_grad=True))
    state = sampler.state_dict()
    assert flat(sampler) == [2, 2, 2, 2]
    fresh = Weighted([1.0, 0.0, 0.0, 0.0], seed=0)
    fresh.rescore([0.0, 0.0, 1.0, 0.0])
    again = BatchSampler(fresh, plan(4, sampling_power=1))
    again.load_state_dict(state)
    assert flat(again) == [2, 2, 2, 2]


def test_scores_do_not_change_within_an_epoch():
    order = Curriculum(SCORES, seed=0)
    sampler = BatchSampler(order, plan(10, difficulty=1))
    batches = iter(sampler)
    next(batches)
    state = sampler.state_dict()
    order.rescore(SCORES[::-1])
    with pytest.raises(BindingError, match=r"epoch 0 was under way when rescore\(\) was called"):
        next(batches)
    order.rescore(SCORES)
    sampler.load_state_dict(state)
    assert len(flat(sampler)) == 90
    with pytest.raises(BindingError, match="needs 100 numbers again, got 2"):
        order.rescore([1.0, 2.0])


def test_scores_do_not_change_within_an_epoch_that_was_resumed():
    order = Curriculum(SCORES, seed=0)
    sampler = BatchSampler(order, plan(10, difficulty=1))
    next(iter(sampler))
    again = Curriculum(SCORES, seed=0)
    resumed = BatchSampler(again, plan(10, difficulty=1))
    resumed.load_state_dict(sampler.state_dict())
    again.rescore(SCORES)
    with pytest.raises(BindingError, match="epoch 0 was under way"):
        next(iter(resumed))


def test_what_each_batch_was_drawn_by_is_recorded_exactly_under_prefetching(tmp_path):
    given = tm.Plan({"lr": 0.1, "batch_size": 10, "difficulty": ramp(0.1, 1.0)}, total=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = Scheduler(optimizer, given)
    sampler = BatchSampler(Curriculum(SCORES, seed=0), scheduler)
    batches = Batches(DataLoader(torch.tensor(SCORES), batch_sampler=sampler, num_workers=2, prefetch_factor=3))  # pyright: ignore[reportArgumentType]
    applied = Applied(scheduler, batches)
    with Recorder(tmp_path / "run", plan=scheduler.plan) as recorder:
        for _info, scores in batches:
            optimizer.step()
            recorder.write(applied, hardest=scores.max().item())
            scheduler.step()
    run = read_run(tmp_path / "run")
    in_force = run.series("difficulty").applied
    assert in_force == pytest.approx([0.1 + 0.09 * count for count in range(10)], rel=1e-12, abs=0)
    assert all(hardest < share for hardest, share in zip(run.measured("hardest").values, in_force, strict=True))
