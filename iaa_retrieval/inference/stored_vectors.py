"""Vectors of documents that were encoded before: looked up by the documents' ids, and searched.

Nothing is read into memory that can stay on disk: Faiss maps its file, and so are the ids. What grows with the corpus
is a number of eight bytes for each document (two where the index is an inverted file).
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from iaa_retrieval.collections.negatives import is_query_itself
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.parquet_vectors import ParquetVectors, vector_files
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config

LOG = logging.getLogger("iaa_retrieval")

_QUERIES_AT_A_TIME = 256


class Ids(Protocol):
    """The ids of documents in their order."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> str: ...


class IdFile:
    """The lines of a file ``docid``, which stays on disk."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as stream:
            self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        ends = np.flatnonzero(np.frombuffer(self._bytes, dtype=np.uint8) == ord("\n"))
        if len(self._bytes) and self._bytes[-1:] != b"\n":
            ends = np.append(ends, len(self._bytes))
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, position: int, /) -> str:
        start = int(self._ends[position - 1]) + 1 if position else 0
        return bytes(self._bytes[start : int(self._ends[position])]).decode("utf-8").rstrip()


class StoredVectors:
    """Documents' vectors in an index of Faiss, with the documents' ids.

    Args:
        index: of inner products.
        ids: of its documents, as many as it has.
        source: where they come from, for messages.
        config: of the encoder that made them; None where nothing says who did.

    Raises:
        UsageError: an index that does not give back its vectors; its class is named.
        IaaRetrievalError: as many ids as vectors there are not.
    """

    def __init__(self, index: Any, ids: Ids, source: str, config: RetrieverConfig | None) -> None:
        if len(ids) != index.ntotal or not len(ids):
            raise IaaRetrievalError(f"{source} holds {index.ntotal} vectors and {len(ids)} ids of documents")
        self.source = source
        self.config = config
        self._index = index
        self._ids = ids
        self._places: dict[str, int] = {}
        self._sought: set[str] = set()
        _require_vectors_back(index, source)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return int(self._index.d)

    def locate(self, doc_ids: Iterable[str]) -> dict[str, int]:
        """The places of documents, from 0; what is not here has none.

        The ids are read once for all that were not asked for before.
        """
        wanted = set(doc_ids)
        unknown = wanted - self._sought - self._places.keys()
        if unknown:
            for place in range(len(self._ids)):
                doc_id = self._ids[place]
                if doc_id in unknown:
                    self._places.setdefault(doc_id, place)
            self._sought |= unknown
        return {doc_id: self._places[doc_id] for doc_id in wanted if doc_id in self._places}

    def vectors(self, places: Sequence[int] | np.ndarray) -> np.ndarray:
        """The vectors, float32 [len(places), d], of the documents in these places."""
        found: np.ndarray = self._index.reconstruct_batch(np.asarray(places, dtype=np.int64))
        return found

    def search(self, queries: np.ndarray, hits: int) -> list[dict[str, float]]:
        """The best documents of each query by the inner products that the index computes.

        Args:
            queries: float32 [n, d].
            hits: how many of each; fewer where the index has, or finds, fewer.

        Returns:
            For each query document id -> score, the best first.
        """
        found: list[dict[str, float]] = []
        for start in range(0, len(queries), _QUERIES_AT_A_TIME):
            part = np.ascontiguousarray(queries[start : start + _QUERIES_AT_A_TIME], dtype=np.float32)
            scores, places = self._index.search(part, min(hits, len(self)))
            for row, columns in zip(scores, places, strict=True):
                ranked = {self._id_of(int(p)): float(s) for s, p in zip(row, columns, strict=True) if p >= 0}
                found.append(ranked)
        return found

    def run(self, query_ids: Sequence[str], queries: np.ndarray, qrels: Qrels, hits: int) -> Run:
        """A run of queries, in which no document is the query itself (see ``is_query_itself``).

        Args:
            query_ids: n ids.
            queries: their vectors, float32 [n, d].
            qrels: their judgments.
            hits: documents per query.
        """
        ranked = self.search(queries, hits + 1)  # one more, if the query itself is among them
        run: Run = {}
        for query_id, documents in zip(query_ids, ranked, strict=True):
            grades = qrels.get(query_id, {})
            others = [item for item in documents.items() if not is_query_itself(query_id, item[0], grades)]
            run[query_id] = dict(others[:hits])
        return run

    def _id_of(self, place: int) -> str:
        doc_id = self._ids[place]
        self._places.setdefault(doc_id, place)
        return doc_id


def open_stored_vectors(source: str | Path) -> StoredVectors:
    """The vectors of a Faiss directory, which stay on disk, or of Parquet files, which are read into memory.

    Args:
        source: a directory with ``index`` and ``docid``, or what ``ParquetVectors`` takes.

    Raises:
        UsageError: an index that does not give back its vectors, or does not score by inner products.
        IaaRetrievalError: there is neither, or it is damaged.
    """
    path = Path(source)
    if (path / "index").is_file():
        return _open_faiss(path)
    if not vector_files(source):
        raise IaaRetrievalError(f"{source}: no Faiss directory (index, docid) and no Parquet file of vectors")
    import faiss

    stored = ParquetVectors(source)
    index = faiss.IndexFlatIP(stored.dimension)
    ids: list[str] = []
    for vectors, doc_ids in stored.windows():
        index.add(vectors)
        ids += doc_ids
    return StoredVectors(index, ids, str(source), stored.config)


def _open_faiss(directory: Path) -> StoredVectors:
    import faiss

    if not (directory / "docid").is_file():
        raise IaaRetrievalError(f"{directory} lacks the file docid, in which the ids of its documents stand")
    try:
        index = faiss.read_index(str(directory / "index"), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1][-200:]
        raise IaaRetrievalError(f"{directory / 'index'} is no index that Faiss can read: {said}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise UsageError(f"{directory} is an index of distances, and queries are tuned by inner products")
    return StoredVectors(index, IdFile(directory / "docid"), str(directory), read_retriever_config(directory))


def _require_vectors_back(index: Any, source: str) -> None:
    """Refuse an index that cannot tell a document's vector, and say of one that only knows it roughly."""
    import faiss

    kind = type(index).__name__
    advice = "encode the corpus into a flat index (--index-factory Flat), or make one of its Parquet vectors"
    lists = None if kind.startswith("IndexRefine") else faiss.try_extract_index_ivf(index)
    if lists is not None and "FastScan" in type(faiss.downcast_index(lists)).__name__:
        # Faiss ends the process where one of these is asked for a vector.
        raise UsageError(
            f"{source} is of inverted lists for fast scans, which do not give back the vectors of documents; {advice}"
        )
    try:
        index.reconstruct_batch(np.zeros(1, dtype=np.int64))
    except RuntimeError:
        try:
            faiss.extract_index_ivf(index).make_direct_map()
            index.reconstruct_batch(np.zeros(1, dtype=np.int64))
        except RuntimeError as error:
            raise UsageError(
                f"{source} is an {kind}, which does not give back the vectors of documents; {advice}"
            ) from error
    if not kind.startswith(("IndexFlat", "IndexHNSWFlat", "IndexIVFFlat", "IndexRefineFlat")):
        LOG.warning("%s is an %s: it gives back vectors of documents roughly, as it searches them", source, kind)
