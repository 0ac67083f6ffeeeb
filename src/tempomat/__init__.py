"""Tempomat: cruise control for training. One language for every hyperparameter that changes while a model trains."""

from tempomat.core import *  # noqa: F403
from tempomat.core import __all__ as _core
from tempomat.plan import Plan, diff, dumps_plan, load_plan, loads_plan, save_plan

__version__ = "0.1.0"
__all__ = [*_core, "Plan", "diff", "dumps_plan", "load_plan", "loads_plan", "save_plan"]
