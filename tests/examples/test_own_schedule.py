"""The example of a schedule of one's own, run as a user would, and as a module."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np

import tempomat as tm

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_schedule.py"


def test_it_prints_its_values():
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.00015", "[3.0e-04", "1.5e-04", "7.5e-05]", "7.5e-05"]


def test_its_plan_halves_at_its_half_life_and_survives_a_file(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    module = importlib.import_module("own_schedule")
    plan = module.main()
    counts = np.arange(1_000)
    np.testing.assert_allclose(plan["lr"](counts), 3e-4 * 0.5 ** (counts / 100), rtol=1e-12, atol=0)
    text = tm.dumps_plan(plan)
    assert "type: own_schedule.HalfLife" in text
    assert tm.loads_plan(text, own=[module.HalfLife]) == plan
