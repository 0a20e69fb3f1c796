"""A backbone with what makes a score of a pair: a classifier's head, one of ours, or a language model's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.architecture import require_pair_scores, require_rows
from iaa_retrieval.models.backbone import load_network, read_network_config
from iaa_retrieval.models.checkpoint import FULL_FILE
from iaa_retrieval.models.first_step import FirstStepOdds
from iaa_retrieval.models.headed_encoder import HEAD, NO_SEPARATOR, separator_of, with_head
from iaa_retrieval.models.heads.head import Head
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.pair_settings import complete_settings, token_ids
from iaa_retrieval.models.pair_template import PairSettings
from iaa_retrieval.models.text_settings import load_text_tokenizer

_SAME_ODDS = 1e-3  # by how much of itself, and at least, a score may differ from the language model's


class PairNetwork(NamedTuple):
    """A network that gives one score per pair, its tokenizer, and how a pair is put in, all of it said."""

    network: Any
    tokenizer: Any
    settings: PairSettings


def pair_network(
    backbone: str,
    head: Head,
    asked: PairSettings,
    *,
    own_head: bool = False,
    whole: bool = False,
    loading: Loading = IN_FP32,
) -> PairNetwork:
    """A backbone with a head on it, in evaluation mode.

    Args:
        backbone: a directory, hub id or ``all-MiniLM-L6-v2``.
        head: the one that it gets.
        asked: what is said about template and words.
        own_head: whether the backbone is a checkpoint of ours with this head, which is kept; else it is fresh, or
            what transformers finds in the backbone.
        whole: whether it is used as it is, so that nothing in it may be fresh.
        loading: in what form, and where, the weights come into memory.

    Raises:
        UsageError: the head cannot work with this backbone, or with what is asked.
        IaaRetrievalError: it cannot be loaded, or does not score pairs.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification

    answers = head.of_vocabulary and not own_head
    network: Any
    if head.build is None:
        network = load_network(AutoModelForSequenceClassification, backbone, whole=whole, loading=loading, num_labels=1)
    elif answers:
        network = _language_model(backbone, head, whole, loading)
    else:
        network = load_network(AutoModel, backbone, expects_more=own_head, loading=loading)
    tokenizer = load_text_tokenizer(backbone)
    settings = complete_settings(asked, head, network.config, tokenizer)
    if head.build is None:
        if network.config.pad_token_id is None:  # by which a decoder's classifier finds the last token of a pair
            network.config.pad_token_id = tokenizer.pad_token_id
    elif answers:
        network = _answering(network, head, token_ids(tokenizer, settings.tokens or ("", ""), backbone), backbone)
    else:
        separator = separator_of(tokenizer, backbone, head) if head.needs_separator else NO_SEPARATOR
        network = with_head(network, head, separator, Path(backbone) / FULL_FILE if own_head else None)
    require_rows(network, tokenizer, backbone)
    require_pair_scores(network, tokenizer, backbone)
    return PairNetwork(network, tokenizer, settings)


def _language_model(backbone: str, head: Head, whole: bool, loading: Loading) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if not read_network_config(backbone).is_encoder_decoder:
        return load_network(AutoModelForCausalLM, backbone, whole=True, loading=loading)
    if not whole:
        raise UsageError(
            f"{backbone} answers with a decoder beside its encoder, and methods are put on one stack of layers: --head "
            f"{head.name} of an encoder-decoder re-ranks untuned only; give a decoder, or another --head"
        )
    return load_network(AutoModelForSeq2SeqLM, backbone, whole=True, loading=loading)


def _answering(model: Any, head: Head, ids: tuple[int, int], name: str) -> Any:
    """A language model with the head of the vocabulary; the rest of the vocabulary is let go."""
    if model.config.is_encoder_decoder:
        return FirstStepOdds(model, ids).eval()
    network = with_head(model.base_model, head, NO_SEPARATOR)
    with torch.no_grad():
        getattr(network, HEAD).rows.copy_(model.get_output_embeddings().weight[list(ids)])
    _require_same_odds(model, network, head, ids, name)
    return network


@torch.no_grad()
def _require_same_odds(model: Any, network: Any, head: Head, ids: tuple[int, int], name: str) -> None:
    """Refuse a language model that makes logits otherwise than the head does (scaled, with biases, or by more layers).

    It is seen on four tokens.
    """
    probe = torch.tensor([[0, 1, 0, 1]], device=model.device)
    inputs = {"input_ids": probe, "attention_mask": torch.ones_like(probe)}
    logits = model(**inputs).logits[0, -1].float()
    expected, found = logits[ids[0]] - logits[ids[1]], network(**inputs).logits[0, 0]
    if not torch.isclose(found, expected, rtol=_SAME_ODDS, atol=_SAME_ODDS):
        raise IaaRetrievalError(
            f"the logits of {name} (a model of type {model.config.model_type}) are no products of its last token with "
            f"rows of its vocabulary, which --head {head.name} is made of; choose another --head"
        )
