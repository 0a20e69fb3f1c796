"""A collection of texts that a program holds in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.lines import check_id
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import UsageError


class InMemoryCollection(Collection):
    """Documents without titles, queries or judgments.

    Args:
        texts: document id -> text.

    Raises:
        IaaRetrievalError: an id that a run cannot hold.
    """

    name = "(in memory)"

    def __init__(self, texts: Mapping[str, str]) -> None:
        for doc_id in texts:
            check_id(doc_id, "documents in memory")
        self._texts = texts

    def documents(self) -> Iterator[Document]:
        """The documents in the order of the mapping."""
        return (Document(doc_id, "", text) for doc_id, text in self._texts.items())

    def document_count(self) -> int:
        """How many there are."""
        return len(self._texts)

    def queries(self) -> list[Query]:
        """None."""
        return []

    def qrels(self) -> Qrels:
        """There are none, so asking for them is an error.

        Raises:
            UsageError: always.
        """
        raise UsageError("documents in memory come without judgments")

    def splits(self) -> list[str]:
        """None."""
        return []


def as_collection(documents: Collection | Mapping[str, str] | str | Path) -> Collection:
    """A collection from whatever a program may say it with: itself, document id -> text, or a name or path.

    Raises:
        UsageError: an unknown name.
        IaaRetrievalError: damaged data, or an id that a run cannot hold.
    """
    if isinstance(documents, Collection):
        return documents
    if isinstance(documents, Mapping):
        return InMemoryCollection(documents)
    return load_collection(str(documents))
