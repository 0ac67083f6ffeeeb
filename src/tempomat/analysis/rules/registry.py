"""What a rule is, and what it finds.

A rule is a generator over a `Case`, registered under its code. Its docstring is what `--explain` says, in three
paragraphs: what it finds, why that bites, how to mend it. Its two plans differ in one line: one has the fault, one
not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, final

from tempomat.core.errors import TempomatError, did_you_mean

if TYPE_CHECKING:
    from tempomat.analysis.rules.case import Case

Severity = Literal["error", "warning"]


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a plan should not have.

    Args:
        code: the rule's, such as `TM103`.
        severity: `error` for what cannot be meant, `warning` for what seldom is.
        path: where, such as `schedules.lr.duration`.
        message: what is wrong, with the numbers.
        fix: what to do, or empty.
    """

    code: str
    severity: Severity
    path: str
    message: str
    fix: str = ""


@final
@dataclass(frozen=True, slots=True)
class Hit:
    """A finding as its rule says it; `severity` where it is not the rule's usual one."""

    path: str
    message: str
    fix: str = ""
    severity: Severity | None = None


Check = Callable[["Case"], Iterator[Hit]]


@final
@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and what there is to say about it.

    Args:
        code: its code, such as `TM103`.
        name: its name, such as `run-ends-first`.
        severity: of its findings, unless one says otherwise.
        what: what it finds.
        why: why that bites.
        mend: what to do.
        wrong: a plan with the fault, as YAML.
        right: the same plan with one line changed.
        options: what the command line gives beside the plans.
        check: the rule itself.
    """

    code: str
    name: str
    severity: Severity
    what: str
    why: str
    mend: str
    wrong: str
    right: str
    options: str
    check: Check

    def findings(self, case: Case) -> Iterator[Finding]:
        """What the rule finds in a case."""
        for hit in self.check(case):
            yield Finding(self.code, hit.severity or self.severity, hit.path, hit.message, hit.fix)


RULES: dict[str, Rule] = {}
"""Every rule by its code."""


def rule(
    code: str, name: str, severity: Severity, *, wrong: str, right: str, options: str = ""
) -> Callable[[Check], Check]:
    """Register a rule under a code."""

    def register(check: Check) -> Check:
        what, why, mend = inspect.cleandoc(check.__doc__ or "").split("\n\n")
        plans = inspect.cleandoc(wrong), inspect.cleandoc(right)
        RULES[code] = Rule(code, name, severity, what, why, mend, *plans, options, check)
        return check

    return register


def rule_of(code: str) -> Rule:
    """The rule of a code.

    Raises:
        LintError: there is none.
    """
    if code not in RULES:
        raise _no_rule(code)
    return RULES[code]


def _no_rule(code: str) -> LintError:
    return LintError(f"no rule has the code {code!r}.{did_you_mean(code, RULES)} Rules: {', '.join(sorted(RULES))}")


def few(hits: Iterable[Hit], most: int = 3) -> Iterator[Hit]:
    """The first hits of many alike; the last of them says how many more there are."""
    found = list(hits)
    for place, hit in enumerate(found[:most], 1):
        more = len(found) - most if place == most else 0
        yield replace(hit, message=f"{hit.message} ({more} more such)") if more > 0 else hit


def chosen(select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """The rules whose code starts with one of `select` (all, where it is empty) and with none of `ignore`.

    Raises:
        LintError: no rule's code starts with one of them.
    """
    for prefix in (*select, *ignore):
        if not any(code.startswith(prefix) for code in RULES):
            raise _no_rule(prefix)
    return tuple(one for code, one in sorted(RULES.items()) if is_chosen(code, select, ignore))


def is_chosen(code: str, select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> bool:
    """Whether a code starts with one of `select`, or that is empty, and with none of `ignore`."""
    return (not select or code.startswith(select)) and not (ignore and code.startswith(ignore))


class LintError(TempomatError, ValueError):
    """The linter was asked for what there is not."""
