"""The catalogue tells of everything that a plan may name, from docstrings alone, and the page is what they say."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import tempomat as tm
from tempomat.analysis.catalogue import GROUPS, OWN_SHAPE, describe, entries, find, search, suggestion
from tempomat.analysis.docstrings import read_docstring, sample_of, split_prose
from tempomat.analysis.drawing import measurements, picture_of
from tempomat.analysis.formulas import as_text, inline
from tempomat.analysis.gallery import PICTURES, page
from tempomat.analysis.picture import terminal
from tempomat.core.fields import kinds_of
from tempomat.plan.data import registry

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [one.name for one in entries()]


def entry_of(name):
    return next(one for one in entries() if one.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_every_docstring_has_every_section_and_a_word_on_each_parameter(name):
    one = entry_of(name)
    needed = {"Args", "Raises", "Agrees with", "Example"}
    assert needed <= set(one.text.sections), f"{name} lacks {needed - set(one.text.sections)}"
    assert one.text.summary.endswith((".", ")")), one.text.summary
    assert [each.name for each in one.parameters if not each.text] == []
    assert set(one.text.items("Args")) == set(kinds_of(one.builder)), "Args are not the parameters"


@pytest.mark.parametrize("name", NAMES)
def test_every_docstring_has_a_formula_that_reads_on_a_terminal(name):
    one = entry_of(name)
    if one.group == "controllers" or one.name == "IntervalTable":
        pytest.skip("a rule in words")
    assert one.text.formulas
    for formula in one.text.formulas:
        text = as_text(formula)
        assert not set("\\{}") & set(text.replace("{m : ", "").replace("t}", "")), text


@pytest.mark.parametrize("name", NAMES)
def test_every_example_makes_an_instance_that_is_drawn_and_written(name):
    one = entry_of(name)
    sample = one.sample
    assert sample is not None, f"the example of {name} has no literal instance"
    assert sample.tree.builder() is one.builder or sample.name
    figure = picture_of(one)
    assert all(np.isfinite(series.values).all() for series in figure.series)
    assert terminal(figure, width=60, color=False)
    plan = tm.Plan({sample.name or "value": sample.tree})
    assert tm.loads_plan(tm.dumps_plan(plan)) == plan


def test_nothing_that_a_plan_may_name_is_left_out():
    told = {name for one in entries() for name in one.types}
    assert set(registry()) <= told
    assert {one.group for one in entries()} == set(GROUPS)
    assert len(NAMES) == len(set(NAMES))


def test_the_page_is_up_to_date_and_its_pictures_are_there():
    assert (DOCS / "catalogue.md").read_text(encoding="utf-8") == page(), "run `tempomat list --write docs`"
    assert {path.stem for path in (DOCS / PICTURES).glob("*.png")} == set(NAMES)


SHOWN = """A made-up one, `of two lines`.

    .. math::
        v(t) = v_0

    Prose with :math:`v_0`.

    Args:
        first: what it is,
            on two lines.
        second: more.

    Agrees with:
        `lib.Thing`, whose `first` is ours.

    Example:
        >>> from os import system
        >>> parts = [1, 2]
        >>> lr = Linear(
        ...     init_value=-1.0, end_value=2e-3, duration=parts[0])
        >>> lr(0)
    """


def test_a_docstring_is_taken_apart():
    found = read_docstring(type("Shown", (), {"__doc__": SHOWN}))
    assert found.summary == "A made-up one, `of two lines`."
    assert found.formulas == ("v(t) = v_0",)
    assert split_prose(found.prose) == [(True, "v(t) = v_0"), (False, "Prose with :math:`v_0`.")]
    assert found.items("Args") == {"first": "what it is, on two lines.", "second": "more."}
    assert set(found.sections) == {"Args", "Agrees with", "Example"}
    assert read_docstring(type("Bare", (), {"__doc__": None})).summary == ""


def sampled(example):
    """What an example's text makes."""
    return sample_of(type("Made", (), {"__doc__": f"Made.\n\nExample:\n    {example}\n"}))


def test_an_instance_is_made_of_literals_calls_and_operators():
    line = tm.Linear(init_value=1.0, end_value=0.0, duration=10)
    written = "Linear(init_value=1.0, end_value=0.0, duration=10)"
    for example, tree in [
        (f"lr = {written}", line),
        (f"lr = 2 * {written} + 1", 2 * line + 1),
        (f"lr = {written}.then({written}, at=10)", line.then(line, at=10)),
        ("lr = Sum(parts=[1.0, -0.5])", tm.Sum(parts=(tm.Constant(value=1.0), tm.Constant(value=-0.5)))),
    ]:
        found = sampled(f">>> {example}")
        assert found is not None
        assert (found.name, found.tree, found.source) == ("lr", tree, example)
    found = sampled(f">>> {written}(5)")
    assert found is not None
    assert (found.name, found.tree, found.source) == ("", line, written)


@pytest.mark.parametrize(
    "example",
    [
        ">>> lr = __import__('os').system('true')",
        ">>> lr = open('/etc/passwd')",
        ">>> lr = Linear.__init__(1)",
        ">>> lr = Cosine(init_value=x, end_value=0.0, duration=10)",
        ">>> lr = Constant(value=1.0).resolve(2)",
        ">>> lr = Plan({'lr': 1.0})",
        ">>> for _ in (): pass",
        ">>> a, b = 1, 2",
        ">>> lr = Constant(value=9 ** 9 ** 9)",
        ">>> import os",
        "no example",
    ],
)
def test_nothing_else_in_an_example_is_ever_run(example):
    assert sampled(example) is None


def test_a_formula_reads_as_text():
    for latex, text in {
        r"\tfrac12 (v_0 - v_1)\,(1 + \cos(\pi x^k))": "1/2 (v₀ - v₁) (1 + cos(π xᵏ))",
        r"v_0\, r^{t / s} \qquad\text{or}\qquad v_0\, r^{\lfloor t / s \rfloor}": "v₀ r^(t / s)   or   v₀ r^⌊t / s⌋",
        r"v_{\text{peak}} \sqrt{\frac{\tau}{t + \tau}}": "v_peak √(τ / (t + τ))",
        r"k = |\{m : m \le t\}|": "k = |{m : m ≤ t}|",
        r"a \\ b &= 2": "a\nb = 2",
        r"1 + \cos \frac{\pi (1 + x)}{2}": "1 + cos((π (1 + x)) / 2)",
        r"\bar B \leftarrow d^* \cdot \Delta_{k+1}": "B̄ ← d* · Δ_(k+1)",
    }.items():
        assert as_text(latex) == text
    assert inline(r"from :math:`v_0` to `v_1`") == "from v₀ to `v_1`"


def test_a_name_is_found_by_class_type_or_any_librarys_name():
    for name, found in {
        "one_cycle": "one_cycle",
        "OneCycleLR": "one_cycle",
        "torch.optim.lr_scheduler.OneCycleLR": "one_cycle",
        "onecyclelr": "one_cycle",
        "StepDecay": "StepDecay",
        "step_decay": "step_decay",
        "StepLR": "StepDecay",
        "linear_decay": "IntervalTable",
        "wsd": "warmup_stable_decay",
        "ReduceLROnPlateau": "Plateau",
        "CosineAnnealingWarmRestarts": "WarmRestarts",
        "OneCycle": "one_cycle",
        "LRRangeTest": "PowerLaw",
        "WarmupDecayLR": "warmup_linear",
        "WarmupCosineLR": "warmup_cosine",
        "AdaptiveKLController": "KLPenalty",
        "KLAdaptiveLR": "KLAdaptive",
        "KLCoeffMixin": "KLPenalty",
        "LambdaLR": "schedule",
        "MultiplicativeLR": "schedule",
    }.items():
        assert found in [one.name for one in find(name)], name
    assert [one.name for one in find("StepDecay")] == ["StepDecay"]
    for name in ("LambdaLR", "tm.schedule", "schedule"):
        assert find(name)[0].name == "schedule"


def test_the_shape_of_ones_own_that_is_shown_works_as_it_stands(tmp_path, monkeypatch):
    (tmp_path / "my_module.py").write_text(OWN_SHAPE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("my_module")
    monkeypatch.delitem(sys.modules, "my_module")
    text = "total: 100\nschedules:\n  lr: {type: my_module.HalfLife, init_value: 3e-4, half_life: 10%}\n"
    assert tm.loads_plan(text, own=[mine.HalfLife]) == tm.Plan({"lr": mine.lr}, total=100)
    assert tm.loads_plan(text, own=[mine.HalfLife]).resolve()["lr"](20) == 7.5e-5


def test_no_example_has_a_name_that_the_linter_calls_unusual():
    named = {one.sample.name: one.sample.tree for one in entries() if one.sample and one.sample.name}
    assert not [found for found in tm.lint(tm.Plan(named, total=1_000)) if found.code == "TM404"]


def test_a_misspelt_name_is_answered_with_its_neighbour():
    for word, near in {"warmup_cosin": "warmup_cosine", "OneCyleLR": "OneCycleLR", "Polynomail": "Polynomial"}.items():
        with pytest.raises(tm.ScheduleError, match=rf"no schedule of the name '{word}'. Did you mean {near}\?"):
            find(word)
        assert suggestion(word) == f" Did you mean {near}?"
    with pytest.raises(tm.ScheduleError, match=r"no schedule of the name 'zzz'. `tempomat list` shows all"):
        find("zzz")


def test_a_word_chooses_what_speaks_of_it():
    assert "one_cycle" in [one.name for one in search("OneCycleLR")]
    assert "WarmRestarts" in [one.name for one in search("1608.03983")]
    assert "warmup_cosine" in [one.name for one in search("Warmup Cosine")]
    assert search("no such thing") == ()


def test_each_kind_of_parameter_has_its_words():
    said = {each.kind for one in entries() for each in one.parameters}
    assert {"a schedule, a controller or a number", "true or false", "a name", "a list of intervals"} <= said
    kinds = kinds_of(tm.Exponential)
    assert describe(kinds["end_value"]) == "a number, or none"
    assert describe(kinds["decay_rate"]) == "a number above 0"


@pytest.mark.parametrize("name", [one.name for one in entries() if one.group == "controllers"])
def test_a_controllers_picture_shows_it_act(name):
    figure = picture_of(entry_of(name))
    heard, level = figure.series
    assert len(set(level.values.tolist())) > 1
    sample = entry_of(name).sample
    assert sample is not None
    (rule,) = sample.tree.controllers
    assert heard.name == rule.metric
    assert heard.values.tolist() == measurements(rule)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("get_cosine_schedule_with_warmup", "warmup_cosine"),
        ("HalfCosWithWarmup", "half_cosine"),
        ("PolynomialDecay", "Polynomial"),
        ("ReduceLROnPlateau", "Plateau"),
        ("PlateauLRScheduler", "Plateau"),
        ("SeqLengthWarmup", "length_warmup"),
        ("fixed_root", "difficulty"),
        ("ExponentialDecay", "Exponential"),
        ("WSDLRScheduler", "warmup_stable_decay"),
        ("cosine_with_restarts", "CosineRestarts"),
        ("--rampup-batch-size", "batch_ramp"),
        ("WSD-S", "wsd_s"),
        ("flat-cosine", "flat_cosine"),
        ("onecycle", "one_cycle"),
        ("k_decay", "Cosine"),
        ("three_phase", "one_cycle"),
    ],
)
def test_of_several_the_one_that_is_the_whole_of_it_comes_first(name, first):
    assert find(name)[0].name == first


def test_our_own_name_comes_before_a_librarys():
    names = [one.name for one in find("exponential_decay")]
    assert names[0] == "IntervalTable"
    assert "Exponential" in names
