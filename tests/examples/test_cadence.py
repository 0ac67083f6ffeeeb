"""The example of moments: a resumed run evaluates and saves at the same counts, and the plan's moments tell more."""

from loading import example


def test_a_run_that_was_broken_off_evaluates_and_saves_as_the_unbroken_one(tmp_path):
    module = example("cadence.py")
    result = module.main(tmp_path / "picture.png")
    assert result["resumed the same"]
    assert result["evaluated"][:4] == [4, 8, 12, 16]
    assert result["evaluated"][-1] == module.UPDATES
    assert result["saved"] == [10, 18, 32, 56, 100, 178, 316]
    assert result["missed"] < 0.2 * result["missed evenly"]
    assert (tmp_path / "picture.png").stat().st_size > 10_000
