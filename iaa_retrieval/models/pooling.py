"""From token vectors to one vector per text."""

from __future__ import annotations

import torch

POOLINGS = ("mean", "cls", "last")


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool ``hidden`` [batch, tokens, d] under ``attention_mask`` [batch, tokens] into fp32 [batch, d].

    ``mean`` averages the real tokens, ``cls`` takes the first and ``last`` the last real one, whichever side is
    padded. The sum is in fp32 whatever the model's precision.
    """
    if mode == "mean":
        weights = attention_mask.unsqueeze(-1).to(torch.float32)
        return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    if mode == "cls":
        index = attention_mask.argmax(1)
    elif mode == "last":
        index = (attention_mask * positions).argmax(1)
    else:
        raise ValueError(f"unknown pooling {mode!r}; one of {', '.join(POOLINGS)}")
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), index].float()
