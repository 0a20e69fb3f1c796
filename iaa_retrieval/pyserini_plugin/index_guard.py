"""An index and the encoder of its queries: what does not belong together is refused, in a command and in Python."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.encoder_classes import OUR_CLASSES
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
        require_same_size(index_name, made_by, encoder_name, encoder.config)
    if (Path(index) / "index").is_file():
        require_dimension(index, name, encoder.dimension, pca_model, index_name=index_name)


def cut_as(index: str | Path, encoder: BiEncoder) -> BiEncoder:
    """The encoder, with vectors cut as those of an index, unless they are cut already: then it must fit as it is."""
    made_by = read_retriever_config(index)
    if made_by is None or made_by.truncate_dim is None or encoder.config.truncate_dim is not None:
        return encoder
    return encoder.with_config(truncate_dim=made_by.truncate_dim)


def require_same_size(left: str, left_config: RetrieverConfig, right: str, right_config: RetrieverConfig) -> None:
    """Refuse to compare vectors of one encoder that are cut to different sizes.

    Args:
        left: how to name the index in the error.
        left_config: what made its vectors.
        right: how to name the other side.
        right_config: what makes the queries' vectors.
    """
    if left_config.truncate_dim != right_config.truncate_dim:
        sizes = [
            f"cut to {config.truncate_dim} numbers" if config.truncate_dim else "not cut"
            for config in (left_config, right_config)
        ]
        advice = f"--truncate-dim {left_config.truncate_dim}" if left_config.truncate_dim else "no --truncate-dim"
        raise IaaRetrievalError(
            f"the vectors of {left} are {sizes[0]}, those of {right} {sizes[1]}; give the queries {advice}"
        )


def require_same_class(left: str, left_class: str, right: str, right_class: str) -> None:
    """Refuse to use together what different encoder classes made; an empty class is this package's encoder.

    So is a class of Pyserini's that it stands for, which may have made an index itself.
    """
    left_class, right_class = ("" if name in OUR_CLASSES else name for name in (left_class, right_class))
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
    norm, ending = ", l2 norm" if config.normalize else "", config.append_token
    return f"{name}, {config.pooling} pooling{norm}{f', {ending} after every text' if ending else ''}"


def guard_faiss_searcher(encoder_type: type) -> None:
    """From now on, ``FaissSearcher(INDEX, ENCODER)`` refuses an index that an encoder of ``encoder_type`` did not make.

    Pyserini's searcher does not look at who made an index, and would search it. Its constructor is wrapped once in a
    process; searchers with any other query encoder are made as before. Queries are cut as the vectors of the index are.
    """
    from pyserini.search.faiss import FaissSearcher

    stock = FaissSearcher.__init__
    if getattr(stock, "guarded", False):
        return

    @functools.wraps(stock)
    def guarded(self: Any, index_dir: str, query_encoder: Any, *args: Any, **options: Any) -> None:
        if isinstance(query_encoder, encoder_type):
            encoder = cut_as(index_dir, query_encoder.bi_encoder)  # type: ignore[attr-defined]
            require_fitting_index(
                index_dir, encoder, index_name=f"index {index_dir}", encoder_name=f"encoder {encoder.source}"
            )
            if encoder is not query_encoder.bi_encoder:  # type: ignore[attr-defined]
                query_encoder = copy.copy(query_encoder)  # the caller's may have another index to search
                query_encoder.bi_encoder = encoder
        stock(self, index_dir, query_encoder, *args, **options)

    guarded.guarded = True  # type: ignore[attr-defined]
    FaissSearcher.__init__ = guarded
