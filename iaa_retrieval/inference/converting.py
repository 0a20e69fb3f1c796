"""Vectors that were encoded before in another form: what an encoding does after its last document."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.files import atomic_directory, require_empty
from iaa_retrieval.inference.parquet_vectors import ParquetVectors
from iaa_retrieval.inference.vector_outputs import VectorOutput
from iaa_retrieval.work_in_progress import locked


def convert_vectors(vectors: ParquetVectors, output: str | Path, form: VectorOutput, *, overwrite: bool = False) -> int:
    """Write ``vectors`` into ``output`` in another form, whole or not at all; the encoder's name goes with them.

    Args:
        vectors: what was encoded.
        output: the directory to make.
        form: how to write them.
        overwrite: replace a finished ``output`` at the end.

    Returns:
        The number of vectors.

    Raises:
        UsageError: the form cannot be made of such vectors.
        IaaRetrievalError: likewise; or the vectors are damaged, or another process makes the same output.
    """
    output = Path(output)
    require_empty(output, overwrite=overwrite)
    form.require(vectors.dimension, range(vectors.total), vectors.config)
    with (
        locked(output.absolute().with_name(f".{output.name}.encoding")),
        atomic_directory(output, overwrite=overwrite) as directory,
    ):
        form.write(vectors.windows, vectors.total, directory, vectors.dimension)
        if vectors.config is not None:
            vectors.config.save(directory)
    return vectors.total
