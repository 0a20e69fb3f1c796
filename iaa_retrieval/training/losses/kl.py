"""Distillation by the divergence from the teacher's distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import DISTILLATION, Loss

if TYPE_CHECKING:
    import torch


def kl_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL divergence of the student's distribution over a query's passages from the teacher's, averaged over queries.

    Args:
        scores, teacher: [batch, passages]; softmax over the last dimension makes them distributions.
    """
    from torch.nn import functional

    return functional.kl_div(scores.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


KL = Loss("kl", DISTILLATION, kl_loss, paper="Hinton et al., Distilling the Knowledge in a Neural Network, arXiv 2015")
