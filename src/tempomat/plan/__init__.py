"""Plans: plain data to frozen schedules and back, with every fault and its path."""

from tempomat.plan.data import own_types_in, to_data
from tempomat.plan.diff import Change, diff, diff_data
from tempomat.plan.files import dumps_plan, load_plan, loads_plan, save_plan
from tempomat.plan.names import HYPERPARAMETERS, LOOP_FAMILIES, OPTIMIZER_KEYS, EntryName, Range, entry_name
from tempomat.plan.plan import Plan, fingerprint_of
from tempomat.plan.schema import schema

__all__ = [
    "HYPERPARAMETERS",
    "LOOP_FAMILIES",
    "OPTIMIZER_KEYS",
    "Change",
    "EntryName",
    "Plan",
    "Range",
    "diff",
    "diff_data",
    "dumps_plan",
    "entry_name",
    "fingerprint_of",
    "load_plan",
    "loads_plan",
    "own_types_in",
    "save_plan",
    "schema",
    "to_data",
]
