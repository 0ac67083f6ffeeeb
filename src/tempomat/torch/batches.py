"""A PyTorch `DataLoader` of planned batches, with what was in force for each: for the loop, and for the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, final

import torch
from torch.utils.data import DataLoader

from tempomat.core import BindingError, Unit
from tempomat.plan import Plan
from tempomat.runtime import Event
from tempomat.torch.batch_sampler import BatchSampler
from tempomat.torch.scheduler import Scheduler
from tempomat.torch.stream import MAX_SEED, BatchInfo, Order, words
from tempomat.torch.updates import OWN, Values


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
        sampler.follow()

    def __iter__(self) -> Iterator[tuple[BatchInfo, Any]]:
        self._check_loaded()
        batches = self._begun()
        turn = self.sampler.turn
        for batch in batches:
            info = self.sampler.oldest(turn)
            self._check_clock(info)
            self._check_micro(info)
            self.sampler.consumed()
            self.info, self._handed_at = info, self._counted()
            yield info, batch

    def _begun(self) -> Iterator[Any]:
        """A new iterator of the loader. PyTorch draws the seed of its workers from the global generator; a resumed run,
        which begins one iterator more, would go on with other random numbers than the unbroken one.
        """
        loader: Any = self.loader
        if getattr(loader, "generator", self) is not None:
            return iter(loader)
        seed = int(words(torch.initial_seed() & MAX_SEED, self.sampler.update, 1)[0])
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
        clocks = {str(scheduler.plan.clock), *OWN}  # a loop may count tokens before it writes its row
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
