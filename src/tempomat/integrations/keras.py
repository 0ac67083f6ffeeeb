"""Keras 3, on its PyTorch and JAX backends: a learning rate that is a schedule, and a callback for everything else.

`PlannedSchedule` goes into `learning_rate=`; `TempomatCallback`, in `fit(callbacks=[...])`, moves any attribute of the
optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from tempomat.convert.keras_schedule import PlannedSchedule, keras
from tempomat.core import BindingError, Duration, Fault, Unit
from tempomat.core.errors import did_you_mean, list_faults
from tempomat.plan import Plan, entry_name
from tempomat.runtime import Engine, OnChange, load_state, save_state

__all__ = ["PlannedSchedule", "TempomatCallback"]

ATTRIBUTES = {"lr": "learning_rate", "betas[0]": "beta_1", "betas[1]": "beta_2", "eps": "epsilon"}
"""What Keras calls the entries of a plan; any other entry has the attribute's own name."""
_COMPILED = ("weight_decay", "beta_1", "beta_2", "rho", "epsilon")
"""What an optimizer only calculates with, so that a variable can stand in its place while JAX traces the step."""
_KNOWN_CLOCKS = frozenset({"", str(Unit.OPTIMIZER_STEPS), str(Unit.EPOCHS)})


def _on_jax() -> bool:
    return keras.backend.backend() == "jax"


@final
class TempomatCallback(keras.callbacks.Callback):
    """Moves an optimizer's hyperparameters by a plan: `model.fit(..., callbacks=[TempomatCallback(plan)])`.

    Entries go to the attribute of their name; `lr` is Keras' `learning_rate`, `betas[0]` its `beta_1`, `eps` its
    `epsilon`. The plan's clock is optimizer steps (the optimizer's own `iterations`, so a restored model goes on where
    it was) or epochs (as `fit` numbers them, from `initial_epoch`). Values are written before each batch; the present
    ones are in `values`, and at each epoch's end in Keras' logs under the attribute's name, beside the losses. A
    controller hears each epoch's end, if what it listens to is in Keras' logs (`val_loss`).

    JAX compiles plain attributes into the training step. There `weight_decay`, `beta_1`, `beta_2`, `rho` and `epsilon`
    are variables while `fit` runs and plain numbers again after it; others need `compile(run_eagerly=True)`.

    Args:
        plan: a plan on optimizer steps or epochs.
        total: the run's length, where it differs from the plan's.
        targets: for entries that are no attribute of the optimizer, a function that takes the value, or None to only
            read it from `values`.
        rates: what converts units, such as `steps_per_epoch=100`.

    Raises:
        BindingError: the plan follows a clock that Keras does not count; when training begins: an entry fits
            nothing, the learning rate is a schedule already, or counts would go back. All entries at once.
        PlanError: a conversion is missing.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        total: int | str | Duration | None = None,
        targets: Mapping[str, Callable[[float], None] | None] | None = None,
        **rates: int,
    ) -> None:
        super().__init__()
        self._engine = Engine(plan.resolve(total=total, **rates))
        self._targets = dict(targets or {})
        self._slots: dict[str, _Slot] = {}
        self._done = 0
        strange = [clock for clock in self._engine.counts if clock not in _KNOWN_CLOCKS]
        if strange:
            raise BindingError(
                f"TempomatCallback: the plan follows {', '.join(strange)}, and Keras has optimizer_steps and epochs. "
                "Write its lengths in those, with the rate that converts them"
            )

    @property
    def values(self) -> dict[str, float]:
        """What every entry is at the present counts."""
        return self._engine.asked

    @property
    def optimizer(self) -> Any:
        """The optimizer that is written to: the inner one under loss scaling."""
        return _inner(self.trained.optimizer)

    @property
    def trained(self) -> Any:
        """The model that `fit` runs on."""
        return self.model

    def on_train_begin(self, logs: Any = None) -> None:
        """Find every entry's place."""
        compiled = _on_jax() and not self.trained.run_eagerly
        engine, known, faults = self._engine, _numbers_of(self.optimizer), list[Fault]()
        for name in engine.tracks:
            if name in self._targets:
                write = self._targets[name]
                engine.aim({name: (write or _ignore, write is not None)})
                continue
            try:
                self._slots[name] = _Slot(self.trained, attribute_of(name), known, compiled)
                engine.aim({name: (self._slots[name].write, False)})
            except BindingError as error:
                faults.append(Fault(f"schedules.{name}", str(error)))
        if faults:
            self.on_train_end()
            raise BindingError(list_faults("TempomatCallback", faults), faults)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Go to the counts that Keras is at; whatever restores a model has done so by now."""
        for slot in self._slots.values():
            slot.attach()
        _save_plainly(self.optimizer, self._slots.values())
        self._done = int(self.optimizer.iterations)
        self._reach(Unit.OPTIMIZER_STEPS, self._done)
        self._reach(Unit.EPOCHS, epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Write what the coming update uses."""
        if not self._engine.started:
            self._engine.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the updates that were made."""
        # on JAX the optimizer's count stays inside the compiled step; only loss scaling can skip an update there
        scaled = self.optimizer is not self.trained.optimizer
        if _on_jax() and not scaled and not self.optimizer.gradient_accumulation_steps:
            self._done += self.trained.steps_per_execution
        else:
            _sync(self.trained)
            self._done = int(self.optimizer.iterations)
        self._reach(Unit.OPTIMIZER_STEPS, self._done)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the values in force, and show the epoch's metrics to the controllers that listen to them."""
        if logs is None:
            return
        rules = (rule for track in self._engine.tracks.values() for rule in track.tree.controllers)
        heard = {rule.metric: logs[rule.metric] for rule in rules if rule.metric in logs}
        logs.update({attribute_of(name): value for name, value in self.values.items()})
        if heard:
            self._engine.observe(heard)

    def on_train_end(self, logs: Any = None) -> None:
        """Leave plain numbers in the optimizer."""
        for slot in self._slots.values():
            slot.release()
        self._slots = {}
        _save_plainly(self.optimizer, ())
        self._engine.started = False

    def state_dict(self) -> dict[str, Any]:
        """Counts and controller states as plain data, for a run that goes on in another process."""
        return save_state(self._engine)

    def load_state_dict(self, state: Mapping[str, Any], *, on_change: OnChange = "refuse") -> None:
        """Go on from a saved state.

        Raises:
            StateError: the state is damaged, or its plan differs and `on_change` is `refuse`.
        """
        self._engine = load_state(self._engine, state, on_change)

    def _reach(self, unit: Unit, count: int) -> None:
        """Advance a clock to a count that Keras tells."""
        here = self._engine.counts.get(str(unit))
        if here is None or count == here:
            return
        if count < here:
            raise BindingError(
                f"TempomatCallback: {unit} are at {here}, and Keras goes back to {count}. To go on, give fit the "
                "optimizer and initial_epoch of before; for a new run make a new TempomatCallback"
            )
        self._engine.advance({str(unit): count - here})


def attribute_of(name: str) -> str:
    """What Keras calls an entry.

    >>> attribute_of("lr"), attribute_of("betas[0]"), attribute_of("weight_decay")
    ('learning_rate', 'beta_1', 'weight_decay')
    """
    return ATTRIBUTES.get(name, name)


def _ignore(_: float) -> None:
    """The target of a value that is only read."""


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)


def _sync(model: Any) -> None:
    """Put what the JAX trainer carries along back into the variables, so that they may be read and written."""
    if _on_jax():
        model.jax_state_sync()


@final
class _Slot:
    """One attribute of an optimizer, written as Keras allows it."""

    def __init__(self, model: Any, attribute: str, known: list[str], compiled: bool) -> None:
        self._model, self._optimizer, self.attribute = model, _inner(model.optimizer), attribute
        self.number: Any = None
        self.variable: Any = None
        current = self._current(attribute, known)
        if attribute == "learning_rate":
            self._check_rate(current)
        elif attribute == "momentum" and current == 0:
            raise BindingError("the optimizer was built without momentum. Build it with any momentum above 0")
        elif compiled:
            self._stand_in(current)

    def _current(self, attribute: str, known: list[str]) -> Any:
        if entry_name(attribute).group is not None:
            raise BindingError(
                "names a group, and a Keras optimizer has one set of hyperparameters. Leave the group out"
            )
        if attribute not in known:
            raise BindingError(
                f"{type(self._optimizer).__name__} has no {attribute}.{did_you_mean(attribute, known)} It has "
                f"{', '.join(known)}. For a value that goes elsewhere give targets="
            )
        return getattr(self._optimizer, attribute)

    def _check_rate(self, current: Any) -> None:
        if not isinstance(current, keras.Variable):
            raise BindingError(
                "the optimizer's learning rate is a schedule or function of its own, so there would be two. Build the "
                "optimizer with a number"
            )

    def _stand_in(self, current: Any) -> None:
        """Make the variable that will stand in the attribute's place."""
        if self.attribute not in _COMPILED:
            raise BindingError(
                f"JAX compiles {self.attribute} into the step, so that a change would do nothing. Compile the model "
                "with run_eagerly=True, or run Keras on PyTorch"
            )
        self.number = current
        self.variable = keras.Variable(current or 0.0, trainable=False, name=self.attribute)

    def attach(self) -> None:
        """The variable in the attribute's place, where there is one."""
        if self.variable is not None and getattr(self._optimizer, self.attribute) is not self.variable:
            setattr(self._optimizer, self.attribute, self.variable)

    def write(self, value: float) -> None:
        if self.variable is not None:
            _sync(self._model)
            self.variable.assign(value)
            self.number = value
        elif self.attribute == "learning_rate":
            _sync(self._model)
            self._optimizer.learning_rate = value
        else:
            setattr(self._optimizer, self.attribute, value)

    def release(self) -> None:
        """The attribute as a plain number again, at its last value."""
        if self.variable is not None:
            if getattr(self._optimizer, self.attribute) is self.variable:
                self._optimizer._untrack_variable(self.variable)
            setattr(self._optimizer, self.attribute, self.number)


def _save_plainly(optimizer: Any, slots: Iterable[_Slot]) -> None:
    """Let a model that is saved while `fit` runs have plain numbers in the variables' places."""
    stand_ins = {slot.attribute: slot for slot in slots if slot.variable is not None}
    for name in ("get_config", "save_own_variables"):
        optimizer.__dict__.pop(name, None)
    if not stand_ins:
        return
    own = type(optimizer).get_config
    theirs = {id(slot.variable) for slot in stand_ins.values()}

    def get_config() -> dict[str, Any]:
        return {**own(optimizer), **{name: slot.number for name, slot in stand_ins.items()}}

    def save_own_variables(store: Any) -> None:
        for place, one in enumerate(one for one in optimizer.variables if id(one) not in theirs):
            store[str(place)] = one.numpy()

    optimizer.get_config, optimizer.save_own_variables = get_config, save_own_variables


def _numbers_of(optimizer: Any) -> list[str]:
    """The attributes that Keras itself writes into an optimizer's config and that are numbers, or may be."""
    kept = ("name", "use_ema", "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps")
    config: dict[str, Any] = optimizer.get_config()
    return [name for name, one in config.items() if name not in kept and not isinstance(one, bool)]
