"""The five-minute path of the README, walked for real: its plan, its commands, its program."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tempomat as tm
from tempomat.cli import main
from tempomat.runs import read_run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLAN = ROOT / "examples" / "quickstart" / "plan.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    program = ROOT / "examples" / "quickstart" / "train.py"
    done = subprocess.run([sys.executable, program, folder], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_readme_prints_the_plan_that_is_there():
    (printed,) = re.findall(r"```yaml\n# examples/quickstart/plan.yaml\n(.*?)```", README, re.DOTALL)
    assert printed == PLAN.read_text(encoding="utf-8")


def test_what_the_readme_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_plans_of_the_examples_have_no_errors():
    plans = [str(path) for path in (ROOT / "examples").rglob("*.yaml")]
    assert len(plans) >= 4
    assert main(["lint", "--steps-per-epoch", "22", *plans]) == 0


def test_the_program_learns_and_records_every_step_as_planned(trained):
    folder, printed = trained
    (accuracy,) = re.findall(r"validation accuracy ([\d.]+)%", printed)
    assert float(accuracy) > 85  # guessing gets 10
    run, plan = read_run(folder), tm.load_plan(PLAN).resolve()
    lr = run.series("lr")
    steps = np.unique(lr.counts)
    assert np.array_equal(steps, np.arange(440 + 1))  # 20 epochs of 22 steps
    assert np.array_equal(lr.asked, plan["lr"](lr.counts))
    assert np.array_equal(lr.applied, lr.asked)


def test_the_doctor_finds_the_program_healthy(trained, capsys):
    folder, _ = trained
    assert main(["doctor", str(folder)]) == 0
    assert "Nothing wrong was seen" in capsys.readouterr().out
