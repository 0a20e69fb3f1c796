"""What CONTRIBUTING.md and docs/architecture.md name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iaa_retrieval.collections import sources
from iaa_retrieval.exporting.formats import FORMATS
from iaa_retrieval.inference.backends import BACKENDS
from iaa_retrieval.models.heads.registry import HEADS
from iaa_retrieval.training.losses.registry import LOSSES
from iaa_retrieval.tuning.methods import registry

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = (REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "docs" / "architecture.md")
ROOTS = (REPOSITORY, REPOSITORY / "iaa_retrieval", REPOSITORY / "docs")
GROUPS = {owner.group for owner in (registry.PACKAGES, sources.PACKAGES)} | {
    owner.packages.group for owner in (FORMATS, LOSSES, BACKENDS, HEADS)
}


def quoted(page: Path) -> list[str]:
    """What stands in backquotes outside code blocks."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def is_path(text: str) -> bool:
    return re.fullmatch(r"[\w./-]+", text) is not None and ("/" in text or text.endswith((".py", ".md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    inside = [text for text in quoted(page) if is_path(text) and not text.startswith(".")]
    named = [text for text in inside if "NAME" not in text]
    assert len(named) > 15
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [text for text in named if not any((root / text).exists() for root in ROOTS)] == []
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_groups_of_entry_points_are_those_that_are_read(page: Path) -> None:
    named = {text for text in quoted(page) if re.fullmatch(r"iaa_retrieval\.[a-z_]+", text)}
    assert named == GROUPS


def test_each_addition_is_backed_by_a_test() -> None:
    text = PAGES[0].read_text(encoding="utf-8").partition("## Adding things")[2].partition("\n## ")[0]
    sections = text.split("\n### ")[1:]
    assert len(sections) == 8
    for section in sections:
        tests = re.findall(r"`(tests/[\w/]+\.py)`", section)
        assert tests and all((REPOSITORY / test).is_file() for test in tests), section.split("\n")[0]
