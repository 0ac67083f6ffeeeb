"""docs/landing.md: its Python runs, its commands compose, and its tables say what the code says."""

import itertools
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tempomat.cli import main as tempomat
from tempomat_rl import log
from tempomat_rl.config import compose
from tempomat_rl.train import Training

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "landing.md").read_text()
STRIP = ROOT / "examples" / "landing_strip.py"
PROGRAM = "train_gimbal_curriculum.py"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def commands():
    """The words of every shell command, each once, variables in front left out."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    words = (shlex.split(re.sub(r"^([A-Z_]+=\S+ )+", "", line), comments=True) for line in lines)
    return [list(one) for one in dict.fromkeys(map(tuple, words)) if one]


def tables(first):
    """The rows, as lists of cells, of every table whose first heading this is."""
    found = re.findall(rf"^\| {re.escape(first)} .*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in one.splitlines()] for one in found]


def combinations(overrides):
    """What `-m` makes of values with commas."""
    choices = [
        [f"{name}={one}" for one in values.split(",")] for name, _, values in (o.partition("=") for o in overrides)
    ]
    return list(itertools.product(*choices))


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_a_python_block_runs_as_printed(number, tmp_path, capsys):
    script = tmp_path / "block.py"
    script.write_text(blocks("python")[number])
    runpy.run_path(str(script))
    promised = re.findall(r"print\(.*\)  # (.*)", script.read_text())
    printed = capsys.readouterr().out
    assert all(line in printed for line in promised)


@pytest.mark.parametrize(
    "words",
    [one for one in commands() if one[:2] == ["python", PROGRAM]],
    ids=lambda words: " ".join(words[2:]) or "none",
)
def test_a_training_command_composes(words):
    several = words[2:3] == ["-m"]
    runs = combinations(words[3:]) if several else [words[2:]]
    assert len(runs) > 1 or not several
    for overrides in runs:
        assert compose(list(overrides)).num_train_frames > 0


def test_other_commands_name_what_there_is():
    others = [one for one in commands() if one[:2] != ["python", PROGRAM]]
    assert {one[0] for one in others} == {"tensorboard", "tempomat", "python"}
    for words in others:
        if words[0] == "python":
            assert (ROOT / words[1]) == STRIP
        if words[0] == "tempomat":
            with pytest.raises(SystemExit, match="0"):
                tempomat([words[1], "--help"])


def test_every_column_and_tag_is_explained():
    (train,), (evaluation,) = tables("`train.csv`"), tables("`eval.csv`")
    assert {name for row in train for name in names(row[0])} == set(log.TRAIN)
    assert {name for row in evaluation for name in names(row[0])} == set(log.EVAL)


def test_curriculum_tables_are_those_of_the_presets():
    gates, stages = tables("`curriculum_preset=`")[0], tables("preset")[0]
    shown = {}
    name = ""
    for preset, *rest in stages:
        name = names(preset)[0] if preset else name
        shown.setdefault(name, []).append(rest)
    for row in gates:
        (name,) = names(row[0])
        curriculum = compose([f"curriculum_preset={name}"]).curriculum
        if curriculum is None:
            assert name == "none"
            continue
        rule = curriculum.gates
        numbers = (rule.window, rule.min_episodes, rule.success_rate, rule.max_stage)
        assert [float(cell) for cell in row[1:]] == list(numbers)
        assert len(shown[name]) == len(curriculum)
        for number, (place, turning, weight, unseen, price, gimbal) in enumerate(shown[name]):
            stage = curriculum[number]
            assert place == f"{number} `{stage.name}`"
            assert [float(one) for one in turning.split(",")] == [stage.pitch, stage.yaw]
            assert (0.0 if weight == "off" else float(weight)) == stage.weight
            assert (weight != "off") == stage.visibility_reward
            assert (float(unseen), float(price)) == (stage.not_visible, stage.smoothness)
            assert gimbal == ("" if stage.gimbal else "straight down") + ("yaw alone" if stage.yaw_only else "")


def test_files_and_links_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    later = {"../benchmarks/results/laptop.md", "../benchmarks/results/pipeline.md"}  # written by the benchmarks
    assert [one for one in set(links) - later if not (ROOT / "docs" / one).exists()] == []


def test_the_strip_says_when_nothing_landed_or_nothing_is_there(tmp_path):
    strip = runpy.run_path(str(STRIP))
    with pytest.raises(SystemExit, match="there is no checkpoint"):
        strip["main"]([str(tmp_path), "out.png"])
    short = ["num_train_frames=64", "num_seed_frames=32", "batch_size=4", "num_final_episodes=1", "save_video=false"]
    training = Training(compose(["scale=laptop", *short, f"checkpoint_dir={tmp_path}"]))
    training.run(lambda: False)
    training.close()
    with pytest.raises(SystemExit, match="none of 16 episodes ended in a landing"):
        strip["main"]([str(tmp_path), "out.png"])


def test_strip_and_film_are_written(tmp_path):
    strip = runpy.run_path(str(STRIP))
    flat = [np.full((360, 640, 3), shade, np.uint8) for shade in range(0, 250, 25)]
    strip["write_strip"](flat, tmp_path / "strip.png")
    strip["write_film"](flat, tmp_path / "film.gif")
    with Image.open(tmp_path / "strip.png") as image:
        assert image.size == (3 * 640 + 2 * 6, 2 * 360 + 6)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (640, 360)
        lasts = sum(frame.info["duration"] for frame in ImageSequence.Iterator(film))
        assert lasts == pytest.approx(22 * 1000 / 6, rel=0.05)  # 10 pictures, the last one 12 times more
