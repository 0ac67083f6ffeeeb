"""Plans: plain data to frozen schedules and back, with every fault and its path."""

from tempomat.plan.diff import Change, diff
from tempomat.plan.files import dumps_plan, load_plan, loads_plan, save_plan
from tempomat.plan.names import HYPERPARAMETERS, OPTIMIZER_KEYS, EntryName, Range, entry_name
from tempomat.plan.plan import Plan
from tempomat.plan.schema import schema

__all__ = [
    "HYPERPARAMETERS",
    "OPTIMIZER_KEYS",
    "Change",
    "EntryName",
    "Plan",
    "Range",
    "diff",
    "dumps_plan",
    "entry_name",
    "load_plan",
    "loads_plan",
    "save_plan",
    "schema",
]
