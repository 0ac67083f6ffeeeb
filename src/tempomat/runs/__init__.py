"""What a run leaves behind: its record, written row by row, and read back."""

from tempomat.runs.compare import Comparison, compare
from tempomat.runs.doctor import Examination, diagnose
from tempomat.runs.reader import Measured, Run, Series, read_run
from tempomat.runs.recorder import Mirror, Recordable, Recorder
from tempomat.runs.replay import replay, replay_plan

__all__ = [
    "Comparison",
    "Examination",
    "Measured",
    "Mirror",
    "Recordable",
    "Recorder",
    "Run",
    "Series",
    "compare",
    "diagnose",
    "read_run",
    "replay",
    "replay_plan",
]
