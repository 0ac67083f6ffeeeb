"""Each command line of the guide, taken from its own text, run for a few hundred steps."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from rl import guide

from tempomat_rl.config import compose
from tempomat_rl.train import Training

ROOT = Path(__file__).parents[2]
# What makes a run of the published size short: nothing here is a setting of the guide's.
SHORT = [
    "num_envs=4",
    "num_seed_frames=40",
    "num_random_frames=20",
    "batch_size=4",
    "update_every_steps=40",
    "replay_size=300",
    "log_every_frames=50",
    "eval_every_frames=250",
    "num_eval_episodes=1",
    "num_final_episodes=1",
    "save_every_frames=200",
    "save_video=false",
]


@pytest.fixture(scope="module")
def cfgs(tmp_path_factory) -> Path:
    """The configuration files, with the guide's own preset dropped in as it is printed."""
    folder = tmp_path_factory.mktemp("checkout") / "cfgs"
    for path in (ROOT / "cfgs").rglob("*.yaml"):
        copy = folder / path.relative_to(ROOT / "cfgs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (printed,) = [text for text in guide.tables() if text.startswith("# @package _global_")]
    (folder / "lr_schedule" / "your_preset.yaml").write_text(printed)
    return folder


@pytest.mark.parametrize("overrides", guide.commands(), ids=lambda given: " ".join(given) or "no overrides")
def test_a_command_of_the_guide_trains_as_printed(overrides, cfgs, tmp_path):
    config = compose([*overrides, *SHORT, f"checkpoint_dir={tmp_path}"], cfgs=cfgs)
    assert config.num_train_frames in (3_000_000, 6_000_000)
    training = Training(config)
    training.run(lambda: training.env_steps >= 300)
    training.close()
    with (tmp_path / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["env_steps"]) >= 250
    assert int(rows[-1]["updates"]) >= 5
    counts = {"env_steps": 300, "stage": 0}
    for name in ("encoder", "actor", "critic"):
        lr = config.plan[f"{name}.lr"].at_counts(counts, "env_steps")
        assert float(rows[-1][f"lr_{name}"]) == pytest.approx(lr, rel=1e-5)


def test_a_command_runs_to_its_end_from_a_shell_and_leaves_its_folder_beside_it(tmp_path):
    script = str(ROOT / "train_gimbal_curriculum.py")
    short = [one for one in SHORT if not one.startswith("save_video")]
    given = ["lr_schedule=gentle_decay", "encoder_bundle@agent=keypoint", "num_train_frames=300", *short]
    ended = subprocess.run([sys.executable, script, *given], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "from env step 2,000,000: 5e-05 (never reached)" in ended.stdout
    (result,) = tmp_path.glob("exp_local/*/*/result.json")
    assert "lr_schedule=gentle_decay" in result.parent.name
    (video,) = result.parent.glob("final.mp4")
    assert video.stat().st_size > 10_000
    assert str(result.parent.relative_to(tmp_path)) in ended.stdout
