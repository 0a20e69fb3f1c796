"""Tiny random decoders on disk, with tokenizers that end texts, or begin them, as those of the real ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy_collection import CONTENT_WORDS

END = "<|endoftext|>"
_WORDS = "instruct query : find read this the a and by for of to need air book water people light boy land".split()
_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}
# What each family has beside the sizes.
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "llama": {},
    "mistral": {"sliding_window": 8},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 8},
    "gemma3_text": {"head_dim": 8, "sliding_window": 8},
}


def write_decoder(
    directory: Path, family: str = "qwen3", *, ends_texts: bool = True, length: int = 64, **values: Any
) -> Path:
    """A decoder with a word-level tokenizer.

    Args:
        ends_texts: whether the tokenizer puts ``<|endoftext|>`` after every text, as Qwen3-Embedding's does; else it
            puts ``<s>`` before it and knows no padding token, as Llama's does.
        length: the tokenizer's ``model_max_length``.
        values: of the configuration.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", END, *_WORDS, *CONTENT_WORDS]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    token, single, pair = "<s>", "<s> $A", "<s> $A <s>:1 $B:1"
    if ends_texts:
        token, single, pair = END, f"$A {END}", f"$A {END} $B:1 {END}:1"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, vocabulary[token])]
    )
    special = {"eos_token": END, "pad_token": END} if ends_texts else {"bos_token": "<s>", "eos_token": "</s>"}
    torch.manual_seed(20251128)
    config = AutoConfig.for_model(
        family, **_SIZE, vocab_size=len(vocabulary), max_position_embeddings=64, pad_token_id=None, **FAMILIES[family]
    )
    config.update(values)
    AutoModel.from_config(config).save_pretrained(directory)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", model_max_length=length, **special
    ).save_pretrained(directory)
    return directory


def describe(directory: Path, prompts: dict[str, str]) -> Path:
    """Have sentence-transformers write its files beside a decoder: last token, unit length, prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    parts = [modules.Transformer(str(directory)), modules.Pooling(32, "lasttoken"), modules.Normalize()]
    described = directory.with_name(f"{directory.name}-described")
    SentenceTransformer(modules=parts, prompts=prompts, device="cpu").save_pretrained(str(described))
    return described
