"""An encoder with a head of ours in one network, for methods, saving and inference what a classifier is.

The encoder stands under its own prefix (``bert`` and so on), so that an adapter's names are those that it has in
transformers' classifiers, and ``AutoModel`` reads the encoder of a saved network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.heads.head import Head
from iaa_retrieval.models.sizes import encoder_width

HEAD = "relevance_head"  # PEFT finds modules to save by the ends of their names: no module of a backbone ends so
NO_SEPARATOR = -1


class HeadedEncoder(PreTrainedModel):  # type: ignore[misc]
    """An encoder whose last hidden states a head turns into one score.

    Args:
        encoder: from ``AutoModel``; a pooler that it has stays in it, without a part in the score.
        head: a head's module.
    """

    # The encoder has been loaded with its attention already, and no other is asked for that it could refuse.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    supports_gradient_checkpointing = True
    leaves_pooler_unused = True

    def __init__(self, encoder: Any, head: torch.nn.Module) -> None:
        super().__init__(encoder.config)
        self.base_model_prefix = encoder.base_model_prefix
        self.all_tied_weights_keys: dict[str, str] = {}  # set after initialisation, which must not happen here
        setattr(self, self.base_model_prefix, encoder)
        setattr(self, HEAD, head)

    def get_input_embeddings(self) -> Any:
        """The encoder's."""
        return self.base_model.get_input_embeddings()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Token ids [batch, tokens] of pairs to ``logits`` [batch, 1]."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **segments)[0]
        scores = getattr(self, HEAD)(hidden, input_ids, attention_mask, token_type_ids)
        return SequenceClassifierOutput(logits=scores[:, None])


def with_head(encoder: Any, head: Head, separator: int, weights: Path | None = None) -> HeadedEncoder:
    """An encoder with a head on it, in evaluation mode.

    Args:
        encoder: from ``AutoModel``.
        head: one that transformers does not have.
        separator: id of the token between query and document, or ``NO_SEPARATOR`` where the head's weights follow.
        weights: the ``model.safetensors`` of a whole network with this head, to take it from; None is a fresh one.

    Raises:
        IaaRetrievalError: the file lacks weights of the head.
    """
    if head.build is None:
        raise ValueError(f"head {head.name} is a part of transformers' classifiers")
    module: Any = head.build(encoder_width(encoder), separator)
    if head.of_vocabulary:
        module.soft_cap = getattr(encoder.config, "final_logit_softcapping", None)
    network = HeadedEncoder(encoder, module)
    if weights is not None:
        _read_head(getattr(network, HEAD), head.name, weights)
    network.eval()
    return network


def separator_of(tokenizer: Any, name: str, head: Head) -> int:
    """The id of the token that a tokenizer puts between a query and a document.

    Raises:
        UsageError: it puts none there; ``name`` is the backbone's.
    """
    token = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if token is None or token not in tokenizer("a", "b")["input_ids"][1:-1]:
        raise UsageError(
            f"the tokenizer of {name} puts no token between query and document, which --head {head.name} needs; "
            "leave --head out"
        )
    return int(token)


def _read_head(module: torch.nn.Module, name: str, file: Path) -> None:
    start = f"{HEAD}."
    with safe_open(file, "pt") as tensors:
        keys = [key for key in tensors.keys() if key.startswith(start)]  # noqa: SIM118 (no mapping)
        found = {key.removeprefix(start): tensors.get_tensor(key) for key in keys}
    wanted = module.state_dict()
    if {key: value.shape for key, value in found.items()} != {key: value.shape for key, value in wanted.items()}:
        raise IaaRetrievalError(f"{file} does not hold the weights of a head {name}; copy the checkpoint again")
    module.load_state_dict(found)
