"""Distillation by the margins between positive and negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import DISTILLATION, Loss

if TYPE_CHECKING:
    import torch


def margin_mse_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared error of the margins between positive and negatives, averaged over pairs.

    Args:
        scores, teacher: [batch, 1 + negatives]; the positive's score first.
    """
    from torch.nn import functional

    return functional.mse_loss(scores[:, :1] - scores[:, 1:], teacher[:, :1] - teacher[:, 1:])


MARGIN_MSE = Loss(
    "margin-mse",
    DISTILLATION,
    margin_mse_loss,
    paper="Hofstätter et al., Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge "
    "Distillation, arXiv 2020",
)
