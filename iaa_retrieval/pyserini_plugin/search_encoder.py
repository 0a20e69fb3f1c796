"""Which encoder a stock search command gets for its queries, and whether the index fits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.retriever_config import (
    FILE_NAME,
    RetrieverConfig,
    read_retriever_config,
    require_same_encoder,
)
from iaa_retrieval.pyserini_plugin.index_directories import (
    dimension_of_encoded,
    require_dimension,
    require_faiss_index,
    require_lucene_index,
)
from iaa_retrieval.pyserini_plugin.java import require_java_can_open
from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments

if TYPE_CHECKING:
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder


def require_index(arguments: StockArguments, kind: str) -> None:
    """Refuse an ``--index`` that is neither a directory with an index of this kind nor a prebuilt index.

    Args:
        kind: ``faiss`` or ``lucene``.
    """
    index = arguments.get("--index")
    if index is None:
        raise UsageError("--index is needed: a directory or the name of a prebuilt index")
    if Path(index).exists():
        if kind == "faiss":
            require_faiss_index(index, binary=(arguments.get("--searcher") or "").lower() == "bpr")
        else:
            require_lucene_index(index)
            require_java_can_open(index)
        return
    from pyserini import prebuilt_index_info as prebuilt

    tables = (
        prebuilt.TF_INDEX_INFO,
        prebuilt.IMPACT_INDEX_INFO,
        prebuilt.FAISS_INDEX_INFO,
        prebuilt.LUCENE_HNSW_INDEX_INFO,
        prebuilt.LUCENE_FLAT_INDEX_INFO,
    )
    if not any(index in table for table in tables):
        raise IaaRetrievalError(f"--index {index} is neither a directory nor a prebuilt index of Pyserini")


def load_query_encoder(arguments: StockArguments) -> IaaQueryEncoder | None:
    """Our encoder for ``--encoder``, or None where stock Pyserini shall decide.

    A checkpoint says itself how it pools. A plain encoder follows its sentence-transformers metadata, or with
    an explicit ``--encoder-class auto`` Pyserini's defaults (CLS, not normalised). Any other class, and a hub
    id for which Pyserini has a class of its own, are left to Pyserini.

    Side effect: ``--encoder-class auto`` is set, so that Pyserini does not guess a class from the path.

    Raises:
        UsageError: an option contradicts the checkpoint.
        IaaRetrievalError: it cannot be loaded.
    """
    name, stock_class = arguments.get("--encoder"), arguments.get("--encoder-class")
    if name is None or stock_class not in (None, "auto"):
        return None
    if stock_class is None and not Path(name).is_dir() and _has_stock_class(name):
        return None
    if arguments.has("--tokenizer"):
        raise UsageError(f"--tokenizer contradicts --encoder {name}, which has its own; leave it out")
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    stock_defaults = stock_class == "auto" and not (Path(name) / FILE_NAME).is_file()
    encoder = IaaQueryEncoder(
        name,
        device=arguments.get("--device") or "cpu",
        pooling=arguments.get("--pooling") or ("cls" if stock_defaults else None),
        l2_norm=True if arguments.has("--l2-norm") else (False if stock_defaults else None),
        prefix=arguments.get("--query-prefix"),
    )
    if stock_defaults:
        encoder.use_longest_queries()
    arguments.set("--encoder-class", "auto")
    return encoder


def require_matching_index(arguments: StockArguments, encoder: IaaQueryEncoder | None) -> None:
    """Refuse a Faiss index of another encoder or dimension than the queries'; both sides are named."""
    index, encoded = arguments.get("--index") or "", arguments.get("--encoded-queries")
    pca_model = arguments.get("--pca-model")
    if not Path(index).is_dir():
        return
    made_by = read_retriever_config(index)
    if encoder is not None:
        name = _described(f"--encoder {arguments.get('--encoder')}", encoder.bi_encoder.config)
        if made_by is not None:
            index_name = _described(f"--index {index}", made_by)
            require_same_encoder(index_name, made_by.fingerprint, name, encoder.fingerprint)
        require_dimension(index, name, encoder.bi_encoder.dimension, pca_model)
        return
    if encoded is not None and (dimension := dimension_of_encoded(encoded)) is not None:
        require_dimension(index, f"--encoded-queries {encoded}", dimension, pca_model)
    queries = read_retriever_config(encoded) if encoded is not None else None
    if made_by is not None and queries is not None:
        name = f"--encoded-queries {encoded}"
        require_same_encoder(f"--index {index}", made_by.fingerprint, name, queries.fingerprint)


def _described(name: str, config: RetrieverConfig) -> str:
    """A side of a mismatch with its settings, since the same weights under others are another encoder."""
    return f"{name}, {config.pooling} pooling{', l2 norm' if config.normalize else ''}"


@contextmanager
def registered(encoder: IaaQueryEncoder | None) -> Iterator[None]:
    """Make Pyserini's encoder class ``auto`` give our encoder, which is loaded already."""
    if encoder is None:
        yield
        return
    from pyserini.encode import query_encoder_class_map

    stock = query_encoder_class_map["auto"]
    query_encoder_class_map["auto"] = lambda **options: encoder
    try:
        yield
    finally:
        query_encoder_class_map["auto"] = stock


def _has_stock_class(hub_id: str) -> bool:
    """Whether Pyserini has a class of its own for a hub id, such as ``castorini/tct_colbert-v2-msmarco``.

    Pyserini looks for its class names anywhere ("ance" in "enhanced"); here they must be words.
    """
    from pyserini.encode import query_encoder_class_map

    # These two are AutoQueryEncoder with settings that our encoder reads from the model's own metadata.
    names = [name for name in query_encoder_class_map if name not in ("sentence", "auto")]
    return any(re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", hub_id.lower()) for name in names)
