"""Trees with a controller: what measurements can change, and how such a tree becomes a plain schedule again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, final

from tempomat.core.clock import Unit
from tempomat.core.errors import ScheduleError
from tempomat.core.fields import NodeKind, kinds_of, read_all
from tempomat.core.schedule import Clocks, Node, Schedule

if TYPE_CHECKING:
    from tempomat.core.composite import Composite
    from tempomat.core.controllers import Controller

Condition = tuple[str, int, int | None]
"""A clock and the counts `[start, end)` of it; the empty name is the plan's clock."""


class Reactive(Node):
    """A tree with a controller: a pure function of counts and of its controllers' states."""

    __slots__ = ()

    @abstractmethod
    def given(self, levels: Sequence[Node | float]) -> Schedule:
        """The schedule that this tree is while its controllers, from left to right, are at these levels.

        A level may itself be a schedule: with the recorded decisions as piecewise constants, a whole run is replayed.
        """

    @abstractmethod
    def stand_in(self) -> Schedule:
        """A schedule of the same make with constants for the controllers, to check and ask but not to evaluate."""

    @abstractmethod
    def listening(self, clock: str = "", start: int = 0) -> Iterator[tuple[Condition, ...]]:
        """For each controller the conditions under which its part of the tree is in force, and so hears."""

    def __call__(self, count: Any) -> Any:
        names = ", ".join(sorted({type(one).__name__ for one in self.controllers}))
        raise ScheduleError(
            f"the value depends on measurements ({names}), so a count alone is not enough. "
            "Fix the controllers' levels, "
            f"`tree.given({[1.0] * len(self.controllers)})(count)`, or simulate with measurements: "
            "`tempomat.simulate(tree, ...)`"
        )


@final
@dataclass(frozen=True, slots=True, repr=False)
class ReactiveTree(Reactive):
    """A composition with a controller somewhere below it. Composing makes it; its repr is that composition's."""

    kind: type[Composite]
    items: tuple[tuple[str, Any], ...]

    def __post_init__(self) -> None:
        # the same composition over constants checks what lies between the parameters
        self.stand_in()
        values, _ = read_all(kinds_of(self.kind), self.parameters())
        object.__setattr__(self, "items", tuple(values.items()))

    def parameters(self) -> dict[str, Any]:
        return dict(self.items)

    def builder(self) -> Callable[..., Node]:
        return self.kind

    def _unit_below(self, unit: Unit) -> Unit:
        return self.kind.unit_below(self.parameters(), unit)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        return tuple(one for child in self.children() for one in child.controllers)

    @property
    def clocks(self) -> Clocks:
        return self.stand_in().clocks

    def stand_in(self) -> Schedule:
        return self.kind.assemble(self.parameters(), _stand_in, exact=False)

    def given(self, levels: Sequence[Node | float]) -> Schedule:
        check_levels(levels, len(self.controllers))
        left = iter(levels)

        def pure(node: Node) -> Schedule:
            return node.given([next(left) for _ in node.controllers]) if isinstance(node, Reactive) else _schedule(node)

        return self.kind.assemble(self.parameters(), pure)

    def listening(self, clock: str = "", start: int = 0) -> Iterator[tuple[Condition, ...]]:
        spans = self.kind.spans(self.parameters(), clock, start)
        for child, (below, begin, end) in zip(self.children(), spans, strict=True):
            if isinstance(child, Reactive):
                for conditions in child.listening(below, begin):
                    yield conditions if end is None and begin == 0 else ((below, begin, end), *conditions)


def check_levels(levels: object, needed: int) -> None:
    """Refuse anything but one level a controller."""
    if not isinstance(levels, (list, tuple)):
        raise ScheduleError(f"levels must be a list, one a controller, got {levels!r}")
    if len(cast(list[Any], levels)) != needed:
        raise ScheduleError(f"{needed} controllers need as many levels, got {len(cast(list[Any], levels))}")


def _schedule(node: Node) -> Schedule:
    if not isinstance(node, Schedule):
        raise ScheduleError(f"a level must be a number or a schedule without controllers, got {type(node).__name__}")
    return node


def as_level(level: Node | float) -> Schedule:
    """A controller's level as a schedule: a number stands for a constant."""
    try:
        return _schedule(NodeKind().read(level))
    except ValueError as error:
        raise ScheduleError(f"a level {error}") from None


def _stand_in(node: Node) -> Schedule:
    return node.stand_in() if isinstance(node, Reactive) else _schedule(node)


def reactive_or_none(kind: type[Composite], parameters: Mapping[str, Any]) -> ReactiveTree | None:
    """The reactive tree of a composition, or None where no part of it is reactive."""
    parts = [one for value in parameters.values() for one in items_of(value)]
    if not any(isinstance(one, Reactive) for one in parts):
        return None
    return ReactiveTree(kind, tuple(kind.defaults(parameters).items()))


def items_of(value: Any) -> tuple[Any, ...]:
    """A parameter's values, whether it holds one or several."""
    return tuple(cast("list[Any]", value)) if isinstance(value, (tuple, list)) else (value,)
