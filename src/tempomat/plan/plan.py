"""The plan: every scheduled hyperparameter of a run by name, with the run's length and what converts between its
units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, cast, final

from tempomat.core import Duration, Fault, Horizon, Node, PlanError, ScheduleError, Unit
from tempomat.core.clock import check_rates
from tempomat.core.errors import did_you_mean, join_path, shown
from tempomat.core.fields import CountKind
from tempomat.plan.data import Own, build, own_types, to_data
from tempomat.plan.names import entry_name
from tempomat.plan.text import Lines, located

MAX_SCHEDULES = 256
"""The most entries of one plan."""

_KEYS = ("total", "clock", "rates", "schedules")


@final
@dataclass(frozen=True, slots=True, init=False)
class Plan:
    """Names to schedules and controllers, with the run's total. Frozen, equal by value.

    Args:
        schedules: by entry name (`lr`, `encoder.lr`, `betas[0]`) a schedule, a controller or a composition of them,
            plain data as in a YAML plan, or a number for a constant.
        total: the run's length, as a count of `clock` or a duration such as `"20 epochs"`; None where nothing asks
            for it.
        clock: the unit that drives every schedule not tied to another by `on`.
        rates: what converts between units, such as `steps_per_epoch=100`; see `tempomat.RATES`.
        own: schedule classes of your own that plain data may name, as `type: my_module.MyShape`. A schedule that is
            given as an object needs no leave.

    Raises:
        PlanError: every fault at once, each with its path.

    Example:
        >>> lr = {"type": "warmup_cosine", "peak_value": 3e-4, "warmup": "5%"}
        >>> plan = Plan({"lr": lr, "grad_clip": 1.0}, total="20 epochs")
        >>> plan.resolve(steps_per_epoch=100)["lr"](100)
        0.0003
    """

    schedules: Mapping[str, Node]
    total: int | Duration | None
    clock: Unit
    rates: Mapping[str, int]
    _fingerprint: list[str] = field(repr=False, compare=False)

    def __init__(
        self,
        schedules: Mapping[str, Any],
        *,
        total: int | str | Duration | None = None,
        clock: Unit | str = Unit.OPTIMIZER_STEPS,
        rates: Mapping[str, int] | None = None,
        own: Iterable[type[Node]] = (),
    ) -> None:
        data = {"schedules": schedules, "total": total, "clock": clock, "rates": rates}
        self._fill(data, "Plan", {}, own_types(own))

    @classmethod
    def from_data(
        cls, data: object, *, source: str = "plan", lines: Lines | None = None, own: Iterable[type[Node]] = ()
    ) -> Plan:
        """A plan from plain data as YAML gives it. `source` and `lines` say in errors where a path stands; `own` are
        classes of the user's own that it may name.
        """
        allowed = own_types(own)
        if not isinstance(data, Mapping):
            got = "nothing" if data is None else type(data).__name__
            raise PlanError(f"{source}: must be a mapping with {', '.join(_KEYS)}, got {got}")
        plan = object.__new__(cls)
        plan._fill(cast(Mapping[str, Any], data), source, lines or {}, allowed)
        return plan

    def _fill(self, data: Mapping[str, Any], source: str, lines: Lines, own: Own) -> None:
        faults = [
            Fault(str(key), f"no key of that name.{did_you_mean(str(key), _KEYS)} Keys: {', '.join(_KEYS)}")
            for key in data
            if key not in _KEYS
        ]
        schedules = _schedules(data.get("schedules"), faults, own)
        total = _checked(CountKind(1, optional=True).read, data.get("total"), "total", faults)
        if isinstance(total, Duration) and any(unit == "%" for unit, _ in total.terms):
            faults.append(Fault("total", f"cannot be a share of itself, got {total}"))
        clock = _checked(_unit, Unit.OPTIMIZER_STEPS if data.get("clock") is None else data["clock"], "clock", faults)
        rates = _checked(check_rates, {} if data.get("rates") is None else data["rates"], "rates", faults)
        if faults:
            raise located(source, faults, lines)
        object.__setattr__(self, "schedules", MappingProxyType(schedules))
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "clock", clock)
        object.__setattr__(self, "rates", MappingProxyType(rates))
        object.__setattr__(self, "_fingerprint", [])

    def __reduce__(self) -> tuple[Any, ...]:
        return _plan_of, (dict(self.schedules), self.total, self.clock, dict(self.rates))

    def __getitem__(self, name: str) -> Any:
        if name not in self.schedules:
            raise PlanError(
                f"the plan has no entry {name!r}.{did_you_mean(name, self.schedules)} Entries: "
                f"{', '.join(self.schedules)}"
            )
        return self.schedules[name]

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def horizon(self) -> Horizon:
        """What the run is to the schedules."""
        total = Duration(str(self.total)) if isinstance(self.total, int) else self.total
        return Horizon(clock=self.clock, total=total, rates=self.rates)

    @property
    def resolved(self) -> bool:
        """Whether every length, the total included, is a plain count."""
        return not isinstance(self.total, Duration) and all(node.resolved for node in self.schedules.values())

    def resolve(self, *, total: int | str | Duration | None = None, **rates: int) -> Plan:
        """The same plan with every length as a count, for a run of these `rates` and, where given, this `total`.

        Raises:
            PlanError: a conversion or the total is missing, all of them at once, each with its path.
        """
        given = Plan(
            self.schedules,
            total=self.total if total is None else total,
            clock=self.clock,
            rates={**self.rates, **rates},
        )
        horizon, faults = given.horizon, list[Fault]()
        whole = None if given.total is None else _checked(horizon.count, given.total, "total", faults)
        schedules = {
            name: _checked(partial(Node.resolve, horizon=horizon), node, f"schedules.{name}", faults)
            for name, node in given.schedules.items()
        }
        if faults:
            raise located("Plan", faults, {})
        return Plan(schedules, total=whole, clock=self.clock, rates=given.rates)

    def to_data(self, *, full: bool = False) -> dict[str, Any]:
        """Plain data that `from_data` reads back as an equal plan; with `full`, defaults are written out too.

        Raises:
            PlanError: schedules that are functions have no plain data; all of them at once, each with its path.
        """
        data: dict[str, Any] = {}
        if self.total is not None or full:
            data["total"] = str(self.total) if isinstance(self.total, Duration) else self.total
        if self.clock != Unit.OPTIMIZER_STEPS or full:
            data["clock"] = str(self.clock)
        if self.rates or full:
            data["rates"] = dict(sorted(self.rates.items()))
        faults: list[Fault] = []
        data["schedules"] = {
            name: _checked(partial(to_data, full=full), node, f"schedules.{name}", faults)
            for name, node in self.schedules.items()
        }
        if faults:
            raise located("Plan", faults, {})
        return data

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the canonical plan: equal plans, and only they, share it, in whatever order entries are
        written.
        """
        if not self._fingerprint:
            self._fingerprint.append(fingerprint_of(self.to_data(full=True)))
        return self._fingerprint[0]


def fingerprint_of(data: Any) -> str:
    """The SHA-256 of canonical plan data."""
    import hashlib
    import json

    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plan_of(schedules: dict[str, Node], total: Any, clock: Unit, rates: dict[str, int]) -> Plan:
    return Plan(schedules, total=total, clock=clock, rates=rates)


def _schedules(given: object, faults: list[Fault], own: Own) -> dict[str, Node]:
    if not isinstance(given, Mapping) or not given:
        faults.append(
            Fault("schedules", "must be a mapping from names to schedules, such as {lr: {type: cosine, ...}}")
        )
        return {}
    entries = cast(Mapping[Any, Any], given)
    if len(entries) > MAX_SCHEDULES:
        faults.append(Fault("schedules", f"has {len(entries)} entries; a plan has at most {MAX_SCHEDULES}"))
        return {}
    nodes: dict[str, Node] = {}
    for name, data in entries.items():
        path = join_path("schedules", str(name))
        _checked(entry_name, name, path, faults)
        nodes[str(name)] = build(data, path, faults, own)
    return nodes


def _checked(read: Any, value: Any, path: str, faults: list[Fault]) -> Any:
    """What `read` makes of a value, or None and its faults under a path."""
    try:
        return read(value)
    except ValueError as error:
        causes = error.faults if isinstance(error, ScheduleError) else (Fault("", str(error)),)
        faults += [fault.under(path) for fault in causes]
        return None


def _unit(value: object) -> Unit:
    if value not in tuple(Unit):
        raise ScheduleError(
            f"must be one of {', '.join(Unit)}, got {shown(value)}.{did_you_mean(str(value), tuple(Unit))}"
        )
    return Unit(cast(str, value))
