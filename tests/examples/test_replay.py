"""The example of a replay: the second run has the first one's learning rates, from a file."""

from loading import example

import tempomat as tm


def test_what_a_plateau_and_a_person_did_happens_again_under_another_seed(tmp_path):
    result = example("replay.py").main(str(tmp_path), str(tmp_path / "picture.png"))
    assert result["the same"]
    assert result["values"] > 4
    assert tm.load_plan(tmp_path / "replay.yaml")["lr"] == result["plan"]["lr"]
    assert (tmp_path / "picture.png").stat().st_size > 10_000
