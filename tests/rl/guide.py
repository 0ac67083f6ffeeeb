"""What docs/lr-scheduling-guide.md prints, taken from its own text."""

import re
import shlex
from pathlib import Path

_TEXT = (Path(__file__).parents[2] / "docs" / "lr-scheduling-guide.md").read_text()


def commands():
    """The arguments of every command, each once, with continued lines joined."""
    joined = _TEXT.replace("\\\n", " ")
    found = re.findall(r"python train_gimbal_curriculum\.py([^\n`]*)", joined)
    return [list(one) for one in dict.fromkeys(tuple(shlex.split(one, comments=True)) for one in found)]


def flags():
    """The single settings that the text advises."""
    return list(dict.fromkeys(re.findall(r"`((?:lr|decay_rate)=[\d.e-]+)`", _TEXT)))


def tables():
    """Every example in YAML."""
    return re.findall(r"```yaml\n(.*?)```", _TEXT, re.DOTALL)
