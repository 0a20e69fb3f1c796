"""The log-odds of two words of a language model's vocabulary at the last token, such as yes and no."""

from __future__ import annotations

import torch
from torch import nn

from iaa_retrieval.models.pooling import pool


class TokenOddsHead(nn.Module):
    """``score = z_yes - z_no`` with the logits ``z = w . h_last`` of the language model, the last token by the mask.

    That is ``log p(yes) - log p(no)``: the sum over the vocabulary is the same in both. With a soft cap c, as Gemma 2
    has it, ``z = c tanh(w . h_last / c)``. The two rows are the model's own to begin with, and a part of the head then.

    Args:
        width: hidden size d.

    Attributes:
        rows: fp32 [2, d], yes and no; zero until those of a language model or a checkpoint are put in.
        soft_cap: c, or None.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(2, width))
        self.soft_cap: float | None = None

    def forward(
        self, hidden: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, segments: torch.Tensor | None
    ) -> torch.Tensor:
        """Scores [batch] of hidden states [batch, tokens, d], see ``Head``."""
        last, rows = pool(hidden, attention_mask, "last"), self.rows.float()
        # No matrix product: autocast would round it to bf16.
        if self.soft_cap is None:
            return (last * (rows[0] - rows[1])).sum(-1)
        yes, no = ((last * row).sum(-1) / self.soft_cap for row in rows)
        odds: torch.Tensor = self.soft_cap * (yes.tanh() - no.tanh())
        return odds
