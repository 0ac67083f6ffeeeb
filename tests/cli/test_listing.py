"""`tempomat list` and `tempomat show`: what they print, write and answer."""

import re

import pytest

from tempomat.analysis.catalogue import GROUPS, entries
from tempomat.cli import main
from tempomat.cli.listing import PAGE


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Type a command; gives the exit code, what was printed, and what was said on the error stream."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def typed(*argv):
        code = main(argv)
        return (code, *capsys.readouterr())

    return typed


def test_list_has_a_line_for_everything_under_its_chapter(run):
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines if line in {f"{k}: {v}" for k, v in GROUPS.items()}] == list(
        GROUPS
    )
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [one.name for one in entries()]
    assert max(map(len, lines)) <= 80
    assert ":math:" not in out


def test_list_finds_ours_by_a_librarys_name_and_says_which(run):
    code, out, _ = run("list", "OneCycleLR")
    assert code == 0
    assert re.search(r"one_cycle +Up from .*\n +=.*OneCycleLR", out)
    assert "InverseSqrt" not in out


def test_list_answers_a_misspelt_word_with_its_neighbour(run):
    code, out, err = run("list", "onecyclelrr")
    assert (code, out) == (2, "")
    assert "nothing speaks of 'onecyclelrr'. Did you mean OneCycleLR?" in err


@pytest.mark.parametrize("name", [one.name for one in entries()])
def test_show_explains_everything_within_the_width(run, name):
    code, out, err = run("show", name, "--width", "80")
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}   ")
    for heading in ("YAML", "Python", "who has it"):
        assert f"\n{heading}\n" in out
    assert re.search("[\u2801-\u28ff]", out), "no picture"
    assert ":math:" not in out


def test_show_says_formula_ends_parameters_and_what_to_copy(run):
    _, out, _ = run("show", "Cosine", "--width", "100")
    assert "\n    v(t) = v₁ + (v₀ - v₁) " in out
    assert "Exactly `init_value` at 0 and exactly `end_value` from `duration` on." in out
    assert "\n  init_value: a number. v₀. Any finite number" in out
    assert "\n  power = 1.0: a number above 0." in out
    assert "\n    lr: {type: cosine, init_value: 0.001, end_value: 1.0e-05, duration: 100}\n" in out
    assert "\n  lr = Cosine(init_value=1e-3, end_value=1e-5, duration=100)\n" in out
    assert "arXiv:1608.03983" in out


def test_show_takes_a_librarys_name_and_names_what_else_it_fits(run):
    _, out, _ = run("show", "ExponentialDecay")
    first = out.split()[0]
    others = out.splitlines()[-1]
    assert others.startswith("The name ExponentialDecay also fits ")
    assert {first, *re.findall(r"\w+", others)} >= {"Exponential", "Geometric", "StepDecay"}


def test_show_draws_what_a_controller_does_below_what_it_hears(run):
    _, out, _ = run("show", "Plateau")
    assert out.index("\nval_loss   ") < out.index("\nrule   ")


@pytest.mark.parametrize("name", ["schedule", "LambdaLR"])
def test_show_leads_from_a_function_to_schedules_of_ones_own(run, name):
    code, out, err = run("show", name)
    assert (code, err) == (0, "")
    assert out.startswith("schedule   by hand   type: none, in Python only\n")
    for part in (">>> lr = schedule(lambda t: ", "class HalfLife(tm.Schedule):", "own=[HalfLife]", "0.1 *\n"):
        assert part in out
    assert ("also fits" in out) == (name == "LambdaLR")
    assert "`tempomat show schedule`" in run("list")[1]
    code, _, err = run("show", name, "--html", "a.html")
    assert (code, err) == (2, "tempomat: schedule: its docstring has no example to draw\n")


def test_show_keeps_paragraphs_apart(run):
    _, out, _ = run("show", "FloorTo", "--width", "100")
    assert re.search(r"\n\nMultiples of 0, not of the first value\.", out)
    _, out, _ = run("show", "schedule", "--width", "100")
    assert "\n\nA function has no plain data: " in out


def test_show_writes_a_picture_or_a_page_instead(run, tmp_path):
    pytest.importorskip("matplotlib")
    assert run("show", "wsd", "--png", "a.png", "--html", "a.html")[1] == "wrote a.png\nwrote a.html\n"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "warmup_stable_decay" in (tmp_path / "a.html").read_text()


def test_show_of_an_unknown_name_suggests_and_exits_with_2(run):
    code, out, err = run("show", "CosineAnealingLR")
    assert (code, out) == (2, "")
    assert "no schedule of the name 'CosineAnealingLR'. Did you mean CosineAnnealingLR?" in err


def test_list_writes_the_page_and_a_picture_of_each(run, tmp_path, monkeypatch):
    few = tuple(one for one in entries() if one.name in ("Linear", "Plateau"))
    monkeypatch.setattr("tempomat.analysis.gallery.entries", lambda: few)
    code, out, _ = run("list", "--write", "docs")
    assert code == 0
    assert out.splitlines()[-1] == f"wrote docs/{PAGE}"
    text = (tmp_path / "docs" / PAGE).read_text(encoding="utf-8")
    for name in ("Linear", "Plateau"):
        assert f"![{name}](images/catalogue/{name}.png)" in text
        assert (tmp_path / "docs" / "images" / "catalogue" / f"{name}.png").stat().st_size > 5_000
    assert "### Cosine" not in text


def test_list_into_a_place_where_nothing_can_be_written_exits_with_2(run, tmp_path):
    (tmp_path / "docs").write_text("a file")
    code, _, err = run("list", "--write", "docs")
    assert code == 2
    assert "docs" in err
