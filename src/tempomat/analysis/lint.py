"""What is wrong with a plan, found before it is trained."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping

from tempomat.analysis.rules import RULES, Case, Finding, LintError, Rule, chosen, is_chosen, rule_of
from tempomat.analysis.rules.files import faults_as_findings
from tempomat.analysis.study import Study
from tempomat.core import Duration, Unit
from tempomat.core.errors import did_you_mean
from tempomat.plan import Plan

__all__ = [
    "RULES",
    "Finding",
    "LintError",
    "Rule",
    "chosen",
    "explain",
    "faults_as_findings",
    "handbook",
    "is_chosen",
    "lint",
    "rule_of",
]

WIDTH = 79
"""The width of what is explained, on a terminal and in the handbook."""


def lint(
    plan: Plan,
    *,
    total: int | str | Duration | None = None,
    rates: Mapping[str, int] | None = None,
    advances: Iterable[str] | None = None,
    groups: Iterable[str] | None = None,
    metrics: Iterable[str] | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """Everything that the rules find in a plan, in the order of its entries.

    What the run will know and the plan does not say is given here. What is not given is not guessed: a length that
    cannot be resolved is a finding, and rules on groups and metrics look at nothing.

    Args:
        plan: what to look at.
        total: the run's length, where it is not the plan's.
        rates: what converts between units, over the plan's own.
        advances: the units that the run counts; by default the plan's clock and the units of its total. A rate
            converts lengths, and counts nothing.
        groups: the names of the run's param groups and optimizers.
        metrics: the names of what the run measures.
        select: codes, or beginnings of codes, to look for; all by default.
        ignore: codes, or beginnings of codes, to leave out.

    Raises:
        PlanError: `total` or `rates` is not possible.
        LintError: `advances` names no unit, `select` or `ignore` no rule.

    Example:
        >>> plan = Plan({"lr": {"type": "cosine", "init_value": 0.1, "end_value": 0.0, "duration": 60}}, total=100)
        >>> [(one.code, one.path) for one in lint(plan)]
        [('TM302', 'schedules.lr.duration')]
    """
    study = Study.of(plan, total, rates)
    counted = _counted(study) if advances is None else frozenset(map(_unit, advances))
    known = tuple(None if names is None else tuple(names) for names in (groups, metrics))
    case = Case(study, counted, advances is not None, *known)
    found = [finding for rule in chosen(tuple(select), tuple(ignore)) for finding in rule.findings(case)]
    order = {name: place for place, name in enumerate(plan.schedules)}
    return tuple(sorted(found, key=lambda one: (_place(one.path, order), one.code)))


def _counted(study: Study) -> frozenset[str]:
    """The units that a run counts as far as the plan tells."""
    total = study.plan.total
    written = {unit for unit, _ in total.terms if unit in tuple(Unit)} if isinstance(total, Duration) else set[str]()
    return frozenset({*written, str(study.plan.clock)})


def _unit(name: str) -> str:
    if name not in tuple(Unit):
        raise LintError(
            f"advances: no unit of the name {name!r}.{did_you_mean(name, tuple(Unit))} Units: {', '.join(Unit)}"
        )
    return str(name)


def _place(path: str, order: Mapping[str, int]) -> int:
    """Where the entry of a path stands in the plan; what is no entry's comes first."""
    inside = path.removeprefix("schedules.")
    names = [name for name in order if inside == name or inside.startswith((f"{name}.", f"{name}["))]
    return order[max(names, key=len)] if names else -1


def explain(rule: Rule) -> str:
    """All there is to say about a rule, as Markdown."""
    options = f" {rule.options}" if rule.options else ""
    return "\n\n".join(
        [
            f"## {rule.code} {rule.name}",
            _wrapped(f"{rule.severity.capitalize()}. {rule.what}"),
            _wrapped(rule.why),
            _wrapped(f"To mend it: {rule.mend}"),
            _wrapped(f"`tempomat lint plan.yaml{options}` finds it in"),
            f"```yaml\n{rule.wrong}\n```",
            "and not in",
            f"```yaml\n{rule.right}\n```",
        ]
    )


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def handbook() -> str:
    """Every rule explained, as Markdown."""
    table = ["| code | name | severity |", "|---|---|---|"]
    table += [f"| [{one.code}](#{one.code.lower()}-{one.name}) | {one.name} | {one.severity} |" for one in chosen()]
    preface = [_wrapped(inspect.cleandoc(one)) for one in _PREFACE.split("\n\n")]
    return "\n\n".join(["# Lint rules", *preface, "\n".join(table), *map(explain, chosen())]) + "\n"


_PREFACE = """\
`tempomat lint plan.yaml` looks for what a plan should not have before a run is spent on it. It exits with 1 if it
finds an error (with `--strict`, also for a warning), with 0 if not, and with 2 if it could not look.

What the run knows and the plan does not say is given beside it: `--total`, `--steps-per-epoch` and the other rates,
`--advances`, `--groups`, `--metrics`. `--select TM1` and `--ignore TM301` choose rules by their code or its beginning,
`--explain TM301` says what stands here, `--format json` and `--format github` are for programs.

TM0: no plan to look at. TM1: lengths, horizon, units. TM2: values. TM3: what they mean to an optimizer. TM4: names."""
