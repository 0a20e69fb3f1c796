"""The table of all collections inside the hand-written ``reproductions/README.md``."""

from __future__ import annotations

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.conditions import Reproduction
from iaa_retrieval.reproduction.pages.content import NOT_RUN, tables_of, tally
from iaa_retrieval.reproduction.runner import MISSES, Outcome

BEGIN, END = "<!-- generated table: begin -->", "<!-- generated table: end -->"


def index_page(current: str, reproductions: list[Reproduction]) -> str:
    """The index with a new table between its two markers.

    Raises:
        IaaRetrievalError: a marker is missing.
    """
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise IaaRetrievalError(f"reproductions/README.md lacks the marker {END if begin else BEGIN}")
    return f"{before}{BEGIN}\n{_table(reproductions)}\n{END}{after}"


def _table(reproductions: list[Reproduction]) -> str:
    lines = [
        "| collection | rows | measured | re-run and equal | re-run and off | the paper's | Pyserini's | not yet run |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for reproduction in reproductions:
        counts = tally(reproduction)
        outcomes = [
            {cell.outcome for cell in row.cells} - {None} for table in tables_of(reproduction) for row in table.rows
        ]
        off = sum(bool(found & set(MISSES)) for found in outcomes)
        equal = sum(found == {Outcome.OK} for found in outcomes)
        lines.append(
            f"| [{reproduction.name}]({reproduction.name}.md) ([interactive]({reproduction.name}.html)) "
            f"| {len(reproduction.conditions)} | {counts['measured']} | {equal} | {off} | {counts['paper']} "
            f"| {counts['published']} | {counts[NOT_RUN]} |"
        )
    return "\n".join(lines)
