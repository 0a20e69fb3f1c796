"""One markup in docstrings: names and values stand in double backquotes; no roles, no single ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "iaa_retrieval"
OTHER_MARKUP = re.compile(r"(?<!`)`(?!`)|:\w+:`")


def docstrings(source: str) -> Iterator[str]:
    """Of modules, classes and functions, apart from those of commands, which ``--help`` shows to people."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = " ".join(ast.unparse(one) for one in getattr(node, "decorator_list", []))
            text = ast.get_docstring(node)
            if text is not None and not re.search(r"\b(command|group|callback)\b", decorators):
                yield text


def other_markup(source: str) -> list[str]:
    """Lines of docstrings with another markup."""
    return [line for text in docstrings(source) for line in text.splitlines() if OTHER_MARKUP.search(line)]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_have_one_markup(path: Path) -> None:
    assert other_markup(path.read_text(encoding="utf-8")) == []


def test_other_markup_is_found() -> None:
    assert other_markup('"""Gives `x`."""\ndef f():\n    """See :func:`g`."""\n') == ["Gives `x`.", "See :func:`g`."]
    assert other_markup('"""Gives ``x``."""\n@main.command()\ndef f():\n    """Run `x`."""\n') == []
