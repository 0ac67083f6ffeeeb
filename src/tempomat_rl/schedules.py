"""The `lr_schedule` tables of a configuration, its noise and its curriculum as one plan.

Entries: `encoder.lr`, `actor.lr`, `critic.lr` (TensorBoard: `lr_encoder`, ...), `noise`, and with a curriculum
`curriculum_stage`. The plan's clock is `env_steps`, decisions of all environments together; what is written with
`clock: curriculum_stage` follows the clock `stage`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import tempomat as tm
from tempomat.core.errors import Fault, did_you_mean, shown
from tempomat.core.intervals import RULES
from tempomat.core.numbers import as_float, parse_number

NETWORKS = ("encoder", "actor", "critic")
STAGE = "curriculum_stage"
"""The entry of the curriculum's stage, and what a table calls the clock that follows it."""
CLOCKS = ("env_steps", STAGE)
DECAY_RATE, DECAY_INTERVAL = 0.999, 1000
"""The decay of a step table whose type alone was changed to `exponential_decay`."""
_RATES = ("lr", "init_lr", "final_lr")
_COUNTS = ("start", "end", "decay_interval")
_NOISE = re.compile(r"\s*(?P<name>\w+)\s*\((?P<numbers>[^()]*)\)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """What a configuration says about values over time.

    Args:
        lr_schedule: by network a table of intervals or any other schedule of a plan; None, or a network without an
            entry, means a constant `lr`.
        lr: every rate of the tables is multiplied by `lr / base_lr`.
        base_lr: what the tables are written for.
        decay_rate: replaces that of every exponential interval.
        fit_schedules: stretch boundaries, so that the last `end` of all networks falls on the end of the run.
        noise: as written; see `noise_schedule`.
        gates: the curriculum's, if there is one.
        num_train_frames, action_repeat: the length of the run, in frames of the environment.
    """

    lr_schedule: Any
    lr: float
    base_lr: float
    decay_rate: float | None
    fit_schedules: bool
    noise: Any
    gates: tm.SuccessGates | None
    num_train_frames: int
    action_repeat: int

    @property
    def scale(self) -> Fraction:
        """What every rate of the tables is multiplied by."""
        return _exact(self.lr) / _exact(self.base_lr)

    def plan(self, faults: list[Fault]) -> tm.Plan | None:
        """The plan of the run, resolved; None where anything is wrong, and `faults` then says what, by the
        configuration's own paths.
        """
        before = len(faults)
        if self.fit_schedules and replace(self, fit_schedules=False).plan(faults) is None:
            return None  # what is wrong is told in the counts that were written
        entries = self._rates(faults)
        try:
            entries["noise"] = noise_schedule(self.noise)
        except tm.ScheduleError as error:
            faults += [fault.under("noise") for fault in error.faults]
        if self.gates is not None:
            entries[STAGE] = self.gates
        else:
            faults += self._stageless()
        length = f"{self.num_train_frames} frames"
        try:
            plan = tm.Plan(entries, total=length, clock="env_steps", rates={"action_repeat": self.action_repeat})
            scaled = {name: self._scaled_node(name, node) for name, node in plan.schedules.items()}
            plan = tm.Plan(scaled, total=length, clock=plan.clock, rates=plan.rates).resolve()
        except tm.PlanError as error:
            faults += [Fault(config_path(fault.path), fault.message) for fault in error.faults]
            return None
        return plan if len(faults) == before else None

    def _rates(self, faults: list[Fault]) -> dict[str, Any]:
        """The learning rate of each network, as plain data of a plan."""
        given = {} if self.lr_schedule is None else self.lr_schedule
        if not isinstance(given, Mapping):
            faults.append(Fault("lr_schedule", f"must be a table of {', '.join(NETWORKS)}, got {shown(given)}"))
            given = {}
        for name in given:
            if name not in NETWORKS:
                known = f"this run has {', '.join(NETWORKS)}.{did_you_mean(str(name), NETWORKS)}"
                faults.append(Fault(f"lr_schedule.{name}", f"no network of that name; {known}"))
        tables = {name: _table(given[name], self.decay_rate) for name in NETWORKS if given.get(name) is not None}
        if self.fit_schedules:
            tables = _fitted(tables, self.num_train_frames // self.action_repeat, faults)
        tables = {name: _on_its_clock(_scaled(one, self.scale), name, faults) for name, one in tables.items()}
        return {f"{name}.lr": tables.get(name, self.lr) for name in NETWORKS}

    def _stageless(self) -> Iterator[Fault]:
        """Without a curriculum nothing would ever move a schedule that follows its stage."""
        tables = self.lr_schedule.items() if isinstance(self.lr_schedule, Mapping) else ()
        for name, entry in tables:
            if isinstance(entry, Mapping) and entry.get("clock") == STAGE:
                yield Fault(
                    f"lr_schedule.{name}.clock",
                    f"{STAGE} needs a curriculum, and this run has none. Choose a curriculum_preset or another "
                    "lr_schedule",
                )

    def _scaled_node(self, name: str, node: Any) -> Any:
        """A schedule that is no table, scaled as a whole."""
        network = name.removesuffix(".lr")
        given = self.lr_schedule.get(network) if isinstance(self.lr_schedule, Mapping) else None
        whole = network in NETWORKS and isinstance(given, Mapping) and not _is_table(given)
        return node * float(self.scale) if whole and self.scale != 1 else node


def _table(entry: Any, decay_rate: float | None) -> Any:
    """A network's entry with its exponential intervals complete."""
    if not isinstance(entry, Mapping) or entry.get("type") != "exponential_decay" or "intervals" not in entry:
        return entry
    intervals = entry["intervals"]
    if not isinstance(intervals, (list, tuple)):
        return entry
    return {**entry, "intervals": [_exponential(one, decay_rate) for one in intervals]}


def _exponential(interval: Any, decay_rate: float | None) -> Any:
    if not isinstance(interval, Mapping):
        return interval
    interval = dict(interval)
    if "lr" in interval and "init_lr" not in interval:  # a step, of a table whose type alone was changed
        interval["init_lr"] = interval.pop("lr")
        interval = {"decay_rate": DECAY_RATE, "decay_interval": DECAY_INTERVAL, **interval}
    return interval if decay_rate is None else {**interval, "decay_rate": decay_rate}


def has_exponential(lr_schedule: Any) -> bool:
    """Whether `decay_rate` has anything to replace."""
    tables = lr_schedule.values() if isinstance(lr_schedule, Mapping) else ()
    return any(isinstance(one, Mapping) and one.get("type") == "exponential_decay" for one in tables)


# stretching


def _fitted(tables: dict[str, Any], length: int, faults: list[Fault]) -> dict[str, Any]:
    """The tables with one factor on all their counts of env steps, so that networks stay aligned."""
    counted = {name: one for name, one in tables.items() if _counts_env_steps(one)}
    ends = [_last_end(one) for one in counted.values()]
    if not counted or None in ends:
        if counted:
            name = list(counted)[ends.index(None)]
            faults.append(
                Fault(
                    f"lr_schedule.{name}.intervals",
                    "fit_schedules needs the `end` of the last interval as a count, to know how long the table is. "
                    "Write it, or leave fit_schedules off",
                )
            )
        return tables
    factor = Fraction(length, max(end for end in ends if end is not None))
    return {name: _stretched(one, factor) if name in counted else one for name, one in tables.items()}


def _counts_env_steps(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and isinstance(entry.get("intervals"), (list, tuple))
        and len(entry["intervals"]) > 0
        and all(isinstance(one, Mapping) for one in entry["intervals"])
        and entry.get("clock", "env_steps") == "env_steps"
    )


def _last_end(entry: Mapping[str, Any]) -> int | None:
    """Where the table ends; None if its last interval is open or ends at what is no plain count."""
    ends = [_count(one.get("end")) for one in entry["intervals"]]
    return None if None in ends else max(end for end in ends if end is not None)


def _count(value: Any) -> int | None:
    """A count above 0, as a number or as text, or None."""
    try:
        number = parse_number(value) if isinstance(value, str) else Fraction(as_float(value))
    except ValueError:
        return None
    return int(number) if number.denominator == 1 and number > 0 else None


def _stretched(entry: Mapping[str, Any], factor: Fraction) -> dict[str, Any]:
    def stretched(interval: Mapping[str, Any]) -> dict[str, Any]:
        counts = {key: count for key in _COUNTS if (count := _count(interval.get(key))) is not None}
        return {**interval, **{key: max(1, round(count * factor)) for key, count in counts.items()}}

    return {**entry, "intervals": [stretched(one) for one in entry["intervals"]]}


# scaling, and the clock


def _exact(number: float) -> Fraction:
    """The decimal that was written, so that 1e-4 scaled by 2e-4 / 1e-4 is 2e-4 to the last bit."""
    return parse_number(repr(float(number)))


def _is_table(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping) and entry.get("type") in RULES and isinstance(entry.get("intervals"), (list, tuple))
    )


def _scaled(entry: Any, scale: Fraction) -> Any:
    """A number or the rates in a table, scaled where they are written."""
    if not isinstance(entry, Mapping):
        return _times(entry, scale)
    if not _is_table(entry):
        return entry
    return {**entry, "intervals": [_scaled_interval(one, scale) for one in entry["intervals"]]}


def _scaled_interval(interval: Any, scale: Fraction) -> Any:
    if not isinstance(interval, Mapping):
        return interval
    return {key: _times(value, scale) if key in _RATES else value for key, value in interval.items()}


def _on_its_clock(entry: Any, network: str, faults: list[Fault]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    entry = dict(entry)
    clock = entry.pop("clock", CLOCKS[0])
    if clock not in CLOCKS:
        near = did_you_mean(str(clock), CLOCKS)
        faults.append(
            Fault(f"lr_schedule.{network}.clock", f"must be {' or '.join(CLOCKS)}, got {shown(clock)}.{near}")
        )
    return {"type": "on", "unit": "stage", "schedule": entry} if clock == STAGE else entry


def _times(value: Any, scale: Fraction) -> Any:
    """A rate times the scale; what is no number is left for the plan to refuse."""
    try:
        return float(_exact(as_float(value)) * scale) if scale != 1 else value
    except ValueError:
        return value


# noise


def noise_schedule(noise: Any) -> Any:
    """The action noise as plain data of a plan.

    DrQ-v2's strings are read as it reads them, in env steps: `linear(1.0, 0.1, 500000)` from 1 to .1 within the
    duration, `step_linear(1.0, 0.5, 1000, 0.1, 5000)` one line after another. Numbers and plan entries stay.

    Raises:
        ScheduleError: the string is none of these.

    Example:
        >>> noise_schedule("linear(1.0, 0.1, 500000)")
        {'type': 'linear', 'init_value': 1.0, 'end_value': 0.1, 'duration': 500000}
    """
    match = _NOISE.fullmatch(noise) if isinstance(noise, str) else None
    if match is None:
        return noise
    numbers = list(_numbers(match["numbers"], noise))
    if match["name"] == "linear" and len(numbers) == 3:
        return {
            "type": "linear",
            "init_value": float(numbers[0]),
            "end_value": float(numbers[1]),
            "duration": _whole(numbers[2], noise),
        }
    if match["name"] == "step_linear" and len(numbers) == 5:
        first, second = _whole(numbers[2], noise), _whole(numbers[4], noise)
        values = [float(numbers[0]), float(numbers[1]), float(numbers[3])]
        return {"type": "piecewise_linear", "values": values, "boundaries": [0, first, first + second]}
    raise tm.ScheduleError(
        f"must be a number, linear(init, end, duration), step_linear(init, end1, duration1, end2, duration2) or a "
        f"schedule such as {{type: cosine, ...}}, got {shown(noise)}"
    )


def _numbers(text: str, noise: str) -> Iterator[Fraction]:
    for word in text.split(","):
        try:
            yield parse_number(word)
        except ValueError as error:
            raise tm.ScheduleError(f"{error}, in {shown(noise)}") from None


def _whole(number: Fraction, noise: str) -> int:
    if number.denominator != 1 or number < 1:
        raise tm.ScheduleError(f"a duration must be a count of at least 1, got {float(number):g} in {shown(noise)}")
    return int(number)


# paths


def config_path(path: str) -> str:
    """Where a user wrote what a plan's path names.

    >>> config_path("schedules.encoder.lr.intervals[0].lr"), config_path("schedules.noise.duration")
    ('lr_schedule.encoder.intervals[0].lr', 'noise.duration')
    """
    for name in NETWORKS:
        for before in (f"schedules.{name}.lr.schedule", f"schedules.{name}.lr"):
            if path == before or path.startswith((f"{before}.", f"{before}[")):
                return f"lr_schedule.{name}{path.removeprefix(before)}"
    return "num_train_frames" if path == "total" else path.removeprefix("schedules.")
