"""The values that cross every boundary: documents, queries, judgments, runs."""

from __future__ import annotations

from typing import NamedTuple


class Document(NamedTuple):
    """One passage or document.

    Attributes:
        doc_id: unique in its collection, without white space.
        title: empty where the document has none.
        text: what the document says, of any length; it may be empty.
    """

    doc_id: str
    title: str
    text: str

    @property
    def contents(self) -> str:
        """Title and text joined by one space: what is indexed and encoded."""
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    """One query (or topic).

    Attributes:
        query_id: unique in its collection or file, without white space.
        text: what is asked; it may be empty.
    """

    query_id: str
    text: str


Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> grade, a whole number; a grade above 0 is relevant."""

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score, a finite number, higher is better.

The order of a query's documents is that of ``runs.rank``.
"""
