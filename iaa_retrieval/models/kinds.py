"""The kinds of retriever there are, and loading one of whatever kind it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.cross_encoder import CrossEncoder, load_cross_encoder
from iaa_retrieval.models.loading import require_attention, use_attention
from iaa_retrieval.models.pair_template import PairSettings
from iaa_retrieval.models.plain_rerankers import read_plain_reranker
from iaa_retrieval.models.precision import choose_device, choose_precision
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config

RETRIEVERS: dict[str, type[Retriever]] = {retriever.kind: retriever for retriever in (BiEncoder, CrossEncoder)}
_LOADERS: dict[str, Callable[..., Retriever]] = {BiEncoder.kind: load_bi_encoder, CrossEncoder.kind: load_cross_encoder}


def retriever_class(kind: str) -> type[Retriever]:
    """The class of retrievers of a kind, as ``retriever.json`` names it.

    Raises:
        IaaRetrievalError: there is no such kind.
    """
    if kind not in RETRIEVERS:
        raise IaaRetrievalError(f"unknown kind of retriever {kind!r}; one of {', '.join(RETRIEVERS)}")
    return RETRIEVERS[kind]


def fingerprint_of(config: RetrieverConfig, weights: str) -> str:
    """The fingerprint of a checkpoint of either kind with this hash of its weights, see ``Retriever``."""
    return retriever_class(config.kind).fingerprint_of(config, weights)


def load_retriever(
    name_or_path: str,
    *,
    kind: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    attn_implementation: str | None = None,
    **settings: Any,
) -> Retriever:
    """Load a checkpoint of ours, a plain re-ranker, or any other plain encoder (a bi-encoder), ready for inference.

    Args:
        name_or_path: a checkpoint's directory, or a plain model's directory, hub id or ``all-MiniLM-L6-v2``. A plain
            model that says that it is a re-ranker is one (see ``models.plain_rerankers``).
        kind: ``bi-encoder`` or ``cross-encoder``, where another will not do; None takes either.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda:0``, ...
        attn_implementation: the attention kernel by transformers' name, such as ``sdpa`` or ``flash_attention_2``;
            None is transformers' choice. It is recorded nowhere, since results differ by rounding only.
        settings: further arguments of the kind's own loader: ``load_bi_encoder`` or ``load_cross_encoder``.

    Returns:
        A ``BiEncoder`` or ``CrossEncoder`` in evaluation mode, on its device.

    Raises:
        UsageError: a setting contradicts the checkpoint, or a length is more than the network takes.
        IaaRetrievalError: it cannot be loaded, is of another kind, or its files do not fit together.
    """
    kind = retriever_class(kind or kind_of(name_or_path, settings.get("pair"))).kind
    if attn_implementation is not None:
        on = choose_device(device)
        require_attention(attn_implementation, on, choose_precision(precision, on))
    model = _LOADERS[kind](name_or_path, precision=precision, device=device, **settings)
    if attn_implementation is not None:
        use_attention(model, attn_implementation)
    return model


def kind_of(name: str, pair: PairSettings | None = None) -> str:
    """The kind of a retriever that is not loaded yet: a checkpoint's own, of a plain model what it says of itself.

    Args:
        name: as ``load_retriever`` takes it.
        pair: how a plain model shall score pairs; that it does, may be known from nothing else.

    Raises:
        UsageError, IaaRetrievalError: as ``models.plain_rerankers.read_plain_reranker``.
    """
    config = read_retriever_config(name)
    if config is not None:
        return config.kind
    return BiEncoder.kind if read_plain_reranker(name, pair or PairSettings()) is None else CrossEncoder.kind
