"""Vectors that were encoded before into another form, without their encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.errors import UsageError
from iaa_retrieval.jobs.embeddings_options import EmbeddingsOptions, vector_output
from iaa_retrieval.options import differing, flag_of

if TYPE_CHECKING:
    from iaa_retrieval.jobs.encode import CorpusOptions

SUFFIX = ".parquet"


def holds_vectors(corpus: str) -> bool:
    """Whether a corpus is a Parquet file, or a folder that has nothing but such files and their ``retriever.json``."""
    from iaa_retrieval.files import OURS, files_below

    path = Path(corpus).expanduser()
    if not path.is_dir():
        return path.suffix == SUFFIX and path.is_file()
    seen = False
    for file in files_below(path):
        if file.suffix != SUFFIX and file.name != OURS:
            return False
        seen = seen or file.suffix == SUFFIX
    return seen


def convert_encoded(source: CorpusOptions, target: EmbeddingsOptions) -> int:
    """Write the vectors of Parquet files as a Faiss directory, a Lucene index or one Parquet file.

    Args:
        source: the Parquet file, or a folder of such files (those of several shards become one output).
        target: where to put them, in which form.

    Returns:
        The number of vectors.

    Raises:
        UsageError: options that are about documents, or a form that vectors alone do not give.
        IaaRetrievalError: damaged vectors, or vectors of different encoders.
    """
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference.converting import convert_vectors
    from iaa_retrieval.inference.parquet_vectors import ParquetVectors

    given = differing(source)
    if given:
        flag = "--fields" if given[0] == "input_fields" else flag_of(given[0])
        raise UsageError(f"{flag} is about documents, and {source.corpus} holds vectors; leave it out")
    if target.resume:
        raise UsageError(f"--resume continues an encoding, and {source.corpus} holds vectors; leave it out")
    form = vector_output(target)
    if form is None:
        raise UsageError(
            f"embeddings.jsonl has the texts too, and {source.corpus} holds vectors alone; add --to-faiss, --to-lucene "
            "or --to-parquet"
        )
    require_empty(target.embeddings, overwrite=target.overwrite)
    return convert_vectors(
        ParquetVectors(source.corpus),
        target.embeddings,
        form,
        truncate_dim=target.truncate_dim,
        overwrite=target.overwrite,
    )
