"""The guide to controllers in the loop does what it says."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "controllers.md"


def test_the_guides_code_runs_as_it_stands(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(block for block in blocks if "val_loss=0.31" not in block)
    assert "GradientNoise" in code
    assert "Rollback" in code
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
