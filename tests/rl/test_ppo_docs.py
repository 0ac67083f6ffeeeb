"""docs/ppo.md: its commands compose, and its tables say what the code says."""

import itertools
import json
import re
import shlex
from pathlib import Path

import pytest

from tempomat_rl.ppo.config import compose
from tempomat_rl.ppo.entries import ENTRIES, METRICS, SHAPES
from tempomat_rl.ppo.log import EVAL, MEASURED
from tempomat_rl.ppo.train import train

TEXT = (Path(__file__).parents[2] / "docs" / "ppo.md").read_text()


def commands():
    """The overrides of every call of the program, sweeps taken apart."""
    lines = "\n".join(re.findall(r"^```bash\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)).splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:2] == ["python", "train_ppo.py"]:
            sweep = "-m" in words
            choices = [
                [f"{name}={one}" for one in (value.split(",") if sweep else [value])]
                for name, _, value in (word.partition("=") for word in words[2:] if word != "-m")
            ]
            yield from itertools.product(*choices)


def names(first):
    """What the first column of a table names."""
    rows = re.findall(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return {name for row in rows[0].splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize("overrides", list(commands()), ids=" ".join)
def test_a_command_composes(overrides):
    assert compose(overrides).plan.total


def test_the_table_of_values_has_every_entry():
    assert names("entry") == set(ENTRIES)


def test_the_glossary_has_every_measurement():
    assert names("name") == {*MEASURED, *(f"eval/{one}" for one in EVAL if one not in ("env_steps", "seconds"))}


def test_what_controllers_can_listen_to_is_listed():
    listed = TEXT[TEXT.index("Controllers can listen to") : TEXT.index("A plan that listens")]
    assert tuple(re.findall(r"`([^`]+)`", listed)) == METRICS
    assert all(f"`{shape}`" in TEXT for shape in SHAPES)


def test_a_run_records_what_the_glossary_promises_and_nothing_else(tmp_path):
    train(
        compose(
            [
                "env=GimbalLanding-v0",
                "total_env_steps=300",
                "num_envs=2",
                "rollout_length=50",
                "num_final_episodes=2",
                f"checkpoint_dir={tmp_path}",
            ]
        )
    )
    rows = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    told = {name for row in rows for name in row.get("measured", {})}
    assert told == names("name")
    left = {path.name for path in tmp_path.iterdir()} - {"session", ".lock"}
    assert left <= names("file") | {"tb"}
