"""docs/faults.md names tests that exist, and every reported case has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name: str) -> None:
    file, _, function = name.partition("::")
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    assert f"def {function or 'test_'}" in source


def test_every_reported_case_has_a_row() -> None:
    tests = sorted(path.name for path in (REPOSITORY / "tests" / "reported_cases").glob("test_*.py"))
    assert [name for name in tests if f"tests/reported_cases/{name}`" not in PAGE] == []
