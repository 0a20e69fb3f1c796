"""What a training run leaves: the checkpoint and all that describes it."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from iaa_retrieval.files import atomic_directory, write_json
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.checkpoint import save_networks, save_tokenizer, weights_fingerprint
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.training.data import TrainingData
from iaa_retrieval.training.model_card import model_card
from iaa_retrieval.training.options import BI_ENCODER_ONLY, CROSS_ENCODER_ONLY, ResolvedHyperparameters, TrainOptions

LOG = logging.getLogger("iaa_retrieval")

# The options that --config of a kind does not take.
_OTHER_KINDS_OPTIONS = {BiEncoder.kind: CROSS_ENCODER_ONLY, CrossEncoder.kind: BI_ENCODER_ONLY}


def training_record(
    options: TrainOptions, hyper: ResolvedHyperparameters, data: TrainingData, steps: int, precision: str
) -> dict[str, Any]:
    """What ``retriever.json`` and the model card say about the training."""
    of_kinds: dict[str, dict[str, Any]] = {
        BiEncoder.kind: {"loss": "contrastive", "temperature": options.temperature},
        CrossEncoder.kind: {"loss": options.loss, "temperature": None},
    }
    of_kind = of_kinds[options.kind]
    return {
        "collection": Path(options.collection).name if Path(options.collection).is_dir() else options.collection,
        "split": options.split or "",
        "queries": len(data.positives),
        "loss": of_kind["loss"],
        "negatives": Path(options.negatives_run).name if options.negatives_run else "in-batch",
        "negatives_per_query": hyper.negatives_per_query,
        "teacher": Path(options.teacher).name if options.teacher else None,
        "distillation": hyper.distillation,
        "distillation_weight": hyper.distillation_weight,
        "teacher_temperature": hyper.teacher_temperature,
        "batch_size": hyper.batch_size,
        "learning_rate": hyper.lr,
        "temperature": of_kind["temperature"],
        "steps": steps,
        "seed": options.seed,
        "scaling": options.scaling,
        "activation": options.activation,
        "precision": precision,
        "torch_threads": torch.get_num_threads(),
    }


def write_checkpoint(
    output: Path,
    model: Retriever,
    config: RetrieverConfig,
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    history: list[dict[str, Any]],
    tracked: Path,
) -> None:
    """Write weights, tokenizer, ``retriever.json``, model card, loss history and configuration to ``output``.

    What TensorBoard's events in ``tracked`` hold (if there are any) goes to ``OUTPUT/tensorboard``.
    """
    if Path(config.backbone).is_dir():
        LOG.info(
            "the backbone is a local directory (%s); the checkpoint needs it at the same place",
            config.backbone,
        )
    with atomic_directory(output, overwrite=options.overwrite) as directory:
        save_networks(model.networks, directory)
        save_tokenizer(model.tokenizer, directory)
        config = replace(config, fingerprint=model.fingerprint_of(config, weights_fingerprint(directory)))
        config.save(directory)
        (directory / "README.md").write_text(model_card(config), encoding="utf-8")
        write_json(directory / "history.json", history)
        if tracked.is_dir():
            shutil.copytree(tracked, directory / "tensorboard")
        resolved = {**plain(options), **asdict(hyper)}
        if options.peft_config is None:
            resolved["method"] = options.method_name
        # Only what --config of this kind takes, so that the file starts the same run again.
        unused = {"resume", "overwrite", *_OTHER_KINDS_OPTIONS[options.kind]}
        resolved = {key: value for key, value in resolved.items() if key not in unused}
        (directory / "train_config.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False), encoding="utf-8")


def plain(options: TrainOptions) -> dict[str, Any]:
    """The options as values that YAML holds."""
    values = asdict(options)
    values |= values.pop("dimensions") or {}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
