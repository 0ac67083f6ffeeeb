"""Shapes that come back by themselves: where their cycles begin and turn, where they end, how much of them to draw."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, takewhile
from typing import Any

from tempomat.core import CosineRestarts, Cyclic, WarmRestarts
from tempomat.core.cycles import as_written
from tempomat.core.ops import counted

PERIODS = 10
"""How many periods of an endless curve a picture shows."""
_GROWN = 8
"""How many times as long as the first the last cycle of a picture may be, so that the first is still seen."""


def comes_back(node: Any) -> bool:
    """Whether a shape is one of these."""
    return isinstance(node, (CosineRestarts, Cyclic, WarmRestarts))


def turns(node: Any, until: Fraction | int) -> Iterator[int]:
    """The counts up to `until` at which a cycle begins or its rise is over, each the first one not before that."""
    if isinstance(node, CosineRestarts):
        length, cycles = counted(node.duration), as_written(node.cycles)
        restarts = (k * length / cycles for k in count(1))
        yield from (_up(at) for at in takewhile(lambda at: at < min(until, length), restarts))
        yield length
        return
    rise = counted(node.up if isinstance(node, Cyclic) else node.warmup)
    for begins, _ in takewhile(lambda one: one[0] <= until, _cycles(node)):
        yield from (_up(begins), _up(begins + rise)) if rise else (_up(begins),)
    end = end_of(node)
    if end is not None:
        yield end


def end_of(node: Any) -> int | None:
    """The count from which the last cycle is over, where there is a last one."""
    if not isinstance(node, WarmRestarts) or node.cycles is None:
        return None
    growth, first = as_written(node.cycle_factor), counted(node.cycle)
    whole = node.cycles if growth == 1 else (growth**node.cycles - 1) / (growth - 1)
    return _up(first * Fraction(whole))


def shown(node: Any) -> int:
    """How far an endless one has to be drawn to be seen: ten periods, fewer where the later ones outgrow the first."""
    drawn = [next(_cycles(node))]
    for begins, length in _cycles(node):
        if len(drawn) > 2 and (len(drawn) > PERIODS or length > _GROWN * drawn[0][1]):
            break
        drawn.append((begins, length))
    return _up(sum(drawn[-1]))


def _cycles(node: Any) -> Iterator[tuple[Fraction, Fraction]]:
    """The beginning and length of one cycle after another."""
    if isinstance(node, Cyclic):
        length, growth, limit = (
            Fraction(counted(node.up) + counted(node.up if node.down is None else node.down)),
            1,
            None,
        )
    else:
        length, growth, limit = Fraction(counted(node.cycle)), as_written(node.cycle_factor), node.cycles
    begins = Fraction(0)
    for _ in count() if limit is None else range(limit):
        yield begins, length
        begins, length = begins + length, length * growth


def _up(at: Fraction | int) -> int:
    return -int(-at // 1)
