"""A directory for sentence-transformers 6 and newer: ``SentenceTransformer(DIR)`` or ``CrossEncoder(DIR)``.

A method that merges gives a plain network with sentence-transformers' files beside it. Any other gives a
self-contained checkpoint, whose Transformer module is its ``backbone/``: there is no adapter_config.json in it, so
that sentence-transformers does not go after ``base_model_name_or_path`` (which it would look for in the current
directory), and transformers then finds the adapter beside it, as in every self-contained checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.exporting.base import CheckpointFormat
from iaa_retrieval.exporting.merged import NotMergeableError, merge, write_network
from iaa_retrieval.exporting.readme import REGISTERS, python_block
from iaa_retrieval.exporting.self_contained import SelfContainedFormat, loads_with_peft_only
from iaa_retrieval.files import write_json
from iaa_retrieval.prompt_options import PLACEHOLDERS

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source

POOLINGS = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
_MODULES = "sentence_transformers.models"


class SentenceTransformersFormat(CheckpointFormat):
    """The directory; loading one of this package's methods that do not merge needs ``import iaa_retrieval``."""

    name = "sentence-transformers"
    help = (
        "for SentenceTransformer(DIR) and CrossEncoder(DIR); merged where the method merges, else "
        "after `import iaa_retrieval`"
    )

    def write(self, source: Source, directory: Path) -> bool:
        """Write the weights and sentence-transformers' files beside them.

        Raises:
            UsageError: the method neither merges nor can be loaded by transformers; a cross-encoder with a head that
                transformers does not have, a template, or a prefix of passages, for which sentence-transformers has
                no place; a prompt that goes on after the text, likewise.
        """
        from iaa_retrieval.models.checkpoint import BACKBONE_DIRECTORY

        if not source.is_stock_network:
            raise UsageError(
                f"{source.name} has the head {source.config.head}, and sentence-transformers' CrossEncoder only takes "
                "transformers' classifiers; use --format self-contained or onnx"
            )
        if source.config.pair_template:
            raise UsageError(
                f"{source.name} makes one text of query and document by a template, for which the classifiers of "
                "sentence-transformers' CrossEncoder have no place; use --format self-contained or onnx"
            )
        if source.model.reads_pairs and source.config.document_lead:
            raise UsageError(
                f"{source.name} puts {source.config.document_lead.strip()!r} before passages, and "
                "sentence-transformers' CrossEncoder only has a prompt for queries; "
                "use --format self-contained or onnx"
            )
        _refuse_suffixes(source)
        merged = _write_weights(source, directory)
        transformer = "" if merged else BACKBONE_DIRECTORY
        modules = [_module(0, transformer, "Transformer")]
        if not source.model.reads_pairs:
            modules.append(_module(1, "1_Pooling", "Pooling"))
            (directory / "1_Pooling").mkdir()
            write_json(directory / "1_Pooling" / "config.json", _pooling(source))
            if source.config.normalize:
                modules.append(_module(2, "2_Normalize", "Normalize"))
        write_json(directory / "modules.json", modules)
        write_json(directory / transformer / "sentence_bert_config.json", _transformer(source, transformer))
        write_json(directory / "config_sentence_transformers.json", _settings(source))
        return merged

    def usage(self, source: Source, name: str, *, merged: bool) -> str:
        first = "" if merged else REGISTERS
        if source.model.reads_pairs:
            return python_block(
                f"{first}from sentence_transformers import CrossEncoder\n\n"
                f'scores = CrossEncoder("{name}").predict([("a query", "a passage")])\n'
            )
        return python_block(
            f"{first}from sentence_transformers import SentenceTransformer\n\n"
            f'model = SentenceTransformer("{name}")\n'
            'queries, passages = model.encode_query(["a query"]), model.encode_document(["a passage"])\n'
        )


def _refuse_suffixes(source: Source) -> None:
    from iaa_retrieval.models.prompts import around, described

    for role in PLACEHOLDERS:
        _, suffix = around(role, source.config)
        if suffix:
            raise UsageError(
                f"{source.name} puts {suffix!r} after every {role} (prompt {described(role, source.config)!r}), and "
                "sentence-transformers only has prompts before a text; use --format self-contained, merged or onnx"
            )


def _write_weights(source: Source, directory: Path) -> bool:
    try:
        merge(source)
    except NotMergeableError as error:
        if loads_with_peft_only(source):
            raise UsageError(
                f"method {source.config.method} does not merge, and only PEFT's own PeftModel can load it; "
                "use --format self-contained or onnx"
            ) from error
        return SelfContainedFormat().write(source, directory)
    write_network(source, directory)
    return True


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{kind}"}


def _pooling(source: Source) -> dict[str, Any]:
    return {
        "embedding_dimension": source.model.width,
        "pooling_mode": POOLINGS[source.config.pooling],
        "include_prompt": True,
    }


def _transformer(source: Source, path: str) -> dict[str, Any]:
    config = source.config
    settings: dict[str, Any] = {"max_seq_length": source.max_length, "do_lower_case": False}
    if source.model.reads_pairs:
        settings["transformer_task"] = "sequence-classification"
    else:
        # What encode_query and encode_document cut at; plain encode cuts at max_seq_length.
        settings |= {"query_length": config.query_max_length, "document_length": config.document_max_length}
    if path:
        # The adapter is not in the module's own folder but above it.
        settings["model_kwargs"] = {"adapter_kwargs": {"subfolder": ""}}
    return settings


def _settings(source: Source) -> dict[str, Any]:
    config = source.config
    requirements = {"sentence-transformers": ">=6"}
    if source.model.reads_pairs:
        prompts = {"query": config.query_lead} if config.query_lead else {}
        return {
            "model_type": "CrossEncoder",
            "requirements": requirements,
            "prompts": prompts,
            "default_prompt_name": "query" if prompts else None,
            "activation_fn": "torch.nn.modules.linear.Identity",  # our scores are the logits
        }
    return {
        "model_type": "SentenceTransformer",
        "requirements": requirements,
        "prompts": {"query": config.query_lead, "document": config.document_lead},
        "default_prompt_name": None,
        # It cuts after it has normalised, and does not normalise again; only cosines are those of our vectors then.
        **({"truncate_dim": config.truncate_dim} if config.truncate_dim else {}),
        "similarity_fn_name": "cosine" if config.truncate_dim and config.normalize else config.similarity,
    }
