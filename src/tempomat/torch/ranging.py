"""The range test: a hyperparameter swept over orders of magnitude in a few updates, and everything put back after."""

from __future__ import annotations

import copy
import hashlib
import math
import statistics
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np
import torch
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from tempomat.core import BindingError, MeasurementError
from tempomat.plan import Plan, entry_name
from tempomat.runtime import Engine
from tempomat.torch.batches import Batches
from tempomat.torch.keeping import Interrupts, Kept
from tempomat.torch.ranges import RangeTest
from tempomat.torch.ranks import are_several, reduced
from tempomat.torch.scheduler import _LIVE, Scheduler
from tempomat.torch.targets import bind

MOST = 10_000
"""The most values of one test."""
_RECENT = 5
"""Losses whose median says whether training has diverged: one bad batch alone does not."""
_DATA = ("dataset", "data_source")
"""Attributes of loaders and samplers that hold the data itself, which is only read."""

Modules = torch.nn.Module | Iterable[torch.nn.Module] | Mapping[str, torch.nn.Module]
Write = Callable[[float], None]
Update = list[tuple[float, tuple[Any, ...]]]
"""What `step` is called with, once for each micro-batch, with the weight of its loss."""


def range_test(
    step: Callable[..., Any],
    scheduler: Scheduler | Optimizer,
    model: Modules,
    entry: str = "lr",
    *,
    data: Iterable[Any] | None = None,
    low: float = 1e-7,
    high: float = 10.0,
    counts: int = 100,
    spacing: Literal["log", "linear"] = "log",
    afresh: int | None = None,
    stop: float = 2.0,
    target: Write | None = None,
    keep: Iterable[Any] = (),
) -> RangeTest:
    r"""Train for a few updates while one hyperparameter goes from `low` to `high`, and put everything back.

    The k-th of n updates is made at :math:`v_k = v_0 (v_1 / v_0)^{k / (n - 1)}` (`log`) or
    :math:`v_0 + (v_1 - v_0)\,k / (n - 1)` (`linear`), from exactly `low` to exactly `high`. Every other entry of the
    plan stays at its present value. The test ends early where the median of the last 5 losses is above the lowest such
    median by more than `stop` times the first one (or times the fall so far, if that is more), or where a loss is not
    finite.

    Put back, also after an error or Ctrl-C, which are then passed on: parameters, gradients, buffers and attributes of
    the modules, such as the statistics of batch normalisation and `training`; the optimizer's state, tensors, groups
    and hooks; the scheduler's counts and values; the random states of Python, NumPy and PyTorch on every device in
    use; those and the place of `data`. What `step` changes besides these belongs into `keep`.

    Args:
        step: makes one update and returns the loss before it, as a number or a tensor of one element. It is called
            with what iterating `data` gives, of a `Batches` the pair `(info, batch)`; without `data` with nothing. It
            may call `scheduler.step()` and `scheduler.advance()` as the loop does, but shows nothing to controllers and
            writes no record.
        scheduler: the run's `Scheduler`, or an optimizer that none writes into.
        model: the module, or several, whose parameters, buffers and attributes training changes.
        entry: what to try, named as in a plan: `lr`, `encoder.lr`, `betas[0]`; or one that the loop reads from
            `scheduler.values`, such as `grad_clip`.
        data: what gives batches: a `DataLoader`, a `Batches` (all micro-batches of an update are one count, its loss
            their weighted sum), or anything else that can be iterated anew. At its end it is begun again.
        low: the first value.
        high: the last value; it may be the lower one.
        counts: how many values, from 8.
        spacing: `log`, for what is above 0; or `linear`.
        afresh: None to train on through all values. A number to try each value from the present state on the same
            batches, for so many updates, of which the last one's loss counts: the way to compare values of what is no
            learning rate.
        stop: see above; `math.inf` to go on whatever the loss.
        target: a function that takes the value, where it is neither a param group's nor read from the scheduler.
        keep: what else to put back: modules, optimizers, random generators, anything with `state_dict` and
            `load_state_dict`, such as a gradient scaler.

    Returns:
        The curve, with `suggestion`, `suggestions`, `remarks`, `figure()` and `png(path)`; printed, it is a picture.

    Raises:
        BindingError: an argument is out of its range, or the entry fits no param group; nothing has been changed then.
        MeasurementError: `step` returned no number.

    Source:
        Smith 2017, Cyclical Learning Rates (arXiv:1506.01186).

    Example:
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        >>> model, inputs = torch.nn.Linear(4, 1), torch.randn(256, 4)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> def step(batch):
        ...     loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> found = range_test(step, optimizer, model, data=inputs.split(32), low=1e-4, high=10, counts=60)
        >>> 0.003 < found.suggestion < 0.3, optimizer.param_groups[0]["lr"]
        (True, 0.1)
    """
    values = _values(entry, low, high, counts, spacing)
    _check(step, scheduler, data, afresh, stop)
    put = _writer(scheduler, entry, target)
    interrupts = Interrupts()
    kept = _kept(scheduler, model, data, keep)
    try:
        try:
            losses, stopped = _sweep(step, put, values, data, kept, entry, afresh, stop)
        finally:
            interrupts.hold()
    finally:
        interrupts.hold()  # Ctrl-C may have come right before the other
        try:
            kept.restore()
        finally:
            interrupts.release()
    return RangeTest(entry, values[: len(losses)], np.array(losses), spacing, afresh, stopped)


def _sweep(
    step: Callable[..., Any],
    put: Write,
    values: np.ndarray,
    data: Iterable[Any] | None,
    kept: Kept,
    entry: str,
    afresh: int | None,
    stop: float,
) -> tuple[list[float], str]:
    """The loss at each value, and why not at all of them."""
    identity = hashlib.sha256(repr((entry, values.tolist(), afresh)).encode()).hexdigest()
    losses: list[float] = []
    diverged = _Diverged(stop)
    updates = _updates(data)
    try:
        for place, value in enumerate(values.tolist()):
            if afresh is not None and place:
                updates.close()
                kept.restore()
                updates = _updates(data)
            put(value)
            for _ in range(afresh or 1):
                loss = _loss(step, next(updates))
            if are_several():
                loss = reduced(identity, {"optimizer_steps": place}, {"loss": loss}, False)["loss"]
            losses.append(loss)
            if why := diverged(loss):
                return losses, f"Stopped at {value:.3g}, value {place + 1} of {values.size}: {why}."
    finally:
        updates.close()  # its workers end, whoever holds this frame
    return losses, ""


def _loss(step: Callable[..., Any], update: Update) -> float:
    total = 0.0
    for weight, arguments in update:
        loss = step(*arguments)
        try:
            if loss is None or isinstance(loss, (bool, str)):
                raise TypeError
            total += weight * float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        except (TypeError, ValueError, RuntimeError):
            raise MeasurementError(
                f"range_test: `step` has to return the loss as a number, got {type(loss).__name__}"
            ) from None
    return total


class _Diverged:
    """Whether the losses so far have diverged, and how."""

    def __init__(self, stop: float) -> None:
        self._stop, self._recent = stop, deque[float](maxlen=_RECENT)
        self._first = self._best = math.nan

    def __call__(self, loss: float) -> str:
        if self._stop == math.inf:
            return ""
        if not math.isfinite(loss):
            return f"the loss was {loss}"
        self._recent.append(loss)
        if len(self._recent) < _RECENT:
            return ""
        now = statistics.median(self._recent)
        if math.isnan(self._first):
            self._first = self._best = now
        self._best = min(self._best, now)
        scale = max(abs(self._first), self._first - self._best)
        rose = scale > 0 and now > self._best + self._stop * scale
        return f"the loss had come to {now:.3g} from {self._best:.3g}" if rose else ""


# what is swept, and where it goes


def _values(entry: str, low: float, high: float, counts: int, spacing: str) -> np.ndarray:
    span = entry_name(entry).range
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not span.holds(value):
            raise BindingError(f"range_test: `{name}` must be {span} for {entry}, got {value!r}")
        if spacing == "log" and value <= 0:
            raise BindingError(f"range_test: `{name}` must be above 0, got {value!r}. Or give spacing='linear'")
    if spacing not in ("log", "linear"):
        raise BindingError(f"range_test: `spacing` must be log or linear, got {spacing!r}")
    if type(counts) is not int or not 8 <= counts <= MOST:
        raise BindingError(f"range_test: `counts` must be a whole number from 8 to {MOST}, got {counts!r}")
    if low == high:
        raise BindingError(f"range_test: `low` and `high` are both {low!r}. Give two values to go between")
    values = np.geomspace(low, high, counts) if spacing == "log" else np.linspace(low, high, counts)
    values[0], values[-1] = low, high
    return values


def _check(step: object, scheduler: object, data: object, afresh: object, stop: object) -> None:
    if not callable(step):
        raise BindingError(f"range_test: `step` must be a function that makes one update, got {type(step).__name__}")
    if not isinstance(scheduler, (Scheduler, Optimizer)):
        raise BindingError(
            f"range_test: needs a tempomat Scheduler or a torch Optimizer, got {type(scheduler).__name__}"
        )
    if isinstance(scheduler, Optimizer) and any(ref() is not None for ref in _LIVE.get(scheduler, ())):
        raise BindingError(
            "range_test: a Scheduler writes into this optimizer, which would undo the test. "
            "Give the Scheduler in its place"
        )
    if afresh is not None and (type(afresh) is not int or afresh < 1):
        raise BindingError(f"range_test: `afresh` must be a number of updates from 1, or None, got {afresh!r}")
    if isinstance(stop, bool) or not isinstance(stop, (int, float)) or not stop > 0:
        raise BindingError(f"range_test: `stop` must be above 0, got {stop!r}")
    if isinstance(data, Iterator):
        raise BindingError(
            f"range_test: `data` is an iterator ({type(data).__name__}), whose place could not be put back. "
            "Give what it comes from, such as the DataLoader"
        )
    if data is not None and not isinstance(data, Iterable):
        raise BindingError(f"range_test: `data` must give batches when iterated, got {type(data).__name__}")


def _writer(scheduler: Scheduler | Optimizer, entry: str, target: Write | None) -> Write:
    """What puts a value in force. Nothing is changed before it is called."""
    if isinstance(scheduler, Scheduler):
        return _Held(scheduler, entry, target)
    if target is not None:
        return target
    targets = bind({"": scheduler}, [entry], (), ())
    if entry not in targets:
        raise BindingError(
            f"range_test: no param group of the optimizer has {entry}. Give a `target=` that takes the value, "
            "or a Scheduler whose values the step reads"
        )
    return targets[entry].writer()


class _Held:
    """A scheduler at a standstill: its entries as they are now, but for one. Clocks go on as the loop moves them."""

    def __init__(self, scheduler: Scheduler, entry: str, target: Write | None) -> None:
        self._scheduler, self._entry, self._target = scheduler, entry, target
        self._present = scheduler.values
        names = self._present if target else {**self._present, entry: 0.0}
        bind(scheduler.optimizers, names, scheduler._given, scheduler._later)

    def __call__(self, value: float) -> None:
        scheduler, values = self._scheduler, dict(self._present)
        if self._target is None:
            values[self._entry] = value
        engine = Engine(Plan(values, total=scheduler.plan.total, clock=scheduler.plan.clock).resolve())
        engine.counts.update(scheduler.counts)
        scheduler._engine = engine
        scheduler._attach()
        if self._target is not None:
            self._target(value)


# what is put back


def _kept(scheduler: Scheduler | Optimizer, model: Modules, data: object, keep: Iterable[Any]) -> Kept:
    kept = Kept()
    for module in _modules(model):
        kept.add(module)
    if isinstance(scheduler, Optimizer):
        kept.add(scheduler)
    else:
        for optimizer in scheduler.optimizers.values():
            kept.add(optimizer)
        kept.add(vars(scheduler))
        kept.add(vars(scheduler._watch))
    kept.add_global_randomness()
    for one in _parts_of(data):
        kept.add_attributes(one, but=_DATA)
    for one in keep:
        _keep_also(kept, one)
    if isinstance(scheduler, Scheduler):
        engine, given = scheduler._engine, dict(scheduler._given)
        if engine.started:
            for name, write in given.items():
                if write is not None:
                    kept.on_restore(lambda write=write, name=name: write(engine.tracks[name].asked))
    return kept


def _keep_also(kept: Kept, one: Any) -> None:
    if isinstance(one, (torch.nn.Module, Optimizer)):
        kept.add(one)
    elif hasattr(one, "state_dict") and hasattr(one, "load_state_dict"):
        kept.add_state(one)
    elif not kept.add_generator(one):
        raise BindingError(
            f"range_test: `keep` holds a {type(one).__name__}, which has no state_dict() and load_state_dict()"
        )


def _modules(model: object) -> list[torch.nn.Module]:
    if isinstance(model, torch.nn.Module):
        return [model]
    several: Any = cast(Mapping[Any, Any], model).values() if isinstance(model, Mapping) else model
    found: list[Any] = list(several) if isinstance(several, Iterable) else [several]
    strange = next((one for one in found if not isinstance(one, torch.nn.Module)), None)
    if strange is not None or not found:
        raise BindingError(
            f"range_test: `model` must be a torch.nn.Module or several, got {type(strange or model).__name__}"
        )
    return found


def _parts_of(data: object) -> Iterator[Any]:
    """A loader and what it draws from, down to the samplers and the data set."""
    waiting, met = [data], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in met or not hasattr(one, "__dict__"):
            continue
        met.add(id(one))
        yield one
        waiting += [getattr(one, name, None) for name in ("loader", "sampler", "batch_sampler", "dataset")]


def _updates(data: Iterable[Any] | None) -> Generator[Update, None, None]:
    """For each update what `step` is called with, and the weight of its loss; without end."""
    if data is None:
        while True:
            yield [(1.0, ())]
    source = _own_workers(data)
    while True:
        update: Update = []
        empty = True
        for batch in source:
            empty = False
            info = batch[0] if isinstance(source, Batches) else None
            update.append((info.weight if info else 1.0, (batch,)))
            if info is None or info.last:
                yield update
                update = []
        if empty:
            raise BindingError("range_test: `data` gives no batch")


def _own_workers(data: Iterable[Any]) -> Iterable[Any]:
    """A loader like this one whose workers are its own: an iterator that the loop has goes on after the test."""
    if isinstance(data, Batches):
        data.loader = _copied(data.loader)  # put back with the rest of what `data` holds
    return _copied(data) if isinstance(data, DataLoader) else data


def _copied(loader: DataLoader[Any]) -> DataLoader[Any]:
    copied = copy.copy(loader)
    copied._iterator = None
    return copied
