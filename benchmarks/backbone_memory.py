"""``python -m benchmarks.backbone_memory``: what training is estimated to need on backbones of real sizes.

They are made at random, so that nothing is fetched, and the estimate is the one that training prints
(``training.memory_estimate``). The table goes to standard output, for docs/backbones.md.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoModel, AutoTokenizer

from iaa_retrieval.models.backbone import resolve_backbone
from iaa_retrieval.models.sizes import parameter_count
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.memory_estimate import MemoryEstimator
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.tuned_model import new_tuned_model

METHODS = ("iaa-l", "lora", "full")
TEXTS, QUERY_TOKENS, DOCUMENT_TOKENS, CACHED = 32, 32, 256, 8


class Sized(NamedTuple):
    """A well-known model, transformers' name of its family, and the sizes in which it differs from their defaults."""

    name: str
    family: str
    sizes: dict[str, Any]


MODELS = [
    Sized("BERT base", "Bert", {}),
    Sized("multilingual E5 base", "XLMRoberta", {"vocab_size": 250002, "max_position_embeddings": 514}),
    Sized(
        "ALBERT base v2, with BERT's vocabulary",
        "Albert",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 30522},
    ),
    Sized(
        "DeBERTa v3 base",
        "DebertaV2",
        {
            "vocab_size": 128100,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    Sized("ModernBERT base", "ModernBert", {}),
    Sized("EuroBERT 210M", "EuroBert", {}),
    Sized("GTR base (T5's encoder)", "T5", {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}),
    Sized(
        "Qwen2.5 0.5B",
        "Qwen2",
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
        },
    ),
    Sized(
        "Qwen3-Embedding 0.6B",
        "Qwen3",
        {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151669,
        },
    ),
    Sized(
        "Llama 3.2 1B",
        "Llama",
        {
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
    ),
    Sized(
        "EmbeddingGemma 300M",
        "Gemma3Text",
        {
            "hidden_size": 768,
            "intermediate_size": 1152,
            "num_hidden_layers": 24,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "vocab_size": 262144,
            "use_bidirectional_attention": True,
        },
    ),
]


def main() -> None:
    wanted = set(sys.argv[1:])
    cached = [f"`{method}`, `--grad-cache {CACHED}`" for method in METHODS]
    print("| sizes of | parameters |", *(f"`{method}` |" for method in METHODS), *(f"{name} |" for name in cached))
    print("|---|---:|" + "---:|" * (2 * len(METHODS)))
    for model in MODELS:
        if not wanted or model.family in wanted:
            with tempfile.TemporaryDirectory() as folder:
                parameters = save_random(model, Path(folder))
                found = [estimates(Path(folder), method) for method in METHODS]
                cells = [f"{pair[part] / 2**30:.1f} |" for part in (0, 1) for pair in found]
                print(f"| {model.name} | {parameters:,} |", *cells, flush=True)


def save_random(model: Sized, folder: Path) -> int:
    """A network of these sizes with random weights, in bf16, and MiniLM's tokenizer; returns its parameters' number."""
    config = getattr(transformers, f"{model.family}Config")(**model.sizes)
    build = transformers.T5EncoderModel if model.family == "T5" else AutoModel.from_config
    network = build(config)
    network.to(torch.bfloat16).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(resolve_backbone("all-MiniLM-L6-v2"))
    # Rows for its tokens are all that the small tokenizer needs.
    tokenizer.save_pretrained(folder)
    return parameter_count(network)


def estimates(folder: Path, method: str) -> tuple[int, int]:
    """Bytes that training needs, all texts at once and with gradient caching."""
    budget = {} if method == "full" else {"budget": "0.5%"}
    options = TrainOptions.of(
        kind="bi-encoder", collection="-", output="-", backbone=str(folder), method=method, device="cpu",
        precision="fp32", pooling="mean", **budget,
    )  # fmt: skip
    tuned = new_tuned_model(TRAINING_KINDS["bi-encoder"], options.tuning, options.text, "cpu", "fp32", options.memory)
    masks = [torch.ones((TEXTS, tokens), dtype=torch.long) for tokens in (QUERY_TOKENS, DOCUMENT_TOKENS)]
    estimator = MemoryEstimator(tuned.model, masks, "fp32")
    found = estimator.estimate(None).total, estimator.estimate(CACHED).total
    del estimator, tuned
    gc.collect()
    return found


if __name__ == "__main__":
    main()
