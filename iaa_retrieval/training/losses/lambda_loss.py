"""LambdaLoss of a cross-encoder: pairs weighted by what they matter to NDCG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import Loss

if TYPE_CHECKING:
    import torch

MU = 10.0  # weight of the bound on NDCG beside LambdaRank's own weights, as in allRank


def lambda_loss(scores: torch.Tensor) -> torch.Tensor:
    """NDCG-Loss2++ of the LambdaLoss framework, summed over a query's pairs and averaged over queries.

    A pair of the positive and a negative costs ``w * log2(1 + exp(negative - positive))``. With ranks i and j in the
    order of the current scores, and the discount ``D(k) = log2(1 + k)``, its weight is
    ``|1/D(i) - 1/D(j)| + MU * |1/D(|i-j|) - 1/D(|i-j|+1)|``: how much NDCG changes when the two trade places
    (LambdaRank), and a bound on it. The gains are those of one relevant document, whose NDCG is at most ``1/D(1) = 1``.
    No gradient goes through ranks and weights. Of equal scores, the positive's counts as the lowest.

    Args:
        scores: [batch, 1 + negatives]; the positive's score first.
    """
    import torch
    from torch.nn import functional

    positive, negatives = scores[:, :1], scores[:, 1:]
    with torch.no_grad():
        places = torch.arange(scores.shape[1], device=scores.device)
        ahead = scores[:, None, :] > scores[:, :, None]
        tied = (scores[:, None, :] == scores[:, :, None]) & (places[None, :] > places[:, None])
        ranks = 1 + (ahead | tied).sum(dim=2)
        discounts = 1 / torch.log2(1 + ranks.to(scores.dtype))
        lambda_rank = (discounts[:, :1] - discounts[:, 1:]).abs()
        apart = (ranks[:, :1] - ranks[:, 1:]).abs().to(scores.dtype)
        bound = 1 / torch.log2(1 + apart) - 1 / torch.log2(2 + apart)
        weights = lambda_rank + MU * bound
    costs = functional.softplus(negatives - positive) / torch.log(scores.new_tensor(2.0))
    return (weights * costs).sum(dim=1).mean()


LAMBDA = Loss(
    "lambda",
    "cross-encoder",
    lambda_loss,
    paper="Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018 (NDCG-Loss2++)",
)
