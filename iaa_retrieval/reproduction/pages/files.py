"""Which page is written where."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.reproduction.pages.html import html_page
from iaa_retrieval.reproduction.pages.index import index_page
from iaa_retrieval.reproduction.pages.markdown import markdown_page
from iaa_retrieval.reproduction.plan import Reproduction


def page_files(reproduction: Reproduction) -> dict[Path, str]:
    """Path -> content of every generated page of a collection."""
    return {
        reproduction.directory / f"{reproduction.name}.md": markdown_page(reproduction),
        reproduction.directory / f"{reproduction.name}.html": html_page(reproduction),
    }


def index_file(reproductions: list[Reproduction]) -> dict[Path, str]:
    """The index with its table of all collections made anew; what a person wrote around it stays."""
    path = reproductions[0].directory / "README.md"
    return {path: index_page(path.read_text(encoding="utf-8"), reproductions)}
