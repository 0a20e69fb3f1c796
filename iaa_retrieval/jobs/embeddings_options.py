"""Where the vectors of a corpus go, and in which form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, at_least, differing, flag_of, one_of, option

if TYPE_CHECKING:
    from iaa_retrieval.inference.vector_outputs import VectorOutput


@dataclass(frozen=True, kw_only=True)
class EmbeddingsOptions(Checked):
    """Where to put the vectors."""

    embeddings: str = option(help="Directory to make.")
    to_faiss: bool = option(False, help="A Faiss directory instead of embeddings.jsonl.")
    index_factory: str = option("Flat", help="Faiss index, e.g. HNSW32,Flat or IVF4096,SQ8.")
    to_parquet: bool = option(False, help="One Parquet file (docid, vector), from which any index can be made later.")
    to_lucene: str | None = option(
        None,
        help="A Lucene index of vectors: a graph or a flat one. Their length must be 1; needs Java.",
        type=click.Choice(("hnsw", "flat")),
        check=one_of("hnsw", "flat"),
    )
    quantize: str | None = option(
        None,
        help="Search a Lucene index by numbers of one byte each.",
        type=click.Choice(("int8",)),
        check=one_of("int8"),
    )
    hnsw_m: int = option(
        16, help="Links per document in a graph of Lucene.", type=click.IntRange(min=2), check=at_least(2)
    )
    hnsw_ef_construction: int = option(
        500,
        help="Candidates that are weighed for these links.",
        type=click.IntRange(min=1),
        check=at_least(1),
    )
    threads: int = option(
        1,
        help="Threads that build a Lucene index, each its own part of it.",
        type=click.IntRange(min=1),
        check=at_least(1),
    )
    resume: bool = option(False, help="Continue an interrupted encoding.")
    overwrite: bool = option(False, help="Discard an interrupted encoding, and replace a finished one at its end.")


_OF_LUCENE = ("quantize", "hnsw_m", "hnsw_ef_construction", "threads")
_OF_GRAPHS = ("hnsw_m", "hnsw_ef_construction")


def vector_output(options: EmbeddingsOptions) -> VectorOutput | None:
    """The form that is asked for, None for ``embeddings.jsonl``.

    Raises:
        UsageError: more than one form, or a setting of a form that is not asked for.
    """
    given = differing(options)
    forms = [name for name in ("to_faiss", "to_parquet", "to_lucene") if name in given]
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(map(flag_of, forms))} are different outputs; ask for one of them")
    if "index_factory" in given and not options.to_faiss:
        raise UsageError("--index-factory describes a Faiss index; add --to-faiss")
    for name in _OF_LUCENE:
        if name in given and not options.to_lucene:
            raise UsageError(f"{flag_of(name)} is about a Lucene index; add --to-lucene")
        if name in given and name in _OF_GRAPHS and options.to_lucene != "hnsw":
            raise UsageError(f"{flag_of(name)} is about a graph; say --to-lucene hnsw")
    from iaa_retrieval.inference.vector_outputs import FaissOutput, ParquetOutput

    if options.to_faiss:
        return FaissOutput(options.index_factory)
    if options.to_parquet:
        return ParquetOutput()
    if options.to_lucene:
        from iaa_retrieval.pyserini_plugin.lucene_dense import LuceneOutput

        return LuceneOutput(
            options.to_lucene,
            quantize=options.quantize,
            m=options.hnsw_m,
            ef_construction=options.hnsw_ef_construction,
            threads=options.threads,
        )
    return None
