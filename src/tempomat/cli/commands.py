"""One function per command: it asks the rooms below, prints, and returns the exit code."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

from tempomat.cli.printing import draw
from tempomat.plan import Plan, load_plan
from tempomat.plan import diff as differences
from tempomat.plan import schema as plan_schema


def usage(parser: ArgumentParser) -> int:
    """What there is to type, for who typed nothing."""
    parser.print_help(sys.stderr)
    return 2


def version() -> str:
    """The version of the package."""
    import tempomat

    return tempomat.__version__


def preview(options: Namespace) -> int:
    """Draw a plan on the terminal, or into files."""
    from tempomat.analysis.picture import terminal
    from tempomat.analysis.sample import sample

    plan = load_plan(options.plan)
    figure = sample(plan, total=options.total, rates=dict(options.rates), title=options.plan)
    for path in (wrote := draw(figure, options)):
        print(f"wrote {path}")
    if not wrote:
        print(terminal(figure, width=options.width, height=options.height, log=options.log))
    return 0


def lint(options: Namespace) -> int:
    """Look for faults in plans, or explain a code."""
    from tempomat.analysis.lint import chosen, explain, handbook, rule_of
    from tempomat.cli.findings import look_at, write

    if options.explain:
        code = options.explain.upper()
        if code.startswith("TD"):
            options.usage_error(f"{code} is the doctor's: tempomat doctor --explain {code}")
        print(handbook() if code == "ALL" else explain(rule_of(code)), end="" if code == "ALL" else "\n")
        return 0
    if not options.plans:
        options.usage_error("name a plan to look at, or give --explain CODE")
    chosen(tuple(options.select), tuple(options.ignore))
    looks = [look_at(path, options) for path in options.plans]
    write(looks, options.format)
    severities = {finding.severity for look in looks for finding in look.findings}
    return int("error" in severities or (options.strict and "warning" in severities))


def diff(options: Namespace) -> int:
    """Say what differs between two plans."""
    before: Plan = load_plan(options.before)
    changes = differences(before, load_plan(options.after))
    for change in changes:
        print(change)
    if not changes:
        print("No difference.")
    return int(bool(changes))


def schema(_: Namespace) -> int:
    """Print the JSON Schema of plans."""
    print(json.dumps(plan_schema(), indent=2, ensure_ascii=False))
    return 0
