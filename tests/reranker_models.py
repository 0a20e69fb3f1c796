"""Tiny random decoders and T5, with small tokenizers of the kinds that such models have, saved to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import PreTrainedTokenizerFast

END, START_TURN, END_TURN, BEGIN = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>"
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 0,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3", {"tie_word_embeddings": True}),
    "llama": ("Llama", {"tie_word_embeddings": False}),
    # Gemma 3 has no soft cap by default, and Gemma 2 has: what a configuration says counts.
    "gemma3_text": ("Gemma3", {"sliding_window": 64, "final_logit_softcapping": 0.7}),
}


def decoder_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE: Qwen's without a first token, Llama's without a pad token."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=[END, START_TURN, END_TURN, BEGIN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["yes no yes no the water of the world is relevant Query Document"] * 20, trainer)
    if family != "qwen3":
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", pair=f"{BEGIN} $A $B", special_tokens=[(BEGIN, 3)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=None if family == "llama" else END,
        bos_token=None if family == "qwen3" else BEGIN,
        model_max_length=512,
        padding_side="right",
    )


def write_decoder(directory: Path, family: str, kind: str = "ForCausalLM", **changes: Any) -> Path:
    """A random model ``Qwen3ForCausalLM`` (and so on) with its tokenizer.

    Args:
        kind: the end of the class's name: ``Model``, ``ForCausalLM`` or ``ForSequenceClassification``.
        changes: to its configuration.
    """
    name, own = FAMILIES[family]
    tokenizer = decoder_tokenizer(family)
    config_name = "Gemma3TextConfig" if name == "Gemma3" else f"{name}Config"
    text = {"Model": "Text", "ForSequenceClassification": "Text"}.get(kind, "") if name == "Gemma3" else ""
    values = {**_SIZES, "vocab_size": len(tokenizer), **own, **changes}
    config = getattr(transformers, config_name)(**values)
    torch.manual_seed(20240229)
    model = getattr(transformers, f"{name}{text}{kind}")(config)
    with torch.no_grad():  # far from the small values that a fresh model starts with, so that scores differ
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def write_t5(directory: Path) -> Path:
    """A random ``T5ForConditionalGeneration`` with a tokenizer of pieces that has ``▁true`` and ``▁false``."""
    words = "Query: Document: Relevant: true false the water of world boy read a good book by land light".split()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in words)]
    tokenizer = Tokenizer(tokenizer_models.Unigram([*pieces, ("▁", -4.0)], unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    config = transformers.T5Config(
        vocab_size=len(fast),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(20240229)
    transformers.T5ForConditionalGeneration(config).save_pretrained(directory)
    fast.save_pretrained(directory)
    return directory
