"""A linear layer on the last token of a pair, which in a decoder is the only one that has seen all others."""

from __future__ import annotations

import torch
from torch import nn

from iaa_retrieval.models.pooling import pool

INITIAL_STD = 0.02  # as transformers starts a classifier


class LastTokenHead(nn.Module):
    """``score = w . h_last``, the last token by the attention mask.

    transformers' classifiers of decoders take the last token that is not the pad token. Where a text ends in the pad
    token (an end-of-text token that also pads, as is usual), that is the token before it; the mask says which is
    which, whichever side is padded. Like theirs, it has no bias, so that their ``score`` fits here.

    Args:
        width: hidden size d.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.linear.weight, std=INITIAL_STD)

    def forward(
        self, hidden: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, segments: torch.Tensor | None
    ) -> torch.Tensor:
        """Scores [batch] of hidden states [batch, tokens, d], see ``Head``."""
        # No matrix product: autocast would round it to bf16.
        return (pool(hidden, attention_mask, "last") * self.linear.weight[0].float()).sum(-1)
