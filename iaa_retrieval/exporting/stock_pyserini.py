"""The commands with which stock Pyserini uses a merged bi-encoder."""

from __future__ import annotations

import shlex
from typing import Any

from iaa_retrieval.exporting.source import Source
from iaa_retrieval.models.architecture import encoder_alone, reads_one_way
from iaa_retrieval.models.encoder_classes import QWEN3

# Pyserini looks for these in an encoder's path and then calls its class with arguments of another model.
MISLEADING = ("clip", "dse")


def stock_commands(source: Source, encoder: str) -> str:
    """Shell commands that encode a corpus and search it; a line that says so where Pyserini cannot do it.

    Args:
        encoder: path of the merged directory.
    """
    config = source.config
    if config.query_suffix or config.document_suffix:
        return "Stock Pyserini puts nothing after a text, but this model's prompt does; use iaa_retrieval.encode."
    if config.pooling == "last" and _pads_on_the_left(source.network):
        return _commands_of_class_qwen3(source, encoder)
    if config.pooling not in ("mean", "cls"):
        return f"Stock Pyserini's auto encoder has no pooling {config.pooling!r}; use python -m iaa_retrieval.encode."
    if encoder_alone(source.network.config) is not None:
        return "Stock Pyserini's auto encoder needs a decoder too; use python -m iaa_retrieval.encode."
    leads = config.query_lead, config.document_lead
    if any(lead and not lead.endswith(" ") for lead in leads):
        return (
            "Stock Pyserini puts a space between a prefix and the text, and this model takes its prompts without; "
            "use python -m iaa_retrieval.encode."
        )
    query_prefix, document_prefix = (lead.removesuffix(" ") for lead in leads)
    shared = f"--encoder {shlex.quote(encoder)} --encoder-class auto --pooling {config.pooling}"
    shared += " --l2-norm" if config.normalize else ""
    lines = [
        "python -m pyserini.encode \\",
        "    input --corpus CORPUS --fields text \\",
        "    output --embeddings INDEX --to-faiss \\",
        f"    encoder {shared}{_option('--prefix', document_prefix)} \\",
        f"    --fields text --max-length {config.document_max_length} --dimension {source.model.width} --device cpu",
        "python -m pyserini.search.faiss --index INDEX --topics TOPICS --output run.trec --device cpu \\",
        f"    {shared}{_option('--query-prefix', query_prefix)}",
    ]
    return "\n".join(lines)


def _pads_on_the_left(network: Any) -> bool:
    """Whether it may be padded there, as Pyserini's class ``qwen3`` does: a decoder with rotary positions."""
    return getattr(network.config, "rope_parameters", None) is not None and reads_one_way(network)


def _commands_of_class_qwen3(source: Source, encoder: str) -> str:
    """Of any decoder: its last token, and prefixes to the letter. Without a prefix, it puts "None" before documents."""
    config = source.config
    shared = f"--encoder {shlex.quote(encoder)} --encoder-class {QWEN3}" + (" --l2-norm" if config.normalize else "")
    lines = [
        "python -m pyserini.encode \\",
        "    input --corpus CORPUS --fields text \\",
        "    output --embeddings INDEX --to-faiss \\",
        f"    encoder {shared} --prefix {shlex.quote(config.document_lead)} \\",
        f"    --fields text --max-length {config.document_max_length} --dimension {source.model.width} --device cpu",
        "python -m pyserini.search.faiss --index INDEX --topics TOPICS --output run.trec --device cpu \\",
        f"    {shared}{_option('--query-prefix', config.query_lead)} --max-length {config.query_max_length}",
    ]
    return "\n".join(lines)


def misleading_part(path: str) -> str | None:
    """The part of a path that makes Pyserini take the encoder for one of another kind."""
    return next((word for word in MISLEADING if word in path.lower()), None)


def _option(name: str, value: str) -> str:
    return f" {name} {shlex.quote(value)}" if value else ""
