"""Checkpoints with other settings or methods than those of the tests of models."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from checkpoints import trained, write_collection, write_first_stage

from iaa_retrieval.models.checkpoint import weights_fingerprint
from iaa_retrieval.models.kinds import fingerprint_of
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever


def changed_copy(checkpoint: Path, to: Path, **settings: Any) -> Path:
    """A copy of a checkpoint with other settings."""
    return resaved(Path(shutil.copytree(checkpoint, to)), **settings)


def resaved(to: Path, **settings: Any) -> Path:
    """Give a checkpoint other settings, with which it is consistent."""
    config = read_retriever_config(to)
    assert config is not None
    config = replace(config, **settings)
    if config.kind == "bi-encoder":
        config = replace(config, fingerprint=fingerprint_of(config, weights_fingerprint(to)))
    config.save(to)
    return to


def with_settings(model: Any, **settings: Any) -> Any:
    """The same networks under other settings."""
    config = replace(model.config, **settings)
    network = model.encoder if config.kind == "bi-encoder" else model.classifier
    return type(model)(network, model.tokenizer, config, model.source)


def separate_checkpoint(backbone: Path, to: Path) -> tuple[Path, Any, Any]:
    """A checkpoint whose queries have one adapter and its passages another; with the two models that gave them."""
    queries, passages = trained("bi-encoder", "iaa-l", backbone), trained("bi-encoder", "mam", backbone)
    shutil.copytree(queries.path, to)
    for role, directory in (("query", queries.path), ("passage", passages.path)):
        (to / role).mkdir()
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(directory / file, to / role / file)
            (to / file).unlink(missing_ok=True)
    return resaved(to, separate_encoders=True), queries.model, passages.model


def train(checkpoint: Path, backbone: str, kind: str = "bi-encoder", **settings: Any) -> None:
    """Two steps of training."""
    cross = kind == "cross-encoder"
    train_retriever(
        TrainOptions.of(
            kind=kind,
            negatives=str(write_first_stage(checkpoint.parent / "run.trec")) if cross else None,
            collection=str(write_collection(checkpoint.parent / "collection")),
            output=str(checkpoint),
            backbone=backbone,
            max_steps=2,
            warmup=0.0,
            lr=1e-2,
            batch_size=2,
            precision="fp32",
            device="cpu",
            **settings,
        )
    )
