"""The codes of what is found before there is a plan to look at."""

from __future__ import annotations

from collections.abc import Iterator

from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.registry import Finding, Hit, rule
from tempomat.core import Fault, PlanError


@rule(
    "TM001",
    "invalid-plan",
    "error",
    wrong="""
        total: 10_000
        schedules:
          lr: {type: cosin, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
    right="""
        total: 10_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
)
def invalid_plan(_: Case) -> Iterator[Hit]:
    """The plan is not valid: a name that there is not, a value that is none, a parameter that is missing.

    Each fault is one finding, with the same words that loading the plan would raise. While there is one, no other
    rule looks at the plan.

    As the message says.
    """
    yield from ()


@rule(
    "TM002",
    "unreadable-plan",
    "error",
    wrong="""
        total: 10_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%
    """,
    right="""
        total: 10_000
        schedules:
          lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
)
def unreadable_plan(_: Case) -> Iterator[Hit]:
    """The file cannot be read, or is no plain YAML: a bracket that is not closed, a key that stands twice, an alias.

    Anchors, aliases and tags are refused, and so are files above the documented sizes: a plan is data and nothing
    else.

    As the message says.
    """
    yield from ()


def faults_as_findings(error: PlanError) -> tuple[Finding, ...]:
    """What loading a plan refused, in the shape of findings."""
    return tuple(map(_finding, error.faults))


def _finding(fault: Fault) -> Finding:
    message, _, fix = fault.message.partition(". ")
    return Finding("TM001" if fault.path else "TM002", "error", fault.path, message, fix)
