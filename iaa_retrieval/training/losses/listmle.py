"""Distillation by the likelihood of the teacher's ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import DISTILLATION, Loss

if TYPE_CHECKING:
    import torch


def listmle_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of the teacher's order under the student's Plackett-Luce model, averaged over queries.

    The likelihood is plain ListMLE's (not p-ListMLE's, which weights positions): that the student draws the
    teacher's first passage among all, then its second among the others, and so on. Only the teacher's order counts,
    so that no temperature matters. Of passages that the teacher scores alike, the earlier comes first: the positive,
    then the negatives as they were drawn. On judgments, the first of these draws alone is the loss called
    ``localized-contrastive``.

    Args:
        scores, teacher: [batch, passages]; the positive's score first.
    """
    order = teacher.argsort(dim=1, descending=True, stable=True)
    ranked = scores.gather(1, order)
    left = ranked.flip(1).logcumsumexp(dim=1).flip(1)  # log of the sum over each passage and those behind it
    return (left - ranked).sum(dim=1).mean()


LISTMLE = Loss(
    "listmle",
    DISTILLATION,
    listmle_loss,
    paper="Xia et al., Listwise Approach to Learning to Rank: Theory and Algorithm, ICML 2008",
)
