"""Going back to the last good state where a divergence guard of the plan cuts."""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, final

import torch

from tempomat.core import BindingError, DivergenceGuard, MeasurementError, StateError
from tempomat.core.errors import did_you_mean, shown
from tempomat.plan.atomic import write_atomically
from tempomat.runtime.state import checksum
from tempomat.torch.ranks import are_several, gathered
from tempomat.torch.scheduler import Scheduler
from tempomat.torch.stream import checked

FORMAT = 1
"""The version of the state's layout."""

_KEYS = ("format", "times", "last", "snapshots")
_OURS = ("model", "scheduler", "optimizer")


class Stateful(Protocol):
    """What can be saved and loaded: a model, an average of one, a gradient scaler, `Batches`."""

    def state_dict(self) -> Any:
        """Its state, of plain data and tensors."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from there."""
        ...


@final
@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The state at a count; in memory, or in a file with its SHA-256."""

    count: int
    states: Mapping[str, Any] | None
    file: Path | None = None
    digest: str = ""

    def read(self) -> Any:
        """A copy of the states, which loading may then use as its own."""
        if self.file is None:
            return _copied(self.states)
        try:
            content = self.file.read_bytes()
        except OSError as error:
            raise StateError(f"{self.file}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise StateError(f"{self.file}: was changed or damaged since it was written. Load a checkpoint instead")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    def remove(self) -> None:
        if self.file is not None:
            self.file.unlink(missing_ok=True)


@final
class Rollback:
    """Takes a run back to its last good state when a `DivergenceGuard` of the plan cuts; the cut stays.

    Every `every` counts of the plan's clock the states of model, optimizers and scheduler are copied. When a loss is a
    spike or no finite number, they go back to the youngest copy of at least `margin` counts ago, since weights may
    have gone wrong before the loss tells. Guards keep what they know, so that training goes on at the cut value; all
    other controllers go back with the weights. The record has the decision, and a rewind with `cause: divergence`.

    Random numbers and data go on as they are unless their state is in `also`: what led there is then not drawn again.
    If `also` has `Batches`, begin a new iteration of it after going back. If it has not, and the plan follows a clock
    of data such as samples, name that clock in `onward`.

    Args:
        scheduler: its plan has a `DivergenceGuard`.
        model: or several by name.
        every: counts of the plan's clock between copies; at least 1.
        margin: how long ago a copy must be to be trusted; half of `every` by default. 0 trusts the latest.
        also: what else goes back, by name: an average of the weights, a gradient scaler, `Batches`.
        onward: clocks that are not set back, such as `samples`.
        folder: where copies lie instead of in memory; one folder a rank.
        most: how often it may go back to one and the same copy.

    Raises:
        BindingError: no guard is in the plan, or an argument is not possible.

    Example:
        >>> import tempomat as tm
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        >>> scheduler = Scheduler(optimizer, tm.Plan({"lr": tm.Constant(value=0.1) * tm.DivergenceGuard(factor=0.5)}))
        >>> rollback = Rollback(scheduler, model, every=2)
        >>> for loss in (0.3, 0.2, float("nan"), 0.2):
        ...     if rollback.observe(loss=loss):
        ...         continue  # no update with this gradient
        ...     optimizer.step()
        ...     scheduler.step()
        ...     rollback.step()
        >>> scheduler.counts, optimizer.param_groups[0]["lr"], rollback.times
        ({'optimizer_steps': 1}, 0.05, 1)
    """

    def __init__(
        self,
        scheduler: Scheduler,
        model: Stateful | Mapping[str, Stateful],
        *,
        every: int,
        margin: int | None = None,
        also: Mapping[str, Stateful] | None = None,
        onward: Iterable[str] = (),
        folder: str | Path | None = None,
        most: int = 10,
    ) -> None:
        self.scheduler, self.every = scheduler, checked(every, "Rollback: every", 1)
        self.margin = self.every // 2 if margin is None else checked(margin, "Rollback: margin", 0)
        self.most = checked(most, "Rollback: most", 1)
        self._guards = _guards_of(scheduler)
        self._onward = tuple(onward)
        self._check_onward()
        self._parts = _parts(scheduler, model, also or {})
        self._folder = None if folder is None else Path(folder)
        self._kept: list[_Snapshot] = []
        self.times = 0
        """How often the run has gone back."""
        self._again: tuple[int, int] = (-1, 0)  # the count last gone back to, and how often in a row

    def observe(self, **measurements: Any) -> bool:
        """Show measurements to the scheduler, before the update that they belong to; go back where a guard cuts.

        A loss that is no finite number goes back too where the guard cuts no more: in its cooldown, or at its floor.
        In a process group all ranks go back if one has to.

        Returns:
            Whether the run went back. The gradients are gone then: leave this update out.

        Raises:
            MeasurementError: as `Scheduler.observe`; or the run has gone back to the same copy `most` times.
        """
        if not self._kept:
            self._keep()
        before = dict(self.scheduler.counts)
        decisions = self.scheduler.observe(**measurements)
        metric = next((one["metric"] for one in decisions if (one["entry"], one["controller"]) in self._guards), None)
        if metric is None:
            metric = next((name for name, value in measurements.items() if self._is_lost(name, value)), None)
        if not _on_any_rank(metric is not None):
            return False
        self._go_back(metric or next(iter(self._guards.values())).metric, before)
        return True

    def step(self) -> None:
        """Copy the states where a copy is due: call it after `scheduler.step()`."""
        if not self._kept or self._count // self.every > self._kept[-1].count // self.every:
            self._keep()

    # saving and loading

    def state_dict(self) -> dict[str, Any]:
        """The copies and how often the run went back, for its checkpoint: an interrupted run goes back to where it
        would have.
        """
        snapshots = [{"count": one.count, "states": one.read()} for one in self._kept]
        return {"format": FORMAT, "times": self.times, "last": list(self._again), "snapshots": snapshots}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            StateError: it is no such state, or its copies are of other parts.
        """
        if not isinstance(state, Mapping) or set(state) != set(_KEYS) or state["format"] != FORMAT:
            raise StateError(f"a state of Rollback has {', '.join(_KEYS)} and format {FORMAT}, got {shown(state)}")
        for one in state["snapshots"]:
            if set(one["states"]) != set(self._parts):
                had, has = ", ".join(one["states"]), ", ".join(self._parts)
                raise StateError(f"the copies are of {had}, and this run goes back with {has}. Give the same parts")
        old, self._kept = self._kept, [self._stored(one["count"], one["states"]) for one in state["snapshots"]]
        for one in old:
            if one.file not in [kept.file for kept in self._kept]:
                one.remove()
        self.times, self._again = state["times"], (state["last"][0], state["last"][1])

    # inside

    @property
    def _count(self) -> int:
        return self.scheduler.counts[str(self.scheduler.plan.clock)]

    def _is_lost(self, metric: str, value: Any) -> bool:
        cuts = any(one.metric == metric and one.on_nan == "cut" for one in self._guards.values())
        return cuts and not math.isfinite(self.scheduler._engine.number(metric, value))

    def _check_onward(self) -> None:
        counts, clock = self.scheduler.counts, str(self.scheduler.plan.clock)
        for unit in self._onward:
            if unit not in counts or unit == clock:
                others = [one for one in counts if one != clock]
                near, known = did_you_mean(unit, others), ", ".join(others) or "none"
                raise BindingError(
                    f"Rollback: onward names {unit!r}, which is no clock besides the plan's.{near} There are: {known}"
                )

    def _keep(self) -> None:
        count = self._count
        self._kept.append(self._stored(count, {name: one.state_dict() for name, one in self._parts.items()}))
        trusted = max((one.count for one in self._kept if one.count <= count - self.margin), default=-1)
        self._drop([one for one in self._kept if one.count < trusted])

    def _stored(self, count: int, states: Mapping[str, Any]) -> _Snapshot:
        if self._folder is None:
            return _Snapshot(count, _copied(states))
        content = io.BytesIO()
        torch.save(dict(states), content)
        file = self._folder / f"good_{count}.pt"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content.getvalue())
        except OSError as error:
            raise StateError(f"{file}: cannot be written: {error.strerror}") from error
        return _Snapshot(count, None, file, hashlib.sha256(content.getvalue()).hexdigest())

    def _drop(self, snapshots: list[_Snapshot]) -> None:
        for one in snapshots:
            self._kept.remove(one)
            one.remove()

    def _go_back(self, metric: str, before: dict[str, int]) -> None:
        now, oldest = self._count, self._kept[0]
        good = next((one for one in reversed(self._kept) if one.count <= now - self.margin), oldest)
        times = self._again[1] + 1 if self._again[0] == good.count else 1
        if times > self.most:
            raise MeasurementError(
                f"{metric} diverged again at {now:_}, after going back to {good.count:_} "
                f"{self.most} times. A guard with a smaller factor or a lower min_value cuts deeper"
            )
        states = good.read()
        states["scheduler"] = self._with_guards(states["scheduler"])
        for name, part in self._parts.items():
            part.load_state_dict(states[name])
        for optimizer in self.scheduler.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self._drop([one for one in self._kept if one.count > good.count])
        self.times, self._again = self.times + 1, (good.count, times)
        facts = {"before": before, "counts": self.scheduler.counts, "cause": "divergence"}
        self.scheduler._engine.events.append({"event": "rewind", **facts, "metric": metric})

    def _with_guards(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The scheduler's saved state, with what guards know now and with the clocks that go onward."""
        now = self.scheduler.state_dict()
        controllers = {name: list(states) for name, states in saved["controllers"].items()}
        for entry, place in self._guards:
            controllers[entry][place] = now["controllers"][entry][place]
        counts = {**saved["counts"], **{unit: now["counts"][unit] for unit in self._onward}}
        state = {**saved, "controllers": controllers, "counts": counts, "record_offset": now["record_offset"]}
        return {**state, "checksum": checksum(state)}


def _guards_of(scheduler: Scheduler) -> dict[tuple[str, int], DivergenceGuard]:
    if not isinstance(scheduler, Scheduler):
        raise BindingError(f"Rollback: needs a Scheduler, got {type(scheduler).__name__}")
    guards = {
        (name, place): rule
        for name, tree in scheduler.plan.schedules.items()
        for place, rule in enumerate(tree.controllers)
        if isinstance(rule, DivergenceGuard)
    }
    if not guards:
        raise BindingError(
            "Rollback: the plan has no DivergenceGuard, so nothing says when to go back. Multiply lr by one"
        )
    return guards


def _parts(scheduler: Scheduler, model: Any, also: Mapping[str, Any]) -> dict[str, Stateful]:
    """Everything that goes back, in the order in which it is loaded; the scheduler last, which writes its values."""
    models = {f"model.{name}": one for name, one in model.items()} if isinstance(model, Mapping) else {"model": model}
    optimizers = {f"optimizer.{name}" if name else "optimizer": one for name, one in scheduler.optimizers.items()}
    taken = {*models, *optimizers, *_OURS} & set(also)
    if taken:
        raise BindingError(f"Rollback: also names {', '.join(sorted(taken))}, which goes back anyway. Leave it out")
    parts = {**models, **optimizers, **also, "scheduler": scheduler}
    for name, one in parts.items():
        if not (hasattr(one, "state_dict") and hasattr(one, "load_state_dict")):
            raise BindingError(f"Rollback: {name} has no state_dict and load_state_dict, got {type(one).__name__}")
    return cast(dict[str, Stateful], parts)


def _on_any_rank(here: bool) -> bool:
    """Whether it is so on a rank of the process group; every rank has to call it."""
    return any(one[0] for one in gathered(torch.tensor([int(here)]))) if are_several() else here


def _copied(state: Any) -> Any:
    """A copy that shares no tensor with the original."""
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        copied = OrderedDict((key, _copied(value)) for key, value in cast(Mapping[Any, Any], state).items())
        copied.__dict__.update(getattr(state, "__dict__", {}))  # a module's has the versions of its parts there
        return copied if isinstance(state, OrderedDict) else dict(copied)
    if isinstance(state, (list, tuple)):
        return type(state)(_copied(one) for one in cast("list[Any]", state))
    return copy.deepcopy(state)
