"""The cross-encoder: query and passage read together, one relevance score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.checkpoint import load_networks
from iaa_retrieval.models.heads.registry import get_head
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.models.shared_backbone import SharedBackbone

# Half of a pair may be query and up to four tokens are special; a passage needs room beside them.
SHORTEST_PAIR = 16


class CrossEncoder(Retriever):
    """Scores query-passage pairs with a sequence classifier that has one output, or an encoder with a head of ours.

    Args, errors and what else it has: see ``Retriever``.

    Attributes:
        classifier: the (possibly PEFT-wrapped) Hugging Face network.
    """

    kind = "cross-encoder"
    reads_pairs = True
    has_task_head = True
    network_options: ClassVar[Mapping[str, Any]] = {"num_labels": 1}
    document_inputs = "pairs of query and document"
    pipeline_tag = "text-ranking"

    classifier: nn.Module

    @staticmethod
    def auto_class() -> Any:
        """``transformers.AutoModelForSequenceClassification``."""
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification

    @staticmethod
    def fingerprint_settings(config: RetrieverConfig) -> tuple[str, ...]:
        """The head, where it is not transformers' own; else a score depends on prefixes and lengths alone."""
        return () if CrossEncoder.is_stock_network(config) else (config.head,)

    @staticmethod
    def is_stock_network(config: RetrieverConfig) -> bool:
        """Whether the head is that of transformers' sequence classifiers.

        Raises:
            UsageError: there is no such head.
        """
        return get_head(config.head).build is None

    @classmethod
    def _load_networks(cls, path: str, config: RetrieverConfig, backbone: SharedBackbone | None) -> tuple[Any, ...]:
        if cls.is_stock_network(config):
            return super()._load_networks(path, config, backbone)
        from transformers import AutoModel

        from iaa_retrieval.models.headed_encoder import NO_SEPARATOR, with_head

        def finish(encoder: Any, weights: Path | None) -> Any:
            return with_head(encoder, get_head(config.head), NO_SEPARATOR, weights)

        return load_networks(AutoModel, path, config, backbone, finish=finish)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The classifier alone."""
        return (self.classifier,)

    def set_networks(self, network: nn.Module, *others: nn.Module) -> None:
        """Take another classifier.

        Raises:
            ValueError: more than one.
        """
        if others:
            raise ValueError(f"a cross-encoder has one network, not {1 + len(others)}")
        self.classifier = network

    @property
    def input_names(self) -> tuple[str, ...]:
        """Token ids, attention mask and, for a network that has segments, their ids."""
        # Encoders without segment embeddings (DistilBERT, ModernBERT, RoBERTa) take no segment ids.
        segments = getattr(self.network.config, "type_vocab_size", 0) > 1
        return ("input_ids", "attention_mask", *(("token_type_ids",) if segments else ()))

    @property
    def query_limit(self) -> int:
        """The most tokens that are read of a query: never more than half of a pair."""
        return min(self.config.query_max_length, self.config.document_max_length // 2)

    @property
    def max_length(self) -> int:
        """The longest pair in tokens."""
        return self.config.document_max_length

    def require_lengths(self, *, query: int | None = None, document: int | None = None) -> None:
        """Refuse a length in tokens, of a pair or of the query in it, that the network cannot take.

        Raises:
            UsageError: names the length and what the network takes.
        """
        limit = self.position_limit
        if document is not None and not SHORTEST_PAIR <= document <= limit:
            raise UsageError(
                f"pair length {document} is outside what {self.source} takes: {SHORTEST_PAIR} to {limit} tokens"
            )
        most = (document or self.config.document_max_length) // 2  # the rest of a pair is the passage's
        if query is not None and not 0 < query <= most:
            raise UsageError(f"query length {query} is outside what {self.source} takes: 1 to {most} tokens")

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Score token ids [batch, tokens] of query-passage pairs; fp32 logits [batch]."""
        logits: torch.Tensor = self.classifier(**inputs).logits
        return logits.squeeze(-1).float()

    def outputs(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The scores [batch]."""
        return (self.forward(**inputs),)


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

    Args:
        path: its directory.
        max_length: tokens of a pair, special ones included.
        query_max_length: tokens of the query in a pair.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda:0``, ...
        backbone: what its adapter is put on, in memory, in ``precision`` and on ``device`` already.

    Raises:
        UsageError: a ``max_length`` or ``query_max_length`` that the backbone cannot take.
        IaaRetrievalError: not a cross-encoder checkpoint, or not matching its backbone or weights.
    """
    model = CrossEncoder.from_checkpoint(path, CrossEncoder.read_config(path), backbone)
    return model.with_lengths(query=query_max_length, document=max_length).prepare(precision, device)
