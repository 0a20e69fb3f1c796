"""Query-passage pairs to relevance scores with a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from iaa_retrieval.errors import NotFiniteError
from iaa_retrieval.inference.batching import bucket_batches, compute_into, pad
from iaa_retrieval.inference.tokens import OnCut, PairTokens, tokenize_pairs, with_lead
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.precision import NOT_FINITE_ADVICE
from iaa_retrieval.progress import progress

DEFAULT_BATCH_SIZE = 32


@torch.inference_mode()
def score_pairs(
    cross_encoder: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    show_progress: bool = False,
    on_query_cut: OnCut | None = None,
    on_pair_cut: OnCut | None = None,
) -> np.ndarray:
    """Score (query, passage) pairs; float32 [len(pairs)], in the order given, higher is more relevant.

    ``on_query_cut`` and ``on_pair_cut`` are told of pairs whose query, or whose passage beside its query, is longer
    than the cross-encoder's lengths.

    Raises:
        NotFiniteError: a score is not finite.
    """
    config = cross_encoder.config
    queries = with_lead(config.query_lead, [query for query, _ in pairs])
    passages = with_lead(config.document_lead, [passage for _, passage in pairs])
    tokens = tokenize_pairs(
        cross_encoder.tokenizer,
        list(zip(queries, passages, strict=True)),
        max_length=config.document_max_length,
        query_max_length=config.query_max_length,
        query_suffix=config.query_suffix,
        passage_suffix=config.document_suffix,
        on_query_cut=on_query_cut,
        on_passage_cut=on_pair_cut,
    )
    scores = np.empty(len(pairs), dtype=np.float32)
    batches = bucket_batches(
        [len(row) for row in tokens.input_ids],
        token_budget=batch_size * config.document_max_length,
        max_texts=8 * batch_size,
    )
    cross_encoder.eval()

    def compute(batch: list[int]) -> torch.Tensor:
        inputs = pair_inputs(cross_encoder, tokens, batch, cross_encoder.device, config.document_max_length)
        scored: torch.Tensor = cross_encoder(**inputs)
        return scored

    shown = progress(batches, desc="scoring", unit="batch", leave=False) if show_progress else batches
    compute_into(scores, shown, compute)
    if not np.isfinite(scores).all():
        query, passage = pairs[int(np.flatnonzero(~np.isfinite(scores))[0])]
        raise NotFiniteError(
            f"{cross_encoder.source} gives a score that is not finite for query {query[:40]!r} and passage "
            f"{passage[:40]!r}; {NOT_FINITE_ADVICE}"
        )
    return scores


def pair_inputs(
    cross_encoder: CrossEncoder,
    tokens: PairTokens,
    batch: Sequence[int],
    device: torch.device,
    max_length: int,
) -> dict[str, torch.Tensor]:
    """Padded model inputs [len(batch), tokens] of the pairs at the positions ``batch``, at most ``max_length`` wide."""
    pad_id = cross_encoder.tokenizer.pad_token_id or 0
    ids, mask = pad([tokens.input_ids[i] for i in batch], pad_id, device, max_length)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in cross_encoder.input_names:
        inputs["token_type_ids"], _ = pad([tokens.token_type_ids[i] for i in batch], 0, device, max_length)
    return inputs
