"""What every export asks first: one pure schedule, on the one clock that the host counts."""

from __future__ import annotations

from typing import Any, cast

from tempomat.core import ConversionError, Duration, Node, On, Schedule, Unit
from tempomat.plan import Plan

Total = int | str | Duration | None


def one_schedule(
    subject: Node | Plan, host: str, total: Total, rates: dict[str, int], clock: Unit = Unit.OPTIMIZER_STEPS
) -> Schedule:
    """The one schedule of a subject, resolved, on the one clock that a host counts.

    Raises:
        ConversionError: it is no schedule, a plan of several, reactive, or it follows a clock that the host has not.
        ScheduleError: a conversion or the total is missing.
    """
    if isinstance(subject, Plan):
        if len(subject.schedules) != 1:
            named = ", ".join(subject.schedules)
            raise ConversionError(f"{host}: takes one schedule, got a plan of {len(subject.schedules)} ({named}). "
                                  f"Say which, plan[{next(iter(subject.schedules))!r}]")  # fmt: skip
        ((name, node),) = subject.resolve(total=total, **rates).schedules.items()
        return pure_on(node, f"{host}: schedules.{name}", str(subject.clock))
    if not isinstance(subject, Node):
        raise ConversionError(f"{host}: needs a schedule or a plan of one, got {type(subject).__name__}")
    whole = Plan({"lr": 0.0}, total=total, clock=clock, rates=rates).horizon
    return pure_on(subject.resolve(whole), host, str(clock))


def pure_on(node: Node, where: str, clock: str) -> Schedule:
    """A tree that one count drives, freed from its ties to that clock."""
    refuse_controllers(node, where)
    others = sorted(node.clocks - {"", clock})
    if others:
        raise ConversionError(
            f"{where}: follows {', '.join(others)}, and there only {clock} are counted. Write it in {clock}, or drive "
            "it by tempomat.torch.Scheduler, which has every clock"
        )
    return _untied(node) if node.clocks - {""} else cast(Schedule, node)


def refuse_controllers(node: Node, where: str) -> None:
    """Refuse a tree that measurements move."""
    if isinstance(node, Schedule):
        return
    names = ", ".join(sorted({type(one).__name__ for one in node.controllers}))
    raise ConversionError(
        f"{where}: is moved by measurements ({names}), which an exported schedule never sees. Fix the levels, "
        f"tree.given({[1.0] * len(node.controllers)}), take what tempomat.simulate(...) gives for known measurements, "
        "or replay a finished run's decisions; to react while training use tempomat.torch.Scheduler"
    )


def _untied(node: Node) -> Any:
    return _untied(node.parameters()["schedule"]) if node.builder() is On else node.rebuilt(_untied)
