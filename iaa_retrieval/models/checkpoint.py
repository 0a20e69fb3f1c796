"""Read and write checkpoints: a PEFT adapter (or full weights), tokenizer, ``retriever.json``, model card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import sha256_of
from iaa_retrieval.models.backbone import fingerprint_weights, load_network, load_tokenizer
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


def require_weights(path: str, config: RetrieverConfig, fingerprint_of: Callable[[RetrieverConfig, str], str]) -> None:
    """Refuse a checkpoint whose file of tuned weights is not the one that ``retriever.json`` was written with."""
    if fingerprint_of(config, weights_fingerprint(path)) != config.fingerprint:
        raise IaaRetrievalError(
            f"{path}: its weights are not those that retriever.json describes; train or copy it again"
        )


def load_tuned_tokenizer(path: str, config: RetrieverConfig) -> Any:
    """A checkpoint's tokenizer.

    Raises:
        IaaRetrievalError: it is not the one the checkpoint was trained with.
    """
    tokenizer = load_tokenizer(path)
    if tokenizer_fingerprint(tokenizer) != config.tokenizer_fingerprint:
        raise IaaRetrievalError(f"{path}: its tokenizer is not the one it was trained with; copy the checkpoint again")
    return tokenizer


def load_tuned_weights(auto_class: Any, path: str, config: RetrieverConfig, **options: Any) -> Any:
    """Load a checkpoint's network in fp32.

    Raises:
        IaaRetrievalError: the backbone found under the recorded name has other weights; both sides are named.
    """
    if (Path(path) / FULL_FILE).is_file():
        return load_network(auto_class, path, **options)
    from peft import PeftModel

    base = load_network(auto_class, config.backbone, **options)
    found = fingerprint_weights(base.base_model)
    if found != config.backbone_fingerprint:
        raise IaaRetrievalError(
            f"checkpoint {path} was trained on {config.backbone} with weights {config.backbone_fingerprint[:12]}, but "
            f"{config.backbone} here has weights {found[:12]}; use the backbone it was trained on"
        )
    return PeftModel.from_pretrained(base, path)


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
