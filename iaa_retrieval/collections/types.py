"""The values that cross every boundary: documents, queries, judgments, runs."""

from __future__ import annotations

from typing import NamedTuple


class Document(NamedTuple):
    """One passage or document; ``title`` and ``text`` may be empty."""

    doc_id: str
    title: str
    text: str

    @property
    def contents(self) -> str:
        """Title and text joined by one space: what is indexed and encoded."""
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    """One query (or topic)."""

    query_id: str
    text: str


Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> grade; a grade above 0 is relevant."""

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score; the order of a query's documents is that of :func:`.runs.rank`."""
