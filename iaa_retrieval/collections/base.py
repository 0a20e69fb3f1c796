"""What every collection offers (documents, queries, judgments), and what every source of collections does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError


class Collection(ABC):
    """Documents, and perhaps queries and judgments of one split.

    ``iaa_retrieval.collections.loading.load_collection`` opens one. Ids are strings without white space; texts are
    strings that any encoding takes. Documents are streamed, so a collection may be larger than memory; queries and
    judgments are held whole.

    Attributes:
        name: what ``loading.load_collection`` was asked for; it can be given to it again.
        split: whose queries and judgments are meant, such as ``train``; None without a split (all queries, or a
            collection that has no splits).
        split_was_chosen: nobody named ``split``: it is the only one that the collection has.
        warns_of_missing_queries: ``qrels`` itself says which judged queries the collection lacks, so nobody else
            needs to.
        documents_by_split: whether the queries of each split search documents of their own, so that ``documents`` of
            another split are others; else all splits search the same.
    """

    name: str
    split: str | None = None
    split_was_chosen: bool = False
    warns_of_missing_queries: bool = False
    documents_by_split: bool = False

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Stream the documents in a fixed order; a document without title and text has empty ``contents``.

        Raises:
            IaaRetrievalError: a malformed line, a missing or a repeated id, named by file and line.
        """

    @abstractmethod
    def document_count(self) -> int | None:
        """How many documents ``documents`` yields, or None where nobody knows without reading them."""

    @abstractmethod
    def queries(self) -> list[Query]:
        """The queries of the split, as far as they exist (all queries when no split was chosen).

        Raises:
            UsageError: the collection has no queries.
            IaaRetrievalError: damaged data.
        """

    @abstractmethod
    def qrels(self) -> Qrels:
        """All judgments of the split, of queries and documents that the collection lacks too.

        Returns:
            Query id -> document id -> grade, a whole number; above 0 is relevant.

        Raises:
            UsageError: no split was chosen, or the collection has no judgments.
            IaaRetrievalError: none of the judged queries exists.
        """

    @abstractmethod
    def splits(self) -> list[str]:
        """The names of the known splits, sorted."""

    def get_documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Fetch documents by id, in the order of ``ids``; an id that comes twice is fetched once.

        Raises:
            IaaRetrievalError: an id that the collection does not have.
        """
        wanted = list(dict.fromkeys(ids))
        found = self.find_documents(wanted)
        self.require_documents(wanted, found)
        return found

    def require_documents(self, wanted: Sequence[str], found: Container[str], named_by: str = "") -> None:
        """Refuse ids that ``find_documents`` did not find.

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


class Source(ABC):
    """Where collections come from: which names are its own, and how one of them is opened.

    Give one to ``iaa_retrieval.collections.sources.register_source``, and every verb and function that takes the
    name of a collection takes its names.

    Attributes:
        name: of the source itself, unique among them.
        before: the source that this one is asked before, where both claim a name; empty to be asked last.
        described: what its names are, such as "an ir_datasets id", for the message about a name that no source
            claims; empty where that message needs no mention of them.
    """

    name: str
    before: str = ""
    described: str = ""

    @abstractmethod
    def claims(self, spec: str) -> bool:
        """Whether ``spec`` is the whole name of a collection of this source; nothing large is read to find out.

        ``NAME:SPLIT`` is none of its names, unless the source itself takes the split off.
        """

    @abstractmethod
    def open(self, spec: str, split: str | None) -> Collection:
        """The collection of a name that the source claims; nothing large is read before it is asked for.

        Args:
            split: the split whose queries and judgments are meant; None where nobody named one.

        Raises:
            UsageError: there is no such split; the message names those there are.
            IaaRetrievalError: data that is damaged or cannot be had.
        """

    def data_files(self, spec: str) -> Iterable[Path]:
        """The files that hold the data of a name that the source claims, as far as they are here, always in one order.

        An experiment makes its outputs anew when one of them changed. Where the name is the path of a file or folder,
        nobody asks: that is the data.
        """
        return ()

    def known_names(self) -> Iterable[str]:
        """Names that a user who misspelt one may have meant, for a hint; none where they cannot be listed."""
        return ()
