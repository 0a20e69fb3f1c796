"""A linear layer on the mean of a pair's token vectors."""

from __future__ import annotations

import torch
from torch import nn

from iaa_retrieval.models.pooling import pool

INITIAL_STD = 0.02  # as transformers starts a classifier


class MeanHead(nn.Module):
    """``score = w . mean(h) + b`` over the real tokens, special ones included.

    Args:
        width: hidden size d.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.normal_(self.linear.weight, std=INITIAL_STD)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, hidden: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, segments: torch.Tensor | None
    ) -> torch.Tensor:
        """Scores [batch] of hidden states [batch, tokens, d], see ``Head``."""
        # No matrix product: autocast would round it to bf16.
        products = pool(hidden, attention_mask, "mean") * self.linear.weight[0].float()
        return products.sum(-1) + self.linear.bias.float()
