"""What a run writes down as it goes: the record, TensorBoard, `train.csv`, `eval.csv`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from tempomat.integrations.tensorboard import TensorBoard, tag
from tempomat.runs import Recorder
from tempomat.torch import Scheduler
from tempomat_rl.evaluation import Evaluation
from tempomat_rl.tables import Table

RECENT = 100
"""Episodes over which returns and lengths are averaged."""
TRAIN = (
    "env_steps", "frames", "updates", "episodes", "stage", "success_rate", "episode_return", "episode_length",
    "critic_loss", "actor_loss", "q1", "q2", "target_q", "reward", "lr_encoder", "lr_actor",
    "lr_critic", "noise", "replay_size", "seconds",
)  # fmt: skip
EVAL = ("env_steps", "frames", "stage", "episodes", "success_rate", "episode_return", "episode_length", "seconds")
_RATES = ("encoder.lr", "actor.lr", "critic.lr")


@final
class RunLog:
    """One row of everything whenever `write` is called; between two rows losses are averaged.

    Args:
        folder: the run's.
        seed, notes: for readers of the record.
        resume: what `state_dict` said when the checkpoint was taken; None for a new run.
        event: for the record: settings that have changed since. Another plan than the recorded one is accepted then.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        notes: Any,
        resume: Mapping[str, Any] | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> None:
        state: Mapping[str, Any] = resume or {}
        self.recorder = Recorder(
            folder,
            seed=seed,
            notes=notes,
            resume=_place(state["record"]) if resume else None,
            on_change="accept" if event else "refuse",
            mirrors=[TensorBoard(folder / "tb")],
        )
        self._events = () if event is None else (event,)
        self._shown: Any = None
        self._train = Table(folder / "train.csv", TRAIN, offset=state.get("train.csv", 0))
        self._eval = Table(folder / "eval.csv", EVAL, offset=state.get("eval.csv", 0))
        self._sums: dict[str, Any] = dict(state.get("sums", {}))
        self._updates: int = state.get("updates", 0)
        self._rates: list[float] = list(state.get("rates", ()))
        self._moving: list[bool] = list(state.get("moving", ()))
        self._returns = deque[float](state.get("returns", ()), RECENT)
        self._lengths = deque[int](state.get("lengths", ()), RECENT)

    def update(self, metrics: Mapping[str, Any]) -> None:
        """One update's losses; they stay on their device until a row is written."""
        sums = self._sums
        for name, value in metrics.items():
            if name == "noise":  # an entry of the plan, which has a column of its own
                continue
            sums[name] = sums[name] + value if name in sums else value
        self._updates += 1

    def episode(self, episode_return: float, length: int) -> None:
        """One episode has ended."""
        self._returns.append(float(episode_return))
        self._lengths.append(int(length))

    def rates_jumped(self, scheduler: Scheduler) -> bool:
        """Whether a learning rate has just left a value at which it had stood: then this step gets a row of its own.

        To be asked once each turn of the loop. A rate that moves all the time is in the regular rows.
        """
        asked = scheduler.asked
        rates = [asked[name] for name in _RATES]
        moving = [one != before for one, before in zip(rates, self._rates or rates, strict=True)]
        jumped = not self._rates or any(now and not before for now, before in zip(moving, self._moving, strict=True))
        self._rates, self._moving = rates, moving
        return jumped

    @property
    def waiting(self) -> bool:
        """Whether there were updates since the last row."""
        return self._updates > 0

    def write(self, scheduler: Scheduler, counts: Mapping[str, Any], success_rate: float | None) -> Mapping[str, float]:
        """A row: what the schedules say, what was applied, and what was measured since the last one, which it returns.

        Args:
            scheduler: the run's.
            counts: columns of `train.csv` that the loop knows.
            success_rate: over the curriculum's window.
        """
        means = {name: float(value) / self._updates for name, value in self._sums.items()}
        self._sums, self._updates = {}, 0
        if self._returns:
            means["episode_return"] = float(np.mean(self._returns))
            means["episode_length"] = float(np.mean(self._lengths))
        measured: dict[str, float] = {**means, "replay_size": counts["replay_size"]}
        if counts["stage"] is not None:
            measured["curriculum/stage"] = counts["stage"]
        if success_rate is not None:
            measured["curriculum/success_rate"] = success_rate
        self.recorder.write(self._told(scheduler), **measured)
        asked = scheduler.asked
        rates = {tag(name): asked[name] for name in (*_RATES, "noise")}
        self._train.add({**counts, **means, **rates, "success_rate": success_rate})
        return means

    def evaluation(self, scheduler: Scheduler, counts: Mapping[str, Any], result: Evaluation) -> None:
        """A row for an evaluation, in `eval.csv` and under `eval/` in the record."""
        row: dict[str, Any] = {
            "episodes": len(result.return_N),
            "success_rate": result.success_rate,
            "episode_return": float(result.return_N.mean()),
            "episode_length": float(result.length_N.mean()),
        }
        self._eval.add({**{name: counts[name] for name in ("env_steps", "frames", "stage", "seconds")}, **row})
        self.recorder.write(self._told(scheduler), **{f"eval/{name}": value for name, value in row.items()})

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, after everything so far was made to last."""
        return {
            "record": self.recorder.state_dict(),
            "train.csv": self._train.settle(),
            "eval.csv": self._eval.settle(),
            "sums": {name: float(value) for name, value in self._sums.items()},
            "updates": self._updates,
            "rates": self._rates,
            "moving": self._moving,
            "returns": list(self._returns),
            "lengths": list(self._lengths),
        }

    def close(self) -> None:
        """Write what waits."""
        self.recorder.close()

    def _told(self, scheduler: Scheduler) -> Any:
        """What is recorded: the same object each time."""
        if not self._events:
            return scheduler
        if self._shown is None:
            self._shown = _WithEvents(scheduler, self._events)
        return self._shown


@final
class _WithEvents:
    """A scheduler whose events have the run's own before them."""

    def __init__(self, scheduler: Scheduler, events: Sequence[Mapping[str, Any]]) -> None:
        self._scheduler, self._own = scheduler, events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        return [*self._own, *self._scheduler.events]


def _place(record: Mapping[str, Any]) -> Any:
    """Where the record goes on. A run that was killed before its first row may have got another name since."""
    return record if record["offset"] else 0
