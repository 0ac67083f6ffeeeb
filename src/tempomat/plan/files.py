"""Plans in files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tempomat.core import Node, PlanError
from tempomat.plan.atomic import write_atomically
from tempomat.plan.plan import Plan
from tempomat.plan.text import MAX_BYTES, dump_yaml, parse_yaml


def loads_plan(text: str, *, source: str = "plan", own: Iterable[type[Node]] = ()) -> Plan:
    """A plan from YAML (or JSON, which is YAML).

    Args:
        text: the YAML.
        source: what errors call it.
        own: schedule classes of your own that it may name, as `type: my_module.MyShape`. Nothing is imported because
            a text names it.

    Raises:
        PlanError: every fault at once, each with its line and path.
    """
    data, lines = parse_yaml(text, source)
    return Plan.from_data(data, source=source, lines=lines, own=own)


def dumps_plan(plan: Plan) -> str:
    """YAML that reads back as an equal plan."""
    return dump_yaml(plan.to_data())


def load_plan(path: str | os.PathLike[str], *, own: Iterable[type[Node]] = ()) -> Plan:
    """A plan from a YAML file.

    Args:
        path: where it lies.
        own: schedule classes of your own that it may name, as `type: my_module.MyShape`. Nothing is imported because
            a file names it.

    Raises:
        PlanError: the file cannot be read, or every fault in it at once, each with its line and path.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise PlanError(f"{os.fspath(path)}: is too large; a plan has at most {MAX_BYTES:_} bytes")
        return loads_plan(raw.decode(), source=os.fspath(path), own=own)
    except OSError as error:
        raise PlanError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PlanError(f"{os.fspath(path)}: is not UTF-8 text (byte {error.start})") from None


def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan as YAML, atomically; `load_plan` reads back an equal one.

    Raises:
        PlanError: the plan holds a function, or the file cannot be written; what was there before is untouched.
    """
    try:
        write_atomically(Path(path), dumps_plan(plan).encode())
    except OSError as error:
        raise PlanError(f"{os.fspath(path)}: cannot be written: {error.strerror}") from None
