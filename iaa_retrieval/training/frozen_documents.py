"""The documents' side of a run that tunes queries alone: whose vectors the index holds, and that it fits the run."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.stored_vectors import StoredVectors
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.retriever_config import FrozenDocuments, RetrieverConfig, read_retriever_config
from iaa_retrieval.options import changed
from iaa_retrieval.training.option_groups import TuningOptions
from iaa_retrieval.training.options import TrainOptions

LOG = logging.getLogger("iaa_retrieval")


def with_settings_of_index(options: TrainOptions, index: StoredVectors) -> TrainOptions:
    """The options, pooling and normalising as the index's encoder does where they say nothing about it.

    Raises:
        UsageError: a class of stock Pyserini made the index, of which this package tunes none.
    """
    made_by = index.config
    if made_by is None:
        LOG.warning(
            "no retriever.json says which encoder made %s; whether it is that of the queries cannot be checked",
            index.source,
        )
        return options
    if made_by.encoder_class:
        raise UsageError(
            f"--index {index.source} was made by Pyserini's class {made_by.encoder_class}, whose queries --tune "
            "queries cannot tune; train vector-adapter needs their vectors alone"
        )
    text = options.text
    pooling = made_by.pooling if text.pooling is None else text.pooling
    normalize = made_by.normalize if text.normalize is None else text.normalize
    return changed(options, pooling=pooling, normalize=normalize)


def freeze_documents(index: StoredVectors, model: BiEncoder, tuning: TuningOptions) -> None:
    """Record in the model's settings that its documents are those of ``index``, encoded as they were there.

    Args:
        index: holds the documents' vectors.
        model: with a method on it, for its queries.
        tuning: what it was made from.

    Raises:
        UsageError: another encoder than the one that the run starts from made the index.
        IaaRetrievalError: its vectors have another length.
    """
    frozen = _frozen_encoder(model, tuning)
    made_by = index.config
    if made_by is not None and made_by.index_fingerprint != frozen.fingerprint:
        named = f"--start-from {tuning.start_from}" if tuning.start_from else f"--backbone {tuning.backbone}"
        raise UsageError(
            f"--index {index.source} was made by {_described(made_by)} (encoder {made_by.index_fingerprint[:12]}), and "
            f"{named} is encoder {frozen.fingerprint[:12]}, {_settings(model.config)}; queries are tuned from the "
            "encoder that made the index: give a whole network as --backbone, an adapter as --start-from"
        )
    if index.dimension != model.dimension:
        raise IaaRetrievalError(
            f"--index {index.source} holds vectors of {index.dimension} numbers, and {tuning.backbone} makes "
            f"{model.dimension}"
        )
    changes: dict[str, Any] = {}
    if made_by is not None:
        names = [field.name for field in fields(RetrieverConfig) if field.name.startswith("document_")]
        changes = {name: getattr(made_by, name) for name in names}
    model.config = replace(model.config, separate_encoders=True, documents=frozen, **changes)


def _frozen_encoder(model: BiEncoder, tuning: TuningOptions) -> FrozenDocuments:
    """The encoder that the run starts from, as it is before the first step."""
    if tuning.start_from is not None:
        start = BiEncoder.read_config(tuning.start_from)
        has_adapter = start.documents is None or start.documents.adapter
        return FrozenDocuments(Path(tuning.start_from).name, start.index_fingerprint, adapter=has_adapter)
    own = model.config
    checkpoint = read_retriever_config(tuning.backbone)
    if (
        checkpoint is not None
        and BiEncoder.is_kind_of(checkpoint)
        and (checkpoint.pooling, checkpoint.normalize) == (own.pooling, own.normalize)
    ):
        return FrozenDocuments(Path(tuning.backbone).name, checkpoint.fingerprint)
    return FrozenDocuments(own.backbone, own.fingerprint)


def _described(config: RetrieverConfig) -> str:
    untuned = config.is_untuned
    name = config.backbone if untuned else f"a checkpoint of method {config.method} on {config.backbone}"
    return f"{name}, {_settings(config)}"


def _settings(config: RetrieverConfig) -> str:
    return f"{config.pooling} pooling{', l2 norm' if config.normalize else ''}"
