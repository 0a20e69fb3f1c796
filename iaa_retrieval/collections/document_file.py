"""A single file of documents: Pyserini JSONL or MS MARCO TSV, gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.lines import (
    check_id,
    optional_text,
    read_json_lines,
    read_lines,
    require_id,
    strip_gz,
    text_field,
)
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError

JSONL_SUFFIXES = (".jsonl", ".json")
TSV_SUFFIXES = (".tsv", ".txt")


class DocumentFile(Collection):
    """The documents of one file, without queries or judgments."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        if strip_gz(path) not in JSONL_SUFFIXES + TSV_SUFFIXES:
            raise UsageError(f"{path}: documents are read from .jsonl or .tsv files (.gz allowed) or a BEIR directory")

    def documents(self) -> Iterator[Document]:
        return read_documents(self._path)

    def document_count(self) -> int:
        return self._count

    def queries(self) -> list[Query]:
        raise UsageError(f"{self._path} holds documents only; name a collection with queries")

    def qrels(self) -> Qrels:
        raise UsageError(f"{self._path} holds documents only; name a collection with judgments")

    def splits(self) -> list[str]:
        return []

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in read_lines(self._path))


def read_documents(path: Path) -> Iterator[Document]:
    """Stream one file of documents; the format follows the name (``.jsonl`` or ``.tsv``, plus ``.gz``)."""
    rows = _jsonl_documents(path) if strip_gz(path) in JSONL_SUFFIXES else _tsv_documents(path)
    seen: set[str] = set()
    for place, document in rows:
        if document.doc_id in seen:
            raise IaaRetrievalError(f"{place}: document id {document.doc_id!r} occurs twice")
        seen.add(document.doc_id)
        yield document


def _jsonl_documents(path: Path) -> Iterator[tuple[str, Document]]:
    for place, record in read_json_lines(path):
        doc_id = require_id(record, ("_id", "id", "docid"), place)
        text = text_field(record, ("text", "contents"), place)
        # Pyserini's ``contents`` has the title in it already.
        title = optional_text(record, "title", place) if "text" in record else ""
        yield place, Document(doc_id, title, text)


def _tsv_documents(path: Path) -> Iterator[tuple[str, Document]]:
    for place, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != 2:
            raise IaaRetrievalError(f"{place}: expected 2 tab-separated columns (id, text), found {len(columns)}")
        yield place, Document(check_id(columns[0], place), "", columns[1])
