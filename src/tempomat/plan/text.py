"""YAML text to plain data and back, with the line of every value, and nothing that a text could do but be data.

Scalars are read as people mean them: `1e-4`, `3e6`, `3M` are numbers, `on` and `1:30` are words, `010` is refused as a
number. Aliases, tags, duplicate keys, depth and size are refused while reading, before anything large is built; of a
file that is no plan, the few that other programs write are read.
"""

from __future__ import annotations

from typing import Any

from tempomat.core import Fault, PlanError
from tempomat.core.errors import join_path, list_faults
from tempomat.core.numbers import parse_number

MAX_BYTES = 1_000_000
"""The largest plan."""
MAX_NESTING = 2 * 32 + 4
"""The deepest nesting of lists and mappings that a plan of the deepest tree has."""
MAX_ITEMS = 4096
"""The most entries of one list or mapping."""

Lines = dict[str, int]
"""The line of each path, from 1."""


def parse_yaml(text: str, source: str = "plan", foreign: bool = False) -> tuple[Any, Lines]:
    """Plain data, and on which line each path stands.

    A `foreign` file, one that another program reads too, may also have YAML's own tags (`!!float 1e7`), and entries
    that begin with another's (`<<: *defaults`).

    Raises:
        PlanError: the text is no YAML, or YAML beyond plain data or beyond the caps; with its line.
    """
    import yaml

    size = len(text) if len(text) > MAX_BYTES else len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise PlanError(f"{source}: has {size:_} bytes; a plan has at most {MAX_BYTES:_}")
    reader = _ForeignReader(source) if foreign else _Reader(source)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        fix = ". Indent it by spaces: YAML knows no tabs" if mark and text[mark.index : mark.index + 1] == "\t" else ""
        raise PlanError(f"{source}{where}: is no YAML: {getattr(error, 'problem', None) or error}{fix}") from None
    except UnicodeEncodeError as error:
        raise PlanError(f"{source}: is not UTF-8 text (character {error.start})") from None
    return reader.data, reader.lines


class _Reader:
    """Builds data from the parser's events with a stack of its own: depth costs nothing before it is refused."""

    def __init__(self, source: str) -> None:
        self.source, self.data, self.lines = source, None, Lines()
        self.stack: list[tuple[Any, str, list[Any]]] = []  # what is open, its path, the key read last and its line
        self.documents = 0

    def take(self, event: Any) -> None:
        import yaml

        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            self._refuse_if(self.documents > 1, line, "has several documents; a plan is one")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._fault(line, "anchors and aliases (& and *) are not read. Write the value out")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._refuse_if(event.tag is not None, line, f"tags ({event.tag}) are not read; a plan is plain data")
            self._refuse_if(len(self.stack) >= MAX_NESTING, line, f"is nested more than {MAX_NESTING} levels deep")
            opened: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.stack.append((opened, self._place(opened, line), [None, 0]))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.stack.pop()
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)

    def _scalar(self, event: Any, line: int) -> None:
        self._refuse_if(event.tag not in (None, "!"), line, f"tags ({event.tag}) are not read; a plan is plain data")
        holder = self.stack[-1] if self.stack else None
        if holder is not None and isinstance(holder[0], dict) and holder[2][0] is None:
            self._refuse_if(event.value in holder[0], line, f"the key {event.value!r} stands twice in one mapping")
            holder[2][:] = [event.value, line]
        else:
            self._place(event.value if event.style else _scalar(event.value), line)

    def _place(self, value: Any, line: int) -> str:
        if not self.stack:
            self.data, path = value, ""
        else:
            holder, above, key = self.stack[-1]
            self._refuse_if(len(holder) >= MAX_ITEMS, line, f"{above or 'the plan'} has more than {MAX_ITEMS} entries")
            if isinstance(holder, dict):
                self._refuse_if(key[0] is None, line, "a key must be a name")
                path, line = join_path(above, str(key[0])), key[1] or line
                holder[key[0]], key[0] = value, None
            else:
                path = f"{above}[{len(holder)}]"
                holder.append(value)
        self.lines[path] = line
        return path

    def _refuse_if(self, wrong: bool, line: int, message: str) -> None:
        if wrong:
            raise self._fault(line, message)

    def _fault(self, line: int, message: str) -> PlanError:
        return PlanError(f"{self.source}, line {line}: {message}")


class _ForeignReader(_Reader):
    """Merges an entry's mapping into another entry and nothing deeper, so that no text can grow by its aliases."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.anchors: dict[str, dict[str, Any]] = {}
        self.opened: list[tuple[str | None, list[dict[str, Any]]]] = []  # anchor and merges of what is open

    def take(self, event: Any) -> None:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            self._merge(str(event.anchor), getattr(event.start_mark, "line", 0) + 1)
            return
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.opened.append((event.anchor, []))
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            holder, (anchor, merges) = self.stack[-1][0], self.opened.pop()
            for key, value in (item for one in reversed(merges) for item in one.items()):
                holder.setdefault(key, value)
            if anchor is not None and isinstance(holder, dict):
                self.anchors[anchor] = holder
        elif getattr(event, "anchor", None):
            event.anchor = None
        super().take(event)

    def _merge(self, anchor: str, line: int) -> None:
        depth, nowhere = len(self.stack), (None, "", [None])
        holder, _, key = self.stack[-1] if self.stack else nowhere
        fits = depth == 2 and isinstance(holder, dict) and key[0] == "<<" and anchor in self.anchors
        message = f"the alias *{anchor} is read only in an entry that begins with another: `<<: *{anchor}`. "
        self._refuse_if(not fits, line, f"{message}Write the value out")
        self.opened[-1][1].append(self.anchors[anchor])
        key[0] = None

    def _scalar(self, event: Any, line: int) -> None:
        name = (event.tag or "").removeprefix("tag:yaml.org,2002:")
        if name in ("float", "int", "bool", "null", "str"):
            event.tag, event.style = None, "'" if name == "str" else None
        super()._scalar(event, line)


def _scalar(word: str) -> Any:
    """A plain scalar: null, true, false, a number as written, or else a word."""
    if word in ("", "~", "null", "Null", "NULL"):
        return None
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    try:
        number = parse_number(word)
        return (
            float(word)
            if "." in word and word[-1].isdigit()
            else int(number)
            if number.denominator == 1
            else float(number)
        )
    except (ValueError, OverflowError):
        return word


def dump_yaml(data: Any) -> str:
    """YAML that `parse_yaml` and any YAML 1.1 reader read alike: short mappings on one line, floats with a point."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def real(dumper: Any, value: float) -> Any:
        text = repr(value)
        if "e" in text and "." not in text:
            text = text.replace("e", ".0e")
        return dumper.represent_scalar("tag:yaml.org,2002:float", text)

    def word(dumper: Any, value: str) -> Any:
        style = None if _scalar(value) == value else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(float, real)
    Dumper.add_representer(str, word)
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def located(source: str, faults: list[Fault], lines: Lines) -> PlanError:
    """One error for all faults, each with its path and, where the text is known, its line."""
    placed = [Fault(_where(fault.path, lines), fault.message) for fault in faults]
    return PlanError(list_faults(source, placed), faults)


def _where(path: str, lines: Lines) -> str:
    known = path
    while known and known not in lines:
        known = known[: max(known.rfind("."), known.rfind("["), 0)]
    return f"line {lines[known]}, {path}" if known in lines and path else path
