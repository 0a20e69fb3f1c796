"""Which page is written where."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.reproduction.claims.cases import cases_of
from iaa_retrieval.reproduction.pages.claim_figures import Figure, claim_figures
from iaa_retrieval.reproduction.pages.html import html_page
from iaa_retrieval.reproduction.pages.index import index_page
from iaa_retrieval.reproduction.pages.learning_efficiency import NAME, learning_efficiency_page
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


def learning_efficiency_files(reproductions: list[Reproduction]) -> tuple[dict[Path, str], list[Figure]]:
    """The page of the paper's claims with the data of its figures, and the figures, which may have to be drawn."""
    figures = claim_figures(cases_of(reproductions))
    pages = {reproductions[0].directory / NAME: learning_efficiency_page(reproductions)}
    return pages | {figure.data_file: figure.data for figure in figures}, figures
