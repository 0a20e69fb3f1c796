"""The indexes of a server, each opened once and searched from many threads: BM25, Faiss, Lucene's vectors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from iaa_retrieval.java import prepare_java, require_java_can_open
from iaa_retrieval.pyserini_plugin.bm25 import K1, B
from iaa_retrieval.pyserini_plugin.index_directories import (
    open_lucene_index,
    require_faiss_index,
    require_lucene_index,
)
from iaa_retrieval.pyserini_plugin.jvm import allow_long_queries, java_errors
from iaa_retrieval.pyserini_plugin.lucene_analysis import Analysis, read_analysis, set_analysis
from iaa_retrieval.pyserini_plugin.lucene_searchers import open_directories_without_network
from iaa_retrieval.serving.config import FAISS, FLAT, HNSW, IndexEntry

CANDIDATES = 100  # that a search of an HNSW graph keeps unless told otherwise, as with Pyserini


class Found(NamedTuple):
    """A document that a search found."""

    docid: str
    score: float


class Bm25Index:
    """A Lucene index of words, with the scores of ``search lucene --bm25``.

    Raises:
        IaaRetrievalError: no Java, no Lucene index there, or one that cannot be read.
    """

    def __init__(self, entry: IndexEntry) -> None:
        self.path = entry.path
        require_lucene_index(self.path)
        self.searcher = self._open()
        allow_long_queries()
        self.search("first", 1)  # what Lucene opens at its first search, it would open twice in two threads

    def search(self, query: str, hits: int, k1: float = K1, b: float = B) -> list[Found]:
        """The best documents for a query, best first."""
        if (k1, b) == (K1, B):
            return self._search(self.searcher, query, hits)
        # The parameters belong to the searcher, which other threads use.
        searcher = self._open(k1, b)
        try:
            return self._search(searcher, query, hits)
        finally:
            searcher.close()

    def _search(self, searcher: Any, query: str, hits: int) -> list[Found]:
        with java_errors(f"search {self.path}"):
            return [Found(hit.docid, float(hit.score)) for hit in searcher.search(query, hits)]

    def _open(self, k1: float = K1, b: float = B) -> Any:
        searcher = open_lucene_index(self.path)
        set_analysis(searcher, read_analysis(self.path) or Analysis())
        searcher.set_bm25(k1, b)
        return searcher


class DenseIndex(ABC):
    """An index of vectors.

    Attributes:
        path: its directory.
    """

    path: str

    @abstractmethod
    def search(self, vector: np.ndarray, hits: int) -> list[Found]:
        """The best documents for the vector of a query, float32 [d], best first."""


class FaissIndex(DenseIndex):
    """A Faiss directory, searched by Pyserini's ``FaissSearcher``.

    Raises:
        IaaRetrievalError: no Faiss index there, or it is damaged.
    """

    def __init__(self, entry: IndexEntry) -> None:
        self.path = entry.path
        require_faiss_index(self.path)
        prepare_java()  # which importing Pyserini needs even for dense search
        from pyserini.search.faiss import FaissSearcher

        self._searcher = FaissSearcher(self.path, None)

    def search(self, vector: np.ndarray, hits: int) -> list[Found]:
        found = self._searcher.search(vector.reshape(1, -1), hits)
        return [Found(hit.docid, float(hit.score)) for hit in found]


class LuceneDenseIndex(DenseIndex):
    """A Lucene index of vectors, searched by Pyserini's own searchers; scores are ``(1 + cos) / 2``.

    Args:
        entry: of type ``lucene_hnsw`` or ``lucene_flat``.
        hits: the most that a search will ask for; a graph keeps at least as many candidates.

    Raises:
        IaaRetrievalError: no Java, no Lucene index there, or one that cannot be read.
    """

    def __init__(self, entry: IndexEntry, hits: int) -> None:
        self.path = entry.path
        require_lucene_index(self.path)
        prepare_java()
        require_java_can_open(self.path)
        open_directories_without_network()
        from pyserini.search.lucene import LuceneFlatDenseSearcher, LuceneHnswDenseSearcher

        with java_errors(f"open the index {self.path}"):
            if entry.index_type == HNSW:
                candidates = max(entry.ef_search or CANDIDATES, hits)
                self._searcher = LuceneHnswDenseSearcher(self.path, ef_search=candidates)
            else:
                self._searcher = LuceneFlatDenseSearcher(self.path)

    def search(self, vector: np.ndarray, hits: int) -> list[Found]:
        query = json.dumps([float(number) for number in vector])
        with java_errors(f"search {self.path}"):
            return [Found(hit.docid, float(hit.score)) for hit in self._searcher.search(query, hits)]


def open_index(entry: IndexEntry, hits: int) -> Bm25Index | DenseIndex:
    """Open an index of a configuration.

    Args:
        hits: the most that a search will ask for.

    Raises:
        IaaRetrievalError: there is no such index, or it cannot be read.
    """
    if entry.index_type == FAISS:
        return FaissIndex(entry)
    if entry.index_type in (HNSW, FLAT):
        return LuceneDenseIndex(entry, hits)
    return Bm25Index(entry)
