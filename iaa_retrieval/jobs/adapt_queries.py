"""Map vectors of queries with a vector adapter: ``embedding.pkl`` to ``embedding.pkl``, Parquet to Parquet."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iaa_retrieval.options import Checked, option

if TYPE_CHECKING:
    from iaa_retrieval.models.retriever_config import RetrieverConfig


@dataclass(frozen=True, kw_only=True)
class AdaptQueriesOptions(Checked):
    """One mapping of query vectors."""

    vectors: str = option(
        help="Vectors of queries: embedding.pkl or its directory, or Parquet (docid, vector).", metavar="FILE-or-DIR"
    )
    adapter: str = option(help="Vector adapter, as train vector-adapter writes it.", metavar="DIR")
    output: str = option(
        help="Directory to make, for --encoded-queries (of Parquet: with a Parquet file).",
        type=click.Path(file_okay=False),
    )


def adapt_queries(vectors: str | Path, adapter: str | Path, output: str | Path) -> int:
    """Write the vectors of queries as a vector adapter maps them, in the form that they are in.

    Args:
        vectors: ``embedding.pkl`` or its directory, or Parquet.
        adapter: directory of a vector adapter.
        output: directory to make; of ``embedding.pkl`` what ``search faiss --encoded-queries`` takes.

    Returns:
        The number of queries.

    Raises:
        IaaRetrievalError: vectors of another length or encoder than the adapter was trained on, an adapter or vectors
            that cannot be read, or an output that is not empty.
    """
    from iaa_retrieval.files import atomic_directory, require_empty
    from iaa_retrieval.inference.parquet_vectors import write_parquet
    from iaa_retrieval.inference.query_vectors import FILE, read_query_vectors
    from iaa_retrieval.models.retriever_config import require_same_encoder
    from iaa_retrieval.models.vector_adapter import load_vector_adapter

    require_empty(output)
    loaded, config = load_vector_adapter(adapter)
    queries = read_query_vectors(vectors)
    if queries.config is not None:
        theirs = queries.config.fingerprint
        require_same_encoder(f"vector adapter {adapter}", config.encoder_fingerprint, queries.source, theirs)
    moved = loaded.map(queries.vectors)
    with atomic_directory(output) as directory:
        if queries.frame is None:
            write_parquet([(moved, queries.ids)], directory / "queries.parquet")
        else:
            queries.frame.assign(embedding=list(moved)).to_pickle(directory / FILE)
            source = Path(vectors) if Path(vectors).is_dir() else Path(vectors).parent
            if (source / "topics.json").is_file():
                shutil.copyfile(source / "topics.json", directory / "topics.json")
        if queries.config is not None:
            _adapted(queries.config, config.fingerprint).save(directory)
    return len(moved)


def _adapted(config: RetrieverConfig, adapter: str) -> RetrieverConfig:
    """The encoder of mapped queries: another for queries, that of before for documents."""
    from iaa_retrieval.models.retriever_config import FrozenDocuments

    documents = config.documents or FrozenDocuments(config.backbone, config.index_fingerprint)
    both = hashlib.sha256(f"{config.fingerprint}\n{adapter}".encode()).hexdigest()
    return replace(config, fingerprint=both, documents=documents)
