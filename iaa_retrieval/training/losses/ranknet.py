"""Distillation by the order of every pair of passages in the teacher's ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import DISTILLATION, Loss

if TYPE_CHECKING:
    import torch


def ranknet_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Logistic loss of every passage above each that the teacher scores lower, averaged over all pairs of the batch.

    Only the teacher's order counts, so that no temperature matters. Passages that the teacher scores alike make no
    pair; a batch without any pair costs nothing. On judgments, where the pairs are those of the positive with each
    negative, this is the loss called ``pairwise``.

    Args:
        scores, teacher: [batch, passages].
    """
    from torch.nn import functional

    above = teacher[:, :, None] > teacher[:, None, :]
    costs = functional.softplus(scores[:, None, :] - scores[:, :, None])
    return (costs * above).sum() / above.sum().clamp(min=1)


RANKNET = Loss(
    "ranknet",
    DISTILLATION,
    ranknet_loss,
    paper="Burges et al., Learning to Rank using Gradient Descent, ICML 2005; as distillation: Sun et al., Is ChatGPT "
    "Good at Search?, EMNLP 2023",
)
