"""A directory in BEIR layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/SPLIT.tsv``, gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.document_file import read_documents
from iaa_retrieval.collections.document_folder import is_beir_directory, warn_of_files_beside_corpus
from iaa_retrieval.collections.qrels_files import read_qrels_file
from iaa_retrieval.collections.records import count_records
from iaa_retrieval.collections.topic_files import read_topics_file
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.notices import warn_once


class BeirDirectory(Collection):
    """A local collection; a split's queries are those that it judges, in the order of the queries file."""

    warns_of_missing_queries = True

    def __init__(self, directory: Path, split: str | None) -> None:
        self._directory = directory
        self._corpus = self._find("corpus.jsonl")
        warn_of_files_beside_corpus(directory, self._corpus)
        self._qrels_files = {
            path.name.removesuffix(".gz").removesuffix(suffix): path
            for suffix in (".jsonl", ".tsv")  # of two files for one split, BEIR's own counts
            for path in sorted(directory.glob("qrels/*"))
            if path.name.removesuffix(".gz").endswith(suffix) and not path.name.startswith(".")
        }
        self.split_was_chosen = split is None and len(self._qrels_files) == 1
        if self.split_was_chosen:
            split = next(iter(self._qrels_files))
        if split is not None and split not in self._qrels_files:
            raise UsageError(f"{directory} has no split {split!r}; {self._available()}")
        self.split = split
        self.name = f"{directory}:{split}" if split else str(directory)

    def documents(self) -> Iterator[Document]:
        return read_documents([self._corpus])

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
        missing = [query_id for query_id in qrels if query_id not in self._all_queries]
        if len(missing) == len(qrels):
            raise IaaRetrievalError(
                f"{path} judges query {missing[0]!r}, which is not in {self._queries_path}, and no query that is; are "
                "they of one collection?"
            )
        if missing:
            warn_once(
                f"{path}: {len(missing)} of {len(qrels)} judged queries are not in {self._queries_path} (e.g. "
                f"{missing[0]!r}); nothing can be searched or learned for them, and evaluation counts them as not found"
            )
        return qrels

    def splits(self) -> list[str]:
        return sorted(self._qrels_files)

    @cached_property
    def _count(self) -> int:
        return count_records(self._corpus)

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
            return "it has no qrels/*.tsv or qrels/*.jsonl"
        return f"available: {', '.join(self.splits())}"


class BeirDirectorySource(Source):
    """The directories in BEIR layout on disk; their names are paths."""

    name = "beir-directory"

    def claims(self, spec: str) -> bool:
        path = Path(spec).expanduser()
        return path.is_dir() and is_beir_directory(path)

    def open(self, spec: str, split: str | None) -> Collection:
        return BeirDirectory(Path(spec).expanduser(), split)
