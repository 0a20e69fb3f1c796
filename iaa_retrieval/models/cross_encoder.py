"""The cross-encoder: query and passage read together, one relevance score."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.checkpoint import load_networks
from iaa_retrieval.models.heads.registry import get_head
from iaa_retrieval.models.pair_template import PairSettings, PairTemplate, parse_template
from iaa_retrieval.models.plain_rerankers import load_plain_reranker, read_plain_reranker
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone
from iaa_retrieval.models.template_tokens import template_length

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
        """The head, where it is not transformers' own, and the template; the rest is prefixes and lengths."""
        head = () if CrossEncoder.is_stock_network(config) else (config.head,)
        return (*head, *filter(None, (config.pair_template, config.pair_instruction, *config.pair_tokens)))

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

    @functools.cached_property
    def template(self) -> PairTemplate | None:
        """What makes one text of a pair, prompts and prefixes included; None where the tokenizer joins two."""
        config = self.config
        if not config.pair_template:
            return None
        template = parse_template(config.pair_template, config.pair_instruction)
        return template.around(
            query=(config.query_lead, config.query_suffix), document=(config.document_lead, config.document_suffix)
        )

    @property
    def has_open_end(self) -> bool:
        """Whether an answer follows a pair's text, which must end in nothing else then."""
        return get_head(self.config.head).of_vocabulary and not self.network.config.is_encoder_decoder

    @functools.cached_property
    def template_length(self) -> int:
        """Tokens of a pair that are the template's; what a tokenizer puts between two texts does not count."""
        if self.template is None:
            return 0
        return template_length(self.tokenizer, self.template, open_end=self.has_open_end)

    @property
    def query_limit(self) -> int:
        """The most tokens that are read of a query: never more than half of what a pair has for its two texts."""
        return min(self.config.query_max_length, self.text_room // 2)

    @property
    def text_room(self) -> int:
        """The most tokens of a pair that a query and its document have together."""
        return self.config.document_max_length - self.template_length

    @property
    def max_length(self) -> int:
        """The longest pair in tokens."""
        return self.config.document_max_length

    def require_lengths(self, *, query: int | None = None, document: int | None = None) -> None:
        """Refuse a length in tokens, of a pair or of the query in it, that the network cannot take.

        Raises:
            UsageError: names the length and what the network takes.
        """
        limit, shortest = self.position_limit, SHORTEST_PAIR + self.template_length
        if document is not None and not shortest <= document <= limit:
            template = f", of which the template takes {self.template_length}" if self.template else ""
            raise UsageError(
                f"pair length {document} is outside what {self.source} takes: {shortest} to {limit} tokens{template}"
            )
        # The rest of a pair is the passage's.
        most = ((document or self.config.document_max_length) - self.template_length) // 2
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
    pair: PairSettings | None = None,
    precision: str = "auto",
    device: str = "auto",
    backbone: SharedBackbone | None = None,
) -> CrossEncoder:
    """Load a cross-encoder, ready for inference: a checkpoint of ours, or a re-ranker of others' as it is.

    Args:
        path: a checkpoint's directory; or the directory or hub id of a sequence classifier with one output, or of a
            language model that answers whether a document is relevant (see ``models.plain_rerankers``).
        max_length: tokens of a pair, special ones included.
        query_max_length: tokens of the query in a pair.
        pair: how another's model is used, where it does not say so itself; a checkpoint of ours always does.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda:0``, ...
        backbone: what its adapter is put on, in memory, in ``precision`` and on ``device`` already.

    Raises:
        UsageError: a ``max_length`` or ``query_max_length`` that the backbone cannot take; ``pair`` for a checkpoint of
            ours, or such as the model cannot be used with.
        IaaRetrievalError: not a cross-encoder, a re-ranker without the weights of its head, or a checkpoint that does
            not match its backbone or weights.
    """
    asked = pair or PairSettings()
    config = read_retriever_config(path)
    plain = read_plain_reranker(path, asked) if config is None and backbone is None else None
    if plain is not None:
        model = CrossEncoder(*load_plain_reranker(path, plain), path)
    else:
        config = CrossEncoder.read_config(path)
        if asked.given:
            raise UsageError(
                f"{path} is a checkpoint that says itself how pairs are scored; leave --head and --pair-* out"
            )
        model = CrossEncoder.from_checkpoint(path, config, backbone)
    return model.with_lengths(query=query_max_length, document=max_length).prepare(precision, device)
