"""The example of what is drawn when: every part runs from its plan, and its record says what each batch was."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from tempomat.runs import read_run

SCRIPT = Path(__file__).parents[2] / "examples" / "curriculum" / "train.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One seed of every part, and the folder of the recorded runs."""
    out = tmp_path_factory.mktemp("curriculum")
    return runpy.run_path(str(SCRIPT))["main"](seeds=1, out=out), out


def recorded(runs, part, entry):
    return read_run(runs[1] / part / "scheduled" / "0").series(entry).applied


def test_every_part_is_trained_both_ways(runs):
    assert sorted(runs[0]) == ["easy_first", "good_last", "rare_first", "small_first"]
    assert all(ways[way][0, -1] > 0.6 for ways in runs[0].values() for way in ("usual", "scheduled"))


def test_rare_digits_are_learned_much_earlier_when_drawn_more_often(runs):
    ways = runs[0]["rare_first"]
    assert ways["scheduled"][0, :5].mean() > ways["usual"][0, :5].mean() + 0.1


def test_the_record_has_what_was_in_force_for_every_batch(runs):
    share = recorded(runs, "easy_first", "difficulty")
    np.testing.assert_allclose(share, np.sqrt(0.09 + 0.91 * np.arange(400) / 400), rtol=1e-12, atol=0)
    good, doubtful = (recorded(runs, "good_last", f"mixture.{name}") for name in ("good", "doubtful"))
    assert (good[0], doubtful[0]) == (100, 798)
    assert good[-1] > 100 * doubtful[-1]


def test_images_had_the_size_that_is_recorded(runs):
    run = read_run(runs[1] / "small_first" / "scheduled" / "0")
    full = read_run(runs[1] / "small_first" / "usual" / "0").measured("pixels").values
    sizes, pixels = run.series("image_size").applied, run.measured("pixels").values
    assert set(sizes) == {6, 7, 8}
    np.testing.assert_array_equal(pixels, full * sizes**2 / 64)
    assert 0.71 < pixels.sum() / full.sum() < 0.73
