"""What a plain encoder says about its own use: pooling, unit length, lengths and prompts.

A plain encoder is a directory or hub id that is no checkpoint of ours. What it says stands in the files that
sentence-transformers writes (``modules.json`` and what that names); without them, it is used as Pyserini uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.models.backbone import hub_options, load_tokenizer, resolve_backbone
from iaa_retrieval.models.backbone_files import file_on_hub
from iaa_retrieval.models.tokenizer_setup import give_padding_token

DEFAULT_DOCUMENT_LENGTH = 256  # Pyserini's, for encoders that say none
# A tokenizer's own length is meant for retrieval up to here; beyond, it is what a language model can take at all.
LONGEST_UNSAID = 8192
DEFAULT_LONG_QUERY = 512  # of a query, where the tokenizer's own length is beyond that
# Older releases of sentence-transformers named the file after the architecture.
_TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# What stands in the names of prompts that are meant for one role, such as "search_query" or "retrieval.passage".
_PROMPT_WORDS = {"query": ("query",), "document": ("document", "passage", "corpus")}


@dataclass(frozen=True)
class TextSettings:
    """How a plain encoder is meant to be used; the defaults are Pyserini's.

    Attributes:
        pooling: may be one that is not ours, such as "max".
        pooling_is_guessed: whether nothing says so, so that a model that reads one way is pooled otherwise.
        normalize: whether vectors have unit length.
        query_length, document_length: in tokens, where it says them apart.
        max_length: in tokens, of any text; None leaves it to the tokenizer.
        truncate_dim: numbers that are kept of a vector; None is all.
        query_prompt, document_prompt: what goes before a text, to the letter.
        prefix_is_verbatim: whether a prefix that is asked for is put before a text without a space.
        remarks: what it says and is not followed, one sentence each.
        unused_prompts: a sentence about prompts that no text gets, unless one is asked for.
        from_metadata: whether it said any of this itself.
    """

    pooling: str = "cls"
    pooling_is_guessed: bool = False
    normalize: bool = False
    query_length: int | None = None
    document_length: int | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    query_prompt: str = ""
    document_prompt: str = ""
    prefix_is_verbatim: bool = False
    remarks: tuple[str, ...] = ()
    unused_prompts: str = ""
    from_metadata: bool = False

    def lengths(self, tokenizer: Any, limit: int) -> tuple[int, int]:
        """Tokens of a query and of a document, at most ``limit`` (what the positions allow)."""
        own = min(self.max_length or int(tokenizer.model_max_length), limit)
        is_meant = self.max_length is not None or own <= LONGEST_UNSAID
        query = own if is_meant else DEFAULT_LONG_QUERY
        document = own if is_meant and self.from_metadata else DEFAULT_DOCUMENT_LENGTH
        return min(self.query_length or query, limit), min(self.document_length or document, limit)


def read_text_settings(name: str) -> TextSettings:
    """What a plain encoder's sentence-transformers metadata says, else Pyserini's defaults.

    Raises:
        IaaRetrievalError: it says something that a bi-encoder here cannot follow.
    """
    modules = _modules(name)
    if modules is None:
        return TextSettings(pooling_is_guessed=True)
    unknown = sorted(set(modules) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise IaaRetrievalError(f"{name} ends in a {', '.join(unknown)} layer, which a bi-encoder here does not have")
    whole = read_metadata(name, "config_sentence_transformers.json")
    kind = str(whole.get("model_type", "SentenceTransformer"))
    if kind != "SentenceTransformer":
        raise IaaRetrievalError(f"{name} is a {kind} of sentence-transformers; a bi-encoder is needed here")
    if "Pooling" not in modules:
        return TextSettings(pooling_is_guessed=True)
    pooling = read_metadata(name, f"{modules['Pooling']}/config.json")
    transformer = _transformer_settings(name, modules.get("Transformer", ""))
    _refuse_what_is_not_done(name, whole, transformer)
    prompts = _prompts(name, whole)
    query_prompt, document_prompt = prompts.get("query", ""), prompts.get("document", "")
    if pooling.get("include_prompt") is False and (query_prompt or document_prompt):
        raise IaaRetrievalError(
            f"{name} leaves its prompts' tokens out of the pooling (include_prompt: false), which is not done here"
        )
    similarity = str(whole.get("similarity_fn_name") or "")
    normalize = "Normalize" in modules or similarity == "cosine"
    remarks = []
    if similarity in ("euclidean", "manhattan") and not (normalize and similarity == "euclidean"):
        remarks.append(
            f"{name} is meant for {similarity} distances between vectors, but search here is by inner product, "
            "which ranks otherwise"
        )
    return TextSettings(
        pooling=_pooling_of(pooling),
        normalize=normalize,
        query_length=_length(name, transformer, "query_length"),
        document_length=_length(name, transformer, "document_length"),
        max_length=_length(name, transformer, "max_seq_length"),
        truncate_dim=_length(name, whole, "truncate_dim", "numbers"),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        remarks=tuple(remarks),
        unused_prompts=_unused_prompts(name, prompts, whole.get("default_prompt_name")),
        from_metadata=True,
    )


def prompt_named(name: str, prompt_name: str) -> str:
    """A prompt of a model by the name that its sentence-transformers metadata gives it, to the letter.

    Raises:
        UsageError: it has no prompt of that name; the message lists those it has.
    """
    prompts = _prompts(name, read_metadata(name, "config_sentence_transformers.json"))
    if prompt_name not in prompts:
        has = f"its prompts are called {', '.join(prompts)}" if prompts else "it names no prompts"
        raise UsageError(f"{name} has no prompt called {prompt_name!r} (config_sentence_transformers.json): {has}")
    return prompts[prompt_name]


def load_text_tokenizer(name: str) -> Any:
    """The fast tokenizer of a plain encoder, which lowercases first where its metadata says so, and can pad."""
    tokenizer = load_tokenizer(name)
    give_padding_token(tokenizer)
    modules = _modules(name)
    if modules is not None and _transformer_settings(name, modules.get("Transformer", "")).get("do_lower_case"):
        _lowercase_first(tokenizer)
    return tokenizer


def metadata_file(name: str, relative: str) -> Path | None:
    """A file of a plain encoder, by its path inside the directory or repository; None where it has none."""
    location = resolve_backbone(name)
    if Path(location).is_dir():
        path = Path(location) / relative
        return path if path.is_file() else None
    return file_on_hub(location, relative, **hub_options(location))


def read_metadata(name: str, relative: str) -> dict[str, Any]:
    """The JSON object in such a file; empty where there is none.

    Raises:
        IaaRetrievalError: it holds something else.
    """
    path = metadata_file(name, relative)
    values = read_json(path) if path else {}
    if not isinstance(values, dict):
        raise IaaRetrievalError(f"{path} does not hold a JSON object")
    return values


def _modules(name: str) -> dict[str, str] | None:
    """The folder of each module of sentence-transformers, by the name of its class; None without modules."""
    path = metadata_file(name, "modules.json")
    if path is None:
        return None
    values = read_json(path)
    if not isinstance(values, list) or not all(isinstance(module, dict) and "type" in module for module in values):
        raise IaaRetrievalError(f"{path} is no list of modules with a type each; copy the model again")
    return {str(module["type"]).rsplit(".", 1)[-1]: str(module.get("path") or "") for module in values}


def _prompts(name: str, whole: dict[str, Any]) -> dict[str, str]:
    prompts = whole.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise IaaRetrievalError(
            f"{name}: the prompts in config_sentence_transformers.json must be names with a text each, not {prompts!r}"
        )
    return {key: text or "" for key, text in prompts.items()}


def _length(name: str, values: dict[str, Any], setting: str, unit: str = "tokens") -> int | None:
    value = values.get(setting)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise IaaRetrievalError(
            f"{name}: {setting} in its sentence-transformers files must be a whole number of {unit}, not {value!r}"
        )
    return value


def _transformer_settings(name: str, folder: str) -> dict[str, Any]:
    folders = (f"{folder}/", "") if folder else ("",)
    for relative in (f"{parent}{file}" for parent in folders for file in _TRANSFORMER_FILES):
        if metadata_file(name, relative) is not None:
            return read_metadata(name, relative)
    return {}


def _refuse_what_is_not_done(name: str, whole: dict[str, Any], transformer: dict[str, Any]) -> None:
    """Settings that change every vector and have no counterpart here."""
    asked = {
        # The inner product of vectors that were of unit length before the cut; here they are after it.
        "truncate_dim together with dot": whole.get("truncate_dim") and whole.get("similarity_fn_name") == "dot",
        "processing_kwargs": transformer.get("processing_kwargs"),
        "query_expansion": transformer.get("query_expansion"),
        "transformer_task": transformer.get("transformer_task", "feature-extraction") != "feature-extraction",
        "a chat template (modality_config)": "message" in (transformer.get("modality_config") or {}),
    }
    for setting, value in asked.items():
        if value:
            raise IaaRetrievalError(f"{name} sets {setting} in its sentence-transformers files, which is not done here")


def _unused_prompts(name: str, prompts: dict[str, str], default: Any) -> str:
    """Prompts that look as if they were meant for queries or documents, but go by a name that is not looked up.

    sentence-transformers finds "query" and "document" in every model (empty where the file has none), so neither
    the other names of a document prompt nor the default prompt ever count for encode_query and encode_document.
    """
    wanted = [words for role, words in _PROMPT_WORDS.items() if not prompts.get(role)]
    named = [key for key, text in prompts.items() if text and any(w in key.lower() for words in wanted for w in words)]
    if default and prompts.get(default) and not (prompts.get("query") or prompts.get("document")):
        named.append(str(default))
    named = list(dict.fromkeys(named))
    if not named:
        return ""
    others = f" and {len(named) - 1} more" if len(named) > 1 else ""
    return (
        f"{name} has a prompt {named[0]!r} ({prompts[named[0]]!r}){others} that no text gets: as in "
        "sentence-transformers, only those named 'query' and 'document' are used; --query-prompt-name and "
        "--document-prompt-name choose another, --query-prompt and --document-prompt any text"
    )


def _lowercase_first(tokenizer: Any) -> None:
    """Put a lowercasing normalizer first, as sentence-transformers does, where there is none."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    present = backend.normalizer
    parts: list[Any] = [] if present is None else [present]
    if isinstance(present, normalizers.Sequence):
        parts = [present[position] for position in range(len(present))]
    if not any(isinstance(part, normalizers.Lowercase) for part in parts):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *parts])


def _pooling_of(values: dict[str, Any]) -> str:
    """The pooling mode in a sentence-transformers pooling configuration (old flags or the newer single key)."""
    if "pooling_mode" in values:
        modes = values["pooling_mode"]
        names = [str(mode) for mode in modes] if isinstance(modes, list) else [str(modes)]
    else:
        flags = [key for key, value in values.items() if key.startswith("pooling_mode_") and value is True]
        names = [flag.removeprefix("pooling_mode_").removesuffix("s").removesuffix("_token") for flag in flags]
    mode = "+".join(names or ["mean"])  # several at once are vectors put one after the other; none is the default
    return {"lasttoken": "last"}.get(mode, mode)
