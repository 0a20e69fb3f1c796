"""A directory in BEIR layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/SPLIT.tsv``, gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.document_file import read_documents
from iaa_retrieval.collections.lines import read_lines
from iaa_retrieval.collections.qrels import read_qrels_file
from iaa_retrieval.collections.topic_files import read_topics_file
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError


class BeirDirectory(Collection):
    """A local collection; a split's queries are those that it judges, in the order of the queries file."""

    def __init__(self, directory: Path, split: str | None) -> None:
        self._directory = directory
        self._corpus = self._find("corpus.jsonl")
        self._qrels_files = {
            path.name.removesuffix(".gz").removesuffix(".tsv"): path
            for path in sorted(directory.glob("qrels/*"))
            if path.name.endswith((".tsv", ".tsv.gz"))
        }
        self.split_was_chosen = split is None and len(self._qrels_files) == 1
        if self.split_was_chosen:
            split = next(iter(self._qrels_files))
        if split is not None and split not in self._qrels_files:
            raise UsageError(f"{directory} has no split {split!r}; {self._available()}")
        self.split = split
        self.name = f"{directory}:{split}" if split else str(directory)

    def documents(self) -> Iterator[Document]:
        return read_documents(self._corpus)

    def document_count(self) -> int:
        return self._count

    def queries(self) -> list[Query]:
        if self.split is None:
            return list(self._all_queries.values())
        judged = self.qrels()
        return [query for query in self._all_queries.values() if query.query_id in judged]

    def qrels(self) -> Qrels:
        if self.split is None:
            raise UsageError(f"choose a split of {self._directory}; {self._available()}")
        path = self._qrels_files[self.split]
        qrels = read_qrels_file(path)
        for query_id in qrels:
            if query_id not in self._all_queries:
                raise IaaRetrievalError(f"{path} judges query {query_id!r}, which is not in {self._queries_path}")
        return qrels

    def splits(self) -> list[str]:
        return sorted(self._qrels_files)

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in read_lines(self._corpus))

    @cached_property
    def _queries_path(self) -> Path:
        return self._find("queries.jsonl")

    @cached_property
    def _all_queries(self) -> dict[str, Query]:
        return {query.query_id: query for query in read_topics_file(self._queries_path)}

    def _find(self, name: str) -> Path:
        for path in (self._directory / name, self._directory / f"{name}.gz"):
            if path.is_file():
                return path
        raise IaaRetrievalError(f"{self._directory} is not in BEIR layout: no {name} or {name}.gz")

    def _available(self) -> str:
        if not self._qrels_files:
            return "it has no qrels/*.tsv"
        return f"available: {', '.join(self.splits())}"
