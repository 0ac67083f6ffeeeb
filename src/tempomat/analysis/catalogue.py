"""The catalogue: everything that a plan may name, as its own docstring tells it.

Nothing here knows a schedule by name. What `tempomat.core` exports is in it, and its docstring says the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, final

from tempomat import core
from tempomat.analysis.docstrings import Docstring, Sample, read_docstring, sample_of
from tempomat.core import Composite, Controller, Duration, IntervalTable, ScheduleError
from tempomat.core.errors import did_you_mean
from tempomat.core.fields import (
    Choice,
    CountKind,
    FactorKind,
    Flag,
    Kind,
    ListOf,
    NodeKind,
    NumberKind,
    Word,
    defaults_of,
    kinds_of,
)
from tempomat.core.intervals import RULES
from tempomat.plan.data import registry

GROUPS: Mapping[str, str] = {
    "shapes": "closed forms of one count",
    "cycles": "waves, restarts and noise",
    "recipes": "schedules composed under the names of papers and configs",
    "compositions": "schedules made of schedules",
    "controllers": "rules that follow measurements",
}
"""The catalogue's chapters, each with what it holds."""
OWN_SHAPE = """\
from dataclasses import dataclass
from typing import Any

import tempomat as tm
from tempomat.core.fields import Length, Value
from tempomat.core.ops import Ops


@dataclass(frozen=True, kw_only=True)
class HalfLife(tm.Schedule):
    init_value: Value  # any finite number
    half_life: Length  # a count from 1, or a duration such as 5%

    def _at(self, t: Any, ops: Ops) -> Any:  # one formula for Python numbers, NumPy, PyTorch and JAX
        return self.init_value * ops.power(0.5, ops.real(t) / ops.count(self.half_life))


lr = HalfLife(init_value=3e-4, half_life="10%")  # a file says type: my_module.HalfLife
# plan = tm.load_plan("plan.yaml", own=[HalfLife])
"""
"""A shape of one's own, as a module has it."""
_ALIAS = re.compile(r"\.|^[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*$|^get_|_schedule$|_decay$|^fit_")


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: its name, what it may be, its default as it is written in Python (empty where it must be given)."""

    name: str
    kind: str
    default: str
    text: str


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """A schedule, recipe, composition or controller.

    Args:
        builder: the class or function.
        name: as it is called in Python.
        types: as plans name it.
        group: its chapter, one of `GROUPS`.
        text: its docstring.
        parameters: in the order of the constructor.
    """

    builder: Any
    name: str
    types: tuple[str, ...]
    group: str
    text: Docstring
    parameters: tuple[Parameter, ...]

    @property
    def agrees(self) -> str:
        """Which library has it under which name, as the docstring says."""
        return self.text.sections.get("Agrees with", "")

    @property
    def source(self) -> str:
        """Where it comes from, or nothing."""
        return self.text.sections.get("Source", "")

    @property
    def quoted(self) -> tuple[str, ...]:
        """The names that its `Agrees with` quotes, but for its own parameters."""
        own = {one.name for one in self.parameters}
        found = re.findall(r"`(?:--)?([A-Za-z_][\w.-]*)`", self.agrees)
        return tuple(dict.fromkeys(one for one in found if one not in own))

    @property
    def known_as(self) -> tuple[str, ...]:
        """The same, with and without the package in front."""
        return (*self.quoted, *(one.rpartition(".")[2] for one in self.quoted))

    @property
    def aliases(self) -> tuple[str, ...]:
        """Those of them that libraries have for a schedule, rather than for a schedule's parameter."""
        return tuple(one for one in self.quoted if _ALIAS.search(one) and one not in core.__all__)

    def qualified(self, name: str) -> int:
        """How much its `Agrees with` says around a library's name, but for whose it is and what is in parentheses."""
        for clause in re.split(r"[,;:.](?=\s|$)", re.sub(r"\([^)]*\)", "", self.agrees)):
            found = re.search(rf"`(?:--)?(?:[\w.]+\.)?{re.escape(name)}`", clause, re.IGNORECASE)
            if found is not None:
                before = re.sub(r"^\s*[\w-]+'s?\s*$", "", clause[: found.start()])
                return len(before.strip()) + len(clause[found.end() :].strip())
        return len(self.agrees)

    @property
    def sample(self) -> Sample | None:
        """A representative instance: what its example makes first."""
        return sample_of(self.builder)


@cache
def entries() -> tuple[Entry, ...]:
    """Everything that a plan may name, chapter by chapter, in the order of names."""
    builders: dict[Any, list[str]] = {}
    for type_name, several in registry().items():
        for one in several:
            builders.setdefault(one, []).append(type_name)
    builders[IntervalTable] = list(RULES)
    found = [_entry(one, tuple(types)) for one, types in builders.items()]
    order = list(GROUPS)
    return tuple(sorted(found, key=lambda one: (order.index(one.group), one.name.lower())))


@cache
def by_hand() -> Entry:
    """Functions of one's own, which no plan's file can name and so is none of `entries`."""
    text = read_docstring(core.schedule)
    function = Parameter("function", "a function of one count", "", text.items("Args")["function"])
    return Entry(core.schedule, "schedule", (), "by hand", text, (function,))


def _entry(builder: Any, types: tuple[str, ...]) -> Entry:
    text = read_docstring(builder)
    said, defaults = text.items("Args"), defaults_of(builder)
    parameters = tuple(
        Parameter(name, describe(kind), _default(defaults[name]) if name in defaults else "", said.get(name, ""))
        for name, kind in kinds_of(builder).items()
    )
    return Entry(builder, builder.__name__, types, _group(builder), text, parameters)


def _default(value: Any) -> str:
    return repr(str(value)) if isinstance(value, Duration) else repr(value)


def _group(builder: Any) -> str:
    if not isinstance(builder, type):
        return "recipes"
    if issubclass(builder, Controller):
        return "controllers"
    if issubclass(builder, Composite):
        return "compositions"
    return "cycles" if builder.__module__.endswith((".cycles", ".noise")) else "shapes"


def describe(kind: Kind) -> str:
    """A kind of parameter in a few words.

    >>> describe(NumberKind(above=0, at_most=1)), describe(CountKind(1)), describe(ListOf(NumberKind()))
    ('a number above 0 and at most 1', 'a count from 1, or a duration', 'a list: a number each')
    """
    if isinstance(kind, NumberKind):
        bounds = [("at least", kind.at_least), ("above", kind.above), ("below", kind.below), ("at most", kind.at_most)]
        words = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        return f"a number {words}".strip() + (", or none" if kind.optional else "")
    if isinstance(kind, CountKind):
        return f"a count from {kind.at_least}, or a duration" + (", or none" if kind.optional else "")
    if isinstance(kind, ListOf):
        return f"a list: {describe(kind.item)} each" + (", increasing" if kind.increasing else "")
    if isinstance(kind, Choice):
        return f"one of {', '.join(kind.words)}"
    if isinstance(kind, FactorKind):
        return "a number above 0, or a duration"
    words = {Flag: "true or false", Word: "a name", NodeKind: "a schedule, a controller or a number"}
    return words.get(type(kind), "a list of intervals")


def search(word: str) -> tuple[Entry, ...]:
    """The entries that speak of a word: in their names, what they are, or the names that libraries have for them."""
    wanted = word.casefold().strip()
    return tuple(one for one in entries() if any(wanted in text.casefold() for text in _told(one)))


def _told(entry: Entry) -> Iterator[str]:
    yield from (entry.name, *entry.types, entry.text.summary, entry.agrees, entry.source)
    yield " ".join(entry.types).replace("_", " ")


def find(name: str) -> tuple[Entry, ...]:
    """The entries of a name: a class's or recipe's own, a plan's `type`, or the one that a library has for it.

    `schedule` is among them, though no plan's file names it. One of our own decides. A library's name may belong to
    several; that of which it says the least besides is first, which is the one that is all of it. Letter case, `-` and
    `_` do not matter.

    Raises:
        ScheduleError: nothing has that name; the message suggests one.
    """
    plain = name.strip().removeprefix("tm.").removeprefix("tempomat.")
    everything, wanted = (*entries(), by_hand()), _alike(plain)
    exact = tuple(one for one in everything if one.name == plain)
    if exact:
        return exact
    last, folded = plain.rpartition(".")[2], plain.casefold()
    ours = [one for one in everything if folded in (one.name.casefold(), *one.types)]
    theirs = [one for one in everything if wanted in map(_alike, one.known_as) and one not in ours]
    options = [one for one in everything if wanted in (_alike(each.name) for each in one.parameters if each.default)]
    theirs.sort(key=lambda one: one.qualified(last))
    nearly = [one for one in everything if wanted in map(_alike, (one.name, *one.types))]
    found = list(dict.fromkeys(place for group in (ours, theirs, nearly) for place in map(everything.index, group)))
    found = [everything[place] for place in found] or options
    if found:
        return tuple(found)
    raise ScheduleError(f"no schedule of the name {name!r}.{suggestion(name)} `tempomat list` shows all")


def _alike(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def suggestion(word: str) -> str:
    """` Did you mean x?` where a name of ours or of a library is near, else an empty string."""
    known = [name for one in entries() for name in (one.name, *one.types)]
    known += [alias.rpartition(".")[2] for one in entries() for alias in one.aliases]
    return did_you_mean(word, known)
