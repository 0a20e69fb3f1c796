"""Where the vectors of a corpus go, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.quantization import FACTORIES, RESCORED_PER_HIT, RESCORING, quantized_factory
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
    truncate_dim: int | None = option(
        None,
        help="Keep so many numbers of each vector, the first ones; searches cut their queries alike. For encoders that "
        "were trained for it (train bi-encoder --matryoshka).",
        default_text="all, or what the encoder says",
        type=click.IntRange(min=1),
        check=at_least(1),
    )
    quantize: str | None = option(
        None,
        help="Search by shorter numbers: int8 takes one byte each (a Faiss index holds nothing else then, a Lucene "
        "index has them beside the vectors), binary one bit each (Faiss only).",
        type=click.Choice(tuple(FACTORIES)),
        check=one_of(*FACTORIES),
    )
    rescore: str | None = option(
        None,
        help="With --to-faiss --quantize: keep vectors of such numbers beside the shorter ones, and score "
        f"{RESCORED_PER_HIT} times as many documents as there shall be hits anew with them.",
        default_text="none",
        type=click.Choice(tuple(RESCORING)),
        check=one_of(*RESCORING),
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


_OF_LUCENE = ("hnsw_m", "hnsw_ef_construction", "threads")
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
    _check_quantization(options, given)
    for name in _OF_LUCENE:
        if name in given and not options.to_lucene:
            raise UsageError(f"{flag_of(name)} is about a Lucene index; add --to-lucene")
        if name in given and name in _OF_GRAPHS and options.to_lucene != "hnsw":
            raise UsageError(f"{flag_of(name)} is about a graph; say --to-lucene hnsw")
    from iaa_retrieval.inference.vector_outputs import FaissOutput, ParquetOutput

    if options.to_faiss:
        quantized = options.quantize and quantized_factory(options.quantize, options.rescore)
        return FaissOutput(quantized or options.index_factory)
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


def _check_quantization(options: EmbeddingsOptions, given: Sequence[str]) -> None:
    """Refuse shorter numbers where they mean nothing.

    Raises:
        UsageError: says which.
    """
    if options.quantize and not (options.to_faiss or options.to_lucene):
        raise UsageError("--quantize is about an index; add --to-faiss or --to-lucene")
    if options.quantize == "binary" and options.to_lucene:
        raise UsageError("--quantize binary makes a Faiss index; say --to-faiss, or --quantize int8")
    if options.quantize and "index_factory" in given:
        raise UsageError("--quantize and --index-factory both describe the index; give one of them")
    if options.rescore and not (options.quantize and options.to_faiss):
        raise UsageError("--rescore scores hits of shorter numbers anew; add --to-faiss and --quantize")
    if options.rescore and options.rescore == options.quantize:
        raise UsageError(f"--rescore {options.rescore} scores by what --quantize {options.quantize} holds already")
