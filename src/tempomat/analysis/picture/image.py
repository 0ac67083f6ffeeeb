"""A figure as a PNG, by matplotlib, without a window and without touching pyplot or anyone's settings."""

from __future__ import annotations

import io
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tempomat.core.errors import MissingExtra
from tempomat.plan.atomic import write_atomically

from .figure import Figure, FigureError
from .labels import count_label, fitted, plain, tick_labels
from .panels import Group, Line, Panel, groups, mark_texts
from .story import story

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008, in an order that keeps neighbours apart for the colour-blind, then a dark slate.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#20303c")
# By place in the panel: where lines coincide, the gaps of the upper one show the lower one.
_DASHES: tuple[Any, ...] = ("-", (0, (7, 3)), (0, (3, 2)), (0, (1, 2)))
_INK, _FAINT, _GRID = "#1b1f24", "#59636e", "#e4e7eb"
_WIDTH, _ROW, _STILL_ROW = 10.0, 2.0, 0.75  # inches
_MARK_ROWS = 3
_TALLEST = 60_000  # pixels; the Agg canvas ends at 65 535


def png(figure: Figure, path: str | os.PathLike[str], *, log: bool = False) -> None:
    """Draw the figure into a PNG file: a panel per hyperparameter, one count axis per unit.

    The file appears whole or not at all; one that is there is replaced.

    Args:
        figure: what to draw.
        path: the file to write, in a folder that exists.
        log: put values on a log axis. What is not above 0 has no place there and is left out; the panel says so.

    Raises:
        MissingExtra: matplotlib is not installed.
        FigureError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Sheet
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingExtra("tempomat preview --png needs matplotlib: pip install 'tempomat[plot]'") from error
    drawn = groups(figure)
    panels = [(panel, group) for group in drawn for panel in group.panels]
    heights = [_height(panel) for panel, _ in panels]
    inches = sum(heights) + 0.55 * len(panels) + 0.4 * len(drawn) + 0.2 * len(figure.notes) + 0.6
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    sheet = Sheet(figsize=(_WIDTH, inches), dpi=min(150.0, _TALLEST / inches), layout=layout, facecolor="white")
    FigureCanvasAgg(sheet)
    sheet.suptitle(
        fitted(plain(figure.title), 90),
        x=0.01,
        ha="left",
        fontsize=13,
        fontweight="bold",
        color=_INK,
        **_words(),
    )
    axes = sheet.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (panel, group) in zip(axes, panels, strict=True):
        _draw(ax, panel, group, log)
    if figure.notes:
        remarks = "\n".join(textwrap.fill(plain(note), 130) for note in figure.notes)
        sheet.supxlabel(remarks, x=0.01, ha="left", fontsize=9, color=_FAINT, **_words())
    buffer = io.BytesIO()
    sheet.savefig(buffer, format="png")
    try:
        write_atomically(Path(path), buffer.getvalue())
    except OSError as error:
        reason = error.strerror or error
        raise FigureError(
            f"{os.fspath(path)}: cannot be written, {reason}. Choose a folder that exists and that you may write to."
        ) from error


def _words() -> dict[str, Any]:
    """Names are text: a dollar or a backslash in one starts no formula."""
    return {"parse_math": False, "usetex": False}


def _height(panel: Panel) -> float:
    legend = sum(1.6 + _told(line).count("\n") + 1 for line in panel.lines) * 0.14 if len(panel.lines) > 1 else 0.0
    return max(_STILL_ROW if panel.still else _ROW, legend)


def _draw(ax: Axes, panel: Panel, group: Group, log: bool) -> None:
    axis = panel.axis(log=log)
    ax.set_yscale("log" if axis.log else "linear")
    for index, line in enumerate(panel.lines):
        _curve(ax, line, _DASHES[index % len(_DASHES)], axis.log)
    _value_axis(ax, panel, log)
    _count_axis(ax, group, last=panel is group.panels[-1])
    rows = _marks(ax, panel, group)
    _headings(ax, panel, axis.remark, pad=7.0 + 11.0 * rows)


def _curve(ax: Axes, line: Line, dash: Any, log: bool) -> None:
    values = np.where(line.series.values > 0, line.series.values, np.nan) if log else line.series.values
    gap = np.concatenate([[True], np.isnan(values), [True]])
    alone = np.flatnonzero(~gap[1:-1] & gap[:-2] & gap[2:])
    color = _COLORS[line.color % len(_COLORS)]
    ax.plot(
        line.series.counts,
        values,
        color=color,
        linestyle=dash,
        linewidth=1.8,
        drawstyle="steps-post" if line.series.steps else "default",
        label=f"{fitted(plain(line.label), 28)}\n{_told(line)}",
    )
    ax.plot(line.series.counts[alone], values[alone], "o", color=color, markersize=4)


def _told(line: Line) -> str:
    """The line's story for the legend, broken at its arrows."""
    return textwrap.fill(
        story(line.series).replace(" at ", "\N{NO-BREAK SPACE}at\N{NO-BREAK SPACE}"),
        32,
        break_on_hyphens=False,
    )


def _value_axis(ax: Axes, panel: Panel, log: bool) -> None:
    axis, constant = panel.axis(log=log), panel.constant
    ticks = [constant] if constant is not None else [] if panel.still else axis.ticks(5)
    ax.set_yticks(ticks, tick_labels(ticks, log=axis.log))
    ax.minorticks_off()
    room = (axis.high / axis.low) ** 0.05 if axis.log else (axis.high - axis.low) * 0.05
    ax.set_ylim((axis.low / room, axis.high * room) if axis.log else (axis.low - room, axis.high + room))
    ax.tick_params(colors=_FAINT, labelsize=9, length=3)
    ax.grid(color=_GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.set_facecolor("white")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_FAINT)


def _count_axis(ax: Axes, group: Group, *, last: bool) -> None:
    # The last count always has a label; round ones too near to it give way.
    ticks = [tick for tick in group.ticks(9) if group.share(tick) < 0.95] + [group.last]
    ax.set_xticks(ticks, [count_label(tick) for tick in ticks] if last else [""] * len(ticks))
    room = max(group.last - group.first, 1) * 0.01
    ax.set_xlim(group.first - room, group.last + room)
    if last:
        ax.set_xlabel(fitted(plain(group.unit), 80), fontsize=9, color=_FAINT, **_words())


def _marks(ax: Axes, panel: Panel, group: Group) -> int:
    """Draw the boundaries, their words above the plot in as many rows as needed; give the number of rows."""
    ends = [0.0] * _MARK_ROWS
    for count, text in mark_texts(panel.marks):
        share = group.share(count)
        if not 0 <= share <= 1:
            continue
        ax.axvline(count, color=_FAINT, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
        words = fitted(plain(text), 40)
        width = 0.0072 * len(words) + 0.02
        start = share if share + width < 1.02 else share - width
        row = next((row for row, end in enumerate(ends) if start >= end), None)
        if row is None:
            continue
        ends[row] = start + width
        ax.annotate(
            words,
            (count, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2 + 11 * row),
            textcoords="offset points",
            ha="left" if start == share else "right",
            fontsize=8,
            color=_FAINT,
            **_words(),
        )
    return sum(end > 0 for end in ends)


def _headings(ax: Axes, panel: Panel, remark: str, *, pad: float) -> None:
    ax.set_title(
        fitted(plain(panel.title), 60),
        loc="left",
        fontsize=11,
        fontweight="bold",
        color=_INK,
        pad=pad,
        **_words(),
    )
    said = [*panel.notes, remark] if remark else list(panel.notes)
    if len(panel.lines) == 1:
        said.insert(0, story(panel.lines[0].series))
    else:
        legend = ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            frameon=False,
            fontsize=8.5,
            handlelength=2.8,
            labelcolor=_INK,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
            text.set_usetex(False)
    room = max(130 - 2 * len(panel.title), 40)
    ax.set_title(fitted(plain("; ".join(said)), room), loc="right", fontsize=9, color=_FAINT, pad=pad, **_words())
