"""Committing a trained adapter: small, and without anything of the machine that made it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_directory, read_json, write_json
from iaa_retrieval.models.retriever_config import read_retriever_config

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
BYTES_PER_WEIGHT = 2  # fp16


def store_checkpoint(trained: Path, target: Path) -> int:
    """Write the adapter of ``trained`` to ``target`` in fp16, without the backbone's tokenizer; its size in bytes.

    Half the size costs less than the fourth decimal of a score. A checkpoint that was there before is replaced.

    Raises:
        IaaRetrievalError: a fully tuned network, which is as large as the backbone.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from iaa_retrieval.models.backbone import public_name
    from iaa_retrieval.models.checkpoint import weights_fingerprint
    from iaa_retrieval.models.kinds import fingerprint_of
    from iaa_retrieval.training.model_card import model_card

    config = read_retriever_config(trained)
    if config is None or not (trained / ADAPTER).is_file():
        raise IaaRetrievalError(f"{trained} holds no {ADAPTER}; only adapters are small enough to commit")
    if Path(config.backbone).is_absolute():
        raise IaaRetrievalError(
            f"{trained} was tuned from the directory {config.backbone}; name a backbone others have"
        )
    with atomic_directory(target, overwrite=True) as directory:
        weights = load_file(trained / ADAPTER)
        save_file(
            {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()},
            directory / ADAPTER,
            metadata={"format": "pt"},
        )
        # PEFT notes the path that the backbone was loaded from; transformers, which knows no retriever.json, needs a
        # name that is there on other machines too.
        settings = read_json(trained / ADAPTER_CONFIG)
        write_json(directory / ADAPTER_CONFIG, {**settings, "base_model_name_or_path": public_name(config.backbone)})
        config = replace(config, fingerprint=fingerprint_of(config, weights_fingerprint(directory)))
        config.save(directory)
        (directory / "README.md").write_text(model_card(config), encoding="utf-8")
    return checkpoint_size(target)


def checkpoint_size(checkpoint: Path) -> int:
    """Bytes of all files of a committed checkpoint; 0 where there is none."""
    return sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
