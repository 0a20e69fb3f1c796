"""Vectors that were encoded before in another form: what an encoding does after its last document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_directory, require_empty
from iaa_retrieval.inference.faiss_index import Windows
from iaa_retrieval.inference.parquet_vectors import ParquetVectors
from iaa_retrieval.inference.vector_outputs import VectorOutput
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.models.truncation import cut_array, remark_on_size, require_size
from iaa_retrieval.work_in_progress import locked


def convert_vectors(
    vectors: ParquetVectors,
    output: str | Path,
    form: VectorOutput,
    *,
    truncate_dim: int | None = None,
    overwrite: bool = False,
) -> int:
    """Write ``vectors`` into ``output`` in another form, whole or not at all; the encoder's name goes with them.

    Args:
        vectors: what was encoded.
        output: the directory to make.
        form: how to write them.
        truncate_dim: numbers to keep of each, the first ones; None is all.
        overwrite: replace a finished ``output`` at the end.

    Returns:
        The number of vectors.

    Raises:
        UsageError: the form cannot be made of such vectors.
        IaaRetrievalError: likewise; or they shall be cut and nothing says whether they are of unit length; or they are
            damaged, or another process makes the same output.
    """
    output = Path(output)
    require_empty(output, overwrite=overwrite)
    config, dimension = vectors.config, vectors.dimension
    windows: Windows = vectors.windows
    if truncate_dim is not None:
        config, windows = _cut(vectors, truncate_dim)
        dimension = truncate_dim
    form.require(dimension, range(vectors.total), config)
    with (
        locked(output.absolute().with_name(f".{output.name}.encoding")),
        atomic_directory(output, overwrite=overwrite) as directory,
    ):
        form.write(windows, vectors.total, directory, dimension)
        if config is not None:
            config.save(directory)
    return vectors.total


def _cut(vectors: ParquetVectors, size: int) -> tuple[RetrieverConfig, Windows]:
    """The settings of the cut vectors, and what gives these."""
    require_size(size, vectors.dimension, vectors.source)
    if vectors.config is None:
        raise IaaRetrievalError(
            f"--truncate-dim {size}: nothing beside {vectors.source} says which encoder made its vectors, and so "
            "whether they are of unit length; put its retriever.json there"
        )
    config = vectors.config
    remark_on_size(config, size, vectors.dimension, vectors.source)

    def windows() -> Iterator[tuple[np.ndarray, Sequence[str]]]:
        for whole, ids in vectors.windows():
            yield cut_array(whole, size, normalize=config.normalize), ids

    return replace(config, truncate_dim=size), windows
