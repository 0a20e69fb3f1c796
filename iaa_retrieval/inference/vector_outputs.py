"""The forms in which the vectors of a corpus are written, each from the same windows of vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.faiss_index import Windows, require_index, write_index
from iaa_retrieval.inference.parquet_vectors import write_parquet
from iaa_retrieval.models.retriever_config import RetrieverConfig

VECTORS_FILE = "vectors.parquet"
# How far from 1 the length of a vector may be that an encoder made of unit length, in whatever precision.
_UNIT_TOLERANCE = 1e-3


class VectorOutput(ABC):
    """A form of vectors with the ids of their documents."""

    def require(self, dimension: int, documents: Iterable[object], config: RetrieverConfig | None) -> None:  # noqa: B027
        """Refuse, before anything is encoded, what could not be written.

        Args:
            dimension: of the vectors.
            documents: that are to be encoded; read only as far as needed.
            config: of the encoder, None where it is unknown.

        Raises:
            UsageError: the form cannot be made with such an encoder, or its settings mean nothing.
            IaaRetrievalError: it cannot be made of these documents.
        """

    @abstractmethod
    def write(self, windows: Windows, total: int, directory: Path, dimension: int) -> None:
        """Write ``total`` vectors of ``dimension`` numbers into ``directory``, which is empty.

        Raises:
            IaaRetrievalError: the vectors cannot be written in this form.
        """


@dataclass(frozen=True)
class FaissOutput(VectorOutput):
    """A Faiss directory, as Pyserini searches it.

    Attributes:
        index_factory: Faiss's description of the index; vectors are compared by inner product.
    """

    index_factory: str = "Flat"

    def require(self, dimension: int, documents: Iterable[object], config: RetrieverConfig | None) -> None:
        """See ``faiss_index.require_index``."""
        require_index(dimension, self.index_factory, documents)

    def write(self, windows: Windows, total: int, directory: Path, dimension: int) -> None:
        """See ``faiss_index.write_index``."""
        write_index(windows, total, directory, dimension, self.index_factory)


FLAT = FaissOutput()


@dataclass(frozen=True)
class ParquetOutput(VectorOutput):
    """One Parquet file with the columns ``docid`` and ``vector``."""

    def write(self, windows: Windows, total: int, directory: Path, dimension: int) -> None:
        """See ``parquet_vectors.write_parquet``."""
        write_parquet(windows(), directory / VECTORS_FILE)


def require_unit_length(vectors: np.ndarray, ids: Sequence[str], what: str) -> None:
    """Refuse vectors that are not of unit length.

    Args:
        vectors: float32 [n, d].
        ids: their n names.
        what: what a name stands for, such as ``document``.

    Raises:
        IaaRetrievalError: there is one; the first is named.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))
    if len(wrong):
        raise IaaRetrievalError(
            f"the vector of {what} {ids[wrong[0]]} has length {lengths[wrong[0]]:.4g}; Lucene compares vectors of unit "
            "length only, as an encoder makes them that normalises (encoder --l2-norm)"
        )
