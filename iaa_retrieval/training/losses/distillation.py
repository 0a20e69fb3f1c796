"""How a teacher's scores enter the loss of either kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iaa_retrieval.training.losses.loss import DISTILLATION
from iaa_retrieval.training.losses.registry import get_loss

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Distillation:
    """How a teacher's scores enter the loss.

    Attributes:
        loss: the name of a loss for distillation.
        weight: share of that loss; the rest is the loss on judgments.
        temperature: divides the teacher's scores.
    """

    loss: str
    weight: float
    temperature: float

    def mixed_with(self, loss_on_judgments: torch.Tensor, scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The weighted sum of both losses; ``scores`` and ``teacher`` are [batch, 1 + negatives], positive first."""
        distilled = get_loss(DISTILLATION, self.loss).function(scores, teacher / self.temperature)
        return (1 - self.weight) * loss_on_judgments + self.weight * distilled
