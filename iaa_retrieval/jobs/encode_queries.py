"""Queries to vectors with a bi-encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iaa_retrieval.device_options import attention_field, device_field, precision_field
from iaa_retrieval.errors import UsageError
from iaa_retrieval.jobs.encode import require_bi_encoder
from iaa_retrieval.jobs.encoder_options import (
    CUT_ADVICE,
    CUT_ADVICE_IN_PYTHON,
    ENCODER_HELP,
    L2_NORM_HELP,
    OUR_CLASSES,
    POOLING_HELP,
    PYSERINI_POOLINGS,
)
from iaa_retrieval.options import Checked, at_least, one_of, option
from iaa_retrieval.prompt_options import append_eos_field, asked_around, prefix_field, prompt_field, prompt_name_field

if TYPE_CHECKING:
    import numpy as np

    from iaa_retrieval.collections.types import Query
    from iaa_retrieval.models.bi_encoder import BiEncoder


@dataclass(frozen=True, kw_only=True)
class EncodeQueriesOptions(Checked):
    """One encoding of queries; None means what the encoder says itself."""

    topics: str = option(help="File, collection (SPEC:SPLIT), ir_datasets id or Pyserini topics name.")
    encoder: str = option(help=ENCODER_HELP)
    output: str = option(help="Directory to make.")
    max_length: int | None = option(None, help="Tokens per query.", default_text="the encoder's own")
    encoder_class: str | None = option(
        None,
        help="Pyserini's settings of that class, instead of a plain encoder's own.",
        check=one_of(*OUR_CLASSES),
    )
    pooling: str | None = option(None, help=POOLING_HELP, check=one_of(*PYSERINI_POOLINGS))
    l2_norm: bool = option(False, help=L2_NORM_HELP)
    query_prefix: str | None = prefix_field("query", "a plain encoder's own prompt")
    query_prompt: str | None = prompt_field("query")
    query_prompt_name: str | None = prompt_name_field("query")
    append_eos: bool = append_eos_field()
    truncate_dim: int | None = option(
        None,
        help="Keep so many numbers of each vector, the first ones; as many as those of the index have.",
        default_text="all, or what the encoder says",
        type=click.IntRange(min=1),
        check=at_least(1),
    )
    precision: str = precision_field("fp32", "Queries are few and short: fp32 costs nothing and is exact.")
    device: str = device_field()
    attn_implementation: str | None = attention_field()


def encode_topics(options: EncodeQueriesOptions) -> int:
    """Encode queries into ``OUTPUT/embedding.pkl``.

    Args:
        options: what to encode, with what, and where to.

    Returns:
        The number of queries.

    Raises:
        IaaRetrievalError: unreadable topics, or an encoder that cannot be loaded.
        UsageError: options that contradict the encoder, or an encoder class that only Pyserini has.
    """
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference.encoded_queries import write_encoded_queries
    from iaa_retrieval.models.bi_encoder import load_bi_encoder
    from iaa_retrieval.models.encoder_classes import pooling_named
    from iaa_retrieval.models.loading import use_attention

    require_empty(options.output)
    # Not load_for_inference, here and below: queries are few, and their vectors those of the weights as they lie.
    encoder = load_bi_encoder(
        options.encoder,
        encoder_class=options.encoder_class,
        pooling=pooling_named(options.pooling),
        normalize=options.l2_norm or None,
        **asked_around(options, "query", prefix=options.query_prefix),
        query_max_length=options.max_length,
        truncate_dim=options.truncate_dim,
        precision=options.precision,
        device=options.device,
    )
    if options.attn_implementation is not None:
        use_attention(encoder, options.attn_implementation)
    queries = read_topics(options.topics)
    write_encoded_queries(encoder, queries, options.output, cut_advice=CUT_ADVICE)
    return len(queries)


def encode_queries(
    retriever: BiEncoder | str | Path,
    queries: Sequence[str] | Mapping[str, str] | Path,
    output: str | Path | None = None,
    *,
    max_length: int | None = EncodeQueriesOptions.max_length,
    truncate_dim: int | None = EncodeQueriesOptions.truncate_dim,
    batch_size: int | None = None,
    precision: str = EncodeQueriesOptions.precision,
    device: str = EncodeQueriesOptions.device,
) -> np.ndarray:
    """Encode queries, and keep them for Pyserini where an output is named.

    Args:
        retriever: a loaded bi-encoder, which is used as it is, or the path or name of one.
        queries: texts, whose ids are 1, 2, ...; query id -> text; or topics by name: a file, ``COLLECTION:SPLIT``,
            an ir_datasets id or Pyserini's name of topics.
        output: a directory to make, as ``pyserini.search.faiss --encoded-queries`` reads it (``embedding.pkl``).
        max_length: tokens of a query; None is the retriever's own.
        truncate_dim: numbers to keep of each vector, the first ones; None is all, or what the retriever says.
        batch_size: queries of full length at a time; None is 8 on a CPU and 32 elsewhere.
        precision: ``fp32``, ``auto``, ``bf16`` or ``fp16``, of a retriever that is not loaded yet.
        device: ``auto``, ``cpu``, ``cuda:0``, ..., likewise.

    Returns:
        Vectors, float32 [n, d], in the order of the queries.

    Raises:
        UsageError: a name that means nothing, a length that the retriever cannot take, or a ``batch_size`` below 1.
        IaaRetrievalError: not a bi-encoder, no or damaged queries, an ``output`` that is not empty, or a vector that is
            not finite.
    """
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference.encoded_queries import encode_query_texts, write_encoded_queries
    from iaa_retrieval.models.bi_encoder import load_bi_encoder

    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size {batch_size}: at least 1 is needed")
    if output is not None:
        require_empty(output)
    asked = _as_queries(queries)
    if isinstance(retriever, (str, Path)):
        retriever = load_bi_encoder(str(retriever), precision=precision, device=device)
    encoder = require_bi_encoder(retriever).with_lengths(query=max_length).cut_to(truncate_dim)
    if output is not None:
        return write_encoded_queries(encoder, asked, output, batch_size=batch_size, cut_advice=CUT_ADVICE_IN_PYTHON)
    texts = [query.text for query in asked]
    return encode_query_texts(encoder, texts, batch_size=batch_size, cut_advice=CUT_ADVICE_IN_PYTHON)


def _as_queries(queries: Sequence[str] | Mapping[str, str] | Path) -> list[Query]:
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.collections.types import Query

    if isinstance(queries, (str, Path)):
        return read_topics(queries)
    if isinstance(queries, Mapping):
        return [Query(query_id, text) for query_id, text in queries.items()]
    return [Query(str(number), text) for number, text in enumerate(queries, start=1)]
