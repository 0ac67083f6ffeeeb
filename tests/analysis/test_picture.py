"""Pictures: what a figure accepts, what the three drawings say, and what they never let through."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tempomat.analysis.picture import Figure, FigureError, Mark, Series, html, png, terminal
from tempomat.analysis.picture.axes import axis_for, log_ticks, round_ticks
from tempomat.analysis.picture.braille import Canvas, stairs
from tempomat.analysis.picture.labels import cells, count_label, fitted, plain, tick_labels, value_label
from tempomat.analysis.picture.panels import groups, split
from tempomat.analysis.picture.story import story
from tempomat.core.errors import MissingExtra

COUNTS = np.arange(0, 1001, 10)
HOSTILE = "</script><script>alert(1)</script>\x1b[2J\u202e$\\frac$\ud800"
CODES = re.compile(r"\x1b\[[0-9;]*m")


def series(name: str = "lr", values: Any = None, **changes: Any) -> Series:
    values = 3e-4 * (1 - COUNTS / 1000) if values is None else values
    good: dict[str, Any] = {"unit": "optimizer_steps", "counts": COUNTS, "values": values}
    return Series(name, **{**good, **changes})


def figure(*drawn: Series, **changes: Any) -> Figure:
    return Figure("a plan", drawn or (series(),), **changes)


def networks() -> Figure:
    stair = np.where(COUNTS < 500, 2e-4, 1e-4)
    return figure(
        series("encoder.lr", stair, steps=True, marks=(Mark(500, "stage 2"),)),
        series("actor.lr", np.full(COUNTS.size, 5e-5)),
        series("actor.weight_decay", np.full(COUNTS.size, 1e-2)),
        series("batch_size", [32, 64, 128], counts=[0, 5, 10], unit="epochs", steps=True, note="doubles twice"),
        notes=("a remark below",),
    )


# What a figure accepts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, r"Series ' ': name: must not be empty"),
        ({"counts": [], "values": []}, r"at least one count, got shape \(0,\)"),
        ({"counts": [[0], [1]], "values": [0.0, 1.0]}, r"got shape \(2, 1\)"),
        ({"counts": [0.0, 1.0], "values": [0.0, 1.0]}, r"must be integers, got float64"),
        ({"counts": [0, 2, 2], "values": [0.0, 1.0, 2.0]}, r"must increase, got 2 after 2"),
        ({"counts": [0, 1], "values": [0.0]}, r"as many as the counts, got 1 for 2"),
        ({"counts": [0], "values": [[0.0]]}, r"values: must be one row"),
        ({"counts": [0], "values": ["x"]}, r"must be real numbers"),
        ({"counts": [0, 1], "values": [0.0, np.inf]}, r"values\[1\]: must be finite, got inf. Give NaN"),
    ],
)
def test_a_series_that_cannot_be_drawn_is_refused(change: dict[str, Any], message: str):
    with pytest.raises(FigureError, match=message):
        series(**{"name": "lr", **change})


def test_every_fault_of_a_series_is_reported_at_once():
    with pytest.raises(FigureError, match="2 faults") as caught:
        series(counts=[1, 0], values=[np.inf, 1.0])
    assert [fault.path for fault in caught.value.faults] == ["counts", "values[0]"]


def test_a_series_keeps_its_own_read_only_copy():
    counts, values = np.arange(3), np.ones(3)
    one = series(counts=counts, values=values)
    counts[0], values[0] = -5, 7.0
    assert one.counts.tolist() == [0, 1, 2]
    assert one.values.tolist() == [1.0, 1.0, 1.0]
    assert not one.counts.flags.writeable
    assert not one.values.flags.writeable


def test_a_figure_needs_a_series():
    with pytest.raises(FigureError, match="needs at least one series, got none"):
        Figure("empty", ())


def test_a_figure_refuses_two_series_of_one_name_and_unit():
    with pytest.raises(FigureError, match="lr: is there 2 times in optimizer_steps"):
        figure(series(), series())
    figure(series(), series(unit="epochs"))


# Numbers and names


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *[(0.0, "0"), (-0.5, "-0.5"), (3e-4, "3e-4"), (2.84716e-4, "2.847e-4"), (1e-300, "1e-300")],
        *[(0.012345, "0.01235"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999"), (0.99995, "0.99995")],
        *[(1.0, "1"), (1234.56, "1235"), (54321.6, "54322"), (1e6, "1000000"), (1e7, "1e7"), (1.5e12, "1.5e12")],
    ],
)
def test_values_are_short(value: float, label: str):
    assert value_label(value) == label


@given(st.integers(-(2**62), 2**62))
def test_a_count_label_loses_nothing(count: int):
    label = count_label(count)
    number, size = (label[:-1], label[-1]) if label[-1].isalpha() else (label, "")
    factor = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[size]
    if "." in number:
        whole, part = number.split(".")
        assert int(whole + part) * factor // 10 ** len(part) == count
    else:
        assert int(number) * factor == count


def test_levels_that_share_no_step_are_written_in_full():
    assert tick_labels([2.5e-5, 5e-5, 1e-4]) == ["2.5e-5", "5e-5", "1e-4"]


def test_control_characters_are_spelled_out_and_letters_stay():
    assert plain("größe 網 \x1b\x07\u202e\ud800") == r"größe 網 \x1b\x07\u202e\ud800"


def test_wide_letters_take_two_columns_when_text_is_cut():
    assert cells("網絡e\u0301") == 5
    assert fitted("網絡網絡", 5) == "網絡…"


# Ticks and axes

ENDS = st.tuples(st.floats(1e-12, 1e12), st.floats(1.01, 1e9)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@given(ENDS, st.integers(3, 10), st.sampled_from([round_ticks, log_ticks]))
def test_ticks_increase_and_lie_between_the_ends(ends: tuple[float, float], most: int, ticks_of: Callable):
    ticks = ticks_of(*ends, most)
    assert 2 <= len(ticks) <= most
    assert ticks == sorted(set(ticks))
    # A tick on the end itself may differ from it by the last bits of the division.
    assert ticks[0] >= ends[0] * (1 - 1e-8)
    assert ticks[-1] <= ends[1] * (1 + 1e-8)


def test_an_axis_starts_at_zero_only_where_the_values_nearly_do():
    assert axis_for(np.array([3e-6, 3e-4])).low == 0.0
    assert axis_for(np.array([0.85, 0.95])).low == 0.85
    assert axis_for(np.array([-3e-4, -3e-6])).high == 0.0


def test_an_axis_reaches_out_to_a_round_value_that_is_near():
    assert axis_for(np.array([0.0, 9.98e-4])).high == 1e-3


def test_an_axis_names_levels_that_are_few_and_apart():
    values = np.array([32.0, 64.0, 128.0])
    assert axis_for(values, (32.0, 64.0, 128.0)).ticks(4) == [32.0, 64.0, 128.0]
    assert axis_for(values, (32.0, 64.0, 128.0)).ticks(2) == [50.0, 100.0]
    assert axis_for(np.array([0.0, 0.01, 1.0]), (0.0, 0.01, 1.0)).ticks(4) == [0.0, 0.5, 1.0]


def test_only_a_short_staircase_has_levels():
    def levels(**changes: Any) -> tuple[float, ...]:
        return groups(figure(series(**changes)))[0].panels[0].levels

    assert levels(counts=[0, 1, 2], values=[1.0, np.nan, 2.0], steps=True) == (1.0, 2.0)
    assert levels(counts=[0, 1], values=[1.0, 2.0]) == ()
    assert levels(counts=np.arange(6), values=np.arange(6.0), steps=True) == ()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lr", ("", "lr")),
        ("encoder.lr", ("encoder", "lr")),
        ("a.b.lr", ("a.b", "lr")),
        (".lr", ("", ".lr")),
        ("lr.", ("", "lr.")),
    ],
)
def test_the_last_part_of_a_name_is_the_hyperparameter(name: str, parts: tuple[str, str]):
    assert split(name) == parts


def test_a_log_axis_says_what_it_leaves_out():
    assert axis_for(np.array([0.0, 1e-9, 1e-3]), log=True).remark == "values at or below 0 are not drawn"
    assert axis_for(np.array([1e-9, 1e-3]), log=True).remark == ""
    nothing = axis_for(np.array([-1.0, 0.0]), log=True)
    assert (nothing.log, nothing.remark) == (False, "no value above 0: drawn on a linear axis")


def test_networks_share_a_panel_and_keep_their_color_while_units_stay_apart():
    steps, epochs = groups(networks())
    assert [panel.title for panel in steps.panels] == ["lr", "actor.weight_decay"]
    assert [(line.label, line.color) for line in steps.panels[0].lines] == [("encoder", 1), ("actor", 2)]
    assert steps.panels[1].lines[0].color == 2
    assert (epochs.unit, epochs.first, epochs.last, epochs.panels[0].lines[0].color) == ("epochs", 0, 10, 0)


@pytest.mark.parametrize(
    ("values", "steps", "told"),
    [
        ([0.0, 3e-4, 1e-4, 3e-6], False, "0 → 3e-4 at 1 → 3e-6"),
        ([0.95, 0.85, 0.9, 0.95], False, "0.95 → 0.85 at 1 → 0.95"),
        ([0.5, 2.0, 0.1, 1.0], False, "0.5 → 2 at 1 → 0.1 at 2 → 1"),
        ([1.0, 1.0, 1.0, 1.0 + 1e-15], False, "1 (constant)"),
        ([np.nan, 1.0, 1.0, 0.5], True, "1 → 0.5 at 3"),
        ([np.nan] * 4, False, "no values"),
    ],
)
def test_a_story_tells_first_extremes_and_last(values: list[float], steps: bool, told: str):
    assert story(series(counts=np.arange(4), values=values, steps=steps)) == told


# The terminal


def test_a_small_drawing_is_exactly_this():
    small = Figure("tiny", (series(counts=[0, 50, 100], values=[0.0, 1.0, 0.0], marks=(Mark(50, "peak"),)),))
    assert terminal(small, width=40, height=5, color=False).splitlines() == [
        "tiny",
        "",
        "lr   0 → 1 at 50 → 0",
        "1.0 ┤              ⣀⠤⠒⠑⠢⢄⡀",
        "    │          ⢀⡠⠔⠉   ┊  ⠈⠒⠤⣀",
        "0.5 ┤       ⣀⠔⠊⠁      ┊      ⠑⠢⢄",
        "    │   ⢀⡠⠒⠉          ┊         ⠉⠒⠤⡀",
        "0.0 ┤⡠⠔⠊⠁             ┊            ⠈⠑⠢⢄",
        "    │                 ▴ peak at 50",
        "    └┬────────────────────────────────┬",
        "     0                              100",
        "              optimizer_steps",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("log", [False, True])
def test_no_line_is_wider_than_asked(width: int, log: bool):
    long = series("a_very_long_name_" * 9, marks=tuple(Mark(n, f"boundary {n}") for n in range(0, 1000, 40)))
    drawn = Figure("a title " * 30, (*networks().series, long), notes=("a note " * 40,))
    lines = terminal(drawn, width=width, log=log, color=False).splitlines()
    assert max(map(cells, lines)) <= width
    assert any("more boundaries)" in line for line in lines)


def test_panels_of_one_unit_share_the_axis_below_them():
    text = terminal(networks(), width=80, color=False)
    assert [line.strip() for line in text.splitlines() if "epochs" in line or "optimizer_steps" in line] == [
        "optimizer_steps",
        "epochs",
    ]
    assert text.count("└") == 2


def test_lines_of_one_panel_carry_their_letters_with_and_without_color():
    rows = terminal(networks(), width=80, color=False).splitlines()
    assert "  a encoder   2e-4 → 1e-4 at 500" in rows
    assert "  b actor     5e-5 (constant)" in rows
    plotted = "".join(row for row in rows if "┤" in row or "│" in row)
    assert {"a", "b"} <= set(plotted)


def test_a_constant_takes_one_row_and_says_its_value():
    rows = terminal(figure(series(values=np.full(COUNTS.size, 1.5))), width=60, color=False).splitlines()
    assert rows[2] == "lr   1.5 (constant)"
    assert [row for row in rows if "┤" in row] == ["1.5 ┤" + rows[3].partition("┤")[2]]
    assert set(rows[3].partition("┤")[2]) == {"⠒"}


def test_a_gap_stays_empty():
    values = np.where((COUNTS > 300) & (COUNTS < 700), np.nan, 1.0)
    row = terminal(figure(series(values=values)), width=60, color=False).splitlines()[3].partition("┤")[2]
    assert re.fullmatch(r"\S{16,18} {21,23}\S{16,18}", row)


def test_steps_are_held_and_lines_are_joined():
    held, joined = Canvas(3, 1), Canvas(3, 1)
    x, y = np.array([0.0, 5.0]), np.array([0.0, 3.0])
    held.draw(*stairs(x, y))
    joined.draw(x, y)
    assert "".join(character for character, _ in held.row(0)) == "⣀⣀⣸"
    assert "".join(character for character, _ in joined.row(0)) == "⡠⠔⠊"


def test_what_lies_outside_the_canvas_is_cut_off():
    canvas = Canvas(2, 1)
    canvas.draw(np.array([-4.0, -1.0, np.nan, 4.0, 9.0]), np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    canvas.draw(np.array([0.0, 3.0, np.nan, 0.0, 3.0]), np.array([-1.0, -1.0, 1.0, 4.0, 4.0]))
    canvas.letter("x", -2, 0)
    canvas.letter("y", 9, 0)
    assert canvas.row(0) == [(" ", -1), (" ", -1)]


def test_a_point_between_gaps_is_a_dot():
    canvas = Canvas(3, 1)
    canvas.draw(np.array([0.0, 2.0, 5.0]), np.array([np.nan, 0.0, np.nan]))
    assert "".join(character for character, _ in canvas.row(0)) == " ⡀ "
    row = terminal(figure(series(counts=[7], values=[1.0])), width=60, color=False).splitlines()[3]
    assert len(row.partition("┤")[2].strip()) == 1


def test_the_last_count_always_has_its_label():
    ends_oddly = figure(series(counts=[0, 10_100], values=[0.0, 1.0]))
    labels = terminal(ends_oddly, width=80, color=False).splitlines()[-2].split()
    assert labels == ["0", "2k", "4k", "6k", "8k", "10.1k"]


def test_an_exponential_is_straight_on_a_log_axis():
    decay = figure(series(values=1e-3 * 10 ** (-6 * COUNTS / 1000)))
    rows = terminal(decay, width=60, height=7, log=True, color=False).splitlines()
    assert [row.split(" ┤")[0] for row in rows if "┤" in row] == ["1e-3", "1e-5", "1e-7", "1e-9"]
    starts = [len(row) - len(row[6:].lstrip()) for row in rows[3:10]]
    assert starts == [6, 13, 20, 28, 36, 44, 52]


def test_color_is_written_only_when_asked_or_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    bare = terminal(networks(), width=80, color=False)
    assert "\x1b" not in bare
    assert CODES.sub("", terminal(networks(), width=80, color=True)) == bare
    assert terminal(networks(), width=80) == bare
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\x1b[38;5;208m" in terminal(networks(), width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal(networks(), width=80) == bare
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert terminal(networks(), width=80) == bare


def test_names_cannot_steer_the_terminal():
    drawn = Figure(HOSTILE, (series(HOSTILE, unit=HOSTILE, note=HOSTILE, marks=(Mark(5, HOSTILE),)),), (HOSTILE,))
    text = terminal(drawn, width=120, color=False)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text)
    assert text.count(r"\x1b[2J\u202e") == 6


@pytest.mark.parametrize(
    ("size", "message"),
    [({"width": 39}, "`width` must be at least 40 columns, got 39"), ({"height": 1}, "`height` must be at least 2")],
)
def test_a_terminal_drawing_that_is_too_small_is_refused(size: dict[str, Any], message: str):
    with pytest.raises(FigureError, match=message):
        terminal(figure(), **size)


def test_the_width_of_the_terminal_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal(figure(), color=False) == terminal(figure(), width=72, color=False)
    monkeypatch.setenv("COLUMNS", "12")
    assert terminal(figure(), color=False) == terminal(figure(), width=40, color=False)


# The PNG


def colors(path: Path) -> dict[str, int]:
    pixels = (matplotlib.image.imread(path)[:, :, :3] * 255).round().astype(int)
    found, times = np.unique(pixels @ [65536, 256, 1], return_counts=True)
    return {f"#{color:06x}": int(n) for color, n in zip(found, times, strict=True)}


def test_a_png_shows_each_network_in_its_color(tmp_path: Path):
    png(networks(), tmp_path / "plan.png")
    found = colors(tmp_path / "plan.png")
    assert all(found.get(color, 0) > 500 for color in ("#0072b2", "#d55e00", "#009e73"))
    assert "#cc79a7" not in found


def test_a_png_on_a_log_axis_is_another_picture_and_leaves_out_zeros(tmp_path: Path):
    falls_to_zero = figure(series(values=np.where(COUNTS < 200, 1e-3, 0.0)))
    png(falls_to_zero, tmp_path / "linear.png")
    png(falls_to_zero, tmp_path / "log.png", log=True)
    blue = [colors(tmp_path / name)["#0072b2"] for name in ("linear.png", "log.png")]
    assert blue[1] < blue[0] / 2


def test_names_with_formulas_are_drawn_as_they_are(tmp_path: Path):
    named = r"$\frac_{$ %x"
    drawn = Figure(named, (series(named, unit=named, marks=(Mark(5, named),)), series(named + ".lr")), (named,))
    png(drawn, tmp_path / "plan.png")
    twins = Figure(named, (series(named + ".lr"), series("b.lr")))
    png(twins, tmp_path / "plan.png")


def test_a_series_without_values_is_an_empty_panel_everywhere(tmp_path: Path):
    nothing = figure(series(values=np.full(COUNTS.size, np.nan)))
    png(nothing, tmp_path / "plan.png")
    assert "#0072b2" not in colors(tmp_path / "plan.png")
    assert "lr   no values" in terminal(nothing, width=60)
    assert "no values" in html(nothing)


def test_a_png_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "plan.png"
    path.write_bytes(b"the one before")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(FigureError, match=r"plan\.png: cannot be written, No space left on device"):
        png(figure(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["plan.png"]
    assert path.read_bytes() == b"the one before"
    monkeypatch.undo()
    png(figure(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["plan.png"]


def test_a_png_without_its_folder_says_so(tmp_path: Path):
    with pytest.raises(FigureError, match="cannot be written, No such file or directory"):
        png(figure(), tmp_path / "missing" / "plan.png")


def test_a_png_without_matplotlib_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"needs matplotlib: pip install 'tempomat\[plot\]'"):
        png(figure(), tmp_path / "plan.png")


def test_pictures_import_matplotlib_only_for_a_png_and_pyplot_never(tmp_path: Path):
    code = (
        "import sys; from tempomat.analysis.picture import *;"
        "f = Figure('f', (Series('lr', 'epochs', [0, 1], [0., 1.]),)); terminal(f); html(f);"
        "assert 'matplotlib' not in sys.modules;"
        f"png(f, {str(tmp_path / 'f.png')!r}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# The page


class Page(HTMLParser):
    """The elements of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.append((self.open[-1], data))

    def inside(self, tag: str) -> list[str]:
        return [text for where, text in self.text if where == tag]

    def data(self) -> dict[str, Any]:
        return json.loads(self.inside("script")[0])


def test_a_page_asks_the_network_for_nothing():
    text = html(networks())
    assert not re.search(
        r"https?:|//[a-z]|\bsrc\s*=|\bhref\s*=|@import|\burl\(|\bimport\s*\(|fetch\(|XMLHttp|<link", text
    )


def test_a_page_runs_its_own_scripts_and_styles_alone():
    page = Page(html(networks()))
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}

    def admitted(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["script-src"] == [admitted(text) for text in page.inside("script")[1:]]
    assert rules["style-src"] == [admitted(text) for text in page.inside("style")]


def test_no_name_becomes_markup():
    calm = Page(html(Figure("a", (series("b.lr", marks=(Mark(5, "m"),), note="n"), series("c.lr")), ("d",))))
    nasty = series(HOSTILE + ".lr", unit=HOSTILE, marks=(Mark(5, HOSTILE),), note=HOSTILE)
    page = Page(html(Figure(HOSTILE, (nasty, series("c.lr", unit=HOSTILE)), (HOSTILE,))))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags]
    assert page.inside("title") == [plain(HOSTILE)]
    assert not set("<>&") & set(page.inside("script")[0])
    assert page.data()["groups"][0]["unit"] == plain(HOSTILE)
    assert page.data()["panels"][0]["marks"] == [[5, f"{plain(HOSTILE)} at 5"]]


def test_a_hostile_page_can_be_written_as_utf_8():
    text = html(Figure(HOSTILE, (series(HOSTILE, unit=HOSTILE),)))
    assert text.encode().decode() == text


def test_a_page_carries_every_point_exactly_and_each_grid_once():
    one, two = series("a.lr", np.sqrt(COUNTS)), series("b.lr", np.where(COUNTS == 30, np.nan, 1.0))
    data = Page(html(figure(one, two, series("b.wd", [1.0, 2.0], counts=[0, 7])))).data()
    assert data["grids"] == [COUNTS.tolist(), [0, 7]]
    lines = [line for panel in data["panels"] for line in panel["lines"]]
    assert [line["grid"] for line in lines] == [0, 0, 1]
    assert lines[0]["values"] == np.sqrt(COUNTS).tolist()
    assert [n for n, value in enumerate(lines[1]["values"]) if value is None] == [3]


def test_a_page_begins_on_the_axis_that_was_asked_for():
    assert Page(html(figure())).data()["log"] is False
    data = Page(html(figure(), log=True)).data()
    assert data["log"] is True
    assert data["panels"][0]["log_remark"] == "values at or below 0 are not drawn"


def test_a_page_has_a_table_of_key_values():
    warmup = series(counts=[0, 100, 1000], values=[0.0, 3e-4, 3e-6], marks=(Mark(100, "warmup ends"),))
    page = Page(html(figure(warmup)))
    assert page.inside("td") == ["optimizer_steps", "0", "3e-4", "0", "3e-6", "warmup ends at 100"]
    assert page.inside("small") == [" at 100", " at 0"]
    assert page.inside("h1") == ["a plan"]


def test_the_chart_library_is_the_published_one_and_its_licence_is_in_the_page():
    assets = Path(sys.modules["tempomat.analysis.picture"].__path__[0]) / "assets"
    # SHA-256 of the files of the npm package uplot 1.6.32.
    published = {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    }
    assert {name: hashlib.sha256((assets / name).read_bytes()).hexdigest() for name in published} == published
    page = Page(html(figure()))
    assert "".join(page.inside("pre")) == (assets / "uPlot.LICENSE").read_text(encoding="utf-8")
    assert page.inside("summary") == ["Charts by uPlot 1.6.32, MIT licence"]
