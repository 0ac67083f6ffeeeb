"""A curve entered somewhere behind its beginning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from tempomat.core.composite import Composite, Tree
from tempomat.core.errors import ScheduleError
from tempomat.core.fields import Length
from tempomat.core.ops import Ops
from tempomat.core.schedule import Clocks, Node, Schedule


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Advance(Composite):
    r"""`schedule`, `by` counts earlier; what came before is left out.

    .. math::
        v(t) = s(t + b)

    Exactly the schedule's value at `by` at 0, and its end `by` counts sooner. The counterpart of `Shift`: it stands
    where a warmup takes the place of a curve's beginning instead of coming before it.

    Args:
        schedule: any schedule.
        by: :math:`b`, at least 1.

    Raises:
        ScheduleError: `by` is below 1, or a controller is below it, whose decisions are in the run's own counts.

    Agrees with:
        timm's `warmup_prefix=False`, fvcore's `fixed` interval scaling.

    Example:
        >>> from tempomat.core import Linear
        >>> late = Advance(schedule=Linear(init_value=1.0, end_value=0.0, duration=10), by=4)
        >>> late(0), late(5), late(6)
        (0.6, 0.09999999999999998, 0.0)
    """

    schedule: Tree
    by: Length

    def _clocks_below(self) -> Clocks:
        return Composite._clocks_below(self) | {""}

    def _at(self, t: Any, ops: Ops) -> Any:
        return self.schedule._at(t + ops.count(self.by), ops)

    @classmethod
    def assemble(
        cls, parameters: Mapping[str, Any], pure: Callable[[Node], Schedule], *, exact: bool = True
    ) -> Schedule:
        raise ScheduleError("Advance: a controller cannot be advanced; its decisions are in the run's own counts")
