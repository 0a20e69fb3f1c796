"""Read and write checkpoints: a PEFT adapter (or full weights), tokenizer, ``retriever.json``, model card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import sha256_of
from iaa_retrieval.models.backbone import fingerprint_weights, load_pretrained
from iaa_retrieval.models.retriever_config import RetrieverConfig

ADAPTER_FILE = "adapter_model.safetensors"
FULL_FILE = "model.safetensors"


def save_weights(model: nn.Module, directory: Path) -> None:
    """Write adapter files for a PEFT model, ``model.safetensors`` and ``config.json`` for a fully tuned one."""
    model.save_pretrained(directory)  # type: ignore[operator]
    # PEFT writes a card of its own; ours (see model_card) says more.
    (directory / "README.md").unlink(missing_ok=True)


def weights_fingerprint(directory: str | Path) -> str:
    """SHA-256 of the file that holds the tuned weights."""
    directory = Path(directory)
    for name in (ADAPTER_FILE, FULL_FILE):
        if (directory / name).is_file():
            return sha256_of(directory / name)
    raise IaaRetrievalError(
        f"{directory} holds neither {ADAPTER_FILE} nor {FULL_FILE}; it is not a complete checkpoint"
    )


def load_tuned_weights(auto_class: Any, path: str, config: RetrieverConfig, **options: Any) -> tuple[Any, str]:
    """Load a checkpoint's network in fp32 and return it with the hash of its tuned weights.

    Raises:
        IaaRetrievalError: the backbone found under the recorded name has other weights; both sides are named.
    """
    tuned = weights_fingerprint(path)
    if (Path(path) / FULL_FILE).is_file():
        return load_pretrained(auto_class, path, dtype=torch.float32, **options), tuned
    from peft import PeftModel

    base = load_pretrained(auto_class, config.backbone, dtype=torch.float32, **options)
    found = fingerprint_weights(base.base_model)
    if found != config.backbone_fingerprint:
        raise IaaRetrievalError(
            f"checkpoint {path} was trained on {config.backbone} with weights {config.backbone_fingerprint[:12]}, but "
            f"{config.backbone} here has weights {found[:12]}; use the backbone it was trained on"
        )
    return PeftModel.from_pretrained(base, path), tuned


def fingerprint_bi_encoder(config: RetrieverConfig, weights: str) -> str:
    """Hash of everything that makes two vectors comparable."""
    parts = (
        config.backbone_fingerprint,
        weights,
        config.pooling,
        str(config.normalize),
        config.tokenizer_fingerprint,
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def fingerprint_cross_encoder(config: RetrieverConfig, weights: str) -> str:
    """Hash of everything that a relevance score depends on, lengths apart."""
    parts = (config.backbone_fingerprint, weights, config.tokenizer_fingerprint)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of a fast tokenizer's vocabulary and rules; truncation and padding settings do not count."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()
