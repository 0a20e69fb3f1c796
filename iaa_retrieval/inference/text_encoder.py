"""Texts to vectors with a bi-encoder, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from iaa_retrieval.errors import NotFiniteError
from iaa_retrieval.inference.batching import bucket_batches, compute_into, pad
from iaa_retrieval.inference.tokens import OnCut, tokenize_texts, with_lead
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.precision import NOT_FINITE_ADVICE
from iaa_retrieval.models.prompts import require_one_segment
from iaa_retrieval.progress import progress

DEFAULT_BATCH_SIZE = 32
QUERY_BATCH_SIZE_ON_CPU = 8


def encode_queries(
    encoder: BiEncoder,
    texts: Sequence[str],
    *,
    batch_size: int | None = None,
    show_progress: bool = False,
    on_cut: OnCut | None = None,
) -> np.ndarray:
    """Encode queries into float32 [len(texts), d], in the order given, with the encoder's prompt, prefix and length.

    A ``batch_size`` of None is 8 on a CPU, so that a batch of fp32 activations stays in its cache, and 32 elsewhere.
    ``on_cut`` is told of queries that are longer than the encoder's length.
    """
    if batch_size is None:
        batch_size = QUERY_BATCH_SIZE_ON_CPU if encoder.device.type == "cpu" else DEFAULT_BATCH_SIZE
    config = encoder.config
    ids = tokenize_texts(
        encoder.tokenizer,
        with_lead(config.query_lead, texts),
        config.query_max_length,
        suffix=config.query_suffix,
        on_cut=on_cut,
    )
    return encode_token_ids(
        encoder,
        ids,
        role="query",
        batch_size=batch_size,
        max_length=config.query_max_length,
        show_progress=show_progress,
    )


def encode_passages(
    encoder: BiEncoder,
    texts: Sequence[str],
    *,
    text_pairs: Sequence[str] | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    show_progress: bool = False,
    on_cut: OnCut | None = None,
) -> np.ndarray:
    """Encode passages into float32 [len(texts), d], in the order given, with the encoder's prompt, prefix and length.

    ``text_pairs`` are second segments (after a separator token), for encoders trained on title and text apart.
    ``on_cut`` is told of passages that are longer than the encoder's length.

    Raises:
        UsageError: second segments, and a prompt that goes on after the text.
    """
    config = encoder.config
    if text_pairs is not None:
        require_one_segment(config)
    ids = tokenize_texts(
        encoder.tokenizer,
        with_lead(config.document_lead, texts),
        config.document_max_length,
        text_pairs,
        suffix=config.document_suffix,
        on_cut=on_cut,
    )
    return encode_token_ids(
        encoder,
        ids,
        role="passage",
        batch_size=batch_size,
        max_length=config.document_max_length,
        show_progress=show_progress,
    )


@torch.inference_mode()
def encode_token_ids(
    encoder: BiEncoder,
    token_ids: Sequence[Sequence[int]],
    *,
    role: Literal["query", "passage"],
    batch_size: int = DEFAULT_BATCH_SIZE,
    max_length: int,
    names: Sequence[str] | None = None,
    show_progress: bool = False,
) -> np.ndarray:
    """Encode unpadded token ids of queries or of passages into float32 [n, d].

    One batch holds at most ``batch_size * max_length`` tokens, so short texts travel in larger batches.

    Raises:
        NotFiniteError: a vector is not finite; the text is called by its name, else by its number.
    """
    vectors = np.empty((len(token_ids), encoder.dimension), dtype=np.float32)
    # Queries are short: rounding would add a third to their work, and fp32 kernels take any shape.
    step = 1 if role == "query" and encoder.dtype == torch.float32 else None
    batches = bucket_batches(
        [len(row) for row in token_ids], token_budget=batch_size * max_length, max_texts=8 * batch_size, step=step
    )
    encoder.eval()
    pad_id = encoder.tokenizer.pad_token_id or 0
    encode = encoder.encode_queries if role == "query" else encoder.encode_passages

    def compute(batch: list[int]) -> torch.Tensor:
        ids, mask = pad([token_ids[position] for position in batch], pad_id, encoder.device, max_length, step)
        return encode(ids, mask)

    shown = progress(batches, desc="encoding", unit="batch", leave=False) if show_progress else batches
    compute_into(vectors, shown, compute)
    if not np.isfinite(vectors).all():
        position = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        text = names[position] if names else f"text number {position + 1}"
        raise NotFiniteError(f"{encoder.source} gives a vector that is not finite for {text}; {NOT_FINITE_ADVICE}")
    return vectors
