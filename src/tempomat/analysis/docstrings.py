"""What a docstring says, section by section, and the instance that its example makes.

The example is read as syntax, never run: only names that `tempomat.core` exports are called, with literal arguments.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from tempomat import core
from tempomat.core import Node

SECTIONS = ("Args", "Returns", "Raises", "Source", "Agrees with", "Example")
_HEADING = re.compile(rf"^({'|'.join(SECTIONS)}):[ \t]*$", re.MULTILINE)
_ITEM = re.compile(r"^(\w+):\s+(.*?)(?=^\w+:\s|\Z)", re.MULTILINE | re.DOTALL)
_MATH = re.compile(r"^\.\. math::[ \t]*\n((?:[ \t]+.*\n|[ \t]*\n)*)", re.MULTILINE)
_METHODS = frozenset({"then", "minimum", "maximum", "clip", "shift", "stretch", "repeat", "floor_to"})
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@final
@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring taken apart.

    Args:
        summary: its first paragraph, on one line.
        prose: what follows, formulas in their places as `.. math::` blocks.
        formulas: the blocks' LaTeX.
        sections: by heading, the text below it, without its indent.
    """

    summary: str
    prose: str
    formulas: tuple[str, ...]
    sections: Mapping[str, str]

    def items(self, section: str) -> dict[str, str]:
        """The entries of a section such as `Args`: by name, what is said of it on one line."""
        found = _ITEM.findall(self.sections.get(section, ""))
        return {name: " ".join(text.split()) for name, text in found}


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """A representative instance.

    Args:
        name: what the example calls it; empty where it has no name there.
        tree: itself.
        source: the Python that makes it.
    """

    name: str
    tree: Node
    source: str


def read_docstring(owner: Any) -> Docstring:
    """Take the docstring of a class or function apart; one that has none gives an empty one."""
    pieces = _HEADING.split(inspect.cleandoc(owner.__doc__ or "") + "\n")
    summary, _, prose = pieces[0].partition("\n\n")
    sections = {name: inspect.cleandoc(text) for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    formulas = tuple(inspect.cleandoc(one) for one in _MATH.findall(prose + "\n"))
    return Docstring(" ".join(summary.split()), prose.strip("\n"), formulas, sections)


def split_prose(prose: str) -> list[tuple[bool, str]]:
    """Paragraphs and formulas in their order; True where it is a formula."""
    parts: list[tuple[bool, str]] = []
    for place, piece in enumerate(_MATH.split(prose + "\n")):
        text = inspect.cleandoc(piece).strip()
        parts += [(place % 2 == 1, text)] if text else []
    return parts


def sample_of(owner: Any) -> Sample | None:
    """The first tree that a docstring's example makes; None where it makes none."""
    text = read_docstring(owner).sections.get("Example", "")
    known: dict[str, Any] = {}
    sources: list[str] = []
    for example in doctest.DocTestParser().get_examples(text):
        try:
            (statement,) = ast.parse(example.source).body
            if isinstance(statement, ast.ImportFrom):
                continue  # names are looked up in `tempomat.core` alone, whatever is imported
            name, made = _made(statement)
            value = _value(made, known)
        except (SyntaxError, TypeError, ValueError):
            return None
        sources.append(example.source.strip() if name else ast.unparse(made))
        if isinstance(value, Node):
            return Sample(name, value, "\n".join(sources))
        known[name] = value
    return None


def _made(statement: ast.stmt) -> tuple[str, ast.expr]:
    """What a statement makes, and the name it gives it."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, statement.value
    if isinstance(statement, ast.Expr):
        called = statement.value
        while isinstance(called, ast.Call) and isinstance(called.func, ast.Call):
            called = called.func  # Constant(value=1.0)(10): the tree is what is called
        return "", called
    raise ValueError("neither an assignment nor an expression")


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """What an expression of literals, calls and operators stands for.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.Call):
        given = [_value(one, known) for one in node.args]
        named = {str(one.arg): _value(one.value, known) for one in node.keywords}
        return _called(node.func, known)(*given, **named)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, known), _value(node.right, known))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        tree: Any = _value(node.left, known)
        if isinstance(tree, Node):  # a power of plain numbers may be of any size
            return tree ** _value(node.right, known)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(one, known) for one in node.elts]
    return ast.literal_eval(node)


def _called(function: ast.expr, known: Mapping[str, Any]) -> Callable[..., Any]:
    if isinstance(function, ast.Name) and function.id in core.__all__:
        return getattr(core, function.id)
    if isinstance(function, ast.Attribute) and function.attr in _METHODS:
        tree = _value(function.value, known)
        if isinstance(tree, Node):
            return getattr(tree, function.attr)
    raise ValueError(f"no call of a name that tempomat.core exports: {ast.unparse(function)}")
