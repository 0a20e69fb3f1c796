"""What needs scrolling is two: functions of at most 60 lines, modules of at most 350, or a reason beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "iaa_retrieval"
FUNCTION, MODULE = 60, 350
REASON = re.compile(r"#\s*over (?:60|350) lines: \S+")


def long_functions(source: str) -> Iterator[str]:
    """Names of functions (methods, inner ones) that are too long and whose line, or that before, gives no reason."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            beside = "\n".join(lines[max(0, node.lineno - 2) : node.lineno])
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION and not REASON.search(beside):
                yield f"{node.name} ({length} lines)"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_too_long_without_a_reason(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert list(long_functions(source)) == []
    length = source.count("\n")
    assert length <= MODULE or REASON.search("\n".join(source.split("\n")[:20])), f"{length} lines"


def test_a_long_function_is_found_and_a_reason_accepted() -> None:
    body = "    pass\n" * FUNCTION
    assert list(long_functions(f"def long() -> None:\n{body}")) == ["long (61 lines)"]
    assert list(long_functions(f"class A:\n    # over 60 lines: a table\n    def long(self):\n    {body}")) == []
    assert list(long_functions(f"def fine() -> None:\n{body[9:]}")) == []
