"""Stable-Baselines3: a callback that puts a model's hyperparameters under a plan, on the clock of `env_steps`."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from tempomat.core import BindingError, Fault, MissingExtra, Unit
from tempomat.core.errors import list_faults
from tempomat.plan import Plan, entry_name
from tempomat.runtime import Engine, Event, OnChange, load_state, save_state
from tempomat.runtime.state import check_state

try:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, safe_mean
except ImportError as error:
    raise MissingExtra("tempomat.integrations.sb3 needs Stable-Baselines3: pip install stable-baselines3") from error

from tempomat.integrations.sb3_noise import in_vain, sigma
from tempomat.integrations.sb3_places import Attribute, attribute, no_place, optimizers, place_name, tag
from tempomat.torch.targets import GroupTarget, bind

__all__ = ["TempomatCallback"]

_STATE = "tempomat_state"
"""The attribute of the model that the state is kept in: plain data, hence saved and loaded with the model."""

_ACTIVE: weakref.WeakKeyDictionary[BaseAlgorithm, TempomatCallback] = weakref.WeakKeyDictionary()


class TempomatCallback(BaseCallback):
    """A plan over a Stable-Baselines3 run: `model.learn(100_000, callback=TempomatCallback(plan))`.

    Every value is the plan's at `num_timesteps`, not at SB3's `progress_remaining`: a run that is lengthened or goes on
    with `reset_num_timesteps=False` never jumps back. Values for an update are those at its own count: with
    `n_steps=128` on 4 environments the first update has the values of 512 env steps.

    Entries: `lr` of every optimizer, or `actor.lr`, `critic.lr` (SAC, TD3, DDPG) and `ent_coef.lr` (SAC's entropy
    optimizer), and any other param-group key alike; `ent_coef`, `vf_coef`, `target_kl`, `max_grad_norm`, `clip_range`,
    `clip_range_vf`, `n_epochs`, `gamma`, `gae_lambda` (PPO, A2C), `exploration_rate` (DQN), `action_noise` (the sigma
    of what TD3, DDPG or SAC adds to actions; `action_noise[1]` of one action), `tau`, `batch_size`, `gradient_steps`,
    `target_policy_noise`, ... . Tempomat's names `entropy_coef`, `value_coef`, `grad_clip`, `epsilon`, `noise` mean the
    same. SAC's `ent_coef` can be scheduled where it is a number.

    Controllers see what SB3 logs, by the last part of its name: `ep_rew_mean`, `ep_len_mean`, `success_rate` after a
    rollout, `approx_kl`, `value_loss`, ... after an update; other measurements through `observe`.

    SB3 itself stays the writer of its values: the schedules that it calls become constants of the present value, which
    is also all that a saved model contains. The state is kept as plain data in `model.tempomat_state`, so `model.save`
    and `load` carry it, and a further `learn(..., reset_num_timesteps=False, callback=...)` goes on exactly.

    Logged: `train/learning_rate`, `train/actor_learning_rate`, `train/ent_coef`, `train/clip_range`, ...,
    `rollout/exploration_rate`, `rollout/action_noise`.

    Args:
        plan: with `clock="env_steps"`; single schedules may be tied to `episodes`.
        total: the run's length, where it differs from the plan's; `learn`'s `total_timesteps` where neither says one.
        targets: for entries that belong to no place above, a function that takes the value, or None to only read it
            from `values`.
        on_change: what a plan that differs from the saved state's does; see `tempomat.runtime.OnChange`.
        verbose: SB3's.
        rates: what converts units, such as `env_steps_per_episode=200`.

    Raises:
        BindingError: when training starts: an entry fits nothing in this model, or a second schedule writes the same.
        StateError: the model's saved state belongs to another plan.

    Example:
        >>> import tempomat as tm
        >>> plan = tm.Plan({"ent_coef": tm.Linear(init_value=0.01, end_value=0.0, duration="50%")}, clock="env_steps")
        >>> callback = TempomatCallback(plan)
    """

    def __init__(
        self,
        plan: Plan,
        *,
        total: int | str | None = None,
        targets: Mapping[str, Callable[[float], None] | None] | None = None,
        on_change: OnChange = "refuse",
        verbose: int = 0,
        **rates: int,
    ) -> None:
        super().__init__(verbose)
        if not isinstance(plan, Plan):
            raise BindingError(f"TempomatCallback: needs a tempomat.Plan, got {type(plan).__name__}")
        if plan.clock != Unit.ENV_STEPS:
            raise BindingError(
                f"TempomatCallback: SB3 counts env_steps, the plan's clock is {plan.clock}. Write Plan(..., "
                "clock='env_steps')"
            )
        if on_change == "stretch":
            raise BindingError(
                "TempomatCallback: on_change='stretch' would move the count, and SB3's num_timesteps stays. Use 'keep' "
                "(the saved plan) or 'replace' (the new one at the same count)"
            )
        self._plan, self._total, self._rates = plan, total, rates
        self._given = dict(targets or {})
        self._on_change: OnChange = on_change
        self._heard: set[str] = set()
        self._offered: set[str] = set()
        self._attributes: dict[str, Attribute] = {}
        self._groups: dict[str, GroupTarget] = {}
        self._hooks: list[Any] = []
        self._engine: Engine | None = None
        self._updates = 0

    # what the user calls

    @property
    def engine(self) -> Engine:
        """The plan at work, once training has started."""
        if self._engine is None:
            raise BindingError("TempomatCallback: the plan is not at work before training starts")
        return self._engine

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry, as applied: read back from where it was written.

        Raises:
            BindingError: somebody else has written one of them.
        """
        self._check_nobody_else_wrote()
        return {name: track.asked for name, track in self.engine.tracks.items()}

    @property
    def counts(self) -> dict[str, int]:
        """The counters by unit."""
        return dict(self.engine.counts)

    @property
    def events(self) -> list[Event]:
        """Decisions, resumes and rewinds so far, as plain data."""
        return list(self.engine.events)

    def observe(self, **measurements: Any) -> list[Event]:
        """Show measurements to the controllers that listen to them, by name; returns the decisions, which apply at
        once.
        """
        self._heard |= set(measurements)
        decisions = self.engine.observe(measurements)
        self._keep_state()
        return decisions

    # what SB3 calls

    def _on_training_start(self) -> None:
        former = _ACTIVE.get(self.model)
        if former is not None and former is not self and former in _callbacks(self.locals.get("callback")):
            raise BindingError("two TempomatCallbacks in one run. One writer per value: put both into one plan")
        if former is not None:
            former._release()  # of an earlier run, which may have been broken off
        self._engine = self._resumed()
        self._bind()
        self.engine.start()
        self._hook()
        _ACTIVE[self.model] = self
        self._updates = self._n_updates
        self._keep_state()

    def _on_rollout_start(self) -> None:
        self._after_update()

    def _on_step(self) -> bool:
        ended = sum(map(bool, self.locals.get("dones", ())))
        if ended and Unit.EPISODES in self.engine.counts:
            self.engine.advance({"episodes": ended})
            self._keep_state()
        if not self._on_policy:
            self._check_nobody_else_wrote()
            self._go_on()
            if ended:
                self._observe_episodes()
            self._log_places("rollout/")
        return True

    def _on_rollout_end(self) -> None:
        self._check_nobody_else_wrote()
        self._go_on()
        if self._on_policy:
            self._observe_episodes()

    def _on_training_end(self) -> None:
        self._after_update()
        self._keep_state()
        self._release()
        listened = {rule.metric for track in self.engine.tracks.values() for rule in track.tree.controllers}
        if unheard := sorted(listened - self._heard):
            warnings.warn(
                f"the plan listens to {', '.join(unheard)}, and nothing has measured it in this run. SB3 logged "
                f"{', '.join(sorted(self._offered))}; other measurements go through callback.observe(...)",
                UserWarning,
                stacklevel=2,
            )

    # inside, time and measurement

    @property
    def _on_policy(self) -> bool:
        """Whether values matter only once a rollout is complete, not at every step."""
        return hasattr(self.model, "rollout_buffer")

    @property
    def _n_updates(self) -> int:
        return int(getattr(self.model, "_n_updates", 0))

    def _resumed(self) -> Engine:
        """The engine at the model's count: as it was saved, or new where the run begins."""
        open_end = self._plan.total is None and self._total is None
        total = cast(Any, self.model)._total_timesteps if open_end else self._total
        engine = Engine(self._plan.resolve(total=total, **self._rates))
        unknown = [unit for unit in engine.counts if unit not in (Unit.ENV_STEPS, Unit.EPISODES)]
        if unknown:
            raise BindingError(f"TempomatCallback: SB3 counts env_steps and episodes, not {', '.join(unknown)}")
        saved, reached = getattr(self.model, _STATE, None), self.model.num_timesteps
        if reached and saved is not None:
            check_state(saved)
            if open_end and self._on_change == "refuse":
                # the same plan on a longer run: its schedules keep the lengths that they had
                engine = Engine(self._plan.resolve(total=saved["plan"]["total"], **self._rates))
            engine = load_state(engine, saved, self._on_change)
        behind = reached - engine.counts[Unit.ENV_STEPS]
        if behind < 0:
            raise BindingError(
                f"TempomatCallback: the saved state is at {engine.counts[Unit.ENV_STEPS]} env steps, the model at "
                f"{reached}"
            )
        engine.advance({"env_steps": behind})
        return engine

    def _go_on(self) -> None:
        self.engine.advance({"env_steps": self.model.num_timesteps - self.engine.counts[Unit.ENV_STEPS]})

    def _after_update(self) -> None:
        """Once after each `train()`: log what was applied, and show what was measured to the controllers."""
        if self._n_updates == self._updates:
            return
        self._updates = self._n_updates
        self._log()
        self._show({name: value for name, value in self.logger.name_to_value.items() if name.startswith("train/")})

    def _observe_episodes(self) -> None:
        episodes, successes = self.model.ep_info_buffer, self.model.ep_success_buffer
        measured: dict[str, Any] = {}
        if episodes:
            measured["ep_rew_mean"] = safe_mean([one["r"] for one in episodes])
            measured["ep_len_mean"] = safe_mean([one["l"] for one in episodes])
        if successes:
            measured["success_rate"] = safe_mean(cast(Any, successes))
        self._show(measured)

    def _show(self, measured: Mapping[str, Any]) -> None:
        heard = {rule.metric for track in self.engine.tracks.values() for rule in track.tree.controllers}
        named = {name.rsplit("/", 1)[-1]: value for name, value in measured.items()}
        self._offered |= set(named)
        seen = {metric: named[metric] for metric in sorted(heard) if metric in named}
        self._heard |= set(seen)
        if seen:
            self.engine.observe(seen)
            self._keep_state()

    def _keep_state(self) -> None:
        setattr(self.model, _STATE, save_state(self.engine))

    # inside, places

    def _bind(self) -> None:
        found = optimizers(self.model)
        names = list(self._plan.schedules)
        faults = [
            Fault(name, "a target is given, and the plan has no such entry")
            for name in self._given
            if name not in names
        ]
        self._attributes = {}
        for name in names:
            if name in self._given:
                continue
            place = sigma(self.model, name, names, faults) or attribute(self.model, name, faults)
            if place is not None:
                self._attributes[name] = place
        faults += in_vain(self.model, self._attributes)
        faults += _twice(self._attributes)
        placed = {*self._attributes, *self._given, *(fault.path for fault in faults)}
        keys = {key for one in found.values() for group in one.param_groups for key in group}
        in_groups = [name for name in names if name not in placed and entry_name(name).key in keys]
        lost = [name for name in names if name not in placed and name not in in_groups]
        faults += [Fault(name, no_place(self.model, name, keys)) for name in lost]
        try:
            self._groups = bind(found, in_groups, (), ())
        except BindingError as error:
            faults += error.faults
        if faults:
            raise BindingError(list_faults(f"the plan does not fit this {type(self.model).__name__}", faults), faults)
        self._refuse_sb3s_own_schedule()
        writes = {name: (place.write, True) for name, place in self._attributes.items()}
        writes |= {name: (target.writer(), False) for name, target in self._groups.items()}
        writes |= {name: (own, True) for name, own in self._given.items() if own is not None}
        self.engine.aim(writes)

    def _refuse_sb3s_own_schedule(self) -> None:
        rate = cast(Any, self.model).learning_rate
        rate = rate.value_schedule if isinstance(rate, FloatSchedule) else rate
        if callable(rate) and not isinstance(rate, ConstantSchedule) and self._lr_targets():
            raise BindingError(
                f"lr: the model was built with a schedule of its own, learning_rate={rate!r}. One writer per value: "
                "give the model a number, which the plan replaces"
            )

    def _lr_targets(self) -> list[GroupTarget]:
        return [target for target in self._groups.values() if target.key == "lr"]

    def _hook(self) -> None:
        """SB3 writes one rate into all optimizers at the start of each update; each gets its own back here."""
        writers = [(target.writer(), self.engine.tracks[name]) for name, target in self._groups.items()]

        def before(*_: Any) -> None:
            for write, track in writers:
                write(track.asked)

        if writers:
            self._hooks = [one.register_step_pre_hook(before) for one in optimizers(self.model).values()]
        self._schedule_lr()

    def _schedule_lr(self) -> None:
        """What SB3 writes and logs as `train/learning_rate`: the plan's `lr`; the first optimizer's if each has a rate
        of its own; SB3's own where the plan leaves it an optimizer.
        """
        targets = self._lr_targets()
        groups = sum(len(one.param_groups) for one in optimizers(self.model).values())
        shown = [target for target in targets if target.name == "lr"]
        if not shown and sum(len(target.groups) for target in targets) == groups:
            first = next(iter(optimizers(self.model).values())).param_groups[0]
            shown = [target for target in targets if any(group is first for group in target.groups)]
        for target in shown:
            track = self.engine.tracks[target.name]
            track.write = partial(self._write_lr, target.writer())
            track.write(track.asked)

    def _write_lr(self, write: Callable[[float], None], value: float) -> None:
        write(value)
        self.model.lr_schedule = FloatSchedule(value)

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if _ACTIVE.get(self.model) is self:
            del _ACTIVE[self.model]

    def _check_nobody_else_wrote(self) -> None:
        for name, place in self._attributes.items():
            held, expected = place.read(), self.engine.tracks[name].asked
            if not abs(held - expected) <= 1e-6 * abs(expected):  # a tensor of SB3's holds float32; NaN is foreign too
                raise BindingError(
                    f"{name}: somebody else wrote {held!r}; the plan had written {expected!r}. Remove the other writer"
                )

    def _log(self) -> None:
        self._log_places("train/")
        for name in self._groups:
            self.logger.record(tag(name), self.engine.tracks[name].asked)
        for name in self._given:
            self.logger.record(f"train/{name}", self.engine.tracks[name].asked)

    def _log_places(self, kind: str) -> None:
        for name, place in self._attributes.items():
            if place.log is not None and place.log.startswith(kind):
                self.logger.record(place.log, self.engine.tracks[name].asked)


def _twice(names: Iterable[str]) -> Iterator[Fault]:
    """Entries that mean the same place under two names."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(place_name(name), name)
        if other != name:
            yield Fault(name, f"is the same as {other}. One writer per value: remove one")


def _callbacks(top: Any) -> list[Any]:
    """A callback and all those within it."""
    if top is None:
        return []
    inner = [*getattr(top, "callbacks", ()), getattr(top, "callback", None)]
    return [top, *(one for child in inner for one in _callbacks(child))]
