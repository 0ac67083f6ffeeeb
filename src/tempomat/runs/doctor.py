"""What a recorded run shows, what it may come from, and what to try."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass
from typing import final

import numpy as np

from tempomat.core import RecordError
from tempomat.core.errors import did_you_mean
from tempomat.runs.diagnoses import DIAGNOSES, Case, Cause, Diagnosis, Finding, Mode
from tempomat.runs.diagnoses.case import number
from tempomat.runs.reader import Run

__all__ = ["DIAGNOSES", "Cause", "Examination", "Finding", "diagnose", "explain", "handbook"]

WIDTH = 79
"""The width of what is explained, on a terminal and in the handbook."""


@final
@dataclass(frozen=True, slots=True)
class Examination:
    """What was looked at, and what was seen.

    Args:
        metric: the measurement that was taken for the loss, or None where there was none.
        summary: how far the run went, and what the loss did, in a sentence each.
        findings: errors first, then warnings, then notes; each by its code.
    """

    metric: str | None
    summary: tuple[str, ...]
    findings: tuple[Finding, ...]


def diagnose(run: Run, *, metric: str | None = None, mode: Mode | None = None) -> Examination:
    """Look at a run for what goes wrong in training, and weigh what it may come from by what was recorded.

    Args:
        run: as `read_run` gives it.
        metric: what is taken for the loss; by default the first with 40 values, or else the one with the most, of
            success_rate and episode_return (those under `eval/` first), val_loss, loss and train_loss.
        mode: `min` if less is better, `max` if more is; may be left out where the metric's name says so, as those with
            `loss`, `accuracy`, `return` or `reward` do.

    Raises:
        RecordError: the run has no rows, or no such measurement; `mode` is missing or neither of the two.

    Example:
        >>> import tempfile
        >>> from types import SimpleNamespace
        >>> from tempomat.plan import Plan
        >>> from tempomat.runs import Recorder, read_run
        >>> plan, at = Plan({"lr": 0.1}, total=100), {"optimizer_steps": 0}
        >>> scheduler = SimpleNamespace(plan=plan, counts=at, asked={"lr": 0.1}, values={"lr": 0.1}, events=[])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Recorder(folder) as recorder:
        ...         for step in range(100):
        ...             at["optimizer_steps"] = step
        ...             recorder.write(scheduler, loss=1.5**step)
        ...     seen = diagnose(read_run(folder)).findings
        >>> seen[0].code, [(cause.weight, cause.what) for cause in seen[0].causes][:2]
        ('TD201', [('likely', 'lr too high'), ('likely', 'no warmup')])
    """
    case = Case(run, metric, mode)
    # a run that diverges may get to where sums overflow
    with np.errstate(over="ignore", invalid="ignore"):
        found = [finding for _, one in sorted(DIAGNOSES.items()) for finding in one.findings(case)]
    order = ("error", "warning", "note")
    found.sort(key=lambda one: order.index(one.severity))
    return Examination(case.curve.name if case.curve else None, tuple(_summary(case)), tuple(found))


def _summary(case: Case) -> list[str]:
    total = case.run.plan.total
    of = f" of {total:_}" if isinstance(total, int) else ""
    seed = "" if case.run.seed is None else f", seed {case.run.seed}"
    lines = [f"{len(case.run.rows):_} rows, up to {case.last:_}{of} {case.unit}{seed}"]
    if case.curve is not None and len(case.curve.finite):
        good = case.curve.finite
        since = f" since the last stage began at {case.last_stage:_}" if good.is_outcome and case.last_stage else ""
        best = "lowest" if good.mode == "min" else "highest"
        lines.append(
            f"{good.name}{since}: {len(good):_} values, first {number(good.values[0])}, {best} "
            f"{number(good.values[good.costs.argmin()])}, last {number(good.values[-1])}"
        )
    return lines


def explain(code: str) -> str:
    """All there is to say about a diagnosis, as Markdown.

    Raises:
        RecordError: there is none of that code.
    """
    if code not in DIAGNOSES:
        codes = ", ".join(sorted(DIAGNOSES))
        raise RecordError(f"no diagnosis has the code {code!r}.{did_you_mean(code, DIAGNOSES)} Codes: {codes}")
    return _explained(DIAGNOSES[code])


def _explained(one: Diagnosis) -> str:
    said = (f"{one.severity.capitalize()}. {one.what}", one.why, f"To try: {one.mend}")
    return "\n\n".join([f"## {one.code} {one.name}", *map(_wrapped, said)])


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def handbook() -> str:
    """Every diagnosis explained, as Markdown."""
    every = [one for _, one in sorted(DIAGNOSES.items())]
    table = ["| code | name | severity |", "|---|---|---|"]
    table += [f"| [{one.code}](#{one.code.lower()}-{one.name}) | {one.name} | {one.severity} |" for one in every]
    preface = [_wrapped(inspect.cleandoc(one)) for one in _PREFACE.split("\n\n")]
    return "\n\n".join(["# Doctor", *preface, "\n".join(table), *map(_explained, every)]) + "\n"


_PREFACE = """\
`tempomat doctor RUN` reads the folder of a run and says what it sees, what that may come from, and what to try. It
exits with 1 if it finds an error, with 0 if not, and with 2 if it could not look.

What is judged is the first with at least 40 values, or else the one with the most, of: what episodes came to, since
the last stage began (success_rate, then episode_return, those under eval/ first), of which more is better; and the
loss (val_loss, loss, train_loss). `--metric NAME` looks at another measurement, with `--mode max` or `min` where its
name does not say which is better. `--explain TD201` says what stands here, `--format json` is for programs.

A cause is `likely`, `possible` or `unlikely` by what the record shows, with the numbers beside it; `not told` where
what would tell was not recorded. Nothing is proved by a record of one run: change one thing, run again, and
compare. What helps it most is a loss and `grad_norm` in every row.

TD1: the run and its record. TD2: what the loss did."""
