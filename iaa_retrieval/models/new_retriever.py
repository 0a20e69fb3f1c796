"""A backbone as a retriever of either kind, to be tuned or to carry adapters."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.backbone import backbone_name, read_network_config
from iaa_retrieval.models.backbone_checkpoint import read_backbone_checkpoint
from iaa_retrieval.models.backbone_fingerprint import fingerprint_loaded
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.checkpoint import tokenizer_fingerprint
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.heads.registry import get_head
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.pair_network import pair_network
from iaa_retrieval.models.pair_settings import default_head
from iaa_retrieval.models.pair_template import NO_TEMPLATE, PairSettings
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.models.sizes import position_limit
from iaa_retrieval.models.text_settings import TextSettings


def new_bi_encoder(
    backbone: str,
    *,
    settings: TextSettings | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    append_eos: bool = False,
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
        settings = TextSettings(
            pooling=checkpoint.pooling, normalize=checkpoint.normalize, truncate_dim=checkpoint.truncate_dim
        )
    model = load_bi_encoder(
        backbone,
        settings=settings,
        pooling=pooling,
        normalize=normalize,
        append_eos=append_eos,
        precision=precision,
        device=device,
        as_backbone=True,
        loading=loading,
    )
    model.config = replace(model.config, **inherited_settings(checkpoint, BiEncoder))
    return model


def new_cross_encoder(
    backbone: str, head: str | None = None, pair: PairSettings | None = None, *, loading: Loading = IN_FP32
) -> CrossEncoder:
    """A backbone with a one-output head, for training.

    The head is the backbone's own where it has one of that name, such as a cross-encoder checkpoint's, else a fresh
    one. Such a checkpoint hands on its prefixes, lengths and template; of a bi-encoder checkpoint only the encoder's
    weights are used.

    Args:
        backbone: a directory, hub id or ``all-MiniLM-L6-v2``.
        head: a name in ``models.heads``; None is that of a cross-encoder checkpoint, else ``last`` for a decoder that
            is no classifier with one output, else ``pooler``.
        pair: how a pair becomes a text, and which words are an answer; its head counts where ``head`` is None.
        loading: in what form, and where, the weights come into memory.

    Raises:
        UsageError: there is no such head, or it cannot work with this backbone or template.
        IaaRetrievalError: it cannot be loaded, or is an adapter, or does not score pairs.
    """
    checkpoint = read_backbone_checkpoint(backbone)
    own = checkpoint if checkpoint is not None and CrossEncoder.is_kind_of(checkpoint) else None
    asked = pair or PairSettings()
    chosen = get_head(head or asked.head or (own.head if own else default_head(read_network_config(backbone))))
    keeps = own is not None and own.head == chosen.name
    if own is not None and keeps:
        if asked.tokens not in (None, own.pair_tokens):
            raise UsageError(f"--pair-tokens cannot change: {backbone} answers {' or '.join(own.pair_tokens)}")
        asked = asked.or_else(pair_settings_of(own))
    classifier, tokenizer, settings = pair_network(backbone, chosen, asked, own_head=keeps, loading=loading)
    limit = position_limit(classifier)
    config = RetrieverConfig(
        kind=CrossEncoder.kind,
        backbone=backbone_name(backbone),
        backbone_fingerprint=fingerprint_loaded(classifier, backbone, loading),
        query_max_length=min(64, limit),
        document_max_length=min(256, limit),
        head=chosen.name,
        pair_template=settings.template or "",
        pair_instruction=settings.instruction or "",
        pair_tokens=settings.tokens or (),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    model = CrossEncoder(classifier, tokenizer, config, backbone)
    # A template's own tokens come on top of those that are usual for the two texts.
    inherited = inherited_settings(checkpoint, CrossEncoder)
    return model.with_config(**{"document_max_length": min(256 + model.template_length, limit), **inherited})


def inherited_settings(checkpoint: RetrieverConfig | None, kind: type[Retriever]) -> dict[str, Any]:
    """What a model that is tuned further keeps of the settings: how texts are put in and where they are cut.

    Args:
        checkpoint: what it is tuned from; None is a plain encoder.
        kind: what the model is; another kind's settings are not kept.
    """
    if not kind.is_kind_of(checkpoint):
        return {}
    names = [field.name for field in fields(RetrieverConfig) if field.name.startswith(("query_", "document_"))]
    if checkpoint is not None and checkpoint.append_token:  # its tokenizer does it already
        names.append("append_token")
    return {name: getattr(checkpoint, name) for name in names}


def pair_settings_of(config: RetrieverConfig) -> PairSettings:
    """How a cross-encoder checkpoint scores pairs, all of it said."""
    first, second = config.pair_tokens or (None, None)
    tokens = None if first is None or second is None else (first, second)
    return PairSettings(config.head, config.pair_template or NO_TEMPLATE, config.pair_instruction, tokens)
