"""Vectors of queries that were encoded before, by whatever encoder: ``embedding.pkl``, or Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.parquet_vectors import ParquetVectors, vector_files
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config

FILE = "embedding.pkl"


@dataclass(frozen=True)
class QueryVectors:
    """Queries and their vectors.

    Attributes:
        ids: of the queries.
        vectors: float32 [n, d], in their order.
        source: where they come from.
        config: of the encoder that made them; None where nothing says who did.
        frame: all that ``embedding.pkl`` holds; None of Parquet.
    """

    ids: Sequence[str]
    vectors: np.ndarray
    source: str
    config: RetrieverConfig | None
    frame: Any = None


def read_query_vectors(source: str | Path) -> QueryVectors:
    """Read encoded queries.

    Args:
        source: ``embedding.pkl`` (columns ``id``, ``text``, ``embedding``) or the directory that it is in; or Parquet
            (columns ``docid``, ``vector``), a file or a folder.

    Raises:
        IaaRetrievalError: there is neither, it is damaged or empty, a query occurs twice, vectors differ in length, or
            one holds a number that is not finite.
    """
    path = Path(source)
    pickled = path / FILE if path.is_dir() else path
    if pickled.is_file() and pickled.suffix == ".pkl":
        return _read_pickle(pickled, str(source))
    if not vector_files(path):
        raise IaaRetrievalError(f"{source}: no encoded queries: neither {FILE} (encode queries makes it) nor Parquet")
    stored = ParquetVectors(path)
    windows = list(stored.windows())
    ids = [query_id for _, window in windows for query_id in window]
    return QueryVectors(ids, np.concatenate([vectors for vectors, _ in windows]), str(source), stored.config)


def _read_pickle(path: Path, source: str) -> QueryVectors:
    import pandas

    try:
        frame = pandas.read_pickle(path)
        ids = [str(query_id) for query_id in frame["id"]]
        vectors = [np.asarray(vector, dtype=np.float32).reshape(-1) for vector in frame["embedding"]]
    except Exception as error:  # a damaged pickle may raise anything
        raise IaaRetrievalError(
            f"{path} does not hold encoded queries, or is damaged ({type(error).__name__}); make it anew with: "
            "python -m iaa_retrieval.encode queries"
        ) from error
    if not ids:
        raise IaaRetrievalError(f"{path} holds no query")
    repeated = next((query_id for query_id, count in Counter(ids).items() if count > 1), None)
    if repeated is not None:
        raise IaaRetrievalError(f"{path}: query {repeated!r} occurs twice")
    for query_id, vector in zip(ids, vectors, strict=True):
        if len(vector) != len(vectors[0]):
            raise IaaRetrievalError(
                f"{path}: the vector of query {query_id} has {len(vector)} numbers, the first one has {len(vectors[0])}"
            )
        if not np.isfinite(vector).all():
            raise IaaRetrievalError(f"{path}: the vector of query {query_id} holds a number that is not finite")
    return QueryVectors(ids, np.stack(vectors), source, read_retriever_config(path.parent), frame)
