"""A checkpoint of ours in the place of a backbone: what was tuned once is tuned further.

Only a whole network can be a backbone: a fully tuned one, or an adapter merged into its own. What is recorded of it
is its directory and the hash of its weights, never the backbone that it came from: those weights are not what is
trained on.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.backbone import hub_options, resolve_backbone
from iaa_retrieval.models.backbone_files import ADAPTER_CONFIG_FILE, read_adapter_config
from iaa_retrieval.models.checkpoint import PASSAGE_DIRECTORY, QUERY_DIRECTORY, require_weights
from iaa_retrieval.models.kinds import fingerprint_of
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.tuning.methods import find_method, mergeable_names


def read_backbone_checkpoint(name: str) -> RetrieverConfig | None:
    """The settings of a checkpoint that can be a backbone; None for a plain encoder.

    Args:
        name: a directory, hub id or ``all-MiniLM-L6-v2``.

    Raises:
        IaaRetrievalError: it is an adapter, of ours or not, or not the weights that its ``retriever.json`` describes.
    """
    config = read_retriever_config(name)
    if holds_adapter(name) or (config is not None and config.separate_encoders):
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
