"""`tempomat list` and `tempomat show`: the catalogue on a terminal, and as a page."""

from __future__ import annotations

import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tempomat.cli.printing import WIDEST, add_pictures, add_size, columns, draw, wrapped, write

if TYPE_CHECKING:
    from tempomat.analysis.catalogue import Entry

PAGE = "catalogue.md"
"""The page that `tempomat list --write` writes."""


def add(several: Any) -> None:
    """Add the commands to the parser."""
    one = several.add_parser(
        "list",
        help="list the schedules and controllers",
        description="List what a plan may name: shapes, cycles, recipes, compositions, controllers. A word chooses "
        "those that speak of it, in their names, descriptions, sources, or the names that libraries have for them.",
    )
    one.set_defaults(run=listed)
    one.add_argument("word", metavar="WORD", nargs="?", help="such as cosine, warmup, OneCycleLR, arXiv:1608.03983")
    one.add_argument("--write", metavar="FOLDER", help=f"write the whole catalogue there instead: {PAGE} and pictures")
    two = several.add_parser(
        "show",
        help="explain a schedule or controller",
        description="Show a schedule or controller: formula, ends, parameters, picture, YAML and Python to copy, and "
        "which library has it under which name.",
    )
    two.set_defaults(run=show)
    two.add_argument("name", metavar="NAME", help="a class, recipe or `type`, or a library's name: CosineAnnealingLR")
    add_pictures(two, "its picture")
    add_size(two)


def listed(options: Namespace) -> int:
    """Print the catalogue, or what of it speaks of a word."""
    from tempomat.analysis.catalogue import GROUPS, entries, search, suggestion

    if options.write:
        return _written(Path(options.write))
    chosen = search(options.word) if options.word else entries()
    if not chosen:
        near = suggestion(options.word)
        print(f"tempomat: nothing speaks of {options.word!r}.{near} `tempomat list` shows all", file=sys.stderr)
        return 2
    width, room = columns(), max(len(one.name) for one in chosen)
    for group, what in GROUPS.items():
        found = [one for one in chosen if one.group == group]
        if found:
            print(f"{group}: {what}")
        for one in found:
            print(f"  {one.name:{room}}  {_fitted(_plain(one.text.summary), width - room - 4)}".rstrip())
            names = _answering(one, options.word) if options.word else []
            for line in textwrap.wrap(", ".join(names), max(width - room - 6, 20), break_long_words=False):
                print(f"  {'':{room}}  = {line}")
        if found:
            print()
    print("`tempomat show NAME` explains one, with its picture.")
    print("`tempomat show schedule` explains functions and shapes of your own.")
    return 0


def _answering(entry: Entry, word: str) -> list[str]:
    """The names that libraries have for an entry and that the word is in."""
    return [alias for alias in entry.aliases if word.casefold() in alias.casefold()]


def show(options: Namespace) -> int:
    """Explain one entry, or draw it into a file."""
    from tempomat.analysis.catalogue import find
    from tempomat.analysis.drawing import picture_of
    from tempomat.analysis.picture import terminal

    first, *others = find(options.name)
    if options.png or options.html:
        for path in draw(picture_of(first), options):
            print(f"wrote {path}")
        return 0
    width = min(options.width or columns(), WIDEST)
    for line in _head(first, width):
        print(line)
    if first.sample is not None:
        figure = picture_of(first)
        print(terminal(figure, width=options.width or width, height=options.height, log=options.log))
        print()
    for line in _tail(first, width):
        print(line)
    if others:
        print(f"The name {options.name} also fits {', '.join(one.name for one in others)}.")
    return 0


def _head(entry: Entry, width: int) -> Iterator[str]:
    from tempomat.analysis.docstrings import split_prose
    from tempomat.analysis.formulas import as_text

    yield f"{entry.name}   {entry.group}   type: {', '.join(entry.types) or 'none, in Python only'}"
    yield ""
    yield from _wrapped(entry.text.summary, width)
    for is_formula, text in split_prose(entry.text.prose):
        for part in [text] if is_formula else text.split("\n\n"):
            yield ""
            yield from (f"    {line}" for line in as_text(part).splitlines()) if is_formula else _wrapped(part, width)
    yield ""
    if entry.parameters:
        yield "parameters"
    for one in entry.parameters:
        default = f" = {one.default}" if one.default else ""
        yield from _wrapped(f"{one.name}{default}: {one.kind}. {one.text}".rstrip(), width, "  ", "      ")
    yield ""


def _tail(entry: Entry, width: int) -> Iterator[str]:
    from tempomat.analysis.catalogue import OWN_SHAPE, by_hand
    from tempomat.plan import Plan, dumps_plan

    sample = entry.sample
    if sample is not None:
        yield "YAML"
        yield from textwrap.indent(dumps_plan(Plan({sample.name or "value": sample.tree})).rstrip(), "  ").splitlines()
        yield from ("", "Python")
        yield from textwrap.indent(sample.source, "  ").splitlines()
        yield ""
    if entry is by_hand():
        yield "a function, for quick work"
        yield from textwrap.indent(entry.text.sections["Example"], "  ").splitlines()
        yield from ("", "a shape of your own, which plans can be saved with")
        yield from textwrap.indent(OWN_SHAPE, "  ").splitlines()
        yield ""
    for heading, text in (("who has it", entry.agrees), ("source", entry.source)):
        if text:
            yield heading
            for line in text.split("\n\n"):
                yield from _wrapped(line, width, "  ")
            yield ""


def _written(folder: Path) -> int:
    """Write the page and its pictures."""
    from tempomat.analysis.gallery import PICTURES, draw, page

    pictures = folder / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    for path in draw(pictures):
        print(f"wrote {path}")
    write(folder / PAGE, page())
    print(f"wrote {folder / PAGE}")
    return 0


def _plain(text: str) -> str:
    from tempomat.analysis.formulas import inline

    return inline(text)


def _wrapped(text: str, width: int, indent: str = "", rest: str | None = None) -> list[str]:
    return wrapped(_plain(text), width, indent, rest)


def _fitted(text: str, width: int) -> str:
    return textwrap.shorten(text, max(width, 20), placeholder=" ...")
