"""``embedding.pkl``: encoded queries as ``pyserini.search.faiss --encoded-queries`` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iaa_retrieval.collections.topic_files import write_topics
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_directory
from iaa_retrieval.inference.cuts import query_cuts
from iaa_retrieval.inference.text_encoder import encode_queries
from iaa_retrieval.models.bi_encoder import BiEncoder


def encode_query_texts(
    encoder: BiEncoder, texts: Sequence[str], *, batch_size: int | None = None, cut_advice: str = ""
) -> np.ndarray:
    """Encode queries into float32 [len(texts), d]; one warning counts those that are longer than the encoder reads.

    Args:
        cut_advice: how the caller's user sets another length.

    Raises:
        IaaRetrievalError: there is none.
    """
    if not texts:
        raise IaaRetrievalError("there is no query to encode")
    cuts = query_cuts(encoder, cut_advice)
    vectors = encode_queries(encoder, texts, batch_size=batch_size, show_progress=True, on_cut=cuts.count(len(texts)))
    cuts.warn()
    return vectors


def write_encoded_queries(
    encoder: BiEncoder,
    queries: Sequence[Query],
    output: str | Path,
    *,
    batch_size: int | None = None,
    cut_advice: str = "",
) -> np.ndarray:
    """Encode ``queries`` into ``output/embedding.pkl`` (a data frame with id, text and embedding).

    ``topics.json`` beside it holds the same queries in a form that stock Pyserini reads as ``--topics``, and
    ``retriever.json`` the encoder, so that a search can check that the index was made with the same one.

    Returns:
        What ``encode_query_texts`` does.
    """
    import pandas

    texts = [query.text for query in queries]
    vectors = encode_query_texts(encoder, texts, batch_size=batch_size, cut_advice=cut_advice)
    frame = pandas.DataFrame(
        {
            "id": [query.query_id for query in queries],
            "text": texts,
            "embedding": list(vectors),
        }
    )
    with atomic_directory(output) as directory:
        frame.to_pickle(directory / "embedding.pkl")
        write_topics(directory / "topics.json", queries)
        encoder.config.save(directory)
    return vectors
