"""The bi-encoder: one encoder for queries and passages, or one for each, pooled into one vector per text."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.architecture import require_rows
from iaa_retrieval.models.backbone import backbone_name, fingerprint_weights, load_network
from iaa_retrieval.models.checkpoint import (
    fingerprint_bi_encoder,
    load_separate_weights,
    load_tuned_tokenizer,
    load_tuned_weights,
    require_weights,
    tokenizer_fingerprint,
)
from iaa_retrieval.models.encoder_classes import settings_of
from iaa_retrieval.models.pooling import POOLINGS, pool
from iaa_retrieval.models.precision import DTYPES, choose_device, choose_precision
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone
from iaa_retrieval.models.text_settings import TextSettings, load_text_tokenizer

LOG = logging.getLogger("iaa_retrieval")


class BiEncoder(nn.Module):
    """An encoder with its tokenizer and settings.

    Attributes:
        encoder: the (possibly PEFT-wrapped) Hugging Face encoder; with separate encoders, that of queries.
        passage_encoder: that of passages, with the same backbone weights; None where one encoder does both.
        tokenizer: its fast tokenizer.
        config: pooling, lengths, prefixes and provenance.
        source: what it was loaded from, for error messages.
    """

    def __init__(
        self,
        encoder: nn.Module,
        tokenizer: Any,
        config: RetrieverConfig,
        source: str,
        passage_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.passage_encoder = passage_encoder
        self.tokenizer = tokenizer
        self.config = config
        self.source = source

    def encode_queries(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode token ids [batch, tokens] of queries into fp32 vectors [batch, d] (unit length when normalised)."""
        return self._encode(self.encoder, input_ids, attention_mask)

    def encode_passages(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode token ids [batch, tokens] of passages into fp32 vectors [batch, d] (unit length when normalised)."""
        return self._encode(
            self.encoder if self.passage_encoder is None else self.passage_encoder, input_ids, attention_mask
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode token ids [batch, tokens] of either kind of text into fp32 vectors [batch, d].

        Raises:
            TypeError: the encoders are separate, so that it matters which kind of text it is.
        """
        if self.passage_encoder is not None:
            raise TypeError("this bi-encoder has separate encoders; call encode_queries or encode_passages")
        return self._encode(self.encoder, input_ids, attention_mask)

    def _encode(self, encoder: nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        vectors = pool(hidden, attention_mask, self.config.pooling)
        return nn.functional.normalize(vectors, dim=-1) if self.config.normalize else vectors

    def with_config(self, **changes: Any) -> BiEncoder:
        """The same networks and tokenizer under changed settings."""
        config = replace(self.config, **changes)
        return BiEncoder(self.encoder, self.tokenizer, config, self.source, self.passage_encoder)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The encoder; with separate encoders that of queries, then that of passages."""
        return (self.encoder,) if self.passage_encoder is None else (self.encoder, self.passage_encoder)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return encoder_width(self.encoder)

    @property
    def fingerprint(self) -> str:
        """Hash of all that a vector depends on (weights, pooling, normalisation); hex."""
        return self.config.fingerprint


def load_bi_encoder(
    name_or_path: str,
    *,
    pooling: str | None = None,
    normalize: bool | None = None,
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    query_max_length: int | None = None,
    document_max_length: int | None = None,
    encoder_class: str | None = None,
    settings: TextSettings | None = None,
    precision: str = "auto",
    device: str = "auto",
    backbone: SharedBackbone | None = None,
    as_backbone: bool = False,
) -> BiEncoder:
    """Load a checkpoint of ours, or any plain encoder, ready for inference.

    A checkpoint says how it pools and normalises; contradicting it is an error. A plain encoder is used as
    :func:`.encoder_classes.settings_of` says (its sentence-transformers metadata where it has any, else Pyserini's
    settings), or as ``settings`` do, and every setting can be overridden; a prefix takes the place of a prompt.
    With ``backbone``, a checkpoint's adapters are put on a backbone that is in memory, which must be in ``precision``
    and on ``device`` already. With ``as_backbone``, a checkpoint that is a whole network is loaded as a plain encoder
    is: its weights alone count, see :mod:`.backbone_checkpoint`.

    Raises:
        UsageError: an override contradicts the checkpoint, or the encoder needs a class that only Pyserini has.
        IaaRetrievalError: unreachable, a cross-encoder, or not matching its backbone.
    """
    config = None if as_backbone else read_retriever_config(name_or_path)
    overrides = {
        "query_prefix": query_prefix,
        "document_prefix": document_prefix,
        "query_max_length": query_max_length,
        "document_max_length": document_max_length,
    }
    given: dict[str, Any] = {key: value for key, value in overrides.items() if value is not None}
    passage_encoder = None
    if config is None:
        settings = settings_of(name_or_path, encoder_class) if settings is None else settings
        if encoder_class not in (None, "auto"):
            if pooling not in (None, settings.pooling) or normalize not in (None, settings.normalize):
                LOG.warning(
                    "%s: the encoder class %s says how it pools and normalises, as in Pyserini; other options on that "
                    "have no effect",
                    name_or_path,
                    encoder_class,
                )
            pooling = normalize = None
        encoder, tokenizer, config = _load_plain(name_or_path, settings, pooling, normalize)
        for role in ("query", "document"):
            if f"{role}_prefix" in given:
                given[f"{role}_prompt"] = ""
    else:
        if config.kind != "bi-encoder":
            raise IaaRetrievalError(f"{name_or_path} is a {config.kind}; a bi-encoder is needed here")
        _refuse_contradiction(name_or_path, "pooling", pooling, config.pooling)
        _refuse_contradiction(name_or_path, "l2-norm", normalize, config.normalize)
        _refuse_another_prefix(name_or_path, "query", query_prefix, config.query_prefix, config.query_lead)
        _refuse_another_prefix(name_or_path, "document", document_prefix, config.document_prefix, config.document_lead)
        given = {key: value for key, value in given.items() if not key.endswith("_prefix")}  # they say the same
        require_weights(name_or_path, config, fingerprint_bi_encoder)
        encoder, passage_encoder = _load_tuned(name_or_path, config, backbone)
        tokenizer = load_tuned_tokenizer(name_or_path, config)
    config = replace(config, **given)
    require_lengths(encoder, name_or_path, query=config.query_max_length, document=config.document_max_length)
    require_rows(encoder, tokenizer, name_or_path)
    device = choose_device(device)
    bi_encoder = BiEncoder(encoder, tokenizer, config, name_or_path, passage_encoder)
    bi_encoder.to(device=device, dtype=DTYPES[choose_precision(precision, device)])
    return bi_encoder.eval()


def encoder_width(encoder: Any) -> int:
    """Hidden size of an encoder, whatever its configuration calls it."""
    return int(getattr(encoder.config, "hidden_size", None) or encoder.config.dim)


def _load_plain(
    name: str, settings: TextSettings, pooling: str | None, normalize: bool | None
) -> tuple[Any, Any, RetrieverConfig]:
    from transformers import AutoModel

    pooling = pooling or settings.pooling
    if pooling not in POOLINGS:
        raise UsageError(
            f"{name}: unknown pooling {pooling!r}; say --pooling with one of {', '.join(POOLINGS)} (encode, search "
            "faiss, rerank and train bi-encoder have that option)"
        )
    for remark in settings.remarks:
        LOG.warning("%s", remark)
    encoder = load_network(AutoModel, name)
    tokenizer = load_text_tokenizer(name)
    weights = fingerprint_weights(encoder)
    query_length, document_length = settings.lengths(tokenizer, position_limit(encoder))
    config = RetrieverConfig(
        kind="bi-encoder",
        backbone=backbone_name(name),
        backbone_fingerprint=weights,
        pooling=pooling,
        normalize=settings.normalize if normalize is None else normalize,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
        query_max_length=query_length,
        document_max_length=document_length,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    return encoder, tokenizer, replace(config, fingerprint=fingerprint_bi_encoder(config, weights))


def _load_tuned(path: str, config: RetrieverConfig, backbone: SharedBackbone | None) -> tuple[Any, Any]:
    from transformers import AutoModel

    if config.separate_encoders:
        return load_separate_weights(AutoModel, path, config, backbone)
    return load_tuned_weights(AutoModel, path, config, backbone), None


def position_limit(encoder: Any) -> int:
    """The longest input in tokens that the position embeddings allow (RoBERTa-style ones reserve two)."""
    positions = int(getattr(encoder.config, "max_position_embeddings", 512))
    if positions < 1:  # how XLNet says that there is no limit
        positions = 512
    reserved = 2 if encoder.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    return positions - reserved


def require_lengths(encoder: Any, name: str, **lengths: int) -> None:
    """Refuse a length in tokens (by what it is of) that the encoder called ``name`` cannot take."""
    limit = position_limit(encoder)
    for label, length in lengths.items():
        if not 2 < length <= limit:
            raise UsageError(f"{label} length {length} is outside what {Path(name).name} takes: 3 to {limit} tokens")


def _refuse_another_prefix(path: str, role: str, asked: str | None, recorded: str, lead: str) -> None:
    """A prefix that says what the checkpoint's prompt says is no contradiction."""
    if lead != (f"{asked} " if asked else ""):
        _refuse_contradiction(path, f"{role} prefix", asked, recorded or lead)


def _refuse_contradiction(path: str, label: str, asked: object, recorded: object) -> None:
    if asked is not None and asked != recorded:
        raise UsageError(
            f"{label} {asked!r} contradicts checkpoint {path}, trained with {recorded!r}; leave the option out"
        )
