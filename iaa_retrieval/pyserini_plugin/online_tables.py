"""Pyserini's tables of topics and prebuilt indexes, which from 2.4 on stand on the network."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager

from iaa_retrieval.collections.loading import looks_like_path
from iaa_retrieval.errors import IaaRetrievalError


def known_topics(name: str) -> Container[str]:
    """The names of Pyserini's own topics.

    Args:
        name: the one that is looked for, for the message.

    Raises:
        IaaRetrievalError: they stand on the network, which cannot be reached.
    """
    from pyserini.search import _base

    if hasattr(_base, "topics_mapping"):
        return list(_base.topics_mapping)
    with _downloading(f"unknown topics {name!r}: not a file or a collection, and Pyserini's table of topics"):
        return list(_base._get_topics_mapping())


def is_prebuilt_index(name: str) -> bool:
    """Whether Pyserini has a prebuilt index of this name; a path is none.

    Raises:
        IaaRetrievalError: that stands on the network, which cannot be reached.
    """
    from pyserini import prebuilt_index_info as prebuilt

    if looks_like_path(name):
        return False
    tables = (
        prebuilt.TF_INDEX_INFO,
        prebuilt.IMPACT_INDEX_INFO,
        prebuilt.FAISS_INDEX_INFO,
        prebuilt.LUCENE_HNSW_INDEX_INFO,
        prebuilt.LUCENE_FLAT_INDEX_INFO,
    )
    with _downloading(f"--index {name} is no directory, and Pyserini's table of prebuilt indexes"):
        return any(name in table for table in tables)


@contextmanager
def _downloading(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # URLError is one
        raise IaaRetrievalError(
            f"{what} cannot be downloaded ({error}); correct the name, or connect to the network"
        ) from error
