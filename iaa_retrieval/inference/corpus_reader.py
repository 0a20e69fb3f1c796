"""Documents for encoding: those of any collection, or the fields that ``pyserini.encode`` finds in a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.document_file import DocumentFiles, document_id, read_documents, without_repeats
from iaa_retrieval.collections.lines import optional_text
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.records import Record, read_records
from iaa_retrieval.collections.types import Document
from iaa_retrieval.errors import IaaRetrievalError, UsageError

LOG = logging.getLogger("iaa_retrieval")

COLLECTION_FIELDS = ("title", "text")
DELIMITER = "\n"


class CorpusDocument(NamedTuple):
    """One document, its fields in the order that was asked for."""

    doc_id: str
    fields: tuple[str, ...]


class Corpus:
    """A stream of documents that can be read more than once.

    Without ``fields`` and ``delimiter`` a document is what it is to every other verb, its title (which may be empty)
    and its text. With them the records of a file are taken apart as ``pyserini.encode`` does.

    Args:
        source: a collection, or anything that ``load_collection`` takes.
        fields: names of the fields in order; None means title and text, or with a ``delimiter`` the text.
        docid_field: the field of a file's records that holds the id; None means ``id``, ``_id`` or ``docid``.
        delimiter: what separates the fields inside the ``contents`` of a file's records.
        shard_id, shard_num: read only this contiguous part, cut as Pyserini cuts it.

    Attributes:
        is_collection: more than files of documents: a directory in BEIR layout, an ir_datasets id, ``embedded``.
        announce_titles: say once, at the first title of a file, that titles are encoded; Pyserini's default differs.
    """

    def __init__(
        self,
        source: str | Collection,
        fields: Sequence[str] | None = None,
        *,
        docid_field: str | None = None,
        delimiter: str = DELIMITER,
        shard_id: int = 0,
        shard_num: int = 1,
    ) -> None:
        if not 0 <= shard_id < shard_num:
            raise UsageError(f"--shard-id {shard_id} must lie between 0 and --shard-num {shard_num} minus 1")
        self.source = source.name if isinstance(source, Collection) else source
        self._taken_apart = fields is not None or delimiter != DELIMITER
        self.fields = tuple(fields or (("text",) if self._taken_apart else COLLECTION_FIELDS))
        if "text" not in self.fields:
            raise UsageError(f"the input fields ({', '.join(self.fields)}) must include text, which is what is encoded")
        self._docid_field = docid_field
        self._delimiter = delimiter
        self._shard = (shard_id, shard_num)
        self._collection = source if isinstance(source, Collection) else load_collection(source)
        self.is_collection = not isinstance(self._collection, DocumentFiles)
        self.announce_titles = False
        if self.is_collection:
            unknown = sorted(set(self.fields) - set(COLLECTION_FIELDS))
            if unknown:
                raise UsageError(f"collection {self.source} has title and text, no {', '.join(unknown)}")
            if docid_field is not None or delimiter != DELIMITER:
                option = "--delimiter" if docid_field is None else "--docid-field"
                raise UsageError(f"{option} is for files of documents, and {self.source} is a collection; leave it out")

    def __iter__(self) -> Iterator[CorpusDocument]:
        shard_id, shard_num = self._shard
        if shard_num == 1:
            yield from self._all()
            return
        total = sum(1 for _ in self._all())
        size = total // shard_num
        stop = total if shard_id == shard_num - 1 else (shard_id + 1) * size
        yield from islice(self._all(), shard_id * size, stop)

    def _all(self) -> Iterator[CorpusDocument]:
        if self._taken_apart and isinstance(self._collection, DocumentFiles):
            yield from without_repeats(self._rows)
            return
        for document in self._documents():
            title, text = _outer_stripped(document)
            values = {"title": title, "text": text}
            yield CorpusDocument(document.doc_id, tuple(values[name] for name in self.fields))

    def _documents(self) -> Iterator[Document]:
        if not isinstance(self._collection, DocumentFiles):
            yield from self._collection.documents()
            return
        for document in read_documents(self._collection.files, self._docid_field):
            if document.title and self.announce_titles:
                self.announce_titles = False
                LOG.info(
                    "%s: titles are encoded with the texts; input --fields text leaves them out, like pyserini.encode",
                    self.source,
                )
            yield document

    def _rows(self) -> Iterator[tuple[str, str, CorpusDocument]]:
        assert isinstance(self._collection, DocumentFiles)
        for file in self._collection.files:
            for place, record in read_records(file):
                doc_id = document_id(record, place, self._docid_field)
                yield place, doc_id, CorpusDocument(doc_id, self._fields_of(record, place))

    def _fields_of(self, record: Record, place: str) -> tuple[str, ...]:
        if all(name in record for name in self.fields):
            return tuple(optional_text(record, name, place).strip() for name in self.fields)
        if "contents" not in record:
            missing = ", ".join(name for name in self.fields if name not in record)
            raise IaaRetrievalError(f"{place} has no {missing}, and no contents to find the fields in; see --fields")
        contents = optional_text(record, "contents", place)
        # One delimiter too many at the end is a common slip that Pyserini forgives too.
        if contents.count(self._delimiter) == len(self.fields) and contents.endswith(self._delimiter):
            contents = contents[: -len(self._delimiter)]
        values = contents.split(self._delimiter)
        if len(values) != len(self.fields):
            raise IaaRetrievalError(
                f"{place}: contents has {len(values)} fields, but {len(self.fields)} were named "
                f"({', '.join(self.fields)}); see --fields and --delimiter"
            )
        return tuple(value.strip(" ") for value in values)


def _outer_stripped(document: Document) -> tuple[str, str]:
    """Title and text that, joined by one space, are ``document.contents``."""
    title = document.title.lstrip()
    return (title, document.text.rstrip()) if title else ("", document.text.strip())
