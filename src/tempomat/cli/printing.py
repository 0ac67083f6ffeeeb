"""What several commands do alike: fit lines to the terminal, count things, write files and pictures."""

from __future__ import annotations

import shutil
import textwrap
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempomat.analysis.picture import Figure

WIDEST = 100
"""A terminal may be wider than what is comfortable to read."""


def columns(narrowest: int = 40) -> int:
    """How long lines may be: as the terminal has it, within reason."""
    return min(max(shutil.get_terminal_size().columns, narrowest), WIDEST)


def wrapped(text: str, width: int, indent: str = "", rest: str | None = None) -> list[str]:
    """A text as lines between words; `rest` indents those after the first, where it differs."""
    rest = indent if rest is None else rest
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def number(count: int, word: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def write(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    from tempomat.core import PlanError
    from tempomat.plan.atomic import write_atomically

    try:
        write_atomically(Path(path), text.encode())
    except OSError as error:
        raise PlanError(f"{path}: cannot be written: {error.strerror}") from None


def add_pictures(one: ArgumentParser, picture: str = "a picture", where: str = "there instead") -> None:
    """The options of a command that draws."""
    one.add_argument("--png", metavar="FILE", help=f"write {picture} {where}")
    one.add_argument("--html", metavar="FILE", help=f"write one self-contained page {where}, to hover and zoom")
    one.add_argument("--log", action="store_true", help="values on a logarithmic axis")


def add_size(one: ArgumentParser, height: str = "rows of each curve") -> None:
    """The options of a command that draws on the terminal."""
    one.add_argument("--width", type=whole(40), metavar="N", help="columns, at least 40 (default: the terminal's)")
    one.add_argument("--height", type=whole(2), metavar="N", help=height)


def whole(least: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"must be a whole number of at least {least}, got {text!r}")
        return int(text)

    return read


def draw(figure: Figure, options: Namespace) -> list[str]:
    """Write the pictures that were asked for; returns where they are."""
    from tempomat.analysis.picture import html, png

    if options.png:
        png(figure, options.png, log=options.log)
    if options.html:
        write(options.html, html(figure, log=options.log))
    return [path for path in (options.png, options.html) if path]
