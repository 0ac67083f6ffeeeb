"""Batch size over time: a batch sampler for PyTorch's `DataLoader` whose batches are planned, and the loader around it
that says what was in force for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, SupportsIndex, cast, final

import torch
from torch import distributed
from torch.utils.data import DataLoader, Sampler

from tempomat.core import BindingError, Schedule, StateError, Unit
from tempomat.core.errors import did_you_mean
from tempomat.core.numbers import MAX_COUNT
from tempomat.plan import Plan, entry_name
from tempomat.runtime import Event
from tempomat.runtime.state import checksum
from tempomat.torch.ranks import are_several
from tempomat.torch.scheduler import Scheduler
from tempomat.torch.stream import MAX_SEED, BatchInfo, Indices, Order, Shuffled, checked, split, words

FORMAT = 1
"""The version of the state's layout."""

Values = dict[str, float]
_KEYS = ("format", "facts", "epoch", "offset", "counts", "planned", "ended", "checksum")
_OWN = (str(Unit.OPTIMIZER_STEPS), str(Unit.SAMPLES), str(Unit.EPOCHS))


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run stands in its data: the next update, and the sample that it begins with."""

    update: int
    epoch: int
    offset: int
    counts: Mapping[str, int]


@final
class BatchSampler(Sampler[list[int]]):
    r"""Batches whose size is an entry of the plan: a `batch_sampler=` for `torch.utils.data.DataLoader`.

    The k-th update takes :math:`B_k = \lfloor v(c_k) \rfloor` samples, :math:`v` the entry and :math:`c_k` the counts
    of optimizer steps, samples and epochs before it, counted by the sampler itself. Sizes and samples are therefore a
    pure function of (plan, seed, k), however many batches workers fetch ahead. Each `iter` is one epoch, or what is
    left of it. Give the loader to `Batches`, which says what holds for each batch and what was consumed.

    A controller in the entry acts when a batch is planned: batches that workers had already been given keep their size.
    So do clocks other than those three: the scheduler's count at planning is taken.

    Across ranks each update is split as evenly as can be, and every rank has as many batches as the others: nothing
    is left out and nothing comes twice. Samples at the end of an epoch that are fewer than the ranks join the last
    update.

    Args:
        data: the data set, the number of its samples, or an `Order` of them.
        scheduler: a `Scheduler`, or a resolved `Plan` where nothing in the entry listens to measurements.
        entry: the plan's entry for the size of an update, over all ranks; rounded down.
        seed: of the order, 0 to 2^63 - 1. An `Order` has its own.
        shuffle: whether each epoch has an order of its own; for an `Order` it says itself.
        drop_last: leave out what is left of an epoch where it is less than a whole update.
        micro: the most samples that one device takes at once. A larger update comes as several batches, of which
            only the last has `info.last`.
        also: further entries of the plan whose values travel with each batch, in `info.values`.
        world_size: how many ranks; that of the process group by default, or 1.
        rank: which of them this is.

    Raises:
        BindingError: there is no such entry; it listens to measurements and a plan was given; an argument is out of
            its range; there are fewer samples than ranks. While iterating: the size is below 1 or below the number of
            ranks, or above the number of samples with `drop_last`.

    Example:
        >>> import tempomat as tm
        >>> plan = tm.Plan({"batch_size": tm.PiecewiseConstant(values=(2, 4), boundaries=(2,))})
        >>> sampler = BatchSampler(10, plan, seed=0, shuffle=False)
        >>> [list(batch) for batch in sampler]
        [[0, 1], [2, 3], [4, 5, 6, 7], [8, 9]]
        >>> [len(batch) for batch in sampler]
        [4, 4, 2]
    """

    def __init__(
        self,
        data: int | Sized | Order,
        scheduler: Scheduler | Plan,
        entry: str = "batch_size",
        *,
        seed: int | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        micro: int | None = None,
        also: Iterable[str] = (),
        world_size: int | None = None,
        rank: int | None = None,
    ) -> None:
        self.order = _ordered(data, seed, shuffle)
        self.entry, self.drop_last = entry, drop_last
        self.entries = tuple(dict.fromkeys((entry, *self.order.entries, *also)))
        self.scheduler = scheduler
        _check_entries(scheduler, self.entries)
        self.world_size, self.rank = _ranks(world_size, rank)
        self.micro = None if micro is None else checked(micro, "BatchSampler: micro", 1 + (self.world_size > 1))
        if len(self.order) < self.world_size:
            raise BindingError(f"BatchSampler: {self.world_size} ranks cannot share {len(self.order)} samples")
        self._done = _Place(0, 0, 0, dict.fromkeys(_OWN, 0))
        self._planned: dict[int, Values] = {}
        self._ended: tuple[int, int] | None = None  # the epoch that was found over, and before which update
        self._issued: deque[BatchInfo] = deque()
        self._followed = False
        self.untouched = True
        """Whether nothing was consumed or loaded yet."""

    def __iter__(self) -> Iterator[list[int]]:
        self._settle()
        self._issued = issued = deque[BatchInfo]()
        return self._batches(self._done, issued)

    def __len__(self) -> int:
        """How many batches are left of the epoch; with a controller in the entry, if it decides nothing more."""
        self._settle()
        place, batches = self._done, 0
        while (values := self._planned.get(place.update) or self._read_unless_over(place)) is not None:
            update = self._update(place, values)
            batches += len(self._shares(update)[0])
            place = self._after(place, update)
            if self._ended == (place.epoch, place.update):
                break
        return batches

    @property
    def epoch(self) -> int:
        """The epoch of the next batch: how many are over."""
        self._settle()
        return self._done.epoch

    @property
    def counts(self) -> dict[str, int]:
        """Optimizer steps, samples and epochs up to the next batch."""
        self._settle()
        return dict(self._done.counts)

    # saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Plain data: where the run stands after the last complete update whose batches were consumed, and what holds
        for those that workers were already given.

        Ask for it after an update. Between micro-batches it is that before the update, which is then done anew, since
        no checkpoint holds half of a gradient. Without `Batches` around the loader, what workers were given counts as
        consumed.
        """
        self._settle()
        ahead = [dict(self._planned[update]) for update in sorted(self._planned)]
        state: dict[str, Any] = {
            "format": FORMAT,
            "facts": self._facts,
            "epoch": self._done.epoch,
            "offset": self._done.offset,
            "counts": {**self._done.counts, "updates": self._done.update},
            "planned": ahead,
            "ended": self._ended is not None and self._ended == (self._done.epoch, self._done.update + len(ahead)),
        }
        return {**state, "checksum": checksum(state)}

    def load_state_dict(self, state: Mapping[str, Any], *, counts: Mapping[str, int] | None = None) -> None:
        """Go on after the last consumed batch: in the middle of an epoch, with any number of workers or ranks.

        Args:
            state: what `state_dict` gave.
            counts: the counts to read the plan at from now on, where those of the scheduler were changed on purpose:
                `counts=scheduler.counts` after `on_change="stretch"` or a rewind. What was planned under the old ones
                is planned anew.

        Raises:
            StateError: the state is damaged, or that of other data, another order or another entry.
        """
        good = _check_state(state, self._facts)
        own: dict[str, int] = dict(good["counts"])
        update = own.pop("updates")
        own |= {unit: count for unit, count in (counts or {}).items() if unit in own}
        self._done = _Place(update, good["epoch"], good["offset"], own)
        ahead = [] if counts else good["planned"]
        self._planned = {update + place: dict(values) for place, values in enumerate(ahead)}
        self._ended = (good["epoch"], update + len(ahead)) if good["ended"] and not counts else None
        self.untouched = False
        self._issued = deque()  # an iterator from before goes no further
        self.order.restored(self._done.epoch, self._done.offset)

    @property
    def _facts(self) -> dict[str, Any]:
        return {**self.order.facts, "entries": list(self.entries), "drop_last": self.drop_last}

    # planning

    def _batches(self, place: _Place, issued: deque[BatchInfo]) -> Iterator[list[int]]:
        while (update := self._plan(place)) is not None:
            chosen = self.order.pick(place.epoch, place.offset, place.offset + update.samples, update)
            batches = self._shares(update)[self.rank]
            for micro, (start, stop) in enumerate(batches):
                self.check_latest(issued)
                weight, last = (stop - start) * self.world_size / update.samples, micro == len(batches) - 1
                info = replace(update, micro=micro, weight=weight, last=last)
                issued.append(info)
                if not self._followed:
                    self.consumed(issued.popleft())
                yield Indices(chosen[start:stop], info)
            place = self._after(place, update)

    def _plan(self, place: _Place) -> BatchInfo | None:
        """The update from a place on, as it was planned or as it is planned now; None at the end of the epoch."""
        if place.update not in self._planned:
            if self._ended == (place.epoch, place.update):
                return None
            values = self._read_unless_over(place)
            if values is None:
                self._ended = (place.epoch, place.update)
                return None
            self._planned[place.update] = values
        return self._update(place, self._planned[place.update])

    def _read_unless_over(self, place: _Place) -> Values | None:
        left = len(self.order) - place.offset
        if not left:
            return None
        values = self._read(place)
        size = int(values[self.entry])
        if self.drop_last and left < size:
            if place.offset == 0:
                raise BindingError(
                    f"{self.entry} comes to {size}, and an epoch has {left} samples: with drop_last no batch would come"
                )
            return None
        if size < self.world_size:
            raise BindingError(f"{self.entry} comes to {size}, which {self.world_size} ranks cannot share")
        return values

    def _read(self, place: _Place) -> Values:
        """The entries at a place, each within its range."""
        counts, clock = dict(place.counts), str(_plan_of(self.scheduler).clock)
        if isinstance(self.scheduler, Scheduler):
            counts = {**self.scheduler.counts, **counts}
        values: Values = {}
        for name in self.entries:
            value = _in_force(self.scheduler, name).at_counts(counts, clock)
            if not (span := entry_name(name).range).holds(value):
                raise BindingError(
                    f"{name} comes to {value!r} at update {place.update:_}, and must be {span}. Clip the schedule"
                )
            values[name] = value
        if not 1 <= (size := values[self.entry]) <= MAX_COUNT:
            raise BindingError(f"{self.entry} comes to {size!r}, and a batch has at least 1 sample")
        values[self.entry] = float(int(size))
        return values

    def _update(self, place: _Place, values: Values) -> BatchInfo:
        size, left = int(values[self.entry]), len(self.order) - place.offset
        samples = min(size, left)
        if not self.drop_last and left - samples < self.world_size:
            samples = left  # too few to go round would otherwise be left over
        # `micro`, `weight` and `last` are those of an update in one piece until it is cut
        return BatchInfo(place.update, place.epoch, size, samples, 0, 1.0, True, dict(place.counts), dict(values))

    def _shares(self, update: BatchInfo) -> list[list[tuple[int, int]]]:
        """For each rank the pieces of an update, as `(start, stop)`; equally many on each."""
        ranks = split(update.samples, self.world_size)
        pieces = 1 if self.micro is None else -(-ranks[0] // self.micro)
        ends = list(accumulate(size for share in ranks for size in split(share, pieces)))
        spans = list(zip([0, *ends], ends, strict=False))
        return [spans[rank * pieces : (rank + 1) * pieces] for rank in range(self.world_size)]

    def _after(self, place: _Place, update: BatchInfo) -> _Place:
        steps, samples, _ = _OWN
        counts = {**place.counts, steps: place.counts[steps] + 1, samples: place.counts[samples] + update.samples}
        counts |= {name: counts.get(name, 0) + more for name, more in self.order.tally(update).items()}
        return _Place(place.update + 1, place.epoch, place.offset + update.samples, counts)

    def consumed(self, info: BatchInfo) -> None:
        """A batch has been handed to the loop: what `Batches` calls."""
        self.untouched = False
        if info.last:
            self._done = self._after(self._done, info)
            del self._planned[info.update]

    def upcoming(self) -> Values:
        """The values of the next update, where it is planned already."""
        return dict(self._planned.get(self._done.update, {}))

    def check_latest(self, issued: deque[BatchInfo]) -> None:
        """Refuse to go on with an iterator from before another one was begun or a state was loaded."""
        if self._issued is not issued:
            raise BindingError(
                "BatchSampler: another iterator was begun, or a state was loaded, since this one was; only the latest "
                "goes on. Leave the loop after loading, and begin a new one"
            )

    def _settle(self) -> None:
        """Into the next epoch, where nothing of this one is left."""
        place = self._done
        here = (place.epoch, place.update)
        if place.update in self._planned or (self._ended != here and self._read_unless_over(place) is not None):
            return
        if place.offset:
            self._ended = here  # an iterator of that epoch ends, even if a smaller batch would fit by now
            epochs = str(Unit.EPOCHS)
            self._done = _Place(place.update, place.epoch + 1, 0, {**place.counts, epochs: place.counts[epochs] + 1})


@final
class Batches:
    """A `DataLoader` over a `BatchSampler`, with what was in force for each batch: iterates `(info, batch)`.

    The plan's value for a batch is that of when the batch was planned, however far workers fetch ahead. The state is
    that after the last batch which the loop has got.

    Args:
        loader: a `torch.utils.data.DataLoader` with `batch_sampler=BatchSampler(...)`; any number of workers, any
            `prefetch_factor`, persistent workers or not, but in order.

    Raises:
        BindingError: the loader has another batch sampler, is out of order, or has more or fewer samples than the
            sampler was told. While iterating: the scheduler's clock of samples, if the plan follows one, is not where
            the batch was planned for; or its optimizer steps have gone on, and the batches' state was not loaded.

    Example:
        >>> import torch, tempomat as tm
        >>> plan = tm.Plan({"batch_size": tm.PiecewiseConstant(values=(4, 6), boundaries=(1,))})
        >>> sampler = BatchSampler(10, plan, seed=0, micro=3)
        >>> loader = Batches(torch.utils.data.DataLoader(torch.arange(10.0), batch_sampler=sampler))
        >>> for info, batch in loader:
        ...     print(info.update, info.batch_size, len(batch), info.weight, info.last)
        0 4 2 0.5 False
        0 4 2 0.5 True
        1 6 3 0.5 False
        1 6 3 0.5 True
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        sampler = getattr(loader, "batch_sampler", None)
        if not isinstance(sampler, BatchSampler):
            raise BindingError(
                "Batches: needs a DataLoader with batch_sampler=BatchSampler(...) of tempomat.torch, got "
                f"{type(loader).__name__} with {_described(sampler)}"
            )
        if not getattr(loader, "in_order", True):
            raise BindingError("Batches: needs batches in the order they were planned in. Leave out in_order=False")
        _check_size(loader, sampler.order)
        self.loader, self.sampler = loader, sampler
        self._handed_at: dict[str, int] = {}
        self.info: BatchInfo | None = None
        """What holds for the batch that the loop has; None before the first."""
        sampler._followed = True

    def __iter__(self) -> Iterator[tuple[BatchInfo, Any]]:
        self._check_loaded()
        batches = self._begun()
        issued = self.sampler._issued
        for batch in batches:
            self.sampler.check_latest(issued)
            info = issued[0]
            self._check_clock(info)
            self._check_micro(info)
            self.sampler.consumed(issued.popleft())
            self.info, self._handed_at = info, self._counted()
            yield info, batch

    def _begun(self) -> Iterator[Any]:
        """A new iterator of the loader. PyTorch draws the seed of its workers from the global generator; a resumed run,
        which begins one iterator more, would go on with other random numbers than the unbroken one.
        """
        loader: Any = self.loader
        if getattr(loader, "generator", self) is not None:
            return iter(loader)
        key = self.sampler._done.update
        seed = int(words(torch.initial_seed() & MAX_SEED, key, 1)[0])
        loader.generator = torch.Generator().manual_seed(seed)
        try:
            return iter(loader)
        finally:
            loader.generator = None

    @property
    def values(self) -> Values:
        """What holds for the batch that the loop has. Once the scheduler's counts have moved on, what holds for the
        next one where that is planned already, and nothing where it is not: then it will be what the plan says.
        """
        if self.info is None or self._handed_at != self._counted():
            return self.sampler.upcoming()
        return dict(self.info.values)

    def _counted(self) -> dict[str, int]:
        scheduler = self.sampler.scheduler
        if not isinstance(scheduler, Scheduler):
            return {}
        clocks = {str(scheduler.plan.clock), *_OWN}  # a loop may count tokens before it writes its row
        return {unit: count for unit, count in scheduler.counts.items() if unit in clocks}

    def __len__(self) -> int:
        """How many batches are left of the epoch."""
        return len(self.sampler)

    @property
    def epoch(self) -> int:
        """The epoch of the next batch: how many are over. `for epoch in range(batches.epoch, 20)` goes on after
        loading.
        """
        return self.sampler.epoch

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands after the last update whose batches the loop has got; see `BatchSampler.state_dict`."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], *, counts: Mapping[str, int] | None = None) -> None:
        """Go on from there; see `BatchSampler.load_state_dict`."""
        self.sampler.load_state_dict(state, counts=counts)

    def _check_clock(self, info: BatchInfo) -> None:
        scheduler, samples = self.sampler.scheduler, str(Unit.SAMPLES)
        if not isinstance(scheduler, Scheduler) or samples not in scheduler.counts:
            return
        at, planned = scheduler.counts[samples], info.counts[samples]
        if at != planned:
            raise BindingError(
                f"the scheduler is at {at:_} samples, and the batch was planned for {planned:_}. After each update "
                "call scheduler.advance(samples=info.samples); after loading, load the state of both, and where counts "
                "were changed on purpose, batches.load_state_dict(state, counts=scheduler.counts)"
            )

    def _check_micro(self, info: BatchInfo) -> None:
        if info.micro and self._handed_at != self._counted():
            raise BindingError(
                f"the scheduler's counts have moved between two micro-batches of update {info.update:_}. Step the "
                "optimizer and the scheduler where info.last is true"
            )

    def _check_loaded(self) -> None:
        scheduler, steps = self.sampler.scheduler, str(Unit.OPTIMIZER_STEPS)
        ahead = scheduler.counts.get(steps, 0) if isinstance(scheduler, Scheduler) else 0
        if ahead and self.sampler.untouched:
            raise BindingError(
                f"the scheduler is at {ahead:_} optimizer steps, and the batches begin anew at 0. After loading, load "
                "the state of both. If new data begins here, say from which counts on: "
                "batches.load_state_dict(batches.state_dict(), counts=scheduler.counts)"
            )


@final
class Applied:
    """A scheduler as it is for the batch in hand: what a `Recorder` writes, exact under prefetching.

    `values` has, for the entries that travel with batches, those of the batch that the loop has got, and those of the
    next one once the scheduler's counts have moved on; `asked` is what the plan says now, which differs where a
    controller has decided since the batch was planned.

    Args:
        scheduler: the run's.
        batches: where batches come from; one or several.

    Example:
        `recorder.write(applied, loss=loss.item())` with `applied = Applied(scheduler, batches)` built once.
    """

    def __init__(self, scheduler: Scheduler, *batches: Batches) -> None:
        self.scheduler, self.batches = scheduler, batches

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.scheduler.plan

    @property
    def counts(self) -> dict[str, int]:
        """The scheduler's counters."""
        return self.scheduler.counts

    @property
    def asked(self) -> dict[str, float]:
        """What the plan says at these counts."""
        return self.scheduler.asked

    @property
    def values(self) -> dict[str, float]:
        """What holds for the batch in hand."""
        held = [one.values for one in self.batches]
        return {**self.scheduler.values, **{name: value for values in held for name, value in values.items()}}

    @property
    def events(self) -> Sequence[Event]:
        """The scheduler's events."""
        return self.scheduler.events


def _ordered(data: object, seed: int | None, shuffle: bool) -> Order:
    if isinstance(data, Order):
        return data
    if not isinstance(data, (Sized, SupportsIndex)):
        raise BindingError(
            f"BatchSampler: needs a data set with samples by index, or their number, got {type(data).__name__}. What "
            "can only be gone through in a row has no order to plan"
        )
    size = checked(len(data) if isinstance(data, Sized) else data, "BatchSampler: the number of samples", 1)
    if seed is None and shuffle:
        raise BindingError("BatchSampler: needs a seed=, from which the order of each epoch follows")
    return Shuffled(size, seed=seed or 0, shuffle=shuffle)


def _described(sampler: object) -> str:
    """A batch sampler by its class; PyTorch's own has the same name as ours."""
    return "none" if sampler is None else f"{type(sampler).__module__}.{type(sampler).__name__}"


def _check_size(loader: Any, order: Order) -> None:
    data = getattr(loader, "dataset", None)
    has = len(data) if isinstance(data, Sized) else None
    if None not in (has, order.data_size) and has != order.data_size:
        raise BindingError(
            f"Batches: the sampler orders {order.data_size} samples, and the loader's data set has {has}. Give both "
            "the same data"
        )


def _plan_of(scheduler: Scheduler | Plan) -> Plan:
    return scheduler if isinstance(scheduler, Plan) else scheduler.plan


def _in_force(scheduler: Scheduler | Plan, entry: str) -> Schedule:
    return scheduler[entry] if isinstance(scheduler, Plan) else scheduler.in_force(entry)


def _check_entries(scheduler: object, entries: Sequence[str]) -> None:
    if not isinstance(scheduler, (Plan, Scheduler)):
        raise BindingError(f"BatchSampler: needs a Scheduler or a Plan, got {type(scheduler).__name__}")
    plan = _plan_of(scheduler)
    for name in entries:
        if name not in plan.schedules:
            near = did_you_mean(name, plan.schedules)
            raise BindingError(
                f"BatchSampler: the plan has no entry {name!r}.{near} Entries: {', '.join(plan.schedules)}"
            )
        if not isinstance(scheduler, Plan):
            continue
        if plan[name].controllers:
            raise BindingError(f"BatchSampler: {name} listens to measurements. Give the Scheduler instead of the plan")
        if not plan.resolved:
            raise BindingError("BatchSampler: the plan has lengths that are no counts yet; resolve() it first")
        strange = {clock or str(plan.clock) for clock in plan[name].clocks} - set(_OWN)
        if strange:
            clocks = ", ".join(sorted(strange))
            raise BindingError(f"BatchSampler: {name} follows {clocks}. Give the Scheduler, which counts them")


def _ranks(world_size: int | None, rank: int | None) -> tuple[int, int]:
    several = are_several()
    size = (distributed.get_world_size() if several else 1) if world_size is None else world_size
    mine = (distributed.get_rank() if several else 0) if rank is None else rank
    ranks = checked(size, "BatchSampler: world_size", 1)
    return ranks, checked(mine, "BatchSampler: rank", 0, ranks - 1)


def _check_state(state: object, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(state, Mapping) or set(cast(Mapping[str, Any], state)) != set(_KEYS):
        raise StateError(f"a state of BatchSampler has {', '.join(_KEYS)}, got {state!r:.200}")
    given = cast(Mapping[str, Any], state)
    if given["format"] != FORMAT:
        raise StateError(f"the state of BatchSampler has format {given['format']!r}; this version reads {FORMAT}")
    try:
        intact = checksum(given) == given["checksum"]
    except (TypeError, ValueError, RecursionError):
        intact = False
    if not intact:
        raise StateError("the state of BatchSampler does not match its checksum: it was changed or damaged")
    saved = given["facts"]
    changes = [
        f"{key}: {saved.get(key)!r} -> {facts.get(key)!r}"
        for key in {**saved, **facts}
        if saved.get(key) != facts.get(key)
    ]
    if changes:
        raise StateError(f"the batches are not those of the saved state (saved -> now): {'; '.join(changes)}")
    return given
