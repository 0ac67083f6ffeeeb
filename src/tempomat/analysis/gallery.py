"""The catalogue as a page in Markdown: every entry with its picture, and an index by the names that libraries have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tempomat.analysis.catalogue import GROUPS, Entry, entries
from tempomat.analysis.docstrings import split_prose
from tempomat.plan import Plan, dumps_plan

PICTURES = "images/catalogue"
"""Where the page looks for its pictures, one a name."""


def page() -> str:
    """The page's text. It follows from the docstrings alone."""
    lines = [
        "# Catalogue",
        "",
        "Every schedule and controller that a plan may name: formula, ends, parameters, picture, and which library has",
        "it under which name. `tempomat show NAME` prints the same on a terminal, and takes a library's name too. This",
        "page is written by `tempomat list --write docs`.",
        "",
        *(f"- [{group.capitalize()}](#{group}): {what}" for group, what in GROUPS.items()),
        "- [By the names that libraries have](#by-the-names-that-libraries-have)",
    ]
    for group, what in GROUPS.items():
        lines += ["", f"## {group.capitalize()}", "", f"{what.capitalize()}.", ""]
        chosen = [one for one in entries() if one.group == group]
        lines += ["| name | |", "|---|---|"]
        lines += [f"| [`{one.name}`](#{_anchor(one)}) | {_cell(_math(one.text.summary))} |" for one in chosen]
        for one in chosen:
            lines += ["", *_entry(one)]
    return "\n".join([*lines, "", *_index()]) + "\n"


def draw(folder: Path) -> Iterator[Path]:
    """Draw every entry's picture into a folder, and name each file when it is written.

    Raises:
        MissingExtra: matplotlib is not installed.
        FigureError: a file cannot be written.
    """
    from tempomat.analysis.drawing import picture_of
    from tempomat.analysis.picture import png

    for one in entries():
        if one.sample is not None:
            png(picture_of(one), folder / f"{one.name}.png")
            yield folder / f"{one.name}.png"


def _anchor(entry: Entry) -> str:
    """GitHub's anchor of an entry's heading; the second of two that differ by case alone has a number."""
    return entry.name.lower()


def _entry(entry: Entry) -> Iterator[str]:
    yield from (f"### {entry.name}", "", _math(entry.text.summary), "")
    sample = entry.sample
    if sample is not None:
        yield from (f"![{entry.name}]({PICTURES}/{entry.name}.png)", "")
    for is_formula, text in split_prose(entry.text.prose):
        yield from (("```math", text, "```", "") if is_formula else (_math(text), ""))
    if entry.parameters:
        yield from ("| parameter | | default |", "|---|---|---|")
        for one in entry.parameters:
            said = _math(one.text) or f"{one.kind}."
            yield f"| `{one.name}` | {_cell(said)} | {f'`{_cell(one.default)}`' if one.default else ''} |"
        yield ""
    for heading in ("Agrees with", "Source"):
        if heading in entry.text.sections:
            yield from (f"**{heading}** {_math(' '.join(entry.text.sections[heading].split()))}", "")
    if sample is not None:
        yield from ("```python", sample.source, "```", "")
        yield from ("```yaml", dumps_plan(Plan({sample.name or "value": sample.tree})).rstrip(), "```")


def _index() -> Iterator[str]:
    yield from ("## By the names that libraries have", "", "| there | here |", "|---|---|")
    names: dict[str, list[Entry]] = {}
    for one in entries():
        for alias in one.aliases:
            names.setdefault(alias, []).append(one)
    for alias in sorted(names, key=lambda name: (name.rpartition(".")[2].lower(), name)):
        yield f"| `{alias}` | {', '.join(f'[`{one.name}`](#{_anchor(one)})' for one in names[alias])} |"


def _math(text: str) -> str:
    """Inline formulas as GitHub writes them."""
    return re.sub(r":math:`([^`]*)`", r"$`\1`$", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
