"""The guide to the record does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tempomat.runs import read_run
from tempomat.runs.rows import parse

GUIDE = (Path(__file__).parents[2] / "docs" / "record.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_guides_code_runs_as_it_stands(tmp_path):
    pytest.importorskip("torch")
    code = "\n".join(blocks("python"))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(read_run(tmp_path / "runs" / "first").rows) == 100


def test_the_guides_rows_are_rows():
    rows = [parse(block.encode()) for block in blocks("json")]
    assert len(rows) == 2
    assert rows[1]["measured"]["train_loss"] != rows[1]["measured"]["train_loss"]
