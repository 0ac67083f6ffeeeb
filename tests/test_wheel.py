"""The wheel holds the whole package: a file that an ignore rule catches would be missed by users alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with ZipFile(built) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = ROOT / "src" / "tempomat"
    files = (path.relative_to(package.parent) for path in package.rglob("*") if path.is_file())
    wanted = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    assert "tempomat/py.typed" in wanted
    assert wanted == {name for name in wheel.namelist() if name.startswith("tempomat/")}


def test_the_wheel_holds_the_licences_of_its_parts(wheel):
    licences = {Path(name).name for name in wheel.namelist() if "dist-info/licenses/" in name}
    assert licences == {"LICENSE", "uPlot.LICENSE"}


def test_the_wheel_installs_the_command(wheel):
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "tempomat = tempomat.cli:main" in wheel.read(entry_points).decode()
