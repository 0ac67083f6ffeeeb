"""`tempomat doctor`: what a recorded run shows."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tempomat.cli.printing import columns, number, wrapped

if TYPE_CHECKING:
    from tempomat.runs.doctor import Examination, Finding


def add(several: Any) -> None:
    """Add the command to the parser."""
    one = several.add_parser(
        "doctor",
        help="look at a recorded run",
        description="Look at a recorded run: does the loss diverge, stop too early, oscillate; was the plan applied. "
        "Exits with 1 if it finds an error.",
    )
    one.set_defaults(run=doctor)
    one.add_argument("folder", metavar="RUN", nargs="?", help="the run's folder")
    one.add_argument(
        "--metric",
        metavar="NAME",
        help="what to judge (default: success_rate, episode_return, val_loss, loss or train_loss)",
    )
    one.add_argument("--mode", choices=("min", "max"), help="whether less or more of the metric is better")
    one.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    one.add_argument("--explain", metavar="CODE", help="say what a code means, or `all` of them, and stop")


def doctor(options: Namespace) -> int:
    """Say what a run shows, or explain a code."""
    from tempomat.runs.doctor import diagnose, explain, handbook
    from tempomat.runs.reader import read_run

    if options.explain:
        code = options.explain.upper()
        if code.startswith("TM"):
            options.usage_error(f"{code} is the linter's: tempomat lint --explain {code}")
        print(handbook() if code == "ALL" else explain(code), end="" if code == "ALL" else "\n")
        return 0
    if options.folder is None:
        options.usage_error("name a run's folder, or give --explain CODE")
    folder = str(options.folder)
    seen = diagnose(read_run(folder), metric=options.metric, mode=options.mode)
    for line in {"text": _text, "json": _json}[options.format](folder, seen):
        print(line)
    return int(any(one.severity == "error" for one in seen.findings))


def _text(folder: str, seen: Examination) -> Iterator[str]:
    width = columns()
    yield from wrapped(folder, width)
    for line in seen.summary:
        yield from wrapped(line, width, "  ")
    for one in seen.findings:
        yield ""
        yield from _finding(one, width)
    yield ""
    yield from wrapped(_verdict(seen), width)


def _finding(one: Finding, width: int) -> Iterator[str]:
    yield f"{one.code} {one.severity}: {one.name}"
    measured = f"measured.{one.message.split(' ', 1)[0]}"
    place = f"{one.path}: " if one.path and one.path != measured else ""
    yield from wrapped(f"{place}{one.message}.", width, "  ")
    for cause in one.causes:
        yield from wrapped(f"{cause.weight + ':':10} {cause.what}: {cause.evidence}", width, "    ", "  " + 13 * " ")
    if one.fix:
        yield from wrapped(f"try: {one.fix}.", width, "  ", "       ")


def _verdict(seen: Examination) -> str:
    counts = Counter(one.severity for one in seen.findings)
    if not counts["error"] and not counts["warning"]:
        unjudged = any(one.name == "loss-not-judged" for one in seen.findings)
        looked = "the run itself; how its loss went was not judged" if unjudged else f"the run and its {seen.metric}"
        return f"Nothing wrong was seen in {looked}."
    first = seen.findings[0].code
    said = " and ".join(number(counts[one], one) for one in ("error", "warning"))
    return f"Found {said}. `tempomat doctor --explain {first}` says more."


def _json(folder: str, seen: Examination) -> Iterator[str]:
    found = [
        {
            "run": folder,
            "code": one.code,
            "name": one.name,
            "severity": one.severity,
            "path": one.path,
            "message": one.message,
            "causes": [{"weight": each.weight, "what": each.what, "evidence": each.evidence} for each in one.causes],
            "fix": one.fix or None,
        }
        for one in seen.findings
    ]
    yield json.dumps(found, indent=2, ensure_ascii=False)
