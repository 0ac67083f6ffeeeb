"""What a run of PPO writes down as it goes: the record, TensorBoard, `eval.csv`."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from tempomat.integrations.tensorboard import TensorBoard
from tempomat.runs import Recorder
from tempomat_rl.ppo.collect import Episode
from tempomat_rl.ppo.steering import Steering
from tempomat_rl.tables import Table

RECENT = 100
"""Episodes over which returns and lengths are averaged."""
LEARNING = (
    "policy_loss", "value_loss", "entropy", "approx_kl", "approx_kl_last", "clip_fraction", "explained_variance",
    "grad_norm", "grad_norm_policy", "grad_norm_value", "grad_clip_fraction", "early_stop", "epochs", "std",
    "policy_age", "corrected", "importance_weight", "batch_env_steps",
)  # fmt: skip
"""Measured once a batch; a row has the means since the row before."""
OUTCOME = ("episode_return", "episode_length", "success_rate")
THROUGHPUT = ("env_steps_per_second", "optimizer_steps_per_second", "seconds_collecting", "seconds_learning")
NORMS = ("weight_norm_policy", "weight_norm_value")
SUMS = ("batches", "refused_batches", "refused_env_steps")
MEASURED = (*OUTCOME, *LEARNING, *NORMS, *THROUGHPUT, *SUMS)
"""All that a row has besides the values of the plan."""
EVAL = ("env_steps", "episodes", "success_rate", "episode_return", "episode_return_std", "episode_length", "seconds")


@final
class PPOLog:
    """One row of everything whenever `write` is called; between two rows measurements of batches are averaged.

    Args:
        folder: the run's.
        seed, notes: for readers of the record.
        resume: what `state_dict` said when the checkpoint was taken; None for a new run.
        changed: whether settings have changed since, so that another plan than the recorded one is accepted.
    """

    def __init__(
        self, folder: Path, *, seed: int, notes: Any, resume: Mapping[str, Any] | None = None, changed: bool = False
    ) -> None:
        state: Mapping[str, Any] = resume or {}
        record = state.get("record")
        self.recorder = Recorder(
            folder,
            seed=seed,
            notes=notes,
            # a run that was killed before its first row may have got another name since
            resume=None if record is None else record if record["offset"] else 0,
            on_change="accept" if changed else "refuse",
            mirrors=[TensorBoard(folder / "tb")],
        )
        self._eval = Table(folder / "eval.csv", EVAL, offset=state.get("eval.csv", 0))
        self._sums: dict[str, list[float]] = {name: list(pair) for name, pair in state.get("sums", {}).items()}
        self._returns = deque[float](state.get("returns", ()), RECENT)
        self._lengths = deque[int](state.get("lengths", ()), RECENT)
        self._successes = deque[bool](state.get("successes", ()), RECENT)
        self._done: dict[str, float] = dict(state.get("done", {}))
        self._began = time.perf_counter()

    # what happened

    def end(self, episodes: Iterable[Episode]) -> None:
        """Episodes have ended."""
        for one in episodes:
            self._returns.append(one.total)
            self._lengths.append(one.length)
            if one.success is not None:
                self._successes.append(one.success)

    def batch(self, measured: Mapping[str, float], done: Mapping[str, float]) -> None:
        """A batch was learned from, or refused.

        Args:
            measured: means of it; one that is no number, as the variance of equal returns explained, is left out.
            done: `env_steps`, `optimizer_steps` and the seconds `collecting` and `learning`, which are summed up.
        """
        for name, value in measured.items():
            if math.isfinite(value):
                pair = self._sums.setdefault(name, [0.0, 0])
                pair[0] += value
                pair[1] += 1
        for name, amount in done.items():
            self._done[name] = self._done.get(name, 0) + amount

    @property
    def outcome(self) -> dict[str, float]:
        """Means over the last episodes; what there is none of is left out."""
        found = dict(zip(OUTCOME, (self._returns, self._lengths, self._successes), strict=True))
        return {name: math.fsum(recent) / len(recent) for name, recent in found.items() if recent}

    @property
    def waiting(self) -> bool:
        """Whether there were batches since the last row."""
        return bool(self._sums)

    # writing down

    def write(self, steering: Steering, sums: Mapping[str, float], norms: Mapping[str, float]) -> None:
        """A row: what the plan says, what was applied, and what was measured since the last one.

        Args:
            steering: the run's.
            sums: over the whole run so far, as named by `SUMS`.
            norms: of the weights.
        """
        measured = {name: total / count for name, (total, count) in self._sums.items()}
        measured |= self.outcome | {f"weight_norm_{name}": one for name, one in norms.items()}
        self.recorder.write(steering, **measured, **self._throughput(), **sums)
        self._sums, self._done = {}, {}
        self._began = time.perf_counter()

    def _throughput(self) -> dict[str, float]:
        """Speed since the last row, of the sessions' own time."""
        done, spent = self._done, self._spent
        if not done:
            return {}
        speed = {f"{unit}_per_second": done[unit] / spent for unit in ("env_steps", "optimizer_steps")}
        return speed | {f"seconds_{name}": done[name] for name in ("collecting", "learning")}

    @property
    def _spent(self) -> float:
        return self._done.get("before", 0.0) + time.perf_counter() - self._began

    def evaluation(self, steering: Steering, env_steps: int, episodes: list[Episode], seconds: float) -> dict[str, Any]:
        """A row for an evaluation, in `eval.csv` and under `eval/` in the record."""
        returns = np.array([one.total for one in episodes])
        told = [one.success for one in episodes if one.success is not None]
        row: dict[str, Any] = {
            "episodes": len(episodes),
            "episode_return": float(returns.mean()),
            "episode_return_std": float(returns.std()),
            "episode_length": float(np.mean([one.length for one in episodes])),
            **({"success_rate": float(np.mean(told))} if told else {}),
        }
        self._eval.add({"env_steps": env_steps, **row, "seconds": round(seconds, 2)})
        self.recorder.write(steering, **{f"eval/{name}": value for name, value in row.items()})
        return row

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, after everything so far was made to last."""
        return {
            "record": self.recorder.state_dict(),
            "eval.csv": self._eval.settle(),
            "sums": {name: list(pair) for name, pair in self._sums.items()},
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "successes": list(self._successes),
            "done": {**self._done, "before": self._spent} if self._done else {},
        }

    def close(self) -> None:
        """Write what waits."""
        self.recorder.close()
