"""The landing benchmark runs and compares like with like. No test here depends on a time."""

from importlib import import_module
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_one_turn_gives_a_speed_of_every_contender(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    landing = import_module("landing")
    measured = landing.measure(size=42, turns=1)
    assert measured["figures"].keys() >= {"physics, key points and reward", "camera", "physics and camera"}
    assert all(speed > 0 for figures in measured["figures"].values() for speed in figures.values())
    assert measured["passed"].keys() == measured["limits"].keys()
