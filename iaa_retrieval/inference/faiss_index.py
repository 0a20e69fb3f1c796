"""Faiss indexes of encoded passages, from windows of vectors, in the layout that Pyserini searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_file

# Vectors that an index with a trained quantiser learns from.
TRAINING_VECTORS = 262_144
# How hard a search looks, where Faiss's own settings (one list; 16 candidates) find far too little.
SHARE_OF_LISTS = 16
CANDIDATES = 256

Windows = Callable[[], Iterator[tuple[np.ndarray, Sequence[str]]]]
"""Gives (float32 [n, d], their n ids) window by window; may be called more than once."""


def new_index(dimension: int, factory: str) -> Any:
    """An empty index of inner products.

    Raises:
        UsageError: Faiss does not know the description ``factory``.
    """
    import faiss

    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UsageError(f"Faiss does not know the index {factory!r} for {dimension} dimensions") from error


def write_index(windows: Windows, total: int, directory: Path, dimension: int, factory: str) -> None:
    """Write ``directory/index`` and ``directory/docid``, of ``total`` vectors.

    Pyserini searches an inverted file or a graph with the effort that is stored in it, so it is set here.

    Raises:
        IaaRetrievalError: too few vectors to train the index, or it cannot be written.
    """
    import faiss

    index = new_index(dimension, factory)
    if not index.is_trained:
        _train(index, windows, total)
    _reserve(index, total)
    with atomic_file(directory / "docid") as stream:
        for vectors, ids in windows():
            index.add(vectors)
            stream.writelines(f"{doc_id}\n" for doc_id in ids)
    _set_search_effort(index)
    try:
        faiss.write_index(index, str(directory / "index"))
    except RuntimeError as error:
        raise IaaRetrievalError(f"Faiss cannot write the index into {directory.parent}: {error}") from error


def _set_search_effort(index: Any) -> None:
    import faiss

    inverted_file = faiss.try_extract_index_ivf(index)
    if inverted_file is not None:
        inverted_file.nprobe = -(-inverted_file.nlist // SHARE_OF_LISTS)
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = CANDIDATES


def _reserve(index: Any, total: int) -> None:
    """Make room for all vectors at once; growing by doubling, they would take up to twice the memory."""
    import faiss

    storage = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    if isinstance(storage, faiss.IndexFlatCodes):
        storage.codes.resize(total * storage.code_size)
        storage.codes.clear()  # the room stays


def _train(index: Any, windows: Windows, total: int) -> None:
    """Train a quantiser on an even sample of all vectors."""
    share = -(-total // TRAINING_VECTORS)
    sample = np.concatenate([vectors[::share] for vectors, _ in windows()])
    try:
        index.train(sample)
    except RuntimeError as error:
        raise IaaRetrievalError(
            f"{len(sample)} vectors are too few to train this index; choose a smaller one with --index-factory"
        ) from error
