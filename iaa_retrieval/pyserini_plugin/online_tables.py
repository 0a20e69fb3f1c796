"""Pyserini's tables of topics and prebuilt indexes, which from 2.4 on stand on the network."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager

from iaa_retrieval.errors import IaaRetrievalError


def known_topics() -> Container[str]:
    """The names of Pyserini's own topics.

    Raises:
        IaaRetrievalError: they stand on the network, which cannot be reached.
    """
    from pyserini.search import _base

    if hasattr(_base, "topics_mapping"):
        return list(_base.topics_mapping)
    with _downloading("Pyserini's table of topics", "name a file or a collection"):
        return list(_base._get_topics_mapping())


def is_prebuilt_index(name: str) -> bool:
    """Whether Pyserini has a prebuilt index of this name.

    Raises:
        IaaRetrievalError: that stands on the network, which cannot be reached.
    """
    from pyserini import prebuilt_index_info as prebuilt

    tables = (
        prebuilt.TF_INDEX_INFO,
        prebuilt.IMPACT_INDEX_INFO,
        prebuilt.FAISS_INDEX_INFO,
        prebuilt.LUCENE_HNSW_INDEX_INFO,
        prebuilt.LUCENE_FLAT_INDEX_INFO,
    )
    with _downloading(
        f"there is no directory {name}, and Pyserini's table of prebuilt indexes", "name an index that is here"
    ):
        return any(name in table for table in tables)


@contextmanager
def _downloading(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # URLError is one
        raise IaaRetrievalError(f"{what} cannot be downloaded ({error}); {advice}, or connect to the network") from error
