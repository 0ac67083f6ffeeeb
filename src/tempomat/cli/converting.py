"""`tempomat convert`: another library's schedule as a plan, and a plan as what another reads."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import Any

from tempomat.cli.exporting import TARGETS, exported
from tempomat.cli.hosts import EXAMPLES, HOSTS, LENGTHS, Given, Length, megatron, unknown
from tempomat.cli.printing import whole, write
from tempomat.core import ConversionError, Fault, On, PlanError, Unit
from tempomat.core.errors import did_you_mean, list_faults, shown
from tempomat.plan import Plan, dumps_plan, save_plan
from tempomat.plan.text import parse_yaml

_RATES = {"composer": ("steps_per_epoch",), "timm": ("updates_per_epoch",)}
"""The importers that need an epoch's optimizer steps themselves, and their name for it."""
_IMPOSSIBLE = ("TM201", "TM202")
"""Values that are infinite, or that their hyperparameter cannot have."""
_ANY_TOTAL = 1_000_000
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def add(several: Any, run_options: Callable[[Any], None]) -> None:
    """Add the command to the parser."""
    one = several.add_parser(
        "convert",
        help="read another library's schedule, or write for one",
        description="Print the plan of a schedule that another library describes, or a plan as another reads it. What\n"
        "cannot be represented is named, each part with the reason, and nothing is written.\n"
        "Exits with 1 where a value is impossible, such as a negative lr.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    one.set_defaults(run=convert, hint="What the host takes is written key=value, such as lr=1e-3")
    one.add_argument("source", metavar="HOST|PLAN.yaml", help=f"one of {', '.join(HOSTS)}; or with --to a plan")
    one.add_argument("words", metavar="WHAT|KEY=VALUE", nargs="*", help="a name or file of the host, and its arguments")
    one.add_argument("-o", "--output", metavar="FILE", help="write there instead of printing")
    one.add_argument(
        "--name", metavar="ENTRY", help="the plan's entry, where the host describes one value (default: lr)"
    )
    one.add_argument("--to", choices=tuple(TARGETS), help="write a plan for this instead")
    one.add_argument("--entry", metavar="ENTRY", help="with --to: the entry of the plan, where it takes one")
    one.add_argument("--every", type=whole(1), metavar="N", help="with --to csv: a line each N counts")
    run_options(one)


def convert(options: Namespace) -> int:
    """Read another library's schedule, or write a plan for one."""
    if options.to is not None:
        text = exported(options)
        if options.output is None:
            print(text, end="" if text.endswith("\n") else "\n")
        else:
            write(options.output, text if text.endswith("\n") else f"{text}\n")
            print(f"wrote {options.output}")
        return 0
    plan = _imported(options)
    if options.output is None:
        print(dumps_plan(plan), end="")
    else:
        save_plan(plan, options.output)
        print(f"wrote {options.output}")
    return _judged(plan, options.output or options.source)


def _judged(plan: Plan, where: str) -> int:
    """Say which values no run would take, as `tempomat lint` does; returns the exit code."""
    from tempomat.analysis.lint import lint
    from tempomat.cli.findings import told

    # shares of a run that the source does not tell look alike in every run
    found = lint(plan, total=None if plan.resolved or plan.total is not None else _ANY_TOTAL, select=_IMPOSSIBLE)
    for line in (line for one in found for line in told(where, one)):
        print(line, file=sys.stderr)
    return int(bool(found))


def _imported(options: Namespace) -> Plan:
    if options.source not in HOSTS:
        if os.path.exists(options.source):
            raise ConversionError(f"{options.source}: to convert a plan say to what, --to {' or '.join(TARGETS)}")
        raise ConversionError(
            f"no host of the name {shown(options.source)}.{did_you_mean(options.source, HOSTS)} "
            f"Hosts: {', '.join(HOSTS)}"
        )
    words = list(options.words)
    length: Length | None = None
    if options.source == "megatron":
        found = megatron(words)
    else:
        what = words.pop(0) if words and not _KEY.match(words[0]) else None
        given = _arguments(words)
        for name in _RATES.get(options.source, ()):
            if "steps_per_epoch" in dict(options.rates):
                given.setdefault(name, dict(options.rates)["steps_per_epoch"])
        found = HOSTS[options.source](what, dict(given))
        length = LENGTHS.get(options.source, unknown)(what, given)
    rates = dict(options.rates)
    if isinstance(found, Plan):
        if options.name is not None:
            raise ConversionError(f"--name: {options.source} names the entries itself: {', '.join(found.schedules)}")
        total = found.total if options.total is None else options.total
        return Plan(found.schedules, total=total, clock=found.clock, rates={**found.rates, **rates})
    return _single(options.name or "lr", found, options.total, length, rates)


def _single(name: str, node: Any, total: Any, length: Length | None, rates: dict[str, int]) -> Plan:
    """A plan of one entry, on the clock that the whole of it is tied to, as long as the source's run."""
    clock: Any = Unit.OPTIMIZER_STEPS
    if node.builder() is On:
        node, clock = node.parameters()["schedule"], node.parameters()["unit"]
    elif length is not None and not node.clocks:
        clock = length[0]
    if total is None and length is not None and length[0] == clock:
        total = length[1]
    return Plan({name: node}, total=total, clock=clock, rates=rates)


def _arguments(words: Sequence[str]) -> Given:
    """`key=value` words; values as YAML has them."""
    found: Given = {}
    faults: list[Fault] = []
    for word in words:
        if not _KEY.match(word):
            faults.append(Fault(shown(word), "must be key=value, without spaces"))
            continue
        key, _, text = word.partition("=")
        if key in found:
            faults.append(Fault(key, "is given twice"))
        try:
            found[key] = parse_yaml(text, key)[0]
        except PlanError as error:
            reason = str(error).partition(": ")[2]  # after the place, which says nothing in a line
            faults.append(Fault(key, f"{shown(text)} {reason}"))
    if faults:
        raise ConversionError(list_faults("convert", faults), faults)
    return found
