"""What every composition is: a schedule of schedules, and the hooks through which it serves trees with controllers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Annotated, Any, Self, cast

from tempomat.core.clock import Unit
from tempomat.core.fields import ListOf, NodeKind, check_arguments
from tempomat.core.reactive import items_of, reactive_or_none
from tempomat.core.schedule import Clocks, Node, Schedule, map_nodes

Tree = Annotated[Schedule, NodeKind()]
Trees = Annotated[tuple[Schedule, ...], ListOf(NodeKind(), at_least=2)]
Span = tuple[str, int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Composite(Schedule):
    """A composition; also the hooks through which the same composition serves trees with controllers."""

    _clocks: Clocks = field(init=False, repr=False, compare=False)

    def __new__(cls, **parameters: Any) -> Self:
        return cast(Self, reactive_or_none(cls, parameters)) or object.__new__(cls)

    def _prepare(self) -> None:
        object.__setattr__(self, "_clocks", self._clocks_below())

    def _clocks_below(self) -> Clocks:
        return frozenset[str]().union(*(child.clocks for child in self.children()))

    @property
    def clocks(self) -> Clocks:
        return self._clocks

    @classmethod
    def defaults(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters in order, left-out ones at their defaults; unknown or missing ones are refused as a call
        would.
        """
        known = {name: spec.default for name, spec in cls.__dataclass_fields__.items() if spec.init}
        required = [name for name, default in known.items() if default is MISSING]
        check_arguments(cls.__name__, parameters, known, required)
        return {name: parameters.get(name, default) for name, default in known.items()}

    @classmethod
    def assemble(
        cls, parameters: Mapping[str, Any], pure: Callable[[Node], Schedule], *, exact: bool = True
    ) -> Schedule:
        """The composition with each of its children replaced by a pure one, from left to right.

        Unless `exact`, it only has to be a valid one: nothing that the run has yet to resolve is evaluated.
        """
        return cls(**{name: map_nodes(value, pure) for name, value in parameters.items()})

    @classmethod
    def spans(cls, parameters: Mapping[str, Any], clock: str, start: int) -> list[Span]:
        """For each child the clock and the counts in which it is in force."""
        nodes = [one for value in parameters.values() for one in items_of(value) if isinstance(one, Node)]
        return [(clock, start, None)] * len(nodes)

    @classmethod
    def unit_below(cls, parameters: Mapping[str, Any], unit: Unit) -> Unit:
        """The unit of the counts that the children see."""
        return unit
