"""The range test's example, run as a module: it finds, puts back, and its suggestions train."""

import importlib
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "range_test.py"


def test_the_suggestions_train_the_digits_and_a_tenth_of_them_falls_behind(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    module = importlib.import_module("range_test")
    found, scores = module.main(str(tmp_path / "picture.png"))
    assert 1e-3 < found.suggestion < 3e-2
    assert found.stopped
    assert min(scores[one.value] for one in found.suggestions) > 0.8
    tenth, *_, hundredfold = scores.values()  # in order of the lr
    assert scores[found.suggestion] > max(tenth, hundredfold) + 0.1
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert "validation accuracy after 3 epochs, mean of 5 seeds" in capsys.readouterr().out
