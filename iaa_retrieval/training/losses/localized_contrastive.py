"""The localized contrastive loss of a cross-encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import Loss

if TYPE_CHECKING:
    import torch


def localized_contrastive_loss(scores: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the positive against its query's own negatives, averaged over queries.

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    import torch
    from torch.nn import functional

    return functional.cross_entropy(scores, torch.zeros(scores.shape[0], dtype=torch.long, device=scores.device))


LOCALIZED_CONTRASTIVE = Loss(
    "localized-contrastive",
    "cross-encoder",
    localized_contrastive_loss,
    paper="Gao et al., Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline, ECIR 2021",
)
