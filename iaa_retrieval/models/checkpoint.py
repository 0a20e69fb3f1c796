"""Read and write checkpoints: a PEFT adapter (or full weights), tokenizer, ``retriever.json``, model card."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import sha256_of
from iaa_retrieval.models.backbone import fingerprint_weights, hub_options, load_network, resolve_backbone
from iaa_retrieval.models.backbone_files import ADAPTER_CONFIG_FILE
from iaa_retrieval.models.retriever_config import FILE_NAME, RetrieverConfig
from iaa_retrieval.models.shared_backbone import SharedBackbone, share_weights, weights_untouched
from iaa_retrieval.models.text_settings import load_text_tokenizer
from iaa_retrieval.models.tokenizer_setup import append_token

ADAPTER_FILE = "adapter_model.safetensors"
FULL_FILE = "model.safetensors"
# With separate encoders, each adapter is in a directory of its own inside the checkpoint.
QUERY_DIRECTORY, PASSAGE_DIRECTORY = "query", "passage"
# What ``iaa_retrieval.export`` puts inside a self-contained checkpoint, and how retriever.json names it.
BACKBONE_DIRECTORY = "backbone"
EMBEDDED_BACKBONE = f"./{BACKBONE_DIRECTORY}"


def save_networks(networks: Sequence[nn.Module], directory: Path) -> None:
    """Write a checkpoint's only network, or its query encoder and its passage encoder, each into its own directory."""
    places = (".",) if len(networks) == 1 else (QUERY_DIRECTORY, PASSAGE_DIRECTORY)
    for network, place in zip(networks, places, strict=True):
        save_weights(network, directory / place)


def save_query_side(network: nn.Module, directory: Path, source: Path | None) -> None:
    """Write a tuned query encoder beside a frozen document encoder.

    Args:
        network: the tuned one.
        directory: of the checkpoint.
        source: the checkpoint whose adapter documents are encoded with; None where it is the bare backbone.
    """
    save_weights(network, directory / QUERY_DIRECTORY)
    if source is not None:
        own = source / PASSAGE_DIRECTORY
        frozen = own if own.is_dir() else source
        (directory / PASSAGE_DIRECTORY).mkdir()
        for name in (ADAPTER_FILE, ADAPTER_CONFIG_FILE):
            shutil.copyfile(frozen / name, directory / PASSAGE_DIRECTORY / name)


def save_weights(model: nn.Module, directory: Path) -> None:
    """Write adapter files for a PEFT model, ``model.safetensors`` and ``config.json`` for a fully tuned one."""
    model.save_pretrained(directory)  # type: ignore[operator]
    # PEFT writes a card of its own; ours (see model_card) says more.
    (directory / "README.md").unlink(missing_ok=True)


def weights_fingerprint(directory: str | Path, *, documents_have_weights: bool = True) -> str:
    """SHA-256 of the file that holds the tuned weights; with separate encoders, of the hashes of both files.

    Where documents are encoded by the bare backbone, that of the queries' file.
    """
    directory = Path(directory)
    for name in (ADAPTER_FILE, FULL_FILE):
        if (directory / name).is_file():
            return sha256_of(directory / name)
    both = [directory / role / ADAPTER_FILE for role in (QUERY_DIRECTORY, PASSAGE_DIRECTORY)]
    if all(path.is_file() for path in both):
        return hashlib.sha256("\n".join(map(sha256_of, both)).encode()).hexdigest()
    if not documents_have_weights:
        for name in (ADAPTER_FILE, FULL_FILE):
            if (directory / QUERY_DIRECTORY / name).is_file():
                return sha256_of(directory / QUERY_DIRECTORY / name)
    if (directory / "model.onnx").is_file():
        raise IaaRetrievalError(
            f"{directory} is an ONNX export, which only onnxruntime runs; give the checkpoint that it was made from"
        )
    raise IaaRetrievalError(
        f"{directory} holds neither {ADAPTER_FILE} nor {FULL_FILE}, nor both of {QUERY_DIRECTORY}/ and "
        f"{PASSAGE_DIRECTORY}/ with an adapter; it is not a complete checkpoint"
    )


def require_weights(path: str, config: RetrieverConfig, fingerprint_of: Callable[[RetrieverConfig, str], str]) -> None:
    """Refuse a checkpoint whose file of tuned weights is not the one that ``retriever.json`` was written with."""
    weights = weights_fingerprint(path, documents_have_weights=config.documents_have_weights)
    if fingerprint_of(config, weights) != config.fingerprint:
        raise IaaRetrievalError(
            f"{path}: its weights are not those that retriever.json describes; train or copy it again"
        )


def load_tuned_tokenizer(path: str, config: RetrieverConfig) -> Any:
    """A checkpoint's tokenizer: its own, or where it has none (to be small) its backbone's.

    Raises:
        IaaRetrievalError: it is not the one the checkpoint was trained with.
    """
    has_own = (Path(path) / "tokenizer.json").is_file()
    tokenizer = load_text_tokenizer(path if has_own else backbone_location(path, config))
    if config.append_token:
        append_token(tokenizer, config.append_token, path)
    if tokenizer_fingerprint(tokenizer) != config.tokenizer_fingerprint:
        raise IaaRetrievalError(f"{path}: its tokenizer is not the one it was trained with; copy the checkpoint again")
    return tokenizer


Finish = Callable[[Any, Path | None], Any]
"""What is done to a loaded network; told the file of its weights where that is whole, None where an adapter follows."""


def load_networks(
    auto_class: Any,
    path: str,
    config: RetrieverConfig,
    backbone: SharedBackbone | None = None,
    *,
    finish: Finish | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    """Load a checkpoint's network, or its query encoder and its passage encoder, in fp32 or on a backbone in memory.

    Args:
        auto_class: ``AutoModel`` or ``AutoModelForSequenceClassification``.
        path: the checkpoint.
        config: its settings.
        backbone: what to put the adapters on.
        finish: what is done to the network before an adapter is put on it.
        options: for ``from_pretrained``.

    Raises:
        IaaRetrievalError: the backbone found under the recorded name, or ``backbone``, has other weights than the
            checkpoint was trained on (both sides are named); a fully tuned checkpoint, which has no ``backbone``.
    """
    if config.separate_encoders:
        queries = _bare_network(auto_class, path, config, backbone, **options)
        passages = share_weights(queries)
        if (Path(path) / QUERY_DIRECTORY / FULL_FILE).is_file():
            _refuse_whole(path, backbone)
            return load_network(auto_class, str(Path(path) / QUERY_DIRECTORY), **options), passages
        tuned = _put_adapter(queries, Path(path) / QUERY_DIRECTORY, shared=True)
        if not config.documents_have_weights:
            return tuned, passages
        return tuned, _put_adapter(passages, Path(path) / PASSAGE_DIRECTORY, shared=True)
    if (Path(path) / FULL_FILE).is_file():
        _refuse_whole(path, backbone)
        whole = load_network(auto_class, path, expects_more=finish is not None, **options)
        return (whole if finish is None else finish(whole, Path(path) / FULL_FILE),)
    network = _bare_network(auto_class, path, config, backbone, **options)
    network = network if finish is None else finish(network, None)
    return (_put_adapter(network, Path(path), shared=backbone is not None),)


def _refuse_whole(path: str, backbone: SharedBackbone | None) -> None:
    if backbone is not None:
        raise IaaRetrievalError(
            f"checkpoint {path} is a whole tuned network, not an adapter on {backbone.name}; load it on its own"
        )


def backbone_location(path: str, config: RetrieverConfig) -> str:
    """Where a checkpoint's backbone is: inside the checkpoint when that embeds it, else under its recorded name.

    Raises:
        IaaRetrievalError: it is not there; the message names the checkpoint.
    """
    if config.backbone == EMBEDDED_BACKBONE:
        inside = Path(path) / BACKBONE_DIRECTORY
        if not inside.is_dir():
            raise IaaRetrievalError(
                f"checkpoint {path} lacks its {BACKBONE_DIRECTORY}/; copy the whole directory again"
            )
        return str(inside)
    if Path(config.backbone).is_absolute() and not Path(config.backbone).is_dir():
        raise IaaRetrievalError(
            f"checkpoint {path} was trained on the backbone {config.backbone}, and no such directory is here; put it "
            f'back, or write where it is now as "backbone" into {Path(path) / FILE_NAME} (its weights are compared)'
        )
    location = resolve_backbone(config.backbone)
    try:
        hub_options(location)
    except IaaRetrievalError as error:
        raise IaaRetrievalError(
            f"checkpoint {path} was trained on the backbone {config.backbone}, which is not on this machine, nor on a "
            f"hub that it reaches; fetch it with hf download {config.backbone}, or export the checkpoint with --format "
            "self-contained where its backbone is"
        ) from error
    return config.backbone


def _bare_network(
    auto_class: Any, path: str, config: RetrieverConfig, backbone: SharedBackbone | None, **options: Any
) -> Any:
    if backbone is not None:
        _require_backbone(path, config, backbone.name, backbone.fingerprint)
        return backbone.network(auto_class, **options)
    location = backbone_location(path, config)
    network = load_network(auto_class, location, **options)
    _require_backbone(path, config, location, fingerprint_weights(network.base_model))
    return network


def _require_backbone(path: str, config: RetrieverConfig, name: str, found: str) -> None:
    if found != config.backbone_fingerprint:
        raise IaaRetrievalError(
            f"checkpoint {path} was trained on {config.backbone} with weights {config.backbone_fingerprint[:12]}, but "
            f"{name} here has weights {found[:12]}; use the backbone it was trained on"
        )


def _put_adapter(network: Any, directory: Path, *, shared: bool) -> Any:
    from peft import PeftModel

    with weights_untouched(network, str(directory)) if shared else nullcontext():
        return PeftModel.from_pretrained(network, directory)


def save_tokenizer(tokenizer: Any, directory: Path) -> None:
    """Write a tokenizer as its backbone has it, not with the length to which the last batch was cut and padded."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(directory)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of a fast tokenizer's vocabulary and rules; truncation and padding settings do not count."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()
