"""Documents from files: one file, or a folder of files and sub-folders, without queries and judgments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.document_folder import document_files
from iaa_retrieval.collections.lines import optional_text, require_id, text_field
from iaa_retrieval.collections.records import (
    ID_FIELDS,
    NAMES_READ,
    TEXT_FIELDS,
    Record,
    count_records,
    has_known_name,
    looks_like_json,
    read_records,
)
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.notices import warn_once

T = TypeVar("T")


class DocumentFiles(Collection):
    """The documents of a file, or of all files in a folder.

    Attributes:
        files: what is read, in this order.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        if path.is_dir():
            self.files = document_files(path)
        elif has_known_name(path) or looks_like_json(path):
            self.files = [path]
        else:
            raise UsageError(f"{path}: {NAMES_READ}, or from a folder of them")

    def documents(self) -> Iterator[Document]:
        return read_documents(self.files)

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
        return sum(map(count_records, self.files))


class DocumentFilesSource(Source):
    """The other files and folders on disk, whatever they hold; their names are paths."""

    name = "document-files"

    def claims(self, spec: str) -> bool:
        path = Path(spec).expanduser()
        return path.is_dir() or path.is_file()

    def open(self, spec: str, split: str | None) -> Collection:
        path = Path(spec).expanduser()
        if split is not None:
            raise UsageError(f"{path} holds documents only and has no split {split!r}")
        return DocumentFiles(path)


def read_documents(files: Sequence[Path], docid_field: str | None = None) -> Iterator[Document]:
    """Stream the documents of ``files``: what every verb takes for the ids and the texts of a file.

    Args:
        docid_field: the field that holds the id, instead of those that usually do.

    Raises:
        IaaRetrievalError: a malformed line, a missing or a repeated id, named by file and line.
    """
    oddities = _Oddities()

    def rows() -> Iterator[tuple[str, str, Document]]:
        for file in files:
            for place, record in read_records(file):
                document = _to_document(record, place, docid_field)
                oddities.note(record, place, ids=docid_field is None)
                yield place, document.doc_id, document

    yield from without_repeats(rows)
    oddities.warn()


def without_repeats(rows: Callable[[], Iterator[tuple[str, str, T]]]) -> Iterator[T]:
    """The values of ``(place, document id, value)`` rows, none of whose ids may come twice.

    Args:
        rows: opens the rows, and opens them anew to find where a repeated id came first.

    Raises:
        IaaRetrievalError: a repeated id, with both places.
    """
    from iaa_retrieval.collections.unique_ids import UniqueIds  # numpy, which --help can do without

    seen = UniqueIds()
    for place, doc_id, value in rows():
        if not seen.add(doc_id):
            # Two ids may share a hash, so what was read before is looked through.
            first = next(there for there, other, _ in rows() if other == doc_id)
            if first != place:
                raise IaaRetrievalError(f"{place}: document id {doc_id!r} occurs twice, first in {first}")
        yield value


def document_id(record: Record, place: str, docid_field: str | None = None) -> str:
    """The id of a record, under ``docid_field`` or the first of the usual fields that it has."""
    return require_id(record, (docid_field,) if docid_field else ID_FIELDS, place)


def _to_document(record: Record, place: str, docid_field: str | None) -> Document:
    text = text_field(record, TEXT_FIELDS, place)
    title = "" if _is_whole(record) else optional_text(record, "title", place)
    return Document(document_id(record, place, docid_field), title, text)


def _is_whole(record: Record) -> bool:
    """Whether the text comes from Pyserini's ``contents``, which has the title in it already."""
    return record.get("text") is None and ("text" not in record or record.get("contents") is not None)


class _Oddities:
    """Records that can be read in two ways: how many there are, and where the first is."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def note(self, record: Record, place: str, *, ids: bool) -> None:
        """Look at one record; at its ids too unless the user said which field holds them."""
        if ids and len({str(record[name]) for name in ID_FIELDS if record.get(name) is not None}) > 1:
            self._add(f"two ids, of which the first of {', '.join(ID_FIELDS)} counts", place)
        title = record.get("title")
        if _is_whole(record) and isinstance(title, str) and title not in (record["contents"] or ""):
            self._add("a title that their contents lack and that is not read, as in Anserini", place)

    def warn(self) -> None:
        for what, count in self._count.items():
            warn_once(f"documents with {what}: {count} (e.g. {self._first[what]})")

    def _add(self, what: str, place: str) -> None:
        self._count[what] = self._count.get(what, 0) + 1
        self._first.setdefault(what, place)
