"""What a batch looks like: values that travel to the collate function, in the process that runs it."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.core import BindingError
from tempomat.torch import Batches, BatchSampler, Collate, Informed, cut_sequences, resize_images

LENGTHS = tm.PiecewiseConstant(values=(2.9, 4, 6), boundaries=(1, 3))
PLAN = tm.Plan({"batch_size": 2, "sequence_length": LENGTHS, "image_size": LENGTHS, "noise": 0.25})


class Counting:
    """A data set that gives a whole batch at once."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        raise AssertionError("it can give a batch")

    def __getitems__(self, indices):
        return [torch.full((10,), index) for index in indices]


def together(samples, sequence_length, noise):
    return type(sequence_length), sequence_length, noise, len(samples), samples.info.update


def loader(data, function, *entries, also=None, **options):
    sampler = BatchSampler(data, PLAN, seed=0, also=entries if also is None else also)
    return DataLoader(Informed(data), batch_sampler=sampler, collate_fn=Collate(function, *entries), **options)


@pytest.mark.parametrize("workers", [{}, {"num_workers": 2, "prefetch_factor": 2, "persistent_workers": True}])
def test_sequences_have_the_length_that_was_in_force(workers):
    batches = Batches(loader(torch.arange(80).reshape(8, 10), cut_sequences, "sequence_length", **workers))
    seen = [(info.values["sequence_length"], tuple(batch.shape)) for _ in range(2) for info, batch in batches]
    assert seen == [(2.9, (2, 2)), (4.0, (2, 4)), (4.0, (2, 4)), *[(6.0, (2, 6))] * 5]


def test_sequences_keep_their_beginning_and_labels_stay_whole():
    data = TensorDataset(torch.arange(40).reshape(4, 10), torch.arange(4))
    for tokens, labels in loader(data, cut_sequences, "sequence_length"):
        assert tokens.tolist() == [
            [10 * label, 10 * label + 1, 10 * label + 2, 10 * label + 3][: tokens.shape[1]] for label in labels.tolist()
        ]


def test_images_have_the_size_that_was_in_force_and_keep_their_mean():
    data = TensorDataset(torch.rand(8, 3, 6, 6).round(decimals=1), torch.arange(8))
    sizes = []
    for images, labels in loader(data, resize_images, "image_size"):
        sizes.append(tuple(images.shape))
        mean = data.tensors[0][labels].mean(dim=(2, 3))
        torch.testing.assert_close(images.mean(dim=(2, 3)), mean, rtol=0.2, atol=0)
        if images.shape[-1] == 6:
            assert torch.equal(images, data.tensors[0][labels])
    assert sizes == [(2, 3, 2, 2), (2, 3, 4, 4), (2, 3, 4, 4), (2, 3, 6, 6)]


def test_dicts_stay_dicts():
    data = [{"tokens": torch.arange(5), "name": "a"}] * 4
    first = next(iter(loader(data, cut_sequences, "sequence_length")))
    assert first["tokens"].tolist() == [[0, 1], [0, 1]]
    assert first["name"] == ["a", "a"]


def test_sizes_are_whole_numbers_and_other_values_are_not():
    batches = list(loader(Counting(), together, "sequence_length", "noise"))
    assert batches[0] == (int, 2, 0.25, 2, 0)
    assert batches[3] == (int, 6, 0.25, 2, 3)


def test_a_single_sample_is_that_of_the_data():
    assert Informed([5, 6, 7])[1] == 6
    assert len(Informed([5, 6, 7])) == 3


def test_a_loader_without_a_batch_sampler_of_ours_is_refused():
    with pytest.raises(BindingError, match=r"Informed: needs a DataLoader with batch_sampler=BatchSampler"):
        next(iter(DataLoader(Informed([1, 2, 3]), batch_size=2)))


def test_data_that_do_not_know_their_batch_are_refused():
    sampler = BatchSampler(4, PLAN, seed=0, also=["noise"])
    with pytest.raises(BindingError, match=r"Collate: needs batches of an Informed data set"):
        next(iter(DataLoader(torch.arange(4), batch_sampler=sampler, collate_fn=Collate(cut_sequences, "noise"))))  # pyright: ignore[reportArgumentType]


def test_an_entry_that_does_not_travel_is_refused_with_the_remedy():
    batches = loader(Counting(), together, "sequence_length", "noise", also=["noise"])
    with pytest.raises(BindingError, match=r"sequence_length does not travel.*also=\['sequence_length'\]"):
        next(iter(batches))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((cut_sequences,), "needs a function and the entries"),
        (("no", "noise"), "needs a function"),
        ((together, "a.noise", "b.noise"), "a.noise, b.noise have one key"),
    ],
)
def test_a_collate_function_that_could_not_be_called_is_refused(given, message):
    with pytest.raises(BindingError, match=f"Collate: .*{message}"):
        Collate(*given)


def test_an_iterable_is_refused():
    with pytest.raises(BindingError, match="Informed: needs a data set with samples by index, got generator"):
        Informed(one for one in range(3))  # pyright: ignore[reportArgumentType]
