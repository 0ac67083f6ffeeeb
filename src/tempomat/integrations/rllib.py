"""RLlib's new API stack: a plan into an `AlgorithmConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from tempomat.convert import to_rllib
from tempomat.core import BindingError, Fault, MissingExtra, Schedule, Unit
from tempomat.core.errors import TempomatError, did_you_mean, list_faults
from tempomat.plan import Plan, entry_name

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig  # pyright: ignore[reportMissingImports]
    from ray.rllib.core.learner.learner import Learner  # pyright: ignore[reportMissingImports]

__all__ = ["apply_plan", "scheduling_learner"]

_ALIASES = {
    "entropy_coef": "entropy_coeff",
    "ent_coef": "entropy_coeff",
    "clip_range": "clip_param",
    "clip_range_vf": "vf_clip_param",
    "value_coef": "vf_loss_coeff",
    "vf_coef": "vf_loss_coeff",
    "target_kl": "kl_target",
    "max_grad_norm": "grad_clip",
    "exploration_rate": "epsilon",
}
_BY_LISTS = ("lr", "actor_lr", "critic_lr", "alpha_lr", "entropy_coeff", "epsilon")
"""Fields that RLlib itself takes as `[[timestep, value], ...]`."""
_BY_LEARNER = ("clip_param", "vf_clip_param", "vf_loss_coeff", "kl_target", "grad_clip")
"""Fields that a learner reads anew at every update, and for which RLlib has no schedule."""
_KEY = "tempomat"


def apply_plan(
    config: AlgorithmConfig,
    plan: Plan,
    *,
    total: int | str | None = None,
    rel_tolerance: float = 1e-3,
    **rates: int,
) -> AlgorithmConfig:
    """Put a plan into a config, and return the config.

    `lr`, `entropy_coeff`, SAC's `actor.lr`, `critic.lr`, `alpha.lr` and DQN's `epsilon` become RLlib's own lists of
    points, joined by straight lines that stay within `rel_tolerance` of the schedule. `clip_param`, `vf_clip_param`,
    `vf_loss_coeff`, `kl_target` and `grad_clip`, for which RLlib takes a list and then fails in training, are exact:
    the config's learner class is extended by one that sets them; it also gives a restored run its present entropy
    coefficient, where RLlib begins with the first one again. Tempomat's and SB3's names (`entropy_coef`,
    `clip_range`, ...) mean the same. Everything else is refused.

    RLlib's clock is the number of env steps sampled over the run's lifetime, and a new value holds from the update
    after the one that reached its count; the first update has the values of 0. What RLlib reports after an iteration,
    such as `curr_entropy_coeff` and our `curr_clip_param`, is what the next one will have.

    Args:
        config: of the new API stack. It is changed in place, as by its own methods.
        plan: with `clock="env_steps"`, without controllers.
        total: the run's length in env steps, where the plan says none.
        rel_tolerance: of the lists.
        rates: what converts units.

    Raises:
        BindingError: the plan has an entry for which there is no place, a controller, or another clock; all faults at
            once.
        MissingExtra: RLlib is not installed.

    Example:
        >>> import tempomat as tm
        >>> from ray.rllib.algorithms.ppo import PPOConfig  # doctest: +SKIP
        >>> plan = tm.Plan({"lr": tm.Linear(init_value=1e-3, end_value=0.0, duration=9)}, clock="env_steps", total=9)
        >>> apply_plan(PPOConfig(), plan).lr  # doctest: +SKIP
        [[0, 0.001], [9, 0.0]]
    """
    if find_spec("ray") is None or find_spec("ray.rllib") is None:
        raise MissingExtra("apply_plan: needs RLlib: pip install 'ray[rllib]'")
    if not isinstance(plan, Plan):
        raise BindingError(f"apply_plan: needs a tempomat.Plan, got {type(plan).__name__}")
    if plan.clock != Unit.ENV_STEPS:
        raise BindingError(
            f"apply_plan: RLlib counts env_steps, the plan's clock is {plan.clock}. Write Plan(..., clock='env_steps')"
        )
    known = plan.resolve(total=total, **rates)
    lists, learned, faults = dict[str, Any](), dict[str, Schedule](), list[Fault]()
    for name, tree in known.schedules.items():
        field = _field(config, name, faults)
        if field in lists or field in learned:
            faults.append(Fault(name, f"another entry means {field} too. Remove one"))
        elif field and not isinstance(tree, Schedule):
            faults.append(Fault(name, "has a controller, and measurements do not reach RLlib's schedules"))
        elif field in _BY_LISTS:
            lists[field] = _list(name, tree, known, rel_tolerance, faults)
        elif field:
            learned[field] = cast(Schedule, tree)
    if faults:
        raise BindingError(list_faults(f"the plan does not fit {type(config).__name__}", faults), faults)
    for field, points in lists.items():
        setattr(config, field, points)
    if learned or "entropy_coeff" in lists:
        own = Plan(learned, total=known.total, clock=known.clock).to_data(full=True) if learned else None
        config.learners(learner_class=scheduling_learner(_learner_of(config)), learner_config_dict={_KEY: own})
    return config


@cache
def scheduling_learner(base: type[Learner]) -> type[Learner]:
    """A learner class that sets the fields of a plan in its own config, and otherwise is `base`. `apply_plan` makes it.

    At count 0 when it is built, then after each update at the env steps sampled so far; the count is in its state, and
    a restored learner goes on with the values it had, RLlib's own entropy coefficient included.
    """

    class SchedulingLearner(base):
        def build(self) -> None:
            super().build()
            data = self.config.learner_config_dict[_KEY]
            found = Plan.from_data(data, source="the learner's plan").schedules if data else {}
            self._tempomat = cast(Mapping[str, Schedule], found)
            self._set_scheduled(0)

        def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
            super().after_gradient_based_update(timesteps=timesteps)
            count = int(timesteps.get("num_env_steps_sampled_lifetime", 0))
            self._set_scheduled(count)
            for module_id in list(self.module.keys()):
                for field, schedule in self._tempomat.items():
                    self.metrics.log_value((module_id, f"curr_{field}"), schedule(count), window=1)

        def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            return {**super().get_state(*args, **kwargs), _KEY: self._tempomat_count}

        def set_state(self, state: dict[str, Any]) -> None:
            super().set_state(state)
            if _KEY in state:
                self._set_scheduled(state[_KEY])
                schedulers: Any = getattr(self, "entropy_coeff_schedulers_per_module", {})
                if hasattr(self, "entropy_coeff_schedulers_per_module"):  # it makes each one when it is asked for
                    for module_id in list(self.module.keys()):
                        schedulers[module_id].update(timestep=state[_KEY])

        def _set_scheduled(self, count: int) -> None:
            self._tempomat_count = count
            for module_id in list(self.module.keys()):
                for field, schedule in self._tempomat.items():
                    setattr(self.config.get_config_for_module(module_id), field, schedule(count))

    SchedulingLearner.__name__ = f"Scheduling{base.__name__}"
    return SchedulingLearner


def _field(config: AlgorithmConfig, name: str, faults: list[Fault]) -> str | None:
    """The field that an entry means, if there is a place for it."""
    entry = entry_name(name)
    field = f"{entry.group}_{entry.key}" if entry.group else entry.key
    field = _ALIASES.get(field, field)
    known = [one for one in (*_BY_LISTS, *_BY_LEARNER) if hasattr(config, one)]
    if field in known and entry.index is None:
        return field
    if hasattr(config, field):
        why = f"RLlib does not schedule {field}, and reads it where no learner can change it."
    else:
        why = f"{type(config).__name__} has no {field!r}.{did_you_mean(field, known)}"
    faults.append(Fault(name, f"{why} What can be scheduled here: {', '.join(known)}"))
    return None


def _list(name: str, tree: Any, plan: Plan, tolerance: float, faults: list[Fault]) -> Any:
    if plan.total is None:
        faults.append(Fault(name, "RLlib's points need an end. Give apply_plan(..., total=...)"))
        return None
    try:
        return to_rllib(tree, plan.total, rel_tolerance=tolerance, **plan.rates)
    except TempomatError as error:
        faults.append(Fault(name, str(error)))
        return None


def _learner_of(config: AlgorithmConfig) -> type[Learner]:
    base = config.learner_class
    return base.__mro__[1] if base.__name__.startswith("Scheduling") else base
