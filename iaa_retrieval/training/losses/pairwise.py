"""The pairwise logistic loss of a cross-encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import Loss

if TYPE_CHECKING:
    import torch


def pairwise_loss(scores: torch.Tensor) -> torch.Tensor:
    """Logistic loss of the positive above each negative, averaged over pairs: RankNet's on judgments.

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    from torch.nn import functional

    return functional.softplus(scores[:, 1:] - scores[:, :1]).mean()


PAIRWISE = Loss(
    "pairwise",
    "cross-encoder",
    pairwise_loss,
    paper="Burges et al., Learning to Rank using Gradient Descent (RankNet), ICML 2005",
)
