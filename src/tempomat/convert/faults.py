"""Every fault of an import at once, each under the name that the other library gives the argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from tempomat.core import Constant, ConversionError, Fault, ScheduleError
from tempomat.core.errors import join_path, list_faults

STAND_IN = Constant(value=0.0)
"""What a part with a fault is meanwhile, so that the parts beside it are looked at too."""


@final
class Faults:
    """What cannot be represented, collected while a source is read."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.found: list[Fault] = []

    def add(self, path: str, message: str) -> Constant:
        """One more fault; returns the stand-in."""
        self.found.append(Fault(path, message))
        return STAND_IN

    def build(
        self, path: str, make: Callable[..., Any], names: Mapping[str, str] | None = None, /, **given: Any
    ) -> Any:
        """What `make` builds; its faults are taken under a path, with parameters renamed by `names`."""
        try:
            return make(**given)
        except ScheduleError as error:
            for fault in error.faults:
                known = names or {}
                name, rest = (fault.path, "") if fault.path in known else _split(fault.path)
                self.found.append(Fault(join_path(path, known.get(name, name) + rest), fault.message))
            return STAND_IN

    def check(self) -> None:
        """Refuse the whole where anything was found."""
        if self.found:
            each = list(dict.fromkeys(self.found))
            raise ConversionError(list_faults(self.title, each), each)


def _split(path: str) -> tuple[str, str]:
    """A path's first name, and what follows it."""
    end = next((place for place, letter in enumerate(path) if letter in ".["), len(path))
    return path[:end], path[end:]
