"""The scheduler on PyTorch: a plan, an optimizer or several, and the counts that the loop advances."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, SupportsIndex, cast

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tempomat.core import BindingError, Duration, MeasurementError, Schedule, TempomatError
from tempomat.core.errors import did_you_mean
from tempomat.plan import Plan
from tempomat.runtime import Engine, Event, OnChange, load_state, save_state
from tempomat.torch.ranks import are_several, reduced
from tempomat.torch.targets import GroupTarget, bind
from tempomat.torch.watching import Watch

Target = Callable[[float], None]
_LIVE: weakref.WeakKeyDictionary[Optimizer, list[weakref.ref[Any]]] = weakref.WeakKeyDictionary()
"""The schedulers of each optimizer, so that a second writer of one key is refused."""

_DEEPEST = 8
"""How many wrappers of hosts an optimizer may be in."""

_WRONG_ORDER = (
    "`scheduler.step()` was called before `optimizer.step()`. Call `optimizer.step()` first: "
    "the schedule would otherwise skip its first "
    "value (https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate). "
    "If a gradient scaler skipped the first update, or gradients are being accumulated, nothing is wrong."
)


class Scheduler(LRScheduler):
    """Applies a plan to PyTorch optimizers: any param-group key, by group, on any clock, with values that the loop
    reads beside it.

    A drop-in for `torch.optim.lr_scheduler.LRScheduler`: `optimizer.step(); scheduler.step()`, per batch or per
    epoch, and `scheduler.step(val_loss)` for a plateau. Building one changes nothing: the values of the present count
    are written right before the first `optimizer.step()`, whatever was loaded in whatever order before.

    Args:
        optimizer: one, or several by name: `{"encoder": ..., "actor": ...}`, to which `encoder.lr` and `actor.lr` go.
        plan: a `Plan`; lengths in other units are resolved here.
        total: the run's length, where it differs from the plan's.
        targets: for entries that belong to no param group, a function that takes the value, or None to only read it
            from `values`.
        later: names of param groups that will be added after this.
        foreign: what a value that somebody else wrote does when values are read for the record: `error`, or `adopt`
            (it is recorded as applied, and stays until the schedule next changes).
        counting: on a clock of optimizer steps, `updates` advances only if the optimizer has stepped since the last
            call, so that a step skipped in mixed precision does not count; `calls` advances at every call.
        ranks: in a `torch.distributed` process group, `together` takes a decision on the mean of all ranks'
            measurements, after checking that they have one plan and the same counts, so every rank has to observe;
            `alone` decides on each rank's own.
        rates: what converts units: `steps_per_epoch=100`, `action_repeat=2`; see `tempomat.RATES`.

    Raises:
        BindingError: an entry fits no param group, target or known name; another scheduler writes the same key.
        PlanError: a conversion is missing.

    Example:
        >>> import tempomat as tm
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.AdamW(model.parameters())
        >>> scheduler = Scheduler(optimizer, tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration=10)}))
        >>> for _ in range(5):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """

    def __init__(  # the base class would write and step at once, so its constructor is not called
        self,
        optimizer: Optimizer | Mapping[str, Optimizer],
        plan: Plan,
        *,
        total: int | str | Duration | None = None,
        targets: Mapping[str, Target | None] | None = None,
        later: Iterable[str] = (),
        foreign: Literal["error", "adopt"] = "error",
        counting: Literal["updates", "calls"] = "updates",
        ranks: Literal["together", "alone"] = "together",
        **rates: int,
    ) -> None:
        self.optimizers = _checked_optimizers(optimizer)
        self.optimizer = next(iter(self.optimizers.values()))
        if not isinstance(plan, Plan):
            raise BindingError(
                f"Scheduler: needs a tempomat.Plan, got {type(plan).__name__}. Write Plan({{'lr': schedule}}, "
                "total=...)"
            )
        for name, got, valid in (
            ("foreign", foreign, ("error", "adopt")),
            ("counting", counting, ("updates", "calls")),
            ("ranks", ranks, ("together", "alone")),
        ):
            if got not in valid:
                raise BindingError(f"Scheduler: `{name}` must be {' or '.join(valid)}, got {got!r}")
        self._given = dict(targets or {})
        self._reduce = ranks == "together"
        self._later, self._foreign, self._counting_updates = tuple(later), foreign, counting == "updates"
        self._engine = Engine(plan.resolve(total=total, **rates))
        for name in self._given:
            if name not in self._engine.tracks:
                raise BindingError(f"targets: the plan has no entry {name!r}.{did_you_mean(name, self._engine.tracks)}")
        self.record_offset: int | None = None
        self.skipped = 0
        self._step_count = 0
        self._warned: set[str] = set()
        self._known: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
        self._bound: dict[str, GroupTarget] = {}
        self.base_lrs = [_plain(group["lr"]) for group in self.optimizer.param_groups if "lr" in group]
        self._take(self._find())
        for one in self.optimizers.values():
            _LIVE.setdefault(one, []).append(weakref.ref(self))
        self._watch = Watch(tuple(self.optimizers.values()), self._attach)
        self._updates = self._watch.updates
        self._none = list(self._updates)

    # what the loop calls

    def step(self, metrics: Any = None, epoch: None = None) -> None:
        """One more count of the plan's clock, and the values that belong to it; a measurement goes to the plan's
        controllers.

        On a clock of optimizer steps a call without an update since the last one does not count (see `counting`).

        Raises:
            MeasurementError: a measurement is given and no controller listens, or several listen to different ones.
            BindingError: the next value is out of its target's range; nothing has been changed then.
        """
        if epoch is not None:
            raise BindingError(
                "step takes no epoch. Clocks go forward by advance(...), and back on purpose by rewind(...)"
            )
        engine, updates = self._engine, self._updates
        if self._counting_updates:
            applied = updates[0] if len(updates) == 1 else max(updates)
            if applied != 1 and not self._may_advance(applied):
                return
        if metrics is None:
            engine.tick()
        else:
            engine.observe(self._together({self._only_metric(metrics): metrics}), tick=True)
        updates[0] = 0  # only now: what was refused can be tried again
        if len(updates) > 1:
            updates[:] = self._none
        self._step_count += 1
        if not engine.started:
            self._attach()

    def observe(self, **measurements: Any) -> list[Event]:
        """Show measurements to the controllers that listen to them, by name; returns the decisions taken, which apply
        at once.
        """
        return self._engine.observe(self._together(measurements))

    def advance(self, **counts: SupportsIndex) -> None:
        """Other clocks forward: `scheduler.advance(env_steps=8)`."""
        self._engine.advance(counts)

    def rewind(self, **counts: int) -> None:
        """Clocks set back on purpose; the record shows it."""
        self._engine.rewind(counts)

    def start(self) -> None:
        """Write the present values now. The first `optimizer.step()` does it otherwise."""
        self._attach()

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry, as applied: read back from where it was written. Before the start, as it will be
        applied.

        Raises:
            BindingError: somebody else has written one of them (unless `foreign="adopt"`).
        """
        if not self._engine.started:
            return self._engine.asked
        values = {name: track.asked for name, track in self._engine.tracks.items()}
        for name, target in self._bound.items():
            held, expected = target.read(), target.cast(self._engine.tracks[name].asked)
            if held != expected and self._foreign == "error":
                place = next(place for place, pair in enumerate(zip(held, expected, strict=True)) if pair[0] != pair[1])
                raise BindingError(
                    f"{name}: somebody else wrote {held[place]!r} into the param group; "
                    f"the plan had written {expected[place]!r}. "
                    "Remove the other writer, or build the Scheduler with foreign='adopt'"
                )
            values[name] = held[0]
        return values

    @property
    def asked(self) -> dict[str, float]:
        """Every value by entry, as the plan says in float64."""
        return self._engine.asked

    def in_force(self, entry: str) -> Schedule:
        """The schedule that an entry is at present, with its controllers at their levels.

        Raises:
            PlanError: the plan has no such entry.
        """
        self.plan[entry]
        return self._engine.tracks[entry].schedule

    @property
    def counts(self) -> dict[str, int]:
        """The counters by unit."""
        return dict(self._engine.counts)

    @property
    def plan(self) -> Plan:
        """The plan in force, resolved."""
        return self._engine.plan

    @property
    def events(self) -> list[Event]:
        """Decisions, resumes and rewinds so far, as plain data."""
        return list(self._engine.events)

    # saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Plain data: format, plan and fingerprint, counts, controller states, record offset, checksum."""
        return save_state(self._engine, pending=max(self._updates), record_offset=self.record_offset)

    def load_state_dict(self, state_dict: dict[str, Any], on_change: OnChange = "refuse") -> None:
        """Go on from a saved state, in any order with the optimizer's own: every value is derived and written anew.

        Args:
            state_dict: what `state_dict()` gave.
            on_change: what a plan or total that has changed since does; see `tempomat.runtime.OnChange`.

        Raises:
            StateError: the state is damaged or incomplete, or the plan has changed and `on_change` is `refuse`.
        """
        self._go_on_from(load_state(self._engine, state_dict, on_change), state_dict, attach=True)

    def _go_on_from(self, loaded: Engine, state: Mapping[str, Any], *, attach: bool) -> None:
        before = self._engine
        self._engine = loaded
        try:
            self._take(self._find())
            if attach:
                self._attach()
        except BaseException:
            self._engine = before
            self._take(self._find())
            if before.started:
                before.start()
            raise
        self.record_offset = state["record_offset"]
        self._step_count = loaded.counts[loaded.clock]
        self._updates[:] = [state["pending"]] * len(self._updates)

    # what torch and its hosts look at

    @property
    def last_epoch(self) -> int:
        """The count of the plan's clock, under PyTorch's name."""
        return self._engine.counts[self._engine.clock]

    @last_epoch.setter
    def last_epoch(self, count: int) -> None:
        raise BindingError(
            f"last_epoch cannot be set (to {count}). "
            "Inside another scheduler's sequence put the sequence into the plan: "
            "first.then(second, at=...); to go on from a count use load_state_dict, advance or rewind"
        )

    def get_last_lr(self) -> list[float | torch.Tensor]:
        """The lr of each param group of the first optimizer; before the start, the one it will begin with."""
        groups = self.optimizer.param_groups
        return self.get_lr() if not self._engine.started else [_plain(group["lr"]) for group in groups]

    def get_lr(self) -> list[float | torch.Tensor]:
        """The lr that the plan asks for in each param group of the first optimizer; its own where the plan names
        none.
        """
        asked: dict[int, Any] = {
            id(group): self._engine.asked[name]
            for name, one in (self._bound if self._engine.started else self._find()).items()  # groups may be reloaded
            if one.key == "lr"
            for group in one.groups
        }
        return [asked.get(id(group), _plain(group["lr"])) for group in self.optimizer.param_groups]

    @property
    def _last_lr(self) -> list[float | torch.Tensor]:
        return self.get_last_lr()

    def __getstate__(self) -> dict[str, Any]:
        options = {
            "targets": self._given,
            "later": self._later,
            "foreign": self._foreign,
            "counting": "updates" if self._counting_updates else "calls",
            "ranks": "together" if self._reduce else "alone",
        }
        kept = {"skipped": self.skipped, "_warned": set(self._warned)}
        return {
            "optimizers": self.optimizers,
            "plan": self.plan,
            "options": options,
            "state": self.state_dict(),
            "events": self.events,
            "started": self._engine.started,
            "kept": kept,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        optimizers = state["optimizers"]
        Scheduler.__init__(self, optimizers.get("", optimizers), state["plan"], **state["options"])
        loaded = load_state(self._engine, state["state"])
        loaded.events = list(state["events"])
        self._go_on_from(loaded, state["state"], attach=state["started"])
        self.__dict__.update(state["kept"])

    # inside

    def _may_advance(self, applied: int) -> bool:
        """Whether a call after no update, or after several, counts; each kind warns once."""
        steps = self._engine.clock == "optimizer_steps"
        if applied == 0:
            if self._step_count == 0:
                self._warn_once("order", _WRONG_ORDER)
            self.skipped += steps
            return not steps
        if steps and "steps_per_epoch" in self.plan.rates:
            raise BindingError(
                f"the plan counts optimizer steps, and the optimizer has stepped {applied} times since the last "
                "scheduler.step(). Call it after each optimizer.step(), or give the plan clock='epochs' and call it "
                "once an epoch"
            )
        if steps:
            self._warn_once(
                "several",
                f"the optimizer has stepped {applied} times since the last scheduler.step(), which counts as one. "
                "If that is meant, say so: Plan(..., clock='epochs')",
            )
        return True

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, UserWarning, stacklevel=4)

    def _together(self, measurements: Mapping[str, Any]) -> Mapping[str, Any]:
        """What every rank takes a decision on; with one process, the measurements as they are."""
        if not (self._reduce and are_several()):
            return measurements
        numbers, refusal = dict[str, float](), None
        try:
            numbers = {metric: self._engine.number(metric, value) for metric, value in measurements.items()}
        except TempomatError as error:
            refusal = error  # told to the others first: they would wait for this rank
        try:
            return reduced(self.plan.fingerprint, self._engine.counts, numbers, refusal is not None)
        except TempomatError as error:
            raise refusal or error from None

    def _only_metric(self, measurement: Any) -> str:
        """The one metric that the plan listens to."""
        metrics = sorted({rule.metric for track in self._engine.tracks.values() for rule in track.tree.controllers})
        if len(metrics) != 1:
            listens = (
                f"listens to {', '.join(metrics)}: use observe({metrics[0]}=...)" if metrics else "has no controller"
            )
            raise MeasurementError(f"step({measurement!r}) gives one measurement, and the plan {listens}")
        return metrics[0]

    def _attach(self) -> None:
        """Find every entry's place in the groups as they are now, and write every value anew."""
        bound = self._find()
        for target in bound.values():
            target.own_tensors(group for one in self.optimizers.values() for group in one.param_groups)
        self._take(bound)
        self._engine.start()
        self._watch.mark()

    def _find(self) -> dict[str, GroupTarget]:
        """The targets of the plan in the groups as they are now; nothing is changed."""
        bound = bind(self.optimizers, self._engine.tracks, self._given, self._later)
        self._refuse_unruled_groups(bound)
        self._refuse_second_writer(bound)
        return bound

    def _take(self, bound: dict[str, GroupTarget]) -> None:
        self._bound = bound
        self._known = {label: (one.param_groups, list(one.param_groups)) for label, one in self.optimizers.items()}
        writes: dict[str, tuple[Target, bool]] = {name: (target.writer(), False) for name, target in bound.items()}
        writes |= {name: (own, True) for name, own in self._given.items() if own is not None}
        self._engine.aim({name: write for name, write in writes.items() if name in self._engine.tracks})

    def _refuse_unruled_groups(self, bound: Mapping[str, GroupTarget]) -> None:
        """A group that came later and that no entry reaches would silently keep its own values."""
        reached = {id(group) for target in bound.values() for group in target.groups}
        for label, (groups, before) in self._known.items():
            now, known = self.optimizers[label].param_groups, {id(group) for group in before}
            reloaded = now is not groups  # then every group is a new one, in its old place
            for place, group in enumerate(now):
                new = place >= len(before) if reloaded else id(group) not in known
                if new and id(group) not in reached and self._bound:
                    name = group.get("name", "without a name")
                    raise BindingError(f"param group {place} ({name}) was added, and no entry of the plan reaches it")

    def _refuse_second_writer(self, bound: Mapping[str, GroupTarget]) -> None:
        for optimizer in self.optimizers.values():
            others = [other for ref in _LIVE.get(optimizer, ()) if (other := ref()) is not None and other is not self]
            for theirs in (target for other in others for target in other._bound.values()):
                for mine in bound.values():
                    if theirs.overlaps(mine):
                        raise BindingError(
                            f"{mine.name}: another Scheduler already writes {theirs.name} into the same param group. "
                            "One writer per key: put both into one plan"
                        )


def _checked_optimizers(given: object) -> dict[str, Optimizer]:
    optimizers: dict[Any, Any] = dict(cast(Mapping[Any, Any], given)) if isinstance(given, Mapping) else {"": given}
    for name, one in optimizers.items():
        optimizers[name] = one = _innermost(one)
        if not isinstance(one, Optimizer):
            raise BindingError(
                f"Scheduler: needs a torch.optim.Optimizer{f' for {name!r}' if name else ''}, got {type(one).__name__}"
            )
    if not optimizers:
        raise BindingError("Scheduler: needs at least one optimizer, got none")
    return optimizers


def _innermost(optimizer: Any) -> Any:
    """The optimizer inside a host's wrappers, such as Accelerate's: they have groups, and no hooks of their own."""
    for _ in range(_DEEPEST):
        inner = getattr(optimizer, "optimizer", None)
        if hasattr(optimizer, "_optimizer_step_pre_hooks") or not hasattr(inner, "param_groups"):
            break
        optimizer = inner
    return optimizer


def _plain(value: Any) -> Any:
    """A copy that does not change under its holder."""
    return value.clone() if isinstance(value, torch.Tensor) else value
