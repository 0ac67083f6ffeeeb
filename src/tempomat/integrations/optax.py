"""optax: every hyperparameter of a plan through `optax.inject_hyperparams`.

`planned` compiles a plan's schedules into the update. What measurements or other clocks move cannot be compiled; for
that `Driver` writes the values into the optimizer's state between steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from tempomat.convert.exporting import pure_on
from tempomat.core import BindingError, ConversionError, Duration, Fault, MissingExtra, Unit
from tempomat.core.errors import did_you_mean, list_faults
from tempomat.plan import HYPERPARAMETERS, OPTIMIZER_KEYS, Plan, entry_name
from tempomat.runtime import Engine, Event, OnChange, load_state, save_state

try:
    import jax
    import jax.numpy as jnp
    import optax
except ImportError as error:
    raise MissingExtra("tempomat.integrations.optax needs JAX and optax: pip install optax") from error

__all__ = ["Driver", "planned"]

PARAMETERS = {"lr": "learning_rate", "betas[0]": "b1", "betas[1]": "b2", "rho": "decay", "momentum": "momentum"}
"""What optax calls the entries of a plan; any other entry has the parameter's own name."""

Make = Callable[..., optax.GradientTransformation]


def planned(
    make: Make,
    plan: Plan,
    *,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
    **fixed: Any,
) -> optax.GradientTransformationExtraArgs:
    """An optimizer whose hyperparameters follow a plan, compiled into the update.

    Counts are the updates that the optimizer has made, in its own state: a restored state goes on where it was. The
    values in force are in `state.hyperparams`, in float32 (float64 where JAX has it) whatever the parameters' type: in
    bfloat16 a `b2` of .999 would be 1.

    Args:
        make: a factory of optax, or one of yours with its parameters' names: `optax.adamw`.
        plan: `lr` goes to `learning_rate`, `betas[0]` to `b1`, any other entry to the parameter of its name. What the
            field knows as no optimizer's (`batch_size`, `dropout`) is left to the loop.
        total: the run's length, where it differs from the plan's.
        rates: what converts units, such as `{"steps_per_epoch": 100}`.
        fixed: further arguments of `make`.

    Raises:
        BindingError: an entry fits no parameter of `make`; all of them at once.
        ConversionError: an entry has controllers or another clock; use `Driver`.

    Example:
        >>> from tempomat import Linear, Plan
        >>> plan = Plan({"lr": Linear(init_value=0.1, end_value=0.0, duration=10), "weight_decay": 1e-2})
        >>> optimizer = planned(optax.adamw, plan, b2=0.99)
        >>> sorted(optimizer.init({"w": jnp.zeros(2)}).hyperparams)
        ['b1', 'b2', 'eps', 'eps_root', 'learning_rate', 'weight_decay']
    """
    resolved = plan.resolve(total=total, **(rates or {}))
    found, faults = _parameters(make, resolved.schedules, fixed), list[Fault]()
    schedules: dict[str, Any] = {}
    for name, parameter in found.items():
        try:
            schedules[parameter] = pure_on(resolved[name], "", str(plan.clock))
        except ConversionError as error:
            faults.append(Fault(f"schedules.{name}", f"{str(error).removeprefix(': ')}; between steps by optax.Driver"))
    if plan.clock != Unit.OPTIMIZER_STEPS:
        faults.append(Fault("clock", f"is {plan.clock}, and optax counts optimizer_steps"))
    if faults:
        raise ConversionError(list_faults("planned", faults), faults)
    return _injected(make)(**schedules, **fixed)


def _injected(make: Make) -> Any:
    return optax.inject_hyperparams(make, hyperparam_dtype=jnp.zeros(()).dtype)


def _parameters(make: Make, entries: Iterable[str], fixed: Mapping[str, Any]) -> dict[str, str]:
    """The parameter of each entry; entries that a loop reads by itself have none."""
    known = list(inspect.signature(make).parameters)
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for name in entries:
        entry, parameter = entry_name(name), PARAMETERS.get(name, name)
        if entry.key in HYPERPARAMETERS and entry.key not in OPTIMIZER_KEYS and parameter not in known:
            continue
        if parameter not in known:
            group = " It names a group: give each its own optimizer by optax.partition." if entry.group else ""
            faults.append(
                Fault(
                    f"schedules.{name}",
                    f"{getattr(make, '__name__', 'the factory')} has no parameter {parameter}."
                    f"{group}{did_you_mean(parameter, known)} It has {', '.join(known)}",
                )
            )
        elif parameter in fixed:
            faults.append(Fault(f"schedules.{name}", f"{parameter} is given as a fixed value too. Take one away"))
        found[name] = parameter
    if faults:
        raise BindingError(list_faults("the plan does not fit the optimizer", faults), faults)
    return found


@final
class Driver:
    """Writes a plan's values into an optax state between steps: what cannot be compiled, controllers and other clocks.

    `driver = Driver(plan)`; `optimizer = driver.optimizer(optax.adamw)`; after each update
    `state = driver.step(state)`, and `state = driver.observe(state, val_loss=...)` when there is something to hear.
    The values are arrays of the state, so a compiled update is never traced again.

    Args:
        plan: entries as for `planned`; what is no parameter is read from `values`.
        total: the run's length, where it differs from the plan's.
        rates: what converts units, such as `steps_per_epoch=100`.

    Raises:
        PlanError: a conversion is missing.
    """

    def __init__(self, plan: Plan, *, total: int | str | Duration | None = None, **rates: int) -> None:
        self._engine = Engine(plan.resolve(total=total, **rates))
        self._parameters: dict[str, str] = {}

    @property
    def values(self) -> dict[str, float]:
        """What every entry is at the present counts, in float64."""
        return self._engine.asked

    @property
    def counts(self) -> dict[str, int]:
        """The clocks' counts, by unit."""
        return dict(self._engine.counts)

    def optimizer(self, make: Make, **fixed: Any) -> optax.GradientTransformationExtraArgs:
        """The optimizer whose state this driver writes; its first state has the present values.

        Raises:
            BindingError: an entry fits no parameter of `make`; all of them at once.
        """
        self._parameters = _parameters(make, self._engine.tracks, fixed)
        values = self.values
        return _injected(make)(**{self._parameters[name]: values[name] for name in self._parameters}, **fixed)

    def step(self, state: Any, **measurements: Any) -> Any:
        """The state for the next update: one more count of the plan's clock, and what was measured, if anything."""
        if measurements:
            self._engine.observe(measurements, tick=True)
        else:
            self._engine.tick()
        return self.write(state)

    def observe(self, state: Any, **measurements: Any) -> Any:
        """The state after controllers have heard measurements, at the same count."""
        self._engine.observe(measurements)
        return self.write(state)

    def advance(self, state: Any, **counts: int) -> Any:
        """The state after clocks have gone forward, such as `env_steps=2048`."""
        self._engine.advance(counts)
        return self.write(state)

    def write(self, state: Any) -> Any:
        """A state with the present values: the same but for its `hyperparams`.

        Raises:
            BindingError: there are no such hyperparameters in it.
        """
        values = {parameter: self.values[name] for name, parameter in self._parameters.items()}
        places = [one for one in jax.tree.leaves(state, is_leaf=_has_hyperparams) if _has_hyperparams(one)]
        if len(places) != 1 or not values.keys() <= places[0].hyperparams.keys():
            raise BindingError(
                "Driver: the state has no hyperparams to write. Build the optimizer by driver.optimizer(optax.adamw)"
            )
        return jax.tree.map(lambda one: _written(one, values), state, is_leaf=_has_hyperparams)

    @property
    def events(self) -> list[Event]:
        """The decisions that controllers took."""
        return list(self._engine.events)

    def state_dict(self) -> dict[str, Any]:
        """Counts and controller states as plain data."""
        return save_state(self._engine)

    def load_state_dict(self, state: Mapping[str, Any], *, on_change: OnChange = "refuse") -> None:
        """Go on from a saved state; then `write` the optimizer's state.

        Raises:
            StateError: the state is damaged, or its plan differs and `on_change` is `refuse`.
        """
        self._engine = load_state(self._engine, state, on_change)


def _has_hyperparams(one: Any) -> bool:
    return hasattr(one, "hyperparams") and hasattr(one, "_replace")


def _written(one: Any, values: Mapping[str, float]) -> Any:
    if not _has_hyperparams(one):
        return one
    fresh = {name: jnp.asarray(value, one.hyperparams[name].dtype) for name, value in values.items()}
    return one._replace(hyperparams={**one.hyperparams, **fresh})
