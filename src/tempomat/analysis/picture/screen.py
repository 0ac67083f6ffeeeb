"""A figure as text for a terminal. Braille dots, no library needed, so that it works after a bare install."""

from __future__ import annotations

import os
import shutil
import string
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from .axes import Axis
from .braille import ACROSS, DOWN, Canvas, stairs
from .figure import Figure, FigureError
from .labels import cells, count_label, fitted, plain, tick_labels
from .panels import Group, Line, Panel, groups, mark_texts
from .story import story

NARROWEST, WIDEST = 40, 160
# Four of the 256 colours that stay apart on black, on white and for the colour-blind; then the text's own.
_INKS = ("38;5;33", "38;5;208", "38;5;36", "38;5;175", "39")
_MARK_ROWS = 3
_BOLD, _FAINT = "1", "2"
_LETTERS = string.ascii_lowercase + string.ascii_uppercase


def terminal(
    figure: Figure,
    *,
    width: int | None = None,
    height: int | None = None,
    log: bool = False,
    color: bool | None = None,
) -> str:
    """Draw the figure as lines of text: a panel per hyperparameter, one count axis per unit.

    Args:
        figure: what to draw.
        width: columns to fill, at least 40. None takes the terminal's, between 40 and 160.
        height: rows of each panel's plot, at least 2. None takes 12 for a panel alone, and among others 7, or
            10 for one of several lines. Constants take one.
        log: put values on a log axis. What is not above 0 has no place there and is left out; the panel says so.
        color: write ANSI colours; the lines of a panel carry their letters either way. None writes them where
            stdout is a terminal and `NO_COLOR` is not set.

    Returns:
        The text, without a newline at its end. Control characters in names are spelled out.

    Raises:
        FigureError: width or height is too small.
    """
    if width is not None and width < NARROWEST:
        raise FigureError(f"terminal: `width` must be at least {NARROWEST} columns, got {width}.")
    if height is not None and height < 2:
        raise FigureError(f"terminal: `height` must be at least 2 rows, got {height}.")
    drawn = groups(figure)
    panels = [panel for group in drawn for panel in group.panels]
    alone = 12 if len(panels) == 1 else None
    screen = _Screen(width or _columns(), 0, height or alone, log, _wants_color() if color is None else color)
    screen = replace(
        screen, gutter=max((cells(label) for panel in panels for label in screen.labels(panel)), default=0)
    )
    lines = [screen.paint(fitted(plain(figure.title), screen.width), _BOLD), ""]
    for group in drawn:
        lines += [*screen.group(group), ""]
    lines += screen.remarks(figure.notes)
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")


@final
@dataclass(frozen=True, slots=True)
class _Screen:
    """The measures that all panels of one drawing share: `gutter` columns of tick labels, then the plot."""

    width: int
    gutter: int
    height: int | None
    log: bool
    color: bool

    @property
    def plot(self) -> int:
        return self.width - self.gutter - 3

    def rows(self, panel: Panel) -> int:
        """The rows of a panel's plot."""
        return 1 if panel.still else self.height or (10 if len(panel.lines) > 1 else 7)

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.color and text.strip() else text

    def group(self, group: Group) -> Iterator[str]:
        for index, panel in enumerate(group.panels):
            yield from [""] if index else []
            yield from self.header(panel)
            yield from self.curves(panel, group)
            yield from self.marks(panel, group)
        yield from self.counts(group)

    def header(self, panel: Panel) -> Iterator[str]:
        title = fitted(plain(panel.title), self.width)
        if len(panel.lines) == 1:
            text = fitted(story(panel.lines[0].series), self.width)
            beside = cells(title) + 3 + cells(text) <= self.width
            yield self.paint(title, _BOLD) + (f"   {self.paint(text, _FAINT)}" if beside else "")
            yield from [] if beside else [self.paint(text, _FAINT)]
        else:
            yield self.paint(title, _BOLD)
            yield from self.legend(panel)
        remark = panel.axis(log=self.log).remark
        yield from self.remarks((*panel.notes, remark) if remark else panel.notes)

    def legend(self, panel: Panel) -> Iterator[str]:
        names = [fitted(plain(line.label), self.width // 3) for line in panel.lines]
        longest = max(map(cells, names))
        for index, (line, name) in enumerate(zip(panel.lines, names, strict=True)):
            key = self.paint(f"{_letter(index)} {name}", _ink(line)) + " " * (longest - cells(name))
            text = fitted(story(line.series), self.width - longest - 7)
            yield f"  {key}   {self.paint(text, _FAINT)}"

    def curves(self, panel: Panel, group: Group) -> Iterator[str]:
        axis, rows = panel.axis(log=self.log), self.rows(panel)
        canvas = self.canvas(panel, group, axis)
        heights = [round(axis.share(tick) * (canvas.height - 1)) for tick in self.ticks(panel)]
        labels = {rows - 1 - up // DOWN: text for up, text in zip(heights, self.labels(panel), strict=True)}
        upright = {self.column(mark.count, group) for mark in panel.marks}
        for row in range(rows):
            label = labels.get(row, "")
            edge = f"{' ' * (self.gutter - cells(label))}{label} {'┤' if label else '│'}"
            yield self.paint(edge, _FAINT) + self.inked(canvas.row(row), panel, upright)

    def canvas(self, panel: Panel, group: Group, axis: Axis) -> Canvas:
        """The lines of a panel, and along them their letters where there are several."""
        canvas, several = Canvas(self.plot, self.rows(panel)), len(panel.lines) > 1
        # Drawn from last to first, so that the first line of the legend lies on top.
        for index, line in reversed(list(enumerate(panel.lines))):
            x, y = self.points(line, group, axis, canvas)
            canvas.draw(x, y, ink=index)
            places = _places(index, len(panel.lines), self.plot) if several else range(0)
            for at, height in zip(places, np.interp(places, x, y, left=np.nan, right=np.nan), strict=True):
                canvas.letter(_letter(index), at, height, ink=index)
        return canvas

    def ticks(self, panel: Panel) -> list[float]:
        if panel.still:
            return [] if panel.constant is None else [panel.constant]
        return panel.axis(log=self.log).ticks(self.rows(panel) // 2 + 1)

    def labels(self, panel: Panel) -> list[str]:
        return tick_labels(self.ticks(panel), log=panel.axis(log=self.log).log)

    def points(
        self, line: Line, group: Group, axis: Axis, canvas: Canvas
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        counts, values = line.series.counts.astype(np.float64), line.series.values
        if axis.log:
            values = np.log10(np.where(values > 0, values, np.nan))
        low, high = (np.log10(axis.low), np.log10(axis.high)) if axis.log else (axis.low, axis.high)
        x = (counts - group.first) / max(group.last - group.first, 1) * (canvas.width - 1)
        y = (values - low) / (high - low) * (canvas.height - 1)
        return stairs(x, y) if line.series.steps else (x, y)

    def inked(self, row: list[tuple[str, int]], panel: Panel, upright: set[int]) -> str:
        """A row of characters, each run of one ink painted once, with boundaries where nothing else is."""
        runs: list[tuple[str, str]] = []
        for column, (character, ink) in enumerate(row):
            boundary = ink < 0 and column in upright
            style = _FAINT if boundary else _ink(panel.lines[ink]) if ink >= 0 else ""
            text = "┊" if boundary else character
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + text, style)
            else:
                runs.append((text, style))
        return "".join(self.paint(text, style) if style else text for text, style in runs)

    def column(self, count: int, group: Group) -> int:
        """The column of the plot that shows this count; -1 for a count outside."""
        inside = group.first <= count <= group.last
        return round(group.share(count) * (self.plot * ACROSS - 1)) // ACROSS if inside else -1

    def counts(self, group: Group) -> Iterator[str]:
        """The axis below a group: its rule with ticks, and their labels, of which the last always stands."""
        # The ends claim their places before the round counts between them.
        labelled = [group.first, group.last, *group.ticks(max(self.plot // 12, 2))]
        rule, text = ["─"] * self.plot, [" "] * (self.gutter + 2 + self.plot)
        for column, label in ((self.column(count, group), count_label(count)) for count in labelled):
            start = min(max(self.gutter + 2 + column - len(label) // 2, 0), len(text) - len(label))
            if column >= 0 and not "".join(text[max(start - 2, 0) : start + len(label) + 2]).strip():
                text[start : start + len(label)] = label
                rule[column] = "┬"
        yield self.paint(" " * (self.gutter + 1) + "└" + "".join(rule), _FAINT)
        yield self.paint("".join(text).rstrip(), _FAINT)
        unit = fitted(plain(group.unit), self.plot)
        yield self.paint(" " * (self.gutter + 2 + (self.plot - cells(unit)) // 2) + unit, _FAINT)

    def marks(self, panel: Panel, group: Group) -> Iterator[str]:
        """The boundaries of a panel, each word under its column, in as few rows as they need."""
        rows: list[str] = []
        waiting = [mark for mark in mark_texts(panel.marks) if self.column(mark[0], group) >= 0]
        while waiting and len(rows) < _MARK_ROWS:
            row, left = "", list[tuple[int, str]]()
            for count, text in waiting:
                placed = self.placed(row, self.column(count, group), fitted(plain(text), self.plot // 2))
                row = placed or row
                left += [] if placed else [(count, text)]
            rows.append(row)
            waiting = left
        if waiting:
            rows.append(" " * (self.gutter + 2) + fitted(f"({len(waiting)} more boundaries)", self.plot))
        # The group's axis comes next below its last panel: carry its edge on down to it.
        edge = " " * (self.gutter + 1) + ("│" if panel is group.panels[-1] else " ")
        yield from (self.paint(edge + row[len(edge) :], _FAINT) for row in rows)

    def placed(self, row: str, column: int, text: str) -> str:
        """The row with a boundary's words added, right of its column or else left; empty if neither fits."""
        at = self.gutter + 2 + column
        free = cells(row) + 2 if row else self.gutter + 2
        if free <= at and at + 2 + cells(text) <= self.width:
            return row + " " * (at - cells(row)) + f"▴ {text}"
        start = at - cells(text) - 1
        return row + " " * (start - cells(row)) + f"{text} ▴" if free <= start else ""

    def remarks(self, notes: tuple[str, ...]) -> list[str]:
        rows = [row for note in notes for row in textwrap.wrap(plain(note), self.width - 2)]
        return [self.paint(f"  {row}", _FAINT) for row in rows]


def _ink(line: Line) -> str:
    return _INKS[line.color % len(_INKS)]


def _letter(index: int) -> str:
    return _LETTERS[index % len(_LETTERS)]


def _places(index: int, lines: int, columns: int) -> range:
    """Where along its curve a line carries its letter, in dots: no two lines at the same place."""
    every = max(6 * lines, 24)
    first = 4 + index * every // lines
    return range(ACROSS * first, ACROSS * columns, ACROSS * every)


def _columns() -> int:
    return min(max(shutil.get_terminal_size((80, 24)).columns, NARROWEST), WIDEST)


def _wants_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
