"""Model and loss in one module, which is what the trainer steps: token ids in, loss out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.truncation import cut
from iaa_retrieval.training.across_processes import gather_rows, rows_before, scaled_for_averaging, widest
from iaa_retrieval.training.chunks import forward_in_chunks
from iaa_retrieval.training.losses.distillation import Distillation
from iaa_retrieval.training.losses.registry import DEFAULT_LOSSES, get_loss

NO_DOCUMENT = -1  # fills rows of document keys


class BiEncoderObjective(nn.Module):
    """Training of a bi-encoder, with the negatives of every query of every process.

    Args:
        bi_encoder: what is trained.
        temperature: divides the similarities.
        distillation: how a teacher's scores enter; None without a teacher.
        grad_cache: texts whose activations are held at once; None holds all.
        loss: the name of a loss for bi-encoders.
        matryoshka: sizes to which the vectors shall be cut later. The loss is the mean of that of the whole vectors and
            that of each cut, distillation included (Kusupati et al., NeurIPS 2022, with equal weights).
    """

    def __init__(
        self,
        bi_encoder: BiEncoder,
        temperature: float,
        distillation: Distillation | None = None,
        grad_cache: int | None = None,
        loss: str = DEFAULT_LOSSES["bi-encoder"],
        matryoshka: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.bi_encoder = bi_encoder
        self.loss = get_loss("bi-encoder", loss).function
        self.temperature = temperature
        self.distillation = distillation
        self.grad_cache = grad_cache
        self.sizes = (bi_encoder.dimension, *matryoshka)

    def forward(
        self,
        query_ids: torch.Tensor,
        query_mask: torch.Tensor,
        passage_ids: torch.Tensor,
        passage_mask: torch.Tensor,
        positive_index: torch.Tensor,
        passage_keys: torch.Tensor,
        relevant_keys: torch.Tensor,
        teacher_scores: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``{"loss": scalar}`` of a batch made by ``BiEncoderCollator``."""
        queries = forward_in_chunks(
            self.bi_encoder.encode_queries, {"input_ids": query_ids, "attention_mask": query_mask}, self.grad_cache
        )
        passages = forward_in_chunks(
            self.bi_encoder.encode_passages, {"input_ids": passage_ids, "attention_mask": passage_mask}, self.grad_cache
        )
        return self.loss_of(queries, passages, positive_index, passage_keys, relevant_keys, teacher_scores)

    def loss_of(
        self,
        queries: torch.Tensor,
        passages: torch.Tensor,
        positive_index: torch.Tensor,
        passage_keys: torch.Tensor,
        relevant_keys: torch.Tensor,
        teacher_scores: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``{"loss": scalar}`` of vectors [batch, d] and [passages, d], and of what the collator knows of them."""
        all_positives = gather_rows(positive_index + rows_before(passages))
        width = widest(relevant_keys) - relevant_keys.shape[1]
        ignore = known_positives(
            gather_rows(passage_keys),
            gather_rows(functional.pad(relevant_keys, (0, width), value=NO_DOCUMENT)),
            all_positives,
        )
        all_queries, all_passages = gather_rows(queries), gather_rows(passages)
        losses = []
        for size in self.sizes:
            scores = self._similarities(all_queries, all_passages, size)
            loss = scaled_for_averaging(self.loss(scores, all_positives, ignore))
            if self.distillation is not None and teacher_scores is not None:
                # A teacher scored a query's own passages only, so this part needs no other process.
                own = self._similarities(queries, passages, size)
                columns = positive_index[:, None] + torch.arange(teacher_scores.shape[1], device=own.device)
                loss = self.distillation.mixed_with(loss, own.gather(1, columns), teacher_scores)
            losses.append(loss)
        return {"loss": losses[0] if len(losses) == 1 else torch.stack(losses).mean()}

    def _similarities(self, queries: torch.Tensor, passages: torch.Tensor, size: int) -> torch.Tensor:
        # Autocast would round to bf16, and dividing by the temperature makes that error 20 times larger.
        with torch.autocast(queries.device.type, enabled=False):
            if size < queries.shape[1]:
                unit = self.bi_encoder.config.normalize
                queries, passages = cut(queries, size, normalize=unit), cut(passages, size, normalize=unit)
            return queries @ passages.T / self.temperature


class CrossEncoderObjective(nn.Module):
    """Training of a cross-encoder on groups: one positive and the negatives of its query.

    Args:
        cross_encoder: what is trained.
        loss: the name of a loss for cross-encoders.
        distillation: how a teacher's scores enter; None without a teacher.
        grad_cache: pairs whose activations are held at once; None holds all.
    """

    def __init__(
        self,
        cross_encoder: CrossEncoder,
        loss: str = DEFAULT_LOSSES["cross-encoder"],
        distillation: Distillation | None = None,
        grad_cache: int | None = None,
    ) -> None:
        super().__init__()
        self.cross_encoder = cross_encoder
        self.loss = get_loss("cross-encoder", loss).function
        self.distillation = distillation
        self.grad_cache = grad_cache

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        group_size: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        teacher_scores: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``{"loss": scalar}`` of a batch of groups of ``group_size`` pairs, the positive pair first in each."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        scores = forward_in_chunks(self.cross_encoder, inputs, self.grad_cache)
        groups = scores.view(-1, int(group_size))
        loss = self.loss(groups)
        if self.distillation is not None and teacher_scores is not None:
            loss = self.distillation.mixed_with(loss, groups, teacher_scores)
        return {"loss": loss}


def known_positives(
    passage_keys: torch.Tensor, relevant_keys: torch.Tensor, positive_index: torch.Tensor
) -> torch.Tensor:
    """Which passages of a batch are relevant to which query, the query's own positive apart.

    Args:
        passage_keys: int64 [n]; a number for each passage's document.
        relevant_keys: int64 [batch, m]; the documents relevant to each query, filled with ``NO_DOCUMENT``.
        positive_index: int64 [batch]; the row of each query's own positive among the passages.

    Returns:
        bool [batch, n].
    """
    known = torch.zeros(relevant_keys.shape[0], passage_keys.shape[0], dtype=torch.bool, device=passage_keys.device)
    for column in relevant_keys.T:  # one at a time: all at once would need [batch, n, m]
        known |= column[:, None] == passage_keys[None, :]
    known[torch.arange(len(positive_index), device=known.device), positive_index] = False
    return known
