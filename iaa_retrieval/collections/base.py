"""What every source of documents, queries and judgments offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Sequence

from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError


class Collection(ABC):
    """Documents, and perhaps queries and judgments of one split.

    Attributes:
        name: what :func:`.collection.load_collection` was asked for; it can be given to it again.
        split: whose queries and judgments are meant, such as ``train``; None without a split (all queries, or a
            collection that has no splits).
        split_was_chosen: nobody named ``split``: it is the only one that the collection has.
    """

    name: str
    split: str | None = None
    split_was_chosen: bool = False

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Stream the documents in a fixed order; a document without title and text has empty ``contents``.

        Raises:
            IaaRetrievalError: a malformed line, a missing or a repeated id, named by file and line.
        """

    @abstractmethod
    def document_count(self) -> int | None:
        """How many documents :meth:`documents` yields, or None where nobody knows without reading them."""

    @abstractmethod
    def queries(self) -> list[Query]:
        """The queries of the split, as far as they exist (all queries when no split was chosen)."""

    @abstractmethod
    def qrels(self) -> Qrels:
        """All judgments of the split, of queries and documents that the collection lacks too.

        Raises:
            UsageError: no split was chosen, or the collection has no judgments.
            IaaRetrievalError: none of the judged queries exists.
        """

    @abstractmethod
    def splits(self) -> list[str]:
        """The names of the known splits, sorted."""

    def get_documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Fetch documents by id, in the order of ``ids``.

        Raises:
            IaaRetrievalError: an id that the collection does not have.
        """
        wanted = list(dict.fromkeys(ids))
        found = self.find_documents(wanted)
        self.require_documents(wanted, found)
        return found

    def require_documents(self, wanted: Sequence[str], found: Container[str], named_by: str = "") -> None:
        """Refuse ids that :meth:`find_documents` did not find.

        Args:
            named_by: the file that names them, for the message.

        Raises:
            IaaRetrievalError: names the first one.
        """
        missing = [doc_id for doc_id in wanted if doc_id not in found]
        if missing:
            others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            file = f"{named_by}: " if named_by else ""
            raise IaaRetrievalError(f"{file}document {missing[0]!r}{others} is not in collection {self.name}")

    def missing_documents(self, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that the collection does not have; no text is kept. Here in one streaming pass."""
        missing = dict.fromkeys(ids)
        if missing:
            for document in self.documents():
                missing.pop(document.doc_id, None)
                if not missing:
                    break
        return list(missing)

    def find_documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Those of the documents that the collection has, in the order of ``ids``.

        Here in one streaming pass, which stops at the last one wanted.
        """
        wanted = list(dict.fromkeys(ids))
        missing = set(wanted)
        found: dict[str, Document] = {}
        if missing:
            for document in self.documents():
                if document.doc_id in missing:
                    found[document.doc_id] = document
                    missing.remove(document.doc_id)
                    if not missing:
                        break
        return {doc_id: found[doc_id] for doc_id in wanted if doc_id in found}
