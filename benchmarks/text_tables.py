"""What the runs on the text came to, as plain data: the peaks that were chosen, and the losses for each question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import outcomes
from text_runs import SCHEDULES, Run, Runs, Scale

Case = Callable[[int], Run]
"""A run by its seed."""

LINEAR = "linear to zero"
COMMAND = "python benchmarks/evidence_text.py"


@dataclass(frozen=True)
class Choice:
    """The peak of each schedule, and the peak and decay of the average beside a constant lr."""

    peaks: Mapping[str, float]
    average_peak: float
    average_decay: float

    @classmethod
    def guess(cls, scale: Scale) -> Choice:
        """As many runs as any choice will take, or nearly."""
        peak = scale.peaks[len(scale.peaks) // 2]
        return cls(dict.fromkeys(SCHEDULES, peak), scale.peaks[0], scale.averages[0])


def choose(tuning: Sequence[Run], store: Runs) -> Choice:
    """The lowest mean loss over the tuning seeds.

    Raises:
        SystemExit: a run is missing.
    """
    by_peak = {name: _means(tuning, store, name, lambda found: found["loss"]) for name in SCHEDULES}
    averages = {
        (peak, decay): mean
        for decay in store.scale.averages
        for peak, mean in _means(tuning, store, "constant", _averaged_loss(decay)).items()
    }
    peak, decay = min(averages, key=lambda one: averages[one])
    return Choice({name: min(means, key=lambda one: means[one]) for name, means in by_peak.items()}, peak, decay)


def _averaged_loss(decay: float) -> Callable[[Any], float]:
    return lambda found: found["averages"][f"{decay:g}"]


def _means(tuning: Sequence[Run], store: Runs, name: str, read: Callable[[Any], float]) -> dict[float, float]:
    losses: dict[float, list[float]] = {}
    for run in tuning:
        if run.schedule == name:
            losses.setdefault(run.peak, []).append(read(ended(run, store)))
    return {peak: float(np.mean(values)) for peak, values in losses.items()}


def ended(run: Run, store: Runs) -> dict[str, Any]:
    """A run's result.

    Raises:
        SystemExit: there is none.
    """
    found = store.result(run)
    if found is None:
        raise SystemExit(f"{run.name}: has not ended. {COMMAND} goes on with it")
    return found


# which runs answer which question


def tuned(choice: Choice) -> dict[str, Case]:
    """Each schedule at the peak that is best for it."""
    return {name: lambda seed, name=name: Run(name, choice.peaks[name], seed) for name in SCHEDULES}


def averaged(choice: Choice) -> Case:
    """The constant lr beside which the average is kept."""
    return lambda seed: Run("constant", choice.average_peak, seed)


def slow(scale: Scale) -> tuple[Case, Case]:
    """Constant and linear to zero at the lowest peak of the grid."""
    return (lambda seed: Run("constant", scale.peaks[0], seed)), (lambda seed: Run(LINEAR, scale.peaks[0], seed))


def warm_and_cold(choice: Choice, multiple: int) -> tuple[Case, Case]:
    """Linear to zero from a multiple of its best peak, with the warmup and without."""
    peak = multiple * choice.peaks[LINEAR]
    return (lambda seed: Run(LINEAR, peak, seed)), (lambda seed: Run(LINEAR, peak, seed, warm=False))


# tables


def tables(tuning: Sequence[Run], choice: Choice, store: Runs) -> dict[str, Any]:
    """All figures as plain data; losses in nats per character, differences paired by seed."""
    scale = store.scale
    losses = {name: _losses(case, store) for name, case in tuned(choice).items()}
    average = _losses(averaged(choice), store, _averaged_loss(choice.average_decay))
    slow_constant, slow_linear = (_losses(case, store) for case in slow(scale))
    return {
        "command": COMMAND,
        "text": store.text.told,
        "settings": store.settings,
        "seeds": list(scale.seeds),
        "choice": asdict(choice),
        "tuning": {name: _means(tuning, store, name, lambda found: found["loss"]) for name in SCHEDULES},
        "schedules": {
            name: {
                **_row(losses[name]),
                "against": {base: _difference(losses[name], losses[base]) for base in _bases(name)},
                "curve": mean_curve([ended(case(seed), store)["curve"] for seed in scale.seeds]),
            }
            for name, case in tuned(choice).items()
        },
        "slow": {
            "peak": scale.peaks[0],
            "constant": _row(slow_constant),
            LINEAR: _row(slow_linear),
            "difference": _difference(slow_linear, slow_constant),
        },
        "warmup": {str(multiple): _warmup(choice, multiple, store) for multiple in scale.multiples},
        "average": {
            **_row(average),
            "same run, last weights": _difference(average, _losses(averaged(choice), store)),
            "against": {name: _difference(average, values) for name, values in losses.items()},
        },
    }


def _bases(name: str) -> list[str]:
    return [base for base in ("constant", LINEAR) if base != name]


def _losses(case: Case, store: Runs, read: Callable[[Any], float] = lambda found: found["loss"]) -> list[float]:
    return [read(ended(case(seed), store)) for seed in store.scale.seeds]


def _row(values: Sequence[float]) -> dict[str, Any]:
    return {"losses": list(values), "mean": float(np.mean(values)), "interval": outcomes.interval(values)}


def _difference(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    return _row([one - other for one, other in zip(values, base, strict=True)])


def mean_curve(curves: Sequence[Any]) -> dict[str, list[float]]:
    """The mean over seeds, as far as all of them have got; over part of the validation text."""
    shared = min(len(one["loss"]) for one in curves)
    losses = np.array([one["loss"][:shared] for one in curves])
    return {"updates": curves[0]["updates"][:shared], "loss": losses.mean(axis=0).tolist()}


def _warmup(choice: Choice, multiple: int, store: Runs) -> dict[str, Any]:
    warm, cold = warm_and_cold(choice, multiple)
    runs = {"warm": _losses(warm, store), "cold": _losses(cold, store)}
    return {
        "peak": multiple * choice.peaks[LINEAR],
        **{name: _row(values) for name, values in runs.items()},
        "diverged": {
            name: sum(ended(case(seed), store)["diverged"] for seed in store.scale.seeds)
            for name, case in (("warm", warm), ("cold", cold))
        },
        "difference": _difference(runs["warm"], runs["cold"]),
    }
