"""The bi-encoder: one encoder for queries and passages, or one for each, pooled into one vector per text."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.backbone import backbone_name, load_network
from iaa_retrieval.models.backbone_fingerprint import fingerprint_loaded
from iaa_retrieval.models.checkpoint import tokenizer_fingerprint
from iaa_retrieval.models.encoder_classes import settings_of
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.pooling import POOLINGS, pool
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone
from iaa_retrieval.models.sizes import position_limit
from iaa_retrieval.models.text_settings import TextSettings, load_text_tokenizer

LOG = logging.getLogger("iaa_retrieval")


class BiEncoder(Retriever):
    """Encodes queries and passages apart; the relevance of a passage is the inner product of the two vectors.

    Args, errors and what else it has: see ``Retriever``; the fifth argument is the passage encoder, where the
    encoders are separate.

    Attributes:
        encoder: the (possibly PEFT-wrapped) Hugging Face encoder; with separate encoders, that of queries.
        passage_encoder: that of passages, with the same backbone weights; None where one encoder does both.
    """

    kind = "bi-encoder"
    reads_pairs = False
    has_task_head = False
    network_options: ClassVar[Mapping[str, Any]] = {}
    document_inputs = "documents"
    pipeline_tag = "feature-extraction"

    encoder: nn.Module
    passage_encoder: nn.Module | None

    @staticmethod
    def auto_class() -> Any:
        """``transformers.AutoModel``."""
        from transformers import AutoModel

        return AutoModel

    @staticmethod
    def fingerprint_settings(config: RetrieverConfig) -> tuple[str, ...]:
        """Pooling and normalisation."""
        return config.pooling, str(config.normalize)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The encoder; with separate encoders that of queries, then that of passages."""
        return (self.encoder,) if self.passage_encoder is None else (self.encoder, self.passage_encoder)

    def set_networks(self, network: nn.Module, *others: nn.Module) -> None:
        """Take one encoder for both kinds of text, or that of queries and that of passages.

        Raises:
            ValueError: more than two.
        """
        if len(others) > 1:
            raise ValueError(f"a bi-encoder has one or two encoders, not {1 + len(others)}")
        self.encoder = network
        self.passage_encoder = others[0] if others else None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Token ids and attention mask; an encoder never gets segment ids."""
        return ("input_ids", "attention_mask")

    @property
    def query_limit(self) -> int:
        """The most tokens that are read of a query."""
        return self.config.query_max_length

    @property
    def max_length(self) -> int:
        """The longest text in tokens, of either kind."""
        return max(self.config.query_max_length, self.config.document_max_length)

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return self.width

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

    def outputs(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The vectors [batch, d] that each of the encoders gives for the same texts."""
        return tuple(self._encode(network, **inputs) for network in self.networks)

    def require_lengths(self, *, query: int | None = None, document: int | None = None) -> None:
        """Refuse a length in tokens that the encoder cannot take.

        Raises:
            UsageError: names the length and what the encoder takes.
        """
        limit = self.position_limit
        for label, length in (("query", query), ("document", document)):
            if length is not None and not 2 < length <= limit:
                raise UsageError(
                    f"{label} length {length} is outside what {Path(self.source).name} takes: 3 to {limit} tokens"
                )

    def _encode(self, encoder: nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        vectors = pool(hidden, attention_mask, self.config.pooling)
        return nn.functional.normalize(vectors, dim=-1) if self.config.normalize else vectors


# over 60 lines: most of them say what the arguments are
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
    loading: Loading | None = None,
) -> BiEncoder:
    """Load a checkpoint of ours, or any plain encoder, ready for inference.

    A checkpoint says how it pools and normalises; contradicting it is an error. A plain encoder is used as
    ``encoder_classes.settings_of`` says (its sentence-transformers metadata where it has any, else Pyserini's
    settings), or as ``settings`` do, and every setting can be overridden; a prefix takes the place of a prompt.

    Args:
        name_or_path: a directory, hub id or ``all-MiniLM-L6-v2``.
        pooling: ``mean``, ``cls`` or ``last``.
        normalize: whether vectors have unit length.
        query_prefix, document_prefix: put before a text and a space.
        query_max_length, document_max_length: in tokens, special ones included.
        encoder_class: a class of Pyserini's whose settings a plain encoder shall have.
        settings: how a plain encoder is used, in place of what its files say.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda:0``, ...
        backbone: what a checkpoint's adapters are put on, in memory, in ``precision`` and on ``device`` already.
        as_backbone: load a checkpoint that is a whole network as a plain encoder is: its weights alone count, see
            ``backbone_checkpoint``.
        loading: of a plain encoder that is to be tuned, in place of ``precision`` and ``device``: it stays in the form
            and place that this says.

    Raises:
        UsageError: an override contradicts the checkpoint, or the encoder needs a class that only Pyserini has.
        IaaRetrievalError: unreachable, a cross-encoder, or not matching its backbone.
    """
    prefixes = {"query_prefix": query_prefix, "document_prefix": document_prefix}
    lengths = {"query_max_length": query_max_length, "document_max_length": document_max_length}
    changes: dict[str, Any] = {key: value for key, value in lengths.items() if value is not None}
    if as_backbone or read_retriever_config(name_or_path) is None:
        model = _plain_encoder(name_or_path, settings, encoder_class, pooling, normalize, loading or IN_FP32)
        for key, prefix in prefixes.items():
            if prefix is not None:
                changes |= {key: prefix, key.replace("_prefix", "_prompt"): ""}
    else:
        config = BiEncoder.read_config(name_or_path)
        _refuse_contradiction(name_or_path, "pooling", pooling, config.pooling)
        _refuse_contradiction(name_or_path, "l2-norm", normalize, config.normalize)
        _refuse_another_prefix(name_or_path, "query", query_prefix, config.query_prefix, config.query_lead)
        _refuse_another_prefix(name_or_path, "document", document_prefix, config.document_prefix, config.document_lead)
        model = BiEncoder.from_checkpoint(name_or_path, config, backbone)
    model.config = replace(model.config, **changes)
    model.require_lengths(query=model.config.query_max_length, document=model.config.document_max_length)
    return model.prepare(precision, device) if loading is None else model.ready()


def _plain_encoder(
    name: str,
    settings: TextSettings | None,
    encoder_class: str | None,
    pooling: str | None,
    normalize: bool | None,
    loading: Loading,
) -> BiEncoder:
    """An encoder that says at most in sentence-transformers' files how it is used."""
    settings = settings_of(name, encoder_class) if settings is None else settings
    if encoder_class not in (None, "auto"):
        if pooling not in (None, settings.pooling) or normalize not in (None, settings.normalize):
            LOG.warning(
                "%s: the encoder class %s says how it pools and normalises, as in Pyserini; other options on that "
                "have no effect",
                name,
                encoder_class,
            )
        pooling = normalize = None
    pooling = pooling or settings.pooling
    if pooling not in POOLINGS:
        raise UsageError(
            f"{name}: unknown pooling {pooling!r}; say --pooling with one of {', '.join(POOLINGS)} (encode, search "
            "faiss, rerank and train bi-encoder have that option)"
        )
    for remark in settings.remarks:
        LOG.warning("%s", remark)
    encoder = load_network(BiEncoder.auto_class(), name, loading=loading)
    tokenizer = load_text_tokenizer(name)
    weights = fingerprint_loaded(encoder, name, loading)
    query_length, document_length = settings.lengths(tokenizer, position_limit(encoder))
    config = RetrieverConfig(
        kind=BiEncoder.kind,
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
    config = replace(config, fingerprint=BiEncoder.fingerprint_of(config, weights))
    return BiEncoder(encoder, tokenizer, config, name)


def _refuse_another_prefix(path: str, role: str, asked: str | None, recorded: str, lead: str) -> None:
    """A prefix that says what the checkpoint's prompt says is no contradiction."""
    if lead != (f"{asked} " if asked else ""):
        _refuse_contradiction(path, f"{role} prefix", asked, recorded or lead)


def _refuse_contradiction(path: str, label: str, asked: object, recorded: object) -> None:
    if asked is not None and asked != recorded:
        raise UsageError(
            f"{label} {asked!r} contradicts checkpoint {path}, trained with {recorded!r}; leave the option out"
        )
