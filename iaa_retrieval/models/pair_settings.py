"""What a cross-encoder makes of a pair where nobody says it: the head, the template, and the words of an answer."""

from __future__ import annotations

from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.heads.head import Head
from iaa_retrieval.models.heads.registry import DECODER_HEAD, DEFAULT_HEAD
from iaa_retrieval.models.pair_template import (
    DEFAULT_TOKENS,
    MONOT5,
    NO_TEMPLATE,
    PLAIN,
    QWEN3_RERANKER,
    TEMPLATES,
    TOKENS,
    PairSettings,
    template_instruction,
    template_text,
)


def default_head(config: Any) -> str:
    """The head of a backbone for which none is chosen.

    A decoder is scored on its last token, by the attention mask, unless it is a classifier with one output already,
    whose own head is kept.

    Args:
        config: its transformers configuration.
    """
    return DECODER_HEAD if is_decoder(config) and not is_one_output_classifier(config) else DEFAULT_HEAD


def is_decoder(config: Any) -> bool:
    """Whether transformers' classifier of this architecture reads the last token, as those of decoders do."""
    from transformers import AutoModelForSequenceClassification
    from transformers.modeling_layers import GenericForSequenceClassification

    mapping = AutoModelForSequenceClassification._model_mapping
    if type(config) not in mapping:
        return False
    found = mapping[type(config)]
    classes = found if isinstance(found, tuple) else (found,)
    return any(issubclass(one, GenericForSequenceClassification) for one in classes)


def is_one_output_classifier(config: Any) -> bool:
    """Whether the files are of a sequence classifier with one output, as re-rankers are."""
    return classifier_outputs(config) == 1


def classifier_outputs(config: Any) -> int | None:
    """The outputs of the sequence classifier that the files are of; None where they are of something else."""
    names = getattr(config, "architectures", None) or ()
    if not any(str(name).endswith("ForSequenceClassification") for name in names):
        return None
    return int(config.num_labels)


def complete_settings(asked: PairSettings, head: Head, config: Any, tokenizer: Any) -> PairSettings:
    """The settings with all that is not said filled in; a template becomes its text, empty where there is none.

    A language model's answer needs a template; so does a fresh head of ours where the tokenizer would put query and
    document one after the other without anything between them. Qwen3 and T5 get that of the re-rankers made of them.

    Args:
        asked: what the user says, or the model itself.
        head: the one that is used.
        config: the transformers configuration of the backbone.
        tokenizer: the backbone's.

    Raises:
        UsageError: a template, instruction or words that the head has no use for, or that it lacks.
    """
    text = _default_template(head, config, tokenizer) if asked.template is None else template_text(asked.template)
    if head.of_vocabulary and not text:
        raise UsageError(f"--head {head.name} answers a text: --pair-template {NO_TEMPLATE} leaves nothing to answer")
    if head.needs_separator and text:
        raise UsageError(
            f"--head {head.name} tells query and document apart by the token between them, and --pair-template makes "
            "one text of both; leave one of the two out"
        )
    if asked.tokens is not None and not head.of_vocabulary:
        raise UsageError(f"--pair-tokens is for --head yes-no, not for {head.name}")
    tokens = None
    if head.of_vocabulary:
        name = next((name for name, known in TEMPLATES.items() if known == text), "")
        tokens = asked.tokens or TOKENS.get(name, DEFAULT_TOKENS)
    return PairSettings(head.name, text, template_instruction(text, asked.instruction), tokens)


def _default_template(head: Head, config: Any, tokenizer: Any) -> str:
    if head.of_vocabulary:
        if config.is_encoder_decoder:
            return TEMPLATES[MONOT5]
        return TEMPLATES[QWEN3_RERANKER if config.model_type == "qwen3" else PLAIN]
    if head.build is not None and not head.needs_separator and not _joins_pairs(tokenizer):
        return TEMPLATES[PLAIN]
    return TEMPLATES[NO_TEMPLATE]


def token_ids(tokenizer: Any, tokens: tuple[str, str], name: str) -> tuple[int, int]:
    """The ids of two words, each an entry of the vocabulary or a text that is one token.

    Raises:
        UsageError: a word that takes several tokens, or none; ``name`` is the model's.
    """
    vocabulary = tokenizer.get_vocab()
    found: list[int] = []
    for token in tokens:
        ids = [vocabulary[token]] if token in vocabulary else tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
            raise UsageError(
                f"{token!r} is {'no token' if len(ids) <= 1 else f'{len(ids)} tokens'} of the vocabulary of {name}; "
                "--pair-tokens takes two words that are one token each"
            )
        found.append(ids[0])
    if found[0] == found[1]:
        raise UsageError(f"--pair-tokens {tokens[0]!r} and {tokens[1]!r} are the same token of {name}")
    return found[0], found[1]


def _joins_pairs(tokenizer: Any) -> bool:
    """Whether a tokenizer puts a token of its own between two texts."""
    alone = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b")]
    together = tokenizer("a", "b")["input_ids"]
    start = next((at for at in range(len(together)) if together[at : at + len(alone[0])] == alone[0]), 0)
    return bool(together[start : start + len(alone[0]) + len(alone[1])] != [*alone[0], *alone[1]])
