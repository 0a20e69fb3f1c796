"""The cross-encoder: query and passage read together, one relevance score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.architecture import require_pair_scores, require_rows
from iaa_retrieval.models.backbone import backbone_name, fingerprint_weights, load_network
from iaa_retrieval.models.backbone_checkpoint import inherited_settings, read_backbone_checkpoint
from iaa_retrieval.models.bi_encoder import position_limit
from iaa_retrieval.models.checkpoint import (
    fingerprint_cross_encoder,
    load_tuned_tokenizer,
    load_tuned_weights,
    require_weights,
    tokenizer_fingerprint,
)
from iaa_retrieval.models.precision import DTYPES, choose_device, choose_precision
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone
from iaa_retrieval.models.text_settings import load_text_tokenizer

# Half of a pair may be query and up to four tokens are special; a passage needs room beside them.
SHORTEST_PAIR = 16


class CrossEncoder(nn.Module):
    """A sequence classifier with one output, its tokenizer and its settings."""

    def __init__(self, classifier: nn.Module, tokenizer: Any, config: RetrieverConfig, source: str) -> None:
        super().__init__()
        self.classifier = classifier
        self.tokenizer = tokenizer
        self.config = config
        self.source = source

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Score token ids [batch, tokens] of query-passage pairs; fp32 logits [batch]."""
        logits: torch.Tensor = self.classifier(**inputs).logits
        return logits.squeeze(-1).float()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The classifier, as with a bi-encoder's one or two encoders."""
        return (self.classifier,)


def new_cross_encoder(backbone: str) -> CrossEncoder:
    """A backbone with a one-output head, in fp32, for training.

    The head is the backbone's own where it has one, such as a cross-encoder checkpoint's, else a fresh one. Such a
    checkpoint hands on its prefixes and lengths; of a bi-encoder checkpoint only the encoder's weights are used.

    Raises:
        IaaRetrievalError: it cannot be loaded, or is an adapter, or does not score pairs.
    """
    from transformers import AutoModelForSequenceClassification

    checkpoint = read_backbone_checkpoint(backbone)
    classifier = load_network(AutoModelForSequenceClassification, backbone, num_labels=1)
    tokenizer = load_text_tokenizer(backbone)
    if classifier.config.pad_token_id is None:  # by which a decoder's classifier finds the last token of a pair
        classifier.config.pad_token_id = tokenizer.pad_token_id
    require_rows(classifier, tokenizer, backbone)
    require_pair_scores(classifier, tokenizer, backbone)
    limit = position_limit(classifier)
    config = RetrieverConfig(
        kind="cross-encoder",
        backbone=backbone_name(backbone),
        backbone_fingerprint=fingerprint_weights(classifier.base_model),
        query_max_length=min(64, limit),
        document_max_length=min(256, limit),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    if checkpoint is not None and checkpoint.kind == "cross-encoder":
        config = replace(config, **inherited_settings(checkpoint))
    return CrossEncoder(classifier, tokenizer, config, backbone)


def load_cross_encoder(
    path: str,
    *,
    max_length: int | None = None,
    query_max_length: int | None = None,
    precision: str = "auto",
    device: str = "auto",
    backbone: SharedBackbone | None = None,
) -> CrossEncoder:
    """Load a cross-encoder checkpoint of ours, ready for inference.

    With ``backbone``, its adapter is put on a backbone that is in memory, in ``precision`` and on ``device`` already.

    Raises:
        UsageError: a ``max_length`` (tokens of a pair) or ``query_max_length`` that the backbone cannot take.
        IaaRetrievalError: not a cross-encoder checkpoint, or not matching its backbone or weights.
    """
    from transformers import AutoModelForSequenceClassification

    config = read_retriever_config(path)
    if config is None or config.kind != "cross-encoder":
        found = f"a {config.kind}" if config else "no checkpoint of this project (it has no retriever.json)"
        raise IaaRetrievalError(f"{path} is {found}; a cross-encoder is needed here")
    require_weights(path, config, fingerprint_cross_encoder)
    classifier = load_tuned_weights(AutoModelForSequenceClassification, path, config, backbone, num_labels=1)
    tokenizer = load_tuned_tokenizer(path, config)
    if max_length is not None:
        limit = position_limit(classifier)
        if not SHORTEST_PAIR <= max_length <= limit:
            raise UsageError(
                f"pair length {max_length} is outside what {path} takes: {SHORTEST_PAIR} to {limit} tokens"
            )
        config = replace(config, document_max_length=max_length)
    if query_max_length is not None:
        most = config.document_max_length // 2  # the rest of a pair is the passage's
        if not 0 < query_max_length <= most:
            raise UsageError(f"query length {query_max_length} is outside what {path} takes: 1 to {most} tokens")
        config = replace(config, query_max_length=query_max_length)
    device = choose_device(device)
    classifier.to(device=device, dtype=DTYPES[choose_precision(precision, device)]).eval()
    return CrossEncoder(classifier, tokenizer, config, path)
