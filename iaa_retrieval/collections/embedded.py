"""The embedded collection: find the code of the standard library that a sentence describes.

Every Python carries it, so the whole job runs anywhere without a download. What a query and its document are is said in
``iaa_retrieval.collections.code_pairs``. All splits search the same documents; a module's queries are in one split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.beir_files import write_corpus, write_queries
from iaa_retrieval.collections.code_pairs import CodePairs
from iaa_retrieval.collections.qrels_files import write_qrels
from iaa_retrieval.collections.standard_library import documented_definitions
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory

SPLITS = ("dev", "test", "train")


class EmbeddedCollection(Collection):
    """The collection in memory (a few megabytes), built once per process."""

    def __init__(self, split: str | None) -> None:
        if split is not None and split not in SPLITS:
            raise UsageError(f"embedded has no split {split!r}; available: {', '.join(SPLITS)}")
        self.split = split
        self.name = f"embedded:{split}" if split else "embedded"

    def documents(self) -> Iterator[Document]:
        return (pair.document for pair in build_pairs())

    def document_count(self) -> int:
        return len(build_pairs())

    def queries(self) -> list[Query]:
        return [pair.query for pair in build_pairs() if self.split in (None, pair.split)]

    def qrels(self) -> Qrels:
        if self.split is None:
            raise UsageError(f"choose a split of embedded; available: {', '.join(SPLITS)}")
        return _qrels_of(self.split)

    def splits(self) -> list[str]:
        return list(SPLITS)


class EmbeddedSource(Source):
    """The one collection that needs no data."""

    name = "embedded"

    def claims(self, spec: str) -> bool:
        return spec == self.name

    def open(self, spec: str, split: str | None) -> Collection:
        return EmbeddedCollection(split)

    def known_names(self) -> Iterable[str]:
        return (self.name,)


class Pair(NamedTuple):
    """A query, its one relevant document and the split that the query belongs to."""

    query: Query
    document: Document
    split: str


@cache
def build_pairs() -> tuple[Pair, ...]:
    """All pairs, sorted by document id; the same for every build under one Python version."""
    definitions = sorted(documented_definitions(), key=lambda definition: definition.name)
    pairs = tuple(Pair(query, document, split_of(module)) for query, document, module in CodePairs().of(definitions))
    if not pairs:
        raise IaaRetrievalError("this Python has no standard library source, of which the embedded collection is made")
    return pairs


def split_of(module: str) -> str:
    """The split of a module's queries; a hash of its name sends 1 in 10 to dev, 2 to test and 7 to train."""
    bucket = int(hashlib.sha256(module.encode()).hexdigest(), 16) % 10
    return "dev" if bucket == 0 else "test" if bucket <= 2 else "train"


def write_embedded(directory: str | Path) -> None:
    """Write the collection in BEIR layout, whole or not at all, with the same bytes every time.

    Raises:
        IaaRetrievalError: ``directory`` is not empty or cannot be written.
    """
    pairs = build_pairs()
    with atomic_directory(directory) as partial:
        write_corpus(partial / "corpus.jsonl", (pair.document for pair in pairs))
        write_queries(partial / "queries.jsonl", (pair.query for pair in pairs))
        for split in SPLITS:
            write_qrels(partial / "qrels" / f"{split}.tsv", _qrels_of(split))


def _qrels_of(split: str) -> Qrels:
    return {pair.query.query_id: {pair.document.doc_id: 1} for pair in build_pairs() if pair.split == split}
