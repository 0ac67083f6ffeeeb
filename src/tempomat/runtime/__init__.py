"""The only mutable room: counters, the values in force, and states that resume exactly."""

from tempomat.runtime.cadence import Every, Stopwatch
from tempomat.runtime.engine import Engine, Event, Track
from tempomat.runtime.state import OnChange, load_state, save_state

__all__ = ["Engine", "Event", "Every", "OnChange", "Stopwatch", "Track", "load_state", "save_state"]
