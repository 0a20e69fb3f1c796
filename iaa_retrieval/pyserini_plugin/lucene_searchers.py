"""Pyserini's searchers of vectors in Lucene, opened without the network.

From Anserini 2.3 on (Pyserini 2.4) they look a directory up in tables of prebuilt indexes, which they download, before
they open it. Here its classes are put together without that, for indexes that are directories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iaa_retrieval.pyserini_generations import pyserini_version

_FIELD = "vector"
_ASKS_THE_NETWORK = (2, 4)


def open_directories_without_network() -> None:
    """From now on ``LuceneHnswDenseSearcher`` and ``LuceneFlatDenseSearcher`` open a directory without the network.

    Pyserini must be ready to start (see ``iaa_retrieval.java.prepare_java``). Older ones do so by themselves.
    """
    version = pyserini_version()
    if version is None or version < _ASKS_THE_NETWORK:
        return
    from pyserini.search.lucene import _hnsw_searcher

    for name in ("JHnswDenseSearcher", "JFlatDenseSearcher"):
        stock = getattr(_hnsw_searcher, name)
        if not isinstance(stock, _Opener):
            setattr(_hnsw_searcher, name, _Opener(stock))


class _Opener:
    """Stands where Pyserini has the class of a searcher, and makes one from its arguments."""

    def __init__(self, stock: Any) -> None:
        self._stock = stock

    def __call__(self, arguments: Any) -> Any:
        if arguments.encoder or not Path(arguments.index).is_dir():
            return self._stock(arguments)
        return _DirectorySearcher(arguments)


class _DirectorySearcher:
    """What Anserini's searcher does, of the same classes: a search for the nearest vectors, ties by document id."""

    def __init__(self, arguments: Any) -> None:
        from jnius import cast
        from pyserini.pyclass import autoclass

        directory = autoclass("org.apache.lucene.store.FSDirectory").open(
            autoclass("java.nio.file.Paths").get(str(Path(arguments.index).absolute()))
        )
        self._reader = autoclass("org.apache.lucene.index.DirectoryReader").open(directory)
        reader = cast("org.apache.lucene.index.IndexReader", self._reader)
        self._searcher = autoclass("org.apache.lucene.search.IndexSearcher")(reader)
        self._base = autoclass("io.anserini.search.BaseSearcher")(arguments, self._searcher)
        self._generator = autoclass("io.anserini.search.query.VectorQueryGenerator")()
        self._order = autoclass("io.anserini.search.FlatDenseSearcher").BREAK_SCORE_TIES_BY_DOCID
        self._candidates = getattr(arguments, "efSearch", None)

    def search(self, query: str, k: int) -> Any:
        """The ``k`` nearest documents of a vector, which is a JSON array."""
        looked_at = self._candidates or k
        found = self._searcher.search(self._generator.buildQuery(_FIELD, query, looked_at), k, self._order, True)
        return self._base.processLuceneTopDocs(None, found)

    def batch_search(self, queries: Any, query_ids: Any, k: int, threads: int) -> Any:
        """The hits of several queries, as an object that is read as Java's map is."""
        return _Hits([(query_ids.get(n), self.search(queries.get(n), k)) for n in range(queries.size())])

    def close(self) -> None:
        """Close the index."""
        self._reader.close()


class _Hits:
    """Hits by query id, read like a ``java.util.Map`` by what asks for ``entrySet().toArray()``."""

    def __init__(self, hits: Sequence[tuple[str, Any]]) -> None:
        self._entries = [_Entry(*pair) for pair in hits]

    def entrySet(self) -> _Hits:
        return self

    def toArray(self) -> list[_Entry]:
        return self._entries


class _Entry:
    def __init__(self, key: str, value: Any) -> None:
        self._key = key
        self._value = value

    def getKey(self) -> str:
        return self._key

    def getValue(self) -> Any:
        return self._value
