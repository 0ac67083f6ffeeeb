"""What runs with several seeds came to: `results` are the runs' own, by seed, of those that have ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

Result = Mapping[str, Any]
Results = Mapping[int, Result]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean over seeds; of fewer than two seeds nothing is known, and it has no ends."""
    if len(values) < 2:
        return -math.inf, math.inf
    array = np.asarray(values, float)
    reach = float(stats.t.ppf(0.975, len(array) - 1)) * float(stats.sem(array))
    mean = float(array.mean())
    return mean - reach, mean + reach


def gate_steps(results: Results, stage: int, cut: int) -> list[int | None]:
    """Env steps to a gate by seed; None, where a run did not get there before the cut."""
    steps = [result["gates"].get(str(stage), {}).get("env_steps") for result in results.values()]
    return [None if one is None or one > cut else one for one in steps]


def gate_seconds(results: Results, stage: int) -> list[float | None]:
    """Seconds to a gate by seed; None, where a run did not get there."""
    return [result["gates"].get(str(stage), {}).get("seconds") for result in results.values()]


def median(values: Sequence[float | None]) -> float | None:
    """Of values that may not have been reached: None, where it lies among those."""
    found = float(np.median([np.inf if value is None else value for value in values]))
    return None if np.isinf(found) else found


def compare(by_name: Mapping[str, Results], base: str, stages: int, cut: int) -> dict[str, Any]:
    """By name: success at the end with its interval, the same less `base`'s by seed, and env steps to each gate."""
    success = {
        name: {seed: float(result["success_rate"]) for seed, result in results.items()}
        for name, results in by_name.items()
    }
    table: dict[str, Any] = {}
    for name, results in by_name.items():
        if not results:
            continue
        paired = [value - success[base][seed] for seed, value in success[name].items() if seed in success[base]]
        values = list(success[name].values())
        table[name] = {
            "seeds": list(results),
            "success": values,
            "mean": float(np.mean(values)),
            "interval": tuple(min(max(one, 0.0), 1.0) for one in interval(values)),  # a rate is a share
            f"against_{base}": float(np.mean(paired)) if paired else None,
            f"against_{base}_interval": interval(paired) if paired else None,
            "gates": {str(stage): _gate(gate_steps(results, stage, cut), cut) for stage in range(stages)},
            "seconds": [result["seconds"] for result in results.values()],
        }
    return table


def _gate(steps: Sequence[int | None], cut: int) -> dict[str, Any]:
    """A gate that was not reached counts as the cut."""
    values = [cut if one is None else one for one in steps]
    return {
        "env_steps": list(steps),
        "reached": sum(one is not None for one in steps),
        "mean": float(np.mean(values)),
        "interval": interval(values),
    }


def times(by_name: Mapping[str, Results], stages: int) -> dict[str, Any]:
    """By name: seconds to each gate by seed, and their medians."""
    table: dict[str, Any] = {}
    for name, results in by_name.items():
        if results:
            seconds = [gate_seconds(results, stage) for stage in range(stages)]
            table[name] = {
                "seeds": list(results),
                "seconds": seconds,
                "median": [median(values) for values in seconds],
                "success": [result["success_rate"] for result in results.values()],
            }
    return table
