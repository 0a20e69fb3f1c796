"""Checkpoints whose trained parameters were moved at random, without the training, for tests of what comes after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from iaa_retrieval.models.checkpoint import save_networks, save_tokenizer, weights_fingerprint
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.tuned_model import new_tuned_model
from iaa_retrieval.tuning.methods import get_method

SIZES = {"r": 4, "ar": 3, "prefix_length": 5}


def write_moved(kind: str, method: str, backbone: Path, directory: Path, **options: Any) -> Any:
    """Fill ``directory`` with a checkpoint, and return the model that it was written from, in evaluation mode."""
    sizes = {name: SIZES[name] for name in get_method(method).dimension_names}
    asked = TrainOptions.of(
        kind=kind,
        collection="nowhere",
        output="nowhere",
        backbone=str(backbone),
        method=method,
        query_max_length=32,
        document_max_length=64,
        **sizes,
        **options,
    )
    model, dimensions, counts = new_tuned_model(TRAINING_KINDS[kind], asked.tuning, asked.text, "cpu", "fp32")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    directory.mkdir(exist_ok=True)
    save_networks(model.networks, directory)
    save_tokenizer(model.tokenizer, directory)
    config = replace(model.config, method=method, dimensions=dimensions, trainable_parameters=counts)
    model.config = replace(config, fingerprint=model.fingerprint_of(config, weights_fingerprint(directory)))
    model.config.save(directory)
    return model.eval()
