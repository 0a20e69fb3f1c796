"""What a training run leaves: the checkpoint and all that describes it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from iaa_retrieval.files import atomic_directory, write_json
from iaa_retrieval.models.checkpoint import save_networks, save_query_side, save_tokenizer, weights_fingerprint
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.options import flat, names_of
from iaa_retrieval.training.data import TrainingData
from iaa_retrieval.training.model_card import model_card
from iaa_retrieval.training.options import ResolvedHyperparameters, TrainOptions
from iaa_retrieval.training.query_side_options import QUERIES

LOG = logging.getLogger("iaa_retrieval")


def training_record(
    options: TrainOptions, hyper: ResolvedHyperparameters, data: TrainingData, steps: int, precision: str
) -> dict[str, Any]:
    """What ``retriever.json`` and the model card say about the training."""
    asked, query_side = options.data, options.query_side
    unnamed = "in-batch"
    if query_side.index is not None and hyper.negatives_per_query:
        unnamed = f"what the index finds{', anew in each epoch' if query_side.refresh_negatives else ''}"
    return {
        "collection": Path(asked.collection).name if Path(asked.collection).is_dir() else asked.collection,
        "split": asked.split or "",
        "queries": len(data.positives),
        "loss": hyper.loss,
        "negatives": Path(asked.negatives_run).name if asked.negatives_run else unnamed,
        "negatives_per_query": hyper.negatives_per_query,
        "teacher": Path(asked.teacher).name if asked.teacher else None,
        "distillation": hyper.distillation,
        "distillation_weight": hyper.distillation_weight,
        "teacher_temperature": hyper.teacher_temperature,
        "batch_size": hyper.batch_size,
        "learning_rate": hyper.lr,
        "temperature": options.objective.temperature if "temperature" in names_of(TrainOptions, options.kind) else None,
        **_matryoshka(options.objective.matryoshka),
        "steps": steps,
        "seed": options.seed,
        **({} if query_side.index is None else {"tuned": QUERIES, "random_negatives": query_side.random_negatives}),
        **_start(options.tuning.start_from),
        **_if_asked(
            quantize=options.memory.quantize, optimizer=options.memory.optimizer, targets=options.tuning.targets
        ),
        "scaling": options.tuning.scaling,
        "activation": options.tuning.activation,
        "precision": precision,
        "torch_threads": torch.get_num_threads(),
    }


def _matryoshka(sizes: Sequence[int] | None) -> dict[str, list[int]]:
    """The sizes for which the vectors were trained besides their whole length; nothing where there are none."""
    return {} if sizes is None else {"matryoshka": sorted(sizes, reverse=True)}


def _start(checkpoint: str | None) -> dict[str, str]:
    """What a run started from; nothing for one that started from the backbone alone."""
    config = None if checkpoint is None else read_retriever_config(checkpoint)
    if checkpoint is None or config is None:
        return {}
    return {"start_from": Path(checkpoint).name, "start_from_fingerprint": config.fingerprint}


def _if_asked(**options: str | None) -> dict[str, str]:
    """Those that were given: a record of an earlier version is that of a run without them."""
    return {name: value for name, value in options.items() if value is not None}


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
        if config.documents is None:
            save_networks(model.networks, directory)
        else:
            start = options.tuning.start_from
            frozen = Path(start) if start and config.documents.adapter else None
            save_query_side(model.network, directory, frozen)
        save_tokenizer(model.tokenizer, directory)
        weights = weights_fingerprint(directory, documents_have_weights=config.documents_have_weights)
        config = replace(config, fingerprint=model.fingerprint_of(config, weights))
        config.save(directory)
        (directory / "README.md").write_text(model_card(config), encoding="utf-8")
        write_json(directory / "history.json", history)
        if tracked.is_dir():
            shutil.copytree(tracked, directory / "tensorboard")
        resolved = {**plain(options), **asdict(hyper)}
        if options.tuning.peft_config is None:
            resolved["method"] = options.tuning.method_name
        # Only what --config of this kind takes, so that the file starts the same run again.
        taken = {"kind", *names_of(TrainOptions, options.kind)} - {"resume", "overwrite"}
        resolved = {key: value for key, value in resolved.items() if key in taken}
        (directory / "train_config.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False), encoding="utf-8")


def plain(options: TrainOptions) -> dict[str, Any]:
    """The options as values that YAML holds."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat(options).items()}
