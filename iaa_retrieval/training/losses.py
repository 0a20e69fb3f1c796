"""Training losses."""

from __future__ import annotations

import torch
from torch.nn import functional


def contrastive_loss(
    queries: torch.Tensor,
    passages: torch.Tensor,
    positive_index: torch.Tensor,
    ignore: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Cross-entropy of each query's positive against every other passage of the batch (DPR, EMNLP 2020).

    Args:
        queries: [batch, d].
        passages: [n, d]; positives and negatives of all queries of the batch.
        positive_index: int64 [batch]; the row of each query's positive.
        ignore: bool [batch, n]; passages known to be relevant to the query, which must not count as negatives.
        temperature: divides the similarities.

    Returns:
        The mean loss over the batch, a scalar.
    """
    # Autocast would round the similarities to bf16, and dividing by the temperature makes that error 20 times larger.
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries @ passages.T / temperature
    scores = scores.masked_fill(ignore, torch.finfo(scores.dtype).min)
    return functional.cross_entropy(scores, positive_index)


def localized_contrastive_loss(scores: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the positive against its query's own negatives (Gao et al., ECIR 2021).

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    return functional.cross_entropy(scores, torch.zeros(scores.shape[0], dtype=torch.long, device=scores.device))
