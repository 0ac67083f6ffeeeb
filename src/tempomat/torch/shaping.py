"""What a batch looks like, over time: sequence length, image size and the like through the collate function.

The values that hold for a batch travel to the workers with its indices, however far ahead they fetch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Protocol, cast, final

import torch
from torch.nn.functional import interpolate
from torch.utils.data import Dataset, default_collate

from tempomat.core import BindingError
from tempomat.core.errors import did_you_mean
from tempomat.plan import entry_name
from tempomat.torch.stream import BatchInfo, Indices

SIZES = frozenset({"batch_size", "sequence_length", "image_size"})
"""Entries that are handed over as whole numbers, rounded down."""


class Indexed(Protocol):
    """A data set with samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Samples(list[Any]):
    """The samples of a batch, and `info`, what holds for it."""

    __slots__ = ("info",)

    def __init__(self, samples: Sequence[Any], info: BatchInfo) -> None:
        super().__init__(samples)
        self.info = info


@final
class Informed(Dataset[Any]):
    """A data set whose batches know what holds for them: the collate function gets `Samples`, with `info`.

    Args:
        data: a data set with samples by index. It is asked for a whole batch where it can give one (`__getitems__`).

    Raises:
        BindingError: `data` has no samples by index. While iterating: the batches do not come from a `BatchSampler`.

    Example:
        See `Collate`.
    """

    def __init__(self, data: Indexed) -> None:
        if not (isinstance(data, Sized) and hasattr(data, "__getitem__")):
            raise BindingError(f"Informed: needs a data set with samples by index, got {type(data).__name__}")
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.data[index]

    def __getitems__(self, indices: Sequence[int]) -> Samples:
        """The samples of one batch."""
        if not isinstance(indices, Indices):
            raise BindingError("Informed: needs a DataLoader with batch_sampler=BatchSampler(...)")
        several: Any = getattr(self.data, "__getitems__", None)
        samples = several(list(indices)) if several else [self.data[index] for index in indices]
        return Samples(samples, indices.info)


@final
class Collate:
    """A `collate_fn=` that hands the values of the batch's entries to a function: `function(samples, image_size=8)`.

    Args:
        function: takes the list of samples, and a keyword for each entry: its key, without group and index. Entries
            of `SIZES` come as whole numbers. With several workers it has to be one that processes can be sent: no
            lambda.
        entries: which. `BatchSampler(..., also=entries)` makes them travel.

    Raises:
        BindingError: it is no function, no entry was given, or two have one key. While iterating: the data set is no
            `Informed`, or an entry does not travel.

    Example:
        >>> import torch, tempomat as tm
        >>> from tempomat.torch import Batches, BatchSampler
        >>> length = tm.PiecewiseConstant(values=(2, 4), boundaries=(1,))
        >>> plan = tm.Plan({"batch_size": 3, "sequence_length": length})
        >>> data = torch.arange(48).reshape(6, 8)
        >>> sampler = BatchSampler(data, plan, seed=0, also=["sequence_length"])
        >>> loader = torch.utils.data.DataLoader(
        ...     Informed(data), batch_sampler=sampler, collate_fn=Collate(cut_sequences, "sequence_length")
        ... )
        >>> [(tuple(batch.shape), info.values["sequence_length"]) for info, batch in Batches(loader)]
        [((3, 2), 2.0), ((3, 4), 4.0)]
    """

    def __init__(self, function: Callable[..., Any], *entries: str) -> None:
        if not callable(function) or not entries:
            raise BindingError(
                "Collate: needs a function and the entries that it takes: Collate(cut, 'sequence_length')"
            )
        self.function, self.keys = function, {name: entry_name(name).key for name in entries}
        if len(set(self.keys.values())) < len(entries):
            raise BindingError(f"Collate: {', '.join(entries)} have one key; the function could not tell them apart")

    def __call__(self, samples: Sequence[Any]) -> Any:
        """The batch."""
        if not isinstance(samples, Samples):
            raise BindingError("Collate: needs batches of an Informed data set: DataLoader(Informed(data), ...)")
        values: dict[str, Any] = {}
        for name, key in self.keys.items():
            if name not in samples.info.values:
                raise BindingError(
                    f"Collate: {name} does not travel with the batch.{did_you_mean(name, samples.info.values)} "
                    f"Say so: BatchSampler(..., also=[{name!r}])"
                )
            value = samples.info.values[name]
            values[key] = int(value) if key in SIZES else value
        return self.function(samples, **values)


def cut_sequences(samples: Sequence[Any], sequence_length: int) -> Any:
    """Collate, every tensor of at least one dimension cut to its first `sequence_length` places.

    Args:
        samples: tensors of shape (L, ...), or tuples or dicts of them; L the same in all.
        sequence_length: at least 1; sequences that are shorter stay as they are.

    Source:
        Li et al. 2021 (arXiv:2108.06084): short sequences first, cut off, keep large steps stable.
    """
    return _each(default_collate(list(samples)), lambda one: one[:, :sequence_length] if one.dim() > 1 else one)


def resize_images(samples: Sequence[Any], image_size: int) -> Any:
    """Collate, every tensor that holds images made `image_size` by `image_size` pixels, bilinear with anti-aliasing.

    Args:
        samples: images as float tensors of shape (C, H, W), or tuples or dicts with some in them.
        image_size: at least 1; images of that size stay as they are.

    Source:
        Howard 2018, Training Imagenet in 3 hours for USD 25 (fast.ai): small images first. Touvron et al. 2019
        (arXiv:1906.06423): what the size at the end does to a test.
    """

    def resized(one: torch.Tensor) -> torch.Tensor:
        if one.dim() != 4 or tuple(one.shape[2:]) == (image_size, image_size):
            return one
        return interpolate(one, (image_size, image_size), mode="bilinear", align_corners=False, antialias=True)

    return _each(default_collate(list(samples)), resized)


def _each(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same structure with every tensor changed."""
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: _each(one, change) for key, one in cast(Mapping[Any, Any], batch).items()}
    return [_each(one, change) for one in cast(list[Any], batch)] if isinstance(batch, (list, tuple)) else batch
