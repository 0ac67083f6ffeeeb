"""What each update of a run takes: how many samples, in which pieces, and what the plan says for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, final

from tempomat.core import BindingError, Schedule, Unit
from tempomat.core.errors import did_you_mean
from tempomat.core.numbers import MAX_COUNT
from tempomat.plan import Plan, entry_name
from tempomat.torch.scheduler import Scheduler
from tempomat.torch.stream import BatchInfo, Order, split

Values = dict[str, float]
OWN = (str(Unit.OPTIMIZER_STEPS), str(Unit.SAMPLES), str(Unit.EPOCHS))
"""The units in which a run's place in its data is counted."""


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands in its data: the next update, and the sample that it begins with."""

    update: int = 0
    epoch: int = 0
    offset: int = 0
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OWN, 0))

    def next_epoch(self) -> Place:
        """The beginning of the next epoch, before the same update."""
        epochs = str(Unit.EPOCHS)
        return Place(self.update, self.epoch + 1, 0, {**self.counts, epochs: self.counts[epochs] + 1})


@final
@dataclass(frozen=True, slots=True)
class Updates:
    """The updates of a run, each a function of its place and of the values in force there; nothing is remembered."""

    scheduler: Scheduler | Plan
    order: Order
    entry: str
    """Of the size."""
    entries: tuple[str, ...]
    """Whose values are read."""
    drop_last: bool
    micro: int | None
    world_size: int

    def __post_init__(self) -> None:
        _check_entries(self.scheduler, self.entries)
        if len(self.order) < self.world_size:
            raise BindingError(f"BatchSampler: {self.world_size} ranks cannot share {len(self.order)} samples")

    @property
    def facts(self) -> dict[str, Any]:
        """What a saved state must agree in."""
        return {**self.order.facts, "entries": list(self.entries), "drop_last": self.drop_last}

    def values(self, place: Place) -> Values | None:
        """What the plan says now for the update at a place; None where the epoch has none left."""
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

    def _read(self, place: Place) -> Values:
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

    def at(self, place: Place, values: Values) -> BatchInfo:
        """The update at a place, in one piece."""
        size, left = int(values[self.entry]), len(self.order) - place.offset
        samples = min(size, left)
        if not self.drop_last and left - samples < self.world_size:
            samples = left  # too few to go round would otherwise be left over
        # `micro`, `weight` and `last` are those of an update in one piece until it is cut
        return BatchInfo(place.update, place.epoch, size, samples, 0, 1.0, True, dict(place.counts), dict(values))

    def shares(self, update: BatchInfo) -> list[list[tuple[int, int]]]:
        """For each rank the pieces of an update, as `(start, stop)`; equally many on each."""
        ranks = split(update.samples, self.world_size)
        pieces = 1 if self.micro is None else -(-ranks[0] // self.micro)
        ends = list(accumulate(size for share in ranks for size in split(share, pieces)))
        spans = list(zip([0, *ends], ends, strict=False))
        return [spans[rank * pieces : (rank + 1) * pieces] for rank in range(self.world_size)]

    def after(self, place: Place, update: BatchInfo) -> Place:
        """Where a run stands after an update from there."""
        steps, samples, _ = OWN
        counts = {**place.counts, steps: place.counts[steps] + 1, samples: place.counts[samples] + update.samples}
        counts |= {name: counts.get(name, 0) + more for name, more in self.order.tally(update).items()}
        return Place(place.update + 1, place.epoch, place.offset + update.samples, counts)


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
        strange = {clock or str(plan.clock) for clock in plan[name].clocks} - set(OWN)
        if strange:
            clocks = ", ".join(sorted(strange))
            raise BindingError(f"BatchSampler: {name} follows {clocks}. Give the Scheduler, which counts them")
