"""An index and the encoder of its queries: what does not belong together is refused, in a command and in Python."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config, require_same_encoder
from iaa_retrieval.pyserini_plugin.index_directories import require_dimension

if TYPE_CHECKING:
    from iaa_retrieval.models.bi_encoder import BiEncoder


def require_fitting_index(
    index: str | Path, encoder: BiEncoder, *, index_name: str, encoder_name: str, pca_model: str | None = None
) -> None:
    """Refuse a Faiss directory whose vectors another encoder made, or that have another dimension.

    The lengths, prompts and prefixes of queries and documents may differ: they are not the same texts.

    Args:
        index_name, encoder_name: how to name either side in the error.
        pca_model: a file with a transform of Faiss that the search applies to the queries' vectors, if any.
    """
    made_by = read_retriever_config(index)
    name = described(encoder_name, encoder.config)
    if made_by is not None:
        require_same_class(index_name, made_by.encoder_class, encoder_name, encoder.config.encoder_class)
        ours, theirs = encoder.config.index_fingerprint, made_by.index_fingerprint
        require_same_encoder(described(index_name, made_by), theirs, name, ours)
    if (Path(index) / "index").is_file():
        require_dimension(index, name, encoder.dimension, pca_model, index_name=index_name)


def require_same_class(left: str, left_class: str, right: str, right_class: str) -> None:
    """Refuse to use together what different encoder classes made; an empty class is this package's encoder."""
    if left_class != right_class:
        classes = [
            f"Pyserini's class {name}" if name else "the encoder of iaa_retrieval" for name in (left_class, right_class)
        ]
        raise IaaRetrievalError(
            f"{left} was made by {classes[0]}, but {right} stands for {classes[1]}; encode the corpus again with the "
            "encoder of the queries"
        )


def described(name: str, config: RetrieverConfig) -> str:
    """A side of a mismatch with its settings, since the same weights under others are another encoder."""
    return f"{name}, {config.pooling} pooling{', l2 norm' if config.normalize else ''}"


def guard_faiss_searcher(encoder_type: type) -> None:
    """From now on, ``FaissSearcher(INDEX, ENCODER)`` refuses an index that an encoder of ``encoder_type`` did not make.

    Pyserini's searcher does not look at who made an index, and would search it. Its constructor is wrapped once in a
    process; searchers with any other query encoder are made as before.
    """
    from pyserini.search.faiss import FaissSearcher

    stock = FaissSearcher.__init__
    if getattr(stock, "guarded", False):
        return

    @functools.wraps(stock)
    def guarded(self: Any, index_dir: str, query_encoder: Any, *args: Any, **options: Any) -> None:
        if isinstance(query_encoder, encoder_type):
            encoder = query_encoder.bi_encoder  # type: ignore[attr-defined]
            require_fitting_index(
                index_dir, encoder, index_name=f"index {index_dir}", encoder_name=f"encoder {encoder.source}"
            )
        stock(self, index_dir, query_encoder, *args, **options)

    guarded.guarded = True  # type: ignore[attr-defined]
    FaissSearcher.__init__ = guarded
