"""The curriculum: stages of a task, and the gates between them.

The rule is Tempomat's `SuccessGates`, an entry of the run's plan. What is here reads both from a configuration and
moves the clocks of a scheduler when a stage is passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import tempomat as tm
from tempomat.core.errors import Fault, did_you_mean, shown
from tempomat_rl.envs.stages import Stage
from tempomat_rl.numbers import plain_numbers
from tempomat_rl.schedules import STAGE

METRIC = "success"
GATES = (
    "window",
    "min_episodes",
    "success_rate",
    "max_stage",
    "initial_stage",
    "min_stage_episodes",
    "require_consecutive_windows",
    "cooldown_episodes",
    "bootstrap_failures",
)
"""What a preset says about its gates."""


class Observer(Protocol):
    """What of a scheduler a curriculum needs."""

    @property
    def values(self) -> dict[str, float]:
        """Every value by entry."""
        ...

    @property
    def counts(self) -> dict[str, int]:
        """The counters by unit."""
        ...

    def observe(self, **measurements: Any) -> list[Any]:
        """Show measurements to controllers; returns the decisions taken."""
        ...

    def advance(self, **counts: int) -> None:
        """Clocks forward."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Curriculum:
    """Stages and the gates between them.

    Args:
        stages: from the easiest on.
        gates: the rule; an entry `curriculum_stage` of the run's plan.
    """

    stages: tuple[Stage, ...]
    gates: tm.SuccessGates

    @property
    def last(self) -> int:
        """The stage behind the last gate."""
        return self.gates.max_stage

    def __getitem__(self, stage: int) -> Stage:
        return self.stages[stage]

    def __len__(self) -> int:
        return self.last + 1

    def stage(self, scheduler: Observer) -> int:
        """The stage that the run is in."""
        return int(scheduler.values[STAGE])

    def start(self, scheduler: Observer) -> Stage:
        """The stage to begin or go on with; the scheduler's clock of stages is set to it."""
        stage = self.stage(scheduler)
        self._follow(scheduler, stage)
        return self.stages[stage]

    def episode(self, scheduler: Observer, success: bool) -> Stage | None:
        """Tell how an episode ended. The next stage if this one is passed now, and None otherwise."""
        before = self.stage(scheduler)
        scheduler.observe(**{self.gates.metric: float(success)})
        stage = self.stage(scheduler)
        if stage == before:
            return None
        self._follow(scheduler, stage)
        return self.stages[stage]

    def success_rate(self, scheduler: Observer) -> float | None:
        """The rate over the window; None while it is empty."""
        return self.gates.rate(self._state(scheduler))

    def full(self, scheduler: Observer) -> bool:
        """Whether the window holds enough episodes for its rate to count."""
        return int(self._state(scheduler)["held"]) >= self.gates.min_episodes

    def holds(self, scheduler: Observer) -> bool:
        """Whether the run is in the last stage and has what would pass its gate, if there were another behind it."""
        state, gates = self._state(scheduler), self.gates
        least = gates.min_episodes if gates.min_stage_episodes is None else gates.min_stage_episodes
        enough = state["passes"] >= gates.require_consecutive_windows and state["episodes"] >= least
        return self.stage(scheduler) == self.last and enough

    def _state(self, scheduler: Observer) -> Mapping[str, Any]:
        return scheduler.state_dict()["controllers"][STAGE][0]

    def _follow(self, scheduler: Observer, stage: int) -> None:
        """Schedules on the clock of stages follow. A run's plan may have none: then there is no such clock."""
        counted = scheduler.counts.get("stage", 0)
        if stage > counted:
            scheduler.advance(stage=stage - counted)


def read(given: Any, *, after: int, faults: list[Fault]) -> Curriculum | None:
    """A curriculum from a configuration; None without one, or where `faults` then says what is wrong.

    Args:
        given: a preset's `curriculum`.
        after: env steps before which no stage is passed.
        faults: gets what is wrong, each with its path.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        faults.append(Fault("curriculum", f"must be a mapping with stages, window and so on, got {shown(given)}"))
        return None
    before = len(faults)
    known = ("stages", *GATES)
    for key in given:
        if key not in known:
            near = did_you_mean(str(key), known)
            faults.append(Fault(f"curriculum.{key}", f"no setting of that name.{near} Settings: {', '.join(known)}"))
    stages = _stages(given.get("stages"), faults)
    gates = _gates({key: given[key] for key in GATES if key in given}, len(stages), after, faults)
    return Curriculum(tuple(stages), gates) if gates is not None and len(faults) == before else None


def _stages(given: Any, faults: list[Fault]) -> Sequence[Stage]:
    if not isinstance(given, (list, tuple)) or not given:
        faults.append(Fault("curriculum.stages", f"must be a list of at least one stage, got {shown(given)}"))
        return ()
    stages: list[Stage] = []
    for place, one in enumerate(given):
        try:
            stages.append(Stage.read(_stage_numbers(one)))
        except tm.PlanError as error:
            faults += [fault.under(f"curriculum.stages[{place}]") for fault in error.faults]
            stages.append(Stage())
    return stages


def _stage_numbers(given: Any) -> Any:
    """A stage's settings with numbers as Python's; a name stays a name, even `1k`."""
    if not isinstance(given, Mapping):
        return given
    return {key: value if key == "name" else plain_numbers(value) for key, value in given.items()}


def _gates(given: dict[str, Any], stages: int, after: int, faults: list[Fault]) -> tm.SuccessGates | None:
    try:
        gates = tm.SuccessGates(**{"max_stage": max(stages - 1, 0), **given, "metric": METRIC, "after": after})
    except tm.ScheduleError as error:
        faults += [fault.under("curriculum") for fault in error.faults]
        return None
    if gates.max_stage >= stages > 0:
        faults.append(
            Fault(
                "curriculum.max_stage",
                f"must be below the number of stages, {stages}, since they count from 0; got {gates.max_stage}",
            )
        )
    return gates
