"""The contrastive loss of a bi-encoder, over the passages of a whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import Loss

if TYPE_CHECKING:
    import torch


def contrastive_loss(scores: torch.Tensor, positive_index: torch.Tensor, ignore: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each query's positive against every other passage of the batch.

    Args:
        scores: [batch, n]; each query against the positives and negatives of all queries of the batch.
        positive_index: int64 [batch]; the column of each query's positive.
        ignore: bool [batch, n]; passages known to be relevant to the query, which must not count as negatives.

    Returns:
        The mean loss over the batch, a scalar.
    """
    import torch
    from torch.nn import functional

    scores = scores.masked_fill(ignore, torch.finfo(scores.dtype).min)
    return functional.cross_entropy(scores, positive_index)


CONTRASTIVE = Loss(
    "contrastive",
    "bi-encoder",
    contrastive_loss,
    paper="Karpukhin et al., Dense Passage Retrieval for Open-Domain Question Answering, EMNLP 2020",
)
