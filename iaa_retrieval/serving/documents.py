"""Where a server has titles and texts from: a Lucene index that stores its documents, or a collection."""

from __future__ import annotations

import json
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Document
from iaa_retrieval.pyserini_plugin.jvm import java_errors
from iaa_retrieval.pyserini_plugin.rerankers import stored_text
from iaa_retrieval.serving.indexes import Bm25Index

# What Pyserini's server leaves out of a document, and what it shortens.
_ID_FIELDS = frozenset({"id", "_id", "docid"})
_LONG_FIELDS = frozenset({"body", "content", "contents", "text"})

logger = logging.getLogger("iaa_retrieval")


class StoredDocument(NamedTuple):
    """A document as far as a store has it.

    Attributes:
        raw: the record that was indexed, mostly JSON.
        title: None where title and text are not apart.
        text: without the title, where that is apart.
        contents: what is encoded and scored.
    """

    raw: str
    title: str | None
    text: str
    contents: str


class DocumentStore(ABC):
    """Gives documents by their ids, from many threads at once."""

    @abstractmethod
    def fetch(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Those of the documents that the store has with a text."""


class LuceneStore(DocumentStore):
    """The documents that a Lucene index stores."""

    def __init__(self, index: Bm25Index) -> None:
        self._index = index

    def fetch(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        found = {}
        with java_errors(f"read documents of {self._index.path}"):
            for doc_id in ids:
                document = self._index.searcher.doc(doc_id)
                if document is None:
                    continue
                raw, contents = document.raw(), document.contents()
                if raw is not None or contents is not None:
                    found[doc_id] = _of_record(doc_id, raw, contents)
        return found


class CollectionStore(DocumentStore):
    """The documents of a collection: looked up where it can do that, else held in memory from the start on."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._lock = threading.Lock()  # a collection is read by one thread at a time
        self._documents: Mapping[str, Document] | None = None
        if type(collection).find_documents is Collection.find_documents:  # it would read all of it for every request
            self._documents = {document.doc_id: document for document in collection.documents()}
            logger.info("%s: %d documents held in memory", collection.name, len(self._documents))

    def fetch(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        if self._documents is not None:
            found = {doc_id: self._documents[doc_id] for doc_id in ids if doc_id in self._documents}
        else:
            with self._lock:
                found = self._collection.find_documents(ids)
        return {doc_id: _of_document(document) for doc_id, document in found.items()}


def _of_document(document: Document) -> StoredDocument:
    record = {"id": document.doc_id, "title": document.title, "text": document.text}
    raw = json.dumps({key: value for key, value in record.items() if value or key != "title"}, ensure_ascii=False)
    return StoredDocument(raw, document.title or None, document.text, document.contents)


def _of_record(doc_id: str, raw: str | None, contents: str | None) -> StoredDocument:
    """What a Lucene index stores of a document."""
    whole = stored_text(raw, contents, doc_id)
    try:
        record = json.loads(raw or "")
    except ValueError:
        record = None
    if isinstance(record, dict) and isinstance(record.get("title"), str):
        text = record.get("text", record.get("contents"))
        if isinstance(text, str):
            return StoredDocument(str(raw), record["title"] or None, text, whole)
    return StoredDocument(str(raw if raw is not None else contents), None, whole, whole)


def as_answer(raw: str, *, parse: bool, longest: int | None = None) -> Any:
    """A stored record as Pyserini 2.x's server answers with it.

    Args:
        parse: of JSON the fields but for its id, or if that leaves one, its value; else the record as it is.
        longest: characters of the text that are given, if it is parsed.
    """
    if not parse:
        return raw
    try:
        record = json.loads(raw)
    except ValueError:
        record = raw
    if isinstance(record, dict):
        record = {
            key: value if isinstance(value, dict | list) else str(value)
            for key, value in record.items()
            if key not in _ID_FIELDS
        }
        record = next(iter(record.values())) if len(record) == 1 else record
    if longest is None:
        return record
    if isinstance(record, str):
        return record[:longest]
    if isinstance(record, dict):
        return {
            key: value[:longest] if key.lower() in _LONG_FIELDS and isinstance(value, str) else value
            for key, value in record.items()
        }
    return record
