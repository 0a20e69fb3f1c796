"""The fingerprint of a backbone's fp32 weights where memory holds them in another form."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from iaa_retrieval.files import read_json
from iaa_retrieval.models.backbone import fingerprint_weights, hub_options, load_network, resolve_backbone
from iaa_retrieval.models.backbone_files import file_on_hub
from iaa_retrieval.models.loading import Loading

LOG = logging.getLogger("iaa_retrieval")

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def fingerprint_loaded(network: Any, name: str, loading: Loading) -> str:
    """``fingerprint_weights`` of the encoder as it is in fp32, without an fp32 copy of it in memory.

    Args:
        network: the encoder, or one with a task head, loaded from ``name`` as ``loading`` says.
        name: a directory, hub id or ``all-MiniLM-L6-v2``.
        loading: weights in fp32 are taken from memory; of others the files are read, one tensor at a time.
    """
    from transformers import AutoModel

    encoder = network.base_model
    if loading.precision == "fp32" and loading.quantize is None:
        return fingerprint_weights(encoder)
    found = fingerprint_files(encoder, name)
    if found is not None:
        return found
    LOG.info("the weights of %s are read once more, in fp32, for their fingerprint", name)
    return fingerprint_weights(load_network(AutoModel, name, expects_more=True))


def fingerprint_files(encoder: Any, name: str) -> str | None:
    """The same from safetensors files; None where these are not there or call their tensors otherwise."""
    with torch.device("meta"):  # quantised modules have other tensors; this has names and shapes, and no memory
        wanted = type(encoder)(encoder.config).state_dict()
    with ExitStack() as opened:
        files = [opened.enter_context(safe_open(path, "pt")) for path in _weight_files(name)]
        holder = {key: file for file in files for key in file.keys()}  # noqa: SIM118 (no mapping)
        same = _names_of_same_tensor(encoder)
        digest = hashlib.sha256()
        for wanted_name, shape_of in sorted(wanted.items()):
            if "pooler." in wanted_name or not shape_of.is_floating_point():
                continue
            names = (wanted_name, *same.get(wanted_name, ()))
            keys = [key for one in names for key in (one, f"{encoder.base_model_prefix}.{one}") if key in holder]
            if not keys:
                return None
            tensor = holder[keys[0]].get_tensor(keys[0])
            if tensor.shape != shape_of.shape:
                return None
            digest.update(f"{wanted_name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.to(torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


def _names_of_same_tensor(encoder: Any) -> dict[str, list[str]]:
    """Of tied weights, such as T5's embeddings, of which files hold one: the other names of each."""
    by_tensor: dict[int, list[str]] = {}
    for name, parameter in encoder.named_parameters(remove_duplicate=False):
        by_tensor.setdefault(id(parameter), []).append(name)
    return {name: names for names in by_tensor.values() if len(names) > 1 for name in names}


def _weight_files(name: str) -> Iterator[Path]:
    location = resolve_backbone(name)

    def find(file: str) -> Path | None:
        here = Path(location) / file
        return here if here.is_file() else file_on_hub(location, file, **hub_options(location))

    whole = find(_WHOLE)
    if whole is not None:
        yield whole
        return
    index = find(_INDEX)
    if index is not None:
        for file in sorted(set(read_json(index)["weight_map"].values())):
            shard = find(file)
            if shard is not None:
                yield shard
