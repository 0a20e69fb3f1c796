"""Documented definitions in Python source, read and never imported."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import NamedTuple

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(\[`])")

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Definition(NamedTuple):
    """A function, method or class.

    Attributes:
        module: dotted name of the module it is defined in.
        name: its own dotted name, module included.
        summary: first sentence of its docstring.
        code: its source without that docstring or any nested one; a class keeps its methods' signatures only.
    """

    module: str
    name: str
    summary: str
    code: str


def module_name(parts: tuple[str, ...]) -> str:
    """The dotted name of a module from its path below the root of its package, such as ``("json", "__init__.py")``."""
    names = [*parts[:-1], parts[-1].removesuffix(".py")]
    return ".".join(names[:-1] if len(names) > 1 and names[-1] == "__init__" else names)


def definitions_in(source: bytes, module: str) -> Iterator[Definition]:
    """Every documented definition at module or class level, in the order of the source.

    Templates, and the few files in another encoding or syntax, have none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the source, which are its authors' business
            tree = ast.parse(source)
        # Not splitlines(): it also splits at form feeds, which ast does not count as lines.
        lines = list(io.StringIO(source.decode("utf-8-sig"), newline=None))
    except (SyntaxError, ValueError):
        return
    for name, node in _walk(tree, module):
        docstring = ast.get_docstring(node)
        if docstring:
            yield Definition(module, name, first_sentence(docstring), _code(node, lines))


def _walk(parent: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    """Definitions below ``parent``, through classes and ``if``/``try`` blocks but not into functions."""
    for child in ast.iter_child_nodes(parent):
        if isinstance(child, _Definition):
            name = f"{prefix}.{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from _walk(child, name)
        elif isinstance(child, ast.stmt | ast.excepthandler):
            yield from _walk(child, prefix)


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring's first paragraph, on one line."""
    paragraph = docstring.strip().split("\n\n", 1)[0]
    return _SENTENCE_END.split(" ".join(paragraph.split()), maxsplit=1)[0]


def _code(node: _Definition, lines: list[str]) -> str:
    """The source of ``node`` without what would give its documentation away."""
    removed = list(_docstrings(node))
    if isinstance(node, ast.ClassDef):
        removed += [span for method in _methods(node) if (span := _body(method))]
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    text = _without(lines, start, node.end_lineno or node.lineno, removed)
    kept = [line.rstrip() for line in textwrap.dedent(text).split("\n")]
    return "\n".join(line for line in kept if line)


class _Span(NamedTuple):
    """From (line, column) up to (line, column); lines from 1, columns in UTF-8 bytes, as ``ast`` counts."""

    start: tuple[int, int]
    end: tuple[int, int]


def _span(first: ast.stmt, last: ast.stmt) -> _Span:
    return _Span(
        (first.lineno, first.col_offset),
        (last.end_lineno or last.lineno, last.end_col_offset or last.col_offset),
    )


def _docstrings(node: _Definition) -> Iterator[_Span]:
    for inner in ast.walk(node):
        if isinstance(inner, _Definition) and ast.get_docstring(inner, clean=False) is not None:
            yield _span(inner.body[0], inner.body[0])


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner


def _body(method: ast.FunctionDef | ast.AsyncFunctionDef) -> _Span | None:
    return _span(method.body[0], method.body[-1])


def _without(lines: list[str], first: int, last: int, removed: list[_Span]) -> str:
    """Lines ``first`` to ``last`` (from 1, inclusive) without the spans, which may lie in one another."""
    kept: list[bytes] = []
    position = (first, 0)
    for span in sorted(removed):
        if span.start > position:
            kept.append(_between(lines, position, span.start))
        position = max(position, span.end)
    kept.append(_between(lines, position, (last + 1, 0)))
    return b"".join(kept).decode("utf-8")


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> bytes:
    text = b""
    for number in range(start[0], min(end[0], len(lines)) + 1):
        line = lines[number - 1].encode("utf-8")
        upper = end[1] if number == end[0] else len(line)
        lower = start[1] if number == start[0] else 0
        text += line[lower:upper]
    return text
