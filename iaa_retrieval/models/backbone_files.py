"""What the files of a backbone say before anything loads it, and why it cannot be loaded, in one line."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json

LOG = logging.getLogger("iaa_retrieval")

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_LONGEST_REASON = 300


def require_model_files(name: str, location: str) -> None:
    """Refuse a local directory whose files cannot be a model; a hub id passes.

    Args:
        name: what the user calls it.
        location: the directory that it is.

    Raises:
        IaaRetrievalError: a missing or malformed ``config.json``, or weight files that are not there.
    """
    directory = Path(location)
    if not directory.is_dir() or (directory / ADAPTER_CONFIG_FILE).is_file():
        return
    if not (directory / CONFIG_FILE).is_file():
        inside = sorted(str(path.parent) for path in directory.glob(f"*/{CONFIG_FILE}") if _weights_in(path.parent))
        advice = f"give {inside[0]}, which has one" if inside else "give a directory that save_pretrained wrote"
        raise IaaRetrievalError(f"backbone {name} has no {CONFIG_FILE}; {advice}")
    values = read_json(directory / CONFIG_FILE)
    if not isinstance(values, dict):
        raise IaaRetrievalError(f"{directory / CONFIG_FILE} must hold a JSON object; copy the backbone again")
    if "model_type" not in values:
        raise IaaRetrievalError(
            f'{directory / CONFIG_FILE} has no "model_type", so that the architecture of backbone {name} is unknown; '
            'add it, such as "model_type": "bert"'
        )
    present = _weights_in(directory)
    if not present:
        raise IaaRetrievalError(f"backbone {name} has no weights ({WEIGHT_FILES[0]}); copy them into it")
    if present[0].endswith(".index.json"):
        _require_shards(name, directory / present[0])


def read_adapter_config(location: str, **hub: Any) -> dict[str, Any] | None:
    """The configuration of PEFT's adapter in a directory or hub id; None where there is none.

    Raises:
        IaaRetrievalError: it is malformed.
    """
    here = Path(location) / ADAPTER_CONFIG_FILE
    file = here if here.is_file() else file_on_hub(location, ADAPTER_CONFIG_FILE, **hub)
    if file is None:
        return None
    values = read_json(file)
    if not isinstance(values, dict) or not isinstance(values.get("peft_type"), str):
        raise IaaRetrievalError(f"{file} is no configuration of a PEFT adapter (it has no peft_type); copy it again")
    return values


def require_readable_adapter(name: str, values: Mapping[str, Any]) -> None:
    """Refuse an adapter that transformers would read without a part of its weights, as it does DoRA."""
    from iaa_retrieval.tuning.methods import peft_method

    method = peft_method(values)
    if method.loads_with_peft_model_only():
        raise IaaRetrievalError(
            f"{name} is a PEFT adapter ({method.title}) that transformers reads wrongly or not at all; "
            "merge it with PEFT's merge_and_unload and save_pretrained, and give that directory"
        )


def file_on_hub(location: str, file: str, **hub: Any) -> Path | None:
    """A small file of a hub id, from the cache or the hub; None for a directory, and where the hub id has none.

    Args:
        hub: what ``from_pretrained`` needs besides the location.
    """
    if Path(location).is_dir():
        return None
    from transformers.utils import cached_file

    try:
        found = cached_file(
            location,
            file,
            **hub,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except (OSError, ValueError):  # unreachable, or no hub id at all: loading it says so
        return None
    return Path(found) if found else None


def require_tokenizer_files(location: str) -> None:
    """Refuse a local directory with a tokenizer file that is not JSON; a hub id passes."""
    for file in TOKENIZER_FILES:
        if (Path(location) / file).is_file():
            read_json(Path(location) / file)


def require_float_weights(name: str, config: Any) -> None:
    """Refuse a quantised model, of which neither fingerprint nor training would mean anything.

    Args:
        config: its transformers configuration.
    """
    settings = getattr(config, "quantization_config", None)
    if settings is not None:
        method = settings.get("quant_method") if isinstance(settings, Mapping) else None
        raise IaaRetrievalError(
            f"backbone {name} is quantised ({method or 'quantization_config in its config.json'}), and only weights in "
            "floating point are taken; give the model that it was quantised from"
        )


def names_own_code(config: Any) -> bool:
    """Whether a transformers configuration names code that comes with the model, which is never run here."""
    return bool(getattr(config, "auto_map", None))


@functools.cache
def warn_of_own_code(name: str, used_class: str) -> None:
    """Say once that a model was loaded as one of transformers' own classes although it brings others."""
    LOG.warning(
        "backbone %s brings code of its own (auto_map in its config.json), which is never run: it is loaded as "
        "transformers' own %s, and its vectors may not be those that its authors mean",
        name,
        used_class,
    )


def reason_of(error: Exception) -> str:
    """What a library's error says, on one line and without its advice about arguments that no command has."""
    text = " ".join(str(error).split()).rstrip(".")
    if "trust_remote_code" in text or "contains custom code" in text:
        return "it needs code of its own (auto_map in its configuration), which is never run here"
    if "does not recognize this architecture" in text:
        return (
            f"the installed transformers ({importlib.metadata.version('transformers')}) does not know its architecture "
            "(model_type in its config.json)"
        )
    if not text or isinstance(error, (KeyError, AttributeError, IndexError, TypeError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."


def _weights_in(directory: Path) -> list[str]:
    return [file for file in WEIGHT_FILES if (directory / file).is_file()]


def _require_shards(name: str, index: Path) -> None:
    values = read_json(index)
    shards = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(shards, dict):
        raise IaaRetrievalError(f"{index} has no weight_map; copy the backbone again")
    missing = sorted(shard for shard in set(shards.values()) if not (index.parent / str(shard)).is_file())
    if missing:
        raise IaaRetrievalError(
            f"backbone {name} lacks {len(missing)} of the weight files that {index.name} names, such as {missing[0]}; "
            "copy them into it"
        )
