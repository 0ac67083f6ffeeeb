"""Entries of a plan that the loop reads by itself, refused by name where the plan has none."""

from __future__ import annotations

from tempomat.core import BindingError
from tempomat.core.errors import did_you_mean
from tempomat.torch.scheduler import Scheduler


def entry_value(scheduler: Scheduler, entry: str) -> float:
    """What the plan asks for now.

    Raises:
        BindingError: the plan has no such entry.
    """
    asked = scheduler.asked
    if entry not in asked:
        known = ", ".join(asked) or "none"
        raise BindingError(f"{entry}: the plan has no entry of that name.{did_you_mean(entry, asked)} Entries: {known}")
    return asked[entry]
