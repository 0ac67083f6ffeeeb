"""The arrows between the rooms, held by import-linter: on the package as it is, and on wrong ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
ALLOWED_IN_CORE = {"tempomat", "numpy", "array_api_compat"} | sys.stdlib_module_names

# A package that keeps every arrow.
RIGHT = {
    "__init__.py": "from tempomat import core, plan",
    "core/__init__.py": "import numpy",
    "plan/__init__.py": "import yaml, tempomat.core",
    "analysis/__init__.py": "import matplotlib, tempomat.plan",
    "runs/__init__.py": "import tempomat.plan",
    "runtime/__init__.py": "import tempomat.plan",
    "torch/__init__.py": "import torch, tempomat.runtime",
    "convert/__init__.py": "import tempomat.torch",
    "integrations/__init__.py": "import tempomat.runs, tempomat.convert, tempomat.torch",
    "cli/__init__.py": "import tempomat.torch, tempomat.integrations, tempomat.analysis",
    "../tempomat_rl/__init__.py": "",
    "../tempomat_rl/frames.py": "import numpy",
    "../tempomat_rl/replay/__init__.py": "import tempomat_rl.frames",
    "../tempomat_rl/train/__init__.py": "import tempomat.torch, tempomat_rl.replay",
}

# One change to it each: the room, the line added to it, and what the report must say.
WRONG = [
    ("core", "import torch", "tempomat.core -> torch"),
    ("core", "def load():\n    import yaml", "tempomat.core -> yaml"),
    ("core", "import hydra.utils", "tempomat.core -> hydra"),
    ("core", "from jax import numpy", "tempomat.core -> jax"),
    ("core", "import matplotlib.pyplot", "tempomat.core -> matplotlib"),
    ("core", "import tempomat", "tempomat.core -> tempomat"),
    ("core", "import tempomat.plan", "tempomat.core -> tempomat.plan"),
    ("plan", "import tempomat.analysis", "tempomat.plan -> tempomat.analysis"),
    ("runtime", "import tempomat.runs", "tempomat.runtime -> tempomat.runs"),
    ("runs", "import tempomat.analysis", "tempomat.runs -> tempomat.analysis"),
    ("analysis", "import tempomat.torch", "tempomat.analysis -> tempomat.torch"),
    ("torch", "import tempomat.convert", "tempomat.torch -> tempomat.convert"),
    ("convert", "import tempomat.integrations", "tempomat.convert -> tempomat.integrations"),
    ("integrations", "import tempomat.cli", "tempomat.integrations -> tempomat.cli"),
    ("cli", "import tempomat_rl", "tempomat.cli -> tempomat_rl"),
    ("attic", "", "- tempomat.attic"),
    ("../tempomat_rl/replay", "import tempomat_rl.train", "tempomat_rl.replay -> tempomat_rl.train"),
    ("../tempomat_rl/attic", "", "- tempomat_rl.attic"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter as a user would, in a folder that holds a `pyproject.toml`."""
    command = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )


def build(folder: Path, files: dict[str, str]) -> None:
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in files.items():
        path = folder / "tempomat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_package_keeps_every_contract():
    report = lint_imports(ROOT)
    assert report.returncode == 0, report.stdout


def test_a_package_that_keeps_the_arrows_passes(tmp_path):
    build(tmp_path, RIGHT)
    report = lint_imports(tmp_path)
    assert report.returncode == 0, report.stdout


@pytest.mark.parametrize(("room", "line", "said"), WRONG)
def test_one_import_against_the_arrows_is_refused_and_named(tmp_path, room, line, said):
    file = f"{room}/__init__.py"
    build(tmp_path, RIGHT | {file: f"{RIGHT.get(file, '')}\n{line}\n"})
    report = lint_imports(tmp_path)
    assert report.returncode == 1
    assert said in report.stdout


def test_core_imports_numpy_array_api_compat_and_the_standard_library_alone():
    graph = grimp.build_graph("tempomat", include_external_packages=True, cache_dir=None)
    rooms = {"tempomat.core"} | graph.find_descendants("tempomat.core")
    imported = {name for room in rooms for name in graph.find_modules_directly_imported_by(room)}
    assert "numpy" in imported
    assert {name.split(".")[0] for name in imported} <= ALLOWED_IN_CORE
