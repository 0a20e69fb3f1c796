"""The pointwise loss of a cross-encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import Loss

if TYPE_CHECKING:
    import torch


def pointwise_loss(scores: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of every pair alone, averaged over pairs.

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    import torch
    from torch.nn import functional

    labels = torch.zeros_like(scores)
    labels[:, 0] = 1
    return functional.binary_cross_entropy_with_logits(scores, labels)


POINTWISE = Loss(
    "pointwise",
    "cross-encoder",
    pointwise_loss,
    paper="Nogueira and Cho, Passage Re-ranking with BERT (monoBERT), arXiv 2019",
)
