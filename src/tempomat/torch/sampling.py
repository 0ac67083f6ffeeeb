"""Which samples are drawn, over time: a curriculum by difficulty, weights with a power, mixtures of data sets.

Each is an `Order` for a `BatchSampler`. What it draws is a pure function of the plan's values, the seed, and the counts
before each update; a state holds no permutation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Sized
from typing import Any, Literal, cast, final

import numpy as np
import torch

from tempomat.core import BindingError, ScheduleError
from tempomat.core.errors import shown
from tempomat.plan import entry_name
from tempomat.torch.permuting import permuted, unit, units
from tempomat.torch.stream import MAX_SEED, BatchInfo, Order, checked

Reals = np.ndarray[Any, np.dtype[np.float64]]
"""A number per sample, of shape (N,)."""

_MEMBERS, _FIRST_SOURCE = 1, 2  # streams of random numbers beside the one that is cut into shares


class _Scored(Order):
    """An order in which every sample has a number, which may be measured anew between epochs."""

    def __init__(self, numbers: object, seed: int, size: int | None) -> None:
        self.name = type(self).__name__
        self.seed = checked(seed, f"{self.name}: seed", 0, MAX_SEED)
        self._numbers = self._read(numbers)
        self.data_size = len(self._numbers)
        self.size = len(self._numbers) if size is None else checked(size, f"{self.name}: size", 1)
        self._begun = self._closed = -1
        self._take()

    def __len__(self) -> int:
        return self.size

    def rescore(self, numbers: object) -> None:
        """Another number per sample, from the next epoch on: between two epochs, and again before a state of that
        epoch is loaded, since a state holds no more than their checksum.

        Raises:
            BindingError: they are not as many, or not possible. While iterating: an epoch was under way.
        """
        fresh = self._read(numbers)
        if len(fresh) != len(self._numbers):
            raise BindingError(f"{self.name}: needs {len(self._numbers)} numbers again, got {len(fresh)}")
        self._numbers, self._closed = fresh, self._begun
        self._take()

    def pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        if epoch <= self._closed:
            raise BindingError(
                f"{self.name}: epoch {epoch} was under way when rescore() was called. Call it between two"
            )
        self._begun = epoch
        return self._pick(epoch, start, stop, info)

    def restored(self, epoch: int, offset: int) -> None:
        self._closed, self._begun = -1, epoch if offset else epoch - 1

    @property
    def facts(self) -> dict[str, Any]:
        numbers = hashlib.sha256(self._numbers.astype("<f8").tobytes()).hexdigest()
        return {"order": self.name, "size": self.size, "seed": self.seed, "numbers": numbers[:16]}

    def _read(self, numbers: object) -> Reals:
        try:
            given = numbers.detach().cpu().numpy() if isinstance(numbers, torch.Tensor) else numbers
            read = np.array(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise BindingError(f"{self.name}: needs a number for each sample, got {shown(numbers)}") from None
        if read.ndim != 1 or not len(read):
            raise BindingError(f"{self.name}: needs a number for each sample, got shape {read.shape}")
        bad = np.flatnonzero(~self._possible(read))
        if len(bad):
            first = float(read[bad[0]])
            raise BindingError(
                f"{self.name}: sample {bad[0]} has {first!r}, and {len(bad)} in all are {self._impossible}"
            )
        return read

    _impossible = "no finite numbers"

    def _possible(self, numbers: Reals) -> Any:
        return np.isfinite(numbers)

    def _take(self) -> None:
        """Derive what `pick` needs from the numbers."""
        raise NotImplementedError

    def _pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        raise NotImplementedError


@final
class Curriculum(_Scored):
    r"""Easy samples first: at each update those in play are the easiest ones, as many as the plan says.

    With :math:`m` samples in play they are gone through in a random order, each once before any comes again, then in
    another one; where :math:`m` changes, an update is a random set of those in play. All in play is an ordinary
    shuffled epoch. An update that crosses from one round to the next may hold a sample twice, as may one that is
    larger than :math:`m`.

    Args:
        scores: how difficult each sample is, of shape (N,): a list, array or tensor of finite numbers. Of equal ones
            the one that stands first is the easier. For the hardest first give `-scores`.
        entry: the plan's entry for what is in play.
        by: what the entry says: `share` of the samples, above 0 to 1, rounded to whole samples, at least one; their
            `count`, rounded down; or the highest `score` in play.
        seed: 0 to 2^63 - 1.
        size: how many samples make an epoch; N by default.

    Raises:
        BindingError: a score or an argument is not possible. While iterating: the entry leaves no sample in play, or
            is above what there is.

    Source:
        Bengio et al. 2009, Curriculum learning. Competence-based: Platanios et al. 2019 (arXiv:1903.09848), whose
        :math:`c(t) = \min(1, (t (1 - c_0^p) / T + c_0^p)^{1/p})` is
        `Linear(init_value=c0**p, end_value=1.0, duration=T) ** (1 / p)`.

    Example:
        >>> import tempomat as tm
        >>> from tempomat.torch import BatchSampler
        >>> plan = tm.Plan({"batch_size": 2, "difficulty": tm.Linear(init_value=0.5, end_value=1.0, duration=2)})
        >>> order = Curriculum([0.9, 0.1, 0.7, 0.3], seed=0)
        >>> [sorted(batch) for batch in BatchSampler(order, plan)][0]
        [1, 3]
    """

    def __init__(
        self,
        scores: object,
        *,
        entry: str = "difficulty",
        by: Literal["share", "count", "score"] = "share",
        seed: int,
        size: int | None = None,
    ) -> None:
        if by not in ("share", "count", "score"):
            raise BindingError(f"Curriculum: by must be share, count or score, got {shown(by)}")
        self.entry, self.by, self.entries = entry, by, (entry,)
        super().__init__(scores, seed, size)

    def in_play(self, value: float) -> int:
        """How many samples a value of the entry has in play.

        Raises:
            BindingError: none, or more than there are.
        """
        most = len(self._numbers)
        if self.by == "score":
            count, allowed = int(np.searchsorted(self._sorted, value, side="right")), f"at least {self._sorted[0]:g}"
        elif self.by == "count":
            count, allowed = int(value), f"from 1 to {most}"
        else:
            count = max(1, round(value * most)) if 0 < value <= 1 else 0
            allowed = "above 0 and at most 1"
        if not 1 <= count <= most:
            raise BindingError(
                f"{self.entry} comes to {value!r}, and as a {self.by} must be {allowed}. Clip the schedule"
            )
        return count

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "by": self.by}

    def _take(self) -> None:
        self._easiest = np.argsort(self._numbers, kind="stable")
        self._sorted = self._numbers[self._easiest]

    def _pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        count = self.in_play(info.values[self.entry])
        first = epoch * self.size
        ranks = _rounds(first + start, first + stop, count, seed=self.seed)
        return self._easiest[ranks].tolist()


@final
class Weighted(_Scored):
    r"""Samples drawn by weights with a power that changes: rare classes, hard negatives.

    .. math::
        p_i(t) = \frac{w_i^{\alpha(t)}}{\sum_j w_j^{\alpha(t)}}

    :math:`\alpha = 1` draws by the weights, 0 all alike, -1 by their inverse; a weight of 0 is never drawn. An epoch
    is drawn in strata: at :math:`\alpha = 0` every sample comes exactly once in it, and under constant weights each
    comes nearly as often as it should; that is less noise than independent draws have.

    Args:
        weights: one for each sample, of shape (N,): a list, array or tensor of finite numbers from 0 on, such as
            `1 / (how often its class occurs)` or the loss that it had. Not all 0.
        entry: the plan's entry for :math:`\alpha`; any finite number.
        seed: 0 to 2^63 - 1.
        size: how many samples make an epoch; N by default.

    Raises:
        BindingError: a weight or an argument is not possible.

    Agrees with:
        `torch.utils.data.WeightedRandomSampler(weights, N, replacement=True)` in how often each sample comes on
        average, at a power of 1.

    Example:
        >>> import tempomat as tm
        >>> from tempomat.torch import BatchSampler
        >>> plan = tm.Plan({"batch_size": 4, "sampling_power": tm.MultiStep(init_value=1, factor=0, milestones=(1,))})
        >>> sampler = BatchSampler(Weighted([0, 0, 0, 1.0], seed=0), plan)
        >>> next(iter(sampler)), sorted(next(iter(sampler)))
        ([3, 3, 3, 3], [3, 3, 3, 3])
    """

    _impossible = "not finite, or below 0"

    def __init__(self, weights: object, *, entry: str = "sampling_power", seed: int, size: int | None = None) -> None:
        self.entry, self.entries = entry, (entry,)
        super().__init__(weights, seed, size)

    def probabilities(self, power: float) -> Reals:
        """How often each sample comes among all that are drawn, at a value of the entry; of shape (N,)."""
        shares = np.zeros(len(self._numbers))
        shares[self._drawn] = self._powered(power)
        return shares / shares.sum()

    def _possible(self, numbers: Reals) -> Any:
        return np.isfinite(numbers) & (numbers >= 0)

    def _take(self) -> None:
        self._drawn = np.flatnonzero(self._numbers)
        if not len(self._drawn):
            raise BindingError("Weighted: every weight is 0, so that nothing could be drawn")
        self._logs = np.log(self._numbers[self._drawn])
        self._ends = float(self._logs.min()), float(self._logs.max())
        self._sums: tuple[float, Reals] | None = None

    def _powered(self, power: float) -> Reals:
        """The weights that are not 0 with a power, in units of the largest result."""
        return np.exp(power * self._logs - max(power * end for end in self._ends))

    def _pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        power = info.values[self.entry]
        if self._sums is None or self._sums[0] != power:
            self._sums = power, np.cumsum(self._powered(power))
        sums = self._sums[1]
        strata = permuted(np.arange(start, stop), self.size, seed=self.seed, key=epoch)
        at = (strata + units(start, stop, seed=self.seed, key=epoch)) * (sums[-1] / self.size)
        # a product may be rounded up to the very end, behind which there is no sample
        return self._drawn[np.minimum(np.searchsorted(sums, at, side="right"), len(sums) - 1)].tolist()


@final
class Mixture(Order):
    """Several data sets in shares that change: each has an entry of the plan for its weight.

    An update of B samples takes from each its share of B, rounded up or down at random so that it is right on average.
    Of each data set every sample comes once before any comes again, whatever the weights do meanwhile: how far it has
    come is counted, in `info.counts` under its entry, and saved.

    Args:
        sources: the data sets, or how many samples each has, by name. Indices are those of
            `torch.utils.data.ConcatDataset(list(sources.values()))`.
        family: what the entries are called before the dot: `mixture.web` for the source `web`. Weights are at least
            0; only their ratios matter.
        seed: 0 to 2^63 - 1.
        size: how many samples make an epoch; as many as all sources have together by default.

    Raises:
        BindingError: a source is empty, or a name is none that an entry may have. While iterating: every weight is 0.

    Example:
        >>> import tempomat as tm
        >>> from tempomat.torch import BatchSampler
        >>> web = tm.PiecewiseConstant(values=(3, 0), boundaries=(2,))
        >>> plan = tm.Plan({"batch_size": 4, "mixture.web": web, "mixture.books": 1})
        >>> mixture = Mixture({"web": 12, "books": 4}, seed=0)
        >>> [sorted(mixture.source(index)[0] for index in batch) for batch in BatchSampler(mixture, plan)][1:3]
        [['books', 'web', 'web', 'web'], ['books', 'books', 'books', 'books']]
    """

    def __init__(
        self, sources: Mapping[str, Sized | int], *, family: str = "mixture", seed: int, size: int | None = None
    ) -> None:
        if not isinstance(sources, Mapping) or not sources:
            raise BindingError(f"Mixture: needs data sets by name, got {shown(sources)}")
        self.sizes = {
            name: checked(len(one) if isinstance(one, Sized) else one, f"Mixture: the size of {name!r}", 1)
            for name, one in sources.items()
        }
        self.entries = tuple(_entry(family, name) for name in self.sizes)
        self.seed = checked(seed, "Mixture: seed", 0, MAX_SEED)
        self.data_size = sum(self.sizes.values())
        self.size = self.data_size if size is None else checked(size, "Mixture: size", 1)
        self._firsts = np.cumsum([0, *self.sizes.values()])

    def __len__(self) -> int:
        return self.size

    def source(self, index: int) -> tuple[str, int]:
        """Which data set an index belongs to, and which of its samples it is."""
        place = int(np.searchsorted(self._firsts, index, side="right")) - 1
        return list(self.sizes)[place], index - int(self._firsts[place])

    def tally(self, info: BatchInfo) -> Mapping[str, int]:
        return dict(zip(self.entries, self._shares(info), strict=True))

    def pick(self, epoch: int, start: int, stop: int, info: BatchInfo) -> Sequence[int]:
        drawn: list[Any] = []
        for place, (entry, share) in enumerate(zip(self.entries, self._shares(info), strict=True)):
            before, size = info.counts.get(entry, 0), list(self.sizes.values())[place]
            within = _rounds(before, before + share, size, seed=self.seed, stream=_FIRST_SOURCE + place)
            drawn.append(self._firsts[place] + within)
        # ranks and micro-batches are pieces of this: sources in a row would not be shared out alike
        mixed = permuted(np.arange(stop - start), stop - start, seed=self.seed, key=info.update, stream=_MEMBERS)
        return np.concatenate(drawn)[mixed].tolist()

    @property
    def facts(self) -> dict[str, Any]:
        return {"order": "Mixture", "size": self.size, "seed": self.seed, "sources": dict(self.sizes)}

    def _shares(self, info: BatchInfo) -> list[int]:
        """How many samples of an update come from each source."""
        sums = np.cumsum([info.values[entry] for entry in self.entries])
        if not sums[-1] > 0:
            raise BindingError(f"every weight of the mixture is 0 at update {info.update:_}: {', '.join(self.entries)}")
        # the same offset for all cuts: each share is off by less than one, and right on average
        ends = np.floor(sums / sums[-1] * info.samples + unit(self.seed, info.update))
        return np.diff(ends, prepend=0.0).astype(np.int64).tolist()


def inverse_frequencies(labels: object) -> Reals:
    """For each sample one over how often its label occurs: weights by which every class comes equally often.

    Args:
        labels: one for each sample, of shape (N,).

    Example:
        >>> inverse_frequencies([7, 7, 3, 7, 7]).tolist()
        [0.25, 0.25, 1.0, 0.25, 0.25]
    """
    given = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    _, which, counts = np.unique(given, return_inverse=True, return_counts=True)
    return cast(Reals, 1.0 / counts[which])


def _rounds(start: int, stop: int, size: int, *, seed: int, stream: int = 0) -> Any:
    """The places `[start, stop)` of an endless row of random orders of `range(size)`."""
    found, at = [np.empty(0, dtype=np.int64)], start
    while at < stop:
        turn, place = divmod(at, size)
        until = min(stop, (turn + 1) * size)
        found.append(permuted(np.arange(place, place + until - at), size, seed=seed, key=turn, stream=stream))
        at = until
    return np.concatenate(found)


def _entry(family: str, name: object) -> str:
    entry = f"{family}.{name}"
    try:
        if entry_name(entry).group == family and entry_name(entry).index is None:
            return entry
    except ScheduleError:
        pass
    raise BindingError(f"Mixture: {shown(entry)} can be no entry of a plan: letters, digits, - and _ for the name")
