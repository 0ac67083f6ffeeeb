"""Stages of a curriculum: one more each time that measured success passes a gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, final

from tempomat.core.controllers import Controller, State, whole
from tempomat.core.errors import Fault, MeasurementError
from tempomat.core.fields import Count, CountKind, NumberKind
from tempomat.core.ops import counted

MAX_WINDOW = 1_000
"""The widest window of `SuccessGates`: its episodes are the bits of one int, and `torch.load` with `weights_only`
reads ints of up to 2 039 bits.
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SuccessGates(Controller):
    r"""The stage of a curriculum: one more each time that success over a rolling window stays above a gate.

    A measurement is an episode's end: 1 for success, 0 for failure. It joins the window of the last `window` episodes;
    once that holds at least `min_episodes`, a success rate of `success_rate` or more is one more pass in a row, and
    any other rate ends the row. The stage goes up by one when the row is `require_consecutive_windows` long, the stage
    has had `min_stage_episodes`, the cooldown is over, the count is at least `after`, and the stage is below
    `max_stage`; window, row and episodes then start anew. It never goes down.

    The value is the stage itself, `initial_stage` at first and `max_stage` at most.

    Args:
        metric: the measurement it listens to, as in `observe(success=...)`.
        window: how many episodes the rolling rate is over, at most 1 000.
        min_episodes: how many the window must hold before a rate counts.
        success_rate: the gate, above 0 and at most 1.
        max_stage: the last stage.
        initial_stage: the first one.
        min_stage_episodes: the least number of episodes in a stage; None for `min_episodes`.
        require_consecutive_windows: how many windows in a row must pass; each episode makes a new one.
        cooldown_episodes: so many episodes after an advance the stage cannot advance again.
        bootstrap_failures: every window starts with so many failures, which count towards `min_episodes` and leave
            as episodes come: a stage cannot be passed on a few lucky ones.
        after: the count of the plan's clock before which no advance happens, such as the steps of random actions.

    Raises:
        ScheduleError: a parameter is out of its range, or a gate cannot be reached; all of them at once.
        MeasurementError: a measurement is neither 1 nor 0.

    Agrees with:
        No other library's rule: ML-Agents' `completion_criteria` holds a smoothed mean against a threshold once.

    Example:
        >>> gates = SuccessGates(window=4, min_episodes=2, success_rate=0.75, max_stage=1)
        >>> state = gates.initial()
        >>> for episode in range(5):
        ...     state = gates.update(state, 1, episode)
        >>> gates.level(state), gates.rate(state)
        (1.0, None)
    """

    metric: str = "success"
    window: Annotated[int, CountKind(1)] = 100
    min_episodes: Annotated[int, CountKind(1)] = 80
    success_rate: Annotated[float, NumberKind(above=0, at_most=1)] = 0.85
    max_stage: Annotated[int, CountKind(0)]
    initial_stage: Annotated[int, CountKind(0)] = 0
    min_stage_episodes: Annotated[int | None, CountKind(0, optional=True)] = None
    require_consecutive_windows: Annotated[int, CountKind(1)] = 4
    cooldown_episodes: Annotated[int, CountKind(0)] = 0
    bootstrap_failures: Annotated[int, CountKind(0)] = 0
    after: Count = 0

    def _check(self) -> Iterator[Fault]:
        spans = list(self._spans("after"))
        yield from (Fault(fault.path, fault.message.replace("measurements", "episodes or stages")) for fault in spans)
        if spans:
            return
        if self.window > MAX_WINDOW:
            yield Fault("window", f"must be at most {MAX_WINDOW:_} episodes, got {self.window:_}")
        if self.window < self.min_episodes:
            yield Fault(
                "window",
                f"holds at most {self.window} episodes, and `min_episodes` asks for {self.min_episodes}: no stage "
                "could ever be passed. Widen it, or lower min_episodes",
            )
        if self.bootstrap_failures > self.window:
            yield Fault(
                "bootstrap_failures", f"must fit into the window of {self.window}, got {self.bootstrap_failures}"
            )
        if self.initial_stage > self.max_stage:
            yield Fault("initial_stage", f"must not be above `max_stage` ({self.max_stage}), got {self.initial_stage}")

    def accepts(self, state: State) -> bool:
        return whole(state, "stage") >= self.initial_stage

    def initial(self) -> State:
        return self._stage(self.initial_stage, cooldown=0)

    def _stage(self, stage: int, cooldown: int) -> State:
        """The state at the start of a stage; `window` holds the last `held` episodes as bits, the newest lowest."""
        return {
            "stage": stage,
            "window": 0,
            "held": self.bootstrap_failures,
            "episodes": 0,
            "passes": 0,
            "cooldown": cooldown,
        }

    def level(self, state: State) -> float:
        return float(min(whole(state, "stage"), self.max_stage))

    def rate(self, state: State) -> float | None:
        """The success rate over the window; None while it is empty."""
        held = whole(state, "held")
        return whole(state, "window").bit_count() / held if held else None

    def update(self, state: State, observation: float, count: int) -> State:
        success = self._number(observation)
        if success not in (0.0, 1.0):
            raise MeasurementError(
                f"SuccessGates: {self.metric} must be 1 (success) or 0 (failure), got {success:g} at count {count}. "
                "Show it one episode at a time"
            )
        held = min(whole(state, "held") + 1, self.window)
        window = (whole(state, "window") << 1 | int(success)) & ((1 << held) - 1)
        stage, episodes, cooldown = (whole(state, key) for key in ("stage", "episodes", "cooldown"))
        passed = held >= self.min_episodes and window.bit_count() / held >= self.success_rate
        passes = whole(state, "passes") + 1 if passed else 0
        least = self.min_episodes if self.min_stage_episodes is None else self.min_stage_episodes
        if (
            passes >= self.require_consecutive_windows
            and episodes + 1 >= least
            and cooldown == 0
            and count >= counted(self.after)
            and stage < self.max_stage
        ):
            return self._stage(stage + 1, self.cooldown_episodes)
        return {
            "stage": stage,
            "window": window,
            "held": held,
            "episodes": episodes + 1,
            "passes": passes,
            "cooldown": max(cooldown - 1, 0),
        }
