"""Re-rankers of others, used as they are: classifiers with one output, and language models that answer yes or no.

Which a directory is, its files say: the architecture in ``config.json`` of a classifier, sentence-transformers'
metadata of a language model. A language model without these may as well be an embedder's backbone or a plain generator;
it is a re-ranker where the user names a head, or where its name is that of a family of re-rankers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.models.backbone import backbone_name, fingerprint_weights, read_network_config, resolve_backbone
from iaa_retrieval.models.backbone_files import CONFIG_FILE
from iaa_retrieval.models.checkpoint import tokenizer_fingerprint
from iaa_retrieval.models.heads.registry import DEFAULT_HEAD, VOCABULARY_HEAD, get_head
from iaa_retrieval.models.pair_network import pair_network
from iaa_retrieval.models.pair_settings import classifier_outputs
from iaa_retrieval.models.pair_template import (
    DOCUMENT,
    INSTRUCTION,
    MONOT5,
    QUERY,
    QWEN3_RERANKER,
    PairSettings,
)
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.models.sizes import position_limit
from iaa_retrieval.models.text_settings import load_text_tokenizer, metadata_file, read_metadata

LOG = logging.getLogger("iaa_retrieval")

KIND = "cross-encoder"
LONGEST_DEFAULT_PAIR = 512  # of a model that says it can read more; a pair's cost grows with its length
# What a name holds of a family whose models answer yes or no, the architecture of its files, and its template.
_FAMILIES = (("qwen3-reranker", "Qwen3ForCausalLM", QWEN3_RERANKER), ("monot5", "T5ForConditionalGeneration", MONOT5))


@dataclass(frozen=True)
class PlainReranker:
    """What is known of another's re-ranker before its weights are read.

    Attributes:
        pair: its head, and what else it says, or the user.
        query_prompt: what goes before a query, to the letter.
        max_length: tokens of a pair; None leaves it to the tokenizer.
        family: what in its name says how it scores, where nothing else does.
    """

    pair: PairSettings
    query_prompt: str = ""
    max_length: int | None = None
    family: str = ""


def read_plain_reranker(name: str, asked: PairSettings) -> PlainReranker | None:
    """How a model that is no checkpoint of ours re-ranks; None where neither it nor the user says that it does.

    Args:
        name: a directory, hub id or ``all-MiniLM-L6-v2``.
        asked: what the user says; it counts before what the model says.

    Raises:
        UsageError: a head that nothing in the model is.
        IaaRetrievalError: it cannot be read, or it scores in a way that is not known here.
    """
    if metadata_file(name, CONFIG_FILE) is None:  # an adapter, or nothing: loading it as a bi-encoder says so
        return None
    config = read_network_config(name)
    architectures = [str(one) for one in getattr(config, "architectures", None) or ()]
    outputs = classifier_outputs(config)
    said = _metadata(name, asked)
    if asked.head not in (None, DEFAULT_HEAD, VOCABULARY_HEAD):
        raise UsageError(
            f"--head {asked.head} is ours, and {name} has none of ours: untuned, {DEFAULT_HEAD} is a classifier's own "
            f"and {VOCABULARY_HEAD} a language model's answer"
        )
    if not asked.given and _is_embedder(name):
        return None
    if outputs == 1 and asked.head != VOCABULARY_HEAD:
        return replace(said, pair=asked.or_else(PairSettings(DEFAULT_HEAD)))
    if asked.head == DEFAULT_HEAD or (outputs is not None and asked.given):
        found = f"a classifier with {outputs} outputs" if outputs else " and ".join(architectures) or "no classifier"
        raise UsageError(f"{name} is {found}; --head {DEFAULT_HEAD} is the head of a classifier with one output")
    if asked.head == VOCABULARY_HEAD or said.pair.head == VOCABULARY_HEAD:
        return replace(said, pair=asked.or_else(said.pair).or_else(PairSettings(VOCABULARY_HEAD)))
    for family, architecture, template in _FAMILIES:
        if family in _names(name) and architecture in architectures:
            return replace(said, pair=asked.or_else(PairSettings(VOCABULARY_HEAD, template)), family=family)
    if asked.given:
        raise UsageError(f"{name} does not say that it re-ranks; --pair-template and its like need --head beside them")
    if outputs is not None:
        LOG.warning(
            "%s is a classifier with %d outputs, of which none is a score of relevance; its head is not used",
            name,
            outputs,
        )
    return None


def load_plain_reranker(name: str, plain: PlainReranker) -> tuple[Any, Any, RetrieverConfig]:
    """The network, tokenizer and settings of another's re-ranker, in fp32 on the CPU.

    Raises:
        UsageError: settings that it cannot be used with.
        IaaRetrievalError: it cannot be loaded, or lacks weights, those of its head among them.
    """
    head = get_head(plain.pair.head or DEFAULT_HEAD)
    if plain.family:
        LOG.info(
            "%s is taken for a %s by its name: --head %s, --pair-template %s",
            name,
            plain.family,
            head.name,
            plain.pair.template,
        )
    network, tokenizer, pair = pair_network(name, head, plain.pair, whole=True)
    limit = position_limit(network)
    own = plain.max_length or min(int(tokenizer.model_max_length), LONGEST_DEFAULT_PAIR)
    longest = min(own, limit)
    config = RetrieverConfig(
        kind=KIND,
        backbone=backbone_name(name),
        backbone_fingerprint=fingerprint_weights(network.base_model),
        fingerprint=fingerprint_weights(network),
        head=head.name,
        pair_template=pair.template or "",
        pair_instruction=pair.instruction or "",
        pair_tokens=pair.tokens or (),
        query_prompt=plain.query_prompt,
        query_max_length=longest // 2,  # nothing cuts a query of theirs but the length of the pair
        document_max_length=longest,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    return network, tokenizer, config


def _names(name: str) -> str:
    """What a model is called: its hub id, or the last folders of its directory, in small letters."""
    location = resolve_backbone(name)
    path = Path(location)
    return "/".join(path.resolve().parts[-2:]).lower() if path.is_dir() else location.lower()


def _metadata(name: str, asked: PairSettings) -> PlainReranker:
    """What sentence-transformers' files say of a cross-encoder, for the instruction that is asked for."""
    whole = read_metadata(name, "config_sentence_transformers.json")
    if whole.get("model_type") != "CrossEncoder":
        return PlainReranker(PairSettings())
    modules = _read_list(name, "modules.json")
    kinds = {str(module.get("type", "")).rsplit(".", 1)[-1]: str(module.get("path") or "") for module in modules}
    unknown = sorted(set(kinds) - {"Transformer", "LogitScore"})
    if unknown:
        raise IaaRetrievalError(
            f"{name} ends in a {', '.join(unknown)} layer, which a cross-encoder here does not have"
        )
    folder = kinds.get("Transformer", "")
    transformer = read_metadata(name, f"{folder}/sentence_bert_config.json" if folder else "sentence_bert_config.json")
    prompt = str((whole.get("prompts") or {}).get(str(whole.get("default_prompt_name"))) or "")
    length = transformer.get("max_seq_length")
    max_length = length if isinstance(length, int) else None
    if "LogitScore" not in kinds:
        return PlainReranker(PairSettings(), prompt, max_length)
    score = read_metadata(name, f"{kinds['LogitScore']}/config.json")
    pair = _answer_settings(name, score, transformer, asked.or_else(PairSettings(instruction=prompt)))
    return PlainReranker(pair, "", max_length)


def _is_embedder(name: str) -> bool:
    """Whether sentence-transformers' files make vectors of it, whatever its architecture."""
    modules = _read_list(name, "modules.json")
    return any(str(module.get("type", "")).rsplit(".", 1)[-1] == "Pooling" for module in modules)


def _answer_settings(
    name: str, score: dict[str, Any], transformer: dict[str, Any], asked: PairSettings
) -> PairSettings:
    """The words and the template of a language model with sentence-transformers' ``LogitScore``.

    Its chat template has the roles ``query`` and ``document``; a system's message is sentence-transformers' prompt, and
    the instruction here. Without one, the template says what it says by itself. What is asked for is not looked up.
    """
    ids = score.get("true_token_id"), score.get("false_token_id")
    if not all(isinstance(one, int) for one in ids):
        raise IaaRetrievalError(f"{name} scores by one token alone (LogitScore), which is not done here; only two are")
    tokenizer = load_text_tokenizer(name)
    first, second = (str(tokenizer.convert_ids_to_tokens(one)) for one in ids)
    if asked.template is not None:
        return PairSettings(VOCABULARY_HEAD, tokens=(first, second))
    texts = {"query": QUERY, "document": DOCUMENT}
    if asked.instruction:
        texts = {"system": INSTRUCTION, **texts}
    further = (transformer.get("processing_kwargs") or {}).get("chat_template") or {}
    text = ""
    for in_parts in (False, True):  # a template takes a text as it is, or as one of several parts of a message
        messages = [
            {"role": role, "content": [{"type": "text", "text": place}] if in_parts else place}
            for role, place in texts.items()
        ]
        try:
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, **further))
        except Exception as error:  # a template is a program, which may stumble over anything
            LOG.debug("the chat template of %s: %s", name, error)
        if all(text.count(place) == 1 for place in texts.values()):
            return PairSettings(VOCABULARY_HEAD, text, asked.instruction or None, (first, second))
    raise IaaRetrievalError(
        f"the chat template of {name} does not put the messages of {', '.join(texts)} into one text, once each; "
        "--pair-template says how instead"
    )


def _read_list(name: str, relative: str) -> list[dict[str, Any]]:
    path = metadata_file(name, relative)
    values = read_json(path) if path else []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise IaaRetrievalError(f"{path} is no list of modules; copy the model again")
    return values
