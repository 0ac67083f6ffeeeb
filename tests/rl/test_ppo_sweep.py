"""Sweeps as they are typed: runs at the same time, one that fails among them, and sweeps that are broken off."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rl.runs import TINY_PPO
from rl.test_ppo_resume import rows

from tempomat.cli import main as tempomat
from tempomat.core import MissingExtra
from tempomat_rl.ppo.config import compose, main
from tempomat_rl.ppo.train import train
from tempomat_rl.program import sweeping

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "env=CartPole-v1",
    *TINY_PPO,
    "num_eval_episodes=2",
    "num_final_episodes=3",
]
LONG = 120.0


@contextmanager
def sweep(folder, *arguments, **more):
    """The command, begun in a folder, in a process group that a terminal's Ctrl-C would reach."""
    command = [sys.executable, str(ROOT / "train_ppo.py"), "-m", *SMALL, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LONG)


def ended(process):
    """Its status and what it said."""
    said, _ = process.communicate(timeout=LONG)
    return process.returncode, said


def folders(folder):
    """The runs of the only sweep in a folder, in their order."""
    (one,) = (folder / "exp_local" / "multirun").glob("*/*")
    return sorted(path for path in one.iterdir() if path.name[0] != ".")


def alone(folder, *arguments):
    train(compose([*SMALL, *arguments, f"checkpoint_dir={folder}"]))
    return rows(folder)


def wait_for(path_pattern, folder, count):
    deadline = time.monotonic() + LONG
    while len(list(folder.glob(path_pattern))) < count:
        assert time.monotonic() < deadline, f"{path_pattern} did not come"
        time.sleep(0.05)


def test_runs_at_the_same_time_have_their_own_numbers_and_compare_pairs_their_seeds(tmp_path, capsys):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    with sweep(tmp_path, "lr_schedule=linear,cosine", "seed=1,2", *launcher) as process:
        status, said = ended(process)
    assert status == 0, said
    found = folders(tmp_path)
    assert [path.name[0] for path in found] == ["0", "1", "2", "3"]
    assert rows(found[1]) == alone(tmp_path / "one", "lr_schedule=linear", "seed=2")
    capsys.readouterr()
    assert tempomat(["compare", *map(str, found)]) == 0
    told = capsys.readouterr().out
    assert told.count("seeds 1, 2;") == 2
    assert "paired over 2 seeds" in " ".join(told.split())


def test_ctrl_c_saves_every_run_and_the_command_that_is_told_goes_on_with_all(tmp_path, monkeypatch, capsys):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    with sweep(tmp_path, "seed=1,2,3", *parallel, "save_every=500", "total_env_steps=100M") as process:
        wait_for("exp_local/multirun/*/*/*/snapshot.previous.pt", tmp_path, 2)
        os.killpg(process.pid, signal.SIGINT)
        status, said = ended(process)
    assert status == 130, said
    assert said.count("interrupted; saved ") == 2
    begun = folders(tmp_path)
    assert [path.name[0] for path in begun] == ["0", "1", "2"]
    assert not list(begun[2].iterdir())
    (told,) = re.findall(r"To go on with it:\n  (.+)\n", said)
    typed = shlex.split(told)
    assert typed[:3] == ["python", "train_ppo.py", "-m"]
    assert typed[-2] == "total_env_steps=100M"
    monkeypatch.chdir(tmp_path)
    # from where they are, to an end that is soon
    main(argv=[*(one for one in typed[2:] if one not in parallel), "total_env_steps=100", "on_change=replace"])
    assert capsys.readouterr().out.count("goes on from snapshot.pt") == 2
    assert [json.loads((path / "result.json").read_text())["finished"] for path in begun] == [True] * 3


def test_a_sweep_that_was_killed_goes_on_and_leaves_finished_runs_as_they_are(tmp_path, monkeypatch, capsys):
    longer = ["total_env_steps=3k", "save_every=20%"]
    with sweep(tmp_path, "seed=1,2", *longer):
        wait_for("exp_local/multirun/*/*/1_*/snapshot.previous.pt", tmp_path, 1)
    finished, broken = folders(tmp_path)[:2]
    before = {path: path.read_bytes() for path in finished.glob("[!.]*.*")}
    monkeypatch.chdir(tmp_path)
    main(argv=["-m", *SMALL, "seed=1,2", *longer, f"hydra.sweep.dir={finished.parent}"])
    assert "this run is finished already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before
    assert folders(tmp_path) == [finished, broken]
    assert rows(broken) == alone(tmp_path / "one", *longer, "seed=2")


def test_a_run_that_fails_is_told_of_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^failed, of the sweep's runs: 1\n1_.*: seed: must be from 0"):
        main(argv=["-m", *SMALL, "seed=1,-1,2"])
    assert "1_" in capsys.readouterr().err
    finished = [path for path in folders(tmp_path) if (path / "result.json").exists()]
    assert [path.name[0] for path in finished] == ["0", "2"]
    assert not (finished[0].parent / ".sweep").exists()
    assert not (finished[0].parent / "multirun.yaml").exists()


def test_sigterm_to_the_launcher_reaches_the_runs_that_go_on(tmp_path):
    one = sweeping.Sweep(tmp_path, tmp_path, "joblib")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as run, one._launched():
        (tmp_path / ".sweep" / f"{run.pid}.pid").touch()
        (tmp_path / ".sweep" / f"{2**22 + 1}.pid").touch()  # more than a process can have: of nobody any more
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGTERM)
        assert run.wait(LONG) == -signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    one.run("the next", lambda: pytest.fail("none begins any more"))
    assert one._ended() == (True, [])


def test_a_launcher_that_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(sweeping, "find_spec", lambda _: None)
    for launcher, extra in (("joblib", "sweep"), ("ray", "ray-sweep")):
        with pytest.raises(MissingExtra, match=rf"hydra/launcher={launcher} .* pip install 'tempomat\[{extra}\]'"):
            sweeping.require(launcher)
        with pytest.raises(SystemExit, match=rf"tempomat\[{extra}\]"):
            main(argv=["-m", "seed=1,2", f"hydra/launcher={launcher}"])
    assert sweeping.require("basic") == ()


def test_a_folder_for_the_sweep_that_cannot_be_made_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    with pytest.raises(SystemExit, match=r"taken: cannot be the sweep's folder: .*\. Name another"):
        main(argv=["-m", *SMALL, "seed=1,2", "hydra.sweep.dir=taken"])


def commands():
    """Every call of the program in docs/ray.md: whether it is a sweep, and its settings without Hydra's own."""
    text = (ROOT / "docs" / "ray.md").read_text()
    for line in "\n".join(re.findall(r"^```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["python", "train_ppo.py"]:
            yield "-m" in words, [one for one in words[2:] if one != "-m" and not one.startswith(("hydra.", "hydra/"))]


@pytest.mark.parametrize(("several", "overrides"), list(commands()))
def test_a_command_of_the_guide_composes(several, overrides):
    first = [f"{name}={value.split(',')[0]}" for name, _, value in (one.partition("=") for one in overrides)]
    config = compose(first if several else overrides)
    assert several or config.rollout == "ray"


def test_a_launcher_that_does_not_exist_is_told_with_those_that_do():
    told = "hydra/launcher=jobli: no such launcher. Did you mean joblib? Launchers: basic, joblib, ray"
    with pytest.raises(SystemExit, match=f"^{re.escape(told)}$"):
        main(argv=["-m", "seed=1,2", "hydra/launcher=jobli"])
    with pytest.raises(SystemExit, match=r"hydra\.sweeep"):  # other mistakes keep their own words
        main(argv=["-m", "seed=1,2", "hydra/launcher=joblib", "hydra.sweeep.dir=x"])
