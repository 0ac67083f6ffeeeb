"""Where values go on PyTorch: keys of param groups, tensors filled in place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch.optim import Optimizer

from tempomat.core import BindingError, Fault, ScheduleError
from tempomat.core.errors import did_you_mean, list_faults
from tempomat.plan import HYPERPARAMETERS, LOOP_FAMILIES, OPTIMIZER_KEYS, EntryName, entry_name

Group = dict[str, Any]
Optimizers = Mapping[str, Optimizer]
"""The optimizers by name; a single one has the empty name."""


@final
@dataclass(slots=True)
class GroupTarget:
    """One entry's place: `key`, or `key[index]`, in each of several param groups."""

    name: str
    key: str
    index: int | None
    groups: list[Group]

    def writer(self) -> Callable[[float], None]:
        """A function that writes a value into every group."""
        floats = [
            group for group in self.groups if self.index is None and not isinstance(group[self.key], torch.Tensor)
        ]
        tensors = {id(one): one for group in self.groups if isinstance(one := self._slot(group), torch.Tensor)}.values()
        tuples = [
            group for group in self.groups if self.index is not None and not isinstance(self._slot(group), torch.Tensor)
        ]
        key = sys.intern(self.key)  # a dict finds a key by identity first
        if len(floats) == len(self.groups):

            def write_floats(value: float, groups: list[Group] = floats, key: str = key) -> None:
                for group in groups:
                    group[key] = value

            return write_floats

        held = [(group, one) for group in self.groups if isinstance(one := self._slot(group), torch.Tensor)]
        if self.index is None and len(held) == 1 == len(self.groups):
            ((group, tensor),) = held

            def fill(value: float) -> None:
                if group[key] is tensor:
                    tensor.fill_(value)
                else:
                    self._put(group, value)

            return fill

        def write(value: float) -> None:
            for group in floats:
                group[key] = value
            for tensor in tensors:
                tensor.fill_(value)
            for group, tensor in held:
                if self._slot(group) is not tensor:  # somebody put another one in its place
                    self._put(group, value)
            for group in tuples:
                group[key] = self._replaced(group[key], value)

        return write

    def _put(self, group: Group, value: float) -> None:
        slot = self._slot(group)
        if isinstance(slot, torch.Tensor):
            slot.fill_(value)
        else:
            group[self.key] = value if self.index is None else self._replaced(group[self.key], value)

    def read(self) -> list[float]:
        """The values in the groups now. Reading a tensor on a device waits for the device."""
        return [float(self._slot(group)) for group in self.groups]

    def cast(self, value: float) -> list[float]:
        """What each group holds after `value` was written: a tensor rounds it to its own type."""
        slots = [self._slot(group) for group in self.groups]
        return [
            torch.tensor(value, dtype=one.dtype).item() if isinstance(one, torch.Tensor) else value for one in slots
        ]

    def own_tensors(self, groups: Iterable[Group]) -> None:
        """Give this target tensors of its own where other groups share them: one tensor cannot hold two values."""
        mine = {id(group) for group in self.groups}
        foreign = {id(self._slot(group)) for group in groups if id(group) not in mine and self.key in group}
        for group in self.groups:
            slot = self._slot(group)
            if isinstance(slot, torch.Tensor) and id(slot) in foreign:
                group[self.key] = slot.clone() if self.index is None else self._replaced(group[self.key], slot.clone())

    def overlaps(self, other: GroupTarget) -> bool:
        """Whether both write the same key of one group."""
        same = (self.key, self.index) == (other.key, other.index)
        return same and any(group is one for group in self.groups for one in other.groups)

    def _slot(self, group: Group) -> Any:
        value = group[self.key]
        return value if self.index is None else value[self.index]

    def _replaced(self, values: Any, value: Any) -> Any:
        changed = list(values)
        changed[self.index or 0] = value
        return type(values)(changed) if isinstance(values, (tuple, list)) else tuple(changed)


def bind(
    optimizers: Optimizers, names: Iterable[str], targets: Iterable[str], later: Iterable[str]
) -> dict[str, GroupTarget]:
    """The target of each entry that goes into param groups; the other entries are for `targets` or for the loop to
    read.

    `encoder.lr` goes to the groups named `encoder` (or all of the optimizer of that name), `lr` to every group that
    no entry of its own names.

    Raises:
        BindingError: an entry fits nothing; all of them at once.
    """
    faults: list[Fault] = []
    places = [
        (label, place, group) for label, one in optimizers.items() for place, group in enumerate(one.param_groups)
    ]
    found: dict[str, GroupTarget] = {}
    taken: set[tuple[int, str, int | None]] = set()
    for name in sorted(names, key=lambda name: -name.count(".")):
        entry = entry_name(name)
        if name in targets:
            continue
        try:
            groups = [group for label, _, group in places if _named(entry.group, label, group)]
            if entry.group is not None and not groups:
                if entry.group in later or entry.group in LOOP_FAMILIES:
                    continue
                raise ScheduleError(_no_group(name, entry.group, places))
            holders = [group for group in groups if entry.key in group]
            if holders:
                # with every group spoken for, a general entry is the rule for groups that come later
                holders = [group for group in holders if (id(group), entry.key, entry.index) not in taken]
                if not holders:
                    continue
            if not holders:
                _must_be_read_by_the_loop(entry, places)
                continue
            _check_index(entry, holders)
            taken |= {(id(group), entry.key, entry.index) for group in holders}
            found[name] = GroupTarget(name, entry.key, entry.index, holders)
        except ScheduleError as error:
            faults.append(Fault(name, str(error)))
    if faults:
        raise BindingError(list_faults("the plan does not fit the optimizer", faults), faults)
    return found


def _named(wanted: str | None, label: str, group: Group) -> bool:
    if wanted is None:
        return True
    name = str(group.get("name", ""))
    return wanted in {label, name, f"{label}.{name}"} - {""}


def _no_group(entry: str, wanted: str, places: list[tuple[str, int, Group]]) -> str:
    names = sorted(
        {str(group["name"]) for _, _, group in places if "name" in group} | {label for label, _, _ in places if label}
    )
    known = (
        f"Groups: {', '.join(names)}" if names else 'No group has a name; give one: {"params": ..., "name": "encoder"}'
    )
    return (
        f"no param group is named {wanted!r}.{did_you_mean(wanted, names)} {known}. For a group that comes later, "
        f"name it in later=. For a value that the loop reads from scheduler.values: targets={{{entry!r}: None}}"
    )


def _must_be_read_by_the_loop(entry: EntryName, places: list[tuple[str, int, Group]]) -> None:
    """Accept a hyperparameter that is no param-group key if the field has a name for it; refuse what nothing would
    ever read.
    """
    keys = sorted({key for _, _, group in places for key in group if key not in ("params", "name", "initial_lr")})
    if entry.key in HYPERPARAMETERS and entry.key not in OPTIMIZER_KEYS and entry.index is None and entry.group is None:
        return
    first_beta = entry.key in ("beta1", "beta", "momentum") and "betas" in keys
    near = [key for key in (*keys, *HYPERPARAMETERS) if key != entry.key]
    hint = " For Adam's first beta write betas[0]." if first_beta else did_you_mean(entry.key, near)
    raise ScheduleError(
        f"no param group has a {entry.key!r}.{hint} Keys here: {', '.join(keys)}. "
        "For a value that goes elsewhere give a target: "
        f"targets={{{str(entry.key)!r}: function}}, or targets={{{str(entry.key)!r}: None}} to read it from "
        "scheduler.values"
    )


def _check_index(entry: EntryName, groups: list[Group]) -> None:
    for group in groups:
        value = group[entry.key]
        several = isinstance(value, (tuple, list))
        if several and entry.index is None:
            raise ScheduleError(f"holds {len(value)} values; say which: {entry.key}[0]")
        if not several and entry.index is not None:
            raise ScheduleError(f"holds one value, not a list; write {entry.key} without [{entry.index}]")
        if several and entry.index is not None and entry.index >= len(value):
            raise ScheduleError(f"holds {len(value)} values, so [{entry.index}] is beyond its end")
        current = value[entry.index] if several and entry.index is not None else value
        if isinstance(current, bool) or not isinstance(current, (int, float, torch.Tensor)):
            raise ScheduleError(f"holds {current!r}, which is no number")
