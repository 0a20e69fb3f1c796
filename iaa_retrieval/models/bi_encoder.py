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
from iaa_retrieval.models.encoder_classes import QWEN3, settings_of
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.one_way import pooling_of, warn_without_ending
from iaa_retrieval.models.pooling import POOLINGS, pool
from iaa_retrieval.models.prompts import Asked, Frame, around, asked_frames, described, require_room
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone
from iaa_retrieval.models.sizes import encoder_width, position_limit
from iaa_retrieval.models.text_settings import TextSettings, load_text_tokenizer
from iaa_retrieval.models.tokenizer_setup import append_eos, ending_of
from iaa_retrieval.models.truncation import cut, remark_on_size, require_size

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
        """Pooling, normalisation and the token that every text is made to end with, if there is one."""
        appended = (config.append_token,) if config.append_token else ()
        return config.pooling, str(config.normalize), *appended

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
        """Length d of a vector: the hidden size, or what the vectors are cut to."""
        return self.config.truncate_dim or self.width

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
        """Refuse a length in tokens that the encoder cannot take, or that its prompts fill.

        Raises:
            UsageError: names the length and what the encoder takes.
        """
        limit = self.position_limit
        for label, length in (("query", query), ("document", document)):
            if length is not None and not 2 < length <= limit:
                raise UsageError(
                    f"{label} length {length} is outside what {Path(self.source).name} takes: 3 to {limit} tokens"
                )
        require_room(
            self.tokenizer,
            self.config,
            query=query or self.config.query_max_length,
            document=document or self.config.document_max_length,
        )

    def cut_to(self, size: int | None) -> BiEncoder:
        """The same networks with vectors of ``size`` numbers; None keeps what there are.

        Raises:
            UsageError: the vectors have fewer.
        """
        if size is None:
            return self
        name = Path(self.source).name
        require_size(size, self.width, name)
        remark_on_size(self.config, size, self.width, name)
        return self.with_config(truncate_dim=size)

    def _encode(self, encoder: nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        vectors = pool(hidden, attention_mask, self.config.pooling)
        return cut(vectors, self.dimension, normalize=self.config.normalize)


# over 60 lines: most of them say what the arguments are
def load_bi_encoder(
    name_or_path: str,
    *,
    pooling: str | None = None,
    normalize: bool | None = None,
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    query_prompt_name: str | None = None,
    document_prompt_name: str | None = None,
    append_eos: bool = False,
    query_max_length: int | None = None,
    document_max_length: int | None = None,
    truncate_dim: int | None = None,
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
    settings, but the last token's vector of one that reads from left to right), or as ``settings`` do, and every
    setting can be overridden.

    Args:
        name_or_path: a directory, hub id or ``all-MiniLM-L6-v2``.
        pooling: ``mean``, ``cls`` or ``last``.
        normalize: whether vectors have unit length.
        query_prefix, document_prefix: put before a text and a space; of the class ``qwen3``, without the space.
        query_prompt, document_prompt: put before a text to the letter, instead of a prefix; with ``{query}`` or
            ``{document}`` in it, the text stands there, and what follows it is never cut.
        query_prompt_name, document_prompt_name: of a prompt in the encoder's metadata, instead of either.
        append_eos: end every text with the tokenizer's end-of-text token, where it does not do so by itself.
        query_max_length, document_max_length: in tokens, special ones included.
        truncate_dim: numbers to keep of each vector; None is all, or what the encoder says.
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
        UsageError: an override contradicts the checkpoint or another one or is out of range, or only Pyserini has the
            encoder's class.
        IaaRetrievalError: unreachable, a cross-encoder, or not matching its backbone.
    """
    wanted = {
        "query": Asked(query_prefix, query_prompt, query_prompt_name),
        "document": Asked(document_prefix, document_prompt, document_prompt_name),
    }
    lengths = {"query_max_length": query_max_length, "document_max_length": document_max_length}
    changes: dict[str, Any] = {key: value for key, value in lengths.items() if value is not None}
    if as_backbone or read_retriever_config(name_or_path) is None:
        settings = settings_of(name_or_path, encoder_class) if settings is None else settings
        frames = asked_frames(name_or_path, wanted, settings.prefix_is_verbatim)
        pooling, normalize = _allowed_options(name_or_path, settings, encoder_class, pooling, normalize)
        model = _plain_encoder(
            name_or_path,
            settings,
            pooling,
            normalize,
            append_eos,
            asks_prompts=bool(frames),
            loading=loading or IN_FP32,
        )
        for role, frame in frames.items():
            changes |= frame.settings(role)
    else:
        config = BiEncoder.read_config(name_or_path)
        _refuse_contradiction(name_or_path, "pooling", pooling, config.pooling)
        _refuse_contradiction(name_or_path, "l2-norm", normalize, config.normalize)
        for role, frame in asked_frames(name_or_path, wanted).items():
            _refuse_another_frame(name_or_path, role, frame, config)
        model = BiEncoder.from_checkpoint(name_or_path, config, backbone)
        if append_eos and ending_of(model.tokenizer) != model.tokenizer.eos_token:
            raise UsageError(f"--append-eos contradicts checkpoint {name_or_path}, trained without; leave it out")
    model.config = replace(model.config, **changes)
    model.require_lengths(query=model.config.query_max_length, document=model.config.document_max_length)
    model = model.cut_to(truncate_dim)
    return model.prepare(precision, device) if loading is None else model.ready()


def _allowed_options(
    name: str, settings: TextSettings, encoder_class: str | None, pooling: str | None, normalize: bool | None
) -> tuple[str | None, bool | None]:
    """Pooling and normalisation as asked for, as far as a class that is named leaves them to options."""
    if encoder_class in (None, "auto"):
        return pooling, normalize
    allowed = normalize if encoder_class == QWEN3 else None
    if pooling not in (None, settings.pooling) or (normalize != allowed and normalize != settings.normalize):
        LOG.warning(
            "%s: the encoder class %s says how it pools and normalises, as in Pyserini; other options on that "
            "have no effect",
            name,
            encoder_class,
        )
    return None, allowed


def _plain_encoder(
    name: str,
    settings: TextSettings,
    pooling: str | None,
    normalize: bool | None,
    ends_texts: bool,
    *,
    asks_prompts: bool,
    loading: Loading,
) -> BiEncoder:
    """An encoder that says at most in sentence-transformers' files how it is used."""
    if (pooling or settings.pooling) not in POOLINGS:
        raise UsageError(
            f"{name}: unknown pooling {pooling or settings.pooling!r}; say --pooling with one of "
            f"{', '.join(POOLINGS)} (encode, search faiss, rerank and train bi-encoder have that option)"
        )
    for remark in (*settings.remarks, "" if asks_prompts else settings.unused_prompts):
        if remark:
            LOG.warning("%s", remark)
    encoder = load_network(BiEncoder.auto_class(), name, loading=loading)
    tokenizer = load_text_tokenizer(name)
    appended = append_eos(tokenizer, name) if ends_texts else ""
    pooling = pooling or pooling_of(encoder, settings, name)
    if pooling == "last":
        warn_without_ending(tokenizer, name)
    weights = fingerprint_loaded(encoder, name, loading)
    query_length, document_length = settings.lengths(tokenizer, position_limit(encoder))
    config = RetrieverConfig(
        kind=BiEncoder.kind,
        backbone=backbone_name(name),
        backbone_fingerprint=weights,
        pooling=pooling,
        normalize=settings.normalize if normalize is None else normalize,
        truncate_dim=None if settings.truncate_dim is None else min(settings.truncate_dim, encoder_width(encoder)),
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
        append_token=appended,
        query_max_length=query_length,
        document_max_length=document_length,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    config = replace(config, fingerprint=BiEncoder.fingerprint_of(config, weights))
    return BiEncoder(encoder, tokenizer, config, name)


def _refuse_another_frame(path: str, role: str, frame: Frame, config: RetrieverConfig) -> None:
    """A prefix that says what the checkpoint's prompt says is no contradiction."""
    if (frame.lead, frame.suffix) != around(role, config):
        recorded = getattr(config, f"{role}_prefix") if frame.word == "prefix" else ""
        raise _contradiction(path, f"{role} {frame.word}", frame.asked, recorded or described(role, config))


def _refuse_contradiction(path: str, label: str, asked: object, recorded: object) -> None:
    if asked is not None and asked != recorded:
        raise _contradiction(path, label, asked, recorded)


def _contradiction(path: str, label: str, asked: object, recorded: object) -> UsageError:
    return UsageError(
        f"{label} {asked!r} contradicts checkpoint {path}, trained with {recorded!r}; leave the option out"
    )
