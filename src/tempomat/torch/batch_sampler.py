"""A batch sampler for PyTorch's `DataLoader` whose batches are planned: their sizes follow an entry of the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any, SupportsIndex, cast, final

from torch import distributed
from torch.utils.data import Sampler

from tempomat.core import BindingError, StateError
from tempomat.plan import Plan
from tempomat.runtime.state import checksum
from tempomat.torch.ranks import are_several
from tempomat.torch.scheduler import Scheduler
from tempomat.torch.stream import BatchInfo, Indices, Order, Shuffled, checked
from tempomat.torch.updates import Place, Updates, Values

FORMAT = 1
"""The version of the state's layout."""

_KEYS = ("format", "facts", "epoch", "offset", "counts", "planned", "ended", "checksum")


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
        self.world_size, self.rank = _ranks(world_size, rank)
        self.micro = None if micro is None else checked(micro, "BatchSampler: micro", 1 + (self.world_size > 1))
        self._updates = Updates(
            scheduler,
            self.order,
            entry,
            self.entries,
            drop_last=drop_last,
            micro=self.micro,
            world_size=self.world_size,
        )
        self._done = Place()
        self._planned: dict[int, Values] = {}
        self._ended: tuple[int, int] | None = None  # the epoch that was found over, and before which update
        self._issued: deque[BatchInfo] = deque()
        self._turn = 0
        self._followed = False
        self.untouched = True
        """Whether nothing was consumed or loaded yet."""

    def __iter__(self) -> Iterator[list[int]]:
        self._settle()
        self._begin_turn()
        return self._batches(self._done, self._turn)

    def __len__(self) -> int:
        """How many batches are left of the epoch; with a controller in the entry, if it decides nothing more."""
        self._settle()
        place, batches = self._done, 0
        while (values := self._planned.get(place.update) or self._updates.values(place)) is not None:
            update = self._updates.at(place, values)
            batches += len(self._updates.shares(update)[0])
            place = self._updates.after(place, update)
            if self._ended == (place.epoch, place.update):
                break
        return batches

    @property
    def update(self) -> int:
        """The number of the next update."""
        return self._done.update

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
            "facts": self._updates.facts,
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
        good = _check_state(state, self._updates.facts)
        own: dict[str, int] = dict(good["counts"])
        update = own.pop("updates")
        own |= {unit: count for unit, count in (counts or {}).items() if unit in own}
        self._done = Place(update, good["epoch"], good["offset"], own)
        ahead = [] if counts else good["planned"]
        self._planned = {update + place: dict(values) for place, values in enumerate(ahead)}
        self._ended = (good["epoch"], update + len(ahead)) if good["ended"] and not counts else None
        self.untouched = False
        self._begin_turn()  # an iterator from before goes no further
        self.order.restored(self._done.epoch, self._done.offset)

    # handing out

    @property
    def turn(self) -> int:
        """The number of the latest iterator."""
        return self._turn

    def follow(self) -> None:
        """Batches count as consumed when `consumed` is called, and no longer when they are given to the loader."""
        self._followed = True

    def oldest(self, turn: int) -> BatchInfo:
        """The first batch of an iterator that the loader was given and the loop was not.

        Raises:
            BindingError: another iterator was begun, or a state was loaded.
        """
        self._check_latest(turn)
        return self._issued[0]

    def consumed(self) -> None:
        """The loop has got that batch."""
        info = self._issued.popleft()
        self.untouched = False
        if info.last:
            self._done = self._updates.after(self._done, info)
            del self._planned[info.update]

    def upcoming(self) -> Values:
        """The values of the next update, where it is planned already."""
        return dict(self._planned.get(self._done.update, {}))

    def _begin_turn(self) -> None:
        self._turn += 1
        self._issued.clear()

    def _check_latest(self, turn: int) -> None:
        if turn != self._turn:
            raise BindingError(
                "BatchSampler: another iterator was begun, or a state was loaded, since this one was; only the latest "
                "goes on. Leave the loop after loading, and begin a new one"
            )

    # planning

    def _batches(self, place: Place, turn: int) -> Iterator[list[int]]:
        while (update := self._plan(place)) is not None:
            chosen = self.order.pick(place.epoch, place.offset, place.offset + update.samples, update)
            batches = self._updates.shares(update)[self.rank]
            for micro, (start, stop) in enumerate(batches):
                self._check_latest(turn)
                weight, last = (stop - start) * self.world_size / update.samples, micro == len(batches) - 1
                info = replace(update, micro=micro, weight=weight, last=last)
                self._issued.append(info)
                if not self._followed:
                    self.consumed()
                yield Indices(chosen[start:stop], info)
            place = self._updates.after(place, update)

    def _plan(self, place: Place) -> BatchInfo | None:
        """The update from a place on, as it was planned or as it is planned now; None at the end of the epoch."""
        if place.update not in self._planned:
            if self._ended == (place.epoch, place.update):
                return None
            values = self._updates.values(place)
            if values is None:
                self._ended = (place.epoch, place.update)
                return None
            self._planned[place.update] = values
        return self._updates.at(place, self._planned[place.update])

    def _settle(self) -> None:
        """Into the next epoch, where nothing of this one is left."""
        place = self._done
        here = (place.epoch, place.update)
        if place.update in self._planned or (self._ended != here and self._updates.values(place) is not None):
            return
        if place.offset:
            self._ended = here  # an iterator of that epoch ends, even if a smaller batch would fit by now
            self._done = place.next_epoch()


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
