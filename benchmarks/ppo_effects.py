"""What the runs of PPO's results came to, as plain data: figures by seed, means, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import outcomes
from numpy.typing import NDArray
from ppo_arms import (
    ABLATION,
    CONSTANT,
    FULL,
    PEER,
    PUBLISHED,
    SCHEDULES,
    Ablation,
    Figure,
    Published,
    Run,
    Scale,
    alone,
    without,
)
from ppo_running import Runs

from tempomat.runs import read_run

FINAL, CURVE, STEPS = "final", "curve", "steps"
MEASURES = (FINAL, CURVE, STEPS)
AMONG, BY_ITSELF = "among the others", "by itself"
ALL = "all four together"


@dataclass(frozen=True)
class Trace:
    """What the record of a run says of its training."""

    counts: NDArray[np.int64]
    returns: NDArray[np.float64]
    """Mean of the last 100 episodes, at each row that has it."""
    rate: float
    """Mean over the run of the lr that was applied."""
    speed: float
    """Env steps per second between two rows, the median of them."""

    def at(self, count: int) -> float:
        """The return at the last row up to a count."""
        return float(self.returns[max(int(np.searchsorted(self.counts, count, "right")) - 1, 0)])

    def mean(self, total: int) -> float:
        """Over env steps from 0 to the end, along lines from row to row; before the first row as there."""
        counts, returns = self.over(np.linspace(0, total, 1001))
        return float(np.trapezoid(returns, counts) / total)

    def over(self, counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns at these counts, along lines from row to row."""
        return counts, np.interp(counts, self.counts, self.returns)

    def first(self, threshold: float) -> int | None:
        """Env steps at the first row that is as good."""
        there = np.flatnonzero(self.returns >= threshold)
        return int(self.counts[there[0]]) if there.size else None


def trace(runs: Runs, run: Run) -> Trace:
    """Read from the record."""
    record = read_run(runs.place(run))
    counts, returns = record.measured("episode_return")
    at, _, applied = record.series("lr")
    rate = float(np.trapezoid(applied, at) / (at[-1] - at[0]))
    return Trace(counts, returns, rate, float(np.median(record.measured("env_steps_per_second").values)))


def tables(runs: Runs, scale: Scale) -> dict[str, Any]:
    """All figures of what has ended."""
    ended: dict[tuple[str, str], dict[str, dict[int, Run]]] = {}
    for run in runs.finished(scale.runs()):
        ended.setdefault((run.part, run.task), {}).setdefault(run.arm, {})[run.seed] = run
    told: dict[str, Any] = {"seeds": list(scale.seeds), PUBLISHED: {}, ABLATION: {}, PEER: {}}
    for (part, task), by_arm in ended.items():
        if part == PUBLISHED:
            (by_seed,) = by_arm.values()
            told[part][task] = _published(runs, scale.published[task], by_seed)
        elif part == PEER:
            (by_seed,) = by_arm.values()
            told[part][task] = _returns(runs, by_seed)
        else:
            told[part][task] = _ablation(runs, scale.ablations[task], by_arm)
    return told


# beside published figures


def _returns(runs: Runs, by_seed: Mapping[int, Run]) -> dict[str, Any]:
    """Of the final evaluations."""
    results = {seed: runs.result(run) or {} for seed, run in by_seed.items()}
    returns = {seed: result["episode_return"] for seed, result in results.items()}
    return {
        "returns": returns,
        "mean": float(np.mean(list(returns.values()))),
        "interval": outcomes.interval(list(returns.values())),
        "std": float(np.mean([result["episode_return_std"] for result in results.values()])),
        "seconds": [result["seconds"] for result in results.values()],
    }


def _published(runs: Runs, task: Published, by_seed: Mapping[int, Run]) -> dict[str, Any]:
    traces = {seed: trace(runs, run) for seed, run in by_seed.items()}
    return {
        "figure": asdict(task.figure),
        **_returns(runs, by_seed),
        "speed": [one.speed for one in traces.values()],
        "in_training": [_in_training(figure, traces) for figure in task.others],
    }


def _in_training(figure: Figure, traces: Mapping[int, Trace]) -> dict[str, Any]:
    """The return in training at the count of a figure, or at the end of a shorter run."""
    returns = {seed: one.at(figure.env_steps) for seed, one in traces.items()}
    values = list(returns.values())
    return {
        "figure": asdict(figure),
        "env_steps": min(figure.env_steps, *(int(one.counts[-1]) for one in traces.values())),
        "returns": returns,
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
    }


# schedules turned off


def _ablation(runs: Runs, task: Ablation, by_arm: Mapping[str, Mapping[int, Run]]) -> dict[str, Any]:
    arms = {arm: _arm(runs, task, by_arm[arm]) for arm in task.arms if arm in by_arm}
    return {"settings": asdict(task), "arms": arms, "effects": _effects(arms)}


def _arm(runs: Runs, task: Ablation, by_seed: Mapping[int, Run]) -> dict[str, Any]:
    """A run that does not get to the threshold counts as one that gets there at its end."""
    values: dict[str, dict[int, float]] = {name: {} for name in MEASURES}
    rates, reached = list[float](), 0
    for seed, run in by_seed.items():
        one, result = trace(runs, run), runs.result(run) or {}
        first = one.first(task.threshold)
        reached += first is not None
        rates.append(one.rate)
        values[FINAL][seed] = result["episode_return"]
        values[CURVE][seed] = one.mean(task.total)
        values[STEPS][seed] = task.total if first is None else first
    summed = {name: _row(list(by_seed.values())) for name, by_seed in values.items()}
    worst = min(values[FINAL].values())
    return {"by_seed": values, **summed, "worst": worst, "reached": reached, "lr": float(np.mean(rates))}


def _row(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)), "interval": outcomes.interval(values)}


def _effects(arms: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By schedule what it brings, where the others are on and where they are off; each with minus without."""
    pairs = {one: {AMONG: (FULL, without(one)), BY_ITSELF: (alone(one), CONSTANT)} for one in SCHEDULES}
    pairs[ALL] = {BY_ITSELF: (FULL, CONSTANT)}
    found: dict[str, dict[str, Any]] = {}
    for schedule, places in pairs.items():
        for place, (one, other) in places.items():
            if one in arms and other in arms:
                difference = {name: paired(arms[one], arms[other], name) for name in MEASURES}
                found.setdefault(schedule, {})[place] = difference
    return found


def paired(one: Mapping[str, Any], other: Mapping[str, Any], measure: str) -> dict[str, Any] | None:
    """Seed by seed, over the seeds that both have; None without any."""
    mine, theirs = one["by_seed"][measure], other["by_seed"][measure]
    by_seed = {seed: value - theirs[seed] for seed, value in mine.items() if seed in theirs}
    return {"by_seed": by_seed, **_row(list(by_seed.values()))} if by_seed else None
