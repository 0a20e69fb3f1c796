"""Model and loss in one module, which is what the trainer steps: token ids in, loss out."""

from __future__ import annotations

import torch
from torch import nn

from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.training.losses import contrastive_loss, localized_contrastive_loss


class BiEncoderObjective(nn.Module):
    """Contrastive training of a bi-encoder."""

    def __init__(self, bi_encoder: BiEncoder, temperature: float) -> None:
        super().__init__()
        self.bi_encoder = bi_encoder
        self.temperature = temperature

    def forward(
        self,
        query_ids: torch.Tensor,
        query_mask: torch.Tensor,
        passage_ids: torch.Tensor,
        passage_mask: torch.Tensor,
        positive_index: torch.Tensor,
        ignore: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """``{"loss": scalar}`` of a batch made by :class:`~iaa_retrieval.training.collators.BiEncoderCollator`."""
        queries = self.bi_encoder(query_ids, query_mask)
        passages = self.bi_encoder(passage_ids, passage_mask)
        return {"loss": contrastive_loss(queries, passages, positive_index, ignore, self.temperature)}


class CrossEncoderObjective(nn.Module):
    """Localised contrastive training of a cross-encoder."""

    def __init__(self, cross_encoder: CrossEncoder) -> None:
        super().__init__()
        self.cross_encoder = cross_encoder

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        group_size: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``{"loss": scalar}`` of a batch of groups of ``group_size`` pairs, the positive pair first in each."""
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        scores = self.cross_encoder(input_ids=input_ids, attention_mask=attention_mask, **segments)
        return {"loss": localized_contrastive_loss(scores.view(-1, int(group_size)))}
