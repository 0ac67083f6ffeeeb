"""A figure as one HTML page that carries all it needs: curves to hover and zoom, a table of key values."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from string import Template
from typing import Any

from .figure import Figure, Series
from .labels import count_label, plain, value_label
from .panels import Group, Panel, groups, mark_texts
from .story import story, summary

UPLOT = "1.6.32"
_COLORS, _DASHES = 5, 4


def html(figure: Figure, *, log: bool = False) -> str:
    """Draw the figure as a whole HTML page that asks the network for nothing.

    The page holds every point it is given, at about 30 bytes each. Scripts and styles are admitted by their
    SHA-256 alone, so that no text of the figure can become one.

    Args:
        figure: what to draw.
        log: begin on a log axis; a button changes it. What is not above 0 has no place there and is left out;
            the panel says so.

    Returns:
        The page, to be written as UTF-8.
    """
    drawn = groups(figure)
    panels = [(index, panel) for index, group in enumerate(drawn) for panel in group.panels]
    style, library, script = _asset("uPlot.min.css") + _asset("page.css"), _library(), _asset("page.js")
    return Template(_asset("page.html")).substitute(
        policy=_policy(styles=[style], scripts=[library, script]),
        title=_text(figure.title),
        style=style,
        panels="\n".join(_panel(number, panel) for number, (_, panel) in enumerate(panels)),
        rows="\n".join(_row(one) for one in figure.series),
        notes=_notes(figure.notes),
        uplot=UPLOT,
        licence=_text(_asset("uPlot.LICENSE"), lines=True),
        data=_json(_data(drawn, panels, log)),
        library=library,
        script=script,
    )


@cache
def _asset(name: str) -> str:
    return (resources.files("tempomat.analysis.picture") / "assets" / name).read_text(encoding="utf-8")


def _library() -> str:
    """The chart library without its first comment, an address that no page needs; the footer names it."""
    return _asset("uPlot.iife.min.js").partition("*/")[2].strip()


def _policy(*, styles: Sequence[str], scripts: Sequence[str]) -> str:
    allowed = {"style-src": styles, "script-src": scripts}
    hashed = [f"{kind} {' '.join(_sha256(text) for text in texts)}" for kind, texts in allowed.items()]
    return "; ".join(["default-src 'none'", *hashed, "base-uri 'none'", "form-action 'none'"])


def _sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str, *, lines: bool = False) -> str:
    return escape(text if lines else plain(text), quote=True)


def _json(data: dict[str, Any]) -> str:
    """JSON that no HTML parser can read as markup, whatever the names in it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(drawn: Sequence[Group], panels: Sequence[tuple[int, Panel]], log: bool) -> dict[str, Any]:
    """Everything the script draws. Series sampled at the same counts share one grid."""
    grids: dict[bytes, int] = {}
    counts: list[list[int]] = []
    for _, panel in panels:
        for line in panel.lines:
            if grids.setdefault(line.series.counts.tobytes(), len(counts)) == len(counts):
                counts.append(line.series.counts.tolist())
    return {
        "log": log,
        "groups": [{"unit": plain(group.unit), "first": group.first, "last": group.last} for group in drawn],
        "grids": counts,
        "panels": [_panel_data(index, panel, grids) for index, panel in panels],
    }


def _panel_data(group: int, panel: Panel, grids: dict[bytes, int]) -> dict[str, Any]:
    axis = panel.axis(log=True)
    return {
        "group": group,
        "still": panel.still,
        "constant": panel.constant,
        "levels": panel.levels,
        "log_axis": axis.log,
        "log_remark": axis.remark,
        "marks": [[count, plain(text)] for count, text in mark_texts(panel.marks)],
        "lines": [
            {
                "color": line.color % _COLORS,
                "steps": line.series.steps,
                "grid": grids[line.series.counts.tobytes()],
                "values": [None if math.isnan(value) else value for value in line.series.values.tolist()],
            }
            for line in panel.lines
        ],
    }


def _panel(number: int, panel: Panel) -> str:
    single = len(panel.lines) == 1
    told = _story(panel.lines[0].series) if single else ""
    lines = "".join(_legend_entry(index, panel) for index in range(len(panel.lines)))
    label = f"{panel.title} over {panel.unit}: " + "; ".join(f"{one.label} {story(one.series)}" for one in panel.lines)
    remarks = "".join(f'<p class="remark">{_text(note)}</p>' for note in panel.notes)
    return (
        f'<section class="panel" aria-labelledby="panel-{number}">'
        f'<div class="heading"><h2 id="panel-{number}">{_text(panel.title)}</h2>'
        f'<p class="story">{told}</p></div>'
        f'{remarks}<p class="remark axis-remark" hidden></p>'
        f'<div class="body"><div class="plot" tabindex="0" role="img" aria-label="{_text(label)}"></div>'
        f'<div class="legend"><p class="at"></p><ul>{lines}</ul></div></div></section>'
    )


def _legend_entry(index: int, panel: Panel) -> str:
    line, single = panel.lines[index], len(panel.lines) == 1
    name, told = ("", "") if single else (_text(line.label), f'<span class="story">{_story(line.series)}</span>')
    return (
        f'<li><svg class="swatch line-{line.color % _COLORS} dash-{index % _DASHES}"'
        f' viewBox="0 0 28 8" aria-hidden="true">'
        f'<path d="M0 4H28"/></svg><span class="name">{name}</span><output></output>{told}</li>'
    )


def _story(series: Series) -> str:
    """The story as markup that breaks into lines at its arrows only."""
    return " → ".join(f"<span>{part}</span>" for part in story(series).split(" → "))


def _row(series: Series) -> str:
    found = summary(series)
    marks = ", ".join(text for _, text in mark_texts(series.marks))
    cells = ["no values", "", "", ""]
    if found:
        peak, low = (f"<small> at {count_label(at)}</small>" for at in (found.peak_at, found.low_at))
        cells = [
            value_label(found.first),
            value_label(found.peak) + peak,
            value_label(found.low) + low,
            value_label(found.last),
        ]
    columns = [_text(series.unit), *cells, _text(marks)]
    return f'<tr><th scope="row">{_text(series.name)}</th>' + "".join(f"<td>{cell}</td>" for cell in columns) + "</tr>"


def _notes(notes: Sequence[str]) -> str:
    return '<ul class="notes">' + "".join(f"<li>{_text(note)}</li>" for note in notes) + "</ul>" if notes else ""
