"""Collections of the ir_datasets catalogue, downloaded by that library where they are not on disk yet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.lines import check_characters, clean_text
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import files_below

# What the library makes of its sources when they are first used.
_DERIVED_SUFFIXES = {".pklz4", ".lz4", ".qrels", ".tmp"}
_DERIVED_NAMES = {"irds_version.txt", "queries.json"}
_LOOKED_UP = 10_000  # documents whose texts are held at a time where only their ids matter


class IrDatasetsCollection(Collection):
    """One ir_datasets id.

    ``split`` names a part of it: ``beir/scifact`` with ``train`` is ``beir/scifact/train``, and so is
    ``beir/scifact/test`` with ``train``, its sibling.

    Args:
        dataset_id: one that the catalogue has (see ``is_ir_datasets_id``).
    """

    def __init__(self, dataset_id: str, split: str | None) -> None:
        self.name = _resolve(dataset_id, split)
        self.split = _split_of(self.name)
        with _one_line_errors(self.name, "open"):
            self._dataset = _library().load(self.name)

    def documents(self) -> Iterator[Document]:
        self._require(self._dataset.has_docs(), "documents")
        with _one_line_errors(self.name, "read the documents of"):
            for record in self._dataset.docs_iter():
                yield self._to_document(record)

    def document_count(self) -> int | None:
        self._require(self._dataset.has_docs(), "documents")
        with _one_line_errors(self.name, "count the documents of"):
            count: int | None = self._dataset.docs_count()
        return count

    def queries(self) -> list[Query]:
        self._require(self._dataset.has_queries(), "queries")
        with _one_line_errors(self.name, "read the queries of"):
            return [
                Query(check_characters(record.query_id, self.name), _query_text(record))
                for record in self._dataset.queries_iter()
            ]

    def qrels(self) -> Qrels:
        self._require(self._dataset.has_qrels(), "judgments")
        qrels: Qrels = {}
        with _one_line_errors(self.name, "read the judgments of"):
            for record in self._dataset.qrels_iter():
                qrels.setdefault(record.query_id, {})[record.doc_id] = int(record.relevance)
        return qrels

    def splits(self) -> list[str]:
        return _splits_of(self.name) or _splits_of(_parent(self.name))

    def find_documents(self, ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(dict.fromkeys(ids))
        self._require(self._dataset.has_docs(), "documents")
        with _one_line_errors(self.name, "look up documents of"):
            records = self._dataset.docs_store().get_many(wanted)
        return {doc_id: self._to_document(records[doc_id]) for doc_id in wanted if doc_id in records}

    def missing_documents(self, ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(ids))
        missing: list[str] = []
        for start in range(0, len(wanted), _LOOKED_UP):
            part = wanted[start : start + _LOOKED_UP]
            found = self.find_documents(part)
            missing += [doc_id for doc_id in part if doc_id not in found]
        return missing

    def _to_document(self, record: Any) -> Document:
        doc_id = check_characters(record.doc_id, self.name)
        if hasattr(record, "text"):
            title = getattr(record, "title", "") or ""
            return Document(doc_id, clean_text(title), clean_text(record.text or ""))
        return Document(doc_id, "", clean_text(record.default_text()))

    def _require(self, available: bool, what: str) -> None:
        if not available:
            splits = self.splits()
            hint = f"; choose a split: {', '.join(splits)}" if splits else ""
            raise UsageError(f"ir_datasets {self.name} has no {what}{hint}")


class IrDatasetsSource(Source):
    """The catalogue of ir_datasets; the library is imported when a name is no path."""

    name = "ir_datasets"
    described = "an ir_datasets id"

    def claims(self, spec: str) -> bool:
        return ":" not in spec and is_ir_datasets_id(spec)  # no id has a colon, and importing the library takes time

    def open(self, spec: str, split: str | None) -> Collection:
        return IrDatasetsCollection(spec, split)

    def data_files(self, spec: str) -> Iterable[Path]:
        directory = _data_directory(spec)
        return () if directory is None else files_below(directory, but=_is_derived)

    def known_names(self) -> Iterable[str]:
        names: Iterable[str] = _library().registry
        return names


def is_ir_datasets_id(name: str) -> bool:
    """Whether the catalogue has ``name``."""
    try:
        _library().registry[name]
    except KeyError:
        return False
    return True


def _data_directory(name: str) -> Path | None:
    """Where the data of an id is, or that of the id that it is a part of; None where nothing is there yet."""
    home = Path(_library().util.home_path())
    while name and is_ir_datasets_id(name) and _library().registry[name].has_docs():
        directory = home / name
        if directory.is_dir() and any(directory.iterdir()):
            return directory
        name = _parent(name)
    return None


def _is_derived(path: Path) -> bool:
    return path.suffix in _DERIVED_SUFFIXES or path.name in _DERIVED_NAMES


def _resolve(dataset_id: str, split: str | None) -> str:
    if split is None or dataset_id.endswith(f"/{split}"):
        return dataset_id
    if is_ir_datasets_id(f"{dataset_id}/{split}"):
        return f"{dataset_id}/{split}"
    available = _splits_of(dataset_id) or _splits_of(_parent(dataset_id))
    if split in available:
        return f"{_parent(dataset_id)}/{split}"
    hint = f"available: {', '.join(available)}" if available else "it has no splits"
    raise UsageError(f"ir_datasets {dataset_id} has no split {split!r}; {hint}")


def _parent(dataset_id: str) -> str:
    return dataset_id.rpartition("/")[0]


def _split_of(dataset_id: str) -> str | None:
    """The last part of an id below a collection with documents: ``train`` of ``beir/scifact/train``."""
    above, _, last = dataset_id.rpartition("/")
    return last if is_ir_datasets_id(above) and _library().registry[above].has_docs() else None


def _splits_of(dataset_id: str) -> list[str]:
    """The last parts of the ids directly below ``dataset_id`` that have judgments over its documents."""
    registry = _library().registry
    if not is_ir_datasets_id(dataset_id) or not registry[dataset_id].has_docs():
        return []
    below = [name for name in registry if _parent(name) == dataset_id]
    return sorted(name.rpartition("/")[2] for name in below if registry[name].has_qrels())


def _query_text(record: Any) -> str:
    text: str = record.text if hasattr(record, "text") else record.default_text()
    return clean_text(text)


@contextmanager
def _one_line_errors(dataset_id: str, action: str) -> Iterator[None]:
    """Every way in which the library can fail (network, checksums, missing licensed files) as one line."""
    try:
        yield
    except IaaRetrievalError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:160]
        raise IaaRetrievalError(
            f"cannot {action} ir_datasets {dataset_id}: its data is not in {_library().util.home_path()} "
            f"(IR_DATASETS_HOME) and could not be downloaded ({type(error).__name__}: {reason})"
        ) from error


@cache
def _library() -> Any:
    """ir_datasets, with its log cut down to licence notices and what our own errors do not say."""
    import ir_datasets

    # The library resets its level to INFO when it first logs, so asking for the logger comes first.
    ir_datasets.log.easy().logger().addFilter(_is_worth_showing)
    return ir_datasets


def _is_worth_showing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or "agree" in record.getMessage()
