"""What can be typed."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from tempomat.cli import commands, comparing, converting, doctoring, listing
from tempomat.cli.printing import add_pictures, add_size
from tempomat.core import RATES, ScheduleError, Unit
from tempomat.core.clock import check_rates
from tempomat.core.errors import did_you_mean
from tempomat.core.fields import CountKind
from tempomat.core.numbers import parse_number

_EPILOG = """\
examples:
  tempomat preview plan.yaml                     draw it here
  tempomat preview plan.yaml --html plan.html    draw it as a page to explore
  tempomat lint plan.yaml --steps-per-epoch 390  look for faults
  tempomat lint --explain TM203                  say what a finding means
  tempomat doctor runs/quickstart                say what a record shows
  tempomat compare runs/one runs/two             say what differs, what it did
  tempomat convert sb3 lin_3e-4                  read another library's schedule
  tempomat list OneCycleLR                       find one by a library's name
  tempomat show one_cycle                        explain it, with its picture

exit codes:
  0  all is well
  1  lint, doctor or convert found an error, diff a difference
  2  it could not be done
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines: the usage of a command with many options would bury them."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else ""
        self.exit(2, f"{self.prog}: {message}{'.' * bool(near)}{near}\nSee `{self.prog} --help`.\n")


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    root = _Parser(
        prog="tempomat",
        description="Cruise control for training.\nDraw, check and compare plans before a run is spent on them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.set_defaults(run=lambda _: commands.usage(root))
    root.add_argument("--version", action="version", version=f"tempomat {commands.version()}")
    several = root.add_subparsers(title="commands", metavar="COMMAND")
    _preview(several)
    _lint(several)
    _diff(several)
    _schema(several)
    doctoring.add(several)
    comparing.add(several)
    converting.add(several, _run)
    listing.add(several)
    for one in (root, *several.choices.values()):
        one.set_defaults(usage_error=one.error)
    return root


def _preview(several: Any) -> None:
    one = several.add_parser("preview", help="draw a plan", description="Draw every schedule of a plan.")
    one.set_defaults(run=commands.preview)
    one.add_argument("plan", metavar="PLAN.yaml")
    add_pictures(one)
    add_size(one, "rows of each curve (default: 12 for one, 7 for several)")
    _run(one)


def _lint(several: Any) -> None:
    one = several.add_parser(
        "lint",
        help="look for faults in plans",
        description="Look for faults in plans: horizons that do not fit, jumps, impossible values, misspelt names.",
    )
    one.set_defaults(run=commands.lint)
    one.add_argument("plans", metavar="PLAN.yaml", nargs="*")
    _run(one)
    names = {"type": _names, "metavar": "A,B"}
    one.add_argument(
        "--advances", **(names | {"type": _units}), help=f"the units that the run counts: {', '.join(Unit)}"
    )
    one.add_argument("--groups", **names, help="the names of the run's param groups and optimizers")
    one.add_argument("--metrics", **names, help="the names of what the run measures")
    codes: dict[str, Any] = {"type": _codes, "action": "extend", "default": [], "metavar": "CODES"}
    one.add_argument("--select", **codes, help="only these codes, or all that begin so: TM1,TM203")
    one.add_argument("--ignore", **codes, help="not these codes, nor any that begin so")
    one.add_argument("--strict", action="store_true", help="exit with 1 for a warning too")
    one.add_argument("--format", choices=("text", "json", "github"), default="text", help="default: text")
    one.add_argument("--explain", metavar="CODE", help="say what a code means, or `all` of them, and stop")


def _diff(several: Any) -> None:
    one = several.add_parser(
        "diff",
        help="compare two plans",
        description="Say path by path what differs between two plans. Exits with 1 if anything does.",
    )
    one.set_defaults(run=commands.diff)
    one.add_argument("before", metavar="A.yaml")
    one.add_argument("after", metavar="B.yaml")


def _schema(several: Any) -> None:
    one = several.add_parser(
        "schema",
        help="print the JSON Schema of plans",
        description="Print the JSON Schema of plans, for editors that complete and check YAML.",
    )
    one.set_defaults(run=commands.schema)


def _run(one: argparse.ArgumentParser) -> None:
    """What the run knows and the plan may not say."""
    run = one.add_argument_group("the run", "what the plan does not say, or says otherwise")
    run.add_argument("--total", type=_total, metavar="T", help="its length: 10_000, 3M, '20 epochs'")
    run.add_argument(
        "--rate", type=_rate, action="append", dest="rates", default=[], metavar="NAME=N", help=argparse.SUPPRESS
    )
    for name, (unit, counted) in RATES.items():
        flag = f"--{name.replace('_', '-')}"
        what = f"{str(counted).replace('_', ' ')} in one {str(unit).removesuffix('s').replace('_', ' ')}"
        run.add_argument(flag, type=_named(name), action="append", dest="rates", metavar="N", help=what)


def _total(text: str) -> object:
    try:
        return CountKind(1).read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rate(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in RATES:
        raise argparse.ArgumentTypeError(
            f"no rate of the name {name!r}.{did_you_mean(name, RATES)} Rates: {', '.join(RATES)}"
        )
    return _named(name)(number)


def _named(name: str) -> Any:
    def read(text: str) -> tuple[str, int]:
        try:
            number = parse_number(text)
            return name, check_rates({name: int(number) if number.denominator == 1 else text})[name]
        except ScheduleError as error:
            raise argparse.ArgumentTypeError(str(error).partition(". Conversions")[0]) from None
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{name} must be a whole number, {error}") from None

    return read


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _units(text: str) -> tuple[str, ...]:
    wrong = next((name for name in _names(text) if name not in tuple(Unit)), None)
    if wrong is not None:
        raise argparse.ArgumentTypeError(
            f"no unit of the name {wrong!r}.{did_you_mean(wrong, tuple(Unit))} Units: {', '.join(Unit)}"
        )
    return _names(text)


def _codes(text: str) -> list[str]:
    return [name.upper() for name in _names(text)]
