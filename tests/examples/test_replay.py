"""The example of a replay: the second run has the first one's learning rates, from a file."""

import importlib.util
from pathlib import Path

import tempomat as tm

EXAMPLE = Path(__file__).parents[2] / "examples" / "replay.py"


def test_what_a_plateau_and_a_person_did_happens_again_under_another_seed(tmp_path):
    spec = importlib.util.spec_from_file_location("replay_example", EXAMPLE)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    result = example.main(str(tmp_path), str(tmp_path / "picture.png"))
    assert result["the same"]
    assert result["values"] > 4
    assert tm.load_plan(tmp_path / "replay.yaml")["lr"] == result["plan"]["lr"]
    assert (tmp_path / "picture.png").stat().st_size > 10_000
