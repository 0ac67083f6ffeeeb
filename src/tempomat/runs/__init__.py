"""What a run leaves behind: its record, written row by row, and read back."""

from tempomat.runs.reader import Measured, Run, Series, read_run
from tempomat.runs.recorder import Mirror, Recordable, Recorder

__all__ = ["Measured", "Mirror", "Recordable", "Recorder", "Run", "Series", "read_run"]
