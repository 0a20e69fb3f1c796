"""A checkpoint with its backbone inside, which can be moved to another place or machine.

    DIRECTORY/
        retriever.json, adapter_config.json, adapter_model.safetensors, tokenizer   as in any checkpoint
        backbone/                       the backbone, a plain Hugging Face directory
        config.json                     the backbone's
        model.safetensors.index.json    says that the backbone's weights are in backbone/

transformers takes a directory with a ``config.json`` and an adapter for a whole model with an embedded adapter, and
reads the weights from there, not from ``base_model_name_or_path``, which it would look for in the current directory.
So ``AutoModel.from_pretrained(DIRECTORY)`` is the tuned model, wherever the directory is.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.exporting.base import CheckpointFormat
from iaa_retrieval.exporting.merged import plain_usage
from iaa_retrieval.exporting.readme import REGISTERS, auto_class, our_commands, python_block
from iaa_retrieval.files import read_json, write_json

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source
    from iaa_retrieval.models.retriever_config import RetrieverConfig

ADAPTER_CONFIG = "adapter_config.json"


class SelfContainedFormat(CheckpointFormat):
    """The checkpoint with its backbone; the tuned weights are copied byte by byte."""

    name = "self-contained"
    help = "the checkpoint with its backbone inside, to be moved to another place or machine"
    holds_separate_encoders = True

    def write(self, source: Source, directory: Path) -> bool:
        """Write it; a fully tuned network has no adapter and needs no backbone.

        Raises:
            UsageError: it is a plain encoder.
        """
        if source.config.is_untuned:
            raise UsageError(f"{source.name} is an untuned encoder, and self-contained already")
        return write_self_contained(source, directory)

    def usage(self, source: Source, name: str, *, merged: bool) -> str:
        from iaa_retrieval.models.checkpoint import BACKBONE_DIRECTORY
        from iaa_retrieval.tuning.methods import find_method

        if merged or not source.is_stock_network:
            return plain_usage(source, name)
        if source.config.documents is not None and not find_method(source.config.method).is_adapter:
            return our_commands(source, name)
        auto, separate = auto_class(source), source.config.separate_encoders
        options = "".join(f", {option}={value!r}" for option, value in source.model.network_options.items())
        adapters = [name if place == "." else f"{name}/{place}" for place in _places(source.config)]
        backbone = f'{auto}.from_pretrained("{name}/{BACKBONE_DIRECTORY}"{options})'
        code = REGISTERS + f"from peft import PeftModel\nfrom transformers import {auto}\n\n"
        code += "".join(f'model = PeftModel.from_pretrained({backbone}, "{adapter}")\n' for adapter in adapters)
        text = f"{our_commands(source, name)}\nWith PEFT:\n\n{python_block(code)}"
        if loads_with_peft_only(source) or separate:
            return text
        return (
            f"{text}\nWith transformers, adapter included, wherever the directory is:\n\n"
            + python_block(f'{REGISTERS}from transformers import {auto}\n\nmodel = {auto}.from_pretrained("{name}")\n')
            + "\n`AutoPeftModel` looks for the backbone in the current directory; use one of the two above instead.\n"
        )


def write_self_contained(source: Source, directory: Path) -> bool:
    """Write a tuned checkpoint with its backbone, and return whether there is no adapter in it."""
    from iaa_retrieval.models.checkpoint import BACKBONE_DIRECTORY, EMBEDDED_BACKBONE, FULL_FILE

    checkpoint = Path(source.name)
    source.save_tokenizer(directory)
    if (checkpoint / FULL_FILE).is_file():
        for name in (FULL_FILE, "config.json"):
            shutil.copyfile(checkpoint / name, directory / name)
        source.config.save(directory)
        return True
    for role in (roles := _places(source.config)):
        if (checkpoint / role / FULL_FILE).is_file():
            (directory / role).mkdir()
            for name in (FULL_FILE, "config.json"):
                shutil.copyfile(checkpoint / role / name, directory / role / name)
            continue
        _copy_adapter(checkpoint / role, directory / role, above="./" if role == "." else "../")
    backbone = _write_backbone(source, directory / BACKBONE_DIRECTORY)
    if roles == (".",) and source.is_stock_network and not loads_with_peft_only(source):
        _write_redirection(source, backbone, directory)
    replace(source.config, backbone=EMBEDDED_BACKBONE).save(directory)
    return False


def _places(config: RetrieverConfig) -> tuple[str, ...]:
    """Where in a checkpoint its tuned weights are."""
    from iaa_retrieval.models.checkpoint import PASSAGE_DIRECTORY, QUERY_DIRECTORY

    if not config.separate_encoders:
        return (".",)
    return (QUERY_DIRECTORY, PASSAGE_DIRECTORY) if config.documents_have_weights else (QUERY_DIRECTORY,)


def loads_with_peft_only(source: Source) -> bool:
    """Whether ``AutoModel.from_pretrained`` would load this adapter wrong, or not at all."""
    from iaa_retrieval.tuning.methods import find_method

    return find_method(source.config.method).loads_with_peft_model_only()


def _copy_adapter(checkpoint: Path, directory: Path, above: str) -> None:
    from iaa_retrieval.models.checkpoint import ADAPTER_FILE, BACKBONE_DIRECTORY

    directory.mkdir(exist_ok=True)
    shutil.copyfile(checkpoint / ADAPTER_FILE, directory / ADAPTER_FILE)
    config = read_json(checkpoint / ADAPTER_CONFIG)
    write_json(directory / ADAPTER_CONFIG, {**config, "base_model_name_or_path": f"{above}{BACKBONE_DIRECTORY}"})


def _write_backbone(source: Source, directory: Path) -> Any:
    """The backbone as the checkpoint's own loader found (and checked) it, without what PEFT put into it."""
    from transformers import AutoModel

    from iaa_retrieval.models.backbone import load_network
    from iaa_retrieval.models.checkpoint import backbone_location

    backbone = load_network(AutoModel, backbone_location(source.name, source.config))
    backbone.save_pretrained(directory)
    source.save_tokenizer(directory)
    return backbone


def _write_redirection(source: Source, backbone: Any, directory: Path) -> None:
    from safetensors import safe_open

    from iaa_retrieval.models.checkpoint import BACKBONE_DIRECTORY, FULL_FILE

    with safe_open(directory / BACKBONE_DIRECTORY / FULL_FILE, "pt") as weights:
        names = list(weights.keys())
    for option, value in source.model.network_options.items():
        setattr(backbone.config, option, value)
    backbone.config.save_pretrained(directory)
    size = sum(parameter.nbytes for parameter in backbone.parameters())
    write_json(
        directory / f"{FULL_FILE}.index.json",
        {
            "metadata": {"total_size": size},
            "weight_map": dict.fromkeys(names, f"{BACKBONE_DIRECTORY}/{FULL_FILE}"),
        },
    )
