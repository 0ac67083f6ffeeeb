"""Which samples come when: orders of a data set as pure functions, and what is known about each batch of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from tempomat.core import BindingError
from tempomat.core.numbers import as_count

MAX_SEED = 2**63 - 1
"""The largest seed of an order."""


@final
@dataclass(frozen=True, slots=True)
class BatchInfo:
    """What was in force when a batch was planned; it travels with the batch.

    An update of the optimizer may take several batches, where `micro` limits what a device holds at once.
    """

    update: int
    """Which update it belongs to, from 0: the optimizer steps of a run in which none is skipped."""
    epoch: int
    """Which pass over the data, from 0."""
    batch_size: int
    """The size that the plan asked for, over all ranks."""
    samples: int
    """How many samples the update has, over all ranks and micro-batches: less at the end of an epoch. What the clock
    of samples goes forward by."""
    micro: int
    """Which micro-batch of the update, from 0."""
    weight: float
    """What this batch's mean loss is multiplied by before `backward`, so that gradients add up to those of the mean
    over the whole update, averaged over ranks. With one rank the weights of an update sum to 1."""
    last: bool
    """Whether the update is complete with this batch, so that the optimizer steps."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """The counts at which the values were read: `optimizer_steps`, `samples`, `epochs`."""
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    """Entries of the plan that hold for this batch, by name."""


class Indices(list[int]):
    """A batch as a data set sees it: the indices, and `info`, also in a worker's `__getitems__`."""

    __slots__ = ("info",)

    def __init__(self, indices: Sequence[int], info: BatchInfo) -> None:
        super().__init__(indices)
        self.info = info

    def __reduce__(self) -> tuple[Any, ...]:
        return Indices, (list(self), self.info)


class Order(ABC):
    """The samples of each epoch in a row: a pure function of epoch and place, and of what the plan says there.

    Whatever of it is random comes from `words`, so that a state holds a seed and counts, and never a permutation.
    """

    entries: tuple[str, ...] = ()
    """Entries of the plan that it looks at."""
    data_size: int | None = None
    """How many samples the data set has that its indices are of, where it knows."""

    @abstractmethod
    def __len__(self) -> int:
        """How many samples an epoch has."""

    @abstractmethod
    def pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        """The samples at the places `[start, stop)` of an epoch: one whole update, over all ranks.

        `info` is that of the update as a whole: its number, counts and values.
        """

    def tally(self, info: BatchInfo) -> Mapping[str, int]:
        """What an update adds to counts of the order's own, by name; they come back in `info.counts`, and are saved."""
        return {}

    def restored(self, epoch: int, offset: int) -> None:
        """A state was loaded: the next sample is at a place of an epoch."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a saved state must agree in: plain data, small."""


@final
class Shuffled(Order):
    """Every sample once an epoch, in an order of the epoch's own.

    Args:
        size: how many samples there are; at least 1.
        seed: a whole number from 0 to 2^63 - 1.
        shuffle: False for the order 0, 1, 2, ... in every epoch.

    Raises:
        BindingError: `size` or `seed` is no such number.

    Example:
        >>> order = Shuffled(10, seed=0)
        >>> sorted(order.permutation(0).tolist()) == sorted(order.permutation(1).tolist()) == list(range(10))
        True
        >>> order.permutation(0).tolist() == order.permutation(1).tolist()
        False
    """

    def __init__(self, size: int, *, seed: int, shuffle: bool = True) -> None:
        self.size, self.seed, self.shuffle = checked(size, "size", 1), checked(seed, "seed", 0, MAX_SEED), shuffle
        self.data_size = self.size
        self._kept: tuple[int, np.ndarray[Any, np.dtype[np.int64]]] | None = None

    def __len__(self) -> int:
        return self.size

    def pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        return self.permutation(epoch)[start:stop].tolist() if self.shuffle else range(start, stop)

    def permutation(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The order of an epoch; that of the last one asked for is kept."""
        if self._kept is None or self._kept[0] != epoch:
            # sorting raw words rather than Generator.permutation, whose numbers may change with NumPy's version
            self._kept = epoch, np.argsort(words(self.seed, epoch, self.size), kind="stable")
        return self._kept[1]

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size, "seed": self.seed, "shuffle": self.shuffle}


def words(seed: int, key: int, size: int, *, skip: int = 0) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """`size` random 64-bit words that belong to a seed and a second number, such as an epoch or an update.

    Philox: a function of key and counter, the same on every machine and in every version of NumPy.

    Args:
        seed: 0 to 2^63 - 1.
        key: 0 to 2^63 - 1.
        size: how many.
        skip: how many blocks of four words further on to begin, for a second purpose under the same key.
    """
    generator = np.random.Philox(key=[seed, key])
    return (generator.advance(skip) if skip else generator).random_raw(size)


def split(length: int, parts: int) -> list[int]:
    """`length` in as many parts, as even as can be, the larger ones first.

    >>> split(10, 4)
    [3, 3, 2, 2]
    """
    each, more = divmod(length, parts)
    return [each + (place < more) for place in range(parts)]


def checked(value: object, name: str, least: int, most: int | None = None) -> int:
    """A whole number of at least `least`, or an error that names the argument."""
    try:
        count = as_count(value)
    except ValueError as error:
        raise BindingError(f"{name} {error}") from None
    if count < least:
        raise BindingError(f"{name} must be at least {least}, got {count}")
    if most is not None and count > most:
        raise BindingError(f"{name} must be at most {most}, got {count}")
    return count
