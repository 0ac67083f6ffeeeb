"""Tempomat: cruise control for training. One language for every hyperparameter that changes while a model trains."""

from typing import TYPE_CHECKING, Any

from tempomat import core
from tempomat.core import *  # noqa: F403

if TYPE_CHECKING:
    from tempomat import convert
    from tempomat.analysis.lint import lint
    from tempomat.analysis.simulate import simulate
    from tempomat.plan import Plan, diff, dumps_plan, load_plan, loads_plan, save_plan
    from tempomat.runtime.cadence import Every

__version__ = "0.1.0"

_LATER = {
    **dict.fromkeys(("Plan", "diff", "dumps_plan", "load_plan", "loads_plan", "save_plan"), "tempomat.plan"),
    "Every": "tempomat.runtime.cadence",
    "lint": "tempomat.analysis.lint",
    "simulate": "tempomat.analysis.simulate",
}
"""Imported when first asked for, so that a program which only evaluates a schedule starts at once."""

__all__ = [
    "Every",
    "Plan",
    "convert",
    "diff",
    "dumps_plan",
    "lint",
    "load_plan",
    "loads_plan",
    "save_plan",
    "simulate",
]
__all__ += core.__all__


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "convert":
        return import_module("tempomat.convert")
    if name not in _LATER:
        raise AttributeError(f"module 'tempomat' has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
