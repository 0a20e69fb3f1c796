"""Which of transformers' classes reads a backbone, and whether it turns text into what a retriever needs.

Everything that can be known without a text is checked here, when a backbone is loaded, so that a model of another
kind (of images, of sounds, an encoder-decoder) is refused before a corpus is read.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.backbone_files import reason_of

_WANTED = "give an encoder of text, such as all-MiniLM-L6-v2"
_OTHER_INPUTS = ("pixel_values", "input_values", "input_features", "visual_feats", "audio_values")


def choose_network_class(auto_class: Any, config: Any, name: str) -> Any:
    """The class to call ``from_pretrained`` of: ``auto_class``, or the encoder's where the whole also has a decoder.

    Of T5 and its like only the encoder makes a bi-encoder; transformers has a class for it, which reads the weights
    of the whole model as well as those of the encoder alone.

    Args:
        auto_class: ``AutoModel`` or ``AutoModelForSequenceClassification``.
        config: the backbone's transformers configuration.
        name: what the user calls it.

    Raises:
        IaaRetrievalError: transformers has no such class for the architecture, or it does not read text.
    """
    import transformers

    bare = auto_class is transformers.AutoModel
    if bare and (encoder := encoder_alone(config)) is not None:
        return encoder
    if type(config) not in auto_class._model_mapping:
        pairs = auto_class is transformers.AutoModelForSequenceClassification
        what = "encoder" if bare else "model with one score per pair of texts" if pairs else "language model"
        raise IaaRetrievalError(f"transformers has no {what} for backbone {name}, a {_kind(config)}; {_WANTED}")
    found = auto_class._model_mapping[type(config)]
    main_input = (found[0] if isinstance(found, tuple) else found).main_input_name
    if main_input != "input_ids":
        raise IaaRetrievalError(f"backbone {name} is a {_kind(config)}, which reads {main_input}, no text; {_WANTED}")
    if bare and config.is_encoder_decoder:
        raise IaaRetrievalError(
            f"backbone {name} is a {_kind(config)}, an encoder-decoder of which transformers has no encoder by "
            f"itself, as it has for T5; {_WANTED}"
        )
    return auto_class


@torch.no_grad()
def require_token_vectors(network: Any, name: str) -> None:
    """Refuse a network that does not give one vector per token of a text, by running it on four tokens.

    Raises:
        IaaRetrievalError: it needs other inputs, or gives something else; the reason is said.
    """
    ids = torch.tensor([[0, 1, 0, 1]], device=network.device)
    try:
        hidden = network(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
    except Exception as error:  # a network of another kind may raise anything
        raise _no_token_vectors(network, name, _other_inputs(network) or reason_of(error)) from error
    width = getattr(network.config, "hidden_size", None) or getattr(network.config, "dim", None)
    shape = tuple(hidden.shape) if isinstance(hidden, torch.Tensor) else type(hidden).__name__
    if shape != (1, 4, width):
        raise _no_token_vectors(network, name, f"four tokens give {shape} where (1, 4, {width}) is needed")


@torch.no_grad()
def reads_one_way(network: Any) -> bool:
    """Whether a token's vector depends on nothing that comes after it, as in a decoder; two texts are run to know.

    Its first token then says nothing about a text, and its last token all.

    Args:
        network: turns a text into one vector per token.
    """
    ids = torch.tensor([[0, 1, 0, 1], [0, 1, 0, 0]], device=network.device)
    hidden = network(input_ids=ids, attention_mask=torch.ones_like(ids))[0].float()
    first, *_, last = (hidden[0] - hidden[1]).abs().amax(-1).tolist()
    return bool(first <= 1e-4 * last and last > 0)


@torch.no_grad()
def require_pair_scores(classifier: Any, tokenizer: Any, name: str) -> None:
    """Refuse a classifier that does not give one score per pair, by running it on two pairs of unequal length.

    Raises:
        IaaRetrievalError: it needs other tokens or inputs, or gives something else; the reason is said.
    """
    pad_id = tokenizer.pad_token_id or 0
    rows = [tokenizer(*pair)["input_ids"] for pair in (("a", "b"), ("a a a", "b b b"))]
    longest = max(map(len, rows))
    device = classifier.device
    ids = torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    try:
        logits = classifier(input_ids=ids, attention_mask=mask).logits
        shape = tuple(logits.shape)
        reason = f"two pairs give {shape} where (2, 1) is needed" if shape != (2, 1) else None
    except Exception as error:  # a network of another kind may raise anything
        reason = reason_of(error)
    if reason is not None:
        raise IaaRetrievalError(
            f"backbone {name} (a {_kind(classifier.config)}) cannot score pairs of texts as it is: {reason}; {_WANTED}"
        )


def require_rows(network: Any, tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer whose ids go beyond the rows of the network's embeddings: such a token would end a run.

    Raises:
        IaaRetrievalError: both sizes are named.
    """
    try:
        rows = int(network.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError):  # it has no such table (CANINE hashes characters)
        return
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise IaaRetrievalError(
            f"the tokenizer of {name} has ids up to {highest}, but the model has embeddings for {rows} tokens only "
            f"(0 to {rows - 1}); they are not of the same model, or the embeddings were not resized"
        )


def encoder_alone(config: Any) -> Any:
    """transformers' class of the encoder of an encoder-decoder such as T5; None where ``AutoModel`` is the encoder."""
    import transformers

    found = getattr(transformers, f"{type(config).__name__.removesuffix('Config')}EncoderModel", None)
    return found if found is not None and found.main_input_name == "input_ids" else None


def _other_inputs(network: Any) -> str | None:
    found = [name for name in _OTHER_INPUTS if name in inspect.signature(network.forward).parameters]
    return f"it reads {' and '.join(found)} too" if found else None


def _no_token_vectors(network: Any, name: str, reason: str) -> IaaRetrievalError:
    return IaaRetrievalError(
        f"backbone {name} (a {_kind(network.config)}) does not turn a text into one vector per token: {reason}; "
        f"{_WANTED}"
    )


def _kind(config: Any) -> str:
    return f"model of type {config.model_type}"
