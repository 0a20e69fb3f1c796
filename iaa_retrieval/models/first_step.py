"""An encoder-decoder as a re-ranker: the odds of two words at the decoder's first step, as monoT5 has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput


class FirstStepOdds(nn.Module):
    """``log p(yes) - log p(no)`` of the first word that an encoder-decoder answers; for inference.

    Args:
        language_model: from ``AutoModelForSeq2SeqLM``.
        ids: of the two words.
    """

    def __init__(self, language_model: Any, ids: tuple[int, int]) -> None:
        super().__init__()
        self.language_model = language_model
        self._ids = ids

    @property
    def config(self) -> Any:
        """The language model's."""
        return self.language_model.config

    @property
    def base_model(self) -> Any:
        """The language model, which is all that has weights."""
        return self.language_model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        place: torch.device = self.language_model.device
        return place

    def get_input_embeddings(self) -> Any:
        """The encoder's."""
        return self.language_model.get_input_embeddings()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SequenceClassifierOutput:
        """Token ids [batch, tokens] to ``logits`` [batch, 1]."""
        start = input_ids.new_full((len(input_ids), 1), self.config.decoder_start_token_id)
        given: torch.Tensor = (
            self.language_model(
                input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=start, use_cache=False
            )
            .logits[:, 0]
            .float()
        )
        yes, no = self._ids
        return SequenceClassifierOutput(logits=(given[:, yes] - given[:, no])[:, None])
