"""The embedded collection: find the code of the standard library that a sentence describes.

Every Python carries it, so the whole job runs anywhere without a download. A document is the source of a
function, method or class without its docstrings; its query is the first sentence of its docstring; it is that
query's one relevant document. All splits search the same documents; a module's queries are in one split only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.qrels_files import write_qrels
from iaa_retrieval.collections.standard_library import Definition, documented_definitions
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory

SPLITS = ("dev", "test", "train")
MAX_CHARACTERS = 2000  # of a document; about 600 word pieces
MIN_QUERY_WORDS = 3
MIN_CODE_WORDS = 12  # fewer, and little but the name is left to match


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
    pairs: list[Pair] = []
    queries: set[str] = set()
    documents: set[str] = set()
    for definition in sorted(documented_definitions(), key=lambda definition: definition.name):
        code = _cut(definition.code)
        query = _normalized(definition.summary)
        if _is_trivial(definition) or query in _normalized(code) or query in queries or code in documents:
            continue
        if pairs and pairs[-1].document.doc_id == definition.name:  # defined once per platform, say
            continue
        queries.add(query)
        documents.add(code)
        pairs.append(
            Pair(
                Query(f"q:{definition.name}", definition.summary),
                Document(definition.name, "", code),
                split_of(definition.module),
            )
        )
    if not pairs:
        raise IaaRetrievalError("this Python has no standard library source, of which the embedded collection is made")
    return tuple(pairs)


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
        _write_json_lines(
            partial / "corpus.jsonl",
            ({"_id": doc_id, "title": title, "text": text} for _, (doc_id, title, text), _ in pairs),
        )
        _write_json_lines(
            partial / "queries.jsonl", ({"_id": query_id, "text": text} for (query_id, text), _, _ in pairs)
        )
        for split in SPLITS:
            write_qrels(partial / "qrels" / f"{split}.tsv", _qrels_of(split))


def _qrels_of(split: str) -> Qrels:
    return {pair.query.query_id: {pair.document.doc_id: 1} for pair in build_pairs() if pair.split == split}


def _is_trivial(definition: Definition) -> bool:
    return (
        len(re.findall(r"[A-Za-z]{2,}", definition.summary)) < MIN_QUERY_WORDS
        or len(re.findall(r"\w+", definition.code)) < MIN_CODE_WORDS
    )


def _cut(code: str) -> str:
    """Whole lines up to the length limit (a single longer line is cut)."""
    if len(code) <= MAX_CHARACTERS:
        return code
    end = code.rfind("\n", 0, MAX_CHARACTERS)
    return code[: end if end > 0 else MAX_CHARACTERS]


def _normalized(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _write_json_lines(path: Path, records: Iterable[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
