"""Findings with their files and lines, in the formats that people and programs read."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from tempomat.analysis.lint import RULES, Finding, faults_as_findings, is_chosen
from tempomat.analysis.lint import lint as find
from tempomat.cli.printing import number
from tempomat.core import PlanError
from tempomat.plan import load_plan
from tempomat.plan.text import Lines, parse_yaml


@final
@dataclass(frozen=True, slots=True)
class Look:
    """What was found in one file.

    Args:
        file: as it was typed.
        findings: in the order of their lines.
        lines: the line of each finding, or None where it has none.
        remark: what could not be looked at, or empty.
    """

    file: str
    findings: tuple[Finding, ...]
    lines: tuple[int | None, ...]
    remark: str = ""


def look_at(file: str, options: Namespace) -> Look:
    """Lint one file. A plan that cannot be read is a finding too."""
    remark, lines = "", dict[str, int]()
    try:
        plan = load_plan(file)
    except PlanError as error:
        found, lines = _refused(file, error, lines)
        found = tuple(one for one in found if is_chosen(one.code, tuple(options.select), tuple(options.ignore)))
    else:
        lines = _lines(file)
        if plan.total is None and options.total is None:
            remark = "has no total, so nothing was checked against the run's length. Give --total"
        found = find(
            plan,
            total=options.total,
            rates=dict(options.rates),
            advances=options.advances,
            groups=options.groups,
            metrics=options.metrics,
            select=options.select,
            ignore=options.ignore,
        )
    order = sorted(found, key=lambda one: _line(one.path, lines) or 0)
    return Look(file, tuple(order), tuple(_line(one.path, lines) for one in order), remark)


def _refused(file: str, error: PlanError, lines: Lines) -> tuple[tuple[Finding, ...], Lines]:
    """The faults of a plan that is refused; what has no path says its line itself."""
    found = faults_as_findings(error)
    if any(one.path for one in found):
        return found, _lines(file)
    located = re.match(rf"{re.escape(file)}(?:, line (\d+))?: (.*)", found[0].message, re.DOTALL)
    if located is None:
        return found, lines
    line, message = located.groups()
    return (replace(found[0], message=message),), {"": int(line)} if line else lines


def _lines(file: str) -> Lines:
    """On which line each path of a file stands; nothing where it cannot be read again."""
    try:
        with open(file, encoding="utf-8") as text:
            return parse_yaml(text.read(), file)[1]
    except (OSError, ValueError):
        return {}


def _line(path: str, lines: Lines) -> int | None:
    """The line of a path, or of what holds it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)


def write(looks: Sequence[Look], form: str) -> None:
    """Print what was found."""
    lines = {"text": _text, "json": _json, "github": _github}[form](looks)
    for line in lines:
        print(line)


def _pairs(looks: Sequence[Look]) -> Iterator[tuple[str, int | None, Finding]]:
    for look in looks:
        yield from ((look.file, line, one) for line, one in zip(look.lines, look.findings, strict=True))


def _text(looks: Sequence[Look]) -> Iterator[str]:
    for file, line, one in _pairs(looks):
        yield from told(f"{file}:{line}" if line else file, one)
    yield from (f"{look.file}: {look.remark}." for look in looks if look.remark)
    counts = Counter(one.severity for _, _, one in _pairs(looks))
    plans = number(len(looks), "plan")
    if counts:
        yield f"Found {number(counts['error'], 'error')} and {number(counts['warning'], 'warning')} in {plans}."
        codes = sorted({one.code for _, _, one in _pairs(looks)})
        yield f"`tempomat lint --explain {codes[0]}` says more."
    else:
        yield f"Found nothing in {plans}."


def told(where: str, one: Finding) -> Iterator[str]:
    """A finding as people read it."""
    yield f"{where}: {one.code} {one.severity} {one.path + ': ' if one.path else ''}{one.message}"
    if one.fix:
        yield f"    fix: {_ended(one.fix)}"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def _json(looks: Sequence[Look]) -> Iterator[str]:
    found = [
        {
            "file": file,
            "line": line,
            "code": one.code,
            "name": RULES[one.code].name,
            "severity": one.severity,
            "path": one.path,
            "message": one.message,
            "fix": one.fix or None,
        }
        for file, line, one in _pairs(looks)
    ]
    yield json.dumps(found, indent=2, ensure_ascii=False)


def _github(looks: Sequence[Look]) -> Iterator[str]:
    """Workflow commands, which GitHub shows beside the lines of a pull request."""
    for file, line, one in _pairs(looks):
        title = f"{one.code} {RULES[one.code].name}"
        message = f"{one.path + ': ' if one.path else ''}{one.message}" + (f". {_ended(one.fix)}" if one.fix else "")
        place = f"file={_property(file)}" + (f",line={line}" if line else "")
        yield f"::{one.severity} {place},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
