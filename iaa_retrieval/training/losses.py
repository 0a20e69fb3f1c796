"""Training losses, on judgments and on a teacher's scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

Loss = Callable[[torch.Tensor], torch.Tensor]
DistillationLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def contrastive_loss(scores: torch.Tensor, positive_index: torch.Tensor, ignore: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each query's positive against every other passage of the batch (DPR, EMNLP 2020).

    Args:
        scores: [batch, n]; each query against the positives and negatives of all queries of the batch.
        positive_index: int64 [batch]; the column of each query's positive.
        ignore: bool [batch, n]; passages known to be relevant to the query, which must not count as negatives.

    Returns:
        The mean loss over the batch, a scalar.
    """
    scores = scores.masked_fill(ignore, torch.finfo(scores.dtype).min)
    return functional.cross_entropy(scores, positive_index)


def localized_contrastive_loss(scores: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the positive against its query's own negatives (Gao et al., ECIR 2021).

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    return functional.cross_entropy(scores, torch.zeros(scores.shape[0], dtype=torch.long, device=scores.device))


def pairwise_loss(scores: torch.Tensor) -> torch.Tensor:
    """Logistic loss of the positive above each negative, averaged over pairs (RankNet, Burges et al., ICML 2005).

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    return functional.softplus(scores[:, 1:] - scores[:, :1]).mean()


def pointwise_loss(scores: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of every pair alone, averaged over pairs (monoBERT, Nogueira and Cho, 2019).

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1
    return functional.binary_cross_entropy_with_logits(scores, labels)


def kl_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL divergence of the student's distribution over a query's passages from the teacher's, averaged over queries.

    Args:
        scores, teacher: [batch, passages]; softmax over the last dimension makes them distributions.
    """
    return functional.kl_div(scores.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


def margin_mse_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared error of the margins between positive and negatives (MarginMSE, Hofstätter et al., 2020).

    Args:
        scores, teacher: [batch, 1 + negatives]; the positive's score first.
    """
    return functional.mse_loss(scores[:, :1] - scores[:, 1:], teacher[:, :1] - teacher[:, 1:])


# By the names that --loss and --distillation take; a bi-encoder has the one loss above.
CROSS_ENCODER_LOSSES: dict[str, Loss] = {
    "localized-contrastive": localized_contrastive_loss,
    "pairwise": pairwise_loss,
    "pointwise": pointwise_loss,
}
DISTILLATION_LOSSES: dict[str, DistillationLoss] = {"kl": kl_loss, "margin-mse": margin_mse_loss}


@dataclass(frozen=True)
class Distillation:
    """How a teacher's scores enter the loss.

    Attributes:
        loss: a name in :data:`DISTILLATION_LOSSES`.
        weight: share of that loss; the rest is the loss on judgments.
        temperature: divides the teacher's scores.
    """

    loss: str
    weight: float
    temperature: float

    def mixed_with(self, loss_on_judgments: torch.Tensor, scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The weighted sum of both losses; ``scores`` and ``teacher`` are [batch, 1 + negatives], positive first."""
        distilled = DISTILLATION_LOSSES[self.loss](scores, teacher / self.temperature)
        return (1 - self.weight) * loss_on_judgments + self.weight * distilled
