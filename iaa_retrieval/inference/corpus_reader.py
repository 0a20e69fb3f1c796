"""Documents for encoding, streamed from what ``pyserini.encode`` reads or from any collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from iaa_retrieval.collections.collection import load_collection
from iaa_retrieval.collections.lines import check_id, read_json_lines
from iaa_retrieval.collections.unique_ids import UniqueIds
from iaa_retrieval.errors import IaaRetrievalError, UsageError

COLLECTION_FIELDS = ("title", "text")


class CorpusDocument(NamedTuple):
    """One document, its fields in the order that was asked for."""

    doc_id: str
    fields: tuple[str, ...]


class Corpus:
    """A stream of documents that can be read more than once.

    Args:
        source: a file or directory of Pyserini JSONL, or anything :func:`load_collection` takes.
        fields: names of the fields in order; None means ``text`` for Pyserini JSONL, title and text for a collection.
        docid_field: the field that holds the id; None means ``id``, ``_id`` or ``docid``.
        delimiter: what separates the fields inside ``contents``.
        shard_id, shard_num: read only this contiguous part, cut as Pyserini cuts it.
    """

    def __init__(
        self,
        source: str,
        fields: Sequence[str] | None = None,
        *,
        docid_field: str | None = None,
        delimiter: str = "\n",
        shard_id: int = 0,
        shard_num: int = 1,
    ) -> None:
        if not 0 <= shard_id < shard_num:
            raise UsageError(f"--shard-id {shard_id} must lie between 0 and --shard-num {shard_num} minus 1")
        path = Path(source)
        self.source = source
        self._files = None if not path.exists() or _is_beir_directory(path) else _files_of(path)
        self.fields = tuple(fields or (("text",) if self._files is not None else COLLECTION_FIELDS))
        if "text" not in self.fields:
            raise UsageError(f"the input fields ({', '.join(self.fields)}) must include text, which is what is encoded")
        self._docid_field = docid_field
        self._delimiter = delimiter
        self._shard = (shard_id, shard_num)
        self.is_collection = self._files is None
        if self.is_collection:
            unknown = sorted(set(self.fields) - set(COLLECTION_FIELDS))
            if unknown:
                raise UsageError(f"collection {source} has title and text, no {', '.join(unknown)}")
            self._collection = load_collection(source)

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
        if self.is_collection:
            for doc_id, title, text in self._collection.documents():
                values = {"title": title, "text": text}
                yield CorpusDocument(doc_id, tuple(values[name] for name in self.fields))
            return
        seen = UniqueIds()
        for place, document in self._read_files():
            if not seen.add(document.doc_id):
                # Two ids may share a hash, so what was read before is looked through.
                first = next(there for there, other in self._read_files() if other.doc_id == document.doc_id)
                if first != place:
                    raise IaaRetrievalError(f"{place}: document {document.doc_id} is there twice, first in {first}")
            yield document

    def _read_files(self) -> Iterator[tuple[str, CorpusDocument]]:
        for file in self._files or []:
            for place, record in read_json_lines(file):
                yield place, self._parse(record, place)

    def _parse(self, record: dict[str, Any], place: str) -> CorpusDocument:
        names = (self._docid_field,) if self._docid_field else ("id", "_id", "docid")
        doc_id = next((record[name] for name in names if record.get(name) is not None), None)
        if doc_id is None:
            raise IaaRetrievalError(f"{place}: no document id (looked for {', '.join(names)})")
        return CorpusDocument(check_id(str(doc_id), place), self._fields_of(record, place))

    def _fields_of(self, record: dict[str, Any], place: str) -> tuple[str, ...]:
        if all(name in record for name in self.fields):
            return tuple(str(record[name] or "").strip() for name in self.fields)
        contents = record.get("contents")
        if not isinstance(contents, str):
            missing = ", ".join(name for name in self.fields if name not in record)
            raise IaaRetrievalError(f"{place}: neither {missing} nor contents is there; name the fields with --fields")
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


def _is_beir_directory(path: Path) -> bool:
    return any((path / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def _files_of(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(child for child in path.iterdir() if child.is_file())
    if not files:
        raise IaaRetrievalError(f"{path} holds no file to encode")
    return files
