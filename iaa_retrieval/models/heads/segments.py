"""The cosine of the query's part and the document's part of a pair, as a bi-encoder would compare the two."""

from __future__ import annotations

import math

import torch
from torch import nn

from iaa_retrieval.models.pooling import pool

INITIAL_SCALE = 20.0  # one over the temperature with which bi-encoders are trained here


class SegmentsHead(nn.Module):
    """``score = exp(log_scale) * cos(mean of the query's tokens, mean of the document's tokens) + bias``.

    The parts are what the segment ids say, [CLS] and the first separator being the query's. Without segment ids, or
    where a tokenizer gives none but zeros, all up to the first separator is the query's. A pair without any token of
    the document has cosine 0. The scale is learnt by its logarithm, as in CLIP, so that a rate moves it by a share of
    itself.

    Args:
        separator: id of the token between query and document.
    """

    separator: torch.Tensor

    def __init__(self, separator: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([math.log(INITIAL_SCALE)]))
        self.bias = nn.Parameter(torch.zeros(1))
        # Saved with the weights: whoever loads them need not know the tokenizer.
        self.register_buffer("separator", torch.tensor(separator))

    def forward(
        self, hidden: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, segments: torch.Tensor | None
    ) -> torch.Tensor:
        """Scores [batch] of hidden states [batch, tokens, d], see ``Head``."""
        of_document = self._after_separator(input_ids)
        if segments is not None:
            told_apart = segments.amax(dim=1, keepdim=True) > 0
            of_document = torch.where(told_apart, segments.clamp(max=1), of_document)
        query = nn.functional.normalize(pool(hidden, attention_mask * (1 - of_document), "mean"), dim=-1)
        document = nn.functional.normalize(pool(hidden, attention_mask * of_document, "mean"), dim=-1)
        cosine = (query * document).sum(-1)
        return self.log_scale.float().exp() * cosine + self.bias.float()

    def _after_separator(self, input_ids: torch.Tensor) -> torch.Tensor:
        separators = (input_ids == self.separator).long()
        return (separators.cumsum(dim=1) - separators > 0).long()
