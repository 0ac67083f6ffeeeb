"""`tempomat convert --to`: a plan as what another tool reads."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any, cast

from tempomat.core import ConversionError, Node
from tempomat.plan import Plan, load_plan


def exported(options: Namespace) -> str:
    """What `--to` asks for."""
    if options.words:
        raise ConversionError(f"--to {options.to}: takes a plan and nothing else, got {' '.join(options.words)}")
    plan = load_plan(options.source)
    subject: Any = plan
    if options.entry is not None:
        subject = Plan({options.entry: plan[options.entry]}, total=plan.total, clock=plan.clock, rates=plan.rates)
    return TARGETS[options.to](subject, options)


def _csv(subject: Plan | Node, options: Namespace) -> str:
    from tempomat.convert import to_csv

    return to_csv(cast("Any", subject), every=options.every, total=options.total, **dict(options.rates))


def _rllib_list(subject: Plan, options: Namespace) -> str:
    import json

    from tempomat.convert import to_rllib

    total = subject.total if options.total is None else options.total
    if total is None:
        raise ConversionError("--to rllib: needs the run's length. Give the plan a `total`, or --total")
    return json.dumps(to_rllib(cast("Any", subject), total, **dict(options.rates)))


TARGETS: dict[str, Callable[[Any, Namespace], str]] = {"csv": _csv, "rllib": _rllib_list}
