"""A checkpoint of ours in the place of a backbone: what was tuned once is tuned further.

Only a whole network can be a backbone: a fully tuned one, or an adapter merged into its own. What is recorded of it
is its directory and the hash of its weights, never the backbone that it came from: those weights are not what is
trained on.
"""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.backbone import hub_options, resolve_backbone
from iaa_retrieval.models.backbone_files import ADAPTER_CONFIG_FILE, read_adapter_config
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.checkpoint import (
    PASSAGE_DIRECTORY,
    QUERY_DIRECTORY,
    fingerprint_of,
    require_weights,
)
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.text_settings import TextSettings
from iaa_retrieval.tuning.methods import find_method, mergeable_names


def read_backbone_checkpoint(name: str) -> RetrieverConfig | None:
    """The settings of a checkpoint that can be a backbone; None for a plain encoder.

    Args:
        name: a directory, hub id or ``all-MiniLM-L6-v2``.

    Raises:
        IaaRetrievalError: it is an adapter, of ours or not, or not the weights that its ``retriever.json`` describes.
    """
    config = read_retriever_config(name)
    if holds_adapter(name):
        raise IaaRetrievalError(_foreign_adapter(name) if config is None else _own_adapter(name, config))
    if config is not None:
        require_weights(name, config, fingerprint_of)
    return config


def holds_adapter(name: str) -> bool:
    """Whether it is an adapter, or two, rather than a whole network."""
    if Path(name).is_dir():
        places = (".", QUERY_DIRECTORY, PASSAGE_DIRECTORY)
        return any((Path(name) / place / ADAPTER_CONFIG_FILE).is_file() for place in places)
    location = resolve_backbone(name)
    return read_adapter_config(location, **hub_options(location)) is not None


def new_bi_encoder(
    backbone: str,
    *,
    settings: TextSettings | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    precision: str = "auto",
    device: str = "auto",
) -> BiEncoder:
    """A bi-encoder on a bare backbone, to be tuned or to carry adapters.

    A bi-encoder checkpoint hands on its pooling, normalisation, prefixes and lengths; of a cross-encoder checkpoint
    only the encoder's weights are used. Anything else is as ``settings`` or :func:`.load_bi_encoder` say.

    Raises:
        UsageError, IaaRetrievalError: as :func:`.load_bi_encoder` and :func:`read_backbone_checkpoint`.
    """
    checkpoint = read_backbone_checkpoint(backbone)
    inherited: dict[str, Any] = {}
    if checkpoint is not None and checkpoint.kind == "bi-encoder":
        settings = TextSettings(pooling=checkpoint.pooling, normalize=checkpoint.normalize)
        inherited = inherited_settings(checkpoint)
    model = load_bi_encoder(
        backbone,
        settings=settings,
        pooling=pooling,
        normalize=normalize,
        precision=precision,
        device=device,
        as_backbone=True,
    )
    model.config = replace(model.config, **inherited)
    return model


def inherited_settings(checkpoint: RetrieverConfig) -> dict[str, Any]:
    """What a model that is tuned further keeps of the settings: how texts are put in and where they are cut."""
    names = [field.name for field in fields(RetrieverConfig) if field.name.startswith(("query_", "document_"))]
    return {name: getattr(checkpoint, name) for name in names}


def _own_adapter(name: str, config: RetrieverConfig) -> str:
    what = (
        f"{name} is an adapter ({config.method} {config.kind} on {config.backbone}), and a backbone is a whole network"
    )
    if config.separate_encoders:
        return (
            f"{what}; its two encoders cannot be merged into one: give its backbone, or a checkpoint with one encoder"
        )
    if not find_method(config.method).mergeable:
        return (
            f"{what}; method {config.method} cannot be merged into its backbone, so that nothing is tuned on it: "
            f"give its backbone, or a checkpoint of a method that merges ({', '.join(mergeable_names())})"
        )
    command = f"python -m iaa_retrieval.export --checkpoint {shlex.quote(name)} --format merged --output MERGED"
    return f"{what}; merge it first: {command}, then give MERGED as the backbone"


def _foreign_adapter(name: str) -> str:
    location = resolve_backbone(name)
    values = read_adapter_config(location, **hub_options(location)) or {}
    base = values.get("base_model_name_or_path") or "a model that it does not name"
    return (
        f"{name} is a PEFT adapter ({values.get('peft_type', 'two adapters')} on {base}), and a backbone is a whole "
        "network; merge it with PEFT's merge_and_unload and save_pretrained, or give the model that it is on"
    )
