"""A backbone as a retriever of either kind, to be tuned or to carry adapters."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.models.architecture import require_pair_scores, require_rows
from iaa_retrieval.models.backbone import backbone_name, load_network
from iaa_retrieval.models.backbone_checkpoint import read_backbone_checkpoint
from iaa_retrieval.models.backbone_fingerprint import fingerprint_loaded
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.checkpoint import FULL_FILE, tokenizer_fingerprint
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.heads.head import Head
from iaa_retrieval.models.heads.registry import DEFAULT_HEAD, get_head
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.models.sizes import position_limit
from iaa_retrieval.models.text_settings import TextSettings, load_text_tokenizer


def new_bi_encoder(
    backbone: str,
    *,
    settings: TextSettings | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    precision: str = "auto",
    device: str = "auto",
    loading: Loading | None = None,
) -> BiEncoder:
    """A bi-encoder on a bare backbone, to be tuned or to carry adapters.

    A bi-encoder checkpoint hands on its pooling, normalisation, prefixes and lengths; of a cross-encoder checkpoint
    only the encoder's weights are used. Anything else is as ``settings`` or ``load_bi_encoder`` say.

    Raises:
        UsageError, IaaRetrievalError: as ``load_bi_encoder`` and ``read_backbone_checkpoint``.
    """
    checkpoint = read_backbone_checkpoint(backbone)
    if checkpoint is not None and BiEncoder.is_kind_of(checkpoint):
        settings = TextSettings(pooling=checkpoint.pooling, normalize=checkpoint.normalize)
    model = load_bi_encoder(
        backbone,
        settings=settings,
        pooling=pooling,
        normalize=normalize,
        precision=precision,
        device=device,
        as_backbone=True,
        loading=loading,
    )
    model.config = replace(model.config, **inherited_settings(checkpoint, BiEncoder))
    return model


def new_cross_encoder(backbone: str, head: str | None = None, *, loading: Loading = IN_FP32) -> CrossEncoder:
    """A backbone with a one-output head, for training.

    The head is the backbone's own where it has one of that name, such as a cross-encoder checkpoint's, else a fresh
    one. Such a checkpoint hands on its prefixes and lengths; of a bi-encoder checkpoint only the encoder's weights are
    used.

    Args:
        backbone: a directory, hub id or ``all-MiniLM-L6-v2``.
        head: a name in ``models.heads``; None is that of a cross-encoder checkpoint, else ``pooler``.
        loading: in what form, and where, the weights come into memory.

    Raises:
        UsageError: there is no such head, or it cannot work with this backbone.
        IaaRetrievalError: it cannot be loaded, or is an adapter, or does not score pairs.
    """
    checkpoint = read_backbone_checkpoint(backbone)
    own = checkpoint.head if checkpoint is not None and CrossEncoder.is_kind_of(checkpoint) else None
    chosen = get_head(head or own or DEFAULT_HEAD)
    classifier, tokenizer = _pair_network(backbone, chosen, loading, has_head=chosen.name == own)
    if classifier.config.pad_token_id is None:  # by which a decoder's classifier finds the last token of a pair
        classifier.config.pad_token_id = tokenizer.pad_token_id
    require_rows(classifier, tokenizer, backbone)
    require_pair_scores(classifier, tokenizer, backbone)
    limit = position_limit(classifier)
    config = RetrieverConfig(
        kind=CrossEncoder.kind,
        backbone=backbone_name(backbone),
        backbone_fingerprint=fingerprint_loaded(classifier, backbone, loading),
        query_max_length=min(64, limit),
        document_max_length=min(256, limit),
        head=chosen.name,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    config = replace(config, **inherited_settings(checkpoint, CrossEncoder))
    return CrossEncoder(classifier, tokenizer, config, backbone)


def _pair_network(backbone: str, head: Head, loading: Loading, *, has_head: bool) -> tuple[Any, Any]:
    """The backbone with the head on it, its own where ``has_head`` says so or transformers finds one; its tokenizer."""
    if head.build is None:
        network = load_network(CrossEncoder.auto_class(), backbone, loading=loading, **CrossEncoder.network_options)
        return network, load_text_tokenizer(backbone)
    from transformers import AutoModel

    from iaa_retrieval.models.headed_encoder import separator_of, with_head

    encoder = load_network(AutoModel, backbone, expects_more=has_head, loading=loading)
    tokenizer = load_text_tokenizer(backbone)
    separator = separator_of(tokenizer, backbone, head)
    return with_head(encoder, head, separator, Path(backbone) / FULL_FILE if has_head else None), tokenizer


def inherited_settings(checkpoint: RetrieverConfig | None, kind: type[Retriever]) -> dict[str, Any]:
    """What a model that is tuned further keeps of the settings: how texts are put in and where they are cut.

    Args:
        checkpoint: what it is tuned from; None is a plain encoder.
        kind: what the model is; another kind's settings are not kept.
    """
    if not kind.is_kind_of(checkpoint):
        return {}
    names = [field.name for field in fields(RetrieverConfig) if field.name.startswith(("query_", "document_"))]
    return {name: getattr(checkpoint, name) for name in names}
